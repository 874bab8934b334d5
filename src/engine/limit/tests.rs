//! A source with too many series or streams, through the limits and through a lane.

use std::time::Duration;

use sentinel_contract::Kind;

use super::*;
use crate::tests::log_batch;

const HOUR: Duration = Duration::from_hours(1);

fn samples(numbers: std::ops::Range<usize>) -> Events {
    let sample = |number: usize| Metric {
        series: Series::new("requests", Kind::Counter, [("id", number.to_string())]),
        time_ms: 0,
        value: 1.0,
    };
    Events::Metrics(numbers.map(sample).collect())
}

fn limits(max_series: usize, max_streams: usize) -> (Limits, Counters) {
    let tags = Labels::new([("host", "h")]);
    (Limits::new(max_series, max_streams, &tags), Counters::default())
}

#[test]
fn of_a_hundred_thousand_series_as_many_as_the_limit_go_on_and_the_rest_is_counted() {
    let (mut limits, counters) = limits(10_000, 10);
    let mut passed = 0;
    for part in 0..100 {
        let mut events = samples(part * 1000..(part + 1) * 1000);
        limits.apply(&mut events, &counters);
        passed += events.len();
    }
    assert_eq!((passed, counters.drops()["series_limit"]), (10_000, 90_000));
    assert_eq!(counters.series.load(Relaxed), 10_000);
    assert!(limits.series.by_hash.capacity() < 20_000, "what is refused is not kept");
    let notes = counters.notes();
    assert_eq!(notes.len(), 1);
    assert!(notes["max_series"].contains("requests{id=\"10000\"}"), "{notes:?}");
    let mut known = samples(0..1000);
    limits.apply(&mut known, &counters);
    assert_eq!(known.len(), 1000, "those that were first go on");
}

#[tokio::test(start_paused = true)]
async fn series_that_are_gone_for_an_hour_make_room_and_those_that_come_stay() {
    let (mut limits, counters) = limits(100, 10);
    limits.apply(&mut samples(0..100), &counters);
    for _ in 0..3 {
        tokio::time::advance(HOUR / 3).await;
        limits.apply(&mut samples(0..40), &counters);
        let mut more = samples(100..101);
        limits.apply(&mut more, &counters);
    }
    assert_eq!(counters.drops()["series_limit"], 2, "the third time there was room");
    assert!(counters.notes().is_empty(), "{:?}", counters.notes());
    let mut more = samples(101..200);
    limits.apply(&mut more, &counters);
    assert_eq!(more.len(), 100 - 40 - 1);
    let mut known = samples(0..40);
    limits.apply(&mut known, &counters);
    assert_eq!(known.len(), 40);
}

fn line(pairs: &[(&str, &str)]) -> Events {
    let labels = Arc::new(Labels::new(pairs.iter().copied()));
    log_batch("in", &labels, &["a line"]).events
}

fn stream(events: &Events) -> &Labels {
    let Events::Logs(logs) = events else { panic!("lines") };
    &logs[0].stream
}

#[test]
fn no_line_is_dropped_for_its_stream_and_its_job_is_kept() {
    let (mut limits, counters) = limits(10, 2);
    for number in 0..50 {
        let pod = number.to_string();
        let mut events = line(&[("host", "h"), ("job", "shop"), ("pod", &pod)]);
        limits.apply(&mut events, &counters);
        assert_eq!(events.len(), 1);
        let expected = if number < 2 {
            Labels::new([("host", "h"), ("job", "shop"), ("pod", &pod)])
        } else {
            Labels::new([("host", "h"), ("job", "shop"), ("overflow", "true")])
        };
        assert_eq!(*stream(&events), expected);
    }
    assert_eq!((counters.counts()["stream_limit"], counters.drops().len()), (48, 0));
    assert_eq!(counters.streams.load(Relaxed), 2);
    let notes = counters.notes();
    assert!(notes["max_streams"].contains("pod=\"2\""), "{notes:?}");
}

#[test]
fn jobs_that_are_too_many_themselves_share_one_stream() {
    let (mut limits, counters) = limits(10, 1);
    let mut streams = std::collections::BTreeSet::new();
    for number in 0..1000 {
        let mut events = line(&[("job", &number.to_string())]);
        limits.apply(&mut events, &counters);
        streams.insert(all_labels(stream(&events)));
    }
    assert_eq!(streams.len(), 1 + JOBS + 1, "{streams:?}");
    assert!(streams.contains("{host=\"h\",overflow=\"true\"}"), "{streams:?}");
}

#[test]
fn a_long_example_is_cut_between_characters() {
    let long = Series::new("s", Kind::Gauge, [("l", "\u{e4}".repeat(1000))]);
    assert_eq!(name_of(&long).chars().count(), EXAMPLE + 3);
}
