//! Processors: transforms work in the lane, observers stand beside it.

use crate::batch::{Batch, Events};
use crate::command::Command;
use crate::plugin::Cause;
use crate::telemetry::Counters;

/// What a processor is.
pub enum Processor {
    /// In the lane. The engine builds one a lane.
    Transform(Box<dyn Transform>),
    /// Beside the lanes, on a task of its own.
    Observer(Box<dyn Observer>),
}

/// Changes events on their way: parse, filter. Never waits, never fails, keeps next to nothing.
pub trait Transform: Send {
    /// Works in place. What it removes it counts with a reason; a removed event counts as delivered to its source.
    fn apply(&mut self, events: &mut Events, counters: &Counters);
}

/// Watches frozen batches and makes events of its own. Its only clock is the `now_ms` it is given, so that live and
/// replay are the same code.
pub trait Observer: Send {
    /// Sees a batch of one of its origins.
    fn observe(&mut self, batch: &Batch, emit: &mut Emit);

    /// Called about once a second with the time, batches or not.
    fn tick(&mut self, now_ms: i64, emit: &mut Emit);

    /// `events` of `origin` did not fit into the inbox and were not seen: the window must say so.
    fn unseen(&mut self, origin: &str, events: usize) {
        let _ = (origin, events);
    }

    /// What a restart needs, versioned by the observer; written by the engine at most 5 minutes old and at the end.
    fn snapshot(&self) -> Option<Vec<u8>> {
        None
    }

    /// Takes back a snapshot. An error is reported, and the observer starts anew.
    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Cause> {
        let _ = snapshot;
        Ok(())
    }

    /// It will see one partition of an input only, beside others of its kind for the others (see [`crate::partition`]): its ticks
    /// tell how far that partition has come, which may leap or stand still, and what it knows moves with it. Called once,
    /// before anything else.
    fn of_a_partition(&mut self) {}

    /// The names of the parts in which what it knows is kept, when it is of a partition, each with a number that is another
    /// when the part has changed; 0: it may have. Small parts that change seldom apart from those that change often.
    fn parts(&self) -> Vec<(String, u64)> {
        vec![(String::new(), 0)]
    }

    /// One of them; `None`: there is nothing to keep.
    fn part(&self, name: &str) -> Option<Vec<u8>> {
        let _ = name;
        self.snapshot()
    }

    /// Takes back all parts that there are. An error is reported, and the observer starts anew.
    fn restore_parts(&mut self, parts: Vec<(String, Vec<u8>)>) -> Result<(), Cause> {
        parts.iter().try_for_each(|(_, snapshot)| self.restore(snapshot))
    }

    /// Does what a person asks. `None`: not for it (no detector, no such incident, nothing to undo). Else one sentence:
    /// what was done, or why it was not. What it emits is routed as ever.
    fn command(
        &mut self,
        command: &Command,
        now_ms: i64,
        emit: &mut Emit,
    ) -> Option<Result<String, String>> {
        let _ = (command, now_ms, emit);
        None
    }

    /// Its state for `status` and the page: signals with value, expected and band, models, incidents.
    fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
}

/// What an observer emits; the engine makes batches of it with the observer's origin and no receipt.
#[derive(Debug, Default)]
pub struct Emit(pub Vec<Events>);

impl Emit {
    /// Emits, unless there is nothing.
    pub fn push(&mut self, events: Events) {
        if !events.is_empty() {
            self.0.push(events);
        }
    }
}
