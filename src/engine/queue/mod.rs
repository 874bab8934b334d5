//! An output's queue: in memory, and with a part on disk behind it.
//!
//! Two lanes, each in the order of arrival; of both, what was queued first leaves first:
//! - **kept**: what its source can read again (files, Kafka). In memory up to a limit; beyond it, once the output makes no
//!   headway, the oldest goes to disk, and its fsync resolves the receipt. When the disk is full too it waits, and so does
//!   its source, which runs out of memory permits.
//! - **direct**: what nobody can read again (host metrics, incidents, pushes). Written to disk at once, and handed out from
//!   memory as long as that has room; what no longer fits is read from disk later.
//!
//! Invariants:
//! - nothing waits at a push, and nothing but the disk thread does I/O;
//! - what carries a receipt is dropped only by a named policy; every drop is counted with its reason;
//! - an entry that is on disk carries a claim, which settles its record when it is delivered or rejected: what an ending
//!   agent still holds is read again by the next;
//! - an output whose disk fails goes on in memory: direct entries are then bounded and drop the oldest.

pub(crate) mod decode;
mod disks;
pub(crate) mod encode;
mod entry;
mod keeper;
mod lane;
mod spill;
#[cfg(test)]
mod tests;
mod thread;
mod trouble;

pub(crate) use disks::{DiskOptions, WhenFull, queue, warn_of_orphans};
pub(crate) use entry::Entry;
pub(crate) use thread::{DiskThread, Signal};

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sentinel_contract::Fate;
use sentinel_contract::telemetry::Counters;
use tokio::sync::Notify;

use crate::clock::now_ms;
use lane::Lane;

/// Bounds of a queue's memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MemoryLimits {
    /// Kept entries, by what they pin; beyond it they go to disk.
    pub kept: usize,
    /// Direct entries; beyond it they are read from disk again, or without a disk the oldest are dropped.
    pub direct: usize,
}

/// The queue.
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Notify,
    counters: Arc<Counters>,
    bounds: Mutex<Bounds>,
    life: Mutex<Life>,
    /// Wakes the disk thread; `None`: no part on disk.
    signal: Option<Arc<Signal>>,
}

/// What a reload may change.
#[derive(Clone, Copy)]
struct Bounds {
    limits: MemoryLimits,
    /// How old an entry may become; older ones are given up instead of sent.
    age: Option<Duration>,
    when_full: WhenFull,
}

/// Whether its output is there.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Life {
    #[default]
    Lives,
    /// It is no longer configured, and delivers what it has.
    Dismissed,
    /// It has ended after that: the disk thread lets go of the lanes.
    Over,
}

struct State {
    kept: Lane,
    direct: Lane,
    next: u64,
}

/// Which lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Of what can be read again.
    Kept,
    /// Of what cannot.
    Direct,
}

impl Queue {
    /// A queue without a part on disk.
    #[cfg(test)]
    pub(crate) fn in_memory(limits: MemoryLimits, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Queue::new(limits, counters, &DiskOptions::default(), None))
    }

    fn new(
        limits: MemoryLimits,
        counters: Arc<Counters>,
        options: &DiskOptions,
        signal: Option<Arc<Signal>>,
    ) -> Self {
        // Until the disk thread has opened what is there, nothing overtakes it.
        let on_disk = signal.is_some();
        let (kept, direct) = (Lane::new(on_disk, false), Lane::new(on_disk, on_disk));
        let state = State { kept, direct, next: 0 };
        let bounds = Bounds { limits, age: options.age, when_full: options.when_full };
        Queue {
            state: Mutex::new(state),
            arrived: Notify::new(),
            counters,
            bounds: Mutex::new(bounds),
            life: Mutex::default(),
            signal,
        }
    }

    fn bounds(&self) -> Bounds {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other bounds from now on. The room on disk stays what it was.
    pub(crate) fn adapt(&self, limits: MemoryLimits, options: &DiskOptions) {
        let bounds = Bounds { limits, age: options.age, when_full: options.when_full };
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its output is no longer configured: what is left in memory at its end is given up, as nobody wants it any more.
    pub(crate) fn dismiss(&self) {
        *self.life() = Life::Dismissed;
    }

    /// The disk thread may let go of it.
    fn is_over(&self) -> bool {
        *self.life() == Life::Over
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry.
    pub(crate) fn push(&self, mut entry: Entry) {
        self.count(&entry, true);
        self.counters.received.fetch_add(entry.events() as u64, Relaxed);
        self.counters.received_bytes.fetch_add(entry.bytes as u64, Relaxed);
        let way = entry.way;
        let mut state = self.state();
        (entry.time_ms, entry.place) = (now_ms(), state.next);
        state.next += 1;
        let lane = state.lane(way);
        lane.push(entry);
        let limits = self.bounds().limits;
        let wake = match way {
            Way::Kept => lane.held_bytes() > limits.kept,
            Way::Direct => {
                while lane.waiting_bytes > limits.direct && self.give_up(lane) {}
                true
            }
        };
        drop(state);
        self.arrived.notify_one();
        if wake {
            self.wake();
        }
    }

    /// Gives up the oldest direct entry that is in memory only, to make room; false when there is none.
    pub(crate) fn shed(&self) -> bool {
        self.give_up(&mut self.state().direct)
    }

    /// One direct entry that is not on disk goes: by policy the newest, else the oldest.
    fn give_up(&self, lane: &mut Lane) -> bool {
        let newest = self.bounds().when_full == WhenFull::DropNewest;
        let Some(entry) = lane.give_up(newest) else { return false };
        self.drop_entry(entry, "queue_full", Fate::Lost);
        true
    }

    /// Takes the oldest entry. The caller keeps it counted as queued until [`Queue::done`].
    pub(crate) fn pop(&self) -> Option<Entry> {
        loop {
            let mut state = self.state();
            let (kept, direct) = (state.kept.first(), state.direct.first());
            // `None` is less than any place: an empty lane must not win.
            let way = match direct {
                Some(direct) if kept.is_none_or(|kept| direct < kept) => Way::Direct,
                _ => Way::Kept,
            };
            let lane = state.lane(way);
            let entry = lane.pop();
            let low = lane.behind && lane.ready_bytes < self.read_ahead() / 2;
            drop(state);
            if low {
                self.wake();
            }
            let entry = entry?;
            if !self.is_too_old(entry.time_ms) {
                return Some(entry);
            }
            self.done(&entry);
            self.counters.drop_events("too_old", entry.events() as u64);
            entry.resolve(Fate::Delivered); // given up and counted: its source goes on
        }
    }

    /// An entry that was taken is no longer queued: delivered, rejected or given up.
    pub(crate) fn done(&self, entry: &Entry) {
        self.count(entry, false);
        self.state().lane(entry.way).done(entry);
    }

    /// An entry that was taken goes back unsent, while the agent ends: what is on disk stays queued there.
    pub(crate) fn leave(&self, entry: Entry) {
        self.state().lane(entry.way).done(&entry);
        self.leave_behind(entry);
    }

    /// Entries that were taken, in their order, come back to be taken first: another task goes on with the queue.
    pub(crate) fn put_back(&self, entries: Vec<Entry>) {
        let mut state = self.state();
        for entry in entries.into_iter().rev() {
            state.lane(entry.way).put_back_ready(entry);
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Nothing that a source can read again is in memory: no permit of it will come back.
    pub(crate) fn is_idle(&self) -> bool {
        self.state().kept.is_idle()
    }

    /// Waits until something may be there.
    pub(crate) async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// At the end: gives up what is left in memory. What carries a receipt is read again by its source, what is on disk
    /// by the next agent; direct entries are left to the disk thread, which comes after.
    pub(crate) fn abandon(&self) {
        let mut state = self.state();
        let mut left = state.kept.take_ready();
        left.extend(state.kept.take_waiting());
        left.extend(state.direct.take_ready());
        if !self.has_disk() {
            left.extend(state.direct.take_waiting());
        }
        drop(state);
        for entry in left {
            self.leave_behind(entry);
        }
        let mut life = self.life();
        if *life == Life::Dismissed {
            *life = Life::Over;
        }
        drop(life);
        self.wake();
    }

    fn leave_behind(&self, entry: Entry) {
        if entry.on_disk {
            // Its record is not settled, and its events stay counted.
            self.counters.queued_bytes.fetch_sub(entry.bytes as u64, Relaxed);
            entry.resolve(Fate::Lost);
        } else if *self.life() != Life::Lives {
            self.drop_entry(entry, "output_removed", Fate::Delivered);
        } else if entry.receipt.is_some() {
            self.count(&entry, false);
            entry.resolve(Fate::Lost);
        } else {
            self.drop_entry(entry, "shutdown", Fate::Lost);
        }
    }

    /// Counts an entry that is given up.
    fn drop_entry(&self, entry: Entry, reason: &'static str, fate: Fate) {
        self.count(&entry, false);
        self.counters.drop_events(reason, entry.events() as u64);
        entry.resolve(fate);
    }

    /// Events wait wherever they are; bytes are those in memory.
    fn count(&self, entry: &Entry, more: bool) {
        let (events, bytes) = (entry.events() as u64, entry.bytes as u64);
        if more {
            self.counters.queued.fetch_add(events, Relaxed);
            self.counters.queued_bytes.fetch_add(bytes, Relaxed);
        } else {
            self.counters.queued.fetch_sub(events, Relaxed);
            self.counters.queued_bytes.fetch_sub(bytes, Relaxed);
        }
    }

    fn is_too_old(&self, time_ms: i64) -> bool {
        self.bounds().age.is_some_and(|age| now_ms() - time_ms > age.as_millis() as i64)
    }

    /// Bytes that are read from disk ahead of the output.
    fn read_ahead(&self) -> usize {
        (self.bounds().limits.direct / 2).min(2 << 20)
    }

    fn has_disk(&self) -> bool {
        self.signal.is_some()
    }

    fn wake(&self) {
        if let Some(signal) = &self.signal {
            signal.wake();
        }
    }

    /// Works on a lane; for the disk thread.
    fn with<T>(&self, way: Way, work: impl FnOnce(&mut Lane) -> T) -> T {
        work(self.state().lane(way))
    }
}

impl State {
    fn lane(&mut self, way: Way) -> &mut Lane {
        match way {
            Way::Kept => &mut self.kept,
            Way::Direct => &mut self.direct,
        }
    }
}
