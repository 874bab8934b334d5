//! How far beyond its band each signal must be to be believed: a signal that was often beyond for a moment, and nothing came of it,
//! needs more the next time. A disk that is idle and briefly busy each time something is flushed would else raise an incident each
//! time; one bar for all signals would let that disk hide all others (both seen in `tests/faults-live`).
//!
//! A bar tracks a quantile by stochastic approximation (Robbins and Monro 1951) in the logarithm: one step up for an incident that
//! was not confirmed, or by one frame alone, and so many small ones down in the other frames that about the wanted share of frames
//! passes it.

use serde::{Deserialize, Serialize};

use super::treat::Measure;

/// A step up: by a third, and no higher than what was seen.
const STEP: f64 = 0.3;

/// One bar a signal, 1.0 or more, in scores.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Bars {
    bars: Vec<f64>,
    /// The largest score of each signal in the incident that is open.
    worst: Vec<f64>,
}

impl Bars {
    /// The largest of some signals that are far enough from what is expected, the way that hurts; 1.0 at its bar. What has
    /// drifted is judged by itself.
    pub(super) fn score(&self, measures: &[Measure], of: impl Fn(usize) -> bool) -> f64 {
        let some = measures.iter().enumerate().filter(|(at, _)| of(*at));
        some.filter(|(_, one)| one.counts && !one.has_drifted())
            .fold(0.0, |most, (at, one)| (one.score / self.bar(at)).max(most))
    }

    /// Whether one signal is, by either test.
    pub(super) fn is_beyond(&self, at: usize, one: &Measure) -> bool {
        one.has_drifted() || one.score >= self.bar(at)
    }

    fn bar(&self, at: usize) -> f64 {
        self.bars.get(at).copied().unwrap_or(1.0)
    }

    /// Takes a frame, judged already: the bars sink so that a `share` of frames may pass, or while an incident is open, stay.
    pub(super) fn push(&mut self, measures: &[Measure], share: f64, open: bool) {
        self.bars.resize(measures.len(), 1.0);
        self.worst.resize(measures.len(), 0.0);
        if !open {
            self.worst.fill(0.0);
            let sinks = (-STEP * share).exp();
            self.bars.iter_mut().for_each(|bar| *bar = (*bar * sinks).max(1.0));
        }
        for (worst, one) in self.worst.iter_mut().zip(measures).filter(|(_, one)| one.counts) {
            *worst = worst.max(one.score);
        }
    }

    /// The open incident came to nothing, or was a single frame: what was beyond its bar in it needs more the next time.
    pub(super) fn raise(&mut self) {
        for (bar, worst) in self.bars.iter_mut().zip(&self.worst) {
            if worst > bar {
                // A clipped score comes back to the last bit: it must not pass what it has set.
                *bar = (*bar * STEP.exp()).min(worst * (1.0 + 1e-9));
            }
        }
    }
}
