//! A batch: events of one origin and one kind, with what must be given back for them.

use std::sync::Arc;

use crate::event::{Log, Metric};
use crate::evidence::Evidence;
use crate::incident::Incident;
use crate::memory::Permit;
use crate::receipt::Receipt;

/// The events of a batch; their kind is asked once a batch, not once an event.
#[derive(Debug)]
pub enum Events {
    /// Samples.
    Metrics(Vec<Metric>),
    /// Log records, in the order they were read.
    Logs(Vec<Log>),
    /// State changes of incidents.
    Incidents(Vec<Incident>),
    /// What windows were made of, from one observer to those below it: no output takes it.
    Evidence(Vec<Evidence>),
}

impl Events {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Events::Metrics(metrics) => metrics.len(),
            Events::Logs(logs) => logs.len(),
            Events::Incidents(incidents) => incidents.len(),
            Events::Evidence(evidence) => evidence.len(),
        }
    }

    /// None left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Which kind they are.
    pub fn kind(&self) -> Kinds {
        match self {
            Events::Metrics(_) => Kinds::METRICS,
            Events::Logs(_) => Kinds::LOGS,
            Events::Incidents(_) => Kinds::INCIDENTS,
            Events::Evidence(_) => Kinds::EVIDENCE,
        }
    }

    /// What they occupy: lines by their length, the rest by its records. Labels are shared and not counted.
    pub fn bytes(&self) -> usize {
        match self {
            Events::Metrics(metrics) => size_of_val(&metrics[..]),
            Events::Logs(logs) => logs.iter().map(|log| size_of::<Log>() + log.body.len()).sum(),
            Events::Incidents(incidents) => incidents.len() * 4096, // sentences, ten contributions, a breakdown
            Events::Evidence(evidence) => evidence.len() * 4096,    // six bounded tallies
        }
    }
}

/// A set of kinds of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds(u8);

impl Kinds {
    /// Samples.
    pub const METRICS: Kinds = Kinds(1);
    /// Log records.
    pub const LOGS: Kinds = Kinds(2);
    /// Incidents.
    pub const INCIDENTS: Kinds = Kinds(4);
    /// Evidence. An output must not ask for it.
    pub const EVIDENCE: Kinds = Kinds(8);

    /// Both.
    pub const fn and(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// Whether all of `other` is in this set.
    pub const fn contains(self, other: Kinds) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Events of one origin. Moved through the transforms of its lane, then frozen and shared by all outputs.
#[derive(Debug)]
pub struct Batch {
    /// The alias of the input or observer that made it.
    pub origin: Arc<str>,
    /// Which of the origin's sources (a file, a partition) it came from: its watermark is kept apart.
    pub source: u64,
    /// Batches of one origin in which this is equal are delivered in their order (lines of one stream, a partition). Unlike
    /// `source` the same after a restart, and for a file and the one that takes its place.
    pub order: u64,
    /// The events.
    pub events: Events,
    /// Who is to see them.
    pub audience: Audience,
    /// How far the source's own log has come, in milliseconds since 1970 UTC: the clock of observers kept one a partition.
    pub reached_ms: Option<i64>,
    /// Why the input could not make events of it: the batch, which holds it as it came, goes to the dead letters.
    pub refused: Option<Box<str>>,
    /// What the input wants to hear about; taken by the engine when the batch is frozen.
    pub receipt: Option<Receipt>,
    /// The memory it may use; given back when the batch is dropped.
    pub permit: Option<Permit>,
}

impl Batch {
    /// A batch with nothing to give back.
    pub fn new(origin: Arc<str>, events: Events) -> Self {
        Batch {
            origin,
            source: 0,
            order: 0,
            events,
            audience: Audience::All,
            reached_ms: None,
            refused: None,
            receipt: None,
            permit: None,
        }
    }
}

/// Who is to see a batch: what a partition's observers know and what its outputs have taken need not end at the same message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Audience {
    /// Everybody.
    #[default]
    All,
    /// Outputs only: the observers' state, which came from elsewhere, knows it already.
    Outputs,
    /// Observers only: the outputs have taken it before.
    Observers,
}
