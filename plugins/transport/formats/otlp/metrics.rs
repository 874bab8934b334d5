//! A `MetricsData` to samples: which kinds of metrics there are, and what each becomes. Their points are read by `points`.
//!
//! Prometheus has no delta temporality and no exponential histogram: their points are counted as `delta_temporality` and
//! `exponential_histogram`, and left out.

use std::sync::Arc;

use sentinel_contract::{Kind, Metric};

use super::points::{Place, Points};
use super::{Shared, labels, resource};
use crate::formats::interner::{Bases, Interner};
use crate::formats::{Drops, Given, Malformed, whole};
use crate::protobuf::read::Reader;

/// Of `AggregationTemporality`.
const DELTA: u64 = 1;

/// Reads metrics; remembers resources and series.
#[derive(Default)]
pub struct MetricsDecoder {
    bases: Bases,
    resources: Interner<Arc<Shared>>,
    made: u64,
    key: Vec<u8>,
    points: Points,
}

/// What a metric holds: the message of its kind, of which the points are field 1.
struct Data<'a> {
    /// Number of its field in `Metric`.
    kind: u64,
    message: &'a [u8],
}

impl MetricsDecoder {
    /// Appends the samples of a payload. Labels are those given, the resource's attributes and the point's, the later over the
    /// earlier.
    pub fn decode(
        &mut self,
        payload: &[u8],
        given: Given<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        whole(out, drops, |out, drops| self.read(payload, given, out, drops))
    }

    fn read(
        &mut self,
        payload: &[u8],
        given: Given<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        let base = self.bases.number(given.labels);
        self.points.begin(given.now_ms(), out.len());
        let mut reader = Reader::new(payload);
        while let Some((number, value)) = reader.field()? {
            if number != 1 {
                continue;
            }
            let message = value.bytes()?;
            let shared = self.shared(base, resource(message)?, given)?;
            let mut scopes = Reader::new(message);
            while let Some((number, value)) = scopes.field()? {
                if number == 2 {
                    self.scope(value.bytes()?, &shared, out, drops)?;
                }
            }
        }
        Ok(())
    }

    /// What a resource gives to its series.
    fn shared(
        &mut self,
        base: u64,
        resource: &[u8],
        given: Given<'_>,
    ) -> Result<Arc<Shared>, Malformed> {
        self.key.clear();
        self.key.extend_from_slice(&base.to_le_bytes());
        self.key.extend_from_slice(resource);
        let made = &mut self.made;
        self.resources.find(&self.key, || {
            let labels = labels(given.labels, resource, 1)?;
            *made += 1;
            Ok(Arc::new(Shared { number: *made, labels }))
        })
    }

    /// The metrics of a `ScopeMetrics`.
    fn scope(
        &mut self,
        message: &[u8],
        shared: &Shared,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            if number == 2 {
                let (name, data) = metric(value.bytes()?)?;
                let Some(data) = data else { continue };
                self.metric(shared, name, &data, out, drops)?;
            }
        }
        Ok(())
    }

    fn metric(
        &mut self,
        shared: &Shared,
        name: &[u8],
        data: &Data<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        let (points, temporality, monotonic) = shape(data.message)?;
        let left_out = match data.kind {
            _ if name.is_empty() => "no_name",
            EXPONENTIAL => "exponential_histogram",
            SUM | HISTOGRAM if temporality == DELTA => "delta_temporality",
            _ => "",
        };
        if !left_out.is_empty() {
            drops.add(left_out, points);
            return Ok(());
        }
        let name = String::from_utf8_lossy(name);
        let kind = if data.kind == SUM && monotonic && temporality != 0 {
            Kind::Counter
        } else {
            Kind::Gauge
        };
        let mut reader = Reader::new(data.message);
        while let Some((number, value)) = reader.field()? {
            if number != 1 {
                continue;
            }
            let place = Place { shared, name: &name, point: value.bytes()? };
            match data.kind {
                HISTOGRAM => self.points.histogram(place, out, drops)?,
                SUMMARY => self.points.summary(place, out, drops)?,
                _ => self.points.number(place, kind, out, drops)?,
            }
        }
        Ok(())
    }
}

/// Fields of `Metric`, by what it holds.
const GAUGE: u64 = 5;
const SUM: u64 = 7;
const HISTOGRAM: u64 = 9;
const EXPONENTIAL: u64 = 10;
const SUMMARY: u64 = 11;

/// Name and data of a `Metric`.
fn metric(message: &[u8]) -> Result<(&[u8], Option<Data<'_>>), Malformed> {
    let (mut reader, mut name, mut data) = (Reader::new(message), &[][..], None);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = value.bytes()?,
            GAUGE | SUM | HISTOGRAM | EXPONENTIAL | SUMMARY => {
                data = Some(Data { kind: number, message: value.bytes()? });
            }
            _ => (),
        }
    }
    Ok((name, data))
}

/// How many points a metric's data has, its temporality, and whether it only grows.
fn shape(message: &[u8]) -> Result<(u64, u64, bool), Malformed> {
    let (mut reader, mut points, mut temporality, mut monotonic) =
        (Reader::new(message), 0, 0, false);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => points += 1,
            2 => temporality = value.varint()?,
            3 => monotonic = value.varint()? != 0,
            _ => (),
        }
    }
    Ok((points, temporality, monotonic))
}
