//! A disk that is full, fails, is of a newer agent, or holds what cannot be read; and dead letters that cannot be written.

use std::time::Duration;

use sentinel_contract::Fate;

use super::super::disks::orphans;
use super::{Folders, WhenFull, numbered, options, rig, written};

const LONG: Duration = Duration::from_secs(6);

#[test]
fn without_room_on_the_disk_the_newest_stay_in_memory_and_it_is_used_again_when_there_is_room() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    rig.direct("before");
    rig.turn();
    folders.direct.set_room(Some(0));
    for line in numbered(0..100) {
        rig.direct(&line);
        rig.turn();
    }
    assert_eq!(rig.counters.notes().len(), 1, "{:?}", rig.counters.notes());
    let dropped = rig.counters.drops()["queue_full"] as usize;
    assert!(dropped > 80, "memory has room for a dozen");
    rig.balances();
    let first = rig.deliver();
    assert_eq!(first[0], "before");
    assert_eq!(first[1..], numbered(dropped..100));
    folders.direct.set_room(None);
    rig.after(LONG);
    assert!(rig.counters.notes().is_empty());
    let before = written(&folders.direct);
    rig.direct("after");
    rig.turn();
    assert!(written(&folders.direct) > before);
    assert_eq!(rig.deliver(), ["after"]);
    rig.balances();
}

#[test]
fn a_full_disk_is_emptied_by_delivering_although_no_new_file_can_be_made() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    let lines = numbered(0..60);
    for line in &lines {
        rig.direct(line);
        rig.turn();
    }
    rig.after(LONG);
    let before = written(&folders.direct);
    folders.direct.set_room(Some(0));
    assert_eq!(rig.deliver(), lines);
    rig.after(LONG);
    assert!(written(&folders.direct) < before / 2, "settled segments are gone");
}

#[test]
fn a_disk_that_fails_now_and_then_loses_nothing_of_what_can_be_read_again() {
    for seed in 0..50 {
        let folders = Folders::default();
        let mut rig = rig(&folders, &options(WhenFull::Block));
        let lines = numbered(0..200);
        folders.kept.fail_one_in(5, seed);
        for line in &lines {
            rig.keep(line);
            rig.after(Duration::from_secs(1));
        }
        let delivered = rig.deliver();
        folders.kept.fail_one_in(0, 0);
        let mut rest = Vec::new();
        for _ in 0..10 {
            rig.after(LONG);
            rest.extend(rig.deliver());
        }
        assert!([delivered, rest].concat() == lines, "seed {seed}");
        assert_eq!(rig.fates().len(), 200);
        rig.balances();
    }
}

#[test]
fn a_queue_of_a_newer_agent_is_left_alone_and_the_output_goes_on_in_memory() {
    let folders = Folders::default();
    let mut first = rig(&folders, &options(WhenFull::Block));
    first.direct("of a newer agent");
    first.turn();
    first.after(Duration::from_secs(1));
    let (name, mut content) =
        folders.direct.everything().into_iter().find(|(name, _)| name.ends_with("seg")).unwrap();
    content[4] = 9;
    folders.direct.set_content(&name, content);
    let before = folders.direct.everything();
    let mut second = rig(&folders, &options(WhenFull::Block));
    second.direct("one");
    second.keep("two");
    second.after(LONG);
    assert_eq!(second.deliver(), ["one", "two"]);
    let notes = second.counters.notes();
    assert!(notes["queue on disk (direct)"].contains("version 9"), "{notes:?}");
    second.direct("three");
    let counters = second.end();
    assert_eq!(counters.drops()["shutdown"], 1, "and what is in memory at the end is counted");
    assert!(folders.direct.everything() == before);
}

#[test]
fn a_record_that_is_no_batch_is_dropped_and_counted_and_the_next_is_delivered() {
    let folders = Folders::default();
    let limits = crate::disk::Limits { bytes: 8 << 10, segment: 1 << 10 };
    let mut disk =
        crate::disk::Disk::open(Box::new(folders.direct.clone()), limits, false).unwrap();
    for (version, events) in [(9, 3), (1, 2)] {
        let mut record = vec![0; crate::disk::RECORD_HEAD];
        record.extend([version; 40]);
        disk.append(&mut record, events, 0).unwrap();
    }
    disk.sync().unwrap();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    rig.direct("good");
    assert_eq!(rig.deliver(), ["good"]);
    assert_eq!(rig.counters.drops()["undecodable"], 5);
    rig.balances();
}

#[test]
fn what_could_not_be_put_on_record_is_queued_once_more() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    rig.direct("refused");
    rig.direct("good");
    rig.turn();
    let refused = rig.queue.pop().unwrap();
    rig.settle(refused, Fate::Lost);
    assert_eq!(rig.deliver(), ["good"]);
    rig.after(LONG);
    rig.after(LONG);
    assert_eq!(rig.deliver(), ["refused"]);
    rig.after(LONG);
    let left = Folders { kept: folders.kept.killed(), direct: folders.direct.killed() };
    assert_eq!(super::rig(&left, &options(WhenFull::Block)).deliver(), [""; 0]);
}

#[test]
fn a_queue_that_belongs_to_no_output_any_more_is_found() {
    let scratch = tempfile::tempdir().unwrap();
    for (folder, file) in [
        ("old.queue/kept", "a.seg"),
        ("loki.queue/kept", "a.seg"),
        ("empty.queue/kept", "position"),
    ] {
        let folder = scratch.path().join("queues").join(folder);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(file), "x").unwrap();
    }
    assert_eq!(orphans(scratch.path(), &["loki"]), [scratch.path().join("queues/old.queue")]);
    assert!(orphans(&scratch.path().join("nowhere"), &[]).is_empty());
}
