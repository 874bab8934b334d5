//! Receipts: the way an input learns what became of what it read.
//!
//! A receipt is cloned for every copy of its events (one an output, one a piece of a split). Each clone is resolved
//! once; a clone that is dropped unresolved counts as lost. When the last is gone, the worst fate is sent, exactly once.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// What became of a copy. Ordered: the worst wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Fate {
    /// An output acknowledged it, or nobody wanted it.
    Delivered,
    /// It was refused for good and is on record in the dead letters.
    Rejected,
    /// It is gone; the input reads it again.
    Lost,
}

type Notify = Box<dyn FnOnce(Fate) + Send + Sync>;

struct Shared {
    worst: AtomicU8,
    notify: Option<Notify>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let fate = match self.worst.load(Ordering::Acquire) {
            0 => Fate::Delivered,
            1 => Fate::Rejected,
            _ => Fate::Lost,
        };
        if let Some(notify) = self.notify.take() {
            notify(fate);
        }
    }
}

/// One copy's claim on the fate of a batch.
#[must_use = "a receipt that is dropped counts as lost"]
pub struct Receipt {
    shared: Arc<Shared>,
    resolved: bool,
    on_disk: bool,
}

impl Receipt {
    /// `notify` is called once, with the worst fate of all copies, by whoever resolves the last: it must not block.
    pub fn new(notify: impl FnOnce(Fate) + Send + Sync + 'static) -> Self {
        Receipt::of(Box::new(notify), false)
    }

    fn of(notify: Notify, on_disk: bool) -> Self {
        let shared = Shared { worst: AtomicU8::new(0), notify: Some(notify) };
        Receipt { shared: Arc::new(shared), resolved: false, on_disk }
    }

    /// The receipt of a push, whose sender waits for an answer: "delivered" already when it is safely on the disk of every
    /// output's queue, as nobody could send it again later.
    pub fn on_disk(notify: impl FnOnce(Fate) + Send + Sync + 'static) -> Self {
        Receipt::of(Box::new(notify), true)
    }

    /// Whether its events are to be written to disk at once.
    pub fn wants_disk(&self) -> bool {
        self.on_disk
    }

    /// Says what became of this copy.
    pub fn resolve(mut self, fate: Fate) {
        self.record(fate);
    }

    fn record(&mut self, fate: Fate) {
        self.resolved = true;
        self.shared.worst.fetch_max(fate as u8, Ordering::AcqRel);
    }
}

impl Clone for Receipt {
    fn clone(&self) -> Self {
        Receipt { shared: Arc::clone(&self.shared), resolved: false, on_disk: self.on_disk }
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if !self.resolved {
            self.record(Fate::Lost);
        }
    }
}

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}
