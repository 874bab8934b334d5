//! Which file is which: an inode alone says nothing, and neither do equal beginnings.

use super::harness::Place;
use super::steps::Steps;

/// Only one file is open: the inode of the other may be used again.
const ONE_OPEN: &str = "start = \"beginning\"\nmax_open_files = 1";

async fn closed(place: &Place, pattern: &str, text: &str) -> Steps {
    place.append("a.log", text);
    place.append("z.log", "z\n");
    let mut steps = Steps::new(place, pattern, ONE_OPEN);
    steps.poll().await;
    steps
}

#[tokio::test]
async fn an_inode_used_again_by_a_file_that_does_not_match_is_not_followed() {
    for old in ["old\n", ""] {
        let place = Place::new();
        let mut steps = closed(&place, "*.log", old).await;
        place.reuse("a.log", "a.txt", "not a log\n");
        assert_eq!(steps.poll().await, [""; 0]);
        assert_eq!(steps.look().await, [""; 0]);
        place.append("a.log", "new\n");
        assert_eq!(steps.look().await, ["a.log: new"]);
    }
}

#[tokio::test]
async fn an_inode_used_again_by_a_file_that_matches_is_that_file() {
    for old in ["old\n", ""] {
        let place = Place::new();
        let mut steps = closed(&place, "*.log", old).await;
        place.reuse("a.log", "b.log", "other\n");
        assert_eq!(steps.look().await, ["b.log: other"]);
        place.append("b.log", "more\n");
        assert_eq!(steps.look().await, ["b.log: more"]);
    }
}

#[tokio::test]
async fn an_inode_used_again_and_renamed_is_no_rename_of_the_old_file() {
    for old in ["old\n", ""] {
        let place = Place::new();
        let mut steps = closed(&place, "*.log", old).await;
        place.reuse("a.log", "b.tmp", "other\n");
        place.rename("b.tmp", "b.log");
        assert_eq!(steps.look().await, ["b.log: other"]);
        let place = Place::new();
        let mut steps = closed(&place, "*.log", old).await;
        place.reuse("a.log", "c.log", "rotated at once\n");
        place.rename("c.log", "c.log.1");
        assert_eq!(steps.look().await, ["c.log: rotated at once"]);
    }
}

#[tokio::test]
async fn an_empty_file_that_is_closed_and_renamed_is_still_that_file() {
    let place = Place::new();
    let mut steps = closed(&place, "*.log", "").await;
    place.append("a.log", "late\n");
    place.rename("a.log", "a.log.1");
    place.append("a.log", "new\n");
    assert_eq!(steps.look().await, ["a.log: late", "a.log: new"]);
}

#[tokio::test]
async fn an_inode_used_again_while_the_agent_was_stopped_is_another_file() {
    for (new, expected) in [("a.txt", None), ("b.log", Some("b.log: other"))] {
        let place = Place::new();
        drop(closed(&place, "*.log", "").await);
        place.reuse("a.log", new, "other\n");
        place.append("a.log", "new\n");
        let mut lines = Steps::new(&place, "*.log", ONE_OPEN).poll().await;
        lines.sort();
        let wanted: Vec<&str> = ["a.log: new"].into_iter().chain(expected).collect();
        assert_eq!(lines, wanted);
    }
}
