//! The moments between: a look and a sleep, the start of a write and its first step.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sentinel_contract::{
    Cause, Kinds, Labels, Memory, Output, Piece, Pressure, Receipt, Wanted, WriteError,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::{BatchLimits, Dispatcher, Lacks, Shared};
use crate::config::Role;
use crate::dead_letters::DeadLetters;
use crate::queue::{Entry, MemoryLimits, Queue};
use crate::telemetry::Telemetry;
use crate::tests::log_batch;

struct Nowhere;

#[async_trait::async_trait]
impl Output for Nowhere {
    fn accepts(&self) -> Kinds {
        Kinds::LOGS
    }

    async fn write(&mut self, _: &[Piece]) -> Result<(), WriteError> {
        Ok(())
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        Ok(String::new())
    }
}

/// A dispatcher with a line in its queue, which is a full write.
fn dispatcher() -> Dispatcher {
    let telemetry = Telemetry::new("h".into(), vec![Memory::new(1000)], Pressure::default());
    let state = telemetry.add(Role::Output, "nowhere", &"nowhere".into());
    let counters = Arc::clone(&state.counters);
    let queue = Queue::in_memory(MemoryLimits { kept: 1 << 20, direct: 1 << 20 }, counters);
    let batch = log_batch("in", &Arc::new(Labels::new([("a", "b")])), &["a line"]);
    queue.push(Entry::new(Piece::whole(Arc::new(batch)), Some(Receipt::new(|_| {}))));
    let shared = Shared {
        rebuild: Box::new(|| Ok(Box::new(Nowhere))),
        queue,
        state,
        limits: BatchLimits { events: 1, bytes: 1 << 20, wait: Duration::from_mins(10) },
        wanted: Wanted::default(),
        dead_letters: Arc::new(DeadLetters::new(std::path::Path::new("/nowhere"), telemetry)),
        drain: CancellationToken::new(),
        halt: CancellationToken::new(),
    };
    Dispatcher::new(Box::new(Nowhere), Arc::new(shared), CancellationToken::new())
}

const SOON: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(10);

#[tokio::test(start_paused = true)]
async fn room_that_comes_between_the_look_and_the_sleep_is_not_slept_through() {
    let mut dispatcher = dispatcher();
    let turn = dispatcher.window.try_turn().unwrap();
    let lacks = dispatcher.start_writes(PATIENCE);
    assert_eq!(lacks, Lacks::Room);
    drop(turn);
    timeout(SOON, dispatcher.wait(lacks, PATIENCE, false)).await.unwrap();
    assert_eq!(dispatcher.start_writes(PATIENCE), Lacks::Writer);
    assert_eq!(dispatcher.writes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_begins_between_the_look_and_the_sleep_is_not_slept_through() {
    let mut dispatcher = dispatcher();
    dispatcher.shared.queue.arrival().await;
    let far = Lacks::Entries(Some(Instant::now() + Duration::from_mins(10)));
    dispatcher.shared.drain.cancel();
    timeout(SOON, dispatcher.wait(far, PATIENCE, false)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_drain_is_heard_by_an_output_that_never_waits_for_more() {
    let dispatcher = &mut dispatcher();
    dispatcher.shared.queue.arrival().await;
    dispatcher.shared.drain.cancel();
    let nothing = dispatcher.wait(Lacks::Entries(None), Duration::ZERO, false);
    timeout(SOON, nothing).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nobody_is_hurried_for_the_memory_of_what_is_not_there() {
    let dispatcher = dispatcher();
    let _waiter = dispatcher.shared.wanted.waiter();
    assert_eq!(dispatcher.patience(false), PATIENCE, "the line is still in the queue");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_ends_before_it_began_gives_back_what_it_holds() {
    let mut dispatcher = dispatcher();
    let (queue, state) =
        (Arc::clone(&dispatcher.shared.queue), Arc::clone(&dispatcher.shared.state));
    dispatcher.start_writes(PATIENCE);
    dispatcher.end(&CancellationToken::new()).await;
    assert_eq!(state.counters.queued.load(Ordering::SeqCst), 0);
    assert!(queue.is_idle());
}
