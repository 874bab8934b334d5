//! Samples of a series within a frame, and series of a column, on their way to one value. Counters become rates a second and
//! survive resets.

use sentinel_contract::Kind;
use serde::{Deserialize, Serialize};

use super::signals::Aggregate;

/// What came of a series in the current frame, and what its counter stood at.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Tally {
    sum: f64,
    count: u32,
    max: f64,
    last: f64,
    /// Milliseconds that `sum` of a counter grew in.
    elapsed: i64,
    before: Option<(i64, f64)>,
}

impl Tally {
    /// Something came in the current frame.
    pub(super) fn is_used(&self) -> bool {
        self.count > 0 || self.elapsed > 0
    }

    pub(super) fn add(&mut self, kind: Kind, time_ms: i64, value: f64, longest_gap_ms: i64) {
        if kind == Kind::Gauge {
            self.max = if self.count == 0 { value } else { self.max.max(value) };
            self.sum += value;
            self.count += 1;
            self.last = value;
            return;
        }
        match self.before {
            Some((then, _)) if time_ms <= then => return, // the same sample again
            Some((then, _)) if time_ms - then > longest_gap_ms => (),
            Some((then, before)) => {
                // Smaller than before: its source has started again at zero.
                self.sum += if value >= before { value - before } else { value.max(0.0) };
                self.elapsed += time_ms - then;
            }
            None => (),
        }
        self.before = Some((time_ms, value));
    }

    pub(super) fn value(&self, kind: Kind, over_time: Aggregate) -> f64 {
        match (kind, over_time) {
            (Kind::Counter, _) => self.sum * 1000.0 / self.elapsed as f64,
            (_, Aggregate::Sum) => self.sum,
            (_, Aggregate::Mean) => self.sum / f64::from(self.count),
            (_, Aggregate::Max) => self.max,
            (_, Aggregate::Last) => self.last,
        }
    }

    pub(super) fn next_frame(&mut self) {
        *self = Tally { before: self.before, ..Tally::default() };
    }
}

/// Values of several series on their way to one.
#[derive(Clone, Default)]
pub(super) struct Fold {
    sum: f64,
    count: u32,
    max: f64,
    last: f64,
}

impl Fold {
    pub(super) fn add(&mut self, value: f64) {
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.sum += value;
        self.count += 1;
        self.last = value;
    }

    pub(super) fn value(&self, aggregate: Aggregate) -> f64 {
        match aggregate {
            _ if self.count == 0 => f64::NAN,
            Aggregate::Sum => self.sum,
            Aggregate::Mean => self.sum / f64::from(self.count),
            Aggregate::Max => self.max,
            Aggregate::Last => self.last,
        }
    }
}
