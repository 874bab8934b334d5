//! Collects samples into frames: one row of columns per group and interval.
//!
//! A frame at T holds the samples of `T - interval < t <= T`. It closes when every origin that speaks has passed T, or
//! when the clock has, by `lateness` and by how far the samples usually lag behind it. A series is matched once, when
//! its `Arc` is first seen; a sample then costs one look-up by pointer. Counters become rates a second and survive
//! resets. What does not fit is counted: late, not finite, from the future, of a group beyond the limit.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use foldhash::fast::FixedState;
use sentinel_contract::{Kind, Metric, Series};

use super::signals::{Aggregate, Column};

/// What an observer says of a window of which it has not seen all (`processors.log_features`).
const UNSEEN: &str = "log_unseen";
/// Samples that wait for their frame to become the current one.
const MAX_PENDING: usize = 100_000;
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

/// What a series' samples feed.
enum Target {
    /// Nothing here.
    Nothing,
    /// Its group is one too many.
    Refused,
    /// It counts what its source has not seen.
    Unseen,
    /// Columns of a group.
    Columns { group: u32, columns: Box<[u16]> },
}

/// What came of a series in the current frame, and what its counter stood at.
#[derive(Default)]
struct Tally {
    sum: f64,
    count: u32,
    max: f64,
    last: f64,
    /// Milliseconds that `sum` of a counter grew in.
    elapsed: i64,
    before: Option<(i64, f64)>,
}

struct Entry {
    series: Arc<Series>,
    target: Target,
    tally: Tally,
}

/// A set of label values that is watched on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupKey {
    /// The values, joined; empty for the host itself.
    pub name: String,
    /// Names and values of the labels it has.
    pub labels: Vec<(String, String)>,
}

/// One group's columns in a closed frame; NaN where nothing came.
pub(super) struct Closed {
    /// The frame's end.
    pub time_ms: i64,
    /// One row of columns a group, in the groups' order.
    pub rows: Vec<Vec<f64>>,
    /// The clock was not watched up to here: what is missing says nothing.
    pub blind: bool,
}

/// The collector of one detector.
pub(super) struct Collector {
    interval_ms: i64,
    lateness_ms: i64,
    group_by: Vec<String>,
    columns: Vec<Column>,
    max_groups: usize,
    index: HashMap<usize, u32, FixedState>,
    entries: Vec<Entry>,
    groups: Vec<GroupKey>,
    /// End of the frame that is being collected.
    end: Option<i64>,
    pending: Vec<(u32, i64, f64)>,
    /// Origin, and the latest time it has spoken of.
    origins: Vec<(Arc<str>, i64)>,
    now_ms: Option<i64>,
    lag_ms: i64,
    /// Frames still to be closed that are not to be judged.
    blind: u32,
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
            group_by,
            columns,
            max_groups,
            index: HashMap::default(),
            entries: Vec::new(),
            groups: Vec::new(),
            end: None,
            pending: Vec::new(),
            origins: Vec::new(),
            now_ms: None,
            lag_ms: 0,
            blind: 1, // the first frame began before we did
            frames: 0,
            counts: BTreeMap::new(),
        }
    }

    /// The groups, in the order of a frame's rows.
    pub(super) fn groups(&self) -> &[GroupKey] {
        &self.groups
    }

    /// How many there may be.
    pub(super) fn max_groups(&self) -> usize {
        self.max_groups
    }

    /// Restores a group before it speaks.
    pub(super) fn add_group(&mut self, key: GroupKey) {
        self.groups.push(key);
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
        self.entries.len()
    }

    /// Takes a batch's samples, and returns the frames that they close.
    pub(super) fn observe(&mut self, origin: &Arc<str>, metrics: &[Metric]) -> Vec<Closed> {
        let mut latest = None;
        for metric in metrics {
            let at = self.entry_of(&metric.series);
            match &self.entries[at as usize].target {
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
        for entry in &mut self.entries {
            entry.tally = Tally::default();
        }
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

    fn entry_of(&mut self, series: &Arc<Series>) -> u32 {
        // The entry holds the series, so that its address cannot become another's.
        let address = Arc::as_ptr(series).addr();
        if let Some(at) = self.index.get(&address) {
            return *at;
        }
        let at = self.entries.len() as u32;
        let target = self.target_of(series);
        self.entries.push(Entry { series: Arc::clone(series), target, tally: Tally::default() });
        self.index.insert(address, at);
        at
    }

    fn target_of(&mut self, series: &Series) -> Target {
        if series.name() == UNSEEN {
            return Target::Unseen;
        }
        let takers = self.columns.iter().enumerate().filter(|(_, column)| column.takes(series));
        let columns: Box<[u16]> = takers.map(|(index, _)| index as u16).collect();
        if columns.is_empty() {
            return Target::Nothing;
        }
        let labels = self.group_by.iter().filter_map(|name| {
            series.labels().get(name).map(|value| (name.clone(), value.to_owned()))
        });
        let labels: Vec<_> = labels.collect();
        if let Some(group) = self.groups.iter().position(|group| group.labels == labels) {
            return Target::Columns { group: group as u32, columns };
        }
        if self.groups.len() >= self.max_groups {
            return Target::Refused;
        }
        let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
        self.groups.push(GroupKey { name: values.join(","), labels });
        Target::Columns { group: (self.groups.len() - 1) as u32, columns }
    }

    fn take(&mut self, at: u32, time_ms: i64, value: f64) {
        let end = self.end_of(time_ms);
        let current = *self.end.get_or_insert(end);
        if end < current {
            self.count("late");
        } else if end == current {
            let entry = &mut self.entries[at as usize];
            if matches!(entry.target, Target::Unseen) {
                self.blind = self.blind.max(u32::from(value > 0.0));
                return;
            }
            let gap = MAX_GAP_FRAMES * self.interval_ms;
            entry.tally.add(entry.series.kind(), time_ms, value, gap);
        } else if self.pending.len() < MAX_PENDING {
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
        (self.origins.iter().map(|(_, time)| *time).max(), self.rows())
    }

    fn rows(&self) -> Vec<Vec<f64>> {
        let mut rows = vec![vec![Fold::default(); self.columns.len()]; self.groups.len()];
        for entry in &self.entries {
            if let Target::Columns { group, columns } = &entry.target
                && entry.tally.is_used()
            {
                for column in columns {
                    let over_time = self.columns[usize::from(*column)].over_time;
                    let value = entry.tally.value(entry.series.kind(), over_time);
                    rows[*group as usize][usize::from(*column)].add(value);
                }
            }
        }
        let value = |row: Vec<Fold>| -> Vec<f64> {
            row.iter()
                .zip(&self.columns)
                .map(|(fold, column)| fold.value(column.aggregate))
                .collect()
        };
        rows.into_iter().map(value).collect()
    }

    /// Closes the current frame and begins the next.
    fn close(&mut self, end: i64) -> Closed {
        let rows = self.rows();
        for entry in self.entries.iter_mut().filter(|entry| entry.tally.is_used()) {
            entry.tally.next_frame();
        }
        let blind = self.blind > 0;
        self.blind = self.blind.saturating_sub(1);
        self.end = Some(end + self.interval_ms);
        self.take_pending();
        self.frames += 1;
        if self.frames.is_multiple_of(SWEEP_FRAMES) && self.pending.is_empty() {
            self.sweep();
        }
        Closed { time_ms: end, rows, blind }
    }

    fn take_pending(&mut self) {
        for (at, time_ms, value) in std::mem::take(&mut self.pending) {
            self.take(at, time_ms, value);
        }
    }

    /// Forgets series that nobody else holds.
    fn sweep(&mut self) {
        self.entries.retain(|entry| Arc::strong_count(&entry.series) > 1 || entry.tally.is_used());
        let places = self.entries.iter().enumerate();
        self.index =
            places.map(|(at, entry)| (Arc::as_ptr(&entry.series).addr(), at as u32)).collect();
    }
}

impl Tally {
    /// Something came in the current frame.
    fn is_used(&self) -> bool {
        self.count > 0 || self.elapsed > 0
    }

    fn add(&mut self, kind: Kind, time_ms: i64, value: f64, longest_gap_ms: i64) {
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

    fn value(&self, kind: Kind, over_time: Aggregate) -> f64 {
        match (kind, over_time) {
            (Kind::Counter, _) => self.sum * 1000.0 / self.elapsed as f64,
            (_, Aggregate::Sum) => self.sum,
            (_, Aggregate::Mean) => self.sum / f64::from(self.count),
            (_, Aggregate::Max) => self.max,
            (_, Aggregate::Last) => self.last,
        }
    }

    fn next_frame(&mut self) {
        *self = Tally { before: self.before, ..Tally::default() };
    }
}

/// Values of several series on their way to one.
#[derive(Clone, Default)]
struct Fold {
    sum: f64,
    count: u32,
    max: f64,
    last: f64,
}

impl Fold {
    fn add(&mut self, value: f64) {
        self.max = if self.count == 0 { value } else { self.max.max(value) };
        self.sum += value;
        self.count += 1;
        self.last = value;
    }

    fn value(&self, aggregate: Aggregate) -> f64 {
        match aggregate {
            _ if self.count == 0 => f64::NAN,
            Aggregate::Sum => self.sum,
            Aggregate::Mean => self.sum / f64::from(self.count),
            Aggregate::Max => self.max,
            Aggregate::Last => self.last,
        }
    }
}
