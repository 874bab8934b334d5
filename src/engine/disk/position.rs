//! The position: what is settled, how it gets to disk, and what may be removed because of it.
//!
//! Two files. `position` is replaced by temporary, fsync, rename and fsync of the folder; only what is before it is
//! removed. `recent` is overwritten in place after each acknowledgement and never synced: it survives `kill -9`, and so
//! keeps what is sent twice to what was in flight. The larger of the two counts; a damaged one is passed over.

use std::io;

use super::format::{Mark, Unusable};
use super::{Disk, Place};

pub(super) const POSITION: &str = "position";
pub(super) const RECENT: &str = "recent";
pub(super) const TEMPORARY: &str = "position.new";

impl Disk {
    /// A record was delivered or given up: it is not read again. In any order.
    pub(crate) fn settle(&mut self, place: &Place) {
        self.pass(place.mark, place.next);
    }

    /// Nothing from `from` up to `to` is left to be settled.
    pub(super) fn pass(&mut self, from: Mark, to: Mark) {
        if from.number >= self.settled.number && to.number > from.number {
            self.ahead.insert(from.number, to);
        }
        while let Some(next) = self.ahead.remove(&self.settled.number) {
            self.settled = next;
        }
    }

    /// The position that is kept is behind what is settled.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.saved < self.settled.number
    }

    /// Remembers what is settled for a start after `kill -9`; nothing is removed because of it.
    pub(crate) fn note(&mut self) -> io::Result<()> {
        if self.folder.size(RECENT).is_err() {
            self.folder.create(RECENT)?;
        }
        self.folder.write(RECENT, 0, &self.settled.encode())
    }

    /// Brings the position to disk, and then removes the segments before it.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        let settled = self.settled;
        if let Err(error) = self.replace_position(settled) {
            // A full disk has no room for a new file, and must be emptied all the same: 28 bytes of one sector are
            // overwritten, which no disk does by halves.
            if error.kind() != io::ErrorKind::StorageFull {
                return Err(error);
            }
            let overwritten = self.folder.write(RECENT, 0, &settled.encode());
            overwritten.and_then(|()| self.folder.sync(RECENT)).map_err(|_| error)?;
        }
        self.saved = settled.number;
        while self.segments.len() > 1 && self.segments[1].first.number <= self.saved {
            self.folder.remove(&self.segments[0].name())?;
            self.segments.pop_front();
        }
        Ok(())
    }

    fn replace_position(&mut self, settled: Mark) -> io::Result<()> {
        self.folder.create(TEMPORARY)?;
        self.folder.write(TEMPORARY, 0, &settled.encode())?;
        self.folder.sync(TEMPORARY)?;
        self.folder.rename(TEMPORARY, POSITION)?;
        self.folder.sync_names()
    }

    /// Gives up the oldest segment to make room. Returns how many of its events nobody had read.
    pub(crate) fn drop_oldest(&mut self) -> io::Result<u64> {
        let Some(oldest) = self.segments.front() else { return Ok(0) };
        let end = self.segments.get(1).map_or(self.next, |next| next.first);
        let name = oldest.name();
        let unread = end.event.saturating_sub(self.cursor.mark.event);
        self.forget_until(end);
        self.save()?;
        // `save` keeps the last segment, which may be the one that is given up.
        if self.segments.front().is_some_and(|first| first.name() == name) {
            self.writing = false;
            self.folder.remove(&name)?;
            self.segments.pop_front();
        }
        Ok(unread)
    }

    /// Neither reader nor position stay before `end`.
    fn forget_until(&mut self, end: Mark) {
        if self.cursor.mark.number < end.number {
            self.cursor.mark = end;
            self.cursor.segment = end.number;
            self.cursor.offset = super::format::SEGMENT_HEAD;
        }
        if self.settled.number < end.number {
            self.settled = end;
            self.ahead = self.ahead.split_off(&end.number);
            self.pass(end, end); // what is settled behind it may join
        }
        self.synced = self.synced.max(end.min(self.next));
    }

    /// The position that the files hold; `Err` when a newer agent wrote one of them.
    pub(super) fn position(&mut self) -> Result<Option<Mark>, (&'static str, u16)> {
        let mut known = None;
        for name in [POSITION, RECENT] {
            let mut room = [0; super::format::POSITION];
            let Ok(size) = self.folder.read(name, 0, &mut room) else { continue };
            match Mark::decode(&room[..size]) {
                Ok(mark) => known = known.max(Some(mark)),
                Err(Unusable::Newer(version)) => return Err((name, version)),
                Err(Unusable::Damaged) => {}
            }
        }
        Ok(known)
    }
}
