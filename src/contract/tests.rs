//! The contract's promises.

mod desk;
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::event::Labels;
use crate::pressure::{Level, Pressure};
use crate::receipt::{Fate, Receipt};
use crate::trainer::{Polled, Trainer};
use crate::units::{Period, Secret, Size};

#[test]
fn labels_are_sorted_unique_and_the_last_value_wins() {
    let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3"), ("empty", "")]);
    assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
    assert_eq!(labels.get("b"), Some("3"));
    assert_eq!(labels.get("empty"), None);
}

#[test]
fn equal_labels_have_equal_hashes_whatever_their_order() {
    let one = Labels::new([("a", "1"), ("b", "2")]);
    let two = Labels::new([("b", "2"), ("a", "1")]);
    assert_eq!(one.hash(), two.hash());
    assert_ne!(one.hash(), Labels::new([("a", "1"), ("b", "3")]).hash());
}

fn receipt() -> (Receipt, Arc<AtomicU64>) {
    let heard = Arc::new(AtomicU64::new(0));
    let ear = Arc::clone(&heard);
    let receipt = Receipt::new(move |fate| {
        ear.fetch_add(1 + 100 * fate as u64, Ordering::SeqCst);
    });
    (receipt, heard)
}

#[test]
fn a_receipt_is_sent_once_with_the_worst_fate_of_its_copies() {
    let (receipt, heard) = receipt();
    let (second, third) = (receipt.clone(), receipt.clone());
    receipt.resolve(Fate::Delivered);
    second.resolve(Fate::Rejected);
    assert_eq!(heard.load(Ordering::SeqCst), 0, "a copy is still open");
    third.resolve(Fate::Delivered);
    assert_eq!(heard.load(Ordering::SeqCst), 101);
}

#[test]
fn a_copy_that_is_dropped_unresolved_is_lost() {
    let (receipt, heard) = receipt();
    drop(receipt.clone());
    receipt.resolve(Fate::Delivered);
    assert_eq!(heard.load(Ordering::SeqCst), 201);
}

#[tokio::test]
async fn memory_waits_until_a_permit_is_given_back() {
    let memory = crate::Memory::new(100);
    let mut held = memory.acquire(80).await;
    assert!(memory.try_acquire(30).is_none());
    held.shrink(50);
    assert!(memory.try_acquire(50).is_some());
    assert!(held.try_grow(50) && !held.try_grow(1), "a permit grows by what is free");
    assert_eq!(memory.used(), 100);
    let part = held.split(30);
    assert_eq!((part.bytes(), held.bytes(), memory.used()), (30, 70, 100));
    assert_eq!(held.split(1000).bytes(), 70, "not more than it has");
    drop((held, part));
    assert_eq!(memory.used(), 0);
    assert_eq!((memory.peak(), memory.peak_since_last()), (100, 100));
    assert_eq!((memory.peak(), memory.peak_since_last()), (100, 0));
    assert_eq!(memory.acquire(1000).await.bytes(), 100, "more than there is, is all there is");
}

#[tokio::test(start_paused = true)]
async fn memory_tells_whether_somebody_waits_for_it() {
    let memory = crate::Memory::new(100);
    let wanted = memory.wanted();
    let held = memory.acquire(80).await;
    assert!(!wanted.is_now(), "there was enough");
    let hears = tokio::spawn({
        let wanted = wanted.clone();
        async move { wanted.comes().await }
    });
    tokio::task::yield_now().await;
    let waits = tokio::spawn({
        let memory = memory.clone();
        async move { memory.acquire(30).await.bytes() }
    });
    hears.await.unwrap();
    assert!(wanted.is_now());
    drop(held);
    assert_eq!(waits.await.unwrap(), 30);
    assert!(!wanted.is_now());
    let given_up = tokio::time::timeout(Duration::from_secs(1), memory.acquire(101)).await;
    assert_eq!(given_up.unwrap().bytes(), 100);
    let _all = memory.acquire(100).await;
    let given_up = tokio::time::timeout(Duration::from_secs(1), memory.acquire(1)).await;
    assert!(given_up.is_err() && !wanted.is_now(), "who gave up waits no more");
}

#[test]
fn durations_and_sizes_have_units() {
    assert_eq!("1h30m".parse(), Ok(Period(Duration::from_secs(5400))));
    assert_eq!("1.5s".parse(), Ok(Period(Duration::from_millis(1500))));
    assert_eq!("16MiB".parse(), Ok(Size(16 << 20)));
    for bad in ["", "10", "ten s", "-1s", "10 parsecs", "99999999999999999999s", "1..5s"] {
        assert!(bad.parse::<Period>().is_err(), "{bad:?}");
    }
}

#[test]
fn a_secret_does_not_print() {
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "(secret)");
}

#[test]
fn a_panicking_job_fails_and_the_next_one_runs() {
    let trainer = Trainer::immediate();
    let bad = trainer.submit(|| panic!("as asked"));
    let good = trainer.submit(|| 7);
    assert_eq!(good.wait(), Some(7));
    assert_eq!(bad.poll(), Polled::<()>::Failed);
}

#[test]
fn a_job_waits_while_the_host_is_short_and_runs_afterwards() {
    let pressure = Pressure::default();
    let (trainer, work) = Trainer::new(pressure.clone(), || (), || ());
    pressure.set(Level::Models);
    let seen = pressure.clone();
    let job = trainer.submit(move || seen.level());
    let thread = std::thread::spawn(work);
    while pressure.waiting() == 0 {
        assert_eq!(job.poll(), Polled::Working, "it must not run now");
        std::thread::yield_now();
    }
    pressure.set(Level::None);
    assert_eq!(job.wait(), Some(Level::None));
    drop(trainer);
    thread.join().unwrap();
}

#[test]
fn nobody_waits_for_a_short_host_beyond_the_end() {
    let pressure = Pressure::default();
    pressure.set(Level::Processes);
    let now = std::time::Instant::now();
    assert!(!pressure.wait_below(Level::Models, now));
    pressure.set(Level::Models);
    assert!(pressure.wait_below(Level::Processes, now));
}

#[test]
fn a_place_is_given_to_one_and_comes_back() {
    let (trainer, _work) = Trainer::new(Pressure::default(), || (), || ());
    let mut places: Vec<_> = std::iter::from_fn(|| trainer.place()).collect();
    assert!(trainer.is_full() && places.len() == 512);
    places.pop();
    let place = trainer.place().unwrap();
    assert!(trainer.place().is_none());
    assert_eq!(trainer.submit_at(place, || 7).poll(), Polled::Working, "it was not refused");
}

#[test]
fn a_trainer_that_has_as_much_to_do_as_it_may_says_so() {
    let (trainer, work) = Trainer::new(Pressure::default(), || (), || ());
    let mut asked = Vec::new();
    while !trainer.is_full() {
        asked.push(trainer.submit(|| 7));
    }
    assert_eq!(trainer.submit(|| 8).poll(), Polled::Failed, "one more is refused");
    let one_more = trainer.clone();
    let thread = std::thread::spawn(work);
    assert!(asked.into_iter().all(|one| one.wait() == Some(7)));
    assert!(!one_more.is_full());
    drop((trainer, one_more));
    thread.join().unwrap();
}

#[test]
fn a_waiting_trainer_has_the_result_before_submit_returns() {
    let trainer = Trainer::waiting();
    let here = std::thread::current().id();
    let good = trainer.submit(move || (7, std::thread::current().id()));
    assert_eq!(good.poll(), Polled::Ready((7, here)));
    let bad = trainer.clone().submit(|| panic!("as asked"));
    assert_eq!(bad.poll(), Polled::<()>::Failed);
}
