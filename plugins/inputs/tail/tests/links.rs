//! Links and their targets: each line once, and no file is hidden behind a path that led elsewhere before.

use std::fs;
use std::os::unix::fs::symlink;

use super::harness::Place;
use super::steps::Steps;

const BEGINNING: &str = "start = \"beginning\"";

/// A file of one line, and two links to it.
fn two_links() -> Place {
    let place = Place::new();
    place.append("0.txt", "one\n");
    symlink(place.path("0.txt"), place.path("a.log")).unwrap();
    symlink(place.path("0.txt"), place.path("b.log")).unwrap();
    place
}

#[tokio::test]
async fn a_file_in_the_place_of_a_second_link_is_read() {
    let place = two_links();
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    assert_eq!(steps.poll().await, ["a.log: one"]);
    place.remove("b.log");
    place.append("b.log", "its own\n");
    assert_eq!(steps.look().await, ["b.log: its own"]);
    place.remove("b.log");
    place.append("1.txt", "another\n");
    symlink(place.path("1.txt"), place.path("b.log")).unwrap();
    assert_eq!(steps.look().await, ["b.log: another"]);
}

#[tokio::test]
async fn a_second_link_that_changes_unseen_is_found_by_the_walk() {
    let place = two_links();
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    steps.poll().await;
    place.remove("b.log");
    place.append("b.log", "its own\n");
    steps.tail.watch.drain(|_| {}); // the notification is lost
    assert_eq!(steps.look().await, ["b.log: its own"]);
}

#[tokio::test]
async fn a_file_is_followed_by_its_second_link_when_the_first_is_removed() {
    let place = two_links();
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    steps.poll().await;
    place.remove("a.log");
    place.append("0.txt", "unfinished");
    assert_eq!(steps.look().await, [""; 0]);
    tokio::time::sleep(super::harness::quick().deleted_quiet * 2).await;
    assert_eq!(steps.look().await, [""; 0], "it has not left");
    place.append("0.txt", " no more\n");
    assert_eq!(steps.look().await, ["a.log: unfinished no more"]);
}

#[tokio::test]
async fn of_a_link_and_its_target_each_line_is_read_once_across_a_rotation() {
    let place = Place::new();
    place.append("z.log", "one\n");
    symlink(place.path("z.log"), place.path("a.log")).unwrap();
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    assert_eq!(steps.poll().await, ["a.log: one"]);
    place.append("z.log", "two\n");
    place.rename("z.log", "z.log.1");
    place.append("z.log", "three\n");
    let mut texts: Vec<String> = steps.look().await;
    texts.extend(steps.look().await);
    let mut texts: Vec<&str> = texts.iter().filter_map(|line| line.split(": ").nth(1)).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["three", "two"]);
    place.append("z.log", "four\n");
    let lines = steps.look().await;
    assert!(lines.len() == 1 && lines[0].ends_with("four"), "{lines:?}");
}

#[tokio::test]
async fn links_that_are_gone_are_forgotten() {
    let place = Place::new();
    for round in 0..3 {
        place.append(&format!("{round}.txt"), "x\n");
    }
    symlink(place.path("0.txt"), place.path("a.log")).unwrap();
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    steps.poll().await;
    for round in 1..3 {
        fs::remove_file(place.path("a.log")).unwrap();
        symlink(place.path(&format!("{round}.txt")), place.path("a.log")).unwrap();
        assert_eq!(steps.look().await, ["a.log: x"]);
    }
    assert_eq!(steps.tail.links.len(), 1);
}

fn linked() -> Place {
    let place = Place::new();
    fs::create_dir(place.path("data")).unwrap();
    place.append("data/0.txt", "one\n");
    symlink(place.path("data/0.txt"), place.path("a.log")).unwrap();
    place
}

#[tokio::test]
async fn the_copy_of_a_link_s_target_is_found_beside_the_target() {
    for stopped in [false, true] {
        let place = linked();
        let mut steps = Steps::new(&place, "a.log", BEGINNING);
        assert_eq!(steps.poll().await, ["a.log: one"]);
        if stopped {
            drop(steps);
            steps = Steps::new(&Place::new(), "none", "");
        }
        place.append("data/0.txt", "two\n");
        place.copy("data/0.txt", "data/0.txt.1");
        place.truncate("data/0.txt");
        place.append("data/0.txt", "3\n");
        if stopped {
            steps = Steps::new(&place, "a.log", "");
        }
        assert_eq!(steps.look().await, ["a.log: two", "a.log: 3"], "stopped: {stopped}");
    }
}

#[tokio::test]
async fn the_target_of_a_link_may_be_rotated_while_the_agent_is_stopped() {
    let place = linked();
    Steps::new(&place, "a.log", BEGINNING).poll().await;
    place.append("data/0.txt", "two\n");
    place.rename("data/0.txt", "data/0.txt.1");
    place.append("data/0.txt", "three\n");
    let mut steps = Steps::new(&place, "a.log", "");
    assert_eq!(steps.poll().await, ["a.log: two", "a.log: three"]);
}

#[tokio::test]
async fn the_target_of_a_link_may_be_rotated_while_it_is_closed_and_unseen() {
    let place = linked();
    place.append("z.log", "z\n");
    let options = format!("{BEGINNING}\nmax_open_files = 1");
    let mut steps = Steps::new(&place, "*.log", &options);
    assert_eq!(steps.poll().await.len(), 2);
    place.append("data/0.txt", "two\n");
    place.rename("data/0.txt", "data/0.txt.1");
    place.append("data/0.txt", "three\n");
    steps.tail.watch.drain(|_| {}); // the notifications are lost
    assert_eq!(steps.poll().await, ["a.log: two", "a.log: three"]);
}

#[tokio::test]
async fn a_copy_that_matches_beside_a_link_s_target_is_held_back() {
    let place = linked();
    let mut steps = Steps::new(&place, "{a.log,data/*}", BEGINNING);
    assert_eq!(steps.poll().await, ["a.log: one"]);
    place.copy("data/0.txt", "data/0.txt.1");
    assert_eq!(steps.look().await, [""; 0]);
    place.truncate("data/0.txt");
    assert_eq!(steps.look().await, [""; 0]);
    place.append("data/0.txt", "2\n");
    assert_eq!(steps.look().await, ["a.log: 2"]);
}
