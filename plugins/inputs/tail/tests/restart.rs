//! What the saved positions are for: the agent is killed, and starts again.

use std::fs;
use std::io::Write as _;

use sentinel_contract::Fate;

use super::harness::{Place, expected, numbered, resolve};
use super::steps::Steps;

const BEGINNING: &str = "start = \"beginning\"";

#[tokio::test]
async fn a_killed_agent_goes_on_where_it_was_acknowledged() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(3).await;
    place.append("a.log", numbered(3..5));
    let unheard = agent.next().await;
    super::harness::until("the first receipt is written", || {
        fs::read_to_string(place.positions()).unwrap().contains(" 21 ")
    })
    .await;
    std::mem::forget(unheard.receipt);
    agent.kill().await;
    let mut agent = place.start("a.log", "");
    assert_eq!(agent.lines(2).await, expected(3..5));
    agent.finish().await;
}

#[tokio::test]
async fn a_file_rotated_while_stopped_is_finished_and_the_new_one_read_from_its_beginning() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(3).await;
    agent.finish().await;
    place.append("a.log", numbered(3..5));
    place.rename("a.log", "a.log.1");
    place.append("a.log", numbered(5..7));
    let mut agent = place.start("a.log", ""); // start = "end" is for files that were never seen
    assert_eq!(agent.lines(4).await, expected(3..7));
    agent.is_silent().await;
    agent.finish().await;
    let mut agent = place.start("a.log", "");
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn a_file_copied_and_truncated_while_stopped_is_finished_in_the_copy() {
    for pattern in ["a.log", "a.log*"] {
        let place = Place::new();
        place.append("a.log", numbered(0..3));
        let mut agent = place.start(pattern, BEGINNING);
        agent.lines(3).await;
        agent.finish().await;
        place.append("a.log", numbered(3..5));
        place.copy("a.log", "a.log.1");
        place.truncate("a.log");
        place.append("a.log", numbered(5..7));
        let mut agent = place.start(pattern, "");
        assert_eq!(agent.lines(4).await, expected(3..7));
        agent.is_silent().await;
        agent.finish().await;
    }
}

#[tokio::test]
async fn a_file_that_came_while_stopped_is_read_from_its_beginning() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("*.log", "");
    agent.is_silent().await;
    agent.finish().await;
    place.append("b.log", "new\n");
    let mut agent = place.start("*.log", "");
    assert_eq!(agent.lines(1).await, ["new"]);
    agent.finish().await;
}

#[tokio::test]
async fn an_inode_used_again_is_a_new_file() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(3).await;
    agent.finish().await;
    // The same inode with other content is what a reused inode looks like.
    fs::write(place.path("a.log"), "something else, and longer than it was before\n").unwrap();
    let mut agent = place.start("a.log", "");
    assert_eq!(agent.lines(1).await, ["something else, and longer than it was before"]);
    agent.finish().await;
}

#[tokio::test]
async fn files_with_the_same_first_kilobyte_are_different_files() {
    let place = Place::new();
    let header = format!("{}\n", "#".repeat(2000));
    place.append("a.log", format!("{header}a\n"));
    place.append("b.log", format!("{header}b\n"));
    let mut agent = place.start("*.log", BEGINNING);
    assert_eq!(agent.lines(4).await.iter().filter(|line| line.len() == 1).count(), 2);
    agent.finish().await;
    place.append("a.log", "more a\n");
    place.append("b.log", "more b\n");
    let mut agent = place.start("*.log", BEGINNING);
    let mut lines = agent.lines(2).await;
    lines.sort();
    assert_eq!(lines, ["more a", "more b"]);
    agent.finish().await;
}

#[tokio::test]
async fn files_of_ten_bytes_are_followed_and_found_again() {
    let place = Place::new();
    for name in ["a.log", "b.log", "c.log"] {
        place.append(name, "123456789\n"); // equal files: only their inodes differ
    }
    let mut agent = place.start("*.log", BEGINNING);
    assert_eq!(agent.lines(3).await, ["123456789"; 3]);
    agent.finish().await;
    place.append("b.log", "b\n");
    let mut agent = place.start("*.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["b"]);
    agent.finish().await;
}

#[tokio::test]
async fn a_damaged_positions_log_costs_only_what_is_damaged() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    place.append("b.log", numbered(0..3));
    let mut agent = place.start("*.log", BEGINNING);
    agent.lines(6).await;
    agent.finish().await;
    let text = fs::read_to_string(place.positions()).unwrap();
    let damaged: String = text
        .lines()
        .map(|line| line.to_owned() + "\n")
        .map(|line| if line.contains("b.log") { line.replacen(" p ", " q ", 1) } else { line })
        .collect();
    let mut file = fs::File::create(place.positions()).unwrap();
    file.write_all(&[0; 512]).unwrap();
    file.write_all(b"\n\xff\xfe garbage\n").unwrap();
    file.write_all(damaged.as_bytes()).unwrap();
    file.write_all(b"0123abcd p 1 2 3").unwrap(); // torn
    drop(file);
    fs::remove_file(place.positions().with_extension("old")).unwrap(); // it would fill in for b
    let mut agent = place.start("*.log", BEGINNING);
    assert_eq!(agent.lines(3).await, expected(0..3), "b is read again, a is not");
    agent.finish().await;
    let mut agent = place.start("*.log", BEGINNING);
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn a_state_folder_that_cannot_be_written_is_said_and_does_not_stop_reading() {
    let place = Place::new();
    let folder = place.positions().parent().unwrap().to_owned();
    fs::write(&folder, "a file where the folder should be").unwrap();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("a.log", BEGINNING);
    assert_eq!(agent.lines(3).await, expected(0..3));
    assert!(
        agent.counters.notes().values().any(|note| note.starts_with("positions cannot be saved"))
    );
    fs::remove_file(&folder).unwrap();
    super::harness::until("mended", || agent.counters.notes().is_empty()).await;
    agent.finish().await;
    let mut agent = place.start("a.log", BEGINNING);
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn what_was_never_acknowledged_is_read_again_after_a_kill() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("a.log", BEGINNING);
    let batch = agent.next().await;
    agent.stop.reading.cancel();
    agent.stop.finished.cancel();
    resolve(batch, Fate::Lost);
    agent.finish().await;
    let mut agent = place.start("a.log", "");
    assert_eq!(agent.lines(3).await, expected(0..3));
    agent.finish().await;
}

#[tokio::test]
async fn files_rotated_one_after_the_other_are_finished_in_their_order_after_a_restart() {
    let place = Place::new();
    place.append("a.log", numbered(0..10));
    let mut agent = place.start("a.log", BEGINNING);
    agent.lines(10).await;
    let all = agent.memory.acquire(agent.memory.capacity()).await; // reading stops
    place.append("a.log", numbered(10..3000));
    place.rename("a.log", "a.log.1");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await; // the kernel's clock for files ticks every 4 ms
    place.append("a.log", numbered(3000..6000));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await; // as long as it likes to look around
    agent.kill().await;
    drop(all);
    place.rename("a.log.1", "a.log.2");
    place.rename("a.log", "a.log.1");
    place.append("a.log", numbered(6000..9000));
    let options = format!("{BEGINNING}\nread_chunk = \"4KiB\"");
    let mut agent = place.start("a.log", &options);
    assert_eq!(agent.lines(8990).await, expected(10..9000));
    agent.finish().await;
}

#[tokio::test]
async fn a_line_that_was_begun_before_a_kill_comes_whole_and_once() {
    let place = Place::new();
    place.append("a.log", "one\ntw");
    let mut agent = place.start("a.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["one"]);
    agent.kill().await;
    place.append("a.log", "o\nthree\n");
    let mut agent = place.start("a.log", "");
    assert_eq!(agent.lines(2).await, ["two", "three"]);
    agent.finish().await;
}

/// As gzip leaves it: the length of what is in it stands last.
fn gzipped(length: u32) -> Vec<u8> {
    let mut bytes = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03 data, and a checksum ".to_vec();
    bytes.extend(length.to_le_bytes());
    bytes
}

#[tokio::test]
async fn what_was_compressed_unread_while_stopped_is_counted_once() {
    for (length, counted, truncated) in
        [(4, None, false), (40, Some(&1), false), (40, Some(&1), true)]
    {
        let place = Place::new();
        place.append("a.log.2.gz", gzipped(400)); // compressed long ago
        place.append("a.log", "one\n");
        let mut steps = Steps::new(&place, "a.log", BEGINNING);
        steps.poll().await;
        drop(steps);
        tokio::time::sleep(std::time::Duration::from_millis(20)).await; // the kernel's clock for files ticks every 4 ms
        if truncated {
            place.truncate("a.log");
        } else {
            place.rename("a.log", "a.log.1");
        }
        place.append("a.log", "new\n");
        place.append("a.log.1.gz", gzipped(length));
        let _compressed = fs::remove_file(place.path("a.log.1"));
        let mut steps = Steps::new(&place, "a.log", "");
        assert_eq!(steps.poll().await, ["a.log: new"]);
        assert_eq!(steps.counters.drops().get("source_gone"), counted);
        drop(steps);
        let steps = Steps::new(&place, "a.log", "");
        assert_eq!(steps.counters.drops().get("source_gone"), None);
    }
}
