//! Loki's push against a scripted server, with prost as the oracle of the bytes.

mod answers;
mod beside;
mod order;

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;
use sentinel_contract::{
    Events, Field, Fields, Incident, Labels, Log, Name, Output, Piece, Value, WriteError,
};

use super::answer::refused;
use super::entry::LONGEST_LINE;
use super::times::Times;
use super::{Config, Loki};
use crate::fake::{Fake, Received};
use crate::testing::{build, check_sample, incident, log, piece, refusals};
use answers::{S, entries, names};

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<StreamAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct StreamAdapter {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<EntryAdapter>,
}

#[derive(Clone, PartialEq, Message)]
struct EntryAdapter {
    #[prost(message, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// A stream's labels, and its entries: time, line, metadata.
type Read = (String, Vec<(i64, String, Vec<(String, String)>)>);

fn sent(request: &Received) -> Vec<Read> {
    let raw = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
    let entry = |entry: EntryAdapter| {
        let time = entry.timestamp.unwrap();
        let pairs = entry.metadata.into_iter().map(|pair| (pair.name, pair.value)).collect();
        (time.seconds * 1_000_000_000 + i64::from(time.nanos), entry.line, pairs)
    };
    let streams = PushRequest::decode(&raw[..]).unwrap().streams.into_iter();
    let stream = |stream: StreamAdapter| {
        (stream.labels, stream.entries.into_iter().map(entry).collect::<Vec<_>>())
    };
    streams.map(stream).collect()
}

fn lines(streams: &[Read]) -> Vec<(&str, Vec<&str>)> {
    streams
        .iter()
        .map(|(labels, entries)| {
            (labels.as_str(), entries.iter().map(|entry| entry.1.as_str()).collect())
        })
        .collect()
}

fn stream(job: &str) -> Arc<Labels> {
    Arc::new(Labels::new([("host", "web-1"), ("job", job)]))
}

fn logs(logs: Vec<Log>) -> Piece {
    piece(Events::Logs(logs))
}

fn config(fake: &Fake) -> Config {
    Config { url: fake.url.clone(), ..Config::default() }
}

fn output(fake: &Fake) -> Box<dyn Output> {
    build::<Loki>(config(fake))
}

const T: i64 = 1_795_400_000_000_000_000;

#[test]
fn the_sample_shows_every_option_and_its_default() {
    check_sample::<Loki>();
}

#[test]
fn options_that_cannot_be_used_are_refused_together() {
    let mut bad = Config { labels: Vec::new(), tenant: "a".into(), ..Config::default() };
    bad.headers.insert("x-scope-orgid".into(), sentinel_contract::units::Secret::new("b"));
    let errors = refusals::<Loki>(bad);
    for option in ["url: ", "labels: ", "tenant: "] {
        assert!(errors.contains(option), "{option} is missing in\n{errors}");
    }
}

#[tokio::test]
async fn a_request_has_these_bytes() {
    let fake = Fake::start();
    let stream = Arc::new(Labels::new([("job", "a"), ("x", "y")]));
    output(&fake).write(&[logs(vec![log(&stream, 5_000_000_007, b"hi")])]).await.unwrap();
    let request = &fake.received()[0];
    assert_eq!(request.line, "POST /loki/api/v1/push");
    assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
    let raw = snap::raw::Decoder::new().decompress_vec(&request.body).unwrap();
    let entry = b"\x12\x12\x0a\x04\x08\x05\x10\x07\x12\x02hi\x1a\x06\x0a\x01x\x12\x01y";
    let golden = [b"\x0a\x9f\x80\x80\x00\x0a\x09{job=\"a\"}", &entry[..]].concat();
    assert_eq!(raw, golden);
}

#[tokio::test]
async fn lines_of_a_stream_keep_their_order_over_pieces_and_streams_the_order_of_their_first_line()
{
    let fake = Fake::start();
    let (a, b) = (stream("a"), stream("b"));
    let first = logs(vec![log(&b, T, b"b1"), log(&a, T, b"a1"), log(&b, T + 5, b"b2")]);
    let second = logs(vec![log(&a, T + 3, b"a2"), log(&b, T + 6, b"b3")]);
    output(&fake).write(&[first, second]).await.unwrap();
    let streams = sent(&fake.received()[0]);
    assert_eq!(
        lines(&streams),
        [
            ("{host=\"web-1\", job=\"b\"}", vec!["b1", "b2", "b3"]),
            ("{host=\"web-1\", job=\"a\"}", vec!["a1", "a2"]),
        ]
    );
}

#[tokio::test]
async fn few_labels_name_a_stream_and_the_others_are_metadata() {
    let fake = Fake::start();
    let labels = [("job", "a\"\\\n\u{1}"), ("trace-id", "7"), ("env", "prod"), ("host", "h")];
    let stream = Arc::new(Labels::new(labels));
    output(&fake).write(&[logs(vec![log(&stream, T, b"x")])]).await.unwrap();
    let (labels, entries) = &sent(&fake.received()[0])[0];
    assert_eq!(labels, r#"{host="h", job="a\"\\\n\u0001"}"#);
    let pairs = [("env", "prod"), ("trace_id", "7")].map(|(a, b)| (a.to_owned(), b.to_owned()));
    assert_eq!(entries[0].2, pairs);
}

#[tokio::test]
async fn a_stream_without_any_of_the_labels_is_named_by_the_host() {
    let fake = Fake::start();
    let stream = Arc::new(Labels::new([("env", "prod")]));
    output(&fake).write(&[logs(vec![log(&stream, T, b"x")])]).await.unwrap();
    assert_eq!(sent(&fake.received()[0])[0].0, "{host=\"web-1\"}");
}

fn parsed() -> Log {
    let mut record = log(&stream("a"), T, b"GET 200 \xff");
    let field = |name: &'static str, value| Field { name: Name::Static(name), value };
    record.fields = Some(Box::new(Fields(vec![
        field("method", Value::Slice(0, 3)),
        field("status", Value::Number(200.0)),
        field("raw", Value::Slice(8, 9)),
        field("user", Value::Text("j\u{f6}rg".into())),
        field("secret", Value::Text("x".into())),
        field("truncated", Value::Text("true".into())),
    ])));
    record
}

#[tokio::test]
async fn chosen_fields_and_the_mark_of_a_cut_line_go_with_it() {
    let fake = Fake::start();
    let names = ["status", "method", "user", "raw", "absent"].map(String::from).to_vec();
    let mut output = build::<Loki>(Config { structured_metadata: names, ..config(&fake) });
    output.write(&[logs(vec![parsed()])]).await.unwrap();
    let pairs = sent(&fake.received()[0])[0].1[0].2.clone();
    let expected = [
        ("status", "200"),
        ("method", "GET"),
        ("user", "j\u{f6}rg"),
        ("raw", "\u{fffd}"),
        ("truncated", "true"),
        ("invalid_utf8", "true"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

#[tokio::test]
async fn bytes_that_are_not_utf8_are_replaced_and_marked() {
    let fake = Fake::start();
    let stream = stream("a");
    output(&fake)
        .write(&[logs(vec![log(&stream, T, b"a\xffb"), log(&stream, T + 1, b"ok")])])
        .await
        .unwrap();
    let entries = sent(&fake.received()[0])[0].1.clone();
    assert_eq!(entries[0].1, "a\u{fffd}b");
    assert_eq!(entries[0].2, [("invalid_utf8".to_owned(), "true".to_owned())]);
    assert!(entries[1].2.is_empty());
}

#[tokio::test]
async fn a_line_that_loki_would_refuse_is_cut_and_marked() {
    let fake = Fake::start();
    let stream = stream("a");
    let long = "\u{fc}".repeat(LONGEST_LINE / 2) + "x";
    let exact = "x".repeat(LONGEST_LINE);
    let binary = vec![0xff; LONGEST_LINE];
    let split = format!("x{}", "\u{fc}".repeat(LONGEST_LINE / 2));
    let all = [long.as_bytes(), exact.as_bytes(), &binary, split.as_bytes()];
    let records = all.iter().zip(T..).map(|(body, time)| log(&stream, time, body)).collect();
    output(&fake).write(&[logs(records)]).await.unwrap();
    let entries = sent(&fake.received()[0])[0].1.clone();
    let marks = |at: usize| entries[at].2.iter().map(|pair| pair.0.as_str()).collect::<Vec<_>>();
    assert!(entries.iter().all(|entry| entry.1.len() <= LONGEST_LINE));
    assert_eq!(entries[0].1.len(), LONGEST_LINE);
    assert_eq!(entries[1].1, exact);
    assert_eq!(entries[3].1.len(), LONGEST_LINE - 1, "no character is cut in two");
    assert_eq!((marks(0), marks(1)), (vec!["truncated"], vec![]));
    assert_eq!((marks(2), marks(3)), (vec!["invalid_utf8", "truncated"], vec!["truncated"]));
}

#[test]
fn times_around_a_change_of_second_stay_apart() {
    let mut times = Times::default();
    let given = [10, 10, 1000, 10, 1000, 11, 5].map(|time| times.distinct(time));
    assert_eq!(given, [10, 11, 1000, 12, 1001, 13, 5]);
    let mut edge = Times::default();
    edge.distinct(i64::MAX);
    edge.distinct(i64::MAX);
}

#[tokio::test]
async fn incidents_are_lines_of_a_stream_of_their_own() {
    let fake = Fake::start();
    let incidents = vec![incident(), Incident { message: "more".into(), ..incident() }];
    let pieces = [piece(Events::Incidents(incidents)), logs(vec![log(&stream("a"), T, b"x")])];
    output(&fake).write(&pieces).await.unwrap();
    let streams = sent(&fake.received()[0]);
    let of = r#"{detector="web", host="web-1", job="sentinelops", kind="incident", level="info"}"#;
    let ours = streams.iter().filter(|(labels, _)| labels == of).collect::<Vec<_>>();
    assert_eq!(ours.len(), 2);
    let (time, line, _) = &ours[0].1[0];
    assert_eq!(*time, incident().time_ms * 1_000_000);
    assert!(line.starts_with("{\"message\":\"errors are high\","), "{line}");
    assert_eq!(serde_json::from_str::<Incident>(line).unwrap(), incident());
    assert_eq!(ours[1].1[0].0, time + 1, "the second change stands behind the first");
}

#[tokio::test]
async fn an_incident_is_one_line_of_json_that_begins_with_its_sentence() {
    use sentinel_contract::incident::{HostChange, Suspect};
    let fake = Fake::start();
    let message = "web01 nginx: 412 of 5,480 requests \"failed\"\n(7.5 %)";
    let told = Incident {
        message: message.into(),
        hit: "412 of 5,480 requests failed".into(),
        suspects: vec![Suspect { feature: "latency_p95".into(), change: 12.0 }],
        changes: vec![HostChange { time_ms: 1, kind: "unit".into(), text: "a restarted".into() }],
        next: vec!["df -h".into()],
        ..incident()
    };
    output(&fake).write(&[piece(Events::Incidents(vec![told.clone()]))]).await.unwrap();
    let line = &sent(&fake.received()[0])[0].1[0].1;
    let head = r#"{"message":"web01 nginx: 412 of 5,480 requests \"failed\"\n(7.5 %)","#;
    assert!(line.starts_with(head), "{line}");
    assert!(!line.contains('\n'), "{line}");
    let json: serde_json::Value = serde_json::from_str(line).unwrap();
    assert_eq!(json["suspects"][0]["feature"], "latency_p95");
    assert_eq!(json["changes"][0]["text"], "a restarted");
    assert_eq!(json["hit"], "412 of 5,480 requests failed");
    assert!(json.get("similar").is_none(), "what is not known is left out");
    assert_eq!(serde_json::from_str::<Incident>(line).unwrap(), told);
}

#[tokio::test]
async fn tenant_and_token_are_sent() {
    let fake = Fake::start();
    let mut config = Config { tenant: "ops".into(), ..config(&fake) };
    config.auth.bearer_token = sentinel_contract::units::Secret::new("t0ken");
    let pieces = [logs(vec![log(&stream("a"), T, b"x")])];
    build::<Loki>(config).write(&pieces).await.unwrap();
    assert_eq!(fake.received()[0].header("x-scope-orgid"), Some("ops"));
    assert_eq!(fake.received()[0].header("authorization"), Some("Bearer t0ken"));
}

#[tokio::test]
async fn every_answer_says_what_to_do_next() {
    let fake = Fake::start();
    let mut output = output(&fake);
    let pieces = [logs(vec![log(&stream("a"), T, b"x")])];
    for status in [408, 429, 500, 503, 401, 403, 404, 302, 413, 400, 409, 415, 422] {
        fake.answer(status, "", "");
        let error = output.write(&pieces).await.unwrap_err();
        let expected = match status {
            408 | 429 | 500 | 503 => matches!(error, WriteError::Retry { .. }),
            401 | 403 | 404 | 302 => matches!(error, WriteError::Hold { .. }),
            413 => matches!(error, WriteError::Split { .. }),
            _ => matches!(error, WriteError::Refuse { .. }),
        };
        assert!(expected, "{status}: {error:?}");
    }
    let disallowed = "stream '{}' includes structured metadata, but this feature is disallowed.";
    fake.answer(400, "", disallowed);
    let error = output.write(&pieces).await.unwrap_err();
    assert!(matches!(error, WriteError::Hold { .. }), "{error:?}");
}

#[tokio::test]
async fn the_probe_says_what_the_server_answered() {
    let fake = Fake::start();
    fake.answer(200, "", "ready").answer(422, "", "error at least one valid stream is required");
    let said = output(&fake).probe().await.unwrap();
    assert!(said.contains("/ready: answered 200: ready; ") && said.contains("422"), "{said}");
    fake.answer(200, "", "ready").answer(401, "", "no org id");
    let error = output(&fake).probe().await.unwrap_err();
    assert!(error.to_string().contains("no org id"), "{error}");
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_panic(text in "\\PC*", count in 0..50_u32) {
        let told = format!("{count} errors like: entry for stream '{text}' has timestamp too old: {text}");
        refused(&text, &entries(&[S]), &names(&["{}"]));
        refused(&told, &entries(&[S]), &names(&["{}"]));
    }

    #[test]
    fn whatever_is_sent_is_what_prost_reads(
        records in prop::collection::vec((0..4_usize, any::<i64>(), any::<Vec<u8>>()), 1..30),
        names in prop::collection::vec(("\\PC{0,9}", "\\PC{0,9}"), 4),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let fake = Fake::start();
        let streams = names.iter().map(|(name, value)| {
            Arc::new(Labels::new([(name.as_str(), value.as_str()), ("job", value.as_str())]))
        });
        let streams = streams.collect::<Vec<_>>();
        let bodies = records.iter().map(|(at, time, body)| log(&streams[*at], *time, body));
        let piece = logs(bodies.collect());
        runtime.block_on(output(&fake).write(&[piece])).unwrap();
        let got = sent(&fake.received()[0]);
        let mut found = got.iter().flat_map(|(_, entries)| entries)
            .map(|entry| entry.1.clone()).collect::<Vec<_>>();
        let mut expected = records.iter()
            .map(|(_, _, body)| String::from_utf8_lossy(body).into_owned()).collect::<Vec<_>>();
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}
