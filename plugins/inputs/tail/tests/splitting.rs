//! Chunks into lines and groups: against a splitter that has the whole file.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use regex::bytes::Regex;
use sentinel_contract::{Labels, Log, Memory};

use crate::tail::lines::{Ending, Rules, Stamp, split};
use crate::tail::multiline::{Begins, Grouping};
use crate::tail::read::charge;

fn rules(max_bytes: usize, begins: Option<Begins>) -> Rules {
    Rules { max_bytes, grouping: begins.map(|begins| Grouping { begins, max_lines: 4 }) }
}

/// Reads `file` in chunks of these sizes, each from where the last one ended, as the reader does.
fn in_chunks(file: &[u8], sizes: &[usize], limit: usize, rules: &Rules) -> Vec<Log> {
    let stream = Arc::new(Labels::new([("a", "b")]));
    let mut stamp = Stamp { stream: &stream, time_ns: 1 };
    let (mut logs, mut offset, mut turn) = (Vec::new(), 0, 0);
    let mut size = 0;
    while offset < file.len() {
        size = if size == 0 { sizes[turn % sizes.len()] } else { size * 2 };
        turn += 1;
        let end = (offset + size).min(file.len());
        let last = end == file.len();
        let ending = if last { Ending::All } else { Ending::Open };
        let chunk = Bytes::copy_from_slice(&file[offset..end]);
        let found = split(&chunk, 0, ending, limit, rules, &mut stamp);
        if found.consumed > 0 {
            size = 0; // else a larger chunk
        }
        assert!(found.logs.len() <= limit);
        offset += found.consumed;
        logs.extend(found.logs);
    }
    logs
}

fn naive_lines(file: &[u8]) -> Vec<Vec<u8>> {
    let mut lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect()
}

fn naive_groups(file: &[u8], starts: impl Fn(&[u8]) -> bool) -> Vec<Vec<u8>> {
    let mut groups: Vec<Vec<&[u8]>> = Vec::new();
    let mut lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|last| last.is_empty()) {
        lines.pop();
    }
    for line in lines {
        match groups.last_mut() {
            Some(group) if group.len() < 4 && !starts(line) => group.push(line),
            _ => groups.push(vec![line]),
        }
    }
    let joined = groups.iter().map(|group| group.join(&b'\n'));
    joined.map(|group| group.strip_suffix(b"\r").unwrap_or(&group).to_vec()).collect()
}

fn bodies(logs: &[Log]) -> Vec<Vec<u8>> {
    logs.iter().map(|log| log.body.to_vec()).collect()
}

proptest! {
    #[test]
    fn lines_are_the_same_however_the_file_is_cut_into_chunks(
        file in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), any::<u8>()], 0..400),
        sizes in proptest::collection::vec(1_usize..60, 1..8),
        limit in 1_usize..10,
    ) {
        let logs = in_chunks(&file, &sizes, limit, &rules(1 << 20, None));
        prop_assert_eq!(bodies(&logs), naive_lines(&file));
        prop_assert!(logs.is_sorted_by(|a, b| a.time_ns < b.time_ns));
    }

    #[test]
    fn groups_are_the_same_however_the_file_is_cut_into_chunks(
        lines in proptest::collection::vec("[ A#]{0,2}[a-z\r]{0,6}", 0..40),
        ended in any::<bool>(),
        sizes in proptest::collection::vec(1_usize..60, 1..8),
        limit in 1_usize..10,
    ) {
        let mut file = lines.join("\n");
        if ended { file.push('\n'); }
        let pattern = rules(1 << 20, Some(Begins::Pattern(Regex::new("^#").unwrap())));
        let found = in_chunks(file.as_bytes(), &sizes, limit, &pattern);
        prop_assert_eq!(bodies(&found), naive_groups(file.as_bytes(), |line| line.starts_with(b"#")));
        let indented = rules(1 << 20, Some(Begins::Indentation));
        let found = in_chunks(file.as_bytes(), &sizes, limit, &indented);
        let starts = |line: &[u8]| !matches!(line.first(), None | Some(b' ' | b'\r'));
        prop_assert_eq!(bodies(&found), naive_groups(file.as_bytes(), starts));
    }

    #[test]
    fn a_cut_line_is_never_longer_than_the_limit_and_splits_no_character(
        line in "[a\u{e9}\u{20ac}\u{1f600}]{0,80}", max in 4_usize..40,
    ) {
        let file = format!("{line}\n");
        let logs = in_chunks(file.as_bytes(), &[file.len()], 9, &rules(max, None));
        prop_assert_eq!(logs.len(), 1);
        let body = std::str::from_utf8(&logs[0].body).unwrap();
        prop_assert!(body.len() <= max && line.starts_with(body));
        prop_assert_eq!(logs[0].number("truncated"), (line.len() > max).then_some(line.len() as f64));
        if line.len() > max { prop_assert!(body.len() + 4 > max); }
    }
}

#[test]
fn lines_are_slices_of_the_chunk() {
    let stream = Arc::new(Labels::new([("a", "b")]));
    let mut stamp = Stamp { stream: &stream, time_ns: 1 };
    let chunk = Bytes::from_static(b"tailone\ntwo\n");
    let found = split(&chunk, 4, Ending::Open, 9, &rules(100, None), &mut stamp);
    assert_eq!(found.logs[1].body.as_ptr(), chunk[8..].as_ptr());
    assert!(Arc::ptr_eq(&found.logs[0].stream, &stream));
}

#[test]
fn a_group_beyond_the_limits_is_closed() {
    let stream = Arc::new(Labels::new([("a", "b")]));
    let mut stamp = Stamp { stream: &stream, time_ns: 1 };
    let chunk = Bytes::from_static(b"A\n 1\n 2\n 3\n 4\n 5\nB\n 0123456789\n 1\nC\n");
    let found =
        split(&chunk, 0, Ending::Lines, 9, &rules(8, Some(Begins::Indentation)), &mut stamp);
    let bodies: Vec<&[u8]> = found.logs.iter().map(|log| &log.body[..]).collect();
    assert_eq!(bodies[0], b"A\n 1\n 2");
    assert!(bodies.iter().all(|body| body.len() <= 8), "{bodies:?}");
    assert_eq!(found.consumed, chunk.len());
}

/// So many empty lines, with the room that doubling left.
fn short_lines(lines: usize) -> Vec<Log> {
    let rules = rules(1000, None);
    let stream = Arc::new(Labels::new([("a", "b")]));
    let mut stamp = Stamp { stream: &stream, time_ns: 1 };
    let chunk = Bytes::from("\n".repeat(lines));
    split(&chunk, 0, Ending::Open, lines, &rules, &mut stamp).logs
}

#[test]
fn a_batch_is_charged_for_the_room_that_its_events_take_and_gives_back_what_it_cannot_have() {
    let mut logs = short_lines(1000);
    let room = |logs: &Vec<Log>| 1000 + logs.capacity() * size_of::<Log>();
    let reserved = 1000 + 1000 * size_of::<Log>();
    assert!(room(&logs) > reserved, "it grew by doubling");
    let memory = Memory::new(1 << 20);
    let mut permit = memory.try_acquire(reserved).unwrap();
    charge(&mut permit, 1000, &mut logs);
    assert_eq!(permit.bytes(), room(&logs));
    drop(permit);
    let mut permit = memory.try_acquire(reserved).unwrap();
    let others = memory.try_acquire((1 << 20) - reserved);
    let mut logs = short_lines(1000);
    charge(&mut permit, 1000, &mut logs);
    assert_eq!((permit.bytes(), room(&logs)), (reserved, reserved));
    drop((others, permit));
    let mut permit = memory.try_acquire(1 << 19).unwrap();
    charge(&mut permit, 1000, &mut logs);
    assert_eq!(memory.used(), reserved, "what was not needed is given back");
}
