//! Remote write 1.0 by hand: the labels of a series are encoded once and kept, a request is one sort and one pass.
//!
//! From prometheus/prometheus `prompb/remote.proto` and `types.proto`. Checked against prost in the tests. The order
//! of the series and of the fields was chosen by measurement (`cargo run --release --example encode_cost`): see
//! [`compare`] and [`put_sample`]. No metadata, exemplars or histograms.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::{Metric, Piece, Series};
use sentinel_transport::ByIdentity;
use sentinel_transport::compress::shrink;
use sentinel_transport::protobuf::{field_len, put_double, put_head, put_int, varint_len};

use super::labels;

/// Field `timeseries` of a `WriteRequest`.
const TIMESERIES: u64 = 1;
/// Field `samples` of a `TimeSeries`.
const SAMPLES: u64 = 2;
/// Prometheus' mark for "this series has ended".
pub(super) const STALE: u64 = 0x7ff0_0000_0000_0002;
/// A backend that was away for an hour ends no series: the time between two writes counts as this at most.
const LONGEST_STEP: Duration = Duration::from_mins(1);
/// Series kept; beyond it those that were not written for a minute go.
const MOST_SERIES: usize = 50_000;
/// How long an unused series is kept when no staleness is wanted.
const KEEP: Duration = Duration::from_mins(10);

/// The compressor that a request is laid out for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Remote write's own.
    Snappy,
    /// VictoriaMetrics' own.
    Zstd,
}

/// What is known of a series.
struct Known {
    labels: Box<[u8]>,
    /// Its place among all known series.
    rank: u32,
    /// Time of its newest acknowledged sample.
    newest_ms: i64,
    /// The longest time between two of its samples.
    gap_ms: i64,
    /// The encoder's clock when it was last written.
    written: Duration,
    /// Its end was announced.
    ended: bool,
}

impl Known {
    fn new(series: &Series, clock: Duration) -> Self {
        Known {
            labels: labels::encode(series),
            rank: 0,
            newest_ms: i64::MIN,
            gap_ms: 0,
            written: clock,
            ended: false,
        }
    }
}

/// One sample on its way.
struct Item {
    rank: u32,
    series: u32,
    time_ms: i64,
    value: f64,
}

/// Encodes requests; remembers their series.
pub struct Encoder {
    series: ByIdentity<Series, Known>,
    /// The series of the nth sample of the last request: gathers come in the same order each time.
    guess: Vec<u32>,
    unranked: bool,
    items: Vec<Item>,
    raw: Vec<u8>,
    stale_after: Duration,
    /// Time in which writes succeeded.
    clock: Duration,
    last_write: Option<Instant>,
}

impl Encoder {
    /// `stale_after` zero: the end of a series is not announced.
    pub fn new(stale_after: Duration) -> Self {
        Encoder {
            series: ByIdentity::default(),
            guess: Vec::new(),
            unranked: false,
            items: Vec::new(),
            raw: Vec::new(),
            stale_after,
            clock: Duration::ZERO,
            last_write: None,
        }
    }

    /// Takes the samples in; returns the indices of those that are not finite, which are left out.
    pub fn encode(&mut self, pieces: &[Piece]) -> Vec<usize> {
        let mut refused = Vec::new();
        let mut index = 0;
        self.items.clear();
        for piece in pieces {
            for (offset, metric) in piece.metrics().iter().enumerate() {
                if metric.value.is_finite() {
                    self.add(metric);
                } else {
                    refused.push(index + offset);
                }
            }
            index += piece.range.len();
        }
        if !self.items.is_empty() {
            self.add_ends();
        }
        self.rank();
        refused
    }

    /// Samples in the request.
    pub fn samples(&self) -> usize {
        self.items.len()
    }

    /// The request, not compressed, laid out for a compressor.
    pub fn raw(&mut self, form: Form) -> &[u8] {
        self.order(form);
        self.raw.clear();
        for group in self.items.chunk_by(|a, b| a.series == b.series) {
            let labels = &self.series.value(group[0].series as usize).labels;
            let samples = group.iter().map(|item| field_len(sample_len(item))).sum::<usize>();
            put_head(&mut self.raw, TIMESERIES, labels.len() + samples);
            self.raw.extend_from_slice(labels);
            for item in group {
                put_sample(&mut self.raw, item, form);
            }
        }
        &self.raw
    }

    /// The request was acknowledged.
    pub fn acknowledged(&mut self, now: Instant) {
        let step = self.last_write.map_or(Duration::ZERO, |last| now - last);
        self.clock += step.min(LONGEST_STEP);
        self.last_write = Some(now);
        for item in &self.items {
            let known = self.series.value_mut(item.series as usize);
            if item.value.to_bits() == STALE {
                known.ended = true;
                continue;
            }
            if known.newest_ms != i64::MIN {
                known.gap_ms = known.gap_ms.max(item.time_ms.saturating_sub(known.newest_ms));
            }
            known.newest_ms = known.newest_ms.max(item.time_ms);
            known.written = self.clock;
            known.ended = false;
        }
        self.forget();
        shrink(&mut self.raw);
    }

    #[inline]
    fn add(&mut self, metric: &Metric) {
        let nth = self.items.len();
        let guess = self.guess.get(nth).map(|series| *series as usize);
        let series = match guess.filter(|series| self.series.is(*series, &metric.series)) {
            Some(series) => series,
            None => self.find(&metric.series, nth),
        };
        let rank = self.series.value(series).rank;
        let Metric { time_ms, value, .. } = *metric;
        self.items.push(Item { rank, series: series as u32, time_ms, value });
    }

    fn find(&mut self, series: &Arc<Series>, nth: usize) -> usize {
        let clock = self.clock;
        let (at, new) = match self.series.find(series) {
            Some(at) => (at, false),
            None => self.series.adopt(series, series.hash(), || Known::new(series, clock)),
        };
        self.unranked |= new;
        self.guess.resize(self.guess.len().max(nth + 1), u32::MAX);
        self.guess[nth] = at as u32;
        at
    }

    /// Announces the end of series that were not written for long, right behind their last sample.
    fn add_ends(&mut self) {
        if self.stale_after.is_zero() {
            return;
        }
        for (series, entry) in self.series.entries().iter().enumerate() {
            let known = &entry.value;
            let usual = Duration::from_millis(known.gap_ms.unsigned_abs()) * 3;
            let idle = self.clock.saturating_sub(known.written);
            if known.newest_ms == i64::MIN || known.ended || idle <= self.stale_after.max(usual) {
                continue;
            }
            self.items.push(Item {
                rank: known.rank,
                series: series as u32,
                time_ms: known.newest_ms.saturating_add(1),
                value: f64::from_bits(STALE),
            });
        }
    }

    /// Gives all series their place, when new ones came.
    fn rank(&mut self) {
        if !std::mem::take(&mut self.unranked) {
            return;
        }
        let entries = self.series.entries();
        let mut order = (0..entries.len()).collect::<Vec<_>>();
        order.sort_by(|a, b| compare(&entries[*a].key, &entries[*b].key));
        for (rank, series) in order.into_iter().enumerate() {
            self.series.value_mut(series).rank = rank as u32;
        }
        for item in &mut self.items {
            item.rank = self.series.value(item.series as usize).rank;
        }
    }

    /// Samples of a series together and in time order. With one sample a series, as in a gather, snappy does better
    /// with like values as neighbours (18.2 bytes a sample instead of 18.5): the messages are then of equal length.
    fn order(&mut self, form: Form) {
        let key = |item: &Item| (item.rank, item.time_ms);
        self.items.sort_by_key(key); // stable: of two samples of one time the later stays later
        let single = self.items.is_sorted_by(|a, b| a.rank < b.rank);
        if form == Form::Snappy && single {
            self.items.sort_by_key(|item| (alike(item.value), item.rank));
        }
    }

    fn forget(&mut self) {
        let clock = self.clock;
        let keep = KEEP.max(self.stale_after * 4);
        let crowded = self.series.entries().len() > MOST_SERIES;
        let keep = if crowded { LONGEST_STEP } else { keep };
        let slow = |known: &Known| Duration::from_millis(known.gap_ms.unsigned_abs()) * 4;
        let expired = |known: &Known| {
            clock.saturating_sub(known.written) > if crowded { keep } else { keep.max(slow(known)) }
        };
        if self.series.entries().iter().any(|entry| expired(&entry.value)) {
            self.series.retain(|entry| !expired(&entry.value));
            self.guess.clear();
            self.unranked = true;
        }
    }
}

/// The order of the series in a request: neighbours share most of their bytes. By name, then by labels: the best of ten
/// orders that were tried, in both forms.
fn compare(a: &Series, b: &Series) -> Ordering {
    let labels = || a.labels().iter().cmp(b.labels().iter());
    a.name().cmp(b.name()).then_with(labels)
}

/// Zero, a number of few digits, or one of many.
fn alike(value: f64) -> u8 {
    match value.to_bits() {
        0 => 0,
        bits if bits.trailing_zeros() >= 16 => 1,
        _ => 2,
    }
}

/// Bytes of a `Sample`; a zero is left out, as every encoder of proto3 does.
#[inline]
fn sample_len(item: &Item) -> usize {
    let value = if item.value.to_bits() == 0 { 0 } else { 9 };
    value + 1 + varint_len(item.time_ms as u64)
}

/// Decoders take fields in any order. For snappy the time stands before the value: with the labels before it and the
/// next series behind the value, it makes one run that was seen before (18.5 bytes a sample instead of 18.9).
/// zstd finds more matches and does better with the value first (14.3 instead of 14.5).
#[inline]
fn put_sample(out: &mut Vec<u8>, item: &Item, form: Form) {
    put_head(out, SAMPLES, sample_len(item));
    if form == Form::Snappy {
        put_int(out, 2, item.time_ms);
    }
    if item.value.to_bits() != 0 {
        put_double(out, 1, item.value);
    }
    if form == Form::Zstd {
        put_int(out, 2, item.time_ms);
    }
}
