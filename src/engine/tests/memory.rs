//! What is on its way is charged to the budget, whatever filters and parsers make of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::*;
use tokio_util::sync::CancellationToken;

use super::{log_batch, until};
use crate::config::Role;
use crate::dead_letters::DeadLetters;
use crate::filter::Filter;
use crate::lane::{Lane, Stage};
use crate::queue::{MemoryLimits, Queue};
use crate::router::{OutputPort, Router, Routes};
use crate::telemetry::Telemetry;

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

#[tokio::test(start_paused = true)]
async fn parsed_fields_are_charged_and_wait_for_memory_while_some_is_on_its_way() {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::new("h".into(), Vec::new(), Default::default());
    let (router, queue) = port(None);
    let (sender, batches) = tokio::sync::mpsc::channel(4);
    let stage = Stage {
        transform: Box::new(Parse),
        rebuild: Box::new(|| Ok(Box::new(Parse))),
        state: telemetry.add(Role::Processor, "parse", &"parse".into()),
    };
    let lane = Lane {
        batches,
        input: telemetry.add(Role::Input, "in", &"in".into()),
        filter: None,
        stages: vec![stage],
        router,
        dead_letters: Arc::new(DeadLetters::new(folder.path(), telemetry)),
        reading: CancellationToken::new(),
        rewires: tokio::sync::mpsc::channel(1).1,
    };
    tokio::spawn(lane.run());
    let fields = 2 * (size_of::<Fields>() + 10 * size_of::<Field>());
    let memory = Memory::new(fields + 250);
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
