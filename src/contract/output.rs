//! Outputs: write what they are given, and say in the error what to do next. They never retry.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::batch::{Batch, Events, Kinds};
use crate::event::{Log, Metric};
use crate::incident::Incident;
use crate::plugin::Cause;

/// A run of events within a frozen batch, so that a request can be split without copying.
#[derive(Clone, Debug)]
pub struct Piece {
    /// The batch, shared with the other outputs.
    pub batch: Arc<Batch>,
    /// Which of its events.
    pub range: Range<usize>,
}

impl Piece {
    /// The whole batch.
    pub fn whole(batch: Arc<Batch>) -> Self {
        let range = 0..batch.events.len();
        Piece { batch, range }
    }

    /// Its samples; empty for another kind.
    pub fn metrics(&self) -> &[Metric] {
        match &self.batch.events {
            Events::Metrics(metrics) => &metrics[self.range.clone()],
            _ => &[],
        }
    }

    /// Its log records; empty for another kind.
    pub fn logs(&self) -> &[Log] {
        match &self.batch.events {
            Events::Logs(logs) => &logs[self.range.clone()],
            _ => &[],
        }
    }

    /// Its incidents; empty for another kind.
    pub fn incidents(&self) -> &[Incident] {
        match &self.batch.events {
            Events::Incidents(incidents) => &incidents[self.range.clone()],
            _ => &[],
        }
    }
}

/// What became of a write that did not succeed, by what the engine does next.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Not now: try again, after this long when the backend said so.
    #[error("{cause:#}")]
    Retry {
        /// `Retry-After`.
        after: Option<Duration>,
        /// What happened.
        cause: Cause,
    },
    /// Not like this (bad credentials, wrong address): keep everything, probe, raise an alarm.
    #[error("{cause:#}")]
    Hold {
        /// What happened.
        cause: Cause,
    },
    /// Too large in one piece: send it in halves.
    #[error("{cause:#}")]
    Split {
        /// What happened.
        cause: Cause,
    },
    /// These events (indices over all pieces, ascending) are refused for good; the rest was taken.
    #[error("{cause:#}")]
    Reject {
        /// Which.
        events: Vec<usize>,
        /// What the backend said.
        cause: Cause,
    },
    /// These events (indices over all pieces, ascending) are refused for good; whether the others were taken is not
    /// known: send them again, until an answer covers them all. The backend must collapse what it then gets twice.
    #[error("{cause:#}")]
    Partly {
        /// Which are refused; at least one.
        events: Vec<usize>,
        /// What the backend said.
        cause: Cause,
    },
    /// Something in it is bad and the backend did not say what; assume none was taken: find it by bisection.
    #[error("{cause:#}")]
    Refuse {
        /// What the backend said.
        cause: Cause,
    },
}

/// A destination.
#[async_trait::async_trait]
pub trait Output: Send {
    /// Which kinds of events it takes.
    fn accepts(&self) -> Kinds;

    /// Writes the pieces, in their order, as one request. `Ok` means that the far side has acknowledged all of it.
    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError>;

    /// Another instance, which may write while this many others do: what it is given is of other sources (files, partitions)
    /// than what is under way in them. Made when the output starts; cheap until it writes. `None`: no more of them, and
    /// without any the output gets one write after the other.
    fn beside(&self, _count: usize) -> Option<Box<dyn Output>> {
        None
    }

    /// For `check --online`: asks the backend whether it would take a write, and returns what it answered.
    async fn probe(&mut self) -> Result<String, Cause>;
}
