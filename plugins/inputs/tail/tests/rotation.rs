//! Files that change their place while the agent follows them.

use std::fs;
use std::os::unix::fs::symlink;

use sentinel_contract::Fate;

use super::harness::{Place, expected, numbered, resolve, text, until};
use super::steps::Steps;

const BEGINNING: &str = "start = \"beginning\"";

#[tokio::test]
async fn a_renamed_file_is_finished_before_the_new_one_begins() {
    let place = Place::new();
    place.append("a.log", "one\ntwo\n");
    let mut agent = place.start("a.log", BEGINNING);
    assert_eq!(agent.lines(2).await, ["one", "two"]);
    place.append("a.log", "three\n");
    place.rename("a.log", "a.log.1");
    place.append("a.log", "five\n");
    place.append("a.log.1", "four\n"); // its writer has not noticed yet
    let mut lines = agent.logs(3).await;
    assert!(lines.is_sorted_by(|a, b| a.time_ns < b.time_ns));
    assert!(lines.iter().all(|log| log.stream == lines[0].stream), "one stream");
    lines.sort_by_key(|log| log.body.clone());
    assert_eq!(lines.iter().map(text).collect::<Vec<_>>(), ["five", "four", "three"]);
    place.append("a.log.1", "late\n");
    assert_eq!(agent.lines(1).await, ["late"]);
    agent.finish().await;
}

#[tokio::test]
async fn files_rotated_faster_than_anyone_looks_are_all_read() {
    let place = Place::new();
    place.append("a.log", "0\n");
    let mut agent = place.start("a.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["0"]);
    for round in 1..=5 {
        for old in (1..round).rev() {
            place.rename(&format!("a.log.{old}"), &format!("a.log.{}", old + 1));
        }
        place.rename("a.log", "a.log.1");
        place.append("a.log", format!("{round}\n"));
    }
    let mut lines = agent.lines(5).await;
    lines.sort();
    assert_eq!(lines, ["1", "2", "3", "4", "5"]);
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn a_rotated_name_that_matches_too_is_not_read_again() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut agent = place.start("a.log*", BEGINNING);
    assert_eq!(agent.lines(1).await, ["one"]);
    place.rename("a.log", "a.log.1");
    place.append("a.log", "two\n");
    assert_eq!(agent.lines(1).await, ["two"]);
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn the_unfinished_last_line_of_a_rotated_file_goes_out_at_its_end() {
    let place = Place::new();
    place.append("a.log", "one\ntw");
    let mut agent = place.start("a.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["one"]);
    place.rename("a.log", "a.log.1");
    assert_eq!(agent.lines(1).await, ["tw"]);
    agent.finish().await;
}

#[tokio::test]
async fn a_truncated_file_is_read_from_its_beginning() {
    let place = Place::new();
    place.append("a.log", "one\ntwo\n");
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(2).await;
    place.truncate("a.log");
    place.append("a.log", "three\n");
    assert_eq!(agent.lines(1).await, ["three"]);
    agent.finish().await;
}

#[tokio::test]
async fn a_truncated_file_that_has_grown_beyond_the_old_position_is_read_from_its_beginning() {
    let place = Place::new();
    place.append("a.log", "one\ntwo\n");
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(2).await;
    fs::write(place.path("a.log"), "a first line that is longer than both\nsecond\n").unwrap();
    assert_eq!(agent.lines(2).await, ["a first line that is longer than both", "second"]);
    agent.finish().await;
}

/// The lane is full while the file is copied and truncated: nothing of it could be read in time.
async fn copytruncate(pattern: &str, copy: &str) {
    let place = Place::new();
    place.append("a.log", numbered(0..10));
    let mut agent = place.start(pattern, BEGINNING);
    agent.lines(10).await;
    let all = agent.memory.acquire(agent.memory.capacity()).await; // no memory: reading stops
    place.append("a.log", numbered(10..20));
    place.copy("a.log", copy);
    place.truncate("a.log");
    place.append("a.log", "after\n");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await; // as long as it likes to look around
    drop(all);
    let lines = agent.lines(11).await;
    assert_eq!(lines[..10], expected(10..20));
    assert_eq!(lines[10], "after");
    agent.is_silent().await;
    place.append("a.log", "more\n");
    assert_eq!(agent.lines(1).await, ["more"]);
    agent.finish().await;
    let agent = place.start(pattern, BEGINNING);
    let mut agent = agent;
    agent.is_silent().await; // the copy is on record as read
    agent.finish().await;
}

#[tokio::test]
async fn what_copytruncate_cut_off_is_read_from_the_copy() {
    copytruncate("a.log", "a.log.1").await;
}

#[tokio::test]
async fn a_copy_that_matches_the_globs_is_not_read_twice() {
    copytruncate("a.log*", "a.log.1").await;
}

#[tokio::test]
async fn an_empty_file_between_two_others_keeps_their_order() {
    let place = Place::new();
    place.append("a.log", numbered(0..10));
    let mut agent = place.start("a.log", &format!("{BEGINNING}\nread_chunk = \"4KiB\""));
    agent.lines(10).await;
    let all = agent.memory.acquire(agent.memory.capacity()).await;
    place.append("a.log", numbered(10..3000));
    place.rename("a.log", "a.log.2");
    place.append("a.log", "");
    tokio::time::sleep(std::time::Duration::from_millis(200)).await; // as long as it likes to look around
    place.rename("a.log", "a.log.1");
    place.append("a.log", numbered(3000..6000));
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    drop(all);
    assert_eq!(agent.lines(5990).await, expected(10..6000));
    agent.finish().await;
}

/// The output is down and memory is full: rotated, and then copied and truncated, before a byte of the new file was read.
async fn rotated_and_truncated_unread(restarts: bool, after: &str) {
    let place = Place::new();
    place.append("a.log", numbered(0..10));
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(10).await;
    let all = agent.memory.acquire(agent.memory.capacity()).await;
    place.append("a.log", numbered(10..20));
    place.rename("a.log", "a.log.1");
    place.append("a.log", numbered(20..30));
    tokio::time::sleep(std::time::Duration::from_millis(500)).await; // as long as it likes to look around
    let running = if restarts {
        agent.kill().await;
        None
    } else {
        Some(agent)
    };
    place.rename("a.log.1", "a.log.2");
    place.copy("a.log", "a.log.1");
    place.truncate("a.log");
    place.append("a.log", after);
    let mut agent = running.unwrap_or_else(|| place.start("a.log", BEGINNING));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    drop(all);
    let lines = agent.lines(20 + after.lines().count()).await;
    assert_eq!(lines[..20], expected(10..30));
    assert_eq!(lines[20..].join("\n"), after.trim_end());
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn what_copytruncate_cut_off_before_it_was_read_is_read_from_the_copy() {
    rotated_and_truncated_unread(false, "after\n").await;
}

#[tokio::test]
async fn what_grew_again_after_it_was_cut_off_unread_is_known_by_its_beginning() {
    rotated_and_truncated_unread(false, &numbered(100..140)).await;
}

#[tokio::test]
async fn what_was_cut_off_unread_while_the_agent_was_killed_is_read_from_the_copy() {
    rotated_and_truncated_unread(true, "after\n").await;
}

#[tokio::test]
async fn a_copy_of_a_file_that_is_not_truncated_is_a_file_of_its_own() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut agent = place.start("a*.log", BEGINNING);
    agent.lines(1).await;
    place.copy("a.log", "a-saved.log");
    assert_eq!(agent.lines(1).await, ["one"]);
    agent.finish().await;
}

#[tokio::test]
async fn what_is_lost_after_copytruncate_is_read_again_from_the_copy() {
    let place = Place::new();
    place.append("a.log", "one\ntwo\n");
    let mut agent = place.start("a.log", BEGINNING);
    let batch = agent.next().await;
    place.copy("a.log", "a.log.1");
    place.truncate("a.log");
    place.append("a.log", "3\n");
    assert_eq!(agent.lines(1).await, ["3"]);
    resolve(batch, Fate::Lost);
    assert_eq!(agent.lines(2).await, ["one", "two"]);
    agent.finish().await;
}

#[tokio::test]
async fn old_files_stay_closed_when_logrotate_moves_them_on() {
    let place = Place::new();
    place.append("a.log", "0\n");
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    assert_eq!(steps.look().await, ["a.log: 0"]);
    let rotate = |files: usize| {
        for file in (1..files).rev() {
            place.rename(&format!("a.log.{file}"), &format!("a.log.{}", file + 1));
        }
        place.rename("a.log", "a.log.1");
        place.append("a.log", format!("{files}\n"));
    };
    for files in 1..8 {
        rotate(files);
        assert_eq!(steps.look().await, [format!("a.log: {files}")]);
    }
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while place.held("a.log") > 1 {
        assert!(std::time::Instant::now() < deadline, "they are closed once they are quiet");
        std::thread::sleep(std::time::Duration::from_millis(20));
        steps.poll().await;
    }
    rotate(8);
    assert_eq!(steps.notified().await, ["a.log: 8"]);
    assert_eq!(place.held("a.log"), 2, "the file and the one that it was");
    // Moved on and closed it is followed all the same.
    place.append("a.log.5", "late\n");
    assert_eq!(steps.look().await, ["a.log: late"]);
}

#[tokio::test]
async fn what_grew_while_it_was_closed_and_then_moved_is_read_at_once() {
    let place = Place::new();
    place.append("a.log", "one\n");
    place.append("b.log", "two\n");
    let mut steps = Steps::new(&place, "*.log", &format!("{BEGINNING}\nmax_open_files = 1"));
    let mut lines = steps.look().await;
    lines.sort();
    assert_eq!(lines, ["a.log: one", "b.log: two"]);
    place.append("b.log", "three\n"); // now it is the one that is open
    assert_eq!(steps.look().await, ["b.log: three"]);
    assert_eq!(place.held("a.log"), 0);
    place.append("a.log", "last\n");
    steps.tail.follow_changes();
    place.rename("a.log", "a.log.1"); // between a look and the read after it
    assert_eq!(steps.read_ready().await, ["a.log: last"]);
}

#[tokio::test]
async fn a_deleted_file_is_read_to_its_end_and_then_closed() {
    let place = Place::new();
    place.append("a.log", numbered(0..5));
    let mut agent = place.start("a.log", BEGINNING);
    let all = agent.memory.acquire(agent.memory.capacity() - 3800).await; // room for one small read
    let first = agent.next().await;
    place.append("a.log", numbered(5..9));
    place.append("a.log", "last");
    place.remove("a.log");
    resolve(first, Fate::Delivered);
    drop(all);
    let mut lines = expected(5..9);
    lines.push("last".to_owned());
    assert_eq!(agent.lines(5).await, lines);
    until("the deleted file is closed", || place.held("a.log") == 0).await;
    place.append("a.log", "new\n");
    assert_eq!(agent.lines(1).await, ["new"]);
    agent.finish().await;
}

#[tokio::test]
async fn a_deleted_file_beyond_the_limits_is_given_up_and_counted() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut agent = place.start("a.log", &format!("{BEGINNING}\ndeleted_max_age = \"300ms\""));
    agent.lines(1).await;
    let all = agent.memory.acquire(agent.memory.capacity()).await;
    place.append("a.log", numbered(0..7));
    place.remove("a.log");
    until("counted", || agent.counters.drops().get("source_gone") == Some(&7)).await;
    drop(all);
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn a_link_is_followed_to_its_new_target_after_the_old_one_is_finished() {
    let place = Place::new();
    place.append("0.txt", "one\n");
    place.append("1.txt", "two\n");
    symlink(place.path("0.txt"), place.path("a.log")).unwrap();
    symlink(place.path("0.txt"), place.path("b.log")).unwrap();
    let mut agent = place.start("*.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["one"], "two links to one file are one file");
    place.append("0.txt", "more\n");
    assert_eq!(agent.lines(1).await, ["more"]);
    fs::remove_file(place.path("b.log")).unwrap();
    symlink(place.path("1.txt"), place.path("new")).unwrap();
    place.rename("new", "a.log");
    assert_eq!(agent.lines(1).await, ["two"]);
    place.append("0.txt", "late\n");
    assert_eq!(agent.lines(1).await, ["late"]);
    agent.finish().await;
}

#[tokio::test]
async fn the_target_of_a_link_may_be_rotated() {
    let place = Place::new();
    place.append("0.txt", "one\n");
    symlink(place.path("0.txt"), place.path("a.log")).unwrap();
    let mut agent = place.start("*.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["one"]);
    place.append("0.txt", "two\n");
    place.rename("0.txt", "0.txt.1");
    place.append("0.txt", "three\n");
    assert_eq!(agent.lines(2).await, ["two", "three"]);
    agent.finish().await;
}

/// Outputs write what is equal in `order` one after the other: nothing of a file may overtake what was in its path before.
#[tokio::test]
async fn a_file_and_its_successor_are_one_order_also_after_a_restart_and_other_files_are_not() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut agent = place.start("*.log", BEGINNING);
    let first = agent.next().await;
    let (order, source) = (first.order, first.source);
    resolve(first, Fate::Delivered);
    place.rename("a.log", "a.log.1");
    place.append("a.log", "two\n");
    let second = agent.next().await;
    assert_eq!(second.order, order);
    assert_ne!(second.source, source);
    resolve(second, Fate::Delivered);
    place.append("b.log", "three\n");
    let other = agent.next().await;
    assert_ne!(other.order, order);
    resolve(other, Fate::Delivered);
    agent.finish().await;

    place.append("a.log", "four\n");
    let mut agent = place.start("*.log", BEGINNING);
    let after = agent.next().await;
    assert_eq!(after.order, order);
    resolve(after, Fate::Delivered);
    agent.finish().await;
}
