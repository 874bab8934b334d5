//! Files whose bytes are changed in place: rewritten, truncated, copied over.

use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use super::harness::{Place, numbered};
use super::steps::Steps;
use crate::tail::appear::Origin;

const BEGINNING: &str = "start = \"beginning\"";

#[tokio::test]
async fn a_rewrite_of_the_same_size_is_read() {
    for length in [3, 2000] {
        let place = Place::new();
        let line = |letter: &str| letter.repeat(length);
        place.append("a.log", line("x") + "\n");
        let mut steps = Steps::new(&place, "a.log", BEGINNING);
        steps.poll().await;
        place.truncate("a.log");
        place.append("a.log", line("y") + "\n");
        assert!(steps.notified().await == [format!("a.log: {}", line("y"))], "notified");
        tokio::time::sleep(Duration::from_millis(20)).await; // the kernel's clock for files ticks every 4 ms
        place.truncate("a.log");
        place.append("a.log", line("z") + "\n");
        assert!(steps.poll().await == [format!("a.log: {}", line("z"))], "polled");
    }
}

#[tokio::test]
async fn a_file_that_grew_again_to_the_same_bytes_at_the_position_is_known_by_its_beginning() {
    let place = Place::new();
    place.append("a.log", "Monday\n".to_owned() + &"beat\n".repeat(300));
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    assert_eq!(steps.poll().await.len(), 301);
    place.truncate("a.log");
    place.append("a.log", "Sunday\n".to_owned() + &"beat\n".repeat(302));
    let lines = steps.notified().await;
    assert_eq!((lines.len(), lines[0].as_str()), (303, "a.log: Sunday"));
}

/// copytruncate to the same name each time, the copy overwritten in place.
async fn copied_over(pattern: &str, look_between: bool) {
    let place = Place::new();
    place.append("a.log", "0\n");
    let mut steps = Steps::new(&place, pattern, BEGINNING);
    let mut lines = steps.poll().await;
    for round in 1..4 {
        place.append("a.log", format!("{round} before\n"));
        place.copy("a.log", "a.log.1");
        if look_between {
            lines.extend(steps.look().await);
        }
        place.truncate("a.log");
        if look_between {
            lines.extend(steps.look().await);
        }
        place.append("a.log", format!("{round} after\n"));
        lines.extend(steps.look().await);
    }
    lines.extend(steps.look().await);
    let mut wanted = vec!["a.log: 0".to_owned()];
    for round in 1..4 {
        wanted.extend([format!("a.log: {round} before"), format!("a.log: {round} after")]);
    }
    assert_eq!(lines, wanted, "{pattern} {look_between}");
    assert!(steps.counters.drops().is_empty());
}

#[tokio::test]
async fn a_copy_that_is_copied_over_is_read_once() {
    for look_between in [false, true] {
        copied_over("a.log", look_between).await;
        copied_over("a.log*", look_between).await;
    }
}

#[tokio::test]
async fn a_copy_that_is_copied_over_is_read_once_whichever_is_looked_at_first() {
    for pattern in ["a.log", "a.log*"] {
        let place = Place::new();
        place.append("a.log", "0\n");
        let mut steps = Steps::new(&place, pattern, BEGINNING);
        steps.poll().await;
        for round in 1..4 {
            place.append("a.log", format!("{round} before\n"));
            place.copy("a.log", "a.log.1");
            place.truncate("a.log");
            let original = steps.tail.files.by_path(&place.path("a.log")).unwrap();
            steps.tail.check(original);
            place.append("a.log", format!("{round} after\n"));
            let wanted = ["before", "after"].map(|when| format!("a.log: {round} {when}"));
            assert_eq!(steps.look().await, wanted, "{pattern}");
        }
    }
}

#[tokio::test]
async fn files_that_changed_places_may_both_be_truncated() {
    let place = Place::new();
    for name in ["a.log", "b.log"] {
        place.append(name, "one\ntwo\n");
    }
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    steps.poll().await;
    place.rename("a.log", "c.log");
    place.rename("b.log", "a.log");
    place.rename("c.log", "b.log");
    assert_eq!(steps.look().await, [""; 0]);
    for name in ["a.log", "b.log"] {
        place.truncate(name);
        place.append(name, "3\n");
    }
    let mut lines = steps.look().await;
    lines.sort();
    assert_eq!(lines, ["a.log: 3", "b.log: 3"]);
}

#[tokio::test]
async fn a_deleted_file_that_its_writer_truncates_is_read_anew_once() {
    let place = Place::new();
    place.append("a.log", numbered(0..300));
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    steps.poll().await;
    let mut writer = File::options().append(true).open(place.path("a.log")).unwrap();
    place.remove("a.log");
    steps.look().await;
    writer.set_len(0).unwrap();
    writer.write_all(b"new\n").unwrap();
    assert_eq!(steps.look().await, ["a.log: new"]);
    writer.write_all(b"more\n").unwrap();
    assert_eq!(steps.look().await, ["a.log: more"]);
    assert!(steps.counters.drops().is_empty());
}

#[tokio::test]
async fn what_was_seen_and_then_cut_off_is_counted() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    steps.poll().await;
    place.append("a.log", "two\nthree\n");
    steps.notice(); // and there is no memory to read it
    place.truncate("a.log");
    place.append("a.log", "4\n");
    assert_eq!(steps.look().await, ["a.log: 4"]);
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&1));
    place.truncate("a.log");
    place.append("a.log", "a longer line\n");
    assert_eq!(steps.look().await, ["a.log: a longer line"]);
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&1), "all was read");
}

#[tokio::test]
async fn what_was_written_after_the_copy_was_made_and_cut_off_is_counted() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    steps.poll().await;
    place.append("a.log", "two\n");
    place.copy("a.log", "a.log.1");
    place.append("a.log", "three\n");
    steps.notice();
    place.truncate("a.log");
    place.append("a.log", "4\n");
    assert_eq!(steps.look().await, ["a.log: two", "a.log: 4"]);
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&1));
}

#[tokio::test]
async fn what_was_seen_of_a_file_whose_inode_is_used_again_is_counted() {
    let place = Place::new();
    place.append("a.log", "one\n");
    place.append("z.log", "z\n");
    let options = format!("{BEGINNING}\nmax_open_files = 1");
    let mut steps = Steps::new(&place, "*.log", &options);
    steps.notice();
    place.reuse("a.log", "b.log", "other\n");
    steps.tail.appear(&place.path("b.log"), Origin::Later); // it is found before the other is missed
    let mut lines = steps.look().await;
    lines.sort();
    assert_eq!(lines, ["b.log: other", "z.log: z"]);
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&1));
}
