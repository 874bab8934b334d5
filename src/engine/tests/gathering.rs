//! Polled inputs: their clock, their deadlines.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{plan, script, shared, until};
use crate::gather::Schedule;
use crate::pipeline;

#[test]
fn gathers_fall_on_multiples_of_the_interval() {
    let schedule =
        Schedule { interval: Duration::from_secs(10), round: true, delay: Duration::ZERO };
    assert_eq!(schedule.next(12_345), (Duration::from_millis(7_655), 20_000));
    assert_eq!(schedule.next(20_000), (Duration::from_secs(10), 30_000));
    let schedule = Schedule { round: false, delay: Duration::from_millis(3), ..schedule };
    assert_eq!(schedule.next(12_345), (Duration::from_millis(10_003), 22_345));
}

#[tokio::test]
async fn a_hung_collector_does_not_stop_the_others_and_is_not_called_again() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let text = "[agent]\ninterval = \"200ms\"\nflush_interval = \"10ms\"\n[[inputs.poll]]\nalias = \"g1\"\nstuck = true\n[[outputs.scripted]]\nalias = \"g1-out\"\n";
    let plan = plan(text, &shared);
    let running = pipeline::start(&plan, &shared).unwrap();
    until("five gathers", || script("g1").calls.load(Ordering::SeqCst) >= 5).await;
    assert_eq!(script("g1-stuck").calls.load(Ordering::SeqCst), 1);
    let status = running.telemetry.json();
    assert_eq!(status["plugins"][0]["state"], "hung");
    assert!(status["plugins"][0]["notes"]["stuck"].is_string(), "{status}");
    running.stop().await;
    assert!(script("g1-out").lines().len() >= 5);
}
