//! Going over to another plan: what is the same runs on, what changed hands its queue on, what is gone delivers what it
//! has.

use std::path::Path;
use std::sync::atomic::Ordering;

use sentinel_contract::{Fate, WriteError};

use super::{plan, script, shared, until};
use crate::config::Shared;
use crate::pipeline::{self, Running};

struct Agent {
    running: Running,
    shared: Shared,
    _folder: tempfile::TempDir,
}

fn text(plugins: &str) -> String {
    format!("[agent]\nflush_interval = \"10ms\"\nshutdown_timeout = \"2s\"\n{plugins}")
}

fn start(plugins: &str) -> Agent {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let running = pipeline::start(&plan(&text(plugins), &shared), &shared).unwrap();
    Agent { running, shared, _folder: folder }
}

impl Agent {
    async fn reload(&mut self, plugins: &str) -> Vec<&'static str> {
        let plan = plan(&text(plugins), &self.shared);
        self.running.reload(&plan).await.unwrap()
    }

    fn aliases(&self) -> Vec<String> {
        self.running.telemetry.plugins().iter().map(|plugin| plugin.alias.to_string()).collect()
    }
}

const TEN: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

fn fail(times: usize, alias: &str) {
    for _ in 0..times {
        script(alias)
            .answer(|_| Err(WriteError::Retry { after: None, cause: anyhow::anyhow!("down") }));
    }
}

#[tokio::test]
async fn an_unchanged_input_runs_on_while_a_changed_output_hands_its_queue_on() {
    fail(100_000, "r1-out");
    let input = "[[inputs.lines]]\nalias = \"r1\"\n[[processors.count]]\nalias = \"r1-count\"\n";
    let output = "[[outputs.scripted]]\nalias = \"r1-out\"\nfrom = [\"r1\"]\n";
    let mut agent = start(&format!("{input}{output}"));
    until("a try", || script("r1-out").calls.load(Ordering::SeqCst) > 0).await;
    until("all ten are seen", || script("r1-count").lines().len() == 10).await;
    script("r1-out").answers.lock().unwrap().clear();
    fail(1, "r1-out");
    agent.reload(&format!("{input}{output}batch_events = 3\n")).await;
    until("ten", || script("r1").fates.lock().unwrap().len() == 10).await;
    assert_eq!(script("r1-out").lines(), TEN, "each once, and in order");
    assert_eq!(*script("r1").fates.lock().unwrap(), [Fate::Delivered; 10]);
    assert_eq!(script("r1").calls.load(Ordering::SeqCst), 1, "the input ran once");
    assert_eq!(script("r1-count").calls.load(Ordering::SeqCst), 0, "the observer was not ended");
    let sizes: Vec<usize> = script("r1-out").taken.lock().unwrap().iter().map(Vec::len).collect();
    assert!(sizes.iter().all(|size| *size <= 3), "the new option is used: {sizes:?}");
    let status = agent.running.telemetry.json();
    assert_eq!(status["plugins"][2]["delivered"], 10, "and counts on");
    agent.running.stop().await;
}

#[tokio::test]
async fn an_output_that_is_added_gets_what_comes_and_one_that_is_gone_delivers_what_it_has() {
    let input = "[[inputs.lines]]\nalias = \"r2\"\nstubborn = true\n";
    let old = "[[outputs.scripted]]\nalias = \"r2-old\"\n";
    let new = "[[outputs.scripted]]\nalias = \"r2-new\"\n";
    let mut agent = start(&format!("{input}{old}"));
    until("the first", || script("r2-old").lines().len() >= 10).await;
    agent.reload(&format!("{input}{new}")).await;
    assert_eq!(agent.aliases(), ["r2", "r2-new"]);
    until("the second", || script("r2-new").lines().len() >= 10).await;
    assert!(script("r2-new").lines().iter().all(|line| line == "more"), "what came after");
    let before = script("r2-old").lines().len();
    until("later", || script("r2-new").lines().len() >= 30).await;
    assert!(script("r2-old").lines().len() <= before + 2, "nothing more is routed to it");
    agent.reload(&format!("{input}{old}{new}")).await;
    until("the first is back", || script("r2-old").lines().len() > before + 10).await;
    agent.running.stop().await;
}

#[tokio::test]
async fn an_output_that_is_gone_and_dead_lets_its_sources_go_on_and_says_what_it_gave_up() {
    fail(100_000, "r3-dead");
    let input = "[[inputs.lines]]\nalias = \"r3\"\n";
    let dead = "[[outputs.scripted]]\nalias = \"r3-dead\"\n";
    let live = "[[outputs.scripted]]\nalias = \"r3-live\"\n";
    let mut agent = start(&format!("{input}{dead}{live}"));
    until("one has them", || script("r3-live").lines().len() == 10).await;
    let state = agent.running.telemetry.plugins().into_iter().find(|p| &*p.alias == "r3-dead");
    agent.reload(&format!("{input}{live}")).await;
    until("given up", || script("r3").fates.lock().unwrap().len() == 10).await;
    assert_eq!(*script("r3").fates.lock().unwrap(), [Fate::Delivered; 10]);
    assert_eq!(state.unwrap().counters.drops()["output_removed"], 10);
    agent.running.stop().await;
}

#[tokio::test]
async fn a_transform_that_is_added_works_on_what_a_running_input_reads_next() {
    let input = "[[inputs.lines]]\nalias = \"r4\"\nstubborn = true\n";
    let strip = "[[processors.strip]]\nalias = \"r4-strip\"\nremove = \"more\"\n";
    let output = "[[outputs.scripted]]\nalias = \"r4-out\"\n";
    let mut agent = start(&format!("{input}{output}"));
    until("more", || script("r4-out").lines().len() > 12).await;
    agent.reload(&format!("{input}{strip}{output}")).await;
    assert_eq!(agent.aliases(), ["r4", "r4-strip", "r4-out"]);
    let removed = || agent.running.telemetry.json()["plugins"][1]["drops"]["filtered"].as_u64();
    until("removed", || removed() > Some(10)).await;
    let before = removed();
    agent.reload(&format!("{input}{strip}{output}batch_events = 7\n")).await;
    let after = || agent.running.telemetry.json()["plugins"][1]["drops"]["filtered"].as_u64();
    until("goes on", || after() > before.map(|before| before + 10)).await;
    assert_eq!(script("r4").calls.load(Ordering::SeqCst), 1, "the input ran once");
    agent.running.stop().await;
}

#[tokio::test]
async fn a_changed_observer_is_saved_and_its_successor_sees_what_comes() {
    let input = "[[inputs.lines]]\nalias = \"r5\"\nstubborn = true\n";
    let count = "[[processors.count]]\nalias = \"r5-count\"\n";
    let output = "[[outputs.scripted]]\nalias = \"r5-out\"\nfrom = [\"r5-count\"]\n";
    let mut agent = start(&format!("{input}{count}{output}"));
    until("seen", || script("r5-count").lines().len() > 10).await;
    agent.reload(&format!("{input}{count}tags = {{ a = \"b\" }}\n{output}")).await;
    assert_eq!(script("r5-count").calls.load(Ordering::SeqCst), 1, "saved");
    let before = script("r5-out").lines().len();
    until("it emits", || script("r5-out").lines().len() > before + 10).await;
    agent.reload(&format!("{input}{output}").replace("r5-count", "r5")).await;
    assert_eq!(script("r5-count").calls.load(Ordering::SeqCst), 2, "ended");
    assert_eq!(agent.aliases(), ["r5", "r5-out"]);
    agent.running.stop().await;
}

#[tokio::test]
async fn an_alias_can_go_to_an_input_with_other_options_again_and_again() {
    let output = "[[outputs.scripted]]\nalias = \"r6-out\"\n";
    let input = |round: usize| {
        format!("[[inputs.lines]]\nalias = \"r6\"\ntags = {{ round = \"{round}\" }}\n{output}")
    };
    let mut agent = start(&input(0));
    for round in 1..10 {
        until("the last", || script("r6").fates.lock().unwrap().len() == 10 * round).await;
        agent.reload(&input(round)).await;
    }
    until("all", || script("r6").fates.lock().unwrap().len() == 100).await;
    assert_eq!(script("r6-out").lines().len(), 100);
    let folder = agent.shared.state_dir.join("queues");
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 1);
    agent.running.stop().await;
}

#[tokio::test]
async fn what_a_running_agent_cannot_follow_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(Path::new(folder.path()));
    let plugins = "[[inputs.lines]]\nalias = \"r7\"\n";
    let mut running = pipeline::start(&plan(plugins, &shared), &shared).unwrap();
    until("it runs", || script("r7").calls.load(Ordering::SeqCst) == 1).await;
    let other = format!("[agent]\nmemory = \"48MiB\"\n[web]\nlisten = \"127.0.0.1:1\"\n{plugins}");
    let later = running.reload(&plan(&other, &shared)).await.unwrap();
    assert_eq!(later, ["agent.memory", "web.listen"]);
    assert_eq!(script("r7").calls.load(Ordering::SeqCst), 1, "and the input runs on");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_request_that_takes_too_long_goes_back_before_the_next_task_begins() {
    script("r30-out").answer(|_| {
        std::thread::sleep(std::time::Duration::from_secs(7));
        Err(WriteError::Retry { after: None, cause: anyhow::anyhow!("down") })
    });
    let input = "[[inputs.lines]]\nalias = \"r30\"\n[[processors.count]]\nalias = \"r30-count\"\n";
    let output = "[[outputs.scripted]]\nalias = \"r30-out\"\nfrom = [\"r30\"]\n";
    let mut agent = start(&format!("{input}{output}batch_events = 1\n"));
    until("a try", || script("r30-out").calls.load(Ordering::SeqCst) > 0).await;
    until("all ten are seen", || script("r30-count").lines().len() == 10).await;
    agent.reload(&format!("{input}{output}batch_events = 2\n")).await;
    until("ten", || script("r30-out").lines().len() == 10).await;
    assert_eq!(script("r30-out").lines(), TEN, "each once, and in order");
    agent.running.stop().await;
}
