//! Inputs: what is polled, and what runs by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::batch::Batch;
use crate::event::{Log, Metric};
use crate::memory::{Memory, Permit};
use crate::partition::Observers;
use crate::plugin::Cause;
use crate::telemetry::Counters;

/// What an input is.
pub enum Input {
    /// Polled every `interval`; the collectors run one after the other, each with its own deadline.
    Gather(Vec<Collector>),
    /// Runs until it is told to stop.
    Service(Box<dyn Service>),
}

/// One polled part of an input, for example `cpu` of `system`.
pub struct Collector {
    /// Its name in messages and in `status`.
    pub name: &'static str,
    /// How long one call may take; a call that takes longer is reported as hung and never started twice.
    pub deadline: Duration,
    /// Metrics of single processes and the like: skipped while the host is short.
    pub spare: bool,
    /// The reader.
    pub gather: Box<dyn Gather>,
}

/// The moment of a gather, read once for all collectors.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds since 1970 UTC, rounded to the interval when the agent is told to: the time of the samples.
    pub time_ms: i64,
    /// A clock that never steps, for rates.
    pub instant: std::time::Instant,
}

/// Synchronous collection; may block on the kernel.
pub trait Gather: Send {
    /// Appends samples to `out`. What was appended before an error is kept.
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause>;

    /// Appends log records of what this gather has seen. Called after each `gather` that returned, failed or not.
    fn logs(&mut self, out: &mut Vec<Log>) {
        let _ = out;
    }
}

/// Asynchronous collection.
#[async_trait::async_trait]
pub trait Service: Send {
    /// Reads until `stop.reading` is cancelled, then takes receipts until `stop.finished` is, then returns.
    /// An error or a panic is counted, and the service is built and run again after a pause.
    async fn run(self: Box<Self>, out: Emitter, stop: Stop) -> Result<(), Cause>;

    /// Whether the observers that take its events are kept one a partition ([`Emitter::observers`]).
    fn by_partition(&self) -> bool {
        false
    }

    /// For `check --online`: asks the far side whether it would let us read, and returns what it answered. `None`: there
    /// is nobody to ask.
    async fn probe(&mut self) -> Option<Result<String, Cause>> {
        None
    }
}

/// When to stop.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Cancelled first: read nothing more.
    pub reading: CancellationToken,
    /// Cancelled when the outputs are done: no receipt will come any more; save positions and return.
    pub finished: CancellationToken,
}

/// Where a service puts what it read.
#[derive(Clone, Debug)]
pub struct Emitter {
    /// The input's alias; the origin of its batches.
    pub origin: Arc<str>,
    /// Counters and notes of this input.
    pub counters: Arc<Counters>,
    /// Its observers, when they are kept one a partition.
    pub observers: Option<Observers>,
    memory: Memory,
    lane: mpsc::Sender<Batch>,
}

impl Emitter {
    /// Made by the engine, and by tests.
    pub fn new(
        origin: Arc<str>,
        counters: Arc<Counters>,
        memory: Memory,
        lane: mpsc::Sender<Batch>,
    ) -> Self {
        Emitter { origin, counters, observers: None, memory, lane }
    }

    /// Bytes of memory that all sources which can wait have together.
    pub fn budget(&self) -> usize {
        self.memory.capacity()
    }

    /// Waits for memory; take it before reading.
    pub async fn reserve(&self, bytes: usize) -> Permit {
        self.memory.acquire(bytes).await
    }

    /// Hands a batch to the lane. The engine counts it. When the lane is gone the batch's receipt resolves as lost.
    pub async fn send(&self, batch: Batch) {
        let _gone_at_shutdown = self.lane.send(batch).await;
    }
}
