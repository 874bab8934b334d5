//! Data points to samples: numbers as they are, histograms and summaries as Prometheus writes them (`_bucket` with `le`,
//! `_sum`, `_count`; `quantile`).
//!
//! A point that says "no value was recorded" ends its series and holds nothing: counted as `no_recorded_value`. One without
//! a value, one that is no finite number, and a histogram whose buckets do not fit its bounds are counted too.

use std::sync::Arc;

use sentinel_contract::{Kind, Metric, Series};

use super::{Shared, put_labels};
use crate::formats::interner::{Interner, put_part};
use crate::formats::{Drops, Malformed, check_count, names};
use crate::protobuf::read::{Broken, Reader};

/// Of `DataPointFlags`.
const NO_RECORDED_VALUE: u64 = 1;

/// One point, and whose it is.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) shared: &'a Shared,
    pub(super) name: &'a str,
    pub(super) point: &'a [u8],
}

/// Which of the series of a point.
#[derive(Clone, Copy)]
enum Part {
    Plain(Kind),
    Bucket(f64),
    Sum,
    Count,
    Quantile(f64),
}

/// Reads points; remembers series.
#[derive(Default)]
pub(super) struct Points {
    series: Interner<Arc<Series>>,
    /// Resource, name and attributes of the point.
    key: Vec<u8>,
    now_ms: i64,
    before: usize,
    counts: Vec<u64>,
    bounds: Vec<u64>,
}

impl Points {
    /// A payload begins, with so many samples before it.
    pub(super) fn begin(&mut self, now_ms: i64, before: usize) {
        (self.now_ms, self.before) = (now_ms, before);
    }

    /// A `NumberDataPoint`.
    #[inline]
    pub(super) fn number(
        &mut self,
        place: Place<'_>,
        kind: Kind,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        const ATTRIBUTES: u64 = 7;
        self.open_key(place);
        let (mut time, mut number, mut flags) = (0, None, 0);
        let mut reader = Reader::new(place.point);
        while let Some((field, value)) = reader.field()? {
            match field {
                ATTRIBUTES => put_part(&mut self.key, value.bytes()?),
                3 => time = value.fixed64()?,
                4 => number = Some(value.double()?),
                6 => number = Some(value.fixed64()? as i64 as f64),
                8 => flags = value.varint()?,
                _ => (),
            }
        }
        match number {
            _ if flags & NO_RECORDED_VALUE != 0 => drops.add("no_recorded_value", 1),
            Some(number) => {
                let part = Part::Plain(kind);
                self.put(place, ATTRIBUTES, part, self.at(time), number, out, drops)?;
            }
            None => drops.add("no_value", 1),
        }
        Ok(())
    }

    /// A `HistogramDataPoint`.
    pub(super) fn histogram(
        &mut self,
        place: Place<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        const ATTRIBUTES: u64 = 9;
        self.open_key(place);
        let (mut counts, mut bounds) =
            (std::mem::take(&mut self.counts), std::mem::take(&mut self.bounds));
        counts.clear();
        bounds.clear();
        let (mut time, mut count, mut sum, mut flags) = (0, 0, None, 0);
        let mut reader = Reader::new(place.point);
        while let Some((field, value)) = reader.field()? {
            match field {
                ATTRIBUTES => put_part(&mut self.key, value.bytes()?),
                3 => time = value.fixed64()?,
                4 => count = value.fixed64()?,
                5 => sum = Some(value.double()?),
                6 => value.fixed64s(&mut counts)?,
                7 => value.fixed64s(&mut bounds)?,
                10 => flags = value.varint()?,
                _ => (),
            }
        }
        let fits = counts.len() == bounds.len() + 1 || counts.is_empty() && bounds.is_empty();
        if flags & NO_RECORDED_VALUE != 0 {
            drops.add("no_recorded_value", 1);
        } else if !fits {
            drops.add("malformed_histogram", 1);
        } else {
            let time = self.at(time);
            let mut below = 0_u64;
            let bounds = bounds.iter().map(|bits| f64::from_bits(*bits)).chain([f64::INFINITY]);
            for (bound, more) in bounds.zip(&counts) {
                below = below.saturating_add(*more);
                let part = Part::Bucket(bound);
                self.put(place, ATTRIBUTES, part, time, below as f64, out, drops)?;
            }
            if let Some(sum) = sum {
                self.put(place, ATTRIBUTES, Part::Sum, time, sum, out, drops)?;
            }
            self.put(place, ATTRIBUTES, Part::Count, time, count as f64, out, drops)?;
        }
        (self.counts, self.bounds) = (counts, bounds);
        Ok(())
    }

    /// A `SummaryDataPoint`.
    pub(super) fn summary(
        &mut self,
        place: Place<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        const ATTRIBUTES: u64 = 7;
        self.open_key(place);
        let (mut time, mut count, mut sum, mut flags) = (0, 0, 0.0, 0);
        let mut reader = Reader::new(place.point);
        while let Some((field, value)) = reader.field()? {
            match field {
                ATTRIBUTES => put_part(&mut self.key, value.bytes()?),
                3 => time = value.fixed64()?,
                4 => count = value.fixed64()?,
                5 => sum = value.double()?,
                8 => flags = value.varint()?,
                _ => (),
            }
        }
        if flags & NO_RECORDED_VALUE != 0 {
            drops.add("no_recorded_value", 1);
            return Ok(());
        }
        let time = self.at(time);
        let mut reader = Reader::new(place.point);
        while let Some((field, value)) = reader.field()? {
            if field == 6 {
                let (quantile, value) = quantile(value.bytes()?)?;
                let part = Part::Quantile(quantile);
                self.put(place, ATTRIBUTES, part, time, value, out, drops)?;
            }
        }
        self.put(place, ATTRIBUTES, Part::Sum, time, sum, out, drops)?;
        self.put(place, ATTRIBUTES, Part::Count, time, count as f64, out, drops)
    }

    fn at(&self, time_ns: u64) -> i64 {
        if time_ns == 0 { self.now_ms } else { (time_ns / 1_000_000) as i64 }
    }

    #[inline]
    fn open_key(&mut self, place: Place<'_>) {
        self.key.clear();
        self.key.extend_from_slice(&place.shared.number.to_le_bytes());
        put_part(&mut self.key, place.name.as_bytes());
    }

    /// One sample. The key holds all but the part, which is taken off it again.
    #[inline]
    #[allow(clippy::too_many_arguments, reason = "where it comes from, what it is, where it goes")]
    fn put(
        &mut self,
        place: Place<'_>,
        attributes: u64,
        part: Part,
        time_ms: i64,
        value: f64,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        if !value.is_finite() {
            drops.add("not_finite", 1);
            return Ok(());
        }
        let len = self.key.len();
        let (which, bits) = match part {
            Part::Plain(Kind::Gauge) => (0, 0),
            Part::Plain(Kind::Counter) => (1, 0),
            Part::Sum => (2, 0),
            Part::Count => (3, 0),
            Part::Bucket(bound) => (4, bound.to_bits()),
            Part::Quantile(quantile) => (5, quantile.to_bits()),
        };
        self.key.push(which);
        self.key.extend_from_slice(&bits.to_le_bytes());
        let series = self.series.find(&self.key, || make(place, attributes, part));
        self.key.truncate(len);
        out.push(Metric { series: series?, time_ms, value });
        check_count(out.len() - self.before)
    }
}

#[cold]
fn make(place: Place<'_>, attributes: u64, part: Part) -> Result<Arc<Series>, Malformed> {
    let (ending, kind, more) = match part {
        Part::Plain(kind) => ("", kind, None),
        Part::Bucket(bound) if bound == f64::INFINITY => {
            ("_bucket", Kind::Counter, Some(("le", "+Inf".to_owned())))
        }
        Part::Bucket(bound) => ("_bucket", Kind::Counter, Some(("le", bound.to_string()))),
        Part::Sum => ("_sum", Kind::Counter, None),
        Part::Count => ("_count", Kind::Counter, None),
        Part::Quantile(quantile) => ("", Kind::Gauge, Some(("quantile", quantile.to_string()))),
    };
    let labels = place.shared.labels.iter();
    let mut pairs: Vec<(Box<str>, Box<str>)> =
        labels.map(|(name, value)| (name.into(), value.into())).collect();
    put_labels(&mut pairs, place.point, attributes)?;
    pairs.extend(more.map(|(name, value)| (name.into(), value.into())));
    Ok(Series::new([&*names::metric(place.name), ending].concat(), kind, pairs))
}

/// Of a `ValueAtQuantile`.
fn quantile(message: &[u8]) -> Result<(f64, f64), Broken> {
    let (mut reader, mut quantile, mut at) = (Reader::new(message), 0.0, 0.0);
    while let Some((field, value)) = reader.field()? {
        match field {
            1 => quantile = value.double()?,
            2 => at = value.double()?,
            _ => (),
        }
    }
    Ok((quantile, at))
}
