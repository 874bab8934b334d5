//! A chunk of a file into lines, or groups of lines, as slices of the chunk.
//!
//! The chunk begins at the beginning of a line. What is not finished is not consumed: it is read again with what
//! follows it, so that no partial line is ever kept in memory. A line is its bytes without `\n` or `\r\n`, whatever
//! they are; only a line beyond the limit is changed: it is cut, and marked with the field `truncated`, its real length.

use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::{Field, Fields, Labels, Log, Name, Value};

use super::multiline::Grouping;

/// The field of a line that was cut; its value is the line's length in the file.
pub(super) const TRUNCATED: &str = "truncated";

/// What is not finished at the end of the chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Waits for more.
    Open,
    /// An unfinished group goes out; an unfinished line waits.
    Lines,
    /// Everything goes out: nothing more will come.
    All,
}

/// How to split.
#[derive(Debug)]
pub(super) struct Rules {
    /// Longest line or group, in bytes.
    pub(super) max_bytes: usize,
    /// Lines into groups; none: each line is an event.
    pub(super) grouping: Option<Grouping>,
}

/// The stream that lines go to, and the time of the next one.
#[derive(Debug)]
pub(super) struct Stamp<'a> {
    pub(super) stream: &'a Arc<Labels>,
    /// Taken by the next event, and one more each: equal lines of one read must not have equal times, because Loki
    /// keeps only one of them.
    pub(super) time_ns: i64,
}

/// What came of a chunk.
#[derive(Debug, Default)]
pub(super) struct Split {
    /// The events, in order.
    pub(super) logs: Vec<Log>,
    /// Bytes after `from` that they came from.
    pub(super) consumed: usize,
    /// How many of them were cut.
    pub(super) cut: u64,
    /// It ended because there may be no more events in one batch.
    pub(super) full: bool,
}

/// Splits `chunk[from..]` into at most `limit` events.
pub(super) fn split(
    chunk: &Bytes,
    from: usize,
    ending: Ending,
    limit: usize,
    rules: &Rules,
    stamp: &mut Stamp<'_>,
) -> Split {
    match &rules.grouping {
        None => split_lines(chunk, from, ending, limit, rules.max_bytes, stamp),
        Some(grouping) => {
            super::multiline::split_groups(chunk, from, ending, limit, rules, grouping, stamp)
        }
    }
}

fn split_lines(
    chunk: &Bytes,
    from: usize,
    ending: Ending,
    limit: usize,
    max_bytes: usize,
    stamp: &mut Stamp<'_>,
) -> Split {
    let mut split = Split::default();
    let bytes = &chunk[from..];
    split.logs.reserve(limit.min(bytes.len() / 64 + 1));
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', bytes) {
        if split.logs.len() == limit {
            split.full = true;
            break;
        }
        split.push(chunk, from + start, from + end, max_bytes, stamp);
        start = end + 1;
    }
    if ending == Ending::All && !split.full && start < bytes.len() {
        if split.logs.len() == limit {
            split.full = true;
        } else {
            split.push(chunk, from + start, chunk.len(), max_bytes, stamp);
            start = bytes.len();
        }
    }
    split.consumed = start;
    split
}

impl Split {
    /// Adds `chunk[start..end]`, without the `\r` that may end it.
    #[inline]
    pub(super) fn push(
        &mut self,
        chunk: &Bytes,
        start: usize,
        end: usize,
        max_bytes: usize,
        stamp: &mut Stamp<'_>,
    ) {
        let end = if end > start && chunk[end - 1] == b'\r' { end - 1 } else { end };
        if end - start > max_bytes {
            self.push_cut(chunk, start, (end - start) as u64, max_bytes, stamp);
        } else {
            self.logs.push(stamp.log(chunk.slice(start..end), None));
        }
    }

    /// Adds the head of a line that is `length` bytes long; the chunk need not reach its end.
    pub(super) fn push_cut(
        &mut self,
        chunk: &Bytes,
        start: usize,
        length: u64,
        max_bytes: usize,
        stamp: &mut Stamp<'_>,
    ) {
        let end = boundary(&chunk[start..], max_bytes);
        let mark = Field { name: Name::Static(TRUNCATED), value: Value::Number(length as f64) };
        let fields = Some(Box::new(Fields(vec![mark])));
        self.logs.push(stamp.log(chunk.slice(start..start + end), fields));
        self.cut += 1;
    }
}

impl Stamp<'_> {
    #[inline]
    fn log(&mut self, body: Bytes, fields: Option<Box<Fields>>) -> Log {
        let time_ns = self.time_ns;
        self.time_ns += 1;
        Log { stream: Arc::clone(self.stream), time_ns, body, fields }
    }
}

/// The last place at or before `max` that does not split a UTF-8 character; `max` itself in what is not UTF-8.
fn boundary(line: &[u8], max: usize) -> usize {
    let max = max.min(line.len());
    let inside = |at: usize| line.get(at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (max.saturating_sub(3)..=max).rev().find(|&at| !inside(at)).unwrap_or(max)
}
