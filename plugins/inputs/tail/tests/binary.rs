//! What is in a file and is no text: compressed data, and holes.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use super::harness::{Place, expected, numbered};
use super::steps::Steps;

const ALL: &str = "start = \"beginning\"\nexclude = []";
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03packed\nlines\n";

#[tokio::test]
async fn a_rotated_file_that_is_compressed_is_finished_and_not_read_again() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut steps = Steps::new(&place, "a.log*", ALL);
    steps.poll().await;
    place.append("a.log", "two\n");
    place.rename("a.log", "a.log.1");
    place.append("a.log.1.gz", GZIP);
    place.remove("a.log.1");
    place.append("a.log", "three\n");
    assert_eq!(steps.look().await, ["a.log: two", "a.log: three"]);
    let path = place.path("a.log.1.gz").display().to_string();
    assert_eq!(
        steps.counters.notes()[&path],
        "is compressed by gzip: lines cannot be read from it"
    );
    assert_eq!(steps.look().await, [""; 0]);
    assert!(steps.counters.drops().is_empty());
}

#[tokio::test]
async fn a_compressed_file_is_refused_whatever_its_name_and_read_once_it_is_text() {
    let place = Place::new();
    for (name, magic) in [
        ("gzip", &GZIP[..3]),
        ("zstd", b"\x28\xb5\x2f\xfd"),
        ("xz", b"\xfd7zXZ\0"),
        ("bzip2", b"BZh91AY&SY"),
    ] {
        place.append(name, magic);
        place.append(name, "\nrest\n");
    }
    let mut steps = Steps::new(&place, "*", ALL);
    assert_eq!(steps.look().await, [""; 0]);
    for (path, note) in steps.counters.notes() {
        let name = path.rsplit('/').next().unwrap();
        assert_eq!(note, format!("is compressed by {name}: lines cannot be read from it"));
    }
    assert_eq!(steps.counters.notes().len(), 4);
    place.remove("xz");
    place.append("xz", "text\n");
    assert_eq!(steps.look().await, ["xz: text"]);
    assert_eq!(steps.counters.notes().len(), 3);
}

#[tokio::test]
async fn a_file_that_was_followed_before_compressed_data_came_is_let_go() {
    let place = Place::new();
    place.append("a.log", "");
    let mut steps = Steps::new(&place, "*", ALL);
    place.append("a.log", GZIP);
    assert_eq!(steps.notified().await, [""; 0]);
    assert_eq!(steps.counters.notes().len(), 1);
    assert_eq!(steps.look().await, [""; 0]);
    assert_eq!(steps.counters.notes().len(), 1);
}

/// A writer that goes on at its old offset in a file that was truncated: what is before is a hole.
#[tokio::test]
async fn a_hole_before_a_line_is_skipped_and_counted() {
    for size in [100, 100_000] {
        let place = Place::new();
        let mut writer = File::create(place.path("a.log")).unwrap();
        writer.write_all(numbered(0..size).as_bytes()).unwrap();
        let mut steps = Steps::new(&place, "a.log", ALL);
        assert_eq!(steps.poll().await.len(), size);
        writer.write_all(b"last\n").unwrap();
        place.copy("a.log", "a.log.1");
        place.truncate("a.log");
        writer.write_all(b"first\n").unwrap();
        assert_eq!(steps.look().await, ["a.log: last", "a.log: first"]);
        assert_eq!(steps.counters.counts().get("hole_skipped"), Some(&1));
        writer.write_all(b"second\n").unwrap();
        assert_eq!(steps.look().await, ["a.log: second"]);
        drop(steps);
        let mut steps = Steps::new(&place, "a.log", ALL);
        writer.write_all(b"third\n").unwrap();
        assert_eq!(steps.look().await, ["a.log: third"]);
    }
}

#[tokio::test]
async fn a_hole_of_written_zeros_is_skipped_as_any_other() {
    let place = Place::new();
    place.append("a.log", "one\n");
    place.append("a.log", vec![0; 1 << 20]);
    place.append("a.log", "two\n");
    place.append("a.log", [0; 100]);
    place.append("a.log", "three\n");
    let mut steps = Steps::new(&place, "a.log", ALL);
    let few = format!("a.log: {}three", "\0".repeat(100)); // a power failure leaves whole blocks
    assert_eq!(steps.poll().await, ["a.log: one", "a.log: two", few.as_str()]);
}

#[tokio::test]
async fn zeros_at_the_end_of_a_file_wait_to_be_overwritten() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let file = File::options().write(true).open(place.path("a.log")).unwrap();
    file.set_len(1 << 20).unwrap();
    let mut steps = Steps::new(&place, "a.log", ALL);
    assert_eq!(steps.poll().await, ["a.log: one"]);
    file.write_all_at(numbered(0..3).as_bytes(), 4).unwrap();
    let lines: Vec<String> = expected(0..3).iter().map(|line| format!("a.log: {line}")).collect();
    assert_eq!(steps.look().await, lines);
    assert_eq!(steps.look().await, [""; 0]);
    place.rename("a.log", "a.txt");
    tokio::time::sleep(super::harness::quick().deleted_quiet * 2).await;
    for _ in 0..3 {
        assert_eq!(steps.look().await, [""; 0], "nothing more will come");
    }
    let file = steps.tail.files.iter().next().unwrap();
    assert!(file.file.is_none() && file.unread() == 0);
}

#[tokio::test]
async fn a_file_made_beforehand_is_read_as_it_is_filled() {
    let place = Place::new();
    let file = File::create(place.path("a.log")).unwrap();
    file.set_len(1 << 20).unwrap();
    let mut steps = Steps::new(&place, "a.log", ALL);
    assert_eq!(steps.poll().await, [""; 0]);
    file.write_all_at(b"one\ntwo\n", 0).unwrap();
    assert_eq!(steps.look().await, ["a.log: one", "a.log: two"]);
    assert!(steps.counters.drops().is_empty());
}
