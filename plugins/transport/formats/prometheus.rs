//! Remote write 1.0 to samples.
//!
//! From prometheus/prometheus `prompb/remote.proto` and `types.proto`, and the remote write 1.0 specification. Names outside
//! Prometheus' old alphabet (its version 3 sends any UTF-8) come in with `_` for what is not in it. Metadata and exemplars
//! are not read. A series' end (a staleness marker) is counted as `stale`, a native histogram as `native_histogram`.

use std::collections::BTreeSet;
use std::sync::Arc;

use sentinel_contract::{Labels, Metric, Series};

use super::interner::{Bases, Interner, put_part};
use super::unpack::{Packing, unpack};
use super::{Drops, Given, Malformed, check_count, names, whole};
use crate::protobuf::read::{Broken, Reader};

/// Prometheus' mark for "this series has ended".
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The label that holds the metric's name.
const NAME: &str = "__name__";

/// Reads remote write requests; remembers series.
#[derive(Default)]
pub struct RemoteWriteDecoder {
    bases: Bases,
    series: Interner<Arc<Series>>,
    key: Vec<u8>,
    room: Vec<u8>,
}

impl RemoteWriteDecoder {
    /// Appends the samples of a request of at most `limit` bytes when unpacked. Labels are those of the series over
    /// those given.
    pub fn decode(
        &mut self,
        payload: &[u8],
        packing: Packing,
        limit: usize,
        given: Given<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        let mut room = std::mem::take(&mut self.room);
        let result = unpack(payload, packing, limit, &mut room).and_then(|request| {
            whole(out, drops, |out, drops| self.read(request, given, out, drops))
        });
        crate::compress::shrink(&mut room);
        self.room = room;
        result
    }

    fn read(
        &mut self,
        request: &[u8],
        given: Given<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        let base = self.bases.number(given.labels);
        let before = out.len();
        let mut reader = Reader::new(request);
        while let Some((field, value)) = reader.field()? {
            if field == 1 {
                self.timeseries(value.bytes()?, base, given, out, drops)?;
                check_count(out.len() - before)?;
            }
        }
        Ok(())
    }

    fn timeseries(
        &mut self,
        message: &[u8],
        base: u64,
        given: Given<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        self.key.clear();
        self.key.extend_from_slice(&base.to_le_bytes());
        let mut samples = 0;
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            match field {
                1 => put_part(&mut self.key, value.bytes()?),
                2 => samples += 1,
                4 => drops.add("native_histogram", 1),
                _ => (),
            }
        }
        let series = match self.series.find(&self.key, || make(message, given.labels)) {
            Ok(series) => series,
            Err(Unusable::Broken(broken)) => return Err(broken.into()),
            Err(Unusable::Labels) => {
                drops.add("invalid_labels", samples);
                return Ok(());
            }
        };
        let mut reader = Reader::new(message);
        while let Some((field, value)) = reader.field()? {
            if field != 2 {
                continue;
            }
            let (value, time_ms) = sample(value.bytes()?)?;
            if value.is_finite() {
                out.push(Metric { series: Arc::clone(&series), time_ms, value });
            } else {
                drops.add(if value.to_bits() == STALE { "stale" } else { "not_finite" }, 1);
            }
        }
        Ok(())
    }
}

/// Why there is no series.
enum Unusable {
    Broken(Broken),
    Labels,
}

impl From<Broken> for Unusable {
    fn from(broken: Broken) -> Self {
        Unusable::Broken(broken)
    }
}

/// Value and time of a `Sample`.
#[inline]
fn sample(message: &[u8]) -> Result<(f64, i64), Broken> {
    let (mut reader, mut number, mut time_ms) = (Reader::new(message), 0.0, 0);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => number = value.double()?,
            2 => time_ms = value.varint()? as i64,
            _ => (),
        }
    }
    Ok((number, time_ms))
}

/// A series of its labels: one of them is its name, and each stands there once and is UTF-8.
#[cold]
fn make(message: &[u8], base: &Labels) -> Result<Arc<Series>, Unusable> {
    let (mut pairs, mut seen, mut metric) = (Vec::new(), BTreeSet::new(), None);
    let mut reader = Reader::new(message);
    while let Some((field, value)) = reader.field()? {
        if field != 1 {
            continue;
        }
        let (name, value) = label(value.bytes()?)?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| Unusable::Labels);
        let (name, value) = (text(name)?, text(value)?);
        if name.is_empty() || !seen.insert(name) {
            return Err(Unusable::Labels);
        }
        if name == NAME {
            metric = Some(value);
        } else {
            pairs.push((names::label(name), value));
        }
    }
    let metric = metric.filter(|name| !name.is_empty()).ok_or(Unusable::Labels)?;
    let metric = names::metric(metric);
    let base = base.iter().map(|(name, value)| (name.into(), value));
    Ok(Series::new(&*metric, names::kind(&metric), base.chain(pairs)))
}

/// Name and value of a `Label`.
fn label(message: &[u8]) -> Result<(&[u8], &[u8]), Broken> {
    let (mut reader, mut name, mut text) = (Reader::new(message), &[][..], &[][..]);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => name = value.bytes()?,
            2 => text = value.bytes()?,
            _ => (),
        }
    }
    Ok((name, text))
}
