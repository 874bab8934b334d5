//! How much there is at what time: always the same, or the curve of a day.
//!
//! The curve is two waves, of a day and of half a day, with mean 1: a quarter at 03:00 UTC, peaks of 1.4 at 11:00 and 19:00.
//! Its sum is known in closed form, which counters need that must be made again for any moment.

use serde::Deserialize;

const DAY_NS: i64 = 86_400_000_000_000;
/// Seconds of a day over a whole turn.
const TURN_S: f64 = 86_400.0 / std::f64::consts::TAU;
/// The two waves: both are at an end of theirs at 15:00.
const WAVES: [f64; 2] = [0.5, -0.25];

/// How the rate goes through the day.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Profile {
    /// Always the same.
    Steady,
    /// Low at night, with two peaks.
    Day,
}

/// Where in the day, as an angle from 15:00 UTC.
fn angle(time_ns: i64) -> f64 {
    (time_ns.rem_euclid(DAY_NS) as f64 / 1e9 - 54_000.0) / TURN_S
}

impl Profile {
    /// How much there is, of the mean.
    pub(super) fn level(self, time_ns: i64) -> f64 {
        match self {
            Profile::Steady => 1.0,
            Profile::Day => {
                let angle = angle(time_ns);
                1.0 + WAVES[0] * angle.cos() + WAVES[1] * (2.0 * angle).cos()
            }
        }
    }

    /// The level summed over the seconds from one time to another.
    pub(super) fn sum(self, from_ns: i64, to_ns: i64) -> f64 {
        let seconds = (to_ns - from_ns) as f64 / 1e9;
        let waves = |time_ns| {
            let angle = angle(time_ns);
            TURN_S * (WAVES[0] * angle.sin() + WAVES[1] / 2.0 * (2.0 * angle).sin())
        };
        match self {
            Profile::Steady => seconds,
            Profile::Day => seconds + waves(to_ns) - waves(from_ns),
        }
    }
}
