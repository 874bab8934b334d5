//! Files that begin alike: copies, and files that only look like copies.

use std::time::Duration;

use super::harness::{Place, quick};
use super::steps::Steps;
use crate::tail::Timing;

const BEGINNING: &str = "start = \"beginning\"";

fn header() -> String {
    format!("{}\n", "#".repeat(1500))
}

fn without_header(lines: &[String]) -> Vec<&str> {
    lines.iter().filter(|line| !line.contains('#')).map(String::as_str).collect()
}

#[tokio::test]
async fn ten_files_with_the_same_first_kilobyte_are_read_while_they_grow() {
    let place = Place::new();
    place.append("app.log", header() + "the first\n");
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    steps.poll().await;
    for round in 0..5 {
        for file in 1..10 {
            let name = format!("app-{file}.log");
            place.append(&name, if round == 0 { header() } else { format!("{file} {round}\n") });
        }
        place.append("app.log", format!("0 {round}\n"));
        let lines = steps.look().await;
        let mut wanted = vec![format!("app.log: 0 {round}")];
        wanted.extend(
            (1..10).filter(|_| round > 0).map(|file| format!("app-{file}.log: {file} {round}")),
        );
        let mut lines = without_header(&lines);
        lines.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(lines, wanted);
    }
}

#[tokio::test]
async fn a_file_longer_than_the_one_it_begins_like_is_no_copy_of_it() {
    let place = Place::new();
    place.append("app.log", "one\n");
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    steps.poll().await;
    place.append("app-2.log", "one\ntwo\n");
    assert_eq!(steps.look().await, ["app-2.log: one", "app-2.log: two"]);
}

#[tokio::test]
async fn what_grows_like_its_original_is_read_after_a_while() {
    let place = Place::new();
    place.append("app.log", "0\n");
    let timing = Timing { hold: Duration::from_millis(20), ..quick() };
    let mut steps = Steps::timed(&place, "*.log", BEGINNING, timing);
    steps.poll().await;
    place.append("app-2.log", "0\n");
    let mut lines = steps.look().await;
    for round in 1..30 {
        place.append("app.log", format!("{round}\n"));
        place.append("app-2.log", format!("{round}\n"));
        lines.extend(steps.look().await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(lines.iter().any(|line| line.starts_with("app-2.log: 0")));
}

#[tokio::test]
async fn a_copy_is_held_back_while_it_is_made() {
    let place = Place::new();
    place.append("app.log", "one\ntwo\nthree\n");
    let mut steps = Steps::new(&place, "*.log*", BEGINNING);
    steps.poll().await;
    for part in ["on", "e\ntwo", "\nthree\n"] {
        place.append("app.log.1", part);
        assert_eq!(steps.look().await, [""; 0]);
    }
    place.truncate("app.log");
    place.append("app.log", "4\n");
    assert_eq!(steps.look().await, ["app.log: 4"]);
    assert_eq!(steps.look().await, [""; 0]);
    assert!(steps.tail.held.is_empty());
}
