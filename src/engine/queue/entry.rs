//! What a queue holds: a piece of a frozen batch, and who wants to hear what becomes of it.

use std::sync::Arc;

use sentinel_contract::{Batch, Fate, Piece, Receipt};

use super::Way;

/// One entry.
#[derive(Debug)]
pub(crate) struct Entry {
    /// What to write.
    pub piece: Piece,
    /// Who hears about it: its source, or the disk part that holds a copy.
    pub receipt: Option<Receipt>,
    /// What its events occupy.
    pub bytes: usize,
    /// The batch that a filter took the piece's events from: they lie in its read buffer, so its permit stays taken.
    pub whole: Option<Arc<Batch>>,
    /// When it was queued: milliseconds since 1970 UTC. Set by the queue.
    pub time_ms: i64,
    /// Its place among those of the same time; 0 when it was read from disk.
    pub(super) place: u64,
    /// The lane it is in.
    pub(super) way: Way,
    /// A copy is on disk, and the receipt is its claim.
    pub(super) on_disk: bool,
}

impl Entry {
    /// A piece with a claim.
    pub(crate) fn new(piece: Piece, receipt: Option<Receipt>) -> Self {
        let bytes = piece.batch.events.bytes();
        let way = match &receipt {
            Some(receipt) if !receipt.wants_disk() => Way::Kept,
            _ => Way::Direct,
        };
        Entry { piece, receipt, bytes, whole: None, time_ms: 0, place: 0, way, on_disk: false }
    }

    /// How many events.
    pub(crate) fn events(&self) -> usize {
        self.piece.range.len()
    }

    /// The memory that goes free with it, as far as it is charged.
    pub(crate) fn pinned(&self) -> usize {
        let batch = self.whole.as_ref().unwrap_or(&self.piece.batch);
        batch.permit.as_ref().map_or(self.bytes, |permit| permit.bytes().max(self.bytes))
    }

    /// It is of what its source can read again, and nowhere but in memory.
    pub(crate) fn holds_memory(&self) -> bool {
        self.way == Way::Kept && !self.on_disk
    }

    /// Tells its source what became of it.
    pub(crate) fn resolve(self, fate: Fate) {
        if let Some(receipt) = self.receipt {
            receipt.resolve(fate);
        }
    }

    /// The first `at` events, and the rest.
    pub(crate) fn split(self, at: usize) -> (Entry, Entry) {
        let (start, end) = (self.piece.range.start, self.piece.range.end);
        let middle = start + at;
        let share = self.bytes * at / (end - start).max(1);
        let piece = |range| Piece { batch: Arc::clone(&self.piece.batch), range };
        let second = Entry {
            piece: piece(middle..end),
            receipt: self.receipt.clone(),
            bytes: self.bytes - share,
            whole: self.whole.clone(),
            ..self
        };
        let piece = piece(start..middle);
        (Entry { piece, bytes: share, receipt: self.receipt, whole: self.whole, ..self }, second)
    }
}
