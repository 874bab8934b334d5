//! A queue of records on disk: segments that are appended to, a position, and a reader. One lane of one output's queue.
//!
//! Invariants, each held by a test in `tests/`:
//! 1. What was in a successful [`Disk::sync`] is read again after any crash, until it is settled.
//! 2. Opening never fails because of damage and never wipes: a torn tail is cut off, a bad record is skipped, a segment
//!    whose head is bad is renamed to `.bad`, and what a damaged stretch held is counted to the event.
//! 3. What a newer agent wrote is not touched: opening refuses, and the caller goes on in memory.
//! 4. Numbers only grow and are never used twice; what is before the position is never read again.
//! 5. A segment is removed only after a position behind it is on disk.
//! 6. The files of a lane take at most `limits.bytes`; a read holds one record in memory.
//!
//! It is synchronous and knows nothing of events but their number. The shape is that of other agents' queues (Vector's
//! disk_v2, vmagent's persistentqueue, otel-arrow's quiver: reference/reliability-and-performance.md, B1), the order of
//! writes follows Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014): content, its fsync, then the name.

pub mod bench;
mod folder;
mod format;
mod open;
mod position;
mod reading;
mod settled;
#[cfg(test)]
pub(crate) mod tests;

pub(crate) use folder::{Folder, RealFolder};
pub(crate) use format::{LARGEST, Mark, RECORD_HEAD};
pub(crate) use open::OpenError;
pub(crate) use settled::{Overwrite, Settled};

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use format::{RecordHead, SEGMENT_HEAD, SegmentHead};

/// Bounds of a lane.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// All its segments together.
    pub bytes: u64,
    /// One segment: what is dropped at once when the oldest goes.
    pub segment: u64,
}

/// One file of records.
#[derive(Clone, Debug)]
struct Segment {
    first: Mark,
    /// What older segments hold from here on is void.
    after: u64,
    /// Bytes that hold records, with the head.
    size: u64,
    /// How many of them are on disk, and what the next record behind them is.
    synced: (u64, Mark),
}

impl Segment {
    fn name(&self) -> String {
        format!("{:016x}.seg", self.first.number)
    }
}

/// The reader's place.
#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// The number in a segment's name.
    segment: u64,
    offset: u64,
    mark: Mark,
}

/// Where a record lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    segment: u64,
    offset: u64,
    /// The record.
    pub mark: Mark,
    /// What comes behind it.
    pub next: Mark,
}

/// A record that was read.
#[derive(Debug)]
pub(crate) struct Record {
    /// Where it lies.
    pub place: Place,
    /// When it was queued: milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// What was appended.
    pub payload: Vec<u8>,
}

/// Why a record was not appended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppendError {
    /// No room within `limits.bytes`.
    #[error("the queue's part of the disk is full")]
    Full,
    /// Larger than [`LARGEST`], or than a whole queue.
    #[error("a record of {0} bytes is larger than the queue takes")]
    TooLarge(usize),
    /// The disk is full or fails.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The queue.
pub(crate) struct Disk {
    folder: Box<dyn Folder>,
    limits: Limits,
    /// Whether records are read only once they are on disk.
    only_synced: bool,
    /// The oldest first.
    segments: VecDeque<Segment>,
    /// Whether the last segment takes more records.
    writing: bool,
    next: Mark,
    synced: Mark,
    names_changed: bool,
    /// What older segments hold from this number on could not be brought to disk.
    void_from: Option<u64>,
    cursor: Cursor,
    settled: Arc<Settled>,
    saved: u64,
    lost: u64,
    quarantined: u64,
    torn: u64,
}

impl Disk {
    /// Appends a record: `record` begins with [`RECORD_HEAD`] bytes of room for its head. Nothing is on disk before
    /// [`Disk::sync`]; after an error nothing of it is in the queue.
    pub(crate) fn append(
        &mut self,
        record: &mut [u8],
        events: u32,
        time_ms: i64,
    ) -> Result<Place, AppendError> {
        let size = record.len() as u64;
        if record.len() - RECORD_HEAD > LARGEST || size + SEGMENT_HEAD > self.limits.bytes {
            return Err(AppendError::TooLarge(record.len()));
        }
        let full =
            |last: &Segment| last.size > SEGMENT_HEAD && last.size + size > self.limits.segment;
        let new = !self.writing || self.segments.back().is_none_or(full);
        let head = if new { SEGMENT_HEAD } else { 0 };
        if self.bytes() + head + size > self.limits.bytes {
            return Err(AppendError::Full);
        }
        if new {
            self.begin_segment()?;
        }
        let Some(last) = self.segments.back_mut() else { return Err(AppendError::Full) };
        RecordHead::seal(record, self.next, events, time_ms);
        let (name, offset) = (last.name(), last.size);
        if let Err(error) = self.folder.write(&name, offset, record) {
            // A part may be there: it is cut off, or no more is written behind it.
            self.writing = self.folder.truncate(&name, offset).is_ok();
            return Err(error.into());
        }
        last.size += size;
        let mark = self.next;
        self.next = Mark { number: mark.number + 1, event: mark.event + u64::from(events) };
        Ok(Place { segment: last.first.number, offset, mark, next: self.next })
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        self.writing = false;
        let empty = self.segments.pop_back_if(|last| last.first == self.next); // of this name
        self.void_from = self.void_from.or(empty.map(|empty| empty.after));
        let after = self.void_from.unwrap_or(self.next.number);
        let segment =
            Segment { first: self.next, after, size: SEGMENT_HEAD, synced: (0, self.next) };
        let name = segment.name();
        self.folder.create(&name)?;
        self.names_changed = true;
        let head = SegmentHead { first: segment.first, after };
        if let Err(error) = self.folder.write(&name, 0, &head.encode()) {
            let _opening_removes_it_too = self.folder.remove(&name);
            return Err(error);
        }
        self.segments.push_back(segment);
        self.void_from = None;
        self.writing = true;
        Ok(())
    }

    /// Brings everything that was appended to disk.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for at in 0..self.segments.len() {
            let end = self.segments.get(at + 1).map_or(self.next, |next| next.first);
            let segment = &mut self.segments[at];
            if segment.size > segment.synced.0 {
                match self.folder.sync(&segment.name()) {
                    Ok(()) => segment.synced = (segment.size, end),
                    Err(error) => outcome = Err(error),
                }
            }
        }
        outcome?;
        if self.names_changed {
            self.folder.sync_names()?;
            self.names_changed = false;
        }
        self.synced = self.next;
        Ok(())
    }

    /// After a failed [`Disk::sync`]: the kernel may have dropped the pages and says so only once, so the file is not
    /// written any more (Rebello et al., "Can Applications Recover from fsync Failures?", ATC 2020). A lane that reads
    /// only what is synced forgets what was not, for its caller to append again.
    pub(crate) fn sync_failed(&mut self) {
        self.writing = false;
        if !self.only_synced {
            for segment in &mut self.segments {
                segment.synced.0 = segment.size;
            }
            self.synced = self.next;
            return;
        }
        // What cannot be removed or cut is void all the same: the next segment's head says so.
        while let Some(last) = self.segments.pop_back_if(|last| last.first >= self.synced) {
            let _void = self.folder.remove(&last.name());
        }
        if let Some(last) = self.segments.back_mut().filter(|last| last.size > last.synced.0) {
            last.size = last.synced.0;
            let (name, size) = (last.name(), last.size);
            let _void = self.folder.truncate(&name, size);
        }
        self.void_from = Some(self.synced.number);
        // Numbers are not used twice; events are counted on from what is there.
        self.next.event = self.synced.event;
    }

    /// Bytes of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.size).sum()
    }

    /// Records that [`Disk::read`] has yet to give.
    pub(crate) fn has_unread(&self) -> bool {
        self.cursor.mark.number < self.readable().number
    }

    /// Events that are not settled, just after opening.
    pub(crate) fn backlog(&self) -> u64 {
        self.next.event.saturating_sub(self.settled.until().event)
    }

    /// Events lost to damage since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Segments set aside as `.bad` since the last call.
    pub(crate) fn take_quarantined(&mut self) -> u64 {
        std::mem::take(&mut self.quarantined)
    }

    /// Bytes of a torn tail that were cut off when it was opened.
    pub(crate) fn take_torn(&mut self) -> u64 {
        std::mem::take(&mut self.torn)
    }

    /// The first number and event that [`Disk::read`] does not give yet.
    fn readable(&self) -> Mark {
        if self.only_synced { self.synced } else { self.next }
    }
}
