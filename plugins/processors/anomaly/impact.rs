//! What an incident has hit so far, in absolute numbers: sums, extremes and the breakdown of all its frames, from the first to
//! the last that was beyond the boundary. Kept with the group and over a restart, and until the next incident, because what comes back
//! within a while is the same one.

use sentinel_contract::evidence::{Evidence, Of};
use sentinel_contract::incident::Part;
use serde::{Deserialize, Serialize};

use super::signals::{Signal, Treatment};
use super::treat::Measure;
use crate::sketch::merge;

/// Parts told of a dimension.
const PARTS: usize = 3;
/// A smaller part is not worth a line.
const LEAST_PART: f64 = 0.02;

/// One signal over the frames of an incident.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sum {
    /// Frames in which it spoke, and those of them in which it was known what to expect.
    pub frames: u32,
    pub known: u32,
    pub values: f64,
    pub expected: f64,
    /// Of a rate: the events that it counts, and what they are a share of.
    pub events: f64,
    pub volume: f64,
    pub high: f64,
    pub low: f64,
}

impl Sum {
    fn add(&mut self, other: &Sum) {
        if other.frames == 0 {
            return;
        }
        let first = self.frames == 0;
        self.high = if first { other.high } else { self.high.max(other.high) };
        self.low = if first { other.low } else { self.low.min(other.low) };
        self.frames += other.frames;
        self.known += other.known;
        self.values += other.values;
        self.expected += other.expected;
        self.events += other.events;
        self.volume += other.volume;
    }

    fn of(signal: &Signal, values: &[f64], one: &Measure) -> Sum {
        if !one.value.is_finite() {
            return Sum::default();
        }
        let known = one.expected.is_finite();
        let volume = signal.volume.map_or(f64::NAN, |at| values[at]);
        let is_rate = signal.treatment == Treatment::Rate && volume.is_finite();
        Sum {
            frames: 1,
            known: u32::from(known),
            values: one.value,
            expected: if known { one.expected } else { 0.0 },
            events: if is_rate { one.value * volume } else { 0.0 },
            volume: if is_rate { volume } else { 0.0 },
            high: one.value,
            low: one.value,
        }
    }
}

/// The values of one dimension over the frames of an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Counted {
    dimension: String,
    failed: bool,
    total: u64,
    rows: Vec<(String, u64)>,
}

/// A frame of an incident.
pub(super) struct Seen<'a> {
    pub time_ms: i64,
    pub values: &'a [f64],
    pub measures: &'a [Measure],
    /// The incident goes on in it; otherwise it counts only if there is such a frame again.
    pub above: bool,
    pub score: f64,
    /// See [`super::incident::Verdict::what`].
    pub what: &'a str,
    /// Whether what is expected of a signal is that of the hour.
    pub seasonal: &'a dyn Fn(usize) -> bool,
}

/// What one incident has hit.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Impact {
    pub key: String,
    since_ms: i64,
    /// The last frame in which it went on.
    pub last_ms: i64,
    sums: Vec<Sum>,
    /// Of the frames since.
    since: Vec<Sum>,
    counted: Vec<Counted>,
    pub sample: String,
    /// Failed events of the window that the sample is from.
    sample_of: u64,
    worst: f64,
    /// In words, of the worst frame.
    pub what: String,
    pub worst_ms: i64,
    /// The signals that were measured against their hour then.
    pub seasonal: Vec<usize>,
}

impl Impact {
    pub(super) fn new(key: &str) -> Self {
        Impact { key: key.to_owned(), ..Impact::default() }
    }

    /// Takes a frame. `since_ms` is when the incident began or came back, if it is open: then it may be another fault, in
    /// other words.
    pub(super) fn take<'e>(
        &mut self,
        seen: &Seen<'_>,
        since_ms: Option<i64>,
        signals: &[Signal],
        evidence: impl Iterator<Item = &'e Evidence>,
    ) {
        if let Some(since_ms) = since_ms.filter(|since_ms| self.since_ms != *since_ms) {
            (self.since_ms, self.worst) = (since_ms, 0.0);
        }
        if seen.above && (seen.score >= self.worst || self.what.is_empty()) {
            seen.what.clone_into(&mut self.what);
            self.worst_ms = seen.time_ms;
            self.seasonal = (0..signals.len()).filter(|at| (seen.seasonal)(*at)).collect();
        }
        self.worst = self.worst.max(seen.score);
        self.sums.resize(signals.len(), Sum::default());
        self.since.resize(signals.len(), Sum::default());
        let frame = signals.iter().zip(seen.measures);
        let frame = frame.map(|(signal, one)| Sum::of(signal, seen.values, one));
        if !seen.above {
            self.since.iter_mut().zip(frame).for_each(|(sum, one)| sum.add(&one));
            return;
        }
        for ((sum, since), one) in self.sums.iter_mut().zip(&mut self.since).zip(frame) {
            sum.add(&std::mem::take(since));
            sum.add(&one);
        }
        self.last_ms = seen.time_ms;
        evidence.for_each(|one| self.count(one));
    }

    fn count(&mut self, evidence: &Evidence) {
        let mut failures = 0;
        for tally in &evidence.tallies {
            let failed = tally.of == Of::Failed;
            failures = failures.max(if failed { tally.total } else { 0 });
            let same =
                |one: &&mut Counted| one.failed == failed && one.dimension == tally.dimension;
            match self.counted.iter_mut().find(same) {
                Some(one) => {
                    one.total += tally.total;
                    merge(&mut one.rows, &tally.rows);
                }
                None => self.counted.push(Counted {
                    dimension: tally.dimension.to_owned(),
                    failed,
                    total: tally.total,
                    rows: tally.rows.clone(),
                }),
            }
        }
        if !evidence.sample.is_empty() && (failures > self.sample_of || self.sample.is_empty()) {
            self.sample.clone_from(&evidence.sample);
            self.sample_of = failures;
        }
    }

    /// A signal's sums.
    pub(super) fn of(&self, signal: usize) -> Sum {
        self.sums.get(signal).copied().unwrap_or_default()
    }

    /// The largest parts of what failed, or of all.
    pub(super) fn parts(&self, failed: bool) -> Vec<Part> {
        let wanted = self.counted.iter().filter(|one| one.failed == failed && one.total > 0);
        let parts = wanted.flat_map(|one| {
            let part = |(value, count): &(String, u64)| Part {
                dimension: one.dimension.clone(),
                value: value.clone(),
                share: *count as f64 / one.total as f64,
                count: *count,
            };
            one.rows.iter().take(PARTS).map(part).filter(|part| part.share >= LEAST_PART)
        });
        parts.collect()
    }
}
