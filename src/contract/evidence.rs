//! Evidence: what one window of a group was made of, for detectors to say where it hurts. Observers below its maker in the
//! file see it; no output takes it, so that it costs nothing to store: what matters of it is in the incidents.

use std::sync::Arc;

use crate::event::Labels;

/// Which events a tally is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// Those that failed: requests with a server error, lines of level error.
    Failed,
    /// All.
    All,
}

/// The most frequent values of one dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Tally {
    /// What is counted by: `status`, `path`, `client`, `unit`.
    pub dimension: &'static str,
    /// Which events.
    pub of: Of,
    /// All events counted, those of values that are not listed too.
    pub total: u64,
    /// A value and at least how often it came, the most frequent first; bounded.
    pub rows: Vec<(String, u64)>,
}

/// One window of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The labels of the group, as its metrics have them.
    pub labels: Arc<Labels>,
    /// The window's end: milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// Empty ones are left out.
    pub tallies: Vec<Tally>,
    /// A line that stands for what failed, without addresses, numbers and secrets; empty when nothing did.
    pub sample: String,
}
