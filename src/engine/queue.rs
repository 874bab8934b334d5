//! An output's queue, in memory. Its disk part will sit behind [`Queue::push`] and [`Queue::pop`].
//!
//! Invariants:
//! - what carries a receipt is never dropped here: its memory permit bounds it at the source;
//! - what carries none (host metrics, incidents) is bounded by `limit` bytes: the oldest goes first, counted;
//! - entries leave in the order in which they came;
//! - nothing waits at a push.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Batch, Fate, Piece, Receipt};
use tokio::sync::Notify;

/// One entry: a piece of a frozen batch and its claim on a receipt.
#[derive(Debug)]
pub struct Entry {
    /// What to write.
    pub piece: Piece,
    /// Who hears about it.
    pub receipt: Option<Receipt>,
    /// What it occupies.
    pub bytes: usize,
    /// The batch that a filter took the piece's events from: they lie in its read buffer, so its permit stays taken.
    pub whole: Option<Arc<Batch>>,
}

impl Entry {
    /// A whole batch.
    pub fn new(piece: Piece, receipt: Option<Receipt>) -> Self {
        let bytes = piece.batch.events.bytes();
        Entry { piece, receipt, bytes, whole: None }
    }

    /// How many events.
    pub fn events(&self) -> usize {
        self.piece.range.len()
    }

    /// Tells the source what became of it.
    pub fn resolve(self, fate: Fate) {
        if let Some(receipt) = self.receipt {
            receipt.resolve(fate);
        }
    }

    /// The first `at` events, and the rest.
    pub fn split(self, at: usize) -> (Entry, Entry) {
        let (start, end) = (self.piece.range.start, self.piece.range.end);
        let middle = start + at;
        let share = self.bytes * at / (end - start).max(1);
        let piece = |range| Piece { batch: Arc::clone(&self.piece.batch), range };
        let second = Entry {
            piece: piece(middle..end),
            receipt: self.receipt.clone(),
            bytes: self.bytes - share,
            whole: self.whole.clone(),
        };
        let piece = piece(start..middle);
        (Entry { piece, receipt: self.receipt, bytes: share, whole: self.whole }, second)
    }
}

/// The queue.
pub struct Queue {
    entries: Mutex<State>,
    arrived: Notify,
    counters: Arc<Counters>,
    limit: usize,
}

#[derive(Default)]
struct State {
    /// With their place in the order of arrival.
    kept: VecDeque<(u64, Entry)>,
    droppable: VecDeque<(u64, Entry)>,
    droppable_bytes: usize,
    next: u64,
}

impl Queue {
    /// `limit` bounds the bytes of what may be dropped.
    pub fn new(limit: usize, counters: Arc<Counters>) -> Arc<Self> {
        Arc::new(Queue { entries: Mutex::default(), arrived: Notify::new(), counters, limit })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an entry.
    pub fn push(&self, entry: Entry) {
        self.count(&entry, true);
        self.counters.received.fetch_add(entry.events() as u64, Relaxed);
        self.counters.received_bytes.fetch_add(entry.bytes as u64, Relaxed);
        let mut state = self.state();
        let place = state.next;
        state.next += 1;
        if entry.receipt.is_some() {
            state.kept.push_back((place, entry));
        } else {
            state.droppable_bytes += entry.bytes;
            state.droppable.push_back((place, entry));
            while state.droppable_bytes > self.limit && self.drop_oldest(&mut state) {}
        }
        drop(state);
        self.arrived.notify_one();
    }

    /// Gives up the oldest entry without a receipt, to make room; false when there is none.
    pub fn shed(&self) -> bool {
        self.drop_oldest(&mut self.state())
    }

    fn drop_oldest(&self, state: &mut State) -> bool {
        let Some((_, oldest)) = state.droppable.pop_front() else { return false };
        state.droppable_bytes -= oldest.bytes;
        self.count(&oldest, false);
        self.counters.drop_events("queue_full", oldest.events() as u64);
        true
    }

    /// Takes the oldest entry. The caller keeps it counted as queued until [`Queue::done`].
    pub fn pop(&self) -> Option<Entry> {
        let mut state = self.state();
        let first =
            |queue: &VecDeque<(u64, Entry)>| queue.front().map_or(u64::MAX, |(place, _)| *place);
        if first(&state.kept) < first(&state.droppable) {
            return state.kept.pop_front().map(|(_, entry)| entry);
        }
        let (_, entry) = state.droppable.pop_front()?;
        state.droppable_bytes -= entry.bytes;
        Some(entry)
    }

    /// An entry that was taken is no longer queued: delivered, rejected or given up.
    pub fn done(&self, entry: &Entry) {
        self.count(entry, false);
    }

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

    /// Nothing waits and nothing is on its way.
    pub fn is_idle(&self) -> bool {
        self.counters.queued.load(Relaxed) == 0
    }

    /// Waits until something may be there.
    pub async fn arrival(&self) {
        self.arrived.notified().await;
    }

    /// At the end: gives up what is left. What carries a receipt is read again by its source.
    pub fn abandon(&self) {
        let mut state = self.state();
        let State { kept, droppable, .. } = std::mem::take(&mut *state);
        for (_, entry) in kept {
            self.count(&entry, false);
            entry.resolve(Fate::Lost);
        }
        for (_, entry) in droppable {
            self.count(&entry, false);
            self.counters.drop_events("shutdown", entry.events() as u64);
        }
    }
}
