//! From raw scores to 1.0 at the boundary, whatever the model's scale.
//!
//! The user says how many incidents a week are welcome. An incident needs several frames (confirmation), so one frame
//! may pass more often than an incident may: its allowance is taken as `(incidents / frames a week)^(2/3)`, between
//! the 1 of frames that depend on each other wholly and the 1/2 of two independent ones. A history is mostly
//! shorter than the reciprocal of that, so the boundary is extrapolated: scores above the 90 % quantile are
//! taken to fall off exponentially (peaks over threshold with the shape of a light tail; Pickands 1975). That overstates
//! the boundary of scores that cannot grow without end, such as a forest's: quiet rather than loud.

use sentinel_models::robust::TrailingQuantile;
use serde::{Deserialize, Serialize};

use super::size::Size;

/// Scores a boundary looks back on; with frames of a minute that is a day and a half, and 32 KB.
pub(super) const WINDOW: usize = 2048;

/// A tail is extrapolated to this many times as many scores as were seen, no further.
const REACH: f64 = 10.0;

const WEEK_SECONDS: f64 = 604_800.0;

/// Incidents that are welcome, a frame.
pub(super) fn rate(incidents_per_week: f64, frame_seconds: f64) -> f64 {
    incidents_per_week * frame_seconds / WEEK_SECONDS
}

/// Share of frames that may pass a boundary.
pub(super) fn allowance(incidents_per_week: f64, frame_seconds: f64) -> f64 {
    rate(incidents_per_week, frame_seconds).powf(2.0 / 3.0).clamp(1e-9, 0.05)
}

/// How much larger the shares of frames are that may pass a boundary of the frame's number, for so many welcome incidents.
pub(super) fn welcome(incidents_per_week: f64) -> f64 {
    incidents_per_week.powf(2.0 / 3.0)
}

/// The value that `share` of `scores` will pass, extrapolated when there are too few; never below all but the
/// two largest of them. `None` for an empty window.
pub(super) fn tail_bound(scores: &TrailingQuantile, share: f64) -> Option<f64> {
    const TAIL: f64 = 0.1;
    let threshold = scores.quantile(1.0 - TAIL)?;
    let share = share.max(1.0 / (REACH * scores.len() as f64));
    let (sum, count) = (scores.values())
        .filter(|score| *score > threshold)
        .fold((0.0, 0_u32), |(sum, count), score| (sum + score - threshold, count + 1));
    let mean_excess = if count == 0 { 0.0 } else { sum / f64::from(count) };
    let tail = threshold + mean_excess * (TAIL / share).ln().max(0.0);
    Some(tail.max(observed_bound(scores, share)?))
}

/// The quantile as it was seen; the two largest scores of a short window say nothing yet.
pub(super) fn observed_bound(scores: &TrailingQuantile, share: f64) -> Option<f64> {
    scores.quantile(1.0 - share.max(2.0 / scores.len().max(1) as f64))
}

/// What the written score is measured in: so many frames, and the share of them beyond it, for one welcome incident a week.
/// With frames of a minute a day.
const DAY: (usize, f64) = (1440, 0.01);
/// What evidence is measured in; with frames of a minute two days.
const DAYS: (usize, f64) = (2880, 0.02);
/// What a single frame is measured in when it is to be enough, for one welcome incident a week; a fortnight.
const FORTNIGHT: (usize, f64) = (20_160, 0.002);
/// No boundary is lower: about one signal four deviations off in every view.
const LEAST: f64 = 1.0;
const LEAST_DAYS: f64 = 0.75;
/// A quantile is taken as it was seen when so many scores lie beyond it.
const SEEN: f64 = 5.0;

/// The boundary of a frame's number: a trailing quantile.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Trailing {
    /// Of the numbers that are kept.
    share: f64,
    least: f64,
    window: TrailingQuantile,
    bound: f64,
    /// Of so many frames the largest number is kept. If large ones come alone, so many times as large a share of those is
    /// beyond the boundary; if they come together, the boundary is lower than it would be.
    #[serde(default = "each")]
    every: usize,
    /// Frames of which that one is not kept yet, and their largest number.
    #[serde(default)]
    block: (usize, f64),
}

fn each() -> usize {
    1
}

impl Trailing {
    /// Over the last day of minutes.
    pub(super) fn day(welcome: f64, size: Size, raw: impl IntoIterator<Item = f64>) -> Self {
        Trailing::new((DAY.0, DAY.1 * welcome), LEAST, size.trailing()[0], raw)
    }

    /// Over the last two days of minutes.
    pub(super) fn days(size: Size, raw: impl IntoIterator<Item = f64>) -> Self {
        Trailing::new(DAYS, LEAST_DAYS, size.trailing()[1], raw)
    }

    /// Over the last fortnight of minutes.
    pub(super) fn fortnight(welcome: f64, size: Size, raw: impl IntoIterator<Item = f64>) -> Self {
        Trailing::new((FORTNIGHT.0, FORTNIGHT.1 * welcome), LEAST, size.trailing()[2], raw)
    }

    fn new(
        (frames, share): (usize, f64),
        least: f64,
        every: usize,
        raw: impl IntoIterator<Item = f64>,
    ) -> Self {
        let share = (share.clamp(1e-6, 0.05) * every as f64).min(0.25);
        let window = TrailingQuantile::new(frames / every);
        let mut trailing = Trailing { share, least, window, bound: least, every, block: (0, 0.0) };
        raw.into_iter().for_each(|raw| trailing.keep(raw));
        trailing.place();
        trailing
    }

    fn keep(&mut self, raw: f64) {
        let (frames, largest) = self.block;
        let largest = if frames == 0 { raw } else { raw.max(largest) };
        self.block = (frames + 1, largest);
        if frames + 1 >= self.every {
            self.window.push(largest);
            self.block = (0, 0.0);
        }
    }

    pub(super) fn push(&mut self, raw: f64) {
        self.keep(raw);
        self.place();
    }

    fn place(&mut self) {
        let enough = self.window.len() as f64 * self.share >= SEEN;
        let bound = if enough {
            self.window.quantile(1.0 - self.share)
        } else {
            tail_bound(&self.window, self.share)
        };
        self.bound = bound.unwrap_or(self.least).max(self.least);
    }

    /// It looks back as far as it ever will.
    pub(super) fn is_whole(&self) -> bool {
        self.window.len() == self.window.capacity()
    }

    /// 1.0 at the boundary.
    pub(super) fn score(&self, raw: f64) -> f64 {
        raw / self.bound
    }

    /// The number at which it lies.
    pub(super) fn bound(&self) -> f64 {
        self.bound
    }
}

/// How a model's raw scores become scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Scale {
    /// 0 at the median raw score, 1.0 at the extrapolated tail: for scores without a natural zero.
    Tail,
    /// 1.0 at raw 1.0, or higher if more frames than allowed have passed that: for scores that are nearly there.
    Ratio,
}

/// A boundary that does not move.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Edge {
    center: f64,
    bound: f64,
}

impl Edge {
    /// 0 at the center, 1.0 at the boundary.
    pub(super) fn score(self, raw: f64) -> f64 {
        ((raw - self.center) / (self.bound - self.center)).max(0.0)
    }
}

/// A model's boundary: a trailing quantile of its raw scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Boundary {
    scale: Scale,
    share: f64,
    window: TrailingQuantile,
    center: f64,
    bound: f64,
    /// Of so many scores one is kept; how many came since the last.
    #[serde(default = "each")]
    every: usize,
    #[serde(default)]
    since: usize,
}

impl Boundary {
    /// A boundary over the raw scores of the training, oldest first.
    pub(super) fn new(scale: Scale, share: f64, raw: impl IntoIterator<Item = f64>) -> Self {
        Boundary::of_size(Size::Full, scale, share, raw)
    }

    /// The same for a group of this size.
    pub(super) fn of_size(
        size: Size,
        scale: Scale,
        share: f64,
        raw: impl IntoIterator<Item = f64>,
    ) -> Self {
        let every = size.boundary();
        let mut window = TrailingQuantile::new(WINDOW / every);
        window.extend(raw.into_iter().step_by(every));
        let mut boundary =
            Boundary { scale, share, window, center: 0.0, bound: 1.0, every, since: 0 };
        boundary.place();
        boundary
    }

    /// Takes a raw score into account. Not called while a confirmed incident is young: the boundary stands still.
    pub(super) fn push(&mut self, raw: f64) {
        self.since += 1;
        if self.since >= self.every {
            self.since = 0;
            self.window.push(raw);
            self.place();
        }
    }

    fn place(&mut self) {
        match self.scale {
            Scale::Tail => {
                self.center = self.window.quantile(0.5).unwrap_or(0.0);
                let bound = tail_bound(&self.window, self.share).unwrap_or(1.0);
                self.bound = bound.max(self.center + 0.02); // all scores equal: a forest that could not grow
            }
            Scale::Ratio => {
                // What was seen so often is not beyond: a clipped score comes back to the last bit.
                let observed = observed_bound(&self.window, self.share).unwrap_or(1.0);
                self.bound = (observed * (1.0 + 1e-9)).max(1.0);
            }
        }
    }

    /// 1.0 at the boundary.
    pub(super) fn score(&self, raw: f64) -> f64 {
        self.edge().score(raw)
    }

    /// As it is now, without what moves it.
    pub(super) fn edge(&self) -> Edge {
        Edge { center: self.center, bound: self.bound }
    }

    /// The raw score at which it lies.
    pub(super) fn bound(&self) -> f64 {
        self.bound
    }
}
