//! Collects samples into frames: one row of columns per group and interval.
//!
//! A frame at T holds the samples of `T - interval < t <= T`. It closes when every origin that speaks has passed T, or
//! when the clock has, by `lateness` and by how far the samples usually lag behind it. What does not fit is counted: late, not
//! finite, from the future, of a group beyond the limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sentinel_contract::Metric;
use serde::{Deserialize, Serialize};

use super::series::{GroupKey, Known, SavedSeries, Target};
use super::signals::Column;

/// Samples that wait for their frame to become the current one; and as many more for each group that there may be.
const MAX_PENDING: usize = 100_000;
const MAX_PENDING_OF_GROUP: usize = 64;
/// Frames between two searches for series that nobody else holds any more.
const SWEEP_FRAMES: u32 = 256;
/// Empty frames closed one by one in a gap; a longer one is jumped over.
const MAX_EMPTY: i64 = 32;
/// A counter that was silent for longer starts anew: its rate over the gap would be nobody's.
const MAX_GAP_FRAMES: i64 = 5;
/// A sample this far ahead of the clock is from a wrong one.
const MAX_AHEAD_MS: i64 = 60_000;
/// Ticks come each second; after a longer pause than this the host slept or the process was stopped.
const LONGEST_TICK_MS: i64 = 5000;
/// The most that samples are believed to lag.
const MAX_LAG_MS: i64 = 3_600_000;

/// One group's columns in a closed frame; NaN where nothing came.
pub(super) struct Closed {
    /// The frame's end.
    pub time_ms: i64,
    /// One row of columns a group, in the groups' order.
    pub rows: Vec<Vec<f64>>,
    /// The clock was not watched up to here: what is missing says nothing.
    pub blind: bool,
}

/// Where a collector stands.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Clock {
    end: Option<i64>,
    origins: Vec<(String, i64)>,
    lag_ms: i64,
    blind: u32,
}

/// What a collector holds of one group.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Held {
    series: Vec<SavedSeries>,
    /// The place of the series above, time and value.
    pending: Vec<(usize, i64, f64)>,
}

/// The collector of one detector.
pub(super) struct Collector {
    interval_ms: i64,
    lateness_ms: i64,
    known: Known,
    /// End of the frame that is being collected.
    end: Option<i64>,
    pending: Vec<(u32, i64, f64)>,
    /// Origin, and the latest time it has spoken of.
    origins: Vec<(Arc<str>, i64)>,
    now_ms: Option<i64>,
    lag_ms: i64,
    /// Frames still to be closed that are not to be judged.
    blind: u32,
    /// Ticks tell how far a partition has come; see [`Collector::of_a_partition`].
    of_a_partition: bool,
    frames: u32,
    /// Samples that were not used, by reason; and steps of the clock.
    pub counts: BTreeMap<&'static str, u64>,
}

impl Collector {
    pub(super) fn new(
        interval_ms: i64,
        lateness_ms: i64,
        group_by: Vec<String>,
        columns: Vec<Column>,
        max_groups: usize,
    ) -> Self {
        Collector {
            interval_ms,
            lateness_ms,
            known: Known::new(columns, group_by, max_groups),
            end: None,
            pending: Vec::new(),
            origins: Vec::new(),
            now_ms: None,
            lag_ms: 0,
            blind: 1, // the first frame began before we did
            of_a_partition: false,
            frames: 0,
            counts: BTreeMap::new(),
        }
    }

    /// The groups, in the order of a frame's rows.
    pub(super) fn groups(&self) -> &[GroupKey] {
        self.known.groups()
    }

    /// How many there may be.
    pub(super) fn max_groups(&self) -> usize {
        self.known.max_groups()
    }

    /// Whether samples can still come for a group of these labels.
    pub(super) fn can_make(&self, labels: &[(String, String)]) -> bool {
        self.known.can_make(labels)
    }

    /// Restores a group before it speaks.
    pub(super) fn add_group(&mut self, key: GroupKey) {
        self.known.add_group(key);
    }

    /// What comes is one partition of a log, of many hosts: its clock leaps when it is read after a while, and one host's sample
    /// does not close the frame of the others before their lateness.
    pub(super) fn of_a_partition(&mut self) {
        self.of_a_partition = true;
    }

    /// What comes now was there at this time: how far it lags is measured from then.
    pub(super) fn reached(&mut self, now_ms: i64) {
        self.now_ms = self.now_ms.max(Some(now_ms));
    }

    /// Where it stands, for another that is to go on from there.
    pub(super) fn clock(&self) -> Clock {
        Clock {
            end: self.end,
            origins: self.origins.iter().map(|(name, ms)| (name.to_string(), *ms)).collect(),
            lag_ms: self.lag_ms,
            blind: self.blind,
        }
    }

    /// Goes on from there.
    pub(super) fn resume(&mut self, clock: Clock) {
        let Clock { end, origins, lag_ms, blind } = clock;
        self.end = end;
        self.origins = origins.into_iter().map(|(name, ms)| (name.into(), ms)).collect();
        (self.lag_ms, self.blind) = (lag_ms, blind);
    }

    /// What came of a group's series in the frame that is being collected, and what is kept of them for later ones.
    pub(super) fn held_of(&self, group: usize) -> Held {
        let places: HashMap<u32, usize> =
            self.known.of_group(group).enumerate().map(|(nth, at)| (at, nth)).collect();
        let pending = self
            .pending
            .iter()
            .filter_map(|(at, time_ms, value)| places.get(at).map(|nth| (*nth, *time_ms, *value)));
        Held { series: self.known.saved(group), pending: pending.collect() }
    }

    /// Takes that back, after its group.
    pub(super) fn hold(&mut self, held: Held) {
        let places: Vec<Option<u32>> =
            held.series.into_iter().map(|series| self.known.hold(series)).collect();
        let pending = held.pending.into_iter().filter_map(|(nth, time_ms, value)| {
            Some((places.get(nth).copied().flatten()?, time_ms, value))
        });
        self.pending.extend(pending);
    }

    /// Something was not seen: neither the frame that is being collected nor the next is to be judged.
    pub(super) fn blind(&mut self) {
        self.blind = 2;
    }

    /// The first frame was seen whole after all.
    #[cfg(test)]
    pub(super) fn see(&mut self) {
        self.blind = 0;
    }

    /// Series held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.known.held()
    }

    /// Takes a batch's samples, and returns the frames that they close.
    pub(super) fn observe(&mut self, origin: &Arc<str>, metrics: &[Metric]) -> Vec<Closed> {
        let mut latest = None;
        for metric in metrics {
            let at = self.known.entry_of(&metric.series);
            match self.known.target(at) {
                Target::Nothing => continue,
                Target::Refused => {
                    self.count("group_limit");
                    continue;
                }
                Target::Unseen | Target::Columns { .. } => (),
            }
            if !metric.value.is_finite() {
                self.count("not_finite");
            } else if self
                .now_ms
                .is_some_and(|now| metric.time_ms > now + MAX_AHEAD_MS + self.interval_ms)
            {
                self.count("future");
            } else {
                latest = latest.max(Some(metric.time_ms));
                self.take(at, metric.time_ms, metric.value);
            }
        }
        let Some(latest) = latest else { return Vec::new() };
        if let Some(now) = self.now_ms {
            self.lag_ms = (now - latest).clamp(0, MAX_LAG_MS);
        }
        match self
            .origins
            .iter_mut()
            .find(|(known, _)| Arc::ptr_eq(known, origin) || known == origin)
        {
            Some((_, time)) => *time = latest.max(*time),
            None => self.origins.push((Arc::clone(origin), latest)),
        }
        self.close_passed()
    }

    /// Takes the time, and returns the frames that it closes.
    pub(super) fn tick(&mut self, now_ms: i64) -> Vec<Closed> {
        let before = self.now_ms.replace(now_ms);
        if before.is_some_and(|before| now_ms < before - self.interval_ms - self.lateness_ms) {
            self.start_anew();
            return Vec::new();
        }
        if let Some(before) = before
            && now_ms - before > LONGEST_TICK_MS.max(self.interval_ms)
            && !self.of_a_partition
        {
            // We stood still: what is missing was not looked for.
            let frames = (now_ms - before) / self.interval_ms + 2;
            self.blind = self.blind.max(frames.min(MAX_EMPTY) as u32);
        }
        let mut closed = Vec::new();
        while let Some(end) = self.end {
            if now_ms < end + self.lateness_ms + self.lag_ms {
                break;
            }
            let missed = (now_ms - end) / self.interval_ms;
            closed.push(self.close(end));
            if missed > MAX_EMPTY && self.pending.is_empty() {
                self.end = Some(self.end_of(now_ms)); // asleep, or stopped: nothing was to be seen
                self.blind = 1;
                break;
            }
        }
        closed
    }

    /// The clock was set back: frames begin again where it stands now.
    fn start_anew(&mut self) {
        self.count("clock_step");
        self.end = None;
        self.pending.clear();
        self.origins.clear();
        self.blind = 1;
        self.known.start_anew();
    }

    fn count(&mut self, reason: &'static str) {
        *self.counts.entry(reason).or_insert(0) += 1;
    }

    /// The end of the frame that a time lies in.
    fn end_of(&self, time_ms: i64) -> i64 {
        (time_ms - 1)
            .div_euclid(self.interval_ms)
            .saturating_add(1)
            .saturating_mul(self.interval_ms)
    }

    fn take(&mut self, at: u32, time_ms: i64, value: f64) {
        let end = self.end_of(time_ms);
        let current = *self.end.get_or_insert(end);
        if end < current {
            self.count("late");
        } else if end == current {
            if matches!(self.known.target(at), Target::Unseen) {
                self.blind = self.blind.max(u32::from(value > 0.0));
                return;
            }
            let gap = MAX_GAP_FRAMES * self.interval_ms;
            self.known.add(at, time_ms, value, gap);
        } else if self.pending.len() < MAX_PENDING + MAX_PENDING_OF_GROUP * self.max_groups() {
            self.pending.push((at, time_ms, value));
        } else {
            self.count("pending_full");
        }
    }

    /// Closes every frame that all speaking origins have passed.
    fn close_passed(&mut self) -> Vec<Closed> {
        let mut closed = Vec::new();
        while let Some(end) = self.end {
            // One that fell silent is not waited for longer than the lateness.
            let newest = self.origins.iter().map(|(_, time)| *time).max().unwrap_or(end);
            let speaking = self.origins.iter().map(|(_, time)| *time);
            let patience = self.interval_ms + self.lateness_ms;
            let passed = speaking.filter(|time| newest - time <= patience).min().unwrap_or(newest);
            let passed = if self.of_a_partition { passed - self.lateness_ms } else { passed };
            if passed <= end {
                break;
            }
            closed.push(self.close(end));
            let next =
                self.pending.iter().map(|(_, time, _)| *time).min().map(|time| self.end_of(time));
            if let (Some(next), Some(end)) = (next, self.end)
                && next - end > MAX_EMPTY * self.interval_ms
            {
                self.end = Some(next);
                self.blind = 1;
                self.take_pending();
            }
        }
        closed
    }

    /// What the current frame holds up to now, one row of columns a group; and the time of its newest sample.
    pub(super) fn present(&self) -> (Option<i64>, Vec<Vec<f64>>) {
        (self.origins.iter().map(|(_, time)| *time).max(), self.known.rows())
    }

    /// Closes the current frame and begins the next.
    fn close(&mut self, end: i64) -> Closed {
        let rows = self.known.rows();
        self.known.next_frame();
        let blind = self.blind > 0;
        self.blind = self.blind.saturating_sub(1);
        self.end = Some(end + self.interval_ms);
        self.take_pending();
        self.frames += 1;
        if self.frames.is_multiple_of(SWEEP_FRAMES) && self.pending.is_empty() {
            self.known.sweep();
        }
        Closed { time_ms: end, rows, blind }
    }

    fn take_pending(&mut self) {
        for (at, time_ms, value) in std::mem::take(&mut self.pending) {
            self.take(at, time_ms, value);
        }
    }
}
