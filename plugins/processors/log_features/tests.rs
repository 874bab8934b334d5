//! What log_features promises: windows in event time, silence seen, bounded sets with known errors, nothing squeezed in.

mod estimates;
mod failures;
mod reference;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use sentinel_contract::history::NoHistory;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Context, Emit, Events, Field, Fields, Labels, Log, Metric, Name, Observer, Plugin, Value,
};

use super::{Config, Features, LogFeatures};

const T0: i64 = 1_773_144_000; // a whole hour

fn context() -> Context {
    Context {
        alias: "log_features".into(),
        host: "here".into(),
        tags: Arc::new(Labels::new([("env", "test")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    }
}

fn features(options: &str) -> Features {
    let config: Config = toml::from_str(options).unwrap();
    Features::new(&config, &context()).unwrap()
}

/// A request at a second after `T0`.
fn request(stream: &Arc<Labels>, second: f64, client: &str, status: u16) -> Log {
    let text =
        |name, value: &str| Field { name: Name::Static(name), value: Value::Text(value.into()) };
    let number = |name, value| Field { name: Name::Static(name), value: Value::Number(value) };
    let fields = vec![
        text("remote_addr", client),
        text("method", if status == 201 { "POST" } else { "GET" }),
        number("status", f64::from(status)),
        number("body_bytes_sent", 100.0),
        text("http_user_agent", "curl"),
        number("request_time", 0.2),
    ];
    Log {
        stream: Arc::clone(stream),
        time_ns: ((T0 as f64 + second) * 1e9) as i64,
        body: Bytes::new(),
        fields: Some(Box::new(Fields(fields))),
    }
}

fn job(name: &str) -> Arc<Labels> {
    Arc::new(Labels::new([("job", name)]))
}

fn batch(origin: &str, source: u64, logs: Vec<Log>) -> Batch {
    let mut batch = Batch::new(origin.into(), Events::Logs(logs));
    batch.source = source;
    batch
}

/// Runs, and gives what was written: by second of the window's end, then by series.
#[derive(Default)]
struct Rows(BTreeMap<i64, BTreeMap<String, f64>>);

impl Rows {
    fn take(&mut self, emit: Emit) {
        for events in emit.0 {
            match events {
                Events::Metrics(metrics) => metrics.iter().for_each(|metric| self.add(metric)),
                Events::Evidence(_) => {}
                other => panic!("neither metrics nor evidence: {other:?}"),
            }
        }
    }

    fn add(&mut self, metric: &Metric) {
        let labels =
            metric.series.labels().iter().filter(|(name, _)| !["env", "host"].contains(name));
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let name = format!("{}{{{}}}", metric.series.name(), labels.join(","));
        let window = self.0.entry(metric.time_ms / 1000 - T0).or_default();
        assert!(window.insert(name.clone(), metric.value).is_none(), "{name} was written twice");
        assert_eq!(metric.series.labels().get("host"), Some("here"));
        assert_eq!(metric.series.labels().get("env"), Some("test"));
    }

    fn get(&self, window: i64, name: &str) -> Option<f64> {
        self.0.get(&window)?.get(name).copied()
    }

    fn requests(&self) -> Vec<(i64, f64)> {
        self.0
            .iter()
            .filter_map(|(window, row)| Some((*window, *row.get("log_requests{job=web}")?)))
            .collect()
    }
}

fn observe(features: &mut Features, rows: &mut Rows, batch: &Batch) {
    let mut emit = Emit::default();
    features.observe(batch, &mut emit);
    rows.take(emit);
}

fn tick(features: &mut Features, rows: &mut Rows, second: i64) {
    let mut emit = Emit::default();
    features.tick((T0 + second) * 1000, &mut emit);
    rows.take(emit);
}

#[test]
fn a_window_gives_its_features_at_its_end() {
    let (mut it, mut rows, web) =
        (features("window = \"10s\"\nlateness = \"2s\""), Rows::default(), job("web"));
    let at = |second, client: &str, status| request(&web, second, client, status);
    let logs = vec![
        at(3.0, "a", 200),
        at(10.0, "a", 200),
        at(11.0, "a", 201),
        at(12.0, "b", 404),
        at(19.9, "b", 503),
        at(21.9, "c", 200),
    ];
    observe(&mut it, &mut rows, &batch("nginx", 1, logs));
    assert!(rows.0.is_empty(), "the lateness is not over");
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(22.0, "c", 200)]));
    let wanted = [
        ("log_bytes{job=web}", 400.0),
        ("log_client_errors{job=web}", 1.0),
        ("log_clients{job=web}", 2.0),
        ("log_error_rate{job=web}", 0.25),
        ("log_errors{job=web}", 1.0),
        ("log_method_share{job=web,method=GET}", 0.75),
        ("log_method_share{job=web,method=POST}", 0.25),
        ("log_requests_per_session{job=web}", 2.0),
        ("log_requests{job=web}", 4.0),
        ("log_sessions{job=web}", 2.0),
    ];
    let mut row = rows.0.remove(&20).unwrap();
    for quantile in ["p50", "p95", "p99"] {
        let seconds = row.remove(&format!("log_latency_{quantile}{{job=web}}")).unwrap();
        assert!((seconds - 0.2).abs() <= 0.002, "{seconds}");
    }
    assert_eq!(
        row.into_iter().collect::<Vec<_>>(),
        wanted.map(|(name, value)| (name.to_owned(), value))
    );
    assert!(rows.0.is_empty(), "the first window was not whole: {:?}", rows.0);
    assert_eq!(it.status()["origins"][0]["in_first_partial_window"], 1);
}

#[test]
fn a_window_that_began_after_the_start_is_whole_even_if_it_is_the_first() {
    let (mut it, mut rows, web) =
        (features("window = \"10s\"\nlateness = \"0s\""), Rows::default(), job("web"));
    tick(&mut it, &mut rows, 5);
    observe(
        &mut it,
        &mut rows,
        &batch("nginx", 1, vec![request(&web, 15.0, "a", 200), request(&web, 20.0, "a", 200)]),
    );
    assert_eq!(rows.requests(), [(20, 1.0)]);
}

#[test]
fn what_comes_late_is_counted_not_squeezed_in() {
    let (mut it, mut rows, web) =
        (features("window = \"10s\"\nlateness = \"2s\""), Rows::default(), job("web"));
    let at = |second| request(&web, second, "a", 200);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(0.0), at(11.0), at(21.0), at(19.0)]));
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(25.0), at(18.0), at(26.0)]));
    assert_eq!(
        rows.requests(),
        [(20, 3.0)],
        "the line of 18 s came before the watermark was moved past it"
    );
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(12.0), at(33.0)]));
    assert_eq!(rows.requests(), [(20, 3.0), (30, 3.0)]);
    assert_eq!(it.status()["origins"][0]["late"], 1);
    assert!(
        rows.0.values().any(|row| row.get("log_late{origin=nginx}") == Some(&1.0)),
        "{:?}",
        rows.0
    );
}

#[test]
fn the_slowest_active_source_holds_the_window_and_an_idle_one_does_not() {
    let (mut it, mut rows, web) =
        (features("window = \"10s\"\nlateness = \"2s\""), Rows::default(), job("web"));
    let at = |second| request(&web, second, "a", 200);
    tick(&mut it, &mut rows, 12);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(1.0), at(12.0)]));
    observe(&mut it, &mut rows, &batch("nginx", 2, vec![at(12.0)]));
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(23.0)]));
    tick(&mut it, &mut rows, 13);
    assert!(rows.requests().is_empty(), "source 2 has shown 12 s only");
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(24.0)]));
    tick(&mut it, &mut rows, 15);
    assert!(rows.requests().is_empty(), "heard up to a second later than the clock says");
    tick(&mut it, &mut rows, 16);
    assert_eq!(rows.requests(), [(20, 2.0)], "source 2 is idle");
}

#[test]
fn a_source_that_speaks_all_the_time_is_not_idle_between_two_ticks_that_are_a_little_apart() {
    let (mut it, mut rows, web) =
        (features("window = \"1s\"\nlateness = \"1s\""), Rows::default(), job("web"));
    let at = |second| request(&web, second, "a", 200);
    tick(&mut it, &mut rows, 7);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(8.0), at(9.0), at(10.0)]));
    let mut emit = Emit::default();
    it.tick(T0 * 1000 + 8_050, &mut emit); // heard less than a second ago, for all that this clock can say
    it.tick(T0 * 1000 + 11_900, &mut emit);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(10.0), at(11.0)]));
    it.tick(T0 * 1000 + 12_950, &mut emit); // the clock would have closed the window of 11 s
    rows.take(emit);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(11.0), at(12.0), at(13.0)]));
    assert_eq!(it.status()["origins"][0]["late"], 0);
    assert_eq!(rows.get(12, "log_requests{job=web}"), Some(2.0));
}

#[test]
fn when_all_is_silent_the_clock_closes_the_window_and_zeros_are_written_for_an_hour() {
    let (mut it, mut rows, web) =
        (features("window = \"1m\"\nlateness = \"5s\""), Rows::default(), job("web"));
    tick(&mut it, &mut rows, 0);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![request(&web, 61.0, "a", 500)]));
    for second in (61..2 * 3600).step_by(7) {
        tick(&mut it, &mut rows, second);
    }
    let requests = rows.requests();
    assert_eq!(requests[..3], [(120, 1.0), (180, 0.0), (240, 0.0)]);
    assert_eq!(requests.len(), 61, "one with traffic, then an hour of silence");
    for zero in ["log_errors", "log_sessions", "log_clients", "log_bytes", "log_client_errors"] {
        assert_eq!(rows.get(180, &format!("{zero}{{job=web}}")), Some(0.0), "{zero}");
    }
    for missing in ["log_error_rate", "log_latency_p50", "log_requests_per_session"] {
        assert_eq!(rows.get(180, &format!("{missing}{{job=web}}")), None, "{missing} of nothing");
    }
}

#[test]
fn a_group_that_was_silent_for_one_window_between_two_is_written_as_zero() {
    let (mut it, mut rows) = (features("window = \"10s\"\nlateness = \"15s\""), Rows::default());
    let at = |job_name: &str, second| request(&job(job_name), second, "a", 200);
    let logs = vec![
        at("x", 1.0),
        at("web", 11.0),
        at("x", 21.0),
        at("web", 31.0),
        at("y", 32.0),
        at("x", 46.0),
    ];
    observe(&mut it, &mut rows, &batch("nginx", 1, logs));
    assert_eq!(rows.requests(), [(20, 1.0), (30, 0.0)]);
    assert!(
        rows.0.values().all(|row| !row.contains_key("log_requests{job=y}")),
        "not seen before its first window"
    );
}

#[test]
fn one_line_from_the_future_moves_nothing() {
    let (mut it, mut rows, web) =
        (features("window = \"10s\"\nlateness = \"2s\""), Rows::default(), job("web"));
    let at = |second| request(&web, second, "a", 200);
    tick(&mut it, &mut rows, 1);
    observe(
        &mut it,
        &mut rows,
        &batch("nginx", 1, vec![at(1.0), at(11.0), at(80_000.0), at(12.0), at(23.0)]),
    );
    assert_eq!(rows.requests(), [(20, 2.0)]);
    assert_eq!(it.status()["origins"][0]["late"], 0);
}

#[test]
fn old_logs_in_one_batch_close_their_windows_on_the_way() {
    let (mut it, mut rows, web) =
        (features("window = \"1s\"\nlateness = \"1s\""), Rows::default(), job("web"));
    let logs = (0..5000).map(|second| request(&web, f64::from(second), "a", 200)).collect();
    observe(&mut it, &mut rows, &batch("nginx", 1, logs));
    assert_eq!(it.status()["origins"][0]["too_far_ahead"], 0);
    assert_eq!(rows.requests().len(), 4997);
    assert!(rows.requests().iter().all(|(_, requests)| *requests == 1.0));
}

#[test]
fn too_many_groups_are_counted_together() {
    let (mut it, mut rows) =
        (features("window = \"10s\"\nlateness = \"0s\"\nmax_groups = 2"), Rows::default());
    let logs = |second| {
        ["a", "b", "c", "d", "a"].map(|name| request(&job(name), second, "x", 200)).to_vec()
    };
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![request(&job("a"), 1.0, "x", 200)]));
    observe(&mut it, &mut rows, &batch("nginx", 1, logs(11.0)));
    observe(&mut it, &mut rows, &batch("nginx", 1, logs(21.0)));
    let of = |name: &str| rows.get(20, &format!("log_requests{{job={name}}}"));
    assert_eq!([of("a"), of("b"), of("c"), of("other")], [Some(2.0), Some(1.0), None, Some(2.0)]);
    assert_eq!(it.status()["origins"][0]["in_group_other"], 4);
}

#[test]
fn groups_can_be_made_by_a_field_and_two_origins_never_write_one_series() {
    let options = "window = \"10s\"\nlateness = \"0s\"\ngroup_by = [\"method\"]";
    let (mut it, mut rows, web) = (features(options), Rows::default(), job("web"));
    for origin in ["one", "two"] {
        let logs = [(1.0, 200), (11.0, 200), (12.0, 201), (20.0, 200)];
        let logs = logs.map(|(second, status)| request(&web, second, "x", status)).to_vec();
        observe(&mut it, &mut rows, &batch(origin, 1, logs));
    }
    assert_eq!(rows.get(20, "log_requests{method=GET}"), Some(1.0));
    assert_eq!(rows.get(20, "log_requests{method=POST}"), Some(1.0));
    assert_eq!(rows.get(20, "log_requests{method=POST,origin=two}"), Some(1.0));
}

#[test]
fn without_a_status_the_level_says_what_is_an_error() {
    let (mut it, mut rows) = (features("window = \"10s\"\nlateness = \"0s\""), Rows::default());
    let at = |second: i64, level: &str| Log {
        stream: Arc::new(Labels::new([("job", "app"), ("level", level)])),
        time_ns: (T0 + second) * 1_000_000_000,
        body: Bytes::from_static(b"text"),
        fields: None,
    };
    let logs = vec![
        at(1, "info"),
        at(11, "error"),
        at(12, "info"),
        at(13, "fatal"),
        at(14, "warn"),
        at(20, "info"),
    ];
    observe(&mut it, &mut rows, &batch("app", 1, logs));
    let row = rows.0.remove(&20).unwrap();
    let wanted = [
        ("log_error_rate{job=app}", 0.5),
        ("log_errors{job=app}", 2.0),
        ("log_requests{job=app}", 4.0),
    ];
    assert_eq!(
        row.into_iter().collect::<Vec<_>>(),
        wanted.map(|(name, value)| (name.to_owned(), value))
    );
}

#[test]
fn an_unfinished_window_goes_on_after_a_restart() {
    let (options, web) = ("window = \"10s\"\nlateness = \"2s\"\nmax_keys = 1", job("web"));
    let (mut one, mut rows) = (features(options), Rows::default());
    let at = |second, client: &str| request(&web, second, client, 500);
    observe(
        &mut one,
        &mut rows,
        &batch("nginx", 1, vec![at(1.0, "a"), at(11.0, "a"), at(12.0, "b"), at(13.0, "c")]),
    );
    let snapshot = one.snapshot().unwrap();
    let mut two = features(options);
    two.restore(&snapshot).unwrap();
    tick(&mut two, &mut rows, 14);
    assert!(rows.0.is_empty(), "never sent as if whole");
    observe(
        &mut two,
        &mut rows,
        &batch("nginx", 1, vec![at(14.0, "a"), at(15.0, "d"), at(23.0, "a")]),
    );
    assert_eq!(rows.requests(), [(20, 5.0)]);
    assert_eq!(rows.get(20, "log_errors{job=web}"), Some(5.0));
    assert_eq!(rows.get(20, "log_clients{job=web}").map(f64::round), Some(4.0));
}

#[test]
fn a_window_of_a_partition_moves_with_it_even_when_the_next_line_is_of_the_next_window() {
    let (options, web) = ("window = \"10s\"\nlateness = \"2s\"", job("web"));
    let (mut one, mut rows) = (features(options), Rows::default());
    let at = |second| request(&web, second, "a", 200);
    one.of_a_partition();
    observe(&mut one, &mut rows, &batch("logs", 1, vec![at(1.0), at(11.0), at(12.0)]));
    let snapshot = one.snapshot().unwrap();
    let mut two = features(options);
    two.of_a_partition();
    two.restore(&snapshot).unwrap();
    observe(&mut two, &mut rows, &batch("logs", 1, vec![at(23.0), at(33.0)]));
    assert_eq!(rows.requests(), [(20, 2.0), (30, 1.0)]);
}

#[test]
fn windows_of_an_old_snapshot_are_given_up_not_filled_with_zeros() {
    let (options, web) = ("window = \"10s\"\nlateness = \"2s\"", job("web"));
    let (mut one, mut rows) = (features(options), Rows::default());
    let at = |second| request(&web, second, "a", 200);
    observe(&mut one, &mut rows, &batch("nginx", 1, vec![at(1.0), at(11.0)]));
    let snapshot = one.snapshot().unwrap();
    let mut two = features(options);
    two.restore(&snapshot).unwrap();
    observe(&mut two, &mut rows, &batch("nginx", 1, vec![at(205.0), at(211.0), at(222.0)]));
    assert_eq!(rows.requests(), [(220, 1.0)]);

    let (mut three, mut rows) = (features(options), Rows::default());
    three.restore(&snapshot).unwrap();
    for second in (20..120).step_by(5) {
        tick(&mut three, &mut rows, second);
    }
    let requests = rows.requests();
    assert!(
        requests.len() >= 2 && requests.iter().all(|(end, count)| *end > 80 && *count == 0.0),
        "{requests:?}"
    );
}

#[test]
fn a_snapshot_of_other_options_or_none_at_all_is_refused() {
    let mut it = features("window = \"10s\"");
    assert!(it.restore(b"{").is_err());
    let other = features("window = \"20s\"").snapshot().unwrap();
    assert!(it.restore(&other).unwrap_err().to_string().contains("another window"));
    let other = String::from_utf8(features("window = \"10s\"").snapshot().unwrap()).unwrap();
    assert!(it.restore(other.replace("\"version\":1", "\"version\":9").as_bytes()).is_err());
}

#[test]
fn what_was_not_seen_is_said_in_the_windows_that_miss_it() {
    let (mut it, mut rows, web) =
        (features("window = \"10s\"\nlateness = \"0s\""), Rows::default(), job("web"));
    let at = |second| request(&web, second, "a", 200);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(1.0), at(11.0)]));
    it.unseen("nginx", 7);
    observe(&mut it, &mut rows, &batch("nginx", 1, vec![at(21.0), at(31.0)]));
    assert_eq!(rows.get(20, "log_unseen{job=web}"), Some(7.0));
    assert_eq!(rows.get(30, "log_unseen{job=web}"), None);
    assert_eq!(it.status()["origins"][0]["unseen"], 7);
}

#[test]
fn every_wrong_option_is_named() {
    let config: Config =
        toml::from_str("window = \"1ms\"\nmax_groups = 0\nmax_keys = 0\nerror_status = 200")
            .unwrap();
    let errors = Features::new(&config, &context()).unwrap_err();
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), 4, "{words:?}");
    assert!(words[0].starts_with("window: must be at least 1s"), "{words:?}");
}

#[test]
fn the_sample_is_the_configuration() {
    crate::samples::check::<LogFeatures>();
    assert_eq!(crate::samples::config::<LogFeatures>(LogFeatures::SAMPLE), Config::default());
}

proptest! {
    #[test]
    fn any_times_are_survived_and_every_line_is_accounted_for(
        times in proptest::collection::vec(prop_oneof![any::<i64>(), 0_i64..100_000_000_000], 1..40),
        ticks in proptest::collection::vec(-1_000_000_i64..1_000_000_000, 0..5),
    ) {
        let (mut it, web) = (features("window = \"1s\"\nlateness = \"0s\""), job("web"));
        let mut emit = Emit::default();
        let logs: Vec<Log> = times.iter().map(|time| Log { time_ns: *time, ..request(&web, 0.0, "a", 200) }).collect();
        it.observe(&batch("nginx", 1, logs), &mut emit);
        for now in ticks {
            it.tick(now, &mut emit);
        }
        let mut written = 0.0;
        for events in &emit.0 {
            let Events::Metrics(metrics) = events else { continue };
            let of_requests = metrics.iter().filter(|metric| metric.series.name() == "log_requests");
            written += of_requests.map(|metric| metric.value).sum::<f64>();
        }
        let status = &it.status()["origins"][0];
        let tally = |name: &str| status[name].as_u64().unwrap_or(0) as f64;
        let counted = written + tally("late") + tally("in_first_partial_window") + tally("too_far_ahead");
        let open = tally("open_windows");
        prop_assert!(counted <= times.len() as f64 && counted + open * times.len() as f64 >= times.len() as f64);
    }
}
