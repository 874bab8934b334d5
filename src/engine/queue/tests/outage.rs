//! What happens while an output takes nothing, and afterwards.

use std::time::Duration;

use sentinel_contract::{Fate, Receipt};

use super::{Folders, WhenFull, numbered, options, rig, written};

const LONG: Duration = Duration::from_secs(3);

#[test]
fn what_nobody_can_read_again_is_on_disk_at_once_and_survives_an_agent_that_is_killed() {
    let folders = Folders::default();
    let mut first = rig(&folders, &options(WhenFull::Block));
    first.direct("one");
    first.direct("two");
    first.turn();
    assert!(written(&folders.direct) > 0);
    let taken = first.queue.pop().unwrap();
    let killed = Folders { kept: folders.kept.killed(), direct: folders.direct.killed() };
    let mut second = rig(&killed, &options(WhenFull::Block));
    assert_eq!(second.counters.counts()["restored"], 2);
    assert_eq!(second.deliver(), ["one", "two"]);
    second.balances();
    assert_eq!(first.settle(taken, Fate::Delivered), "one");
    // At once, whatever keeps the disk thread busy.
    let killed = Folders { kept: folders.kept.killed(), direct: folders.direct.killed() };
    assert_eq!(rig(&killed, &options(WhenFull::Block)).deliver(), ["two"]);
    assert_eq!(first.deliver(), ["two"]);
    first.turn();
    let killed = Folders { kept: folders.kept.killed(), direct: folders.direct.killed() };
    assert_eq!(
        rig(&killed, &options(WhenFull::Block)).deliver(),
        [""; 0],
        "delivered is not sent again"
    );
}

#[test]
fn a_sync_comes_at_most_100_ms_after_a_write_and_survives_a_power_cut() {
    let folders = Folders::default();
    let mut first = rig(&folders, &options(WhenFull::Block));
    first.direct("one");
    first.turn();
    first.after(Duration::from_millis(100));
    for seed in 0..20 {
        let mut dice = crate::disk::tests::simulated::Dice(seed);
        let cut = Folders {
            kept: folders.kept.powered_off(&mut dice),
            direct: folders.direct.powered_off(&mut dice),
        };
        assert_eq!(rig(&cut, &options(WhenFull::Block)).deliver(), ["one"]);
    }
}

#[test]
fn lines_of_a_file_stay_in_memory_while_the_output_is_well_however_fast_they_come() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    for line in numbered(0..200) {
        rig.keep(&line);
        rig.turn();
        if line.ends_with('0') {
            rig.deliver();
        }
    }
    rig.deliver();
    assert_eq!(written(&folders.kept), 0);
    assert_eq!(rig.fates().len(), 200);
    rig.balances();
}

#[test]
fn in_an_outage_lines_go_to_disk_when_memory_is_full_and_come_back_in_order() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    let lines = numbered(0..60);
    for line in &lines[..10] {
        rig.keep(line);
    }
    rig.after(LONG);
    assert_eq!(written(&folders.kept), 0, "there is room in memory");
    for line in &lines[10..40] {
        rig.keep(line);
    }
    rig.after(LONG);
    let told = rig.fates();
    assert!(told.len() > 20 && told.iter().all(|(_, fate)| *fate == Fate::Delivered));
    let first: Vec<&str> = told.iter().map(|(line, _)| line.as_str()).collect();
    assert_eq!(first, lines[..told.len()], "the oldest first, and only once they are synced");
    for line in &lines[40..] {
        rig.keep(line);
    }
    assert_eq!(rig.deliver(), lines);
    rig.balances();
    rig.after(LONG);
    assert_eq!(rig.deliver(), [""; 0]);
    assert_eq!(rig.counters.queued.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn what_an_output_has_in_its_hands_for_long_leaves_the_less_for_what_waits() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    let lines = numbered(0..20);
    lines[..10].iter().for_each(|line| rig.keep(line));
    let taken: Vec<_> = (0..10).map(|_| rig.queue.pop().unwrap()).collect();
    lines[10..].iter().for_each(|line| rig.keep(line));
    rig.turn();
    assert_eq!(written(&folders.kept), 0, "the output may be quick");
    rig.after(LONG);
    let told = rig.fates().len();
    assert!((3..=10).contains(&told), "{told} on disk");
    for (line, entry) in lines.iter().zip(taken) {
        assert_eq!(rig.settle(entry, Fate::Delivered), *line);
    }
    assert_eq!(rig.deliver(), lines[10..]);
    assert_eq!(rig.fates().len(), 20);
    rig.balances();
}

#[test]
fn when_the_disk_part_is_full_lines_wait_and_their_source_keeps_them() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    let lines = numbered(0..400);
    for line in &lines {
        rig.keep(line);
    }
    for _ in 0..10 {
        rig.after(LONG);
    }
    let told = rig.fates().len();
    assert!(told > 20 && told < 200, "{told} on disk, the others wait");
    assert!(written(&folders.kept) <= 8 << 10);
    assert!(rig.counters.drops().is_empty());
    assert_eq!(rig.deliver(), lines);
    assert_eq!(rig.fates().len(), 400);
    rig.balances();
}

#[test]
fn an_agent_that_ends_tells_sources_to_read_again_what_was_in_memory_only() {
    let folders = Folders::default();
    let mut first = rig(&folders, &options(WhenFull::Block));
    let lines = numbered(0..40);
    for line in &lines {
        first.keep(line);
    }
    first.after(LONG);
    let on_disk = first.fates().len();
    first.direct("metrics");
    first.direct("not yet written");
    let fates = std::sync::Arc::clone(&first.fates);
    let counters = first.end();
    let fates = fates.lock().unwrap().clone();
    assert!(fates[on_disk..].iter().all(|(_, fate)| *fate == Fate::Lost));
    assert_eq!(fates.len(), 40);
    assert!(counters.drops().is_empty(), "nothing is given up: {:?}", counters.drops());
    let mut second = rig(&folders, &options(WhenFull::Block));
    let mut delivered = second.deliver();
    delivered.sort();
    let mut expected = lines[..on_disk].to_vec();
    expected.extend(["metrics", "not yet written"].map(str::to_owned));
    assert_eq!(delivered, expected);
    second.balances();
}

#[test]
fn full_queues_drop_by_policy_and_count_it() {
    let folders = Folders::default();
    let mut oldest = rig(&folders, &options(WhenFull::DropOldest));
    let lines = numbered(0..400);
    for line in &lines {
        oldest.keep(line);
    }
    for _ in 0..10 {
        oldest.after(LONG);
    }
    let dropped = oldest.counters.drops()["queue_full"] as usize;
    assert_eq!(oldest.deliver(), lines[dropped..]);
    oldest.balances();

    let folders = Folders::default();
    let mut newest = rig(&folders, &options(WhenFull::DropNewest));
    for line in &lines {
        newest.direct(line);
        newest.turn();
    }
    let dropped = newest.counters.drops()["queue_full"] as usize;
    assert_eq!(newest.deliver(), lines[..400 - dropped]);
    newest.balances();

    let folders = Folders::default();
    let mut direct = rig(&folders, &options(WhenFull::Block));
    for line in &lines {
        direct.direct(line);
        direct.turn();
    }
    let dropped = direct.counters.drops()["queue_full"] as usize;
    let left = direct.deliver();
    assert_eq!(left.len(), 400 - dropped, "what cannot wait drops its oldest");
    assert_eq!(left.last(), lines.last());
    direct.balances();
}

#[test]
fn what_is_older_than_queue_age_is_given_up_and_counted_in_memory_and_on_disk() {
    let folders = Folders::default();
    let mut rig = rig(
        &folders,
        &super::DiskOptions { age: Some(Duration::from_millis(30)), ..options(WhenFull::Block) },
    );
    for line in &numbered(0..40) {
        rig.keep(line);
    }
    rig.after(LONG);
    std::thread::sleep(Duration::from_millis(40)); // the wall clock itself
    rig.keep("fresh");
    rig.direct("fresh too");
    let mut delivered = rig.deliver();
    delivered.sort();
    assert_eq!(delivered, ["fresh", "fresh too"]);
    assert_eq!(rig.counters.drops()["too_old"], 40);
    assert_eq!(rig.fates().len(), 41, "their source need not keep them");
    rig.balances();
}

#[test]
fn a_push_is_answered_when_it_is_on_disk_and_not_before() {
    let folders = Folders::default();
    let mut rig = rig(&folders, &options(WhenFull::Block));
    rig.push("pushed", |ear| Some(Receipt::on_disk(ear)));
    rig.turn();
    assert_eq!(rig.fates(), []);
    rig.after(Duration::from_millis(100));
    assert_eq!(rig.fates(), [("pushed".to_owned(), Fate::Delivered)]);
    assert_eq!(rig.deliver(), ["pushed"]);
    folders.direct.fail_one_in(1, 0);
    rig.push("refused", |ear| Some(Receipt::on_disk(ear)));
    rig.after(Duration::from_millis(200));
    assert_eq!(rig.fates().len(), 1, "nothing is promised");
    assert_eq!(rig.deliver(), ["refused"], "and it is delivered all the same");
    assert_eq!(rig.fates()[1], ("refused".to_owned(), Fate::Delivered));
}
