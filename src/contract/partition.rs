//! Observers kept one a partition: an aggregator's, whose partitions come and go with its group.
//!
//! The input says when a partition begins to be ours, with what another member knew of it, and asks for what is known of it now
//! before it goes. So a partition's events are seen by one set of observers at a time, wherever that runs. The engine keeps
//! the sets. A partition is named by the number that its batches have in [`crate::Batch::order`].

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

/// How long one answer may take: an observer that makes a model takes seconds, one that hangs takes nobody with it.
const PATIENCE: Duration = Duration::from_secs(60);
/// What may wait to be done.
const WAITING: usize = 64;
/// Parts on their way at once: of all keys of a partition there may be too many for the memory.
const ON_THEIR_WAY: usize = 4;

/// A part of what one observer knows of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The observer's alias.
    pub observer: Arc<str>,
    /// Its own name for the part, such as a group's.
    pub name: String,
    /// `None`: there is no such part any more.
    pub bytes: Option<Vec<u8>>,
}

/// What the input says; in its order.
#[derive(Debug)]
pub enum Turn {
    /// A partition is ours from now on. `done` is told when its observers know what `parts` say.
    Begin {
        /// Which.
        order: u64,
        /// Its name, for people: topic/partition.
        name: Arc<str>,
        /// What was known of it; empty: nothing.
        parts: Vec<Part>,
        /// Told at the end.
        done: oneshot::Sender<()>,
    },
    /// Gives the parts that changed since they were last given, once everything before is observed.
    Save {
        /// Which.
        order: u64,
        /// It is not ours any more after that.
        last: bool,
        /// Where they go; closed at the end.
        parts: mpsc::Sender<Part>,
    },
    /// What was given last is not kept after all: it is given again.
    Unsaved {
        /// Which.
        order: u64,
    },
    /// Its observers end, and nothing is kept.
    Forget {
        /// Which.
        order: u64,
    },
    /// All that was written to it until this time has been read and delivered: its observers' clock goes on.
    Reached {
        /// Which.
        order: u64,
        /// Milliseconds since 1970 UTC.
        now_ms: i64,
    },
}

/// The way to them. When the engine has ended, everything answers at once, with nothing.
#[derive(Clone, Debug)]
pub struct Observers(mpsc::Sender<Turn>);

impl Observers {
    /// The way, and its other end.
    pub fn new() -> (Self, mpsc::Receiver<Turn>) {
        let (sender, turns) = mpsc::channel(WAITING);
        (Observers(sender), turns)
    }

    /// See [`Turn::Begin`]. False: its observers did not come to it in time; they begin with what they are given meanwhile.
    pub async fn begin(&self, order: u64, name: Arc<str>, parts: Vec<Part>) -> bool {
        let (done, told) = oneshot::channel();
        let _ended = self.0.send(Turn::Begin { order, name, parts, done }).await;
        tokio::time::timeout(PATIENCE, told).await.is_ok()
    }

    /// See [`Turn::Save`]: gives each part to `take`. False: not all came in time.
    pub async fn save(&self, order: u64, last: bool, mut take: impl FnMut(Part)) -> bool {
        let (parts, mut given) = mpsc::channel(ON_THEIR_WAY);
        let _ended = self.0.send(Turn::Save { order, last, parts }).await;
        loop {
            match tokio::time::timeout(PATIENCE, given.recv()).await {
                Ok(Some(part)) => take(part),
                Ok(None) => return true,
                Err(_late) => return false,
            }
        }
    }

    /// See [`Turn::Unsaved`].
    pub async fn unsaved(&self, order: u64) {
        let _ended = self.0.send(Turn::Unsaved { order }).await;
    }

    /// See [`Turn::Forget`].
    pub async fn forget(&self, order: u64) {
        let _ended = self.0.send(Turn::Forget { order }).await;
    }

    /// See [`Turn::Reached`]. Does not wait: another follows.
    pub fn reached(&self, order: u64, now_ms: i64) {
        let _ended_or_busy = self.0.try_send(Turn::Reached { order, now_ms });
    }
}
