//! Whether a signal has drifted off: a CUSUM (`sentinel_models::cusum`) of its distance from what is usual at this hour. It finds
//! a small shift that lasts, and a slope that the recent level follows, long before either is far outside its band.
//!
//! One of the signals' own tests (DESIGN section 6). Server metrics are correlated in time, so that the tables of run lengths do not
//! hold: a shift is measured in the longest one that the training has seen, and before the training spans two days, which is
//! when a season can be known, there is none.

use sentinel_models::cusum::{Cusum, CusumParams};
use serde::{Deserialize, Serialize};

/// In robust standard deviations. Half an hour three of them off, or an hour two of them, is a shift at the earliest.
const PARAMS: CusumParams =
    CusumParams { reference: 1.0, decision: 60.0, clip: 3.0, ceiling: 1200.0, decay: 1.0 };
/// A shift is beyond what is usual at so many times the largest one of the training ...
const BEYOND: f64 = 1.5;
/// ... and a signal that is off for longer than this (in decisions) in training has no such test.
const LONGEST: f64 = 15.0;
/// Seconds of training.
const LEAST_SPAN: f64 = 2.0 * 86_400.0 - 3600.0;

/// The sums of one signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drift(Cusum);

impl Drift {
    pub(super) fn new() -> Self {
        Drift(Cusum::new(PARAMS).expect("the parameters are within their ranges"))
    }

    /// Takes a distance in robust standard deviations; NaN when it is missing.
    pub(super) fn push(&mut self, off: f64) {
        self.0.update(off);
    }

    /// The larger sum in decisions, negative when it is too low.
    pub(super) fn shift(&self) -> f64 {
        let shift = self.0.current();
        match shift.direction {
            sentinel_models::cusum::Direction::Up => shift.score,
            sentinel_models::cusum::Direction::Down => -shift.score,
        }
    }
}

/// What a shift is measured in, from the distances in training, in time order: at least one decision. `None` when it is too early
/// or the signal wanders.
pub(super) fn usual(seconds: f64, off: impl Iterator<Item = f64>) -> Option<f64> {
    if seconds < LEAST_SPAN {
        return None;
    }
    let mut drift = Drift::new();
    let largest = off.fold(0.0, |largest: f64, off| {
        drift.push(off);
        largest.max(drift.shift().abs())
    });
    Some((BEYOND * largest).max(1.0)).filter(|usual| *usual <= LONGEST)
}

/// How far a shift is beyond what is usual (1.0 there), when the signal is still off by `off` to the same side.
pub(super) fn score(shift: f64, off: f64, usual: Option<f64>) -> f64 {
    match usual {
        Some(usual) if shift * off > 0.0 && off.abs() > PARAMS.reference => shift.abs() / usual,
        _ => 0.0,
    }
}
