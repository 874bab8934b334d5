//! Which signals changed most at an incident: the ranking of its suspects.
//!
//! In the manner of the robust scorer of BARO (Pham et al. 2024, arXiv 2405.09330), which compares values after the
//! onset with the median and the spread before it. Ours differs in three things, each measured on SMD and `PetShop` by
//! `examples/petshop.rs`: the spread is of the signal's movements (frame to frame, and away from its level of the hours
//! before), not of its values; a value must be new against training *and* against the hours before the onset; and the
//! frames are joined by their fourth-power mean, between mean (it lasts) and largest (it is strong).
//!
//! It names what changed, not what caused it, and knows no signal's meaning.

use serde::{Deserialize, Serialize};

use crate::robust::median;

#[cfg(test)]
mod tests;

/// A deviation of more than this many scales counts as this many: its fourth power still is a number.
const LARGEST: f64 = 1e60;

/// Steps from frame to frame that training must hold before a change can be judged: a signal that spoke now and then has
/// no movements to compare with, and would lead every ranking. (`PetShop` gives the same figures for 1 to 100.)
const FEWEST_STEPS: usize = 10;

/// Which side of the usual a signal must lie on to count as changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Either side.
    #[default]
    Both,
    /// Above (latency, errors).
    Up,
    /// Below (availability).
    Down,
}

/// What is usual for one signal, learned from training; every number is in the signal's unit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// Median of the training.
    pub center: f64,
    /// Root mean square of the steps from one frame to the next.
    pub step: f64,
    /// Root mean square of the distances from the level (median) of the `window` frames before.
    pub drift: f64,
}

impl Baseline {
    /// Learns from `training`, one value a frame in order of time, NaN where it is missing. `window`, in frames, is the
    /// length of the recent level, about three hours (0 counts as 1); the level is taken anew every sixth of it.
    /// A training shorter than the window has no drift, and counts with its steps alone.
    ///
    /// `None` if fewer than 10 pairs of neighbouring frames have a value, which is too little to judge. O(n log n).
    pub fn fit(training: &[f64], window: usize) -> Option<Self> {
        let center = median(training).filter(|center| center.abs() < f64::MAX)?;
        let steps = training.windows(2).map(|pair| pair[1] - pair[0]);
        let (step, count) = root_mean_square(steps);
        (count >= FEWEST_STEPS).then(|| Self {
            center,
            step,
            drift: drift(training, window.max(1)),
        })
    }

    /// The deviation that counts as one: sqrt(step^2 + drift^2), and a floor for signals that stand still, which is
    /// 0.001 |center| + 0.001, or `least` if that is larger (the signal's minimum deviation; 0 if it has none).
    pub fn scale(&self, least: f64) -> f64 {
        let floor = 0.001 * self.center.abs() + 0.001;
        self.step.hypot(self.drift) + floor.max(least)
    }
}

/// The change of one signal since the onset, value by value; O(1) in time and memory for each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    center: f64,
    level: f64,
    scale: f64,
    direction: Direction,
    fourth_powers: f64,
    frames: u64,
}

impl Change {
    /// Begins at the onset. `recent`: the window of frames before it, NaN where missing; without any number the
    /// training's center stands for the recent level. `least`: see [`Baseline::scale`]. O(n log n) in `recent`.
    pub fn new(baseline: &Baseline, recent: &[f64], direction: Direction, least: f64) -> Self {
        Self {
            center: baseline.center,
            level: median(recent).unwrap_or(baseline.center),
            scale: baseline.scale(least),
            direction,
            fourth_powers: 0.0,
            frames: 0,
        }
    }

    /// Adds the next frame's value; a missing one (NaN) is a frame without a change.
    pub fn push(&mut self, value: f64) {
        let deviations = self.deviation(value) / self.scale;
        self.frames += 1;
        if deviations > 0.0 {
            self.fourth_powers += deviations.min(LARGEST).powi(4);
        }
    }

    /// The change so far, in scales, 0 before the first frame: the fourth root of the mean of the fourth powers.
    /// One frame of n counts 1/n^(1/4) of what it would count if it lasted.
    pub fn value(&self) -> f64 {
        if self.frames == 0 {
            return 0.0;
        }
        (self.fourth_powers / self.frames as f64).sqrt().sqrt()
    }

    /// Distance of `value` from the nearer of center and level, 0 on the side that does not count.
    fn deviation(&self, value: f64) -> f64 {
        let (from_center, from_level) = (value - self.center, value - self.level);
        match self.direction {
            Direction::Both => from_center.abs().min(from_level.abs()),
            Direction::Up => from_center.min(from_level),
            Direction::Down => (-from_center).min(-from_level),
        }
    }
}

/// The change of one signal over all frames of `post`: [`Change`] in one call. Not negative, never NaN.
pub fn change(
    baseline: &Baseline,
    recent: &[f64],
    post: &[f64],
    direction: Direction,
    least: f64,
) -> f64 {
    let mut change = Change::new(baseline, recent, direction, least);
    for value in post {
        change.push(*value);
    }
    change.value()
}

/// Indices of `changes`, the largest first; equal ones stay in their order, NaN comes last. O(n log n).
pub fn rank(changes: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..changes.len()).collect();
    order.sort_by(|&a, &b| number(changes[b]).total_cmp(&number(changes[a])));
    order
}

/// The first `count` of a ranking in which a signal counts only with what the ones before it do not tell: after each
/// choice, every other change is multiplied by the smallest sqrt(1 - r^2) to a chosen signal, the share of its spread
/// that a straight line from that signal leaves (load over 5 minutes tells little after load over 1 minute). The first
/// is the first of [`rank`]. `correlation`: from [`correlation`], one row and column for each change. O(count n).
///
/// # Panics
/// If `correlation` is not the square of `changes` long.
pub fn rank_distinct(changes: &[f64], correlation: &[f64], count: usize) -> Vec<usize> {
    let n = changes.len();
    assert_eq!(correlation.len(), n * n, "one row and one column for each change");
    let mut shares = vec![1.0_f64; n];
    let mut left: Vec<usize> = (0..n).collect();
    let mut chosen = Vec::with_capacity(count.min(n));
    while chosen.len() < count && !left.is_empty() {
        let worth = |signal: usize| number(changes[signal]) * shares[signal];
        let best = (1..left.len())
            .fold(0, |best, at| if worth(left[at]) > worth(left[best]) { at } else { best });
        let next = left.remove(best);
        for &other in &left {
            let r = correlation[next * n + other].clamp(-1.0, 1.0);
            shares[other] = shares[other].min((1.0 - r * r).sqrt());
        }
        chosen.push(next);
    }
    chosen
}

/// Pearson correlation of every pair of `columns` (equally long, one value a frame), row by row. A missing value (NaN)
/// counts as its column's mean; a constant column correlates with nothing, not even itself. O(columns^2 n).
///
/// # Panics
/// If the columns differ in length.
pub fn correlation(columns: &[impl AsRef<[f64]>]) -> Vec<f64> {
    let standard: Vec<Vec<f64>> =
        columns.iter().map(|column| standardized(column.as_ref())).collect();
    let mut all = Vec::with_capacity(columns.len() * columns.len());
    for a in &standard {
        for b in &standard {
            assert_eq!(a.len(), b.len(), "columns of one table");
            all.push(a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>().clamp(-1.0, 1.0));
        }
    }
    all
}

/// `values` minus their mean, divided by the root of the sum of squares: the product of two such columns is their
/// correlation. Missing values and constant columns become 0.
fn standardized(values: &[f64]) -> Vec<f64> {
    let (sum, count) = values
        .iter()
        .filter(|value| value.is_finite())
        .fold((0.0, 0.0), |(sum, count), value| (sum + value, count + 1.0));
    let centered = |value: &f64| if value.is_finite() { value - sum / count } else { 0.0 };
    let length = values.iter().map(|value| centered(value).powi(2)).sum::<f64>().sqrt();
    let noise = 1e-12 * sum.abs(); // what rounding leaves of a constant column
    values.iter().map(|value| if length > noise { centered(value) / length } else { 0.0 }).collect()
}

/// Root mean square distance of the training from the median of the `window` frames before, taken anew every sixth.
fn drift(training: &[f64], window: usize) -> f64 {
    let hop = (window / 6).max(1);
    let distances = (window..training.len()).step_by(hop).flat_map(|at| {
        let level = median(&training[at - window..at]).unwrap_or(f64::NAN);
        let until = (at + hop).min(training.len());
        training[at..until].iter().map(move |value| value - level)
    });
    root_mean_square(distances).0
}

/// Root of the mean square of the finite ones of `values`, 0 if there is none, and their number.
fn root_mean_square(values: impl Iterator<Item = f64>) -> (f64, usize) {
    let (sum, count) = values
        .filter(|value| value.is_finite())
        .fold((0.0, 0), |(sum, count): (f64, usize), value| (sum + value.powi(2), count + 1));
    ((sum / count.max(1) as f64).sqrt().min(f64::MAX), count)
}

/// A change to compare: NaN counts less than any.
fn number(change: f64) -> f64 {
    if change.is_nan() { f64::NEG_INFINITY } else { change }
}
