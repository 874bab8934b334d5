//! What goes from memory to disk, and what happens to what does not fit.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use sentinel_contract::Fate;

use super::keeper::{Keeper, STALLED};
use super::lane::Lane;
use super::{Entry, Way, WhenFull, encode};
use crate::clock::now_ms;
use crate::disk::{AppendError, Place, RECORD_HEAD};

impl Keeper {
    /// Entries that wait go to disk: direct ones all, kept ones when it is time.
    pub(super) fn append_waiting(&mut self, now: Instant) -> io::Result<()> {
        while self.spills(now) {
            let Some(entry) = self.queue.with(self.way, Lane::take) else { break };
            if !self.append(entry, now)? {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn spills(&self, now: Instant) -> bool {
        let limit = self.queue.bounds().limits.kept;
        self.queue.with(self.way, |lane| {
            if self.way == Way::Direct {
                return true;
            }
            // Once it spills it makes room for more than one batch.
            let stalled = now.saturating_duration_since(lane.progress) >= STALLED;
            let held = if stalled { lane.held_bytes() } else { lane.waiting_bytes };
            let over = held > if self.unsynced.is_empty() { limit } else { limit / 2 };
            let waited = lane
                .waits_since()
                .is_some_and(|since| now_ms() - since >= STALLED.as_millis() as i64);
            over && (stalled || waited)
        })
    }

    /// Appends an entry. False: it went back, and the lane waits for room.
    pub(super) fn append(&mut self, entry: Entry, now: Instant) -> io::Result<bool> {
        self.record.clear();
        self.record.resize(RECORD_HEAD, 0);
        encode::encode(&entry.piece, &mut self.record);
        let outcome = self.write_record(entry.events() as u32, entry.time_ms);
        if self.record.capacity() > 4 << 20 {
            self.record = Vec::new();
        }
        match outcome {
            Ok(place) => {
                self.dirty_since.get_or_insert(now);
                self.appended(entry, place);
                Ok(true)
            }
            Err(AppendError::TooLarge(_)) => {
                self.too_large(entry);
                Ok(true)
            }
            Err(AppendError::Full) => self.full(entry),
            Err(AppendError::Io(error)) => {
                self.put_back(entry);
                Err(error)
            }
        }
    }

    /// Appends `record`; what is settled makes room for it.
    pub(super) fn write_record(&mut self, events: u32, time_ms: i64) -> Result<Place, AppendError> {
        let Some(disk) = self.disk.as_mut() else { return Err(AppendError::Full) };
        match disk.append(&mut self.record, events, time_ms) {
            Err(AppendError::Full) if disk.is_unsaved() => {
                disk.save()?;
                disk.append(&mut self.record, events, time_ms)
            }
            outcome => outcome,
        }
    }

    pub(super) fn appended(&mut self, mut entry: Entry, place: Place) {
        if self.way == Way::Kept {
            return self.unsynced.push(entry);
        }
        self.promised.extend(entry.receipt.take());
        let room = self.queue.bounds().limits.direct / 2;
        let fits = self.queue.with(self.way, |lane| lane.ready_bytes + entry.bytes <= room);
        if fits && self.disk.as_mut().is_some_and(|disk| disk.skip(&place)) {
            (entry.receipt, entry.on_disk) = (self.claim(place), true);
            self.queue.with(self.way, |lane| {
                lane.writing -= 1;
                lane.hand_out(entry);
            });
            self.queue.arrived.notify_one();
        } else {
            self.out_of_memory(&entry);
        }
    }

    /// An entry is on disk only.
    pub(super) fn out_of_memory(&self, entry: &Entry) {
        self.queue.counters.queued_bytes.fetch_sub(entry.bytes as u64, Relaxed);
        self.queue.with(self.way, |lane| lane.writing -= 1);
    }

    /// A record of several events goes in halves; a single one is given up, and nothing else is.
    pub(super) fn too_large(&mut self, entry: Entry) {
        let events = entry.events();
        if events > 1 {
            let (first, second) = entry.split(events / 2);
            self.queue.with(self.way, |lane| {
                lane.writing += 1;
                lane.put_back(second);
                lane.put_back(first);
            });
        } else {
            self.queue.with(self.way, |lane| lane.writing -= 1);
            self.queue.drop_entry(entry, "too_large", Fate::Rejected);
        }
    }

    /// The disk part is full: what the policy says.
    pub(super) fn full(&mut self, entry: Entry) -> io::Result<bool> {
        match (self.queue.bounds().when_full, self.way) {
            (WhenFull::Block, Way::Kept) => {
                self.put_back(entry);
                Ok(false)
            }
            (WhenFull::DropNewest, _) => {
                self.queue.with(self.way, |lane| lane.writing -= 1);
                self.queue.drop_entry(entry, "queue_full", Fate::Delivered);
                Ok(true)
            }
            (WhenFull::DropOldest, _) | (WhenFull::Block, Way::Direct) => {
                self.put_back(entry);
                let Some(disk) = self.disk.as_mut() else { return Ok(true) };
                let (dropped, outcome) = disk.drop_oldest();
                self.queue.counters.queued.fetch_sub(dropped, Relaxed);
                self.queue.counters.drop_events("queue_full", dropped);
                outcome.map(|()| true)
            }
        }
    }

    pub(super) fn put_back(&self, entry: Entry) {
        self.queue.with(self.way, |lane| lane.put_back(entry));
    }
}
