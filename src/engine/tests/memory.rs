//! What is on its way is charged to the budget, whatever filters and parsers make of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::*;
use tokio_util::sync::CancellationToken;

use super::{log_batch, until};
use crate::burst::BURST;
use crate::config::Role;
use crate::dead_letters::DeadLetters;
use crate::filter::Filter;
use crate::lane::{Lane, Stage};
use crate::limit::Limits;
use crate::queue::{MemoryLimits, Queue};
use crate::router::{OutputPort, Router, Routes};
use crate::telemetry::{Plugin, Telemetry};

fn port(filter: Option<Filter>) -> (Router, Arc<Queue>) {
    let queue = Queue::in_memory(MemoryLimits { kept: 1 << 20, direct: 1 << 20 }, Arc::default());
    let port = OutputPort {
        queue: Arc::clone(&queue),
        accepts: Kinds::LOGS,
        filter: filter.map(Arc::new),
    };
    (Router::new(Routes { outputs: vec![port], observers: Vec::new() }), queue)
}

/// Two lines of different levels that can be read again, with a permit for `bytes`.
fn batch(memory: &Memory, bytes: usize) -> Batch {
    let labels = |level| Arc::new(Labels::new([("level", level)]));
    let mut batch = log_batch("in", &labels("info"), &["1", "2"]);
    if let Events::Logs(logs) = &mut batch.events {
        logs[1].stream = labels("error");
    }
    batch.receipt = Some(Receipt::new(|_| {}));
    batch.permit = memory.try_acquire(bytes);
    batch
}

#[test]
fn lines_that_passed_an_outputs_filter_keep_the_memory_of_their_batch() {
    let memory = Memory::new(1000);
    let errors = [("level".to_owned(), vec!["error".to_owned()])].into();
    let (router, queue) = port(Filter::new(&[], &[], &errors, &BTreeMap::new()).unwrap());
    router.route(batch(&memory, 500));
    let entry = queue.pop().expect("one line passes");
    assert_eq!((entry.events(), memory.used()), (1, 500), "its bytes lie in the batch's buffer");
    let (first, second) = entry.split(1);
    drop(first);
    assert_eq!(memory.used(), 500);
    drop(second);
    assert_eq!(memory.used(), 0);
}

/// Gives each line ten fields.
struct Parse;
impl Transform for Parse {
    fn apply(&mut self, events: &mut Events, _: &Counters) {
        let Events::Logs(logs) = events else { return };
        for log in logs {
            let field = Field { name: Name::Static("a"), value: Value::Slice(0, 1) };
            log.fields = Some(Box::new(Fields(vec![field; 10])));
        }
    }
}

fn parsing() -> Stage {
    Stage {
        transform: Box::new(Parse),
        rebuild: Box::new(|| Ok(Box::new(Parse))),
        state: Plugin::new(Role::Processor, "parse", &"parse".into()),
    }
}

/// A lane that runs, with these stages and room for so many streams.
fn lane(
    folder: &tempfile::TempDir,
    stages: Vec<Stage>,
    streams: usize,
    memory: &Memory,
) -> (tokio::sync::mpsc::Sender<Batch>, Arc<Queue>, Arc<Plugin>) {
    let telemetry = Telemetry::new("h".into(), Vec::new(), Pressure::default());
    let (router, queue) = port(None);
    let (sender, batches) = tokio::sync::mpsc::channel(4);
    let input = telemetry.add(Role::Input, "in", &"in".into());
    let lane = Lane {
        limits: Limits::new(10, streams, &Labels::new([("host", "h")])),
        batches,
        input: Arc::clone(&input),
        filter: None,
        stages,
        router,
        dead_letters: Arc::new(DeadLetters::new(folder.path(), telemetry)),
        memory: memory.clone(),
        reading: CancellationToken::new(),
        rewires: tokio::sync::mpsc::channel(1).1,
    };
    tokio::spawn(lane.run());
    (sender, queue, input)
}

#[tokio::test(start_paused = true)]
async fn a_stream_too_many_goes_on_through_the_lane_with_the_labels_of_all_that_are() {
    let folder = tempfile::tempdir().unwrap();
    let memory = Memory::new(1000);
    let (sender, queue, input) = lane(&folder, Vec::new(), 1, &memory);
    sender.send(batch(&memory, 100)).await.unwrap();
    until("both lines", || !queue.is_idle()).await;
    let entry = queue.pop().unwrap();
    let Events::Logs(logs) = &entry.piece.batch.events else { panic!("lines") };
    assert_eq!(*logs[0].stream, Labels::new([("level", "info")]));
    assert_eq!(*logs[1].stream, Labels::new([("host", "h"), ("overflow", "true")]));
    assert_eq!((entry.events(), input.counters.counts()["stream_limit"]), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn parsed_fields_get_memory_before_a_source_that_asked_for_more_later() {
    let folder = tempfile::tempdir().unwrap();
    let fields = 2 * (size_of::<Fields>() + 10 * size_of::<Field>());
    let memory = Memory::new(4 * (fields + 100));
    let _others = memory.acquire(3 * (fields + 100) - 150).await;
    let (sender, queue, _) = lane(&folder, vec![parsing()], 10, &memory);
    sender.send(batch(&memory, 100)).await.unwrap();
    until("the first", || !queue.is_idle()).await;
    sender.send(batch(&memory, 100)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let source = tokio::spawn({
        let memory = memory.clone();
        async move { memory.acquire(fields).await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    let first = queue.pop().unwrap();
    drop(first); // it is not done: something is still on its way
    until("the second", || queue.pop().is_some()).await;
    assert!(!source.is_finished(), "it waits for what the second has");
}

#[tokio::test(start_paused = true)]
async fn parsed_fields_are_charged_and_wait_for_memory_while_some_is_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let fields = 2 * (size_of::<Fields>() + 10 * size_of::<Field>());
    let memory = Memory::new(fields + 250);
    let (sender, queue, _) = lane(&folder, vec![parsing()], 10, &memory);
    sender.send(batch(&memory, 100)).await.unwrap();
    until("the first", || !queue.is_idle()).await;
    assert_eq!(memory.used(), 100 + fields);
    sender.send(batch(&memory, 100)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let first = queue.pop().unwrap();
    assert!(queue.pop().is_none(), "the second waits for memory");
    queue.done(&first);
    drop(first);
    until("the second", || !queue.is_idle()).await;
    assert_eq!(memory.used(), 100 + fields);
    // A batch whose fields are larger than the whole budget goes on when nothing is left to wait for.
    let small = Memory::new(100);
    let second = queue.pop().unwrap();
    queue.done(&second);
    sender.send(batch(&small, 100)).await.unwrap();
    until("the third", || !queue.is_idle()).await;
}

#[tokio::test(start_paused = true)]
async fn memory_is_given_back_once_after_each_burst_and_not_in_the_middle_of_one() {
    let (patient, prompt) = (Memory::new(6 * BURST), Memory::new(2 * BURST));
    let budgets = vec![patient.clone(), prompt.clone()];
    let telemetry = Telemetry::new("h".into(), budgets, Pressure::default());
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&calls);
    let give_back = move || {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    let task = tokio::spawn(crate::burst::watch(telemetry, give_back));
    let look = || tokio::time::sleep(Duration::from_secs(11));
    drop(patient.try_acquire(BURST));
    look().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0, "no burst yet");
    let held = patient.try_acquire(4 * BURST);
    look().await;
    assert_eq!(calls.load(Ordering::Relaxed), 0, "in the middle");
    drop(held);
    for _ in 0..3 {
        look().await;
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
    let kept = prompt.try_acquire(2 * BURST); // by a queue whose disk part takes the rest
    drop(patient.try_acquire(4 * BURST)); // came and went between two looks
    look().await;
    assert_eq!(calls.load(Ordering::Relaxed), 2);
    drop(kept);
    task.abort();
}
