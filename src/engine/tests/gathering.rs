//! Polled inputs: their clock, their deadlines.

use std::sync::atomic::Ordering;
use std::time::Duration;

use sentinel_contract::pressure::Level;

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
    until("five gathers", || script("g1-out").lines().len() >= 5).await;
    assert_eq!(script("g1-stuck").calls.load(Ordering::SeqCst), 1);
    let status = running.telemetry.json();
    assert_eq!(status["plugins"][0]["state"], "hung");
    assert!(status["plugins"][0]["notes"]["stuck"].is_string(), "{status}");
    running.stop().await;
}

#[test]
fn a_moment_is_gathered_once_though_the_clock_is_slowed_down_or_set() {
    let schedule =
        Schedule { interval: Duration::from_secs(10), round: true, delay: Duration::ZERO };
    let ms = Duration::from_millis;
    assert_eq!(schedule.after(20_000, 20_003), (ms(9_997), 30_000));
    assert_eq!(schedule.after(20_000, 19_995), (ms(10_005), 30_000), "woken 5 ms early");
    assert_eq!(schedule.after(3_600_000, 19_995), (ms(5), 20_000), "set back by an hour");
    assert_eq!(schedule.after(20_000, 3_600_005), (ms(9_995), 3_610_000), "suspended for an hour");
    let late = Schedule { delay: Duration::from_secs(9), ..schedule };
    assert!(!late.is_stale(20_000, 29_100) && late.is_stale(20_000, 39_100));
}

#[test]
fn jitter_is_never_longer_than_the_inputs_own_interval() {
    let second = Duration::from_secs(1);
    let schedule = Schedule::new(second, true, Duration::from_secs(8), "some host");
    assert!(!schedule.delay.is_zero() && schedule.delay < second, "{schedule:?}");
}

#[tokio::test]
async fn a_collector_that_hangs_takes_nothing_of_what_others_gathered() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let text = "[agent]\ninterval = \"200ms\"\nflush_interval = \"10ms\"\n[[inputs.poll]]\nalias = \"g2\"\nstuck_last = true\n[[outputs.scripted]]\nalias = \"g2-out\"\n";
    let plan = plan(text, &shared);
    let running = pipeline::start(&plan, &shared).unwrap();
    until("two gathers", || script("g2-out").lines().len() >= 2).await;
    running.stop().await;
    assert_eq!(script("g2-out").lines()[..2], ["0", "1"], "the first was gathered before it hung");
}

#[tokio::test]
async fn a_collector_that_speaks_in_log_records_is_heard_even_when_its_gather_fails() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    let text = "[agent]\ninterval = \"200ms\"\nflush_interval = \"10ms\"\n[[inputs.poll]]\nalias = \"g3\"\nsays = true\n[[outputs.scripted]]\nalias = \"g3-out\"\n";
    let plan = plan(text, &shared);
    let running = pipeline::start(&plan, &shared).unwrap();
    let said = || {
        let lines = script("g3-out").lines();
        lines.into_iter().filter(|line| line.starts_with("gather")).collect::<Vec<_>>()
    };
    until("two records", || said().len() >= 2).await;
    running.stop().await;
    assert_eq!(said()[..2], ["gather 1", "gather 2"]);
    assert!(script("g3-out").lines().contains(&"0".to_owned()), "samples go on");
}

#[tokio::test]
async fn a_collector_that_can_be_left_out_pauses_while_the_host_is_very_short() {
    let folder = tempfile::tempdir().unwrap();
    let shared = shared(folder.path());
    shared.pressure.set(Level::Processes);
    let text = "[agent]\ninterval = \"200ms\"\nflush_interval = \"10ms\"\n[[inputs.poll]]\nalias = \"g5\"\nsays = true\n[[outputs.scripted]]\nalias = \"g5-out\"\n";
    let plan = plan(text, &shared);
    let running = pipeline::start(&plan, &shared).unwrap();
    let input = |at: &str| running.telemetry.json()["plugins"][0][at].clone();
    let ticks = || script("g5").calls.load(Ordering::SeqCst);
    until("three pauses", || input("counts")["paused_gathers"].as_u64() >= Some(3)).await;
    let said = || script("g5-out").lines().iter().any(|line| line.starts_with("gather"));
    assert!(!said() && ticks() >= 2, "the other goes on: {:?}", script("g5-out").lines());
    assert!(input("notes")["says pauses"].is_string(), "{}", input("notes"));
    assert_eq!(running.telemetry.json()["pressure"]["level"], "processes");
    assert!(running.telemetry.prometheus().contains("sentinelops_pressure_level{} 2\n"));
    shared.pressure.set(Level::Models);
    until("it comes back", said).await;
    assert!(input("notes")["says pauses"].is_null(), "{}", input("notes"));
    running.stop().await;
}
