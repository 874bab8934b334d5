//! A lane: the ordered way of one input's batches through the transforms to the router.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sentinel_contract::{
    Batch, Cause, Events, Fate, Field, Fields, Memory, Permit, Piece, Transform,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dead_letters::DeadLetters;
use crate::filter::Filter;
use crate::limit::Limits;
use crate::panic::guard;
use crate::router::Router;
use crate::telemetry::{Condition, Plugin};

/// A stopped input is silent for this long: its lane is drained.
const QUIET: Duration = Duration::from_millis(250);

/// How often it is looked whether memory for parsed fields is still to come.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A transform of this lane.
pub(crate) struct Stage {
    /// The plugin.
    pub transform: Box<dyn Transform>,
    /// Builds it again after a panic.
    pub rebuild: Box<dyn Fn() -> Result<Box<dyn Transform>, Cause> + Send + Sync>,
    /// Its counters, shared by all lanes.
    pub state: Arc<Plugin>,
}

/// One lane.
pub(crate) struct Lane {
    /// From the input.
    pub batches: mpsc::Receiver<Batch>,
    /// The input's counters.
    pub input: Arc<Plugin>,
    /// The input's name and label filters.
    pub filter: Option<Filter>,
    /// In the order of the file.
    pub stages: Vec<Stage>,
    /// How many series and streams they may have, as they leave the transforms.
    pub limits: Limits,
    /// Where they go.
    pub router: Router,
    /// Where a batch goes that panics a transform twice.
    pub dead_letters: Arc<DeadLetters>,
    /// Of what can wait.
    pub memory: Memory,
    /// Cancelled when the input reads no more.
    pub reading: CancellationToken,
    /// Another filter and other transforms, by a reload.
    pub rewires: mpsc::Receiver<Rewire>,
}

/// What a lane does from the next batch on.
pub(crate) struct Rewire {
    /// The input's name and label filters.
    pub filter: Option<Filter>,
    /// In the order of the file.
    pub stages: Vec<StageChange>,
}

/// One stage of a lane after a reload.
pub(crate) enum StageChange {
    /// The lane's own of that alias goes on, with its state.
    Keep(Arc<str>),
    /// A new one.
    New(Stage),
}

impl StageChange {
    /// The transform's.
    pub(crate) fn alias(&self) -> &Arc<str> {
        match self {
            StageChange::Keep(alias) => alias,
            StageChange::New(stage) => &stage.state.alias,
        }
    }
}

impl Lane {
    /// Runs until the input is gone, or has stopped reading and fallen silent.
    pub(crate) async fn run(mut self) {
        loop {
            let batch = tokio::select! {
                biased;
                Some(rewire) = self.rewires.recv() => {
                    self.rewire(rewire);
                    continue;
                }
                batch = self.batches.recv() => batch,
                () = self.reading.cancelled() => {
                    tokio::time::timeout(QUIET, self.batches.recv()).await.unwrap_or_default()
                }
            };
            let Some(batch) = batch else { return };
            self.pass(batch).await;
        }
    }

    fn rewire(&mut self, rewire: Rewire) {
        let mut old = std::mem::take(&mut self.stages);
        for change in rewire.stages {
            match change {
                StageChange::New(stage) => self.stages.push(stage),
                StageChange::Keep(alias) => {
                    let at = old.iter().position(|stage| stage.state.alias == alias);
                    self.stages.extend(at.map(|at| old.swap_remove(at)));
                }
            }
        }
        self.filter = rewire.filter;
    }

    async fn pass(&mut self, mut batch: Batch) {
        let counters = &self.input.counters;
        counters.received.fetch_add(batch.events.len() as u64, Relaxed);
        counters.received_bytes.fetch_add(batch.events.bytes() as u64, Relaxed);
        if let Some(why) = batch.refused.take() {
            bury(batch, &self.dead_letters, &self.input, "refused", &why);
            return;
        }
        if let Some(filter) = &self.filter {
            let removed = filter.apply(&mut batch.events);
            counters.drop_events("filtered", removed as u64);
        }
        for stage in &mut self.stages {
            if let Err(words) = stage.pass(&mut batch) {
                bury(batch, &self.dead_letters, &stage.state, "panicked", &words);
                return;
            }
        }
        self.limits.apply(&mut batch.events, counters);
        counters.delivered.fetch_add(batch.events.len() as u64, Relaxed);
        if batch.events.is_empty() {
            // Filtered out is delivered.
            if let Some(receipt) = batch.receipt.take() {
                receipt.resolve(Fate::Delivered);
            }
            return;
        }
        self.charge(&mut batch).await;
        let unwanted = self.router.route_to_all(batch).await;
        self.input.counters.count("no_output", unwanted as u64);
    }

    /// Charges what a parser added to lines that can wait: the fields of an access log weigh three times its lines.
    /// Goes on uncharged when nothing is on its way that would give memory back.
    async fn charge(&mut self, batch: &mut Batch) {
        let Some(permit) = batch.permit.as_mut().filter(|_| batch.receipt.is_some()) else {
            return;
        };
        let bytes = fields_bytes(&batch.events);
        if bytes == 0 {
            return;
        }
        if permit.try_grow(bytes) {
            return;
        }
        let wanted = self.memory.wanted();
        let _waiter = wanted.waiter();
        let nothing_to_come = async {
            while !self.router.is_idle() && !self.reading.is_cancelled() {
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        };
        tokio::select! {
            () = grow(permit, bytes, self.memory.capacity()) => return,
            () = nothing_to_come => {}
        }
        let _went_on_uncharged = !permit.try_grow(bytes); // the last of it may have come back since
    }
}

/// Waits in the row for memory, before those who want to read on; but not for what may never be free, as nobody gets any
/// meanwhile.
async fn grow(permit: &mut Permit, bytes: usize, capacity: usize) {
    if permit.bytes() + bytes <= capacity / 4 {
        return permit.grow(bytes).await;
    }
    while !permit.try_grow(bytes) {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// What the parsed fields of lines occupy beside the lines themselves.
fn fields_bytes(events: &Events) -> usize {
    let Events::Logs(logs) = events else { return 0 };
    let of = |fields: &Fields| size_of::<Fields>() + fields.0.capacity() * size_of::<Field>();
    logs.iter().filter_map(|log| log.fields.as_deref()).map(of).sum()
}

impl Stage {
    /// Applies the transform; after a panic once more with a new one. `Err`: it panicked twice.
    fn pass(&mut self, batch: &mut Batch) -> Result<(), String> {
        let counters = Arc::clone(&self.state.counters);
        let before = batch.events.len() as u64;
        let started = Instant::now();
        let mut outcome = Ok(());
        for _try in 0..2 {
            outcome = guard(|| self.transform.apply(&mut batch.events, &counters));
            let Err(words) = &outcome else { break };
            tracing::error!(error = %words, plugin = %self.state.alias, "a transform panicked and is built again");
            self.state.fail(Condition::Failed, words.as_str());
            counters.restarts.fetch_add(1, Relaxed);
            match (self.rebuild)() {
                Ok(transform) => self.transform = transform,
                Err(error) => tracing::error!(%error, "cannot build the transform again"),
            }
        }
        counters.call(started.elapsed());
        counters.received.fetch_add(before, Relaxed);
        if outcome.is_ok() {
            self.state.set(Condition::Active);
            counters.delivered.fetch_add(batch.events.len() as u64, Relaxed);
        }
        outcome
    }
}

/// Puts a whole batch into the dead letters.
fn bury(
    mut batch: Batch,
    dead_letters: &DeadLetters,
    who: &Plugin,
    reason: &'static str,
    why: &str,
) {
    let receipt = batch.receipt.take();
    let piece = Piece::whole(Arc::new(batch));
    let all: Vec<usize> = piece.range.clone().collect();
    who.counters.drop_events(reason, all.len() as u64);
    let written = dead_letters.write(who, &piece, &all, why);
    if let Err(error) = &written {
        tracing::error!(%error, "cannot write the dead letters");
    }
    if let Some(receipt) = receipt {
        receipt.resolve(if written.is_ok() { Fate::Rejected } else { Fate::Lost });
    }
}
