//! What was done and when: the lines of a timeline's truth.

use serde::{Deserialize, Serialize};

use crate::kinds::Planned;

/// A line of the truth.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Truth {
    /// Nothing was done.
    Quiet {
        start_ms: i64,
        end_ms: i64,
    },
    /// A fault begins; the next line says what it was. Without one the run was interrupted in it, and nothing after is scored.
    Begun {
        start_ms: i64,
    },
    Fault(Fault),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) plan: Planned,
    pub(crate) unit: String,
    /// Wall clock, milliseconds since 1970.
    pub(crate) onset_ms: i64,
    pub(crate) end_ms: i64,
    /// The monotonic clock, milliseconds since the run's start.
    pub(crate) onset_mono_ms: u64,
    pub(crate) end_mono_ms: u64,
    /// Incidents that had not ended when it began.
    pub(crate) open_before: Vec<String>,
}
