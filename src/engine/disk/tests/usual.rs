//! The queue while nothing is wrong, and while the disk is full or fails.

use super::simulated::Simulated;
use super::{LIMITS, append, ids, open, read_all};
use crate::disk::tests::id_of;
use crate::disk::{
    AppendError, Disk, Folder as _, LARGEST, Limits, OpenError, RECORD_HEAD, RealFolder,
};

#[test]
fn records_are_read_in_order_and_after_a_restart_from_the_first_that_is_not_settled() {
    let scratch = tempfile::tempdir().unwrap();
    let folder = || Box::new(RealFolder::open(&scratch.path().join("a.queue/kept")).unwrap());
    let mut disk = Disk::open(folder(), LIMITS, true).unwrap();
    for id in 0..50 {
        append(&mut disk, id, 100, 2).unwrap();
    }
    assert!(!disk.has_unread(), "nothing is read before it is on disk");
    disk.sync().unwrap();
    let records = read_all(&mut disk);
    assert_eq!(ids(&records), (0..50).collect::<Vec<_>>());
    for record in records[..20].iter().rev().chain(&records[21..30]) {
        disk.settled.settle(&record.place).unwrap();
    }
    disk.save().unwrap();
    drop(disk);
    let mut disk = Disk::open(folder(), LIMITS, true).unwrap();
    assert_eq!(disk.backlog(), 60, "number 20 was not settled, so neither is what follows");
    assert_eq!(ids(&read_all(&mut disk)), (20..50).collect::<Vec<_>>());
    append(&mut disk, 50, 1, 1).unwrap();
    disk.sync().unwrap();
    assert_eq!(ids(&read_all(&mut disk)), [50]);
}

#[test]
fn settled_segments_are_removed_and_the_folder_stays_within_its_limit() {
    let folder = Simulated::default();
    let mut disk = open(&folder, false);
    for id in 0..2_000 {
        append(&mut disk, id, 100, 1).unwrap();
        let record = disk.read().unwrap().unwrap();
        assert_eq!(id_of(&record), id);
        disk.settled.settle(&record.place).unwrap();
        if disk.is_unsaved() && id % 10 == 0 {
            disk.sync().unwrap();
            disk.save().unwrap();
        }
        let files: usize = folder.everything().iter().map(|(_, content)| content.len()).sum();
        assert!(files as u64 <= 3 * LIMITS.segment, "{files} bytes");
    }
}

#[test]
fn a_full_queue_says_so_and_takes_more_when_the_oldest_segment_is_given_up() {
    let folder = Simulated::default();
    let mut disk = open(&folder, false);
    let mut appended = 0;
    while append(&mut disk, appended, 200, 3).is_ok() {
        appended += 1;
    }
    assert!(matches!(append(&mut disk, 0, 200, 3), Err(AppendError::Full)));
    assert!(disk.bytes() <= LIMITS.bytes);
    let first = disk.read().unwrap().unwrap();
    folder.fail_one_in(1, 1);
    let (dropped, failed) = disk.drop_oldest();
    assert!(dropped > 0 && failed.is_err(), "counted, whatever the disk does");
    folder.fail_one_in(0, 1);
    assert!(matches!(disk.drop_oldest(), (0, Ok(()))), "and once");
    assert_eq!(dropped % 3, 0);
    append(&mut disk, appended, 200, 3).unwrap();
    let left = read_all(&mut disk);
    assert_eq!(left.len() as u64 + dropped / 3 + 1, appended + 1, "each is counted once");
    disk.settled.settle(&first.place).unwrap(); // late, and of no consequence
    assert_eq!(*ids(&left).last().unwrap(), appended);
    while disk.drop_oldest().0 + disk.bytes() > 0 {}
    append(&mut disk, 7, 10, 1).unwrap();
    assert_eq!(ids(&read_all(&mut disk)), [7], "an emptied queue goes on");
}

#[test]
fn a_record_that_is_too_large_is_refused_and_the_next_is_taken() {
    let folder = Simulated::default();
    let limits = Limits { bytes: 64 << 20, segment: 1 << 20 };
    let mut disk = Disk::open(Box::new(folder.clone()), limits, false).unwrap();
    let large = append(&mut disk, 1, LARGEST, 1);
    assert!(matches!(large, Err(AppendError::TooLarge(_))));
    append(&mut disk, 2, 3 << 20, 1).unwrap();
    append(&mut disk, 3, 3, 1).unwrap();
    assert_eq!(ids(&read_all(&mut disk)), [2, 3], "larger than a segment is no reason");
    let tiny = Limits { bytes: 100, segment: 100 };
    let mut disk = Disk::open(Box::new(Simulated::default()), tiny, false).unwrap();
    let mut record = vec![0; RECORD_HEAD + 100];
    assert!(matches!(disk.append(&mut record, 1, 0), Err(AppendError::TooLarge(_))));
}

#[test]
fn a_full_file_system_takes_nothing_and_later_more_without_a_damaged_record_between() {
    let folder = Simulated::default();
    let mut disk = open(&folder, false);
    append(&mut disk, 0, 500, 1).unwrap();
    folder.set_room(Some(1_000));
    for _ in 0..3 {
        assert!(matches!(append(&mut disk, 1, 800, 1), Err(AppendError::Io(_))));
    }
    folder.set_room(None);
    append(&mut disk, 2, 800, 1).unwrap();
    disk.sync().unwrap();
    assert_eq!(ids(&read_all(&mut disk)), [0, 2]);
    let mut disk = open(&folder, false);
    assert_eq!(ids(&read_all(&mut disk)), [0, 2]);
    assert_eq!((disk.take_lost(), disk.take_torn()), (0, 0));
}

#[test]
fn after_a_failed_sync_what_was_not_promised_is_forgotten_and_what_is_appended_again_comes_once() {
    let folder = Simulated::default();
    let mut disk = open(&folder, true);
    append(&mut disk, 0, 10, 1).unwrap();
    disk.sync().unwrap();
    for id in 1..40 {
        append(&mut disk, id, 100, 1).unwrap(); // several segments
    }
    folder.fail_one_in(1, 0);
    assert!(disk.sync().is_err());
    disk.sync_failed();
    folder.fail_one_in(0, 0);
    for id in 1..40 {
        append(&mut disk, id, 100, 1).unwrap();
    }
    disk.sync().unwrap();
    assert_eq!(ids(&read_all(&mut disk)), (0..40).collect::<Vec<_>>());
    assert_eq!(disk.take_lost(), 0);
    drop(disk);
    let mut disk = open(&folder.killed(), true);
    assert_eq!(ids(&read_all(&mut disk)), (0..40).collect::<Vec<_>>(), "nor after a restart");
}

#[test]
fn a_record_that_is_held_in_memory_is_passed_over_and_can_be_read_again() {
    let folder = Simulated::default();
    let mut disk = open(&folder, false);
    let first = append(&mut disk, 0, 10, 1).unwrap();
    assert!(disk.skip(&first));
    let second = append(&mut disk, 1, 20, 1).unwrap();
    let third = append(&mut disk, 2, 20, 1).unwrap();
    assert!(!disk.skip(&third), "the second is before it");
    assert_eq!(ids(&read_all(&mut disk)), [1, 2]);
    for (id, place) in [(0, &first), (1, &second), (2, &third)] {
        assert_eq!(id_of(&disk.read_again(place).unwrap().unwrap()), id);
    }
}

#[test]
fn a_recent_position_that_somebody_removed_is_made_anew() {
    let mut folder = Simulated::default();
    let mut disk = open(&folder, false);
    for id in 0..5 {
        append(&mut disk, id, 10, 1).unwrap();
    }
    let records = read_all(&mut disk);
    disk.settled.settle(&records[0].place).unwrap();
    folder.remove("recent").unwrap();
    assert!(disk.settled.settle(&records[1].place).is_err());
    disk.save().unwrap();
    disk.settled.settle(&records[2].place).unwrap();
    assert_eq!(ids(&read_all(&mut open(&folder.killed(), false))), [3, 4]);
}

#[test]
fn files_of_a_newer_agent_are_refused_and_not_touched() {
    let folder = Simulated::default();
    let mut disk = open(&folder, false);
    for id in 0..40 {
        append(&mut disk, id, 100, 1).unwrap();
    }
    disk.sync().unwrap();
    let record = disk.read().unwrap().unwrap();
    disk.settled.settle(&record.place).unwrap();
    disk.save().unwrap();
    for (name, content) in folder.everything() {
        let newer = folder.copy();
        let mut changed = content.clone();
        changed[4] = 2;
        newer.set_content(&name, changed);
        let before = newer.everything();
        let opened = Disk::open(Box::new(newer.clone()), LIMITS, false);
        let Err(OpenError::Newer { file, version }) = opened else { panic!("{name} was opened") };
        assert_eq!((file, version), (name, 2));
        assert!(newer.everything() == before);
    }
}

#[test]
fn a_folder_that_is_not_there_is_made_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("queues/a.queue/direct");
    let mut folder = RealFolder::open(&path).unwrap();
    folder.create("x").unwrap();
    assert_eq!(folder.names().unwrap(), ["x"]);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(std::fs::metadata(path.join("x")).unwrap().permissions().mode() & 0o777, 0o600);
}
