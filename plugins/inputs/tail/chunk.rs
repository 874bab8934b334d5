//! One read of one file: a chunk, and the lines in it.
//!
//! A chunk begins with the bytes before the position, so that every read proves that it is still the same file. What is
//! unfinished at its end is read again with what follows: the page cache holds it anyway, and nothing is kept in memory
//! for an idle file. A line's bytes are copied once, from the page cache into the chunk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::Log;

use super::Settings;
use super::files::{Life, Tailed};
use super::identity::{Digest, Mark};
use super::lines::{Ending, Split, Stamp, split};

/// A line that is longer than a chunk is searched for its end by this much before other files have their turn.
const SEARCH_BYTES: u64 = 64 << 20;
const SEARCH_STEP: usize = 64 << 10;
/// So many NUL bytes where a line should begin are no line but a hole: a writer that went on at its old offset in a file
/// that was truncated, or blocks that a crash left unwritten.
const HOLE_BYTES: usize = 512;
/// Room for this many events at least in a batch.
pub(super) const MIN_EVENTS: usize = 64;

/// How much a read may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask {
    /// Bytes after the position.
    pub(super) bytes: usize,
    /// Events.
    pub(super) events: usize,
    /// What to do with an unfinished end of the file.
    pub(super) ending: Ending,
    /// The time of the first event.
    pub(super) time_ns: i64,
}

/// What a read found.
#[derive(Debug)]
pub(super) enum Taken {
    /// Whole lines.
    Lines(Lines),
    /// No whole line; whether that is because the file ends here.
    Nothing { at_end: bool },
    /// No line but a hole, and where it ends.
    Hole(Mark),
    /// It is not the same file any more: other bytes stand before the position.
    Another,
}

/// Whole lines.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) split: Split,
    /// The position after them.
    pub(super) mark: Mark,
    /// Bytes of the chunk that they keep in memory.
    pub(super) capacity: usize,
    /// Nothing but an unfinished line follows.
    pub(super) at_end: bool,
    /// The time of the next event.
    pub(super) next_ns: i64,
}

impl Settings {
    /// The most that one read takes: the longest line and its end.
    pub(super) fn longest(&self) -> usize {
        self.read_chunk.max(self.rules.max_bytes + 2)
    }
}

impl Tailed {
    /// How many bytes the next read asks for.
    pub(super) fn wants(&self, settings: &Settings) -> usize {
        let usual = if self.stride == 0 { settings.read_chunk } else { self.stride };
        (self.unread().min(usual as u64) as usize).min(settings.longest())
    }

    /// Reads once. The file is open.
    pub(super) fn take(&mut self, ask: Ask, settings: &Settings) -> io::Result<Taken> {
        let Some(open) = &self.file else { return Ok(Taken::Nothing { at_end: true }) };
        let tail = self.read.tail.len as usize;
        let buffer = read_chunk(open, self.read.offset - tail as u64, tail + ask.bytes)?;
        if buffer.len() < tail || Digest::of(&buffer[..tail]) != self.read.tail {
            return Ok(Taken::Another);
        }
        let begin = buffer.get(..self.prefix.len as usize).filter(|_| self.read.offset == 0);
        if begin.is_some_and(|begin| Digest::of(begin) != self.prefix) {
            return Ok(Taken::Another); // truncated before any of it was read
        }
        self.seen = self.size;
        let zeros = count_zeros(&buffer[tail..]);
        if zeros >= HOLE_BYTES {
            let end = self.read.offset + zeros as u64;
            return self.skip_hole(end, tail + zeros == buffer.len(), ask.ending);
        }
        let capacity = buffer.capacity();
        let chunk = Bytes::from(buffer);
        let end = self.read.offset + (chunk.len() - tail) as u64;
        let at_end = end >= self.size;
        let full = chunk.len() - tail >= settings.longest();
        let stream = Arc::clone(&self.stream);
        let mut stamp = Stamp { stream: &stream, time_ns: ask.time_ns };
        let ending = if at_end { ask.ending } else { Ending::Open };
        let mut lines = split(&chunk, tail, ending, ask.events, &settings.rules, &mut stamp);
        if lines.consumed == 0 && full {
            // A group that does not fit goes out in parts.
            lines = split(&chunk, tail, Ending::Lines, ask.events, &settings.rules, &mut stamp);
        }
        let mut mark = Mark {
            offset: self.read.offset + lines.consumed as u64,
            tail: Digest::of_tail(&chunk[..tail + lines.consumed]),
        };
        if lines.consumed == 0 {
            if !full {
                (self.stride, self.average) = (settings.longest(), 0); // if there is more, the line does not fit into the usual chunk
                return Ok(Taken::Nothing { at_end });
            }
            match self.find_end(end, ask.ending)? {
                Some((length, after)) => {
                    lines.push_cut(&chunk, tail, length, settings.rules.max_bytes, &mut stamp);
                    mark = after;
                }
                None => return Ok(Taken::Nothing { at_end: self.scanned >= self.size }),
            }
        }
        self.adapt(&lines, settings.read_chunk);
        let at_end = at_end && !lines.full && mark.offset <= end;
        let next_ns = stamp.time_ns;
        Ok(Taken::Lines(Lines { split: lines, mark, capacity, at_end, next_ns }))
    }

    /// The next read asks for as much as one batch takes of lines like these: bytes and events together half as much again
    /// as a chunk. (Asking for what the last batch took would shrink it again and again: room for events went with it.)
    fn adapt(&mut self, lines: &Split, usual: usize) {
        let average = (lines.consumed / lines.logs.len().max(1)).max(1);
        let stride = (usual + usual / 2) * average / (average + size_of::<Log>() * 9 / 8);
        self.stride = stride.clamp(usual.min(4 << 10), usual);
        self.average = average;
    }

    /// Room for how many events goes with a read of so many bytes.
    pub(super) fn events(&self, bytes: usize) -> usize {
        let expected = match self.average {
            0 => bytes / 2 / size_of::<Log>(),
            average => bytes / average * 9 / 8,
        };
        expected.max(MIN_EVENTS)
    }

    /// There is nothing but NUL bytes from the position to `end`. Those at the end of a file are no hole yet: it may have been
    /// made long beforehand, to be filled.
    fn skip_hole(&mut self, end: u64, goes_on: bool, ending: Ending) -> io::Result<Taken> {
        let Some(file) = &self.file else { return Ok(Taken::Nothing { at_end: true }) };
        let mut at = end;
        if goes_on {
            at = at.max(self.scanned);
            at = rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)).unwrap_or(at);
            let stop = at + SEARCH_BYTES;
            let mut bytes = vec![0; SEARCH_STEP];
            loop {
                let len = file.read_at(&mut bytes, at)?;
                let zeros = count_zeros(&bytes[..len]);
                at += zeros as u64;
                if zeros < len {
                    break;
                }
                let left = self.life != Life::Live && ending == Ending::All;
                if len == 0 && left {
                    break;
                }
                if len == 0 || at >= stop {
                    self.scanned = at;
                    return Ok(Taken::Nothing { at_end: len == 0 });
                }
            }
        }
        Ok(Taken::Hole(Mark::at(file, at)?))
    }

    /// The line at the position does not end before `from`: finds its end, without keeping what is skipped. Its length
    /// and the mark after it; `None` when its end is not there, or not yet found.
    fn find_end(&mut self, from: u64, ending: Ending) -> io::Result<Option<(u64, Mark)>> {
        let Some(file) = &self.file else { return Ok(None) };
        let start = self.read.offset;
        let mut at = self.scanned.max(from);
        let stop = at + SEARCH_BYTES;
        let mut bytes = vec![0; SEARCH_STEP];
        let mut end = None;
        while at < stop {
            let len = file.read_at(&mut bytes, at)?;
            if let Some(found) = memchr::memchr(b'\n', &bytes[..len]) {
                end = Some(at + found as u64);
                break;
            }
            at += len as u64;
            if len == 0 {
                self.size = at;
                break;
            }
        }
        self.scanned = at;
        let (length, next) = match end {
            Some(end) => (end - start, end + 1),
            None if ending == Ending::All && at >= self.size => (at - start, at),
            None => return Ok(None),
        };
        Ok(Some((length, Mark::at(file, next)?)))
    }
}

fn count_zeros(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| *byte != 0).unwrap_or(bytes.len())
}

/// Up to `len` bytes; fewer at the end of the file.
fn read_chunk(file: &File, offset: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(len);
    while buffer.len() < len {
        let at = offset + buffer.len() as u64;
        match rustix::io::pread(file, rustix::buffer::spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(buffer)
}
