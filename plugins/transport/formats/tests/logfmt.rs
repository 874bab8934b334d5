//! logfmt, by the rules of go-logfmt.

use std::sync::Arc;

use sentinel_contract::incident::{Severity, State};
use sentinel_contract::{Field, Fields, Incident, Kind, Labels, Log, Metric, Name, Series, Value};

use super::NOW_NS;
use crate::formats::logfmt;

fn line(body: &[u8], labels: &[(&str, &str)], fields: Vec<Field>) -> String {
    let log = Log {
        stream: Arc::new(Labels::new(labels.iter().copied())),
        time_ns: NOW_NS + 7,
        body: bytes::Bytes::copy_from_slice(body),
        fields: Some(Box::new(Fields(fields))),
    };
    let mut out = Vec::new();
    logfmt::log(&mut out, &log);
    String::from_utf8(out).unwrap()
}

fn message(body: &[u8]) -> String {
    line(body, &[], vec![]).split_once(" msg=").unwrap().1.to_owned()
}

#[test]
fn an_event_is_its_time_level_labels_fields_and_line() {
    let field = |name, value| Field { name: Name::Static(name), value };
    let fields = vec![
        field("method", Value::Slice(0, 3)),
        field("status", Value::Number(200.0)),
        field("a b=\"c", Value::Text("x y".into())),
        field(" ", Value::Text("nameless".into())),
    ];
    assert_eq!(
        line(b"GET /", &[("job", "a"), ("level", "warn")], fields),
        r#"ts=2026-11-23T02:13:20.000000007Z level=warn job=a method=GET status=200 abc="x y" msg="GET /""#
    );
    let series = Series::new("up", Kind::Gauge, [("host", "h")]);
    let mut out = Vec::new();
    logfmt::metric(&mut out, &Metric { series, time_ms: NOW_NS / 1_000_000, value: 1.5 });
    out.push(b'\n');
    let incident = Incident {
        message: "errors are high".into(),
        key: "k".into(),
        detector: "web".into(),
        state: State::Confirmed,
        severity: Severity::Critical,
        time_ms: NOW_NS / 1_000_000,
        score: 2.5,
        ..Incident::default()
    };
    logfmt::incident(&mut out, &incident);
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "ts=2026-11-23T02:13:20Z name=up host=h value=1.5\n\
         ts=2026-11-23T02:13:20Z level=error state=confirmed detector=web key=k score=2.5 msg=\"errors are high\""
    );
}

#[test]
fn a_value_is_quoted_as_go_logfmt_does() {
    for (value, expected) in [
        (&b"plain/1.5:x"[..], "plain/1.5:x"),
        (b"", ""),
        (b"null", "\"null\""),
        (b"a b", "\"a b\""),
        (b"a=b", "\"a=b\""),
        (b"\"", "\"\\\"\""),
        (b"back\\slash", "back\\slash"),
        (b"back\\ slash", "\"back\\\\ slash\""),
        (b"\n\r\t\x01\x7f", "\"\\n\\r\\t\\u0001\x7f\""),
        ("\u{e9}".as_bytes(), "\u{e9}"),
        (b"\xff\xfea", "\"\\ufffd\\ufffda\""),
        ("\u{fffd}".as_bytes(), "\"\u{fffd}\""),
    ] {
        assert_eq!(message(value), expected, "{value:?}");
    }
}
