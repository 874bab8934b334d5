//! How far a frame is from what is usual, seen three ways, as one number.
//!
//! A signal's deviation is measured against the mean of the training (long faults), the median of the last few hours and the
//! median of the last day (sudden ones): one view alone hides either slow or long faults (DESIGN section 6). A view's number is the
//! sum of its three largest deviations, over the 99 % quantile of that sum in training; the frame's is the weighted geometric mean
//! of the three, so that a fault which only one view sees does not count as much as one that all see. The three largest
//! |z| are the baseline that is hard to beat on server metrics (reference/anomaly-detection.md, 0.2); the mean of three
//! views is what beat it by .06 of PR-AUC on the development machines (tests/accuracy/README.md). The season is left to the
//! signals' own bands: in the first view instead of the mean it cost .006 of PR-AUC there. Only the shares, which say who is to blame,
//! know it: a signal that is where it is at every noon has no part in a fault.
//!
//! Deviations the wrong way, or too small to matter to anyone, are none.

use sentinel_models::robust::{RollingMedian, quantile, quantile_of_sorted};
use serde::{Deserialize, Serialize};

use super::signals::Signal;
use super::size::Size;
use super::treat::Sample;
use super::treatment::{Unit, matters};

/// Ways of looking.
pub(super) const VIEWS: usize = 3;
/// What the views count for: most of all, how far from the training.
const WEIGHTS: [f64; VIEWS] = [3.0, 1.0, 1.0];
/// A deviation is cut off here: beyond it more says nothing more.
const CLIP: f64 = 30.0;
/// Signals whose deviations are added up.
const TOP: usize = 3;
/// A view is measured in its 99 % quantile in training, but no less than one signal four deviations off.
const LEAST_USUAL: f64 = 4.0;
/// Least scale, as a share of the range of the training, and of its largest value.
const RANGE_FLOOR: f64 = 0.01;
const SIZE_FLOOR: f64 = 0.001;
/// The windows of the levels: the option `level_frames` times these.
const SHORT: usize = 1;
const MIDDLE: usize = 4;
pub(super) const LONG: usize = 24;
/// Recent values that make a level.
pub(super) const LEAST_LEVEL: usize = 5;

/// The recent levels of one signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Levels {
    short: RollingMedian,
    middle: RollingMedian,
    long: RollingMedian,
    /// Of how many frames the middle and the long one take one.
    #[serde(default = "each")]
    every: [usize; 2],
    /// Frames seen, as far as that matters for it.
    #[serde(default)]
    seen: usize,
}

fn each() -> [usize; 2] {
    [1, 1]
}

/// The levels at one moment; NaN until enough is known. A training keeps one of these a frame: half the room of options.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    short: f64,
    middle: f64,
    long: f64,
}

impl Now {
    pub(super) const UNKNOWN: Now = Now { short: f64::NAN, middle: f64::NAN, long: f64::NAN };

    pub(super) fn short(&self) -> Option<f64> {
        known(self.short)
    }

    pub(super) fn middle(&self) -> Option<f64> {
        known(self.middle)
    }

    pub(super) fn long(&self) -> Option<f64> {
        known(self.long)
    }
}

fn known(level: f64) -> Option<f64> {
    (!level.is_nan()).then_some(level)
}

impl Levels {
    pub(super) fn new(level_frames: usize, size: Size) -> Self {
        let window = |times: usize| RollingMedian::new(level_frames * times);
        let every = size.levels();
        Levels {
            short: window(SHORT),
            middle: window(MIDDLE / every[0]),
            long: window(LONG / every[1]),
            every,
            seen: 0,
        }
    }

    pub(super) fn push(&mut self, value: f64) {
        self.short.push(value);
        for (window, every) in [&mut self.middle, &mut self.long].into_iter().zip(self.every) {
            if self.seen.is_multiple_of(every) {
                window.push(value);
            }
        }
        self.seen = (self.seen + 1) % self.every.iter().product::<usize>();
    }

    pub(super) fn now(&self) -> Now {
        let of = |window: &RollingMedian| {
            window.median().filter(|_| window.window().len() >= LEAST_LEVEL).unwrap_or(f64::NAN)
        };
        Now { short: of(&self.short), middle: of(&self.middle), long: of(&self.long) }
    }
}

/// What was learnt of one signal for the three views.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Usual {
    /// Mean of the training; treated unit.
    mean: f64,
    /// Standard deviation of each view's residual, with its floor; treated unit.
    scales: [f64; VIEWS],
    /// The same of the distance from the season, when there is one.
    #[serde(default)]
    seasonal: Option<f64>,
}

/// The deviations of one signal in one frame, at least 0, one a view.
pub(super) type Deviations = [f64; VIEWS];

impl Usual {
    /// Learns from the treated values, what the season says of each, and the treated levels before each; what is missing is NaN.
    pub(super) fn learn(
        treated: &[f64],
        season: Option<&[f64]>,
        middle: &[f64],
        long: &[f64],
    ) -> Option<Usual> {
        let mut sorted: Vec<f64> = treated.iter().copied().filter(|t| t.is_finite()).collect();
        if sorted.len() < 2 {
            return None;
        }
        sorted.sort_unstable_by(f64::total_cmp);
        let (low, high) = (sorted[0], sorted[sorted.len() - 1]);
        let size = quantile_of_sorted(&sorted, 0.5)?.abs().max(low.abs()).max(high.abs());
        let floor = RANGE_FLOOR * (high - low) + SIZE_FLOOR * size + f64::MIN_POSITIVE;
        let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
        let spread = |against: &dyn Fn(usize) -> f64| {
            let (mut sum, mut square, mut count) = (0.0, 0.0, 0.0);
            for (at, t) in treated.iter().enumerate() {
                let residual = t - against(at);
                if residual.is_finite() {
                    (sum, square, count) =
                        (sum + residual, square + residual * residual, count + 1.0);
                }
            }
            let middle = sum / f64::max(count, 1.0);
            (square / f64::max(count, 1.0) - middle * middle).max(0.0).sqrt() + floor
        };
        let scales = [spread(&|_| mean), spread(&|at| middle[at]), spread(&|at| long[at])];
        let seasonal = season.map(|season| spread(&|at| season[at]));
        Some(Usual { mean, scales, seasonal })
    }

    /// How far a sample is off, in each view. Of the two factors (1.0 and
    /// more) the first widens the scales of the training and of the day's level while it has seen few days, the second every scale
    /// while it has seen few frames.
    pub(super) fn deviations(
        &self,
        signal: &Signal,
        unit: Unit,
        sample: &Sample,
        (youth, doubt): (f64, f64),
    ) -> Deviations {
        let Sample { value, now, .. } = *sample;
        let off = |expected, scale| off(signal, unit, value, expected, scale * doubt);
        let level = |level: Option<f64>, scale| level.map_or(0.0, |level| off(level, scale));
        [
            off(unit.undo(self.mean), self.scales[0] * youth),
            level(now.middle(), self.scales[1]),
            level(now.long(), self.scales[2] * youth),
        ]
    }

    /// The first view against what the season says (signal's unit) instead of the mean: for the shares alone.
    pub(super) fn off_season(
        &self,
        signal: &Signal,
        unit: Unit,
        (value, season): (f64, f64),
        (youth, doubt): (f64, f64),
    ) -> Option<f64> {
        Some(off(signal, unit, value, season, self.seasonal? * youth * doubt))
    }
}

/// A deviation: 0 when it is the wrong way, or too small to matter.
fn off(signal: &Signal, unit: Unit, value: f64, expected: f64, scale: f64) -> f64 {
    let scale = scale.max(unit.floor(signal, value, expected));
    let off = (unit.treat(value) - unit.treat(expected)).abs() / scale;
    if off.is_nan() || !matters(signal, value, expected, unit.volume()) {
        return 0.0;
    }
    off.min(CLIP)
}

/// The largest deviations of a frame, view by view; signals are added one after the other.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Largest([[f32; TOP]; VIEWS]);

impl Largest {
    pub(super) fn of(frame: &[Deviations]) -> Self {
        let mut largest = Largest::default();
        for of in frame {
            largest.add(of);
        }
        largest
    }

    pub(super) fn add(&mut self, deviations: &Deviations) {
        for (kept, one) in self.0.iter_mut().zip(deviations) {
            let mut one = *one as f32;
            for place in kept {
                if one > *place {
                    std::mem::swap(place, &mut one);
                }
            }
        }
    }

    fn sum(&self, view: usize) -> f64 {
        self.0[view].iter().map(|one| f64::from(*one)).sum()
    }
}

/// The views of whole frames: what their sums usually are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ensemble {
    usual: [f64; VIEWS],
}

impl Ensemble {
    /// Learns from the training's frames.
    pub(super) fn learn(frames: &[Largest]) -> Self {
        let usual = |view| {
            let sums: Vec<f64> = frames.iter().map(|frame| frame.sum(view)).collect();
            quantile(&sums, 0.99).unwrap_or(0.0).max(LEAST_USUAL)
        };
        Ensemble { usual: std::array::from_fn(usual) }
    }

    /// The frame as one number: 0 is as expected, 1 about the most usual hundredth.
    pub(super) fn raw(&self, frame: &Largest) -> f64 {
        let each = self.usual.iter().enumerate();
        let logs = each.map(|(view, usual)| WEIGHTS[view] * (frame.sum(view) / usual).ln_1p());
        (logs.sum::<f64>() / WEIGHTS.iter().sum::<f64>()).exp_m1()
    }
}

/// Each signal's share of a frame, at least 0, sum 1 (or all 0): of each view its squares.
pub(super) fn shares(frame: &[Deviations]) -> Vec<f64> {
    let mut shares = vec![0.0; frame.len()];
    for view in 0..VIEWS {
        let sum: f64 = frame.iter().map(|of| of[view] * of[view]).sum();
        if sum > 0.0 {
            for (share, of) in shares.iter_mut().zip(frame) {
                *share += of[view] * of[view] / sum;
            }
        }
    }
    let sum: f64 = shares.iter().sum();
    if sum > 0.0 {
        for share in &mut shares {
            *share /= sum;
        }
    }
    shares
}
