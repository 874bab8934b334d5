//! The treatment of a signal: from its own unit to one in which a deviation means the same everywhere, and back for people; the
//! least scale that counting makes; and which deviations are worth a word.

use super::signals::{Signal, Treatment, Watch};

/// Requests of which the usual share is assumed before the first one is seen: 1 error in 2 requests is not 50 %.
const PRIOR_REQUESTS: f64 = 50.0;

/// No share is believed to be usually below this: one error among a thousand requests needs no explanation.
const LEAST_SHARE: f64 = 0.005;

/// A share is off by as many events at least: one of twenty is no error rate.
const LEAST_EVENTS: f64 = 5.0;

/// Least robust scale of a logarithm or logit: a quarter up or down is nobody's anomaly.
const LOG_FLOOR: f64 = 0.25;

/// A treatment with what it needs of the frame: its volume (what a share is of, or the number of events that a sum of
/// bytes is made of; NaN when it has none), and the usual share of a rate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unit {
    treatment: Treatment,
    volume: f64,
    prior: f64,
}

impl Unit {
    pub(super) fn of(signal: &Signal, center: f64, volume: f64) -> Self {
        Unit {
            treatment: signal.treatment,
            volume,
            prior: center.clamp(LEAST_SHARE, 1.0 - LEAST_SHARE),
        }
    }

    /// What a share is of, or a sum is made of; NaN when it has none.
    pub(super) fn volume(self) -> f64 {
        self.volume
    }

    /// To the treated unit.
    pub(super) fn treat(self, x: f64) -> f64 {
        match self.treatment {
            Treatment::Level => x,
            Treatment::Count => (if x < 0.0 { 0.0 } else { x }).ln_1p(), // `max` would make a zero of a NaN
            Treatment::Rate => {
                let share = (x * self.volume + PRIOR_REQUESTS * self.prior)
                    / (self.volume + PRIOR_REQUESTS);
                let share = share.clamp(1e-6, 1.0 - 1e-6);
                (share / (1.0 - share)).ln()
            }
        }
    }

    /// Back to the signal's unit.
    pub(super) fn undo(self, t: f64) -> f64 {
        match self.treatment {
            Treatment::Level => t,
            Treatment::Count => t.exp_m1().max(0.0),
            Treatment::Rate => {
                let share = 1.0 / (1.0 + (-t).exp());
                let errors = share * (self.volume + PRIOR_REQUESTS) - PRIOR_REQUESTS * self.prior;
                (errors / self.volume).clamp(0.0, 1.0)
            }
        }
    }

    /// The least scale around `expected` (signal's unit), in the treated unit: what counting alone makes.
    pub(super) fn floor(self, signal: &Signal, value: f64, expected: f64) -> f64 {
        match self.treatment {
            Treatment::Level => {
                // A deviation that is worth a word is four of these.
                let worth = signal.min_change.max(signal.min_relative * expected.abs());
                (worth / 4.0).max(0.02 * expected.abs()).max(1e-9)
            }
            Treatment::Count => {
                // Few of many: the logarithm of a small count is wide on its lower side.
                let m = if value < expected { value.max(1.0) } else { expected.max(0.0) };
                let m = if self.volume < m { self.volume.max(1.0) } else { m };
                (m.sqrt() / (1.0 + m)).max(LOG_FLOOR)
            }
            Treatment::Rate => {
                let share = expected.max(self.prior);
                let errors = self.volume * share;
                (errors.sqrt() / (errors + PRIOR_REQUESTS * share)).max(LOG_FLOOR)
            }
        }
    }
}

/// Whether a change goes the way that hurts.
pub(super) fn is_watched(signal: &Signal, change: f64) -> bool {
    match signal.direction {
        Watch::Up => change > 0.0,
        Watch::Down => change < 0.0,
        Watch::Both => change != 0.0,
    }
}

/// Whether a deviation goes the way that hurts, and far enough to be worth a word.
pub(super) fn matters(signal: &Signal, value: f64, expected: f64, volume: f64) -> bool {
    let change = value - expected;
    // Halving is to traffic what doubling is: a drop can never be more than the whole of it.
    let relative = if change < 0.0 {
        signal.min_relative / (1.0 + signal.min_relative)
    } else {
        signal.min_relative
    };
    let events = match signal.treatment {
        Treatment::Rate => change.abs() * volume >= LEAST_EVENTS,
        Treatment::Level | Treatment::Count => true,
    };
    let far = change.abs() >= signal.min_change && change.abs() >= relative * expected.abs();
    is_watched(signal, change) && far && events
}
