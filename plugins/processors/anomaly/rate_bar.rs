//! What evidence a detector of few signals needs, of which nobody has said what is worth a word: more, the oftener it has confirmed
//! incidents of late.
//!
//! Where many signals are watched, evidence must come from more than one of them. A series by itself has no such second opinion, and
//! some are restless: they would raise an incident a day for ever, however unusual each is in itself. So every confirmed incident asks a
//! step more of the next, and the bar sinks by as many steps a week as twice the incidents that are welcome. It is bounded, so
//! that a day of real trouble does not make a detector deaf. On NAB's development series it leaves out a third of what is false
//! (tests/accuracy; on twelve machines of 38 signals it only trades one for the other, and is not used).
//!
//! A stochastic approximation (Robbins and Monro 1951) in the logarithm, as `bars` is.

use serde::{Deserialize, Serialize};

/// A step up, and the most that the steps add up to: evidence half as strong again.
const STEP: f64 = 0.2;
const MOST: f64 = 2.0 * STEP;
/// The rate at which it stays where it is, in welcome incidents.
const SUSTAINED: f64 = 2.0;

/// The logarithm of how much more is needed, 0 and more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RateBar(f64);

impl RateBar {
    /// An incident was confirmed.
    pub(super) fn raise(&mut self) {
        self.0 = (self.0 + STEP).min(MOST);
    }

    /// A frame passed, of which so many welcome incidents come on one (far below 1).
    pub(super) fn sink(&mut self, welcome: f64) {
        self.0 = (self.0 - STEP * SUSTAINED * welcome).max(0.0);
    }

    /// What evidence must reach, as a multiple of what it must reach by itself.
    pub(super) fn factor(self) -> f64 {
        self.0.exp()
    }
}
