//! The running input: pace, labels, receipts, memory, the truth file. Time is paused: no test waits.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::history::NoHistory;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Cause, Context, Desk, Emitter, Events, Fate, Input, Labels, Memory, Plugin as _, Stop,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::harness::config;
use crate::generate::Generate;

fn context() -> Context {
    Context {
        alias: "made".into(),
        host: "h".into(),
        tags: Arc::new(Labels::new([("host", "h"), ("env", "test")])),
        interval: Duration::from_secs(10),
        state_dir: Path::new("/nowhere").to_owned(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: Desk::default(),
    }
}

/// The input, running.
struct Running {
    lane: mpsc::Receiver<Batch>,
    memory: Memory,
    counters: Arc<Counters>,
    stop: Stop,
    task: JoinHandle<Result<(), Cause>>,
}

impl Running {
    fn start(options: &str, memory: usize) -> Self {
        let Ok(Input::Service(service)) = Generate::build(config(options), &context()) else {
            panic!("is no service")
        };
        let (sender, lane) = mpsc::channel(4);
        let (memory, counters, stop) = (Memory::new(memory), Arc::default(), Stop::default());
        let emitter = Emitter::new("made".into(), Arc::clone(&counters), memory.clone(), sender);
        let task = tokio::spawn(service.run(emitter, stop.clone()));
        Running { lane, memory, counters, stop, task }
    }

    /// Batches of so many seconds, delivered.
    async fn collect(&mut self, seconds: u64) -> Vec<Batch> {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut all = Vec::new();
        while let Ok(Some(mut batch)) = tokio::time::timeout_at(end, self.lane.recv()).await {
            batch.receipt.take().unwrap().resolve(Fate::Delivered);
            batch.permit = None;
            all.push(batch);
        }
        all
    }
}

fn bodies(batch: &Batch) -> Vec<String> {
    let Events::Logs(logs) = &batch.events else { panic!("are no lines") };
    logs.iter().map(|log| String::from_utf8(log.body.to_vec()).unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn lines_come_at_the_rate_with_their_labels_and_times() {
    let mut running = Running::start("rate = 2000\nkinds = [\"web\", \"app\"]", 16 << 20);
    let batches = running.collect(10).await;
    let lines: usize = batches.iter().map(|batch| batch.events.len()).sum();
    assert!((19_800..=20_200).contains(&lines), "{lines}");
    let Events::Logs(logs) = &batches[0].events else { panic!() };
    let labels: Vec<_> = logs[0].stream.iter().collect();
    assert_eq!(labels, [("env", "test"), ("host", "h"), ("job", "web")]);
    assert!(logs.windows(2).all(|pair| pair[0].time_ns < pair[1].time_ns));
    assert!(logs.iter().all(|log| !log.body.contains(&b'\n') && log.fields.is_none()));
    let orders: Vec<u64> = batches[..2].iter().map(|batch| batch.order).collect();
    assert_eq!(orders, [0, 1], "each log keeps its own order");
}

#[tokio::test(start_paused = true)]
async fn samples_come_every_interval() {
    let mut running = Running::start("kinds = [\"host\"]\nhosts = 2\nhost = \"db\"", 1 << 20);
    let batches = running.collect(35).await;
    assert_eq!(batches.len(), 8, "at 0, 10, 20 and 30 s of two hosts");
    let Events::Metrics(metrics) = &batches[1].events else { panic!() };
    assert_eq!(metrics[0].series.labels().get("host"), Some("db-2"));
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_is_made_again_byte_for_byte() {
    let mut running =
        Running::start("rate = 5000\nlines = 2000\nanomalies = [\"latency@0s+1m\"]", 16 << 20);
    let mut first = running.lane.recv().await.unwrap();
    let lost = bodies(&first);
    drop(first.receipt.take()); // unresolved: lost
    drop(first);
    let mut second = running.lane.recv().await.unwrap();
    second.receipt.take().unwrap().resolve(Fate::Rejected);
    let batches = running.collect(10).await;
    let again: Vec<_> = batches.iter().filter(|batch| bodies(batch)[0] == lost[0]).collect();
    assert_eq!(again.len(), 1, "once, and what was rejected not at all");
    assert_eq!(bodies(again[0]), lost);
    let lines: usize = batches.iter().map(|batch| batch.events.len()).sum();
    assert_eq!(lines + second.events.len(), 2000, "each line came, and none twice");
    assert!(running.counters.last_error().unwrap().1.contains("made again"));
    assert!(running.collect(3600).await.is_empty(), "then it is idle");
}

#[tokio::test(start_paused = true)]
async fn it_waits_for_memory_and_charges_what_a_batch_pins() {
    let mut running = Running::start("rate = 0", 1 << 20);
    let first = running.lane.recv().await.unwrap();
    assert_eq!(first.permit.as_ref().unwrap().bytes(), first.events.bytes());
    let second = timeout(Duration::from_secs(60), running.lane.recv()).await.unwrap();
    let third = timeout(Duration::from_secs(60), running.lane.recv()).await;
    assert!(third.is_err(), "{} bytes are taken", running.memory.used());
    drop((first, second));
    assert!(running.lane.recv().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_it_and_counts_what_was_under_way() {
    let mut running = Running::start("rate = 0", 1 << 20);
    let first = running.lane.recv().await.unwrap();
    let _second = running.lane.recv().await.unwrap();
    running.stop.reading.cancel();
    assert!(running.lane.recv().await.is_none(), "it drops its emitter while it waits for memory");
    drop(first);
    running.stop.finished.cancel();
    running.task.await.unwrap().unwrap();
    let dropped = running.counters.drops()["stopped"];
    assert_eq!(dropped, 3000, "one lost, one open, one that waited for memory");
}

#[tokio::test(start_paused = true)]
async fn the_truth_is_in_the_file_before_its_lines() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("truth.jsonl");
    let told = || std::fs::read_to_string(&path).unwrap();
    let options = format!("truth = \"{}\"\nanomalies = [\"error_burst@5s+5s\"]", path.display());
    let mut running = Running::start(&options, 1 << 20);
    running.collect(4).await;
    assert_eq!(told(), "");
    running.collect(2).await;
    assert_eq!(told().lines().count(), 1);
    assert!(told().contains("\"kind\":\"error_burst\""));
}

#[tokio::test(start_paused = true)]
async fn a_truth_file_that_cannot_be_opened_is_an_error() {
    let running = Running::start("truth = \"/no/such/folder/truth\"", 1 << 20);
    let error = running.task.await.unwrap().unwrap_err();
    assert!(
        format!("{error:#}")
            .starts_with("the truth file /no/such/folder/truth cannot be opened: No such")
    );
    let errors = Generate::build(config("truth = \"here\"\nhosts = 0"), &context()).err().unwrap();
    assert_eq!(errors.len(), 2);
}
