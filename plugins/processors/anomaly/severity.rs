//! How bad an incident is, from its size, its breadth and its duration, in points:
//!
//! - size: 1 from twice the boundary (or the absolute limit) on, 2 from four times on, and 2 for traffic that stopped;
//! - breadth: 1 for three signals or more outside their bands, 1 for one among them that users feel;
//! - duration: 1 after a quarter of an hour, 2 after an hour.
//!
//! Four points are critical, two a warning, fewer an info. What called is at least a warning; what was not confirmed is an
//! info. It counts the worst frame, the broadest frame and the time since the start, so it never falls.

use sentinel_contract::incident::{Severity, State};
use serde::{Deserialize, Serialize};

/// Times the boundary, or the limit.
const SIZES: [f64; 2] = [2.0, 4.0];
/// Signals outside their bands.
const MANY: usize = 3;
/// Since the start.
const DURATIONS_MS: [i64; 2] = [15 * 60_000, 60 * 60_000];
const WARNING: usize = 2;
const CRITICAL: usize = 4;

/// How far a frame, or an incident, reaches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Extent {
    /// Times the boundary, or the limit.
    pub size: f64,
    /// Signals outside their bands, that have changed enough to matter.
    pub breadth: usize,
    /// A signal that users feel is among them.
    pub user: bool,
}

impl Extent {
    /// The larger of both, in each respect.
    pub(super) fn widen(&mut self, other: Extent) {
        self.size = self.size.max(other.size);
        self.breadth = self.breadth.max(other.breadth);
        self.user |= other.user;
    }

    fn points(self, lasted_ms: i64) -> usize {
        let size = SIZES.iter().filter(|least| self.size >= **least).count();
        let breadth = usize::from(self.breadth >= MANY) + usize::from(self.user);
        let duration = DURATIONS_MS.iter().filter(|least| lasted_ms >= **least).count();
        size + breadth + duration
    }
}

/// See the head of this file. `reached` is how far it went: detected, confirmed or notified.
pub(super) fn severity(extent: Extent, lasted_ms: i64, reached: State) -> Severity {
    let points = extent.points(lasted_ms);
    match reached {
        State::Detected => Severity::Info,
        _ if points >= CRITICAL => Severity::Critical,
        State::Notified => Severity::Warning,
        _ if points >= WARNING => Severity::Warning,
        _ => Severity::Info,
    }
}
