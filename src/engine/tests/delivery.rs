//! What an output's answers lead to: retry, hold, split, reject, bisect; and that everything is accounted for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sentinel_contract::{
    Cause, Fate, Kinds, Labels, Memory, Output, Piece, Pressure, Receipt, Wanted, WriteError,
};
use tokio_util::sync::CancellationToken;

use super::{Script, Sink, log_batch, script};
use crate::backoff::{Backoff, FIRST, LAST, LONGEST_RETRY_AFTER};
use crate::config::Role;
use crate::dead_letters::DeadLetters;
use crate::output::{BatchLimits, OutputTask};
use crate::queue::{Entry, MemoryLimits, Queue};
use crate::telemetry::{Condition, Plugin, Telemetry};

/// One output with its queue, running.
struct Bench {
    queue: Arc<Queue>,
    script: Arc<Script>,
    state: Arc<Plugin>,
    wanted: Wanted,
    drain: CancellationToken,
    deadline: CancellationToken,
    task: tokio::task::JoinHandle<()>,
    folder: tempfile::TempDir,
}

fn start(alias: &str, limit: usize) -> Bench {
    let name = alias.to_owned();
    start_with(alias, limit, move || Box::new(Sink(script(&name), Kinds::LOGS)))
}

fn start_with(
    alias: &str,
    limit: usize,
    make: impl Fn() -> Box<dyn Output> + Send + Sync + 'static,
) -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::new("h".into(), vec![Memory::new(1000)], Pressure::default());
    let state = telemetry.add(Role::Output, "scripted", &alias.into());
    let queue =
        Queue::in_memory(MemoryLimits { kept: limit, direct: limit }, Arc::clone(&state.counters));
    let (drain, deadline) = (CancellationToken::new(), CancellationToken::new());
    let wanted = Wanted::default();
    let task = OutputTask {
        output: make(),
        rebuild: Box::new(move || Ok(make())),
        queue: Arc::clone(&queue),
        state: Arc::clone(&state),
        limits: BatchLimits { events: 1000, bytes: 1 << 20, wait: Duration::from_secs(1) },
        wanted: wanted.clone(),
        dead_letters: Arc::new(DeadLetters::new(folder.path(), telemetry)),
        retire: CancellationToken::new(),
        drain: drain.clone(),
        deadline: deadline.clone(),
    };
    let task = tokio::spawn(task.run());
    Bench { queue, script: script(alias), state, wanted, drain, deadline, task, folder }
}

impl Bench {
    /// Queues lines as one batch; with a receipt when asked.
    fn push(&self, lines: &[&str], kept: bool) {
        let labels = Arc::new(Labels::new([("a", "b")]));
        let ear = Arc::clone(&self.script);
        let receipt = kept.then(|| Receipt::new(move |fate| ear.fates.lock().unwrap().push(fate)));
        self.queue
            .push(Entry::new(Piece::whole(Arc::new(log_batch("in", &labels, lines))), receipt));
    }

    /// Drains, and checks that received = delivered + dropped + queued.
    async fn finish(self) -> (Arc<Script>, Vec<String>) {
        self.drain.cancel();
        self.task.await.unwrap();
        let c = &self.state.counters;
        let dropped: u64 = c.drops().values().sum();
        let lost = self.script.fates.lock().unwrap().contains(&Fate::Lost);
        let sum = c.delivered.load(Ordering::SeqCst) + dropped + c.queued.load(Ordering::SeqCst);
        assert!(lost || c.received.load(Ordering::SeqCst) == sum, "{c:?}");
        assert_eq!(c.queued.load(Ordering::SeqCst), 0);
        assert_eq!(c.queued_bytes.load(Ordering::SeqCst), 0);
        let letters = std::fs::read_to_string(self.folder.path().join("dead-letters.jsonl"));
        let lines = letters.unwrap_or_default().lines().skip(1).map(str::to_owned).collect();
        (self.script, lines)
    }
}

fn cause() -> Cause {
    anyhow::anyhow!("no")
}

#[tokio::test(start_paused = true)]
async fn entries_go_out_together_in_order_and_are_acknowledged() {
    let bench = start("d1", 1 << 20);
    bench.push(&["1", "2"], true);
    bench.push(&["3"], false);
    let (script, letters) = bench.finish().await;
    assert_eq!(*script.taken.lock().unwrap(), [["1", "2", "3"]]);
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Delivered]);
    assert!(letters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_more_waits_no_longer_when_sources_have_no_memory_to_read_more() {
    let bench = start("d40", 1 << 20);
    let started = tokio::time::Instant::now();
    bench.push(&["1"], true);
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(bench.script.calls.load(Ordering::SeqCst), 0, "there may be more to come");
    let waiter = bench.wanted.waiter();
    super::until("the first", || bench.script.lines().len() == 1).await;
    assert!(started.elapsed() < Duration::from_millis(460), "{:?}", started.elapsed());
    bench.push(&["2"], true);
    super::until("the second", || bench.script.lines().len() == 2).await;
    assert!(started.elapsed() < Duration::from_millis(520), "{:?}", started.elapsed());
    drop(waiter);
    let started = tokio::time::Instant::now();
    bench.push(&["3"], true);
    super::until("the third", || bench.script.lines().len() == 3).await;
    assert!(started.elapsed() >= Duration::from_secs(1), "it may wait again");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_write_is_repeated_until_it_succeeds_and_nothing_overtakes_it() {
    let bench = start("d2", 1 << 20);
    for _ in 0..5 {
        bench.script.answer(|_| Err(WriteError::Retry { after: None, cause: cause() }));
    }
    bench.push(&["1"], true);
    super::until("two tries", || bench.script.calls.load(Ordering::SeqCst) >= 2).await;
    bench.push(&["2"], true);
    super::until("both", || bench.script.lines().len() == 2).await;
    let (script, _) = bench.finish().await;
    assert_eq!(script.lines(), ["1", "2"]);
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Delivered; 2]);
}

#[tokio::test(start_paused = true)]
async fn the_wait_that_a_backend_asks_for_is_kept() {
    let bench = start("d3", 1 << 20);
    let after = Some(Duration::from_secs(40));
    bench.script.answer(move |_| Err(WriteError::Retry { after, cause: cause() }));
    let started = tokio::time::Instant::now();
    bench.push(&["1"], true);
    super::until("delivered", || bench.script.lines().len() == 1).await;
    let took = started.elapsed().as_secs();
    assert!((40..43).contains(&took), "{took}");
    bench.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_asks_for_no_pause_gets_our_own_and_is_not_asked_in_a_loop() {
    let bench = start("d18", 1 << 20);
    let now = Some(Duration::ZERO);
    for _ in 0..10_000 {
        bench.script.answer(move |_| Err(WriteError::Retry { after: now, cause: cause() }));
    }
    bench.push(&["1"], true);
    tokio::time::sleep(Duration::from_mins(10)).await;
    let calls = bench.script.calls.load(Ordering::SeqCst);
    assert!((10..60).contains(&calls), "{calls}");
    bench.script.answers.lock().unwrap().clear();
    assert_eq!(bench.finish().await.0.lines(), ["1"]);
}

#[test]
fn a_pause_is_never_less_than_what_is_asked_for_nor_than_our_own_and_no_more_than_five_minutes() {
    let after = |seconds| Some(Duration::from_secs(seconds));
    for seed in 0..100 {
        let [mut ours, mut none, mut seven, mut day] = [(); 4].map(|()| Backoff::new(seed));
        for _ in 0..12 {
            let own = ours.next(None);
            assert!(own <= LAST && none.next(after(0)) >= own);
            let asked = seven.next(after(7));
            assert!(asked >= own && asked >= Duration::from_secs(7));
            let longest = day.next(after(86_400));
            assert!((LONGEST_RETRY_AFTER..=LONGEST_RETRY_AFTER + FIRST).contains(&longest));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_us_is_asked_again_each_half_minute_and_nothing_is_lost() {
    let bench = start("d4", 1 << 20);
    for _ in 0..3 {
        bench.script.answer(|_| Err(WriteError::Hold { cause: cause() }));
    }
    bench.push(&["1"], true);
    let started = tokio::time::Instant::now();
    super::until("delivered", || bench.script.lines().len() == 1).await;
    assert_eq!(started.elapsed().as_secs() / 30, 3);
    let (script, letters) = bench.finish().await;
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Delivered]);
    assert!(letters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_large_goes_in_halves() {
    let bench = start("d5", 1 << 20);
    fn at_most_two(lines: &[String]) -> Result<(), WriteError> {
        if lines.len() > 2 { Err(WriteError::Split { cause: cause() }) } else { Ok(()) }
    }
    for _ in 0..7 {
        bench.script.answer(at_most_two);
    }
    bench.push(&["1", "2", "3", "4", "5"], true);
    let (script, _) = bench.finish().await;
    assert_eq!(script.lines(), ["1", "2", "3", "4", "5"]);
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_is_too_large_by_itself_becomes_a_dead_letter_and_the_rest_is_delivered() {
    let bench = start("d19", 1 << 20);
    for _ in 0..20 {
        bench.script.answer(|lines| {
            let large = lines.iter().any(|line| line.len() > 3);
            if large { Err(WriteError::Split { cause: cause() }) } else { Ok(()) }
        });
    }
    bench.push(&["1", "2", "large", "4"], true);
    let (script, letters) = bench.finish().await;
    assert_eq!(script.lines(), ["1", "2", "4"]);
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Rejected]);
    assert!(letters.len() == 1 && letters[0].contains("\"line\":\"large\""), "{letters:?}");
}

#[tokio::test(start_paused = true)]
async fn named_bad_events_become_dead_letters_and_the_rest_is_delivered() {
    let bench = start("d6", 1 << 20);
    bench.script.answer(|_| Err(WriteError::Reject { events: vec![1, 2], cause: cause() }));
    bench.push(&["1", "2"], true);
    bench.push(&["3", "4"], true);
    bench.push(&["5"], true);
    let (script, letters) = bench.finish().await;
    assert_eq!(script.lines(), ["1", "4", "5"]);
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Rejected, Fate::Rejected, Fate::Delivered]);
    assert_eq!(letters.len(), 2);
    assert!(
        letters[0].contains("\"line\":\"2\"") && letters[1].contains("\"line\":\"3\""),
        "{letters:?}"
    );
}

fn no_threes(lines: &[String]) -> Result<(), WriteError> {
    if lines.iter().any(|line| line == "3") {
        Err(WriteError::Refuse { cause: cause() })
    } else {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_unnamed_bad_event_is_found_by_bisection() {
    let bench = start("d7", 1 << 20);
    for _ in 0..20 {
        bench.script.answer(no_threes);
    }
    bench.push(&["1", "2", "3", "4", "5", "6", "7"], true);
    let (script, letters) = bench.finish().await;
    assert_eq!(script.lines(), ["1", "2", "4", "5", "6", "7"], "in order, none twice");
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Rejected]);
    assert_eq!(letters.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn however_many_events_are_bad_no_good_one_is_given_up() {
    let bench = start("d8", 1 << 20);
    let bad = |line: &String| line.parse::<usize>().unwrap() % 7 == 3;
    for _ in 0..10_000 {
        bench.script.answer(move |lines| {
            let refuse = Err(WriteError::Refuse { cause: cause() });
            if lines.iter().any(bad) { refuse } else { Ok(()) }
        });
    }
    let lines: Vec<String> = (0..900).map(|n| n.to_string()).collect();
    bench.push(&lines.iter().map(String::as_str).collect::<Vec<_>>(), true);
    super::until("all", || bench.script.fates.lock().unwrap().len() == 1).await;
    let (script, letters) = bench.finish().await;
    let good: Vec<String> = lines.iter().filter(|line| !bad(line)).cloned().collect();
    assert_eq!(script.lines(), good, "in order, none twice");
    assert_eq!(letters.len(), lines.len() - good.len());
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_everything_is_asked_seldom_and_gets_the_rest_when_it_is_well_again()
{
    let bench = start("d15", 1 << 20);
    for _ in 0..100 {
        bench.script.answer(|_| Err(WriteError::Refuse { cause: cause() }));
    }
    let lines: Vec<String> = (0..900).map(|n| n.to_string()).collect();
    let calls = || bench.script.calls.load(Ordering::SeqCst);
    bench.push(&lines.iter().map(String::as_str).collect::<Vec<_>>(), true);
    super::until("the quick ones", || calls() > 64).await;
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert!(calls() < 100, "{}: the pauses grow", calls());
    assert_eq!(bench.state.condition(), Condition::Rejecting);
    super::until("all", || bench.script.fates.lock().unwrap().len() == 1).await;
    let (script, letters) = bench.finish().await;
    assert_eq!(letters.len() + script.lines().len(), 900);
    assert!(letters.len() < 80, "{}: only what was refused by itself", letters.len());
}

#[tokio::test(start_paused = true)]
async fn of_a_write_that_was_taken_partly_the_rest_is_sent_again_until_an_answer_covers_it() {
    let bench = start("d16", 1 << 20);
    let partly =
        |events: Vec<usize>| move |_: &[String]| Err(WriteError::Partly { events, cause: cause() });
    bench.script.answer(partly(vec![1, 2, 4]));
    bench.script.answer(|lines| {
        assert_eq!(lines, ["1", "4", "6", "7"]);
        Err(WriteError::Retry { after: None, cause: cause() })
    });
    bench.script.answer(partly(vec![2]));
    bench.push(&["1", "2"], true);
    bench.push(&["3", "4"], true);
    bench.push(&["5"], true);
    bench.push(&["6"], true);
    bench.push(&["7"], true);
    bench.script.answer(partly(vec![0]));
    let (script, letters) = bench.finish().await;
    assert_eq!(script.calls.load(Ordering::SeqCst), 5);
    assert_eq!(script.lines(), ["4", "7"]);
    let fates = script.fates.lock().unwrap();
    assert_eq!(fates.iter().filter(|&&fate| fate == Fate::Rejected).count(), 4);
    assert_eq!((letters.len(), fates.len()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_names_what_was_not_sent_is_as_one_that_names_nothing() {
    let bench = start("d17", 1 << 20);
    for events in [vec![], vec![7]] {
        bench.script.answer(|_| Err(WriteError::Partly { events, cause: cause() }));
    }
    bench.push(&["1", "2", "3"], true);
    let (script, letters) = bench.finish().await;
    assert_eq!(script.lines(), ["2", "3"]);
    assert_eq!(letters.len(), 1, "{letters:?}");
}

#[tokio::test(start_paused = true)]
async fn an_output_that_panics_is_built_again_and_the_culprit_is_found() {
    let bench = start("d9", 1 << 20);
    for _ in 0..20 {
        bench.script.answer(|lines| {
            assert!(!lines.iter().any(|line| line == "3"), "as asked");
            Ok(())
        });
    }
    bench.push(&["1", "2", "3", "4"], true);
    let (script, letters) = bench.finish().await;
    assert_eq!(script.lines(), ["1", "2", "4"]);
    assert_eq!(letters.len(), 1);
}

/// An output whose first write never returns, whatever its plugin's own limit was to be.
struct Hung(Sink);

#[async_trait::async_trait]
impl Output for Hung {
    fn accepts(&self) -> Kinds {
        Kinds::LOGS
    }

    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError> {
        let outcome = self.0.write(pieces).await;
        if self.0.0.calls.load(Ordering::SeqCst) == 1 {
            self.0.0.taken.lock().unwrap().clear();
            std::future::pending::<()>().await;
        }
        outcome
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        Ok(String::new())
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_does_not_return_is_given_up_after_two_minutes_and_tried_again() {
    let bench = start_with("d20", 1 << 20, || Box::new(Hung(Sink(script("d20"), Kinds::LOGS))));
    bench.push(&["1"], true);
    let started = tokio::time::Instant::now();
    super::until("delivered", || bench.script.lines().len() == 1).await;
    assert_eq!(started.elapsed().as_secs() / 60, 2);
    let (script, letters) = bench.finish().await;
    assert_eq!(script.calls.load(Ordering::SeqCst), 2);
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Delivered]);
    assert!(letters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest_without_a_receipt_and_never_one_with() {
    let bench = start("d10", 200);
    let retry = |_: &[String]| {
        Err(WriteError::Retry { after: Some(Duration::from_secs(60)), cause: cause() })
    };
    bench.script.answer(retry);
    bench.push(&["first"], true);
    super::until("one try", || bench.script.calls.load(Ordering::SeqCst) == 1).await;
    for line in ["a", "b", "c", "d", "e"] {
        bench.push(&[line], false);
        bench.push(&[&line.to_uppercase()], true);
    }
    let drops = bench.state.counters.drops();
    let (script, _) = bench.finish().await;
    assert_eq!(drops["queue_full"], 2, "three of 57 bytes fit into 200");
    assert_eq!(script.lines(), ["first", "A", "B", "c", "C", "d", "D", "e", "E"]);
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_what_is_left_is_lost_to_its_source_and_counted() {
    let bench = start("d11", 1 << 20);
    for _ in 0..1000 {
        bench.script.answer(|_| Err(WriteError::Retry { after: None, cause: cause() }));
    }
    bench.push(&["1"], true);
    bench.push(&["2"], false);
    super::until("a try", || bench.script.calls.load(Ordering::SeqCst) > 0).await;
    bench.push(&["3"], true);
    bench.push(&["4"], false);
    bench.deadline.cancel();
    let state = Arc::clone(&bench.state);
    let (script, _) = bench.finish().await;
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Lost, Fate::Lost]);
    assert_eq!(state.counters.drops()["shutdown"], 2);
}

#[tokio::test(start_paused = true)]
async fn no_write_holds_more_events_than_it_may_however_large_the_entries() {
    let bench = start("d12", 1 << 20);
    let lines: Vec<String> = (0..2500).map(|n| n.to_string()).collect();
    bench.push(&lines.iter().map(String::as_str).collect::<Vec<_>>(), true);
    let (script, _) = bench.finish().await;
    let sizes: Vec<usize> = script.taken.lock().unwrap().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1000, 1000, 500]);
    assert_eq!(script.lines(), lines, "in order");
    assert_eq!(*script.fates.lock().unwrap(), [Fate::Delivered]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_stops_does_not_sit_out_a_pause() {
    let bench = start("d13", 1 << 20);
    let after = Some(Duration::from_secs(300));
    bench.script.answer(move |_| Err(WriteError::Retry { after, cause: cause() }));
    bench.script.answer(|_| Err(WriteError::Hold { cause: cause() }));
    bench.push(&["1"], false);
    super::until("a try", || bench.script.calls.load(Ordering::SeqCst) == 1).await;
    let started = tokio::time::Instant::now();
    let (script, _) = bench.finish().await;
    assert_eq!(script.lines(), ["1"], "the backend is back");
    assert_eq!(started.elapsed().as_secs(), 1, "one more second after the second refusal");
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_everything_does_not_look_well_until_it_takes_something() {
    let bench = start("d14", 1 << 20);
    let refuse = |_: &[String]| Err(WriteError::Refuse { cause: cause() });
    (0..3).for_each(|_| bench.script.answer(refuse));
    bench.push(&["1", "2"], true);
    super::until("refused", || bench.script.fates.lock().unwrap().len() == 1).await;
    assert_eq!(bench.state.condition(), Condition::Rejecting);
    bench.push(&["3"], true);
    super::until("taken", || bench.script.lines().len() == 1).await;
    assert_eq!(bench.state.condition(), Condition::Active);
    bench.finish().await;
}

#[test]
fn dead_letters_are_for_their_owner_only_and_are_counted_when_they_are_on_disk() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let telemetry = Telemetry::new("h".into(), Vec::new(), Pressure::default());
    let piece =
        Piece::whole(Arc::new(log_batch("in", &Arc::new(Labels::new([("a", "b")])), &["x"])));
    let who = telemetry.add(Role::Output, "scripted", &"out".into());
    let nowhere = DeadLetters::new(&folder.path().join("gone"), Arc::clone(&telemetry));
    assert!(nowhere.write(&who, &piece, &[0], "no").is_err());
    assert_eq!(telemetry.json()["dead_letters"], 0);
    let letters = DeadLetters::new(folder.path(), Arc::clone(&telemetry));
    letters.write(&who, &piece, &[0], "no").unwrap();
    assert_eq!(telemetry.json()["dead_letters"], 1);
    let file = std::fs::metadata(folder.path().join("dead-letters.jsonl")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
}
