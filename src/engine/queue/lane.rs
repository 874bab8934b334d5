//! One lane of a queue, in memory: what is ready to be taken, what lies on disk behind it (told by a flag), and what
//! waits behind that.

use std::collections::VecDeque;
use std::time::Instant;

use super::Entry;

/// `ready`, then what is on disk, then `waiting`.
pub(super) struct Lane {
    ready: VecDeque<Entry>,
    /// What its entries occupy.
    pub(super) ready_bytes: usize,
    waiting: VecDeque<Entry>,
    /// What its entries pin.
    pub(super) waiting_bytes: usize,
    /// Something is on disk, or on its way there, that comes before `waiting`.
    pub(super) behind: bool,
    /// Entries are taken only after they were written to disk.
    pub(super) disk_first: bool,
    /// Entries that the disk thread has in its hands.
    pub(super) writing: usize,
    /// Events taken by the output that are in memory only, and not yet done.
    taken: usize,
    /// What they occupy: they cannot go to disk, and leave the less for what waits.
    taken_bytes: usize,
    /// When the output last settled something, or had nothing to do.
    pub(super) progress: Instant,
}

impl Lane {
    pub(super) fn new(behind: bool, disk_first: bool) -> Self {
        Lane {
            ready: VecDeque::new(),
            ready_bytes: 0,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            behind,
            disk_first,
            writing: 0,
            taken: 0,
            taken_bytes: 0,
            progress: Instant::now(),
        }
    }

    /// From its source.
    pub(super) fn push(&mut self, entry: Entry) {
        if self.waiting.is_empty() && self.ready.is_empty() && self.taken == 0 && !self.behind {
            self.progress = Instant::now();
        }
        self.waiting_bytes += entry.pinned();
        self.waiting.push_back(entry);
    }

    fn hands_out_waiting(&self) -> bool {
        !self.behind && !self.disk_first
    }

    /// Time and place of the next entry.
    pub(super) fn first(&self) -> Option<(i64, u64)> {
        let waiting = if self.hands_out_waiting() { self.waiting.front() } else { None };
        self.ready.front().or(waiting).map(|entry| (entry.time_ms, entry.place))
    }

    /// The next entry, for the output.
    pub(super) fn pop(&mut self) -> Option<Entry> {
        let entry = match self.ready.pop_front() {
            Some(entry) => {
                self.ready_bytes -= entry.bytes;
                entry
            }
            None if self.hands_out_waiting() => self.pop_waiting()?,
            None => return None,
        };
        if !entry.on_disk {
            self.taken += entry.events();
            self.taken_bytes += entry.bytes;
        }
        Some(entry)
    }

    /// The output is done with an entry, or with a part of one.
    pub(super) fn done(&mut self, entry: &Entry) {
        self.progress = Instant::now();
        self.give_back(entry);
    }

    fn give_back(&mut self, entry: &Entry) {
        if !entry.on_disk {
            self.taken -= entry.events();
            self.taken_bytes -= entry.bytes;
        }
    }

    /// What waits and what the output has, when some waits.
    pub(super) fn held_bytes(&self) -> usize {
        if self.waiting.is_empty() { 0 } else { self.waiting_bytes + self.taken_bytes }
    }

    fn pop_waiting(&mut self) -> Option<Entry> {
        let entry = self.waiting.pop_front()?;
        self.waiting_bytes -= entry.pinned();
        Some(entry)
    }

    /// The oldest that waits, for the disk thread, and the time it was queued at.
    pub(super) fn take(&mut self) -> Option<Entry> {
        let entry = self.pop_waiting()?;
        (self.behind, self.writing) = (true, self.writing + 1);
        Some(entry)
    }

    /// When the oldest that waits was queued.
    pub(super) fn waits_since(&self) -> Option<i64> {
        self.waiting.front().map(|entry| entry.time_ms)
    }

    /// The disk thread could not write it: it comes before all that waits.
    pub(super) fn put_back(&mut self, entry: Entry) {
        self.writing -= 1;
        self.waiting_bytes += entry.pinned();
        self.waiting.push_front(entry);
    }

    /// Ready to be taken, behind the others; for the disk thread.
    pub(super) fn hand_out(&mut self, entry: Entry) {
        self.ready_bytes += entry.bytes;
        self.ready.push_back(entry);
    }

    /// The output hands it back unsent: it is the first to be taken again.
    pub(super) fn put_back_ready(&mut self, entry: Entry) {
        self.give_back(&entry);
        self.ready_bytes += entry.bytes;
        self.ready.push_front(entry);
    }

    /// The oldest (or the newest) that is in memory only.
    pub(super) fn give_up(&mut self, newest: bool) -> Option<Entry> {
        if !newest {
            return self.pop_waiting();
        }
        let entry = self.waiting.pop_back()?;
        self.waiting_bytes -= entry.pinned();
        Some(entry)
    }

    /// Nothing is in memory that would give its permit back.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.writing == 0 && self.taken == 0
    }

    /// All that is ready.
    pub(super) fn take_ready(&mut self) -> VecDeque<Entry> {
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready)
    }

    /// All that waits.
    pub(super) fn take_waiting(&mut self) -> VecDeque<Entry> {
        self.waiting_bytes = 0;
        std::mem::take(&mut self.waiting)
    }
}
