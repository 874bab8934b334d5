//! What log_patterns promises: the right templates, the same after a restart, news told once and not too often, and
//! bounds that hold whatever the lines are.

mod bounds;
mod grouping;
mod reading;
mod restart;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sentinel_contract::history::NoHistory;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Context, Emit, Events, Field, Fields, Labels, Log, Name, Observer, Value,
};

use super::{Config, LogPatterns, Patterns};

const T0: i64 = 1_773_144_000; // a whole hour

fn patterns(options: &str) -> Patterns {
    let context = Context {
        alias: "log_patterns".into(),
        host: "web01".into(),
        tags: Arc::new(Labels::new([("env", "test")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    };
    let config: Config = toml::from_str(options).unwrap();
    Patterns::new(&config, &context).unwrap()
}

/// Short windows, no learning.
const QUICK: &str = "window = \"10s\"\nlateness = \"0s\"\nlearning = \"0s\"\n";

fn job(name: &str) -> Arc<Labels> {
    Arc::new(Labels::new([("job", name)]))
}

fn line(stream: &Arc<Labels>, second: f64, body: impl Into<Vec<u8>>) -> Log {
    Log {
        stream: Arc::clone(stream),
        time_ns: ((T0 as f64 + second) * 1e9) as i64,
        body: Bytes::from(body.into()),
        fields: None,
    }
}

fn text(name: &'static str, value: &str) -> Field {
    Field { name: Name::Static(name), value: Value::Text(value.into()) }
}

/// What was written: samples by second of the window's end and by series, and events.
#[derive(Default)]
struct Written {
    rows: BTreeMap<i64, BTreeMap<String, f64>>,
    events: Vec<Log>,
}

impl Written {
    fn take(&mut self, emit: Emit) {
        for events in emit.0 {
            match events {
                Events::Logs(logs) => self.events.extend(logs),
                Events::Metrics(metrics) => {
                    for metric in metrics {
                        let labels = metric.series.labels();
                        assert_eq!(
                            (labels.get("host"), labels.get("env")),
                            (Some("web01"), Some("test"))
                        );
                        let own = labels.iter().filter(|(name, _)| !["host", "env"].contains(name));
                        let own: Vec<String> =
                            own.map(|(name, value)| format!("{name}={value}")).collect();
                        let name = format!("{}{{{}}}", metric.series.name(), own.join(","));
                        let row = self.rows.entry(metric.time_ms / 1000 - T0).or_default();
                        assert!(
                            row.insert(name.clone(), metric.value).is_none(),
                            "{name} was written twice"
                        );
                    }
                }
                Events::Evidence(_) => {}
                Events::Incidents(_) => panic!("no incidents"),
            }
        }
    }

    fn get(&self, window: i64, name: &str) -> Option<f64> {
        self.rows.get(&window)?.get(name).copied()
    }

    /// The first fields of the events.
    fn messages(&self) -> Vec<String> {
        let message = |log: &Log| {
            let body = std::str::from_utf8(&log.body).unwrap();
            assert!(body.starts_with("{\"message\":\""), "the sentence comes first: {body}");
            let event: serde_json::Value = serde_json::from_str(body).unwrap();
            event["message"].as_str().unwrap().to_owned()
        };
        self.events.iter().map(message).collect()
    }

    fn series(&self) -> usize {
        let names: std::collections::BTreeSet<&String> =
            self.rows.values().flat_map(BTreeMap::keys).collect();
        names.len()
    }
}

fn observe(it: &mut Patterns, written: &mut Written, logs: Vec<Log>) {
    let mut emit = Emit::default();
    it.observe(&Batch::new("tail".into(), Events::Logs(logs)), &mut emit);
    written.take(emit);
}

fn tick(it: &mut Patterns, written: &mut Written, second: i64) {
    let mut emit = Emit::default();
    it.tick((T0 + second) * 1000, &mut emit);
    written.take(emit);
}

/// The templates of the first group, with their counts, the most frequent first.
fn templates(it: &Patterns) -> Vec<(String, u64)> {
    let Some(group) = it.groups.all.first() else { return Vec::new() };
    let mut all: Vec<(String, u64)> =
        group.tree.templates().map(|(_, template)| (template.text(), template.count)).collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    all
}

#[test]
fn the_sample_is_the_configuration() {
    crate::samples::check::<LogPatterns>();
}

#[test]
fn a_window_gives_its_counts_at_its_end() {
    let (mut it, mut written, kafka) = (patterns(QUICK), Written::default(), job("kafka"));
    tick(&mut it, &mut written, 0);
    let logs = vec![
        line(&kafka, 1.0, "INFO Rolled log segment 17 in 2 ms"),
        line(&kafka, 2.0, "INFO Rolled log segment 18 in 1 ms"),
        line(&kafka, 3.0, "ERROR Cannot fetch partition 4 from broker 1"),
        line(&kafka, 4.0, ""),
        line(&kafka, 11.0, "INFO Rolled log segment 19 in 3 ms"),
    ];
    observe(&mut it, &mut written, logs);
    let [rolled, failed] =
        [0, 1].map(|slot| super::window::id_text(it.groups.all[0].tree.slots[slot].id));
    let mut wanted = vec![
        ("log_error_lines{job=kafka}".to_owned(), 1.0),
        ("log_line_error_rate{job=kafka}".to_owned(), 0.25),
        ("log_lines{job=kafka}".to_owned(), 4.0),
        ("log_new_patterns{job=kafka}".to_owned(), 2.0),
        (format!("log_pattern_lines{{job=kafka,pattern={rolled}}}"), 2.0),
        (format!("log_pattern_lines{{job=kafka,pattern={failed}}}"), 1.0),
        ("log_pattern_lines{job=kafka,pattern=other}".to_owned(), 1.0),
        ("log_patterns{job=kafka}".to_owned(), 2.0),
    ];
    wanted.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(written.rows.remove(&10).unwrap().into_iter().collect::<Vec<_>>(), wanted);
    assert!(written.rows.is_empty(), "the next window is not over: {:?}", written.rows);
    tick(&mut it, &mut written, 100);
    assert_eq!(written.get(30, "log_lines{job=kafka}"), Some(0.0), "silence is written as zeros");
}

#[test]
fn a_template_never_seen_before_is_told_once_after_learning_and_without_secrets() {
    let options = "window = \"10s\"\nlateness = \"0s\"\nlearning = \"20s\"\n";
    let (mut it, mut written, app) = (patterns(options), Written::default(), job("app"));
    let logs = vec![
        line(&app, 0.0, "served request in 3 ms"),
        line(&app, 19.0, "something odd while learning"),
        line(
            &app,
            31.0,
            "ERROR login of bob@example.com from 10.1.2.3 failed, password=hunter2 after 17 tries",
        ),
        line(&app, 32.0, "served request in 4 ms"),
        line(
            &app,
            33.0,
            "ERROR login of ann@example.com from 10.1.2.4 failed, password=sesame after 18 tries",
        ),
        line(&app, 41.0, "served request in 5 ms"),
        line(
            &app,
            45.0,
            "ERROR login of ann@example.com from 10.1.2.4 failed, password=tulip after 19 tries",
        ),
        line(&app, 51.0, "served request in 5 ms"),
    ];
    observe(&mut it, &mut written, logs);
    let messages = written.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(
        messages[0].starts_with("web01 app: error never seen before, ")
            && messages[0].contains("times: ERROR login of"),
        "{messages:?}"
    );
    let event = &written.events[0];
    let body = String::from_utf8(event.body.to_vec()).unwrap();
    for secret in ["hunter2", "sesame", "10.1.2", "bob", "after 17"] {
        assert!(!body.contains(secret), "{secret} in {body}");
    }
    assert_eq!(event.time_ns, (T0 + 31) * 1_000_000_000);
    let labels: Vec<(&str, &str)> = event.stream.iter().collect();
    assert_eq!(
        labels,
        [("env", "test"), ("host", "web01"), ("job", "app"), ("source", "log_patterns")]
    );
    assert_eq!(event.text("level"), Some(&b"error"[..]));
    assert_eq!(written.get(40, "log_new_patterns{job=app}"), Some(1.0));
    assert_eq!(written.get(50, "log_new_patterns{job=app}"), Some(0.0));
    assert_eq!(written.get(20, "log_new_patterns{job=app}"), None, "it was still learning");
}

#[test]
fn no_more_is_told_in_an_hour_than_max_events_the_worst_first_and_the_rest_is_counted() {
    let options = format!("{QUICK}max_events = 3\n");
    let (mut it, mut written, app) = (patterns(&options), Written::default(), job("app"));
    tick(&mut it, &mut written, 0);
    let words = ["ash", "birch", "cedar", "elm", "fir", "oak", "pine", "yew"];
    let mut logs: Vec<Log> =
        words.iter().map(|word| line(&app, 1.0, format!("{word} tree was planted here"))).collect();
    logs.push(line(&app, 2.0, "ERROR all trees are gone"));
    logs.push(line(&app, 12.0, "ash tree was planted here"));
    observe(&mut it, &mut written, logs);
    let messages = written.messages();
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages[0].contains("all trees are gone"), "{messages:?}");
    assert_eq!(written.get(10, "log_new_patterns{job=app}"), Some(9.0));
    assert_eq!(written.get(10, "log_new_patterns_untold{job=app}"), Some(6.0));
    assert_eq!(it.status()["groups"][0]["untold"], 6);
    // An hour later there is credit again.
    observe(
        &mut it,
        &mut written,
        vec![line(&app, 3700.0, "WARN bark beetle seen"), line(&app, 3711.0, "")],
    );
    assert_eq!(written.messages().len(), 4);
}

#[test]
fn a_template_that_was_given_up_and_comes_back_is_not_told_again() {
    let options = format!("{QUICK}max_patterns = 10\nmax_events = 1000\n");
    let (mut it, mut written, app) = (patterns(&options), Written::default(), job("app"));
    tick(&mut it, &mut written, 0);
    let rare = "ERROR the rare thing has happened";
    observe(&mut it, &mut written, vec![line(&app, 1.0, rare), line(&app, 11.0, rare)]);
    let words =
        ["ash", "birch", "cedar", "elm", "fir", "oak", "pine", "yew", "rowan", "beech", "larch"];
    for (second, word) in words.iter().enumerate() {
        let twice = || line(&app, 12.0 + second as f64, format!("{word} tree was planted here"));
        observe(&mut it, &mut written, vec![twice(), twice()]);
    }
    assert!(templates(&it).iter().all(|(text, _)| text != rare), "it was given up");
    observe(&mut it, &mut written, vec![line(&app, 31.0, rare), line(&app, 41.0, rare)]);
    let messages = written.messages();
    assert_eq!(messages.iter().filter(|it| it.contains("rare thing")).count(), 1, "{messages:?}");
    assert_eq!(written.get(40, "log_new_patterns{job=app}"), Some(0.0));
}

#[test]
fn templates_that_become_one_keep_their_lines_and_are_told_once() {
    let (mut it, mut written, app) = (patterns(QUICK), Written::default(), job("app"));
    tick(&mut it, &mut written, 0);
    let users = ["ann", "ann", "bob", "bob", "bob", "cid", "dan"];
    let mut logs: Vec<Log> = users
        .iter()
        .map(|user| line(&app, 1.0, format!("session opened for user {user}")))
        .collect();
    logs.push(line(&app, 11.0, ""));
    observe(&mut it, &mut written, logs);
    assert_eq!(templates(&it), [("session opened for user <*>".to_owned(), 7)]);
    let pattern = super::window::id_text(it.groups.all[0].tree.templates().next().unwrap().1.id);
    let name = format!("log_pattern_lines{{job=app,pattern={pattern}}}");
    assert_eq!(written.get(10, &name), Some(7.0), "{:?}", written.rows);
    assert_eq!(
        written.messages(),
        ["web01 app: line never seen before, 7 times: session opened for user <*>"]
    );
}

#[test]
fn late_lines_are_counted_and_unseen_lines_are_said_of_the_window() {
    let (mut it, mut written, app) = (patterns(QUICK), Written::default(), job("app"));
    tick(&mut it, &mut written, 0);
    observe(&mut it, &mut written, vec![line(&app, 1.0, "a b c")]);
    it.unseen("", 7);
    observe(&mut it, &mut written, vec![line(&app, 11.0, "a b c"), line(&app, 12.0, "a b c")]);
    observe(&mut it, &mut written, vec![line(&app, 3.0, "a b c"), line(&app, 21.0, "a b c")]);
    assert_eq!(written.get(10, "log_lines{job=app}"), Some(1.0));
    assert_eq!(written.get(10, "log_unseen{job=app,source=log_patterns}"), Some(7.0));
    assert_eq!(written.get(20, "log_unseen{job=app,source=log_patterns}"), None);
    let late = |row: &BTreeMap<String, f64>| {
        row.get("log_late{job=app,source=log_patterns}") == Some(&1.0)
    };
    assert!(written.rows.values().any(late), "{:?}", written.rows);
    assert_eq!(it.status()["groups"][0]["late"], 1);
}

#[test]
fn groups_are_apart_and_their_own_events_are_not_mined() {
    let (mut it, mut written) = (patterns(QUICK), Written::default());
    tick(&mut it, &mut written, 0);
    let (web, db) = (job("web"), job("db"));
    let mut logs = Vec::new();
    for second in 0..30 {
        logs.push(line(&web, f64::from(second), "page served"));
        logs.push(line(&db, f64::from(second), "query done"));
        logs.push(line(&db, f64::from(second), "query done"));
    }
    observe(&mut it, &mut written, logs);
    assert_eq!(written.get(10, "log_lines{job=web}"), Some(10.0));
    assert_eq!(written.get(20, "log_lines{job=db}"), Some(20.0));
    assert_eq!(written.events.len(), 2);
    let own = std::mem::take(&mut written.events);
    observe(&mut it, &mut written, own);
    observe(&mut it, &mut written, vec![line(&job("changes"), 31.0, "app.service restarted")]);
    assert_eq!(it.groups.all.len(), 2);
    assert!(it.groups.all.iter().all(|group| group.tree.slots.len() == 1), "events were mined");
}

#[test]
fn parsed_fields_give_the_message_the_level_and_the_request() {
    let (mut it, mut written, app) = (patterns(QUICK), Written::default(), job("app"));
    tick(&mut it, &mut written, 0);
    let with = |second: f64, fields: Vec<Field>| {
        let mut log = line(&app, second, "{\"id\":\"x1\"} raw and not mined");
        log.fields = Some(Box::new(Fields(fields)));
        log
    };
    let number = |name, value| Field { name: Name::Static(name), value: Value::Number(value) };
    let logs = vec![
        with(1.0, vec![text("level", "error"), text("msg", "cannot reach 10.0.0.1")]),
        with(2.0, vec![text("level", "info"), text("msg", "cannot reach 10.0.0.1")]),
        with(3.0, vec![text("method", "GET"), number("status", 200.0)]),
        with(4.0, vec![text("method", "GET"), text("status", "502")]),
        with(5.0, vec![text("method", "\u{16}\u{3}"), number("status", 400.0)]),
        line(&app, 11.0, ""),
    ];
    observe(&mut it, &mut written, logs);
    let texts: Vec<String> = templates(&it).into_iter().map(|(text, _)| text).collect();
    assert_eq!(
        texts,
        [
            "cannot reach <ip>",
            "cannot reach <ip>",
            "request GET 200",
            "request GET 502",
            "request other 400"
        ]
    );
    assert_eq!(written.get(10, "log_error_lines{job=app}"), Some(2.0));
}
