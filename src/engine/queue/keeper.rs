//! What keeps one lane of a queue on disk: it appends, syncs in groups, resolves receipts, reads ahead, and saves the
//! position. All of it on the disk thread.
//!
//! A kept lane spills when it is over its memory and its output makes no headway, or its oldest entry has waited that
//! long: an output that is only slower than its source must not send everything through the disk. What an output without
//! headway has in its hands is part of that memory.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sentinel_contract::{Fate, Piece, Receipt};

use super::thread::earlier;
use super::{Entry, Queue, Way, decode};
use crate::disk::{Disk, Folder, Limits, OpenError, Place, RECORD_HEAD, Record};

/// How long what is written may be on its way to the disk: one fsync for all of it.
const GROUP: Duration = Duration::from_millis(100);
/// How long the position that is on disk may be behind.
const SAVE: Duration = Duration::from_secs(1);
/// How long an output may make no headway before its kept lane goes to disk.
pub(super) const STALLED: Duration = Duration::from_secs(2);
/// The pause after an error of the disk.
pub(super) const PAUSE: Duration = Duration::from_secs(5);
/// Failed reads before a segment is set aside.
const READS: u32 = 3;

type Open = Box<dyn Fn() -> io::Result<Box<dyn Folder>> + Send>;

/// Records whose entries could be neither delivered nor put on record.
#[derive(Default)]
struct Lost(Mutex<Vec<Place>>);

impl Lost {
    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One lane's keeper.
pub(crate) struct Keeper {
    pub(super) queue: Arc<Queue>,
    pub(super) way: Way,
    pub(super) limits: Limits,
    pub(super) open: Open,
    pub(super) disk: Option<Disk>,
    /// What is there was written by a newer agent, and stays as it is.
    pub(super) refused: bool,
    lost: Arc<Lost>,
    /// Entries of a kept lane that are appended and not synced.
    pub(super) unsynced: Vec<Entry>,
    /// Receipts of pushes that wait for the sync.
    pub(super) promised: Vec<Receipt>,
    /// Records whose entries were lost while the agent runs on: they are queued again.
    pub(super) again: Vec<Place>,
    pub(super) queues_again: Instant,
    pub(super) dirty_since: Option<Instant>,
    pub(super) saved: Instant,
    /// No writing before then: the disk failed.
    pub(super) resumes: Option<Instant>,
    /// No reading before then.
    pub(super) reads_again: Option<Instant>,
    pub(super) failed_reads: u32,
    /// The last write failed, and people were told.
    pub(super) in_trouble: bool,
    /// Bytes on disk that are told.
    pub(super) shown: u64,
    pub(super) record: Vec<u8>,
}

impl Keeper {
    pub(super) fn new(queue: Arc<Queue>, way: Way, limits: Limits, open: Open) -> Self {
        Keeper {
            queue,
            way,
            limits,
            open,
            disk: None,
            refused: false,
            lost: Arc::default(),
            unsynced: Vec::new(),
            promised: Vec::new(),
            again: Vec::new(),
            queues_again: Instant::now(),
            dirty_since: None,
            saved: Instant::now(),
            resumes: None,
            reads_again: None,
            failed_reads: 0,
            in_trouble: false,
            shown: 0,
            record: Vec::new(),
        }
    }

    /// Its output is gone for good.
    pub(super) fn is_over(&self) -> bool {
        self.queue.is_over()
    }

    /// Does what is to be done now. Returns when something is due, if nothing wakes it before.
    pub(super) fn turn(&mut self, now: Instant) -> Option<Instant> {
        self.again.append(&mut self.lost.places());
        if self.resumes.is_none_or(|at| now >= at) {
            self.resumes = None;
            match self.write(now) {
                Ok(()) => self.works(),
                Err(error) => self.failed(now, &error),
            }
        }
        // A disk that takes no more is emptied all the same.
        if self.reads_again.is_none_or(|at| now >= at) {
            self.reads_again = None;
            if let Err(error) = self.read_ahead() {
                self.reads_again = Some(now + PAUSE);
                self.alarm(&format!("{error}: it is read again"));
            }
        }
        self.show();
        self.due(now)
    }

    /// Opens, appends, syncs and saves, as far as it is time.
    fn write(&mut self, now: Instant) -> io::Result<()> {
        if self.refused || !self.opened()? {
            return Ok(());
        }
        let unsaved = self.disk.as_ref().is_some_and(Disk::is_unsaved);
        if unsaved && now >= self.saved + SAVE {
            self.saved = now;
            self.on_disk(Disk::save)?;
        }
        self.append_waiting(now)?;
        if self.dirty_since.is_some_and(|since| now >= since + GROUP) {
            self.sync()?;
        }
        self.queue_again(now)
    }

    /// Tells the lane and `status` what is on disk.
    fn show(&mut self) {
        let has_unread = self.disk.as_ref().is_some_and(Disk::has_unread);
        let behind = has_unread || !self.unsynced.is_empty();
        let was_behind =
            self.queue.with(self.way, |lane| std::mem::replace(&mut lane.behind, behind));
        if was_behind && !behind {
            self.queue.arrived.notify_one(); // what waited may be taken now
        }
        let bytes = self.disk.as_ref().map_or(0, Disk::bytes);
        let grown = bytes.wrapping_sub(std::mem::replace(&mut self.shown, bytes));
        self.queue.counters.disk_bytes.fetch_add(grown, Relaxed); // wraps, as a difference may be negative
    }

    pub(super) fn on_disk<T: Default>(
        &mut self,
        work: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        self.disk.as_mut().map_or_else(|| Ok(T::default()), work)
    }

    /// Opens the lane when it is not open; false when it cannot be used.
    fn opened(&mut self) -> io::Result<bool> {
        if self.disk.is_some() {
            return Ok(true);
        }
        let opened = Disk::open((self.open)()?, self.limits, self.way == Way::Kept);
        match opened {
            Ok(disk) => {
                let backlog = disk.backlog();
                let counters = &self.queue.counters;
                counters.queued.fetch_add(backlog, Relaxed);
                counters.count("restored", backlog);
                if backlog > 0 {
                    tracing::info!(
                        events = backlog,
                        lane = self.way.word(),
                        "the queue on disk holds what an earlier agent left"
                    );
                }
                self.disk = Some(disk);
                self.queue.with(self.way, |lane| lane.disk_first = self.way == Way::Direct);
                self.count_damage();
                Ok(true)
            }
            Err(OpenError::Io(error)) => Err(error),
            Err(newer @ OpenError::Newer { .. }) => {
                self.refused = true;
                self.alarm(&format!("{newer}; entries are kept in memory"));
                self.memory_only();
                Ok(false)
            }
        }
    }

    /// Everything that was appended is on disk, and those who wait for that hear it.
    fn sync(&mut self) -> io::Result<()> {
        self.dirty_since = None;
        match self.on_disk(Disk::sync) {
            Ok(()) => {
                for entry in std::mem::take(&mut self.unsynced) {
                    self.out_of_memory(&entry);
                    entry.resolve(Fate::Delivered);
                }
                for receipt in std::mem::take(&mut self.promised) {
                    receipt.resolve(Fate::Delivered);
                }
                Ok(())
            }
            Err(error) => {
                self.disk.iter_mut().for_each(Disk::sync_failed);
                let unsynced = std::mem::take(&mut self.unsynced);
                unsynced.into_iter().rev().for_each(|entry| self.put_back(entry));
                for receipt in std::mem::take(&mut self.promised) {
                    receipt.resolve(Fate::Lost);
                }
                Err(error)
            }
        }
    }

    /// Reads records until enough is ready.
    fn read_ahead(&mut self) -> io::Result<()> {
        while self.queue.with(self.way, |lane| lane.ready_bytes) < self.queue.read_ahead() {
            let read = self.on_disk(Disk::read);
            self.count_damage();
            match read {
                Ok(Some(record)) => self.hand_out(record),
                Ok(None) => break,
                Err(error) => {
                    self.failed_reads += 1;
                    if self.failed_reads >= READS {
                        self.on_disk(Disk::give_up_segment)?;
                        self.count_damage();
                    }
                    return Err(error);
                }
            }
            self.failed_reads = 0;
        }
        Ok(())
    }

    fn hand_out(&mut self, record: Record) {
        let Record { place, time_ms, payload } = record;
        let events = place.next.event - place.mark.event;
        let claim = self.claim(place);
        let give_up = |reason| {
            self.queue.counters.queued.fetch_sub(events, Relaxed);
            self.queue.counters.drop_events(reason, events);
        };
        if self.queue.is_too_old(time_ms) {
            give_up("too_old");
        } else {
            match decode::decode(Bytes::from(payload)) {
                Ok(batch) if batch.events.len() as u64 == events => {
                    let mut entry = Entry::new(Piece::whole(Arc::new(batch)), claim);
                    (entry.time_ms, entry.way, entry.on_disk) = (time_ms, self.way, true);
                    self.queue.counters.queued_bytes.fetch_add(entry.bytes as u64, Relaxed);
                    self.queue.with(self.way, |lane| lane.hand_out(entry));
                    self.queue.arrived.notify_one();
                    return;
                }
                Ok(_) | Err(_) => give_up("undecodable"),
            }
        }
        if let Some(claim) = claim {
            claim.resolve(Fate::Rejected);
        }
    }

    /// A receipt that settles a record of the disk.
    pub(super) fn claim(&self, place: Place) -> Option<Receipt> {
        let settled = Arc::clone(self.disk.as_ref()?.settled());
        let (lost, signal) = (Arc::clone(&self.lost), self.queue.signal.clone());
        Some(Receipt::new(move |fate| {
            match fate {
                Fate::Delivered | Fate::Rejected => {
                    // What cannot be noted is sent twice after a crash, and no more.
                    let _best_effort = settled.settle(&place);
                }
                Fate::Lost => lost.places().push(place),
            }
            signal.inspect(|signal| signal.wake());
        }))
    }

    /// What could be neither delivered nor put on record is queued once more, at the end.
    fn queue_again(&mut self, now: Instant) -> io::Result<()> {
        let Some(disk) = self.disk.as_mut().filter(|_| self.queues_again <= now) else {
            return Ok(());
        };
        self.queues_again = now + PAUSE;
        while let Some(place) = self.again.last().copied() {
            if let Some(record) = disk.read_again(&place)? {
                let events = (place.next.event - place.mark.event) as u32;
                self.record.clear();
                self.record.resize(RECORD_HEAD, 0);
                self.record.extend(&record.payload);
                if disk.append(&mut self.record, events, record.time_ms).is_err() {
                    return Ok(()); // later
                }
                disk.sync()?;
            }
            self.again.pop();
            let _as_above = disk.settled().settle(&place);
        }
        Ok(())
    }

    /// When there will be something to do.
    fn due(&self, now: Instant) -> Option<Instant> {
        if self.refused {
            return None;
        }
        let writes = self.resumes.or_else(|| self.writes(now));
        earlier(writes, self.reads_again)
    }

    fn writes(&self, now: Instant) -> Option<Instant> {
        let sync = self.dirty_since.map(|since| since + GROUP);
        let unsaved = self.disk.as_ref().is_some_and(Disk::is_unsaved);
        let save = unsaved.then(|| self.saved + SAVE);
        let over =
            self.queue.with(self.way, |lane| lane.held_bytes() > self.queue.bounds().limits.kept);
        let spill = (over && self.way == Way::Kept).then(|| now + STALLED / 4);
        let again = (!self.again.is_empty()).then(|| now + PAUSE);
        earlier(earlier(sync, save), earlier(spill, again))
    }

    /// At the end: everything that only this agent knows goes to disk.
    pub(super) fn finish(mut self) {
        self.again.append(&mut self.lost.places());
        let outcome = self.last_words();
        if let Err(error) = outcome {
            tracing::error!(%error, lane = self.way.word(), "the queue's last entries are not on disk");
        }
        for entry in std::mem::take(&mut self.unsynced) {
            self.queue.leave_behind(entry);
        }
        for entry in self.queue.with(self.way, super::lane::Lane::take_waiting) {
            self.queue.leave_behind(entry);
        }
    }

    fn last_words(&mut self) -> io::Result<()> {
        if self.refused || !self.opened()? {
            return Ok(());
        }
        if self.way == Way::Direct {
            self.append_waiting(Instant::now())?;
        }
        self.sync()?;
        self.on_disk(Disk::save)
    }
}
