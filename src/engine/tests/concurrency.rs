//! Several writes at once: only of different sources, only with a backlog, and nothing is lost, doubled or overtaken.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use sentinel_contract::{
    Cause, Fate, Kinds, Labels, Memory, Output, Piece, Pressure, Receipt, Wanted, WriteError,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::log_batch;
use crate::config::Role;
use crate::dead_letters::DeadLetters;
use crate::output::{BatchLimits, OutputTask};
use crate::queue::{Entry, MemoryLimits, Queue};
use crate::telemetry::{Plugin, Telemetry};

/// A write makes a request of this many lines.
const FULL: usize = 4;
const SOURCES: u64 = 8;

/// What it answers to a request of these lines; the number is the request's.
type Answer = Box<dyn Fn(usize, &[String]) -> Result<(), WriteError> + Send + Sync>;

/// A backend that takes a second for every request.
struct Backend {
    answer: Answer,
    most: usize,
    /// Writes under way, by their lines.
    under_way: Mutex<Vec<Vec<String>>>,
    /// The most at once so far.
    peak: AtomicUsize,
    requests: Mutex<Vec<(Instant, Vec<String>)>>,
    taken: Mutex<Vec<String>>,
    instances: AtomicUsize,
    mixed: AtomicBool,
}

impl Backend {
    fn new(most: usize, answer: Answer) -> Arc<Self> {
        Arc::new(Backend {
            answer,
            most,
            under_way: Mutex::default(),
            peak: AtomicUsize::new(0),
            requests: Mutex::default(),
            taken: Mutex::default(),
            instances: AtomicUsize::new(0),
            mixed: AtomicBool::new(false),
        })
    }

    fn output(self: &Arc<Self>) -> Box<dyn Output> {
        self.instances.fetch_add(1, Ordering::SeqCst);
        Box::new(Instance(Arc::clone(self)))
    }
}

struct Instance(Arc<Backend>);

fn source(line: &str) -> &str {
    line.split(':').next().unwrap_or_default()
}

#[async_trait::async_trait]
impl Output for Instance {
    fn accepts(&self) -> Kinds {
        Kinds::LOGS
    }

    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError> {
        let logs = pieces.iter().flat_map(Piece::logs);
        let lines: Vec<String> =
            logs.map(|log| String::from_utf8_lossy(&log.body).into_owned()).collect();
        let backend = &self.0;
        let number = {
            let mut under_way = backend.under_way.lock().unwrap();
            let other =
                |line: &String| under_way.iter().flatten().any(|o| source(o) == source(line));
            backend.mixed.fetch_or(lines.iter().any(other), Ordering::SeqCst);
            under_way.push(lines.clone());
            backend.peak.fetch_max(under_way.len(), Ordering::SeqCst);
            let mut requests = backend.requests.lock().unwrap();
            requests.push((Instant::now(), lines.clone()));
            requests.len()
        };
        tokio::time::sleep(Duration::from_secs(1)).await;
        backend.under_way.lock().unwrap().retain(|other| *other != lines);
        (backend.answer)(number, &lines)?;
        backend.taken.lock().unwrap().extend(lines);
        Ok(())
    }

    fn beside(&self, count: usize) -> Option<Box<dyn Output>> {
        (count < self.0.most).then(|| self.0.output())
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        Ok(String::new())
    }
}

/// An output with its queue, running.
struct Bench {
    backend: Arc<Backend>,
    queue: Arc<Queue>,
    telemetry: Arc<Telemetry>,
    state: Arc<Plugin>,
    fates: Arc<Mutex<Vec<Fate>>>,
    /// How long a write that is not full waits for more.
    wait: Duration,
    retire: CancellationToken,
    drain: CancellationToken,
    deadline: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

fn start(backend: Arc<Backend>) -> Bench {
    start_with(backend, Duration::from_secs(1))
}

fn start_with(backend: Arc<Backend>, wait: Duration) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::new("h".into(), vec![Memory::new(1000)], Pressure::default());
    let state = telemetry.add(Role::Output, "slow", &"slow".into());
    let limits = MemoryLimits { kept: 1 << 20, direct: 1 << 20 };
    let queue = Queue::in_memory(limits, Arc::clone(&state.counters));
    let token = CancellationToken::new;
    let mut bench = Bench {
        backend,
        queue,
        telemetry,
        state,
        fates: Arc::default(),
        wait,
        retire: token(),
        drain: token(),
        deadline: token(),
        task: tokio::spawn(async {}),
        folder,
    };
    bench.run();
    bench
}

impl Bench {
    /// Starts a task on the queue.
    fn run(&mut self) {
        self.retire = CancellationToken::new();
        let again = Arc::clone(&self.backend);
        let task = OutputTask {
            output: self.backend.output(),
            rebuild: Box::new(move || Ok(again.output())),
            queue: Arc::clone(&self.queue),
            state: Arc::clone(&self.state),
            limits: BatchLimits { events: FULL, bytes: 1 << 20, wait: self.wait },
            wanted: Wanted::default(),
            dead_letters: Arc::new(DeadLetters::new(
                self.folder.path(),
                Arc::clone(&self.telemetry),
            )),
            retire: self.retire.clone(),
            drain: self.drain.clone(),
            deadline: self.deadline.clone(),
        };
        self.task = tokio::spawn(task.run());
    }

    /// One line, as a batch of its own.
    fn push(&self, source: u64, number: usize) {
        let labels = Arc::new(Labels::new([("a", "b")]));
        let mut batch = log_batch("in", &labels, &[&format!("{source}:{number}")]);
        batch.order = source;
        let fates = Arc::clone(&self.fates);
        let receipt = Receipt::new(move |fate| fates.lock().unwrap().push(fate));
        self.queue.push(Entry::new(Piece::whole(Arc::new(batch)), Some(receipt)));
    }

    /// `lines` of each source, in turns.
    fn push_backlog(&self, lines: usize) {
        (0..lines).for_each(|line| (0..SOURCES).for_each(|source| self.push(source, line)));
    }

    async fn settled(&self, lines: usize) {
        super::until("all settled", || self.fates.lock().unwrap().len() == lines).await;
    }

    /// Each source's lines came once and in order, and no two requests at once had lines of one source.
    fn check(&self) {
        let mut next: HashMap<String, usize> = HashMap::new();
        for line in &*self.backend.taken.lock().unwrap() {
            let (source, number) = line.split_once(':').unwrap();
            let next = next.entry(source.to_owned()).or_default();
            assert_eq!(number.parse::<usize>().unwrap(), *next, "source {source}");
            *next += 1;
        }
        assert!(!self.backend.mixed.load(Ordering::SeqCst), "a source was in two writes at once");
    }

    async fn finish(mut self) {
        self.drain.cancel();
        (&mut self.task).await.unwrap();
        assert_eq!(self.state.counters.queued.load(Ordering::SeqCst), 0);
        self.check();
    }
}

fn retry() -> Result<(), WriteError> {
    Err(WriteError::Retry { after: None, cause: anyhow::anyhow!("no") })
}

fn always_well() -> Answer {
    Box::new(|_, _| Ok(()))
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_written_several_requests_at_once_and_afterwards_one() {
    let bench = start(Backend::new(4, always_well()));
    bench.push_backlog(20);
    let began = Instant::now();
    bench.settled(160).await;
    assert_eq!(bench.backend.peak.load(Ordering::SeqCst), 4);
    let took = began.elapsed().as_secs();
    assert!((11..20).contains(&took), "40 requests of a second each, up to 4 at once: {took} s");
    assert!(bench.backend.requests.lock().unwrap().iter().all(|(_, lines)| lines.len() <= FULL));

    let requests = bench.backend.requests.lock().unwrap().len();
    bench.backend.peak.store(0, Ordering::SeqCst);
    for line in 20..25 {
        (0..3).for_each(|source| bench.push(source, line));
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(bench.backend.peak.load(Ordering::SeqCst), 1);
    assert_eq!(bench.backend.requests.lock().unwrap().len(), requests + 5, "all in one request");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn no_write_of_a_backlog_waits_to_be_full_when_no_more_is_taken() {
    let bench = start_with(Backend::new(4, always_well()), Duration::from_mins(10));
    bench.push_backlog(50);
    let began = Instant::now();
    let most = || bench.fates.lock().unwrap().len() > 400 - 2 * FULL; // the last ones are no backlog, and wait
    super::until("most", most).await;
    let took = began.elapsed().as_secs();
    assert!(took < 60, "100 requests of a second each, up to 4 at once: {took} s");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_output_that_lends_no_other_gets_one_write_after_the_other() {
    let bench = start(Backend::new(1, always_well()));
    bench.push_backlog(5);
    bench.settled(40).await;
    assert_eq!(bench.backend.peak.load(Ordering::SeqCst), 1);
    assert_eq!(bench.backend.requests.lock().unwrap().len(), 10, "full ones");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn one_source_alone_stays_in_order_whatever_the_window() {
    let bench = start(Backend::new(4, always_well()));
    (0..40).for_each(|line| bench.push(7, line));
    bench.settled(40).await;
    assert_eq!(bench.backend.peak.load(Ordering::SeqCst), 1);
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_source_whose_lines_are_put_off_does_not_hold_up_the_others() {
    let open = Arc::new(AtomicBool::new(false));
    let now_open = Arc::clone(&open);
    let answer = move |_: usize, lines: &[String]| {
        let limited = lines.iter().any(|line| source(line) == "3");
        if limited && !now_open.load(Ordering::SeqCst) { retry() } else { Ok(()) }
    };
    let bench = start(Backend::new(4, Box::new(answer)));
    (0..FULL).for_each(|line| bench.push(3, line));
    super::until("a try", || !bench.backend.requests.lock().unwrap().is_empty()).await;
    (0..40).for_each(|line| (4..7).for_each(|source| bench.push(source, line)));
    bench.settled(120).await;
    open.store(true, Ordering::SeqCst);
    // Those that were put off are asked about again also while the others have a backlog.
    (40..200).for_each(|line| (4..7).for_each(|source| bench.push(source, line)));
    let late = || bench.backend.taken.lock().unwrap().iter().any(|line| source(line) == "3");
    super::until("theirs", late).await;
    assert!(bench.fates.lock().unwrap().len() < 600, "before the others were through");
    bench.settled(600 + FULL).await;
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn failures_halve_the_window_and_a_dead_backend_is_asked_less_and_less() {
    let dead = Arc::new(AtomicBool::new(false));
    let now_dead = Arc::clone(&dead);
    let answer = move |_: usize, _: &[String]| {
        if now_dead.load(Ordering::SeqCst) { retry() } else { Ok(()) }
    };
    let bench = start(Backend::new(4, Box::new(answer)));
    bench.push_backlog(200);
    super::until("four", || bench.backend.peak.load(Ordering::SeqCst) == 4).await;
    dead.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(30)).await;
    bench.backend.peak.store(0, Ordering::SeqCst);
    let before = bench.backend.requests.lock().unwrap().len();
    tokio::time::sleep(Duration::from_mins(20)).await;
    assert_eq!(bench.backend.peak.load(Ordering::SeqCst), 1, "one request at a time");
    let asked = bench.backend.requests.lock().unwrap().len() - before;
    assert!((80..260).contains(&asked), "four writes, each about twice a minute: {asked}");
    dead.store(false, Ordering::SeqCst);
    bench.settled(1600).await;
    assert_eq!(bench.backend.peak.load(Ordering::SeqCst), 4, "it opens again");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_that_the_backend_asks_for_is_kept_by_all_writes() {
    let after = Some(Duration::from_secs(50));
    let answer = move |number: usize, _: &[String]| match number {
        20 => Err(WriteError::Retry { after, cause: anyhow::anyhow!("slow down") }),
        _ => Ok(()),
    };
    let bench = start(Backend::new(4, Box::new(answer)));
    bench.push_backlog(50);
    bench.settled(400).await;
    let requests = bench.backend.requests.lock().unwrap().clone();
    let told = requests[19].0 + Duration::from_secs(1);
    let within = |(began, _): &&(Instant, Vec<String>)| {
        *began > told && *began < told + Duration::from_secs(50)
    };
    assert_eq!(requests.iter().find(within), None);
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn another_task_that_goes_on_finds_everything_in_order() {
    let mut bench = start(Backend::new(
        4,
        Box::new(|number, _| if number > 9 && number % 2 == 0 { retry() } else { Ok(()) }),
    ));
    bench.push_backlog(50);
    for seconds in [3, 6, 1, 9] {
        tokio::time::sleep(Duration::from_millis(seconds * 1000 + 300)).await;
        bench.retire.cancel();
        (&mut bench.task).await.unwrap();
        let under_way = bench.backend.under_way.lock().unwrap().len();
        assert_eq!(under_way, 0, "requests were finished");
        let counters = &bench.state.counters;
        let gone = bench.backend.taken.lock().unwrap().len() as u64;
        assert_eq!(counters.queued.load(Ordering::SeqCst), 400 - gone);
        bench.run();
    }
    bench.settled(400).await;
    assert!(bench.fates.lock().unwrap().iter().all(|fate| *fate == Fate::Delivered));
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_every_source_hears_of_what_is_left() {
    let mut bench = start(Backend::new(4, always_well()));
    bench.push_backlog(50);
    tokio::time::sleep(Duration::from_millis(5300)).await;
    assert!(bench.backend.under_way.lock().unwrap().len() > 1);
    bench.deadline.cancel();
    (&mut bench.task).await.unwrap();
    let fates = bench.fates.lock().unwrap().clone();
    let delivered = fates.iter().filter(|fate| **fate == Fate::Delivered).count();
    assert_eq!((fates.len(), delivered), (400, bench.backend.taken.lock().unwrap().len()));
    bench.check();
    assert_eq!(bench.state.counters.queued.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn after_a_panic_all_instances_are_of_the_one_that_was_built_again() {
    let answer = |number: usize, _: &[String]| {
        assert!(number != 25, "as asked");
        Ok(())
    };
    let bench = start(Backend::new(4, Box::new(answer)));
    bench.push_backlog(50);
    super::until("the panic", || bench.backend.requests.lock().unwrap().len() >= 25).await;
    let before = bench.backend.instances.load(Ordering::SeqCst);
    assert_eq!(before, 4);
    bench.settled(400).await;
    let after = bench.backend.instances.load(Ordering::SeqCst);
    assert!(after >= before + 4, "one built again, and three beside it: {after}");
    assert_eq!(bench.backend.peak.load(Ordering::SeqCst), 4);
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_us_is_asked_once_each_thirty_seconds_by_all_together() {
    let refuse =
        |_: usize, _: &[String]| Err(WriteError::Hold { cause: anyhow::anyhow!("bad password") });
    let mut bench = start(Backend::new(4, Box::new(refuse)));
    (0..SOURCES).for_each(|source| {
        (0..FULL).for_each(|line| bench.push(source, line)); // each a write of its own
    });
    tokio::time::sleep(Duration::from_mins(20)).await;
    let asked = bench.backend.requests.lock().unwrap().len();
    assert!((35..=41).contains(&asked), "{asked}");
    bench.deadline.cancel();
    (&mut bench.task).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn instances_that_an_outage_called_in_go_when_it_is_over() {
    let failing = |number: usize, _: &[String]| if number < 30 { retry() } else { Ok(()) };
    let bench = start(Backend::new(4, Box::new(failing)));
    for source in 0..4 {
        bench.push(source, 0);
        tokio::time::sleep(Duration::from_secs(3)).await; // no backlog: the window never opens
    }
    assert_eq!(bench.backend.instances.load(Ordering::SeqCst), 4);
    bench.settled(4).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bench.backend.instances.load(Ordering::SeqCst), 7, "three of them anew");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_receipt_that_panics_holds_up_nothing() {
    let bench = start(Backend::new(1, always_well()));
    let labels = Arc::new(Labels::new([("a", "b")]));
    let mut batch = log_batch("in", &labels, &["7:0"]);
    batch.order = 7;
    let receipt = Receipt::new(|_| panic!("as asked"));
    bench.queue.push(Entry::new(Piece::whole(Arc::new(batch)), Some(receipt)));
    tokio::time::sleep(Duration::from_secs(5)).await;
    bench.push(7, 1);
    bench.settled(1).await;
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_filter_took_little_from_stays_in_the_queue_where_it_can_go_to_disk() {
    let mut bench = start(Backend::new(4, Box::new(|_, _| retry())));
    let memory = Memory::new(100 << 20);
    let labels = Arc::new(Labels::new([("a", "b")]));
    for number in 0..50 {
        let mut buffer = log_batch("in", &labels, &["what was read"]);
        buffer.permit = memory.try_acquire(1 << 20);
        let mut batch = log_batch("in", &labels, &[&format!("7:{number}")]);
        batch.order = 7;
        let receipt = Receipt::new(|_| {});
        let mut entry = Entry::new(Piece::whole(Arc::new(batch)), Some(receipt));
        entry.whole = Some(Arc::new(buffer));
        bench.queue.push(entry);
    }
    tokio::time::sleep(Duration::from_secs(30)).await;
    let left = std::iter::from_fn(|| bench.queue.pop()).count();
    assert_eq!(left, 46, "two under way, two for the next write, of a MiB each");
    bench.deadline.cancel();
    (&mut bench.task).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_fails_each_line_of_a_source_comes_once_and_in_order(
        most in 1..6_usize,
        lines in proptest::collection::vec((0..SOURCES, 0..2500_u64), 1..200),
        failing in proptest::collection::hash_set(0..150_usize, 0..60),
        retired in proptest::collection::hash_set(0..200_usize, 0..4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let count = lines.len();
            let answer = move |number: usize, _: &[String]| {
                if failing.contains(&number) { retry() } else { Ok(()) }
            };
            let mut bench = start(Backend::new(most, Box::new(answer)));
            let mut next = [0; SOURCES as usize];
            for (nth, (source, pause)) in lines.into_iter().enumerate() {
                bench.push(source, next[source as usize]);
                next[source as usize] += 1;
                if pause > 2000 {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                if retired.contains(&nth) {
                    bench.retire.cancel();
                    (&mut bench.task).await.unwrap();
                    bench.run();
                }
            }
            bench.settled(count).await;
            let taken: HashSet<String> =
                bench.backend.taken.lock().unwrap().iter().cloned().collect();
            assert_eq!(taken.len(), count);
            bench.finish().await;
        });
    }
}
