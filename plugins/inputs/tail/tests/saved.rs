//! The saved positions themselves: what is damaged, unreadable, of another version, or too old.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::harness::{Place, numbered};
use super::parts::record;
use super::steps::Steps;
use crate::tail::positions::{Aside, Positions, unix_seconds};
use crate::tail::record::Record;
use crate::tail::service::next_time;

const BEGINNING: &str = "start = \"beginning\"";

fn open(path: &Path) -> Positions {
    let (positions, _, started) = Positions::open(path.to_owned());
    started.unwrap();
    positions
}

#[test]
fn the_log_of_a_newer_version_is_kept_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let newer = "sentinelops positions 2\n0123abcd something else\n";
    for kept in ["x.newer", "x.newer.1"] {
        fs::write(&path, newer).unwrap();
        let (mut positions, found, started) = Positions::open(path.clone());
        started.unwrap();
        assert_eq!((found.existed, found.damaged, found.aside), (true, 0, Some(Aside::Newer)));
        positions.put(record(1, 7, "/x"));
        positions.sync().unwrap();
        assert_eq!(fs::read_to_string(folder.path().join(kept)).unwrap(), newer);
        assert_eq!(open(&path).records().count(), 1);
    }
}

#[test]
fn the_log_of_an_older_version_is_read() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let mut positions = open(&path);
    positions.put(record(1, 7, "/x"));
    positions.write().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("positions 1", "positions 0")).unwrap();
    assert_eq!(open(&path).records().count(), 1);
}

#[test]
fn a_log_that_cannot_be_read_is_kept_aside() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    fs::create_dir_all(path.join("inside")).unwrap(); // root may read any file, but no folder
    let (_, found, started) = Positions::open(path.clone());
    started.unwrap();
    assert_eq!(found.aside, Some(Aside::Unreadable));
    assert!(path.is_file() && folder.path().join("x.bad/inside").is_dir());
}

#[tokio::test]
async fn a_note_says_that_the_positions_are_of_a_newer_version() {
    let place = Place::new();
    fs::create_dir_all(place.positions().parent().unwrap()).unwrap();
    fs::write(place.positions(), "sentinelops positions 9\n").unwrap();
    let steps = Steps::new(&place, "a.log", "");
    let note = steps.counters.notes()["positions"].clone();
    assert!(note.contains("of a newer version") && note.contains("web_logs_1.newer"), "{note}");
}

#[tokio::test]
async fn the_only_position_damaged_costs_no_line_of_a_file_read_from_its_end() {
    for damage in ["sentinelops positions 1\ngarbage\n", ""] {
        let place = Place::new();
        place.append("a.log", numbered(0..3));
        let mut steps = Steps::new(&place, "a.log", "");
        steps.poll().await;
        drop(steps);
        drop(Steps::new(&place, "a.log", "")); // an earlier generation of the log
        place.append("a.log", "while stopped\n");
        fs::write(place.positions(), damage).unwrap();
        let mut steps = Steps::new(&place, "a.log", "");
        assert_eq!(steps.poll().await, ["a.log: while stopped"]);
    }
}

#[tokio::test]
async fn positions_removed_by_a_person_are_gone() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    Steps::new(&place, "a.log", BEGINNING).poll().await;
    fs::remove_file(place.positions()).unwrap();
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    assert_eq!(steps.poll().await.len(), 3);
}

#[test]
fn what_is_forgotten_does_not_come_back_when_another_line_is_damaged() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let mut positions = open(&path);
    positions.put(record(1, 7, "/x"));
    positions.put(record(2, 7, "/y"));
    positions.write().unwrap();
    let mut positions = open(&path);
    positions.forget(record(1, 0, "").inode);
    positions.write().unwrap();
    let text = fs::read_to_string(&path).unwrap().replace("/y\n", "/z\n");
    fs::write(&path, text).unwrap();
    let records: Vec<PathBuf> = open(&path).records().map(|record| record.path.clone()).collect();
    assert_eq!(records, [PathBuf::from("/y")]);
}

#[test]
fn positions_that_cannot_be_written_take_no_more_memory_each_time() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("p/x.log");
    fs::write(folder.path().join("p"), "a file where the folder should be").unwrap();
    let (mut positions, _, started) = Positions::open(path.clone());
    assert!(started.is_err());
    for offset in 0..1000 {
        positions.put(record(1, offset, "/x"));
        let _fails = positions.sync();
    }
    assert_eq!(positions.pending.len(), 0);
    fs::remove_file(folder.path().join("p")).unwrap();
    positions.sync().unwrap();
    assert_eq!(open(&path).records().next().unwrap().mark.offset, 999);
}

#[test]
fn what_comes_while_the_log_is_written_anew_is_in_both() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let reread = || {
        let copy = folder.path().join("copy");
        fs::copy(&path, &copy).unwrap();
        let records = Positions::open(copy).0.records().cloned().collect::<Vec<_>>();
        let mut offsets: Vec<u64> = records.iter().map(|record| record.mark.offset).collect();
        offsets.sort_unstable();
        offsets
    };
    let (mut positions, _, _) = Positions::open(path.clone());
    for ino in 1..=3 {
        positions.put(record(ino, ino, "/x"));
    }
    positions.write().unwrap();
    let due = positions.rewrite();
    positions.put(record(1, 11, "/x"));
    positions.write().unwrap();
    assert_eq!(reread(), [2, 3, 11], "a kill while it is written");
    let done = due.carry_out();
    positions.put(record(2, 12, "/x"));
    positions.forget(record(3, 3, "/x").inode);
    positions.write().unwrap();
    positions.done(done).unwrap();
    assert_eq!(reread(), [11, 12]);
    assert!(positions.needs_sync(), "what was added is not yet on the disk");
    positions.put(record(2, 13, "/x"));
    positions.write().unwrap();
    assert_eq!(reread(), [11, 13], "the new log is the one that is written to");
}

#[test]
fn a_position_that_comes_back_while_it_is_given_up_is_kept() {
    let folder = TempDir::new().unwrap();
    let (mut positions, _, _) = Positions::open(folder.path().join("x.log"));
    for ino in [1, 2] {
        let old = record(ino, 7, "/gone");
        positions.put(Record { seconds: 0, ..old });
    }
    let done = positions.rewrite().carry_out();
    positions.put(record(1, 8, "/gone"));
    positions.done(done).unwrap();
    let left: Vec<u64> = positions.records().map(|record| record.mark.offset).collect();
    assert_eq!(left, [8]);
}

#[test]
fn a_sync_that_failed_is_due_again() {
    let folder = TempDir::new().unwrap();
    let mut positions = open(&folder.path().join("x.log"));
    positions.put(record(1, 7, "/x"));
    positions.write().unwrap();
    positions.fill_disk(); // and it cannot be synced
    assert!(positions.sync().is_err());
    assert!(positions.needs_sync());
}

#[test]
fn a_renamed_file_is_remembered_for_as_long_as_it_is_there() {
    use crate::tail::identity::Inode;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    fs::write(folder.path().join("a.log.1"), "").unwrap();
    let inode = Inode::of(&fs::metadata(folder.path().join("a.log.1")).unwrap());
    let old = Record { seconds: unix_seconds() - 30 * 24 * 3600, ..record(1, 7, "/gone") };
    let mut positions = open(&path);
    positions.put(old.clone());
    positions.put(Record { inode, path: folder.path().join("a.log"), ..old }); // or the clock went forward
    positions.write().unwrap();
    let left: Vec<Inode> = open(&path).records().map(|record| record.inode).collect();
    assert_eq!(left, [inode]);
}

#[test]
fn the_time_of_lines_never_goes_back_but_with_the_clock() {
    assert_eq!(next_time(5, 9), 9);
    assert_eq!(next_time(9, 5), 9, "lines of one read are a nanosecond apart");
    let day = 86_400_000_000_000;
    assert_eq!(next_time(3 * day, day), day, "the clock was set back");
}

#[tokio::test]
async fn a_file_that_came_while_stopped_is_read_whole_when_the_clock_went_back() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut steps = Steps::new(&place, "*.log", "");
    steps.poll().await;
    drop(steps);
    let log = fs::File::options().write(true).open(place.positions()).unwrap();
    log.set_modified(SystemTime::now() + Duration::from_secs(86_400)).unwrap();
    place.append("b.log", "new\n");
    assert_eq!(Steps::new(&place, "*.log", "").poll().await, ["b.log: new"]);
}
