//! Reading: one record after the other, over damage and from segment to segment.
//!
//! Behind a damaged record the next good one is sought: a head whose number can be the next, and whose checksum holds.

use std::io;

use super::format::{LARGEST, Mark, RECORD_HEAD, RecordHead, SEGMENT_HEAD};
use super::{Cursor, Disk, Place, Record};

/// Bytes that are searched at a time for the next good record.
const WINDOW: usize = 64 << 10;

/// Where a search goes on: a stretch of a segment, and the numbers that may be found there.
struct Stretch {
    segment: usize,
    from: u64,
    to: u64,
    numbers: std::ops::Range<u64>,
}

impl Disk {
    /// The next record. `None`: there is none yet. An error leaves the place as it was.
    pub(crate) fn read(&mut self) -> io::Result<Option<Record>> {
        while self.has_unread() {
            let Some(at) = self.segment_of_cursor() else { return Ok(None) };
            let size = self.segments[at].size;
            let after = self.segments.get(at + 1).map_or(u64::MAX, |next| next.after);
            let Cursor { offset, mark, .. } = self.cursor;
            if offset >= size || mark.number >= after {
                self.go_on(at);
                continue;
            }
            // What a reused block or another file holds may be a good record, and is none of this segment.
            let end = self.segments.get(at + 1).map_or(self.next.number, |next| next.first.number);
            let record = self.record_at(at, offset, size)?;
            let Some((head, payload)) = record.filter(|(head, _)| head.mark.number < end) else {
                let numbers = mark.number..after.min(self.next.number);
                let stretch = Stretch { segment: at, from: offset + 1, to: size, numbers };
                self.cursor.offset = self.find(&stretch)?.unwrap_or(size);
                continue;
            };
            self.cursor.offset += head.size();
            if head.mark.number < mark.number {
                continue; // settled before
            }
            if head.mark.number >= after {
                self.cursor.offset = size; // void
                continue;
            }
            self.missing(head.mark);
            self.cursor.mark = head.next();
            let segment = self.segments[at].first.number;
            let place = Place { segment, offset, mark: head.mark, next: head.next() };
            return Ok(Some(Record { place, time_ms: head.time_ms, payload }));
        }
        Ok(None)
    }

    /// Reads a record again that [`Disk::read`] gave or [`Disk::append`] wrote.
    pub(crate) fn read_again(&mut self, place: &Place) -> io::Result<Option<Record>> {
        let found = self.segments.iter().position(|one| one.first.number == place.segment);
        let Some(at) = found else { return Ok(None) };
        let record = self.record_at(at, place.offset, self.segments[at].size)?;
        let record = record.filter(|(head, _)| head.mark == place.mark);
        Ok(record.map(|(head, payload)| Record { place: *place, time_ms: head.time_ms, payload }))
    }

    /// The reader passes a record that its caller still holds, when it is the next.
    pub(crate) fn skip(&mut self, place: &Place) -> bool {
        let next = self.cursor.mark.number == place.mark.number;
        if next {
            let offset = place.offset + self.size_of(place);
            self.cursor = Cursor { segment: place.segment, offset, mark: place.next };
        }
        next
    }

    /// Bytes of a record just appended: it is the last of the last segment.
    fn size_of(&self, place: &Place) -> u64 {
        self.segments.back().map_or(0, |last| last.size - place.offset)
    }

    /// Sets the reader's segment aside: it cannot be read. What it held is lost, and counted as that.
    pub(crate) fn give_up_segment(&mut self) -> io::Result<()> {
        let Some(at) = self.segment_of_cursor() else { return Ok(()) };
        self.writing &= at + 1 < self.segments.len();
        let name = self.segments[at].name();
        self.set_aside(&name)?;
        let end = self.segments.get(at + 1).map_or(self.next, |next| next.first);
        self.missing(end);
        self.segments.remove(at);
        self.cursor = Cursor { segment: end.number, offset: SEGMENT_HEAD, mark: end };
        self.synced = self.synced.max(end);
        Ok(())
    }

    /// The segment that the cursor is in; the one behind it when that is gone.
    fn segment_of_cursor(&mut self) -> Option<usize> {
        let at = self.segments.partition_point(|one| one.first.number < self.cursor.segment);
        let segment = self.segments.get(at)?;
        if segment.first.number != self.cursor.segment {
            self.cursor.segment = segment.first.number;
            self.cursor.offset = SEGMENT_HEAD;
        }
        Some(at)
    }

    /// To the next segment; behind the last one, to its end.
    fn go_on(&mut self, at: usize) {
        match self.segments.get(at + 1) {
            Some(next) => {
                let first = next.first;
                self.cursor.segment = first.number;
                self.cursor.offset = SEGMENT_HEAD;
                if first.number > self.cursor.mark.number {
                    self.missing(first);
                    self.cursor.mark = first;
                }
            }
            None => {
                let end = self.readable();
                self.missing(end);
                self.cursor.mark = end;
            }
        }
    }

    /// What lies between the cursor and `to` is not there: void, or lost to damage.
    fn missing(&mut self, to: Mark) {
        let from = self.cursor.mark;
        if to.number > from.number {
            self.lost += to.event.saturating_sub(from.event);
            self.settled.pass(from, to);
        }
    }

    /// The record at an offset; `None` when none that holds is there.
    pub(super) fn record_at(
        &mut self,
        at: usize,
        offset: u64,
        end: u64,
    ) -> io::Result<Option<(RecordHead, Vec<u8>)>> {
        let name = self.segments[at].name();
        let mut head = [0; RECORD_HEAD];
        if self.folder.read(&name, offset, &mut head)? < RECORD_HEAD {
            return Ok(None);
        }
        let record = RecordHead::decode(&head);
        if record.length as usize > LARGEST || offset + record.size() > end {
            return Ok(None);
        }
        let mut payload = vec![0; record.length as usize];
        let read = self.folder.read(&name, offset + RECORD_HEAD as u64, &mut payload)?;
        let holds = read == payload.len() && record.holds(&head, &payload);
        Ok(holds.then_some((record, payload)))
    }

    /// The offset of the first good record in a stretch.
    fn find(&mut self, stretch: &Stretch) -> io::Result<Option<u64>> {
        let name = self.segments[stretch.segment].name();
        let mut from = stretch.from;
        let mut window = vec![0; WINDOW + RECORD_HEAD];
        while from < stretch.to {
            let read = self.folder.read(&name, from, &mut window)?;
            let heads = window[..read].windows(RECORD_HEAD).take(WINDOW);
            let candidates: Vec<u64> = heads
                .enumerate()
                .filter_map(|(i, head)| {
                    let head = RecordHead::decode(head.first_chunk()?);
                    let number = stretch.numbers.contains(&head.mark.number);
                    (number && head.length as usize <= LARGEST).then_some(from + i as u64)
                })
                .collect();
            for offset in candidates {
                if self.record_at(stretch.segment, offset, stretch.to)?.is_some() {
                    return Ok(Some(offset));
                }
            }
            if read <= RECORD_HEAD {
                break;
            }
            from += WINDOW as u64;
        }
        Ok(None)
    }

    /// The end of the last segment's records: its offset, and what comes behind. For opening.
    pub(super) fn end_of_last(&mut self, size: u64) -> io::Result<(u64, Mark)> {
        let at = self.segments.len() - 1;
        let mut end = (SEGMENT_HEAD, self.segments[at].first);
        let mut offset = SEGMENT_HEAD;
        while offset < size {
            // A number cannot be further on than there are bytes, nor before the last one.
            let numbers = end.1.number..end.1.number + size;
            let record = self.record_at(at, offset, size)?;
            if let Some((head, _)) = record.filter(|(head, _)| numbers.contains(&head.mark.number))
            {
                offset += head.size();
                end = (offset, head.next());
                continue;
            }
            let stretch = Stretch { segment: at, from: offset + 1, to: size, numbers };
            match self.find(&stretch)? {
                Some(good) => offset = good,
                None => break,
            }
        }
        Ok(end)
    }
}
