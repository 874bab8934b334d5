//! The frames of a training, read a few signals at a time.
//!
//! All of them at once are the most that a training holds: 20,160 frames of 60 signals are 11 MB (`tests/bench/run models`). A
//! column is 160 KB; reading history once more for some others takes some 30 ms of the training thread.

use std::ops::Range;

use anyhow::Context as _;
use sentinel_contract::history::{Frame, History};

/// Frames read from history at once.
const CHUNK_FRAMES: i64 = 500;

/// The frames of a group between two times, without those of incidents, in history.
pub(super) struct Stored<'a> {
    pub history: &'a dyn History,
    /// The group's name in history.
    pub name: &'a str,
    /// Of all signals.
    pub names: &'a [String],
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
        from_ms: i64,
        mut take: impl FnMut(Frame),
    ) -> anyhow::Result<()> {
        let mut from = from_ms;
        while from <= self.upto_ms {
            let to = (from + CHUNK_FRAMES * self.interval_ms).min(self.upto_ms + 1);
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
}

/// The frames of a training, in time order.
pub(super) struct Columns<'a> {
    pub times: Vec<i64>,
    /// As they were when the frames came.
    pub scores: Vec<f64>,
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
            place: Place::Held(frames),
        }
    }

    /// Frames that are in history now.
    pub(super) fn stored(stored: &'a Stored<'a>) -> anyhow::Result<Self> {
        let (mut times, mut scores) = (Vec::new(), Vec::new());
        stored.each(&[], stored.from_ms, |frame| {
            times.push(frame.time_ms);
            scores.push(frame.score);
        })?;
        Ok(Columns { times, scores, place: Place::Stored(stored) })
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
        stored.each(&names, stored.from_ms, |frame| {
            row += self.times[row..].partition_point(|time_ms| *time_ms < frame.time_ms);
            if self.times.get(row) == Some(&frame.time_ms) {
                for (column, value) in columns.iter_mut().zip(frame.values) {
                    column[row] = value;
                }
            }
        })?;
        Ok(columns)
    }

    /// The newest frames, at most so many, with all signals.
    pub(super) fn newest(&self, count: usize) -> anyhow::Result<Vec<Frame>> {
        let from = self.len().saturating_sub(count);
        match self.place {
            Place::Held(frames) => Ok(frames[from..].to_vec()),
            Place::Stored(stored) => {
                let mut frames = Vec::with_capacity(count.min(self.len()));
                let from_ms = self.times.get(from).copied().unwrap_or(stored.upto_ms);
                stored.each(stored.names, from_ms, |frame| frames.push(frame))?;
                Ok(frames)
            }
        }
    }
}
