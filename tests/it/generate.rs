//! `generate` as a script meets it, and its lines as the rest of the agent reads them.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::history::NoHistory;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Context, Desk, Events, Labels, Log, Plugin as _, Processor};
use sentinel_processors::parse::Parse;

fn generate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(crate::cli::binary());
    command.current_dir(folder).arg("generate").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A minute of a time that is over.
const PAST: [&str; 4] = ["--start", "2026-01-31T08:00:00Z", "--duration", "1m"];

/// What the lines become with these options of processors.parse.
fn parsed(kind: &str, options: &str) -> Vec<Log> {
    let folder = tempfile::tempdir().unwrap();
    let anomalies: &[&str] = match kind {
        "web" => &["--anomaly", "path_scan@0s+1m", "--anomaly", "new_client@20s+20s"],
        _ => &["--anomaly", "new_error@0s+1m"],
    };
    let more = ["--kind", kind, "--rate", "200"];
    let output = generate(folder.path(), &[&PAST[..], &more, anomalies].concat());
    assert!(output.status.success(), "{output:?}");
    let stream = Arc::new(Labels::new([("job", kind)]));
    let log = |line: &str| Log {
        stream: Arc::clone(&stream),
        time_ns: 1_769_900_000_000_000_000,
        body: line.to_owned().into(),
        fields: None,
    };
    let mut events = Events::Logs(text(&output.stdout).lines().map(log).collect());
    let context = Context {
        alias: "parse".into(),
        host: "h".into(),
        tags: stream,
        interval: Duration::from_secs(10),
        state_dir: folder.path().to_owned(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: Desk::default(),
    };
    let Ok(Processor::Transform(mut parse)) =
        Parse::build(toml::from_str(options).unwrap(), &context)
    else {
        panic!("is no transform")
    };
    let counters = Counters::default();
    parse.apply(&mut events, &counters);
    assert!(counters.counts().is_empty(), "{:?}", counters.counts());
    let Events::Logs(logs) = events else { panic!() };
    assert!(logs.len() >= 12_000);
    logs
}

/// 2026-01-31, eight o'clock.
const START_NS: i64 = 1_769_846_400_000_000_000;

#[test]
fn web_lines_are_combined_with_a_request_time_to_processors_parse() {
    for (at, log) in parsed("web", "format = \"combined\"").iter().enumerate() {
        for name in ["remote_addr", "method", "path", "protocol", "http_user_agent"] {
            assert!(log.text(name).is_some_and(|text| !text.is_empty()), "{name} of {log:?}");
        }
        for name in ["status", "body_bytes_sent", "request_time"] {
            assert!(log.number(name).is_some_and(|number| number >= 0.0), "{name} of {log:?}");
        }
        assert!(text(log.text("path").unwrap()).ends_with(&format!("seq={at}")), "{log:?}");
        assert!((0..60_000_000_000).contains(&(log.time_ns - START_NS)), "{log:?}");
    }
}

#[test]
fn app_lines_are_json_with_time_and_level_to_processors_parse() {
    let logs = parsed("app", "format = \"json\"\ntimestamp = \"time\"");
    for (at, log) in logs.iter().enumerate() {
        for name in ["logger", "message", "request_id"] {
            assert!(log.text(name).is_some_and(|text| !text.is_empty()), "{name} of {log:?}");
        }
        assert_eq!(log.number("seq"), Some(at as f64));
        assert!(log.number("duration_ms").is_some());
        assert!(log.stream.get("level").is_some(), "{log:?}");
        // Behind the microseconds that the line tells, parse counts lines.
        let offset_us = (log.time_ns - START_NS) / 1000;
        assert_eq!(offset_us, at as i64 * 5000, "200 a second");
    }
}

#[test]
fn a_past_span_is_made_at_once_and_again_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = [
        "--kind",
        "web",
        "--kind",
        "app",
        "--kind",
        "host",
        "--hosts",
        "2",
        "--host",
        "shop",
        "--output",
        "{host}-{kind}.log",
        "--truth",
        "truth.jsonl",
        "--anomaly-every",
        "1m",
        "--start",
        "2026-01-31",
        "--duration",
        "10m",
        "--rate",
        "40",
        "--profile",
        "day",
    ];
    let output = generate(folder.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let files = || {
        let names = ["web", "app", "host"]
            .map(|kind| [format!("shop-1-{kind}.log"), format!("shop-2-{kind}.log")]);
        let mut names = names.concat();
        names.push("truth.jsonl".to_owned());
        names
            .iter()
            .map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap())
            .collect::<Vec<_>>()
    };
    let first = files();
    assert_eq!(first[6].lines().count(), 10, "an anomaly a minute");
    for line in first[4].lines().chain(first[6].lines()) {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(value["labels"]["host"] == "shop-1" || value["target"].is_string(), "{line}");
    }
    assert_eq!(first[4].lines().count(), 60 * 13);
    assert_ne!(first[0], first[1], "each host its own lines");
    assert!(generate(folder.path(), &arguments).status.success());
    for (once, twice) in first.iter().zip(files()) {
        assert_eq!(once.repeat(2), twice, "appended, and equal");
    }
}

#[test]
fn lines_are_counted_and_a_reader_that_leaves_is_no_error() {
    let folder = tempfile::tempdir().unwrap();
    let output = generate(folder.path(), &["--rate", "max", "--lines", "12345"]);
    assert_eq!(text(&output.stdout).lines().count(), 12_345);
    assert!(text(&output.stderr).starts_with("12345 lines and 0 samples, "), "{output:?}");
    let mut command = Command::new(crate::cli::binary());
    let mut child = command
        .args(["generate", "--rate", "max"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success(), "it ends by itself, without a word");
}

#[test]
fn what_cannot_be_made_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let complaint = |arguments: &[&str]| {
        let output = generate(folder.path(), &[arguments, &["--output", "made.log"]].concat());
        assert!(!output.status.success(), "{output:?}");
        text(&output.stderr)
    };
    for (arguments, words) in [
        (&["--kind", "webb"][..], "unknown variant `webb`, expected one of `web`, `app`, `host`"),
        (&["--rate", "0"], "must be a whole number of at least 1, or max"),
        (&["--rate", "max", "--start", "-1h"], "--start needs a --rate"),
        (&["--start", "soon"], "--start soon: `soon` is no time"),
        (
            &["--anomaly", "cpu_saturation@1m+1m"],
            "error: anomalies: cpu_saturation is an anomaly of \"host\"",
        ),
        (&["--anomaly", "latenz@1m+1m"], "no anomaly is called \"latenz\"; there are: error_burst"),
        (&["--hosts", "0"], "error: hosts: must be 1 to 100000"),
        (&["--kind", "host", "--interval", "0s"], "--interval must not be 0"),
        (
            &["--kafka", "k:9092", "--topic", "t"],
            "'--kafka <BROKERS>' cannot be used with '--output",
        ),
    ] {
        let said = complaint(arguments);
        assert!(said.contains(words), "{words} in\n{said}");
    }
    assert!(!folder.path().join("made.log").exists());
    for (arguments, words) in [
        (&["--kafka", "k:9092"][..], "--topic <TOPIC>"),
        (&["--topic", "t"], "--kafka <BROKERS>"),
        (&["--timeout", "5s"], "--kafka <BROKERS>"),
        (&["--kafka", "k", "--topic", "t"], "error: brokers: must be \"host:port\""),
        (&["--kafka", "k:1", "--topic", "t", "--timeout", "0s"], "--timeout must not be 0"),
        (
            &["--kafka", "k:1", "--topic", "t", "--kind", "web", "--kind", "host"],
            "--topic t: lines and samples cannot be read from one topic: put {kind} into its name",
        ),
    ] {
        let output = generate(folder.path(), arguments);
        assert!(!output.status.success(), "{output:?}");
        let said = text(&output.stderr);
        assert!(said.contains(words), "{words} in\n{said}");
    }
    let nowhere = generate(folder.path(), &["--output", "/no/such/file", "--lines", "1"]);
    assert!(text(&nowhere.stderr).contains("error: /no/such/file: cannot be opened: No such file"));
}
