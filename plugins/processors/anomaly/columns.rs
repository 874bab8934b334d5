//! The frames of a training, read a few signals at a time.
//!
//! All of them at once are the most that a training holds: 20,160 frames of 60 signals are 11 MB (`tests/bench/run models`). A
//! column is 160 KB; reading history once more for some others takes some 30 ms of the training thread.
//!
//! Of short frames they do not reach back a fortnight. Those before them are *older*: joined into means, which are enough for a
//! season, and not for scales or boundaries.

use std::ops::Range;

use anyhow::Context as _;
use sentinel_contract::history::{Frame, History};

/// Frames read from history at once.
const CHUNK_FRAMES: i64 = 500;
/// Means that the older ones are joined into, at most.
const MOST_OLDER: i64 = 2048;
/// A written score that means beyond the boundary, and for long.
const LONG_BEYOND: f64 = 2.0;

/// Scales do not learn from frames that were far beyond the boundary for long when they came, or they would stop seeing such
/// faults (measured on the development machines with daily training: PR-AUC .43 with those frames, .48 without). The
/// boundaries do.
pub(super) fn is_learnt(score: f64) -> bool {
    score.is_nan() || score < LONG_BEYOND
}

/// The frames of a group between two times, without those of incidents, in history.
pub(super) struct Stored<'a> {
    pub history: &'a dyn History,
    /// The group's name in history.
    pub name: &'a str,
    /// Of all signals.
    pub names: &'a [String],
    /// Where the older ones begin; `from_ms` when there are none.
    pub older_ms: i64,
    pub from_ms: i64,
    pub upto_ms: i64,
    pub interval_ms: i64,
    /// Times of incidents.
    pub excluded: &'a [Range<i64>],
}

impl Stored<'_> {
    fn each(
        &self,
        names: &[String],
        times: Range<i64>,
        mut take: impl FnMut(Frame),
    ) -> anyhow::Result<()> {
        let mut from = times.start;
        while from < times.end {
            let to = (from + CHUNK_FRAMES * self.interval_ms).min(times.end);
            let chunk = self.history.frames(self.name, names, from, to);
            for frame in chunk.context("cannot read history")? {
                if !self.excluded.iter().any(|times| times.contains(&frame.time_ms)) {
                    take(frame);
                }
            }
            from = to;
        }
        Ok(())
    }

    /// The frames of the training from a time on.
    fn since(&self, from_ms: i64) -> Range<i64> {
        from_ms..self.upto_ms + 1
    }

    /// Each older frame, with the middle of the time that it is joined into.
    fn each_older(&self, names: &[String], mut take: impl FnMut(i64, Frame)) -> anyhow::Result<()> {
        let frames = (self.from_ms - self.older_ms) / self.interval_ms;
        let width_ms = (frames / MOST_OLDER + 1) * self.interval_ms;
        self.each(names, self.older_ms..self.from_ms, |frame| {
            if is_learnt(frame.score) {
                let number = (frame.time_ms - self.older_ms) / width_ms;
                take(self.older_ms + number * width_ms + width_ms / 2, frame);
            }
        })
    }
}

/// The frames of a training, in time order.
pub(super) struct Columns<'a> {
    pub times: Vec<i64>,
    /// As they were when the frames came.
    pub scores: Vec<f64>,
    /// Middles of the times that the older ones are joined into.
    pub older: Vec<i64>,
    place: Place<'a>,
}

enum Place<'a> {
    Held(&'a [Frame]),
    Stored(&'a Stored<'a>),
}

impl<'a> Columns<'a> {
    /// Frames that are in memory.
    pub(super) fn held(frames: &'a [Frame]) -> Self {
        Columns {
            times: frames.iter().map(|frame| frame.time_ms).collect(),
            scores: frames.iter().map(|frame| frame.score).collect(),
            older: Vec::new(),
            place: Place::Held(frames),
        }
    }

    /// Frames that are in history now.
    pub(super) fn stored(stored: &'a Stored<'a>) -> anyhow::Result<Self> {
        let (mut times, mut scores) = (Vec::new(), Vec::new());
        stored.each(&[], stored.since(stored.from_ms), |frame| {
            times.push(frame.time_ms);
            scores.push(frame.score);
        })?;
        let mut older = Vec::new();
        stored.each_older(&[], |middle_ms, _| {
            if older.last() != Some(&middle_ms) {
                older.push(middle_ms);
            }
        })?;
        Ok(Columns { times, scores, older, place: Place::Stored(stored) })
    }

    /// How many frames.
    pub(super) fn len(&self) -> usize {
        self.times.len()
    }

    /// The values of these signals, a column each. What history has removed since is missing.
    pub(super) fn read(&self, signals: &[usize]) -> anyhow::Result<Vec<Vec<f64>>> {
        let stored = match self.place {
            Place::Held(frames) => {
                let column = |at: &usize| frames.iter().map(|frame| frame.values[*at]).collect();
                return Ok(signals.iter().map(column).collect());
            }
            Place::Stored(stored) => stored,
        };
        let names: Vec<String> = signals.iter().map(|at| stored.names[*at].clone()).collect();
        let mut columns = vec![vec![f64::NAN; self.len()]; signals.len()];
        let mut row = 0;
        stored.each(&names, stored.since(stored.from_ms), |frame| {
            row += self.times[row..].partition_point(|time_ms| *time_ms < frame.time_ms);
            if self.times.get(row) == Some(&frame.time_ms) {
                for (column, value) in columns.iter_mut().zip(frame.values) {
                    column[row] = value;
                }
            }
        })?;
        Ok(columns)
    }

    /// The means of these signals at the times `older`, a column each.
    pub(super) fn read_older(&self, signals: &[usize]) -> anyhow::Result<Vec<Vec<f64>>> {
        let Place::Stored(stored) = self.place else { return Ok(vec![Vec::new(); signals.len()]) };
        let names: Vec<String> = signals.iter().map(|at| stored.names[*at].clone()).collect();
        let mut sums = vec![vec![(0.0, 0.0); self.older.len()]; signals.len()];
        stored.each_older(&names, |middle_ms, frame| {
            let Ok(row) = self.older.binary_search(&middle_ms) else { return };
            for (sums, value) in sums.iter_mut().zip(frame.values) {
                if value.is_finite() {
                    sums[row] = (sums[row].0 + value, sums[row].1 + 1.0);
                }
            }
        })?;
        let mean = |(sum, count): (f64, f64)| sum / count; // NaN of none
        Ok(sums.into_iter().map(|of| of.into_iter().map(mean).collect()).collect())
    }

    /// The newest frames, at most so many, with all signals.
    pub(super) fn newest(&self, count: usize) -> anyhow::Result<Vec<Frame>> {
        let from = self.len().saturating_sub(count);
        match self.place {
            Place::Held(frames) => Ok(frames[from..].to_vec()),
            Place::Stored(stored) => {
                let mut frames = Vec::with_capacity(count.min(self.len()));
                let from_ms = self.times.get(from).copied().unwrap_or(stored.upto_ms);
                stored.each(stored.names, stored.since(from_ms), |frame| frames.push(frame))?;
                Ok(frames)
            }
        }
    }
}
