//! What a person may tell the running detectors: the words behind `maintenance`, `accept`, `undo` and `train`; and what the
//! agent itself tells them of a past that it has read.
//!
//! The engine brings a command to every observer, or to the one it names, and gathers the answers. How a command comes
//! into the process is not decided here.

use serde::{Deserialize, Serialize};

/// A command for observers. As JSON: `{"accept":{"key":"web/web01/1764000000"}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Begins a maintenance window now, or ends those that were begun by command.
    Maintenance {
        /// When it ends: milliseconds since 1970 UTC. `None`: end it now.
        until_ms: Option<i64>,
        /// Only this detector; `None`: all of them.
        detector: Option<String>,
        /// A person's words, empty when there are none.
        reason: String,
    },
    /// Takes the level of an open incident as the new normal.
    Accept {
        /// The incident's whole key.
        key: String,
    },
    /// Takes back the last new normal that was accepted.
    Undo {
        /// Only this detector; `None`: all of them.
        detector: Option<String>,
    },
    /// History has more of the past than the observer knew when it started: it learns from it at its next frame. Said by
    /// the agent itself, when it has read that past from a backend.
    Backfilled {
        /// Only this detector; `None`: all of them.
        detector: Option<String>,
        /// Times of confirmed incidents of that past: not learnt from.
        incidents: Vec<Past>,
    },
    /// Trains now instead of when it is due.
    Train {
        /// Only this detector; `None`: all of them.
        detector: Option<String>,
    },
}

/// An incident of the past.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Past {
    /// The host on which it was.
    pub host: String,
    /// The detector's group.
    pub group: String,
    /// Its times, milliseconds since 1970 UTC; the end is not part of it.
    pub from_ms: i64,
    /// See `from_ms`.
    pub until_ms: i64,
}

impl Command {
    /// The detector it names, if it names one.
    pub fn detector(&self) -> Option<&str> {
        match self {
            Command::Maintenance { detector, .. }
            | Command::Undo { detector }
            | Command::Backfilled { detector, .. }
            | Command::Train { detector } => detector.as_deref(),
            Command::Accept { .. } => None,
        }
    }
}
