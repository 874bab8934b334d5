//! Opening: what is in the folder becomes a queue again, whatever a crash or a bad disk left there.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::format::{SEGMENT_HEAD, SegmentHead, Unusable};
use super::position::{RECENT, TEMPORARY};
use super::{Cursor, Disk, Folder, Limits, Mark, Segment};

/// Segments with a damaged head that are kept for a person to look at.
const KEPT_BAD: usize = 4;

/// Why a queue was not opened. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// A newer agent's files.
    #[error("{file} is of version {version}, which a newer agent wrote; it is left as it is")]
    Newer {
        /// Its name within the folder.
        file: String,
        /// Its version.
        version: u16,
    },
    /// The folder cannot be used now.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Disk {
    /// Opens the queue in a folder. `only_synced`: records are read only once they are on disk.
    pub(crate) fn open(
        folder: Box<dyn Folder>,
        limits: Limits,
        only_synced: bool,
    ) -> Result<Disk, OpenError> {
        let mut disk = Disk {
            folder,
            limits,
            only_synced,
            segments: VecDeque::new(),
            writing: false,
            next: Mark::default(),
            synced: Mark::default(),
            names_changed: false,
            void_from: None,
            cursor: Cursor::default(),
            settled: Arc::default(),
            saved: 0,
            lost: 0,
            quarantined: 0,
            torn: 0,
        };
        let newer = |(file, version): (&str, u16)| OpenError::Newer { file: file.into(), version };
        let position = disk.position().map_err(newer)?;
        let heads = disk.heads()?;
        let _left_by_a_crash = disk.folder.remove(TEMPORARY);
        disk.take_segments(heads)?;
        disk.cut_tail()?;
        disk.begin_at(position);
        disk.settle_down();
        Ok(disk)
    }

    /// Every segment's name, size and head; a newer one ends it before anything is changed.
    fn heads(&mut self) -> Result<Vec<(String, u64, Option<SegmentHead>)>, OpenError> {
        let mut names = self.folder.names()?;
        names.retain(|name| number_of(name).is_some());
        names.sort_unstable();
        let mut heads = Vec::with_capacity(names.len());
        for name in names {
            let mut room = [0; SEGMENT_HEAD as usize];
            // What cannot be read is set aside like what is damaged.
            let read = self.folder.read(&name, 0, &mut room).unwrap_or(0);
            let head = match SegmentHead::decode(&room[..read]) {
                Ok(head) => Some(head),
                Err(Unusable::Newer(version)) => {
                    return Err(OpenError::Newer { file: name, version });
                }
                Err(Unusable::Damaged) => None,
            };
            let size = self.folder.size(&name)?;
            heads.push((name, size, head));
        }
        Ok(heads)
    }

    fn take_segments(
        &mut self,
        heads: Vec<(String, u64, Option<SegmentHead>)>,
    ) -> Result<(), OpenError> {
        for (name, size, head) in heads {
            match head.filter(|head| number_of(&name) == Some(head.first.number)) {
                Some(head) => self.segments.push_back(Segment {
                    first: head.first,
                    after: head.after,
                    size,
                    synced: (size, head.first),
                }),
                // A crash while it was begun: nothing was ever in it.
                None if size <= SEGMENT_HEAD => self.folder.remove(&name)?,
                None => {
                    self.set_aside(&name)?;
                }
            }
        }
        // What a segment says to be void is so in all before it.
        let mut after = u64::MAX;
        for segment in self.segments.iter_mut().rev() {
            after = after.min(segment.after);
            segment.after = after;
        }
        Ok(())
    }

    /// Cuts off what a crash left behind the last whole record of the last segment; earlier segments were finished.
    fn cut_tail(&mut self) -> Result<(), OpenError> {
        let Some(size) = self.segments.back().map(|last| last.size) else { return Ok(()) };
        let (end, next) = match self.end_of_last(size) {
            Ok(end) => end,
            Err(_unreadable) => {
                let name = self.segments.back().map(Segment::name).unwrap_or_default();
                self.set_aside(&name)?;
                self.segments.pop_back();
                return self.cut_tail();
            }
        };
        self.next = next;
        let Some(last) = self.segments.back_mut() else { return Ok(()) };
        (last.size, last.synced) = (end, (end, next));
        let name = last.name();
        if end < size {
            self.torn = size - end;
            // On a folder that cannot be written it stays, and is cut off next time.
            let _not_read_in_any_case = self.folder.truncate(&name, end);
        }
        Ok(())
    }

    /// Puts reader and position where the last process was.
    fn begin_at(&mut self, position: Option<Mark>) {
        let first = self.segments.front().map(|first| first.first);
        let mut settled = position.or(first).unwrap_or_default();
        if let Some(first) = first.filter(|first| first.number > settled.number) {
            // The segments between were set aside.
            self.lost += first.event.saturating_sub(settled.event);
            settled = first;
        }
        if self.next.number < settled.number {
            self.next = settled;
        }
        self.settled.begin_at(settled);
        self.synced = self.next;
        let at = self.segments.partition_point(|one| one.first.number <= settled.number);
        let segment = at.checked_sub(1).map_or(settled.number, |at| self.segments[at].first.number);
        self.cursor = Cursor { segment, offset: SEGMENT_HEAD, mark: settled };
        self.saved = 0; // `recent` may be ahead of `position`: the next save says it
    }

    /// What the last process wrote and did not sync may still be in the page cache only. Best effort: nothing of it was
    /// promised.
    fn settle_down(&mut self) {
        let names: Vec<String> = self.segments.iter().map(Segment::name).collect();
        for name in names {
            let _clean_files_cost_nothing = self.folder.sync(&name);
        }
        let is_new = self.folder.size(RECENT).is_err();
        if self.find_recent().is_ok() && is_new {
            let _room_for_a_full_disk = self.settled.note();
        }
        let _as_above = self.folder.sync_names();
    }

    /// Renames a segment to `.bad`; the oldest beyond [`KEPT_BAD`] go.
    pub(super) fn set_aside(&mut self, name: &str) -> io::Result<()> {
        self.folder.rename(name, &format!("{name}.bad"))?;
        self.quarantined += 1;
        let mut bad = self.folder.names()?;
        bad.retain(|name| name.ends_with("seg.bad"));
        bad.sort_unstable();
        for name in bad.iter().take(bad.len().saturating_sub(KEPT_BAD)) {
            self.folder.remove(name)?;
        }
        Ok(())
    }
}

fn number_of(name: &str) -> Option<u64> {
    let number = name.strip_suffix(".seg").filter(|number| number.len() == 16)?;
    u64::from_str_radix(number, 16).ok()
}
