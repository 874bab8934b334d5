//! What moves the saved position, and what happens when data is lost on its way.

use std::fs;

use sentinel_contract::Fate;

use super::harness::{Place, expected, logs, numbered, resolve, text};
use crate::ledger::{Ledger, Outcome};
use crate::tail::identity::{Digest, Mark};

const BEGINNING: &str = "start = \"beginning\"";

fn mark(offset: u64) -> Mark {
    Mark { offset, tail: Digest::default() }
}

#[test]
fn the_position_moves_only_over_what_is_acknowledged_without_a_gap() {
    let mut ledger = Ledger::new(mark(0));
    let numbers = [10, 20, 30].map(|end| ledger.sent(mark(end)));
    assert_eq!(ledger.resolve(numbers[1], Fate::Delivered), Outcome::Nothing);
    assert_eq!(ledger.acknowledged(), mark(0));
    assert_eq!(ledger.resolve(numbers[0], Fate::Rejected), Outcome::Advanced);
    assert_eq!(ledger.acknowledged(), mark(20), "rejected is on record in the dead letters");
    assert_eq!(ledger.resolve(numbers[2], Fate::Delivered), Outcome::Advanced);
    assert!(ledger.is_settled());
}

#[test]
fn a_loss_takes_back_what_was_sent_after_it() {
    let mut ledger = Ledger::new(mark(5));
    let numbers = [10, 20, 30].map(|end| ledger.sent(mark(end)));
    assert_eq!(ledger.resolve(numbers[1], Fate::Lost), Outcome::Lost(mark(10)));
    assert_eq!(ledger.resolve(numbers[2], Fate::Delivered), Outcome::Nothing);
    assert_eq!(ledger.resolve(numbers[0], Fate::Delivered), Outcome::Advanced);
    let again = ledger.sent(mark(20));
    assert_eq!(ledger.resolve(again, Fate::Lost), Outcome::Lost(mark(10)));
}

#[test]
fn receipts_of_before_a_file_began_anew_move_nothing() {
    let mut ledger = Ledger::new(mark(0));
    let old = [10, 20].map(|end| ledger.sent(mark(end)));
    ledger.restart();
    let new = ledger.sent(mark(5));
    assert_eq!(ledger.resolve(old[0], Fate::Delivered), Outcome::Nothing);
    assert_eq!(ledger.resolve(old[1], Fate::Lost), Outcome::Gone, "nobody can read it again");
    assert_eq!(ledger.acknowledged(), mark(0));
    assert_eq!(ledger.resolve(new, Fate::Delivered), Outcome::Advanced);
    assert_eq!(ledger.acknowledged(), mark(5));
}

#[tokio::test]
async fn lost_lines_are_read_again_in_order() {
    let place = Place::new();
    place.append("a.log", numbered(0..2));
    let mut agent = place.start("a.log", BEGINNING);
    let first = agent.next().await;
    place.append("a.log", numbered(2..4));
    let second = agent.next().await;
    assert_eq!(logs(&second).iter().map(text).collect::<Vec<_>>(), expected(2..4));
    resolve(first, Fate::Lost);
    resolve(second, Fate::Delivered);
    assert_eq!(agent.lines(4).await, expected(0..4));
    assert!(agent.counters.last_error().unwrap().1.contains("2 lines were lost"));
    agent.finish().await;
}

#[tokio::test]
async fn positions_are_written_when_the_receipt_comes_and_not_before() {
    let place = Place::new();
    place.append("a.log", numbered(0..2));
    let mut agent = place.start("a.log", BEGINNING);
    let batch = agent.next().await;
    let saved = |offset: u64| {
        let text = fs::read_to_string(place.positions()).unwrap();
        let last = text.lines().rfind(|line| line.contains(" p ")).unwrap().to_owned();
        last.split(' ').nth(4) == Some(&offset.to_string())
    };
    assert!(saved(0));
    resolve(batch, Fate::Delivered);
    assert!(saved(14), "at once");
    agent.finish().await;
}

#[tokio::test]
async fn stopping_waits_for_receipts_and_reads_nothing_more() {
    let place = Place::new();
    place.append("a.log", numbered(0..2));
    let mut agent = place.start("a.log", BEGINNING);
    let batch = agent.next().await;
    agent.stop.reading.cancel();
    place.append("a.log", numbered(2..4));
    agent.is_silent().await;
    resolve(batch, Fate::Delivered);
    agent.finish().await;
    let mut agent = place.start("a.log", BEGINNING);
    assert_eq!(agent.lines(2).await, expected(2..4));
    agent.finish().await;
}

#[tokio::test]
async fn a_batch_charges_the_memory_that_it_keeps() {
    let place = Place::new();
    place.append("a.log", numbered(0..3));
    let mut agent = place.start("a.log", BEGINNING);
    let batch = agent.next().await;
    let held = batch.permit.as_ref().unwrap().bytes();
    assert_eq!(agent.memory.used(), held);
    assert!((21..2000).contains(&held), "a small read is charged little: {held}");
    resolve(batch, Fate::Delivered);
    assert_eq!(agent.memory.used(), 0);
    agent.finish().await;
}
