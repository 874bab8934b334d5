//! A receipt writes its position before it returns, whatever the loop is about: here nothing runs but the receipts.

use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use sentinel_contract::{Batch, Fate};
use tempfile::TempDir;

use super::harness::{Place, expected, logs, numbered, resolve, text};
use super::steps::Steps;
use crate::tail::positions::Positions;

const BEGINNING: &str = "start = \"beginning\"";

/// What the log on disk says of the file with this name, as an agent finds it after a kill: inode and offset.
fn saved(place: &Place, name: &str) -> Vec<(u64, u64)> {
    let copy = TempDir::new().unwrap();
    let path = copy.path().join("x.log");
    fs::copy(place.positions(), &path).unwrap();
    let (positions, found, started) = Positions::open(path);
    started.unwrap();
    assert_eq!(found.damaged, 0);
    let named = positions.records().filter(|record| record.path == place.path(name));
    let mut saved: Vec<_> = named.map(|record| (record.inode.ino, record.mark.offset)).collect();
    saved.sort_unstable();
    saved
}

fn offsets(place: &Place) -> Vec<u64> {
    saved(place, "a.log").iter().map(|(_, offset)| *offset).collect()
}

fn lines(batches: &[Batch]) -> Vec<String> {
    batches.iter().flat_map(logs).map(text).collect()
}

/// A file, and three batches of it under way: up to 7, 14 and 21.
async fn three(place: &Place) -> (Steps, [Batch; 3]) {
    place.append("a.log", "");
    let mut steps = Steps::new(place, "a.log", BEGINNING);
    let mut batches = Vec::new();
    for number in 0..3 {
        place.append("a.log", numbered(number..number + 1));
        batches.extend(steps.send().await);
    }
    steps.tail.save();
    (steps, batches.try_into().unwrap())
}

#[tokio::test]
async fn a_position_is_written_when_its_receipt_returns() {
    let place = Place::new();
    let (steps, [first, second, third]) = three(&place).await;
    assert_eq!(offsets(&place), [0]);
    resolve(first, Fate::Delivered);
    assert_eq!(offsets(&place), [7]);
    resolve(third, Fate::Delivered);
    assert_eq!(offsets(&place), [7], "not over a gap");
    resolve(second, Fate::Rejected);
    assert_eq!(offsets(&place), [21]);
    drop(steps);
}

#[tokio::test]
async fn a_batch_for_two_outputs_is_acknowledged_by_the_second() {
    let place = Place::new();
    let (_steps, [mut first, _second, _third]) = three(&place).await;
    let one = first.receipt.take().unwrap();
    let other = one.clone();
    one.resolve(Fate::Delivered);
    assert_eq!(offsets(&place), [0]);
    other.resolve(Fate::Delivered);
    assert_eq!(offsets(&place), [7]);
}

#[tokio::test]
async fn no_position_moves_over_what_is_lost_before_the_loop_hears_of_it() {
    let place = Place::new();
    let (mut steps, [first, second, third]) = three(&place).await;
    resolve(first, Fate::Delivered);
    resolve(second, Fate::Lost);
    place.append("a.log", numbered(3..4));
    let fourth = steps.send().await.pop().unwrap(); // it goes on after what is lost
    resolve(third, Fate::Delivered);
    resolve(fourth, Fate::Delivered);
    assert_eq!(offsets(&place), [7]);
    steps.tail.take_lost();
    tokio::time::sleep(Duration::from_millis(20)).await; // its pause
    steps.notice();
    let again = steps.send().await;
    assert_eq!(lines(&again), expected(1..4), "in order");
    for batch in again {
        resolve(batch, Fate::Delivered);
    }
    assert_eq!(offsets(&place), [28]);
}

#[tokio::test]
async fn a_position_that_cannot_be_written_is_said_by_the_loop() {
    let place = Place::new();
    let (mut steps, [first, second, _third]) = three(&place).await;
    steps.tail.books.fill_disk();
    resolve(first, Fate::Delivered);
    assert_eq!(offsets(&place), [0]);
    let woken = steps.tail.books.arrived.notified();
    tokio::time::timeout(Duration::from_secs(5), woken).await.expect("the loop is woken");
    steps.tail.save();
    let note = steps.counters.notes().values().next().cloned().unwrap_or_default();
    assert!(note.starts_with("positions cannot be saved: No space left"), "{note}");
    resolve(second, Fate::Delivered); // there is no log to write to
    tokio::time::sleep(Duration::from_millis(1100)).await; // the next sync
    steps.tail.save();
    assert!(steps.counters.notes().is_empty(), "it was written anew");
    assert_eq!(offsets(&place), [14]);
}

#[tokio::test]
async fn the_first_position_after_a_sync_wakes_the_loop_for_the_next() {
    let place = Place::new();
    let (steps, batches) = three(&place).await;
    let books = &steps.tail.books;
    books.sync().unwrap();
    let mut woken = 0;
    for batch in batches {
        resolve(batch, Fate::Delivered);
        let soon = tokio::time::timeout(Duration::from_millis(20), books.arrived.notified());
        woken += usize::from(soon.await.is_ok());
    }
    assert_eq!(woken, 1);
    books.sync().unwrap();
    assert!(!books.needs_sync());
}

#[tokio::test]
async fn no_receipt_brings_the_position_of_a_deleted_file_back() {
    let place = Place::new();
    let (mut steps, [first, second, third]) = three(&place).await;
    let mut writer = fs::File::options().append(true).open(place.path("a.log")).unwrap();
    place.remove("a.log");
    steps.notice();
    assert_eq!(offsets(&place), [0; 0]);
    resolve(first, Fate::Delivered);
    writer.write_all(b"its last\n").unwrap();
    let last = steps.send().await.pop().unwrap();
    resolve(third, Fate::Delivered);
    drop(steps); // and not when nobody follows it any more
    resolve(second, Fate::Delivered);
    resolve(last, Fate::Delivered);
    assert_eq!(offsets(&place), [0; 0]);
}

#[tokio::test]
async fn receipts_of_a_file_that_is_not_followed_any_more_move_nothing() {
    let place = Place::new();
    let (mut steps, [first, second, _third]) = three(&place).await;
    let id = steps.tail.files.ids()[0];
    steps.tail.forget_file(id); // its inode is in use again
    resolve(first, Fate::Delivered);
    assert_eq!(offsets(&place), [0]);
    resolve(second, Fate::Lost);
    steps.tail.take_lost();
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&1));
}

#[tokio::test]
async fn a_deleted_file_is_kept_until_its_receipts_have_come() {
    let place = Place::new();
    let (mut steps, [_first, _second, third]) = three(&place).await;
    place.remove("a.log");
    steps.notice();
    assert!(steps.send().await.is_empty(), "it is read to its end");
    tokio::time::sleep(Duration::from_millis(300)).await; // its writer is gone
    steps.notice();
    resolve(third, Fate::Lost);
    steps.tail.take_lost();
    tokio::time::sleep(Duration::from_millis(20)).await; // its pause
    steps.notice();
    assert_eq!(lines(&steps.send().await), expected(2..3));
}

#[tokio::test]
async fn what_was_lost_before_a_deleted_file_was_cut_off_is_gone() {
    let place = Place::new();
    let (mut steps, [first, _second, _third]) = three(&place).await;
    let writer = fs::File::options().write(true).open(place.path("a.log")).unwrap();
    place.remove("a.log");
    steps.notice();
    writer.set_len(0).unwrap();
    steps.notice();
    resolve(first, Fate::Lost);
    steps.tail.take_lost();
    assert_eq!(steps.counters.drops().get("source_gone"), Some(&1));
}

#[tokio::test]
async fn what_was_sent_before_a_truncation_is_acknowledged_in_the_copy() {
    let place = Place::new();
    let (mut steps, [first, second, _third]) = three(&place).await;
    resolve(first, Fate::Delivered);
    place.copy("a.log", "a.log.1");
    place.truncate("a.log");
    steps.notice();
    resolve(second, Fate::Delivered);
    use std::os::unix::fs::MetadataExt as _;
    let inode = |name: &str| fs::metadata(place.path(name)).unwrap().ino();
    let mut wanted = vec![(inode("a.log"), 0), (inode("a.log.1"), 14)];
    wanted.sort_unstable();
    assert_eq!(saved(&place, "a.log"), wanted);
    drop(steps); // a kill
    place.append("a.log", "new\n");
    let again = Steps::new(&place, "a.log", BEGINNING).poll().await;
    assert_eq!(again, ["a.log: line 2", "a.log: new"]);
}

#[tokio::test]
async fn a_renamed_file_keeps_the_name_of_its_position() {
    let place = Place::new();
    let (mut steps, [first, _second, _third]) = three(&place).await;
    place.rename("a.log", "a.log.1");
    steps.notice();
    place.append("a.log.1", "its last\n");
    steps.send().await;
    resolve(first, Fate::Delivered);
    assert_eq!(offsets(&place), [7]);
}

#[tokio::test]
async fn a_receipt_that_finds_the_books_in_use_is_written_after() {
    let place = Place::new();
    let (steps, [first, _second, _third]) = three(&place).await;
    let mut resolving = None;
    steps.tail.books.in_use(|| {
        let thread = std::thread::spawn(move || resolve(first, Fate::Delivered));
        std::thread::sleep(Duration::from_millis(50));
        resolving = Some(thread);
    });
    resolving.unwrap().join().unwrap();
    assert_eq!(offsets(&place), [7]);
}

/// Receipts of several outputs, on threads of their own, while the loop syncs and writes the log anew all the time.
#[test]
fn many_receipts_at_once_lose_no_position() {
    let place = Place::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    place.append("a.log", "");
    place.append("b.log", "");
    let mut steps = Steps::new(&place, "*.log", BEGINNING);
    let mut batches = Vec::new();
    for number in 0..300 {
        place.append("a.log", numbered(number..number + 1));
        place.append("b.log", numbered(number..number + 1));
        batches.extend(runtime.block_on(steps.send()));
    }
    assert!(batches.len() > 500, "they are many");
    let (even, odd): (Vec<_>, Vec<_>) =
        batches.into_iter().enumerate().partition(|(index, _)| index % 2 == 0);
    let together = Barrier::new(2);
    std::thread::scope(|scope| {
        let resolvers = [even, odd].map(|batches| {
            let together = &together;
            scope.spawn(move || {
                together.wait();
                for (_, batch) in batches {
                    resolve(batch, Fate::Delivered);
                }
            })
        });
        while resolvers.iter().any(|resolver| !resolver.is_finished()) {
            steps.tail.books.compact().unwrap();
            steps.tail.books.sync().unwrap();
        }
    });
    let length = numbered(0..300).len() as u64;
    for name in ["a.log", "b.log"] {
        let saved = saved(&place, name);
        assert_eq!(saved.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(), [length]);
    }
}

/// The disk takes its time over a new log: this one is a FIFO that nobody reads.
#[tokio::test]
async fn a_receipt_does_not_wait_for_the_disk() {
    let place = Place::new();
    let (steps, [first, second, _third]) = three(&place).await;
    let temporary = place.positions().with_extension("tmp");
    assert!(Command::new("mkfifo").arg(&temporary).status().unwrap().success());
    let books = Arc::clone(&steps.tail.books);
    let writing = std::thread::spawn(move || books.compact());
    let (done, is_done) = std::sync::mpsc::sync_channel(1);
    let resolving = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100)); // it writes by now
        resolve(first, Fate::Delivered);
        done.send(()).unwrap();
    });
    let returned = is_done.recv_timeout(Duration::from_secs(5));
    let (written, offsets_then) = (writing.is_finished(), offsets(&place));
    let _read = fs::read(&temporary).unwrap(); // before anything can fail: who waits, waits for this
    returned.expect("a receipt waits");
    assert!(!written);
    assert_eq!(offsets_then, [7]);
    assert!(writing.join().unwrap().is_err(), "a FIFO cannot be synced");
    resolving.join().unwrap();
    fs::remove_file(&temporary).unwrap();
    resolve(second, Fate::Delivered);
    assert_eq!(offsets(&place), [14], "the log before goes on");
}

/// A spawned agent, whose loop thread runs: the log is right at once, not when that wakes up.
#[tokio::test]
async fn an_agent_that_is_killed_after_a_receipt_sends_nothing_of_it_again() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("a.log", BEGINNING);
    let batch = agent.next().await;
    resolve(batch, Fate::Delivered);
    assert_eq!(offsets(&place), [21]);
    agent.kill().await;
    let mut agent = place.start("a.log", BEGINNING);
    agent.is_silent().await;
    agent.finish().await;
}
