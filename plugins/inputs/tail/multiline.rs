//! Lines that belong together (a stack trace) as one event: a slice of the chunk with the line ends between them.
//!
//! A group ends where the next begins, at the limits of lines and bytes, or when the file has not grown for a while.

use bytes::Bytes;
use regex::bytes::Regex;

use super::lines::{Ending, Rules, Split, Stamp};

/// Where a group begins.
#[derive(Debug)]
pub(super) enum Begins {
    /// At a line that this pattern is found in.
    Pattern(Regex),
    /// At a line that is not indented and not empty.
    Indentation,
}

/// How lines are grouped.
#[derive(Debug)]
pub(super) struct Grouping {
    pub(super) begins: Begins,
    /// Most lines of a group.
    pub(super) max_lines: usize,
}

impl Begins {
    fn at(&self, line: &[u8]) -> bool {
        match self {
            Begins::Pattern(pattern) => pattern.is_match(line),
            Begins::Indentation => !matches!(line.first(), None | Some(b' ' | b'\t' | b'\r')),
        }
    }
}

/// A group under way, as offsets into the bytes after `from`.
struct Group {
    start: usize,
    end: usize,
    lines: usize,
}

pub(super) fn split_groups(
    chunk: &Bytes,
    from: usize,
    ending: Ending,
    limit: usize,
    rules: &Rules,
    grouping: &Grouping,
    stamp: &mut Stamp<'_>,
) -> Split {
    let mut split = Split::default();
    let bytes = &chunk[from..];
    let mut group: Option<Group> = None;
    let mut next = 0;
    let ends = memchr::memchr_iter(b'\n', bytes).map(|end| (end, end + 1));
    let unfinished = bytes.last().is_some_and(|last| *last != b'\n');
    let rest = (ending == Ending::All && unfinished).then_some((bytes.len(), bytes.len()));
    for (end, after) in ends.chain(rest) {
        let line = &bytes[next..end];
        if let Some(open) = &group
            && (open.lines >= grouping.max_lines
                || end - open.start > rules.max_bytes
                || grouping.begins.at(line))
        {
            split.push(chunk, from + open.start, from + open.end, rules.max_bytes, stamp);
            split.consumed = next;
            group = None;
            if split.logs.len() == limit {
                split.full = true;
                return split;
            }
        }
        match &mut group {
            Some(open) => {
                open.end = end;
                open.lines += 1;
            }
            None => group = Some(Group { start: next, end, lines: 1 }),
        }
        next = after;
    }
    if let Some(open) = group
        && ending != Ending::Open
    {
        split.push(chunk, from + open.start, from + open.end, rules.max_bytes, stamp);
        split.consumed = next;
    }
    split
}
