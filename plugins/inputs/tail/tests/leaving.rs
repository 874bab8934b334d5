//! Files that leave: renamed away, deleted, out of reach.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::harness::{Place, numbered, quick};
use super::steps::Steps;
use crate::tail::Timing;

const BEGINNING: &str = "start = \"beginning\"";

#[tokio::test]
async fn the_last_line_of_a_renamed_file_waits_while_no_other_has_taken_its_place() {
    let place = Place::new();
    place.append("a.log", "one\ntw");
    let timing =
        Timing { quiet: Duration::ZERO, deleted_quiet: Duration::from_secs(60), ..quick() };
    let mut steps = Steps::timed(&place, "a.log", BEGINNING, timing);
    assert_eq!(steps.poll().await, ["a.log: one"]);
    place.rename("a.log", "a.log.1");
    assert_eq!(steps.look().await, [""; 0]);
    assert_eq!(steps.look().await, [""; 0], "its writer may be in the middle of it");
    place.append("a.log.1", "o\nthr");
    assert_eq!(steps.look().await, ["a.log: two"]);
    place.append("a.log", "four\n");
    let mut lines = steps.look().await;
    lines.extend(steps.look().await);
    lines.sort();
    assert_eq!(lines, ["a.log: four", "a.log: thr"]);
}

#[tokio::test]
async fn deleted_files_beyond_the_limit_of_bytes_are_given_up_oldest_first() {
    let place = Place::new();
    for name in ["a.log", "b.log"] {
        place.append(name, "one\n");
    }
    let options = format!("{BEGINNING}\ndeleted_max_bytes = \"1KiB\"");
    let mut steps = Steps::new(&place, "*.log", &options);
    steps.poll().await;
    for name in ["a.log", "b.log"] {
        place.append(name, numbered(0..100)); // 790 bytes
        place.remove(name);
        steps.tail.follow_changes();
    }
    assert_eq!(steps.look().await.len(), 100, "those of b.log");
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&100));
}

#[tokio::test]
async fn of_a_huge_file_given_up_the_lines_are_estimated() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let options = format!("{BEGINNING}\ndeleted_max_bytes = \"1KiB\"");
    let mut steps = Steps::new(&place, "a.log", &options);
    steps.poll().await;
    let mut file = fs::File::options().append(true).open(place.path("a.log")).unwrap();
    let line = "x".repeat((1 << 20) - 1) + "\n";
    for _ in 0..64 {
        file.write_all(line.as_bytes()).unwrap();
    }
    file.set_len(4 + (640 << 20)).unwrap();
    place.remove("a.log");
    steps.notice();
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&640));
}

#[tokio::test]
async fn a_note_on_a_renamed_file_stays_until_it_is_mended() {
    let place = Place::new();
    place.append("a.log", "one\n");
    let mut steps = Steps::new(&place, "a.log", BEGINNING);
    steps.poll().await;
    place.rename("a.log", "a.log.1");
    steps.look().await;
    place.rename("a.log.1", "aside");
    symlink(place.path("a.log.1"), place.path("a.log.1")).unwrap(); // a loop: neither there nor gone
    steps.tail.watch.drain(|_| {});
    let noted = |steps: &Steps| steps.counters.notes().len();
    steps.notice();
    assert_eq!(noted(&steps), 1);
    steps.tail.discover(crate::tail::appear::Origin::Later);
    assert_eq!(noted(&steps), 1, "not cleared and said again at each walk");
    place.remove("a.log.1");
    place.rename("aside", "a.log.1");
    steps.look().await;
    assert_eq!(noted(&steps), 0);
}
