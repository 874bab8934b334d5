//! What filter promises.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::{
    Events, Field, Fields, Kind, Labels, Log, Metric, Name, Plugin, Series, Transform, Value,
};

use super::{Config, Filter};

fn config(text: &str) -> Config {
    toml::from_str(text).unwrap()
}

fn filter(text: &str) -> Filter {
    Filter::new(config(text)).unwrap()
}

fn log(level: &str, body: &'static str, status: f64) -> Log {
    let path = Field { name: Name::Static("path"), value: Value::Slice(0, body.len() as u32) };
    let status = Field { name: Name::Static("status"), value: Value::Number(status) };
    Log {
        stream: Arc::new(Labels::new([("level", level)])),
        time_ns: 0,
        body: Bytes::from_static(body.as_bytes()),
        fields: Some(Box::new(Fields(vec![path, status]))),
    }
}

fn left(rules: &str, logs: Vec<Log>) -> (Vec<String>, u64) {
    let counters = Counters::default();
    let mut events = Events::Logs(logs);
    filter(rules).apply(&mut events, &counters);
    let Events::Logs(logs) = events else { unreachable!() };
    let bodies = logs.iter().map(|log| String::from_utf8_lossy(&log.body).into_owned()).collect();
    (bodies, counters.drops().get("filtered").copied().unwrap_or(0))
}

fn three() -> Vec<Log> {
    vec![log("info", "/health", 200.0), log("error", "/buy", 503.0), log("info", "/list", 200.0)]
}

#[test]
fn a_drop_rule_removes_what_it_matches_and_counts_it() {
    let (bodies, filtered) = left(r#"drop = [{ field = "path", pattern = "^/health" }]"#, three());
    assert_eq!(bodies, ["/buy", "/list"]);
    assert_eq!(filtered, 1);
}

#[test]
fn keep_rules_leave_only_what_they_match_and_drop_comes_first() {
    let rules = r#"
        keep = [{ label = "level", equals = ["error"] }, { part = "body", glob = "/h*" }]
        drop = [{ field = "status", min = 500, max = 599 }]"#;
    assert_eq!(left(rules, three()).0, ["/health"]);
}

#[test]
fn a_number_is_compared_as_a_number_and_as_text() {
    assert_eq!(left(r#"keep = [{ field = "status", equals = ["503"] }]"#, three()).0, ["/buy"]);
    assert_eq!(left(r#"keep = [{ field = "status", min = 503 }]"#, three()).0, ["/buy"]);
    assert_eq!(left(r#"keep = [{ field = "path", min = 0 }]"#, three()).0, [""; 0]);
}

#[test]
fn an_absent_label_or_field_matches_nothing() {
    assert_eq!(
        left(r#"drop = [{ label = "job", glob = "*" }, { field = "x", pattern = "" }]"#, three()).1,
        0
    );
}

fn metrics() -> Events {
    let metric = |name: &str, cpu: &str, value| Metric {
        series: Series::new(name, Kind::Gauge, [("cpu", cpu)]),
        time_ms: 0,
        value,
    };
    Events::Metrics(vec![
        metric("cpu_usage_idle", "cpu0", 3.0),
        metric("cpu_usage_user", "cpu1", f64::NAN),
        metric("mem_used", "", 7.0),
    ])
}

fn names(rules: &str) -> Vec<String> {
    let mut events = metrics();
    filter(rules).apply(&mut events, &Counters::default());
    let Events::Metrics(metrics) = events else { unreachable!() };
    metrics.iter().map(|metric| metric.series.name().to_owned()).collect()
}

#[test]
fn metrics_are_filtered_by_name_label_and_value() {
    assert_eq!(
        names(r#"keep = [{ part = "name", glob = "cpu_*" }]"#),
        ["cpu_usage_idle", "cpu_usage_user"]
    );
    assert_eq!(
        names(r#"drop = [{ label = "cpu", equals = ["cpu0"] }]"#),
        ["cpu_usage_user", "mem_used"]
    );
    assert_eq!(names(r#"keep = [{ part = "value", max = 5 }]"#), ["cpu_usage_idle"]);
}

#[test]
fn a_rule_about_logs_says_nothing_about_metrics() {
    assert_eq!(names(r#"keep = [{ field = "path", pattern = "x" }]"#).len(), 3);
    assert_eq!(left(r#"keep = [{ part = "name", glob = "cpu_*" }]"#, three()).0.len(), 3);
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let errors = Filter::new(config(
        r#"
        keep = [{ label = "a", field = "b", equals = ["x"] }, { label = "a" }]
        drop = [{ part = "body", pattern = "(" }, { part = "value", min = 2, max = 1 }]"#,
    ))
    .unwrap_err();
    let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(words[0].starts_with("keep[0]: needs exactly one of"), "{words:?}");
    assert!(words[1].starts_with("keep[1]: needs a test"), "{words:?}");
    assert!(words[2].starts_with("drop[0]: pattern does not compile"), "{words:?}");
    assert!(words[3].starts_with("drop[1]: min is above max"), "{words:?}");
    assert!(Filter::new(Config::default()).is_err(), "a filter without a rule is a mistake");
}

#[test]
fn the_sample_is_the_configuration() {
    crate::samples::check::<Filter>();
    assert!(Filter::new(crate::samples::config::<Filter>(Filter::SAMPLE)).is_ok());
}

proptest! {
    #[test]
    fn any_line_and_any_number_are_survived(body in proptest::collection::vec(any::<u8>(), 0..80), number: f64) {
        let mut line = log("info", "", number);
        line.body = Bytes::from(body);
        line.fields.as_mut().unwrap().0[0].value = Value::Slice(3, 9);
        let rules = r#"drop = [{ part = "body", pattern = "a.b" }, { field = "path", glob = "*x" }, { field = "status", min = 1 }]"#;
        filter(rules).apply(&mut Events::Logs(vec![line]), &Counters::default());
    }
}
