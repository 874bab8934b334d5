//! The task of one output: takes entries from its queue, makes writes of them, and has its writers do what the answers
//! say.
//!
//! Every retry in the agent is in here. What comes from one source (a file, a partition) keeps its order: it is in one
//! write at a time, and is not overtaken by what came later. An output that lends further instances of itself
//! ([`Output::beside`]) gets writes of different sources at the same time, as many as the [`window`] allows.

mod groups;
mod held;
#[cfg(test)]
mod tests;
mod window;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::{Cause, Output, Wanted};
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::dead_letters::DeadLetters;
use crate::queue::Queue;
use crate::telemetry::Plugin;
use groups::{Groups, Next};
use held::Held;
use window::Window;
use writer::{Done, Writer};

/// The wait for more is divided by this while sources wait for memory.
const HURRY: u32 = 20;

/// When a write is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Events.
    pub events: usize,
    /// Bytes before encoding.
    pub bytes: usize,
    /// How long to wait for more after the first.
    pub wait: Duration,
}

/// What an output task needs.
pub(crate) struct OutputTask {
    /// The plugin.
    pub output: Box<dyn Output>,
    /// Builds it again after a panic.
    pub rebuild: Box<dyn Fn() -> Result<Box<dyn Output>, Cause> + Send + Sync>,
    /// Where entries come from.
    pub queue: Arc<Queue>,
    /// Its condition and counters.
    pub state: Arc<Plugin>,
    /// When a write is full.
    pub limits: BatchLimits,
    /// Whether sources wait for memory.
    pub wanted: Wanted,
    /// Where refused events go.
    pub dead_letters: Arc<DeadLetters>,
    /// Cancelled when another task goes on with the queue: finish the requests, put the rest back, and return.
    pub retire: CancellationToken,
    /// Cancelled when no more entries will come: write what is there and return.
    pub drain: CancellationToken,
    /// Cancelled when time is up: return at once.
    pub deadline: CancellationToken,
}

impl OutputTask {
    /// Runs until drained or out of time.
    pub(crate) async fn run(self) {
        let OutputTask { output, retire, deadline, .. } = self;
        let shared = Shared {
            rebuild: self.rebuild,
            queue: self.queue,
            state: self.state,
            limits: self.limits,
            wanted: self.wanted,
            dead_letters: self.dead_letters,
            drain: self.drain,
            halt: CancellationToken::new(),
        };
        let mut dispatcher = Dispatcher::new(output, Arc::new(shared), retire);
        tokio::select! {
            () = dispatcher.work() => {}
            () = deadline.cancelled() => tracing::warn!("stopped with data not delivered"),
        }
        dispatcher.end(&deadline).await;
    }
}

/// What the writers of one output share.
struct Shared {
    rebuild: Box<dyn Fn() -> Result<Box<dyn Output>, Cause> + Send + Sync>,
    queue: Arc<Queue>,
    state: Arc<Plugin>,
    limits: BatchLimits,
    wanted: Wanted,
    dead_letters: Arc<DeadLetters>,
    drain: CancellationToken,
    /// The task is to retire, and what it had not begun is back in the queue: what is begun may go back before it.
    halt: CancellationToken,
}

/// What the next write lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lacks {
    /// A writer.
    Writer,
    /// Room in the window.
    Room,
    /// Entries; those that are there go then.
    Entries(Option<Instant>),
}

/// Hands writes to writers.
struct Dispatcher {
    shared: Arc<Shared>,
    retire: CancellationToken,
    window: Arc<Window>,
    groups: Groups,
    idle: Vec<Writer>,
    /// Writers whose plugin was built again: when the others are done too, one of them replaces them all.
    heirs: Vec<Writer>,
    writes: JoinSet<Done>,
    /// There were several at once since it last began anew.
    beside: bool,
}

impl Dispatcher {
    fn new(output: Box<dyn Output>, shared: Arc<Shared>, retire: CancellationToken) -> Self {
        let outputs = with_siblings(output);
        let window = Arc::new(Window::new(outputs.len()));
        let writer = |output| Writer::new(output, Arc::clone(&shared), Arc::clone(&window));
        Dispatcher {
            groups: Groups::new(shared.limits),
            idle: outputs.into_iter().map(writer).collect(),
            heirs: Vec::new(),
            writes: JoinSet::new(),
            beside: false,
            window,
            retire,
            shared,
        }
    }

    /// Until there is nothing left while draining, or until another task is to go on.
    async fn work(&mut self) {
        while !self.retire.is_cancelled() {
            // Asked before the queue is: what was pushed before the drain is found.
            let draining = self.shared.drain.is_cancelled();
            let patience = self.patience(draining);
            let lacks = self.start_writes(patience);
            if draining && self.writes.is_empty() && self.groups.is_empty() {
                return;
            }
            self.wait(lacks, patience, draining).await;
        }
    }

    /// How long entries wait for more. When sources have no memory to read more, and no write is under way that gives some back,
    /// only a little: it would be a pause and nothing else.
    fn patience(&self, draining: bool) -> Duration {
        let wait = self.shared.limits.wait;
        match self.shared.wanted.is_now() && self.is_waited_for() {
            _ if draining => Duration::ZERO,
            true => wait / HURRY,
            false => wait,
        }
    }

    /// Memory that sources may wait for comes back only with the next write.
    fn is_waited_for(&self) -> bool {
        self.writes.is_empty() && self.groups.hold_memory()
    }

    /// Starts the writes that can be. Tells what the next one lacks.
    fn start_writes(&mut self, patience: Duration) -> Lacks {
        while self.heirs.is_empty() && !self.idle.is_empty() {
            let Some(turn) = self.window.try_turn() else { return Lacks::Room };
            let lanes = self.window.size();
            self.groups.fill(&self.shared.queue, lanes);
            let (number, group) = match self.groups.next(lanes, patience) {
                Next::Group(number, group) => (number, group),
                Next::Due(due) => return Lacks::Entries(due),
            };
            let held = Held::new(group, &self.shared); // from now on, as the task may be aborted before it begins
            let Some(writer) = self.idle.pop() else { break };
            self.writes.spawn(writer.write(number, held, turn).in_current_span());
            self.beside |= self.writes.len() > 1;
        }
        Lacks::Writer
    }

    /// Waits until the next write may have what it lacks, or something else is to be done.
    async fn wait(&mut self, lacks: Lacks, patience: Duration, draining: bool) {
        let due = if let Lacks::Entries(due) = lacks { due } else { None };
        let later = due.unwrap_or_else(Instant::now);
        let more = matches!(lacks, Lacks::Entries(_)) && !self.groups.are_full(self.window.size());
        let calm = patience == self.shared.limits.wait && self.is_waited_for();
        let shared = Arc::clone(&self.shared);
        tokio::select! {
            Some(done) = self.writes.join_next() => self.finish(done),
            () = shared.queue.arrival(), if more => {}
            () = tokio::time::sleep_until(later), if due.is_some() => {}
            // Not whether there is room now: it may have come since, and whoever gave it back has said so.
            () = self.window.room(), if lacks == Lacks::Room => {}
            () = self.retire.cancelled() => {}
            () = shared.wanted.comes(), if calm && due.is_some() => {}
            () = shared.drain.cancelled(), if !draining => {}
        }
    }

    /// A write is settled.
    fn finish(&mut self, done: Result<Done, JoinError>) {
        let Ok(Done { writer, number, smooth }) = done else {
            return tracing::error!("a write ended without an answer"); // cannot be: it guards the plugin's calls
        };
        self.groups.settled(number);
        let writers = if writer.was_rebuilt() { &mut self.heirs } else { &mut self.idle };
        writers.push(writer);
        self.groups.fill(&self.shared.queue, 1);
        let backlog = self.groups.are_full(1);
        if smooth && backlog {
            self.window.grow();
        }
        if self.writes.is_empty() && (!self.heirs.is_empty() || !backlog) {
            self.begin_anew();
        }
    }

    /// With nothing under way, and no backlog or a plugin that was built again: writes one at a time again. Instances that
    /// were beside the first go, with their buffers; others are cheap.
    fn begin_anew(&mut self) {
        self.window.reset();
        if !std::mem::take(&mut self.beside) && self.heirs.is_empty() {
            return;
        }
        let Some(first) = self.heirs.pop().or_else(|| self.idle.pop()) else { return };
        self.heirs.clear();
        let writer =
            |output| Writer::new(output, Arc::clone(&self.shared), Arc::clone(&self.window));
        self.idle = with_siblings(first.into_output()).into_iter().map(writer).collect();
    }

    /// Gives back to the queue, or to the sources, what is not delivered.
    async fn end(mut self, deadline: &CancellationToken) {
        let queue = Arc::clone(&self.shared.queue);
        if !self.retire.is_cancelled() {
            self.writes.shutdown().await;
            self.groups.take().into_iter().for_each(|entry| queue.leave(entry));
            return queue.abandon();
        }
        queue.put_back(self.groups.take());
        self.shared.halt.cancel();
        tokio::select! {
            () = async { while self.writes.join_next().await.is_some() {} } => {}
            () = deadline.cancelled() => {}
        }
        self.writes.shutdown().await;
    }
}

/// An output and all that it lends beside itself, itself last.
fn with_siblings(output: Box<dyn Output>) -> Vec<Box<dyn Output>> {
    let mut siblings = Vec::new();
    while let Some(sibling) = output.beside(siblings.len() + 1) {
        siblings.push(sibling);
    }
    siblings.push(output);
    siblings
}
