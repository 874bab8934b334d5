//! What failed: counted by status, path and client, told once a window with one redacted line, and kept over a restart.

use sentinel_contract::Evidence;
use sentinel_contract::evidence::{Of, Tally};

use super::super::path;
use super::*;
use crate::sketch::COUNTERS;

/// A request with a path, and a line to be redacted.
fn asked(second: f64, client: &str, path: &str, status: u16) -> Log {
    let mut log = request(&job("web"), second, client, status);
    if let Some(fields) = &mut log.fields {
        fields.0.push(Field { name: Name::Static("path"), value: Value::Text(path.into()) });
    }
    let line =
        format!("{client} - - [11/Mar/2026:12:00:00 +0000] \"GET {path} HTTP/1.1\" {status} 12345");
    Log { body: line.into(), ..log }
}

fn evidence(it: &mut Features, logs: Vec<Log>) -> Vec<Evidence> {
    let mut emit = Emit::default();
    it.observe(&batch("nginx", 1, logs), &mut emit);
    let found = emit.0.into_iter().filter_map(|events| match events {
        Events::Evidence(evidence) => Some(evidence),
        _ => None,
    });
    found.flatten().collect()
}

fn tally<'e>(one: &'e Evidence, of: Of, dimension: &str) -> &'e Tally {
    let found = one.tallies.iter().find(|it| it.of == of && it.dimension == dimension);
    found.unwrap_or_else(|| panic!("no {dimension} in {one:?}"))
}

fn row(value: &str, count: u64) -> (String, u64) {
    (value.to_owned(), count)
}

const TEN: &str = "window = \"10s\"\nlateness = \"0s\"";

/// A start in the window before, which is not whole.
fn begun() -> Features {
    let mut it = features(TEN);
    assert!(evidence(&mut it, vec![asked(3.0, "10.0.0.1", "/", 500)]).is_empty());
    it
}

fn last(it: &mut Features) -> Evidence {
    let mut all = evidence(it, vec![asked(20.0, "10.0.0.1", "/", 200)]);
    assert_eq!(all.len(), 1);
    all.remove(0)
}

#[test]
fn a_window_tells_what_failed_and_who_asked() {
    let mut it = begun();
    let logs = (0..40).map(|at| {
        let (client, path) = (format!("10.0.0.{}", at % 4), format!("/cart/{at}?token=s3cret"));
        asked(10.0 + f64::from(at) / 10.0, &client, &path, if at % 2 == 0 { 502 } else { 200 })
    });
    evidence(&mut it, logs.collect());
    let told = last(&mut it);
    assert_eq!(told.time_ms, (T0 + 20) * 1000);
    assert_eq!(told.labels.get("job"), Some("web"));
    assert_eq!(tally(&told, Of::Failed, "status").rows, [row("502", 20)]);
    assert_eq!(tally(&told, Of::Failed, "path").rows, [row("/cart/:id", 20)]);
    assert_eq!(tally(&told, Of::Failed, "status and path").rows, [row("502 on /cart/:id", 20)]);
    assert_eq!(tally(&told, Of::Failed, "client").rows, [row("10.0.0.0", 10), row("10.0.0.2", 10)]);
    assert_eq!((tally(&told, Of::All, "client").total, told.tallies.len()), (40, 5));
    assert_eq!(tally(&told, Of::All, "client").rows.len(), 4);
}

#[test]
fn the_sample_is_of_the_most_frequent_failure_and_redacted() {
    let mut it = begun();
    let mut logs = vec![asked(10.0, "10.0.0.1", "/rare", 500)];
    logs.extend((0..9).map(|_| asked(11.0, "10.0.0.1", "/pay?password=hunter2&card=4711", 503)));
    evidence(&mut it, logs);
    let sample = last(&mut it).sample;
    assert!(sample.contains("/pay") && sample.contains("\" 503 #"), "{sample}");
    for secret in ["10.0.0.1", "hunter2", "4711", "12345"] {
        assert!(!sample.contains(secret), "{secret} in {sample}");
    }
}

#[test]
fn a_window_without_a_failure_has_no_sample() {
    let mut it = begun();
    evidence(&mut it, vec![asked(11.0, "10.0.0.1", "/", 200)]);
    let told = last(&mut it);
    assert!(told.sample.is_empty());
    assert!(told.tallies.iter().all(|tally| tally.of == Of::All), "{told:?}");
}

#[test]
fn a_flood_of_paths_is_bounded_and_the_frequent_one_is_found() {
    let mut it = begun();
    let logs = (0..6000).map(|at| {
        let path = if at % 3 == 0 { "/api/cart".to_owned() } else { format!("/x{}", letters(at)) };
        asked(10.0 + f64::from(at) / 1000.0, "10.0.0.1", &path, 500)
    });
    evidence(&mut it, logs.collect());
    let told = last(&mut it);
    let paths = tally(&told, Of::Failed, "path");
    let (first, count) = &paths.rows[0];
    assert_eq!((first.as_str(), paths.total), ("/api/cart", 6000));
    let slack = 6000 / (COUNTERS as u64 + 1);
    assert!((2000 - slack..=2000).contains(count), "{count}");
    assert!(paths.rows.len() <= COUNTERS);
    assert!(told.sample.len() <= 400);
}

/// A number in letters: digits would be masked.
fn letters(mut number: i32) -> String {
    let mut text = String::new();
    while number > 0 {
        text.push(char::from(b'a' + (number % 26) as u8));
        number /= 26;
    }
    text
}

#[test]
fn lines_that_are_errors_by_their_level_are_counted_by_unit() {
    let mut it = begun();
    let unit = [("job", "web"), ("unit", "app.service"), ("level", "error")];
    let stream = Arc::new(Labels::new(unit));
    let line = |second: f64| Log {
        stream: Arc::clone(&stream),
        time_ns: ((T0 as f64 + second) * 1e9) as i64,
        body: Bytes::from_static(b"cannot reach 10.0.0.7"),
        fields: None,
    };
    evidence(&mut it, vec![line(11.0), line(12.0)]);
    let told = last(&mut it);
    assert_eq!(tally(&told, Of::Failed, "unit").rows, [row("app.service", 2)]);
    assert_eq!(told.sample, "cannot reach <ip>");
}

#[test]
fn a_restart_goes_on_with_what_failed_and_reads_what_an_older_version_saved() {
    let mut it = begun();
    evidence(&mut it, vec![asked(11.0, "10.0.0.1", "/a", 500), asked(12.0, "10.0.0.2", "/a", 500)]);
    let saved = it.snapshot().unwrap();
    let mut restored = features(TEN);
    restored.restore(&saved).unwrap();
    evidence(&mut restored, vec![asked(13.0, "10.0.0.1", "/a", 500)]);
    let told = last(&mut restored);
    assert_eq!(tally(&told, Of::Failed, "path").rows, [row("/a", 3)]);
    assert_eq!(tally(&told, Of::All, "client").rows, [row("10.0.0.1", 2), row("10.0.0.2", 1)]);

    let mut json: serde_json::Value = serde_json::from_slice(&saved).unwrap();
    let cell = &mut json["origins"][0]["windows"][0]["cells"][0][1];
    let fields = cell.as_object_mut().unwrap();
    assert!(fields.remove("failed").is_some() && fields.remove("callers").is_some());
    let mut older = features(TEN);
    older.restore(&serde_json::to_vec(&json).unwrap()).unwrap();
    json["origins"][0]["windows"][0]["cells"][0][1]["callers"] =
        serde_json::json!({"total": 1, "rows": vec![(1, 1, "x"); COUNTERS + 1]});
    assert!(features(TEN).restore(&serde_json::to_vec(&json).unwrap()).is_err());
}

#[test]
fn a_path_is_counted_without_its_query_and_without_ids() {
    for (path, masked) in [
        ("/", "/"),
        ("/api/v2/cart", "/api/v2/cart"),
        ("/orders/48213/items?page=2", "/orders/:id/items"),
        ("/u/3f2504e0-4f89-11d3-9a0c-0305e82c3301/x", "/u/:id/x"),
        ("/reset/eyJhbGciOiJIUzI1NiJ9abc", "/reset/:id"),
        ("/report-2026.pdf;jsessionid=5", "/report-:n.pdf"),
        ("/users/ann@example.org", "/users/:id"),
        ("/users/ann%40example.org", "/users/:id"),
        ("/how-to-deploy-a-three-tier-application", "/how-to-deploy-a-three-tier-application"),
        ("/deadbeef", "/deadbeef"),
        ("/de4dbeef", "/:id"),
        ("", ""),
    ] {
        let mut out = String::new();
        path::mask(path.as_bytes(), &mut out);
        assert_eq!(out, masked, "{path}");
    }
    let mut out = String::new();
    path::mask(&[b"/\xff\x1b".as_slice(), &[b'a'; 500]].concat(), &mut out);
    assert!(out.len() <= 170 && !out.contains('\x1b'), "{out}");
}
