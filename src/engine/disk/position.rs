//! The position: what is settled, how it gets to disk, and what may be removed because of it.
//!
//! Two files. `position` is replaced by temporary, fsync, rename and fsync of the folder; only what is before it is
//! removed. `recent` is overwritten in place after each acknowledgement and never synced: it survives `kill -9`, and so
//! keeps what is sent twice to what was in flight. The larger of the two counts; a damaged one is passed over.

use std::io;
use std::sync::Arc;

use super::format::{Mark, Unusable};
use super::{Disk, Settled};

pub(super) const POSITION: &str = "position";
pub(super) const RECENT: &str = "recent";
pub(super) const TEMPORARY: &str = "position.new";

impl Disk {
    /// Where records are settled, by any thread.
    pub(crate) fn settled(&self) -> &Arc<Settled> {
        &self.settled
    }

    /// The position that is kept is behind what is settled.
    pub(crate) fn is_unsaved(&self) -> bool {
        self.saved < self.settled.until().number
    }

    /// Finds the file that `recent` is now, or makes it: people remove files, and change who may write them.
    pub(super) fn find_recent(&mut self) -> io::Result<()> {
        if self.folder.size(RECENT).is_err() {
            self.folder.create(RECENT)?;
        }
        self.settled.note_in(self.folder.overwrites(RECENT)?);
        Ok(())
    }

    /// Brings the position to disk, and then removes the segments before it.
    pub(crate) fn save(&mut self) -> io::Result<()> {
        let _best_effort = self.find_recent();
        let settled = self.settled.until();
        if let Err(error) = self.replace_position(settled) {
            // A full disk has no room for a new file, and must be emptied all the same: 28 bytes of one sector are
            // overwritten, which no disk does by halves.
            if error.kind() != io::ErrorKind::StorageFull {
                return Err(error);
            }
            let overwritten = self.settled.note();
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

    /// Gives up the oldest segment to make room. Returns how many of its events nobody had read: they are gone, also when
    /// the disk then fails.
    pub(crate) fn drop_oldest(&mut self) -> (u64, io::Result<()>) {
        let Some(oldest) = self.segments.front() else { return (0, Ok(())) };
        let end = self.segments.get(1).map_or(self.next, |next| next.first);
        let name = oldest.name();
        let unread = end.event.saturating_sub(self.cursor.mark.event);
        self.forget_until(end);
        (unread, self.save().and_then(|()| self.remove_first(&name)))
    }

    /// [`Disk::save`] keeps the last segment, which may be the one that is given up.
    fn remove_first(&mut self, name: &str) -> io::Result<()> {
        if self.segments.front().is_some_and(|first| first.name() == name) {
            self.writing = false;
            self.folder.remove(name)?;
            self.segments.pop_front();
        }
        Ok(())
    }

    /// Neither reader nor position stay before `end`.
    fn forget_until(&mut self, end: Mark) {
        if self.cursor.mark.number < end.number {
            self.cursor.mark = end;
            self.cursor.segment = end.number;
            self.cursor.offset = super::format::SEGMENT_HEAD;
        }
        self.settled.forget_until(end);
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
