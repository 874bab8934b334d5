//! What `tests/fuzz` feeds with bytes of its own making, and the tests here with its corpus: the log of positions. Compiled
//! for tests and fuzzing only. How lines are split is tried through `Recorded`, which is public.

use super::positions::Known;
use super::record::{Entry, append_forget, append_position, parse};

/// A log's lines are positions or damage, each one or the other; a position is the same after it was written.
///
/// Each line is tried as it is, and behind the checksum that it should have.
pub fn tail_positions(data: &[u8]) {
    let mut log = data.to_vec();
    for line in data.split(|byte| *byte == b'\n') {
        if let Ok(line) = std::str::from_utf8(line) {
            let sealed = format!("{:08x} {line}\n", crc32fast::hash(line.as_bytes()));
            if let Some(entry) = parse(sealed.as_bytes()) {
                is_written_as_it_is(&entry);
            }
            log.extend_from_slice(sealed.as_bytes());
        }
    }
    let mut known = Known::default();
    let damaged = known.read(&log);
    let lines = log.split_inclusive(|byte| *byte == b'\n').count();
    assert!(damaged + known.records.len() <= lines, "a line is a position or damage");
}

fn is_written_as_it_is(entry: &Entry) {
    let mut line = String::new();
    match entry {
        Entry::Position(record) => append_position(&mut line, record),
        Entry::Forget(inode) => append_forget(&mut line, *inode),
    }
    match (parse(line.as_bytes()), entry) {
        (Some(Entry::Position(again)), Entry::Position(record)) => assert_eq!(again, *record),
        (Some(Entry::Forget(again)), Entry::Forget(inode)) => assert_eq!(again, *inode),
        (again, _) => panic!("{line:?} is read as {again:?}"),
    }
}

#[cfg(test)]
#[test]
fn the_corpus_of_tail_positions_finds_nothing() {
    crate::corpus::run("tail_positions", tail_positions);
}
