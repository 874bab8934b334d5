//! The whole pipeline: fan-out, isolation, observers, and the order of stopping.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sentinel_contract::{Fate, WriteError};

use super::{plan, script, shared, until};
use crate::pipeline;

async fn run(text: &str, ready: impl Fn() -> bool) -> serde_json::Value {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let plan = plan(
        &format!("[agent]\nflush_interval = \"10ms\"\nshutdown_timeout = \"2s\"\n{text}"),
        &shared,
    );
    let running = pipeline::start(&plan, &shared).unwrap();
    until("ready", ready).await;
    let telemetry = std::sync::Arc::clone(&running.telemetry);
    running.stop().await;
    telemetry.json()
}

const TEN: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

#[tokio::test]
async fn every_line_reaches_every_output_once_in_order_and_is_acknowledged_once() {
    let text = "[[inputs.lines]]\nalias = \"l1\"\n[[outputs.scripted]]\nalias = \"l1-a\"\n[[outputs.scripted]]\nalias = \"l1-b\"\n";
    run(text, || script("l1").fates.lock().unwrap().len() == 10).await;
    assert_eq!(script("l1-a").lines(), TEN);
    assert_eq!(script("l1-b").lines(), TEN);
    assert_eq!(*script("l1").fates.lock().unwrap(), [Fate::Delivered; 10]);
}

#[tokio::test]
async fn a_dead_output_does_not_stop_another_and_stopping_ends_in_time() {
    for _ in 0..1000 {
        script("l2-dead")
            .answer(|_| Err(WriteError::Retry { after: None, cause: anyhow::anyhow!("down") }));
    }
    let text = "[[inputs.lines]]\nalias = \"l2\"\n[[outputs.scripted]]\nalias = \"l2-dead\"\n[[outputs.scripted]]\nalias = \"l2-live\"\n";
    let started = std::time::Instant::now();
    run(text, || script("l2-live").lines().len() == 10).await;
    assert!(started.elapsed() < Duration::from_secs(8), "the deadline is 2s");
    assert_eq!(*script("l2").fates.lock().unwrap(), [Fate::Lost; 10], "read again next time");
}

#[tokio::test]
async fn filtered_lines_are_delivered_as_far_as_their_source_is_concerned() {
    let text = "[[inputs.lines]]\nalias = \"l3\"\n[[processors.strip]]\nremove = \"4\"\n[[outputs.scripted]]\nalias = \"l3-out\"\n";
    let status = run(text, || script("l3").fates.lock().unwrap().len() == 10).await;
    assert_eq!(script("l3-out").lines().len(), 9);
    assert_eq!(*script("l3").fates.lock().unwrap(), [Fate::Delivered; 10]);
    assert_eq!(status["plugins"][1]["drops"]["filtered"], 1);
}

#[tokio::test]
async fn a_batch_that_panics_a_transform_twice_is_a_dead_letter_and_the_others_go_on() {
    let text = "[[inputs.lines]]\nalias = \"l4\"\n[[processors.strip]]\npanic = \"4\"\n[[outputs.scripted]]\nalias = \"l4-out\"\n";
    let status = run(text, || script("l4").fates.lock().unwrap().len() == 10).await;
    assert_eq!(script("l4-out").lines().len(), 9);
    let fates = script("l4").fates.lock().unwrap().clone();
    assert_eq!(fates.iter().filter(|fate| **fate == Fate::Rejected).count(), 1);
    assert_eq!(status["dead_letters"], 1);
}

#[tokio::test]
async fn a_batch_of_which_its_input_can_make_nothing_is_a_dead_letter_and_the_others_go_on() {
    let text = "[[inputs.lines]]\nalias = \"l-refused\"\nrefuse = \"4\"\n[[outputs.scripted]]\nalias = \"l-refused-out\"\n";
    let status = run(text, || script("l-refused").fates.lock().unwrap().len() == 10).await;
    assert_eq!(script("l-refused-out").lines().len(), 9);
    let fates = script("l-refused").fates.lock().unwrap().clone();
    assert_eq!(fates.iter().filter(|fate| **fate == Fate::Rejected).count(), 1);
    assert_eq!(status["dead_letters"], 1);
    assert_eq!(status["plugins"][0]["drops"]["refused"], 1);
}

#[tokio::test]
async fn without_an_output_lines_count_as_delivered_and_are_counted() {
    let status = run("[[inputs.lines]]\nalias = \"l5\"\n", || {
        script("l5").fates.lock().unwrap().len() == 10
    })
    .await;
    assert_eq!(*script("l5").fates.lock().unwrap(), [Fate::Delivered; 10]);
    assert_eq!(status["plugins"][0]["counts"]["no_output"], 10);
}

#[tokio::test]
async fn a_service_that_panics_is_started_again() {
    let text = "[[inputs.lines]]\nalias = \"l6\"\npanic = true\n[[outputs.scripted]]\nalias = \"l6-out\"\n";
    let status = run(text, || script("l6").fates.lock().unwrap().len() == 10).await;
    assert_eq!(script("l6-out").lines(), TEN);
    assert_eq!(status["plugins"][0]["restarts"], 1);
    assert!(status["plugins"][0]["last_error"]["message"].as_str().unwrap().contains("as asked"));
}

#[tokio::test]
async fn an_observer_sees_inputs_and_the_observers_above_it_and_emits_to_those_below() {
    let text = "[[inputs.lines]]\nalias = \"l7\"\n[[processors.count]]\nalias = \"l7-up\"\n[[processors.count]]\nalias = \"l7-down\"\n[[outputs.scripted]]\nalias = \"l7-out\"\nfrom = [\"l7-down\"]\n";
    run(text, || script("l7-out").lines().len() == 20).await;
    assert_eq!(script("l7-up").lines(), ["l7"; 10], "not what is below it");
    let down = script("l7-down").lines();
    assert_eq!(down.iter().filter(|origin| *origin == "l7-up").count(), 10);
    assert_eq!(script("l7-down").calls.load(Ordering::SeqCst), 1, "saved at the end");
    assert_eq!(script("l7-out").lines().len(), 20, "only what its origin made");
}

#[tokio::test]
async fn from_and_filters_choose_what_an_output_gets() {
    let text = "[[inputs.lines]]\nalias = \"l8\"\n[[inputs.lines]]\nalias = \"l8-other\"\ntags = { job = \"other\" }\n[[outputs.scripted]]\nalias = \"l8-from\"\nfrom = [\"l8\"]\n[[outputs.scripted]]\nalias = \"l8-tag\"\ntagpass = { job = [\"oth*\"] }\n[[outputs.scripted]]\nalias = \"l8-all\"\n";
    run(text, || script("l8-all").lines().len() == 20).await;
    assert_eq!(script("l8-from").lines(), TEN);
    assert_eq!(script("l8-tag").lines(), TEN);
}

#[tokio::test]
async fn an_observer_that_panics_when_it_is_shown_goes_on() {
    let text = "[[inputs.lines]]\nalias = \"l9\"\n[[processors.count]]\nalias = \"l9-shy\"\nshy = true\n[[outputs.scripted]]\nalias = \"l9-out\"\nfrom = [\"l9-shy\"]\n";
    run(text, || script("l9-out").lines().len() == 10).await;
    assert_eq!(script("l9-shy").calls.load(Ordering::SeqCst), 1, "saved at the end");
}

#[tokio::test]
async fn an_input_that_does_not_stop_leaves_time_for_the_others() {
    let text = "[[inputs.lines]]\nalias = \"l10\"\nstubborn = true\n[[processors.count]]\nalias = \"l10-count\"\n[[outputs.scripted]]\nalias = \"l10-out\"\n";
    let started = std::time::Instant::now();
    run(text, || script("l10").fates.lock().unwrap().len() == 10).await;
    assert!(started.elapsed() < Duration::from_secs(8), "the deadline is 2s");
    assert_eq!(script("l10-count").calls.load(Ordering::SeqCst), 1, "saved at the end");
}
