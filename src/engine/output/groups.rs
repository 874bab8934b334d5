//! What was taken from the queue and is not written yet, and the groups that are made of it.
//!
//! A group goes out as one write. It takes entries in their order, and none of a row (what is to stay in order: the lines of
//! one stream) that has another write under way: those stay until that is settled. With a window for several writes, rows are
//! spread over as many classes, and a group is of one class; else one write would have something of every row, and no
//! other could be beside it.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use std::time::Duration;

use tokio::time::Instant;

use super::BatchLimits;
use crate::queue::{Entry, Queue};

/// The next write.
pub(super) enum Next {
    /// Its number, for [`Groups::settled`], and its entries.
    Group(u64, Vec<Entry>),
    /// None is full; the oldest that could be made is to wait until then, if there is one.
    Due(Option<Instant>),
}

/// How much memory a group may pin, in its limits of bytes: of what a filter took little from, the whole read buffer stays,
/// and what is taken from the queue cannot go to disk any more.
const PINS: usize = 2;

/// The entries.
pub(super) struct Groups {
    limits: BatchLimits,
    waiting: VecDeque<Waiting>,
    size: Size,
    under_way: Vec<UnderWay>,
    next: u64,
}

struct Waiting {
    entry: Entry,
    /// A hash of its origin and of the row in it.
    row: u64,
    since: Instant,
}

struct UnderWay {
    number: u64,
    /// Sorted.
    rows: Vec<u64>,
}

/// What could go of one class.
#[derive(Clone, Default)]
struct Class {
    size: Size,
    since: Option<Instant>,
}

/// What entries come to.
#[derive(Clone, Copy, Default)]
struct Size {
    events: usize,
    bytes: usize,
    pinned: usize,
}

impl Size {
    fn add(&mut self, entry: &Entry) {
        self.events += entry.events();
        self.bytes += entry.bytes;
        self.pinned += entry.pinned();
    }

    fn subtract(&mut self, other: Size) {
        self.events -= other.events;
        self.bytes -= other.bytes;
        self.pinned -= other.pinned;
    }

    /// So many times this is enough for so many groups.
    fn fills(self, times: usize, groups: usize, limits: &BatchLimits) -> bool {
        let reaches =
            |size: usize, limit: usize| size.saturating_mul(times) >= limit.saturating_mul(groups);
        reaches(self.events, limits.events)
            || reaches(self.bytes, limits.bytes)
            || reaches(self.pinned, limits.bytes.saturating_mul(PINS))
    }
}

impl Groups {
    pub(super) fn new(limits: BatchLimits) -> Self {
        Groups {
            limits,
            waiting: VecDeque::new(),
            size: Size::default(),
            under_way: Vec::new(),
            next: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Something that waits is in memory that a source may want: of what can be read again, and is not on disk.
    pub(super) fn hold_memory(&self) -> bool {
        self.waiting.iter().any(|one| one.entry.holds_memory())
    }

    /// The limits of one of so many writes at once. Each has its events in memory twice more, encoded and compressed: several
    /// are smaller.
    fn limits(&self, lanes: usize) -> BatchLimits {
        BatchLimits { bytes: self.limits.bytes / lanes.min(2), ..self.limits }
    }

    /// There is enough of everything for a group; for two when there may be several writes, as they are of some rows
    /// only.
    pub(super) fn are_full(&self, lanes: usize) -> bool {
        self.size.fills(1, lanes.min(2), &self.limits(lanes))
    }

    /// Takes from the queue what is there and fits.
    pub(super) fn fill(&mut self, queue: &Queue, lanes: usize) {
        let since = Instant::now();
        while !self.are_full(lanes) {
            let Some(entry) = queue.pop() else { return };
            self.size.add(&entry);
            let row = row(&entry);
            self.waiting.push_back(Waiting { entry, row, since });
        }
    }

    /// The next group, with rows spread over this many classes: one that is full or has waited for so long. Nothing more is taken before one goes when there is enough for two: then a class's share is enough, as
    /// none of them may ever be full.
    pub(super) fn next(&mut self, lanes: usize, patience: Duration) -> Next {
        let now = Instant::now();
        if lanes == 1 && self.under_way.is_empty() && !self.are_full(1) {
            let due = self.waiting.front().map(|first| first.since + patience);
            if due.is_none_or(|due| due > now) {
                return Next::Due(due); // the usual case, without a look at all entries
            }
        }
        let mut classes = vec![Class::default(); lanes];
        for waiting in self.waiting.iter().filter(|waiting| !self.is_busy(waiting.row)) {
            let class = &mut classes[waiting.row as usize % lanes];
            class.size.add(&waiting.entry);
            class.since.get_or_insert(waiting.since);
        }
        let limits = self.limits(lanes);
        let due = |class: &Class| class.since.map(|since| since + patience);
        let shares = if self.are_full(lanes) { lanes } else { 1 };
        let ready = |class: &Class| {
            let full = class.size.fills(shares, 1, &limits);
            due(class).is_some_and(|due| full || due <= now)
        };
        let oldest = (0..lanes).filter(|class| ready(&classes[*class]));
        match oldest.min_by_key(|class| classes[*class].since) {
            Some(class) => self.take_class(class, lanes),
            None => Next::Due(classes.iter().filter_map(due).min()),
        }
    }

    fn take_class(&mut self, class: usize, lanes: usize) -> Next {
        let mut size = Size::default();
        let (mut group, mut rows) = (Vec::new(), Vec::new());
        let mut rest = VecDeque::new();
        let mut waiting = std::mem::take(&mut self.waiting);
        let limits = self.limits(lanes);
        while !size.fills(1, 1, &limits) {
            let Some(next) = waiting.pop_front() else { break };
            if next.row as usize % lanes != class || self.is_busy(next.row) {
                rest.push_back(next);
                continue;
            }
            size.add(&next.entry);
            rows.push(next.row);
            group.push(next.entry);
        }
        rest.append(&mut waiting);
        self.waiting = rest;
        self.size.subtract(size);
        rows.sort_unstable();
        rows.dedup();
        let number = self.next;
        self.next += 1;
        self.under_way.push(UnderWay { number, rows });
        Next::Group(number, group)
    }

    fn is_busy(&self, row: u64) -> bool {
        self.under_way.iter().any(|write| write.rows.binary_search(&row).is_ok())
    }

    /// A write is over.
    pub(super) fn settled(&mut self, number: u64) {
        self.under_way.retain(|write| write.number != number);
    }

    /// All that waits.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        self.size = Size::default();
        self.waiting.drain(..).map(|waiting| waiting.entry).collect()
    }
}

fn row(entry: &Entry) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&entry.piece.batch.origin, entry.piece.batch.order).hash(&mut hasher);
    hasher.finish()
}
