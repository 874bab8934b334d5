//! Memory as a semaphore of bytes: the only back-pressure there is.
//!
//! Whoever makes a batch takes a permit before it reads, charged by the capacity it pins. A permit is given back when
//! the last holder of its batch lets go. Sources that can wait (files) wait here; nothing waits at a queue.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A budget of bytes, shared by cloning.
#[derive(Clone, Debug)]
pub struct Memory {
    free: Arc<Semaphore>,
    capacity: usize,
    most: Arc<Most>,
    wanted: Wanted,
}

/// Whether somebody waits for memory: what only collects more of what there is then goes on with what it has. Shared by cloning.
#[derive(Clone, Debug, Default)]
pub struct Wanted(Arc<Waiters>);

#[derive(Debug, Default)]
struct Waiters {
    now: AtomicUsize,
    came: Notify,
}

/// Somebody who waits, until dropped.
#[derive(Debug)]
pub struct Waiter(Wanted);

/// The most bytes that were in use.
#[derive(Debug, Default)]
struct Most {
    ever: AtomicUsize,
    lately: AtomicUsize,
}

/// Bytes taken from a budget, given back on drop.
#[derive(Debug)]
pub struct Permit {
    held: OwnedSemaphorePermit,
}

impl Memory {
    /// A budget of `capacity` bytes, at most 4 GiB.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, u32::MAX as usize);
        Memory {
            free: Arc::new(Semaphore::new(capacity)),
            capacity,
            most: Arc::default(),
            wanted: Wanted::default(),
        }
    }

    /// Waits until `bytes` are free. More than the whole budget is charged as the whole budget.
    pub async fn acquire(&self, bytes: usize) -> Permit {
        if let Some(permit) = self.try_acquire(bytes) {
            return permit;
        }
        let _waiter = self.wanted.waiter();
        let bytes = bytes.min(self.capacity) as u32;
        match Arc::clone(&self.free).acquire_many_owned(bytes).await {
            Ok(held) => {
                self.note();
                Permit { held }
            }
            Err(closed) => unreachable!("the semaphore is never closed: {closed}"),
        }
    }

    /// Takes `bytes` if they are free now.
    pub fn try_acquire(&self, bytes: usize) -> Option<Permit> {
        let bytes = bytes.min(self.capacity) as u32;
        let held = Arc::clone(&self.free).try_acquire_many_owned(bytes).ok()?;
        self.note();
        Some(Permit { held })
    }

    fn note(&self) {
        self.most.lately.fetch_max(self.used(), Relaxed);
    }

    /// Bytes in use.
    pub fn used(&self) -> usize {
        self.capacity - self.free.available_permits()
    }

    /// The most bytes that were in use at once, seen as permits were taken.
    pub fn peak(&self) -> usize {
        self.most.ever.load(Relaxed).max(self.most.lately.load(Relaxed))
    }

    /// The same since the last call.
    pub fn peak_since_last(&self) -> usize {
        self.note(); // what permits took that grew
        let lately = self.most.lately.swap(0, Relaxed);
        self.most.ever.fetch_max(lately, Relaxed);
        lately
    }

    /// Tells whether somebody waits.
    pub fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Bytes in all.
    pub fn capacity(&self) -> usize {
        self.capacity
    }
}

impl Wanted {
    /// Somebody waits, until what this returns is dropped.
    pub fn waiter(&self) -> Waiter {
        self.0.now.fetch_add(1, SeqCst);
        self.0.came.notify_waiters();
        Waiter(self.clone())
    }

    /// Somebody waits.
    pub fn is_now(&self) -> bool {
        self.0.now.load(SeqCst) > 0
    }

    /// Waits until somebody waits.
    pub async fn comes(&self) {
        while !self.is_now() {
            let came = self.0.came.notified(); // from here on no call is missed
            if self.is_now() {
                return;
            }
            came.await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, SeqCst);
    }
}

impl Permit {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.held.num_permits()
    }

    /// Takes `bytes` more of the same budget if they are free now.
    pub fn try_grow(&mut self, bytes: usize) -> bool {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let more = Arc::clone(self.held.semaphore()).try_acquire_many_owned(bytes);
        more.map(|more| self.held.merge(more)).is_ok()
    }

    /// Waits until `bytes` more of the same budget are free, and takes them.
    pub async fn grow(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        match Arc::clone(self.held.semaphore()).acquire_many_owned(bytes).await {
            Ok(more) => self.held.merge(more),
            Err(closed) => unreachable!("the semaphore is never closed: {closed}"),
        }
    }

    /// A permit of its own for `bytes` of these, or for all when there are fewer.
    pub fn split(&mut self, bytes: usize) -> Permit {
        let bytes = bytes.min(self.bytes());
        match self.held.split(bytes) {
            Some(held) => Permit { held },
            None => unreachable!("not more than are held"),
        }
    }

    /// Gives back what is held beyond `bytes`.
    pub fn shrink(&mut self, bytes: usize) {
        let excess = self.bytes().saturating_sub(bytes);
        drop(self.held.split(excess));
    }
}
