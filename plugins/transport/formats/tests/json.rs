//! Events as JSON: what the file output wrote comes back. Its tests have the goldens.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sentinel_contract::{Field, Fields, Labels, Log, Metric, Name, Value};

use super::{base, corpus, fields, given, no_labels, pairs, samples, shown};
use crate::formats::json::{self, JsonDecoder};
use crate::formats::{Drops, Malformed, names};

type Decoded = (Result<(), Malformed>, Vec<Log>, Vec<Metric>, Vec<(&'static str, u64)>);

fn decode(payload: impl Into<Bytes>, labels: &Arc<Labels>) -> Decoded {
    let (mut logs, mut metrics, mut drops) = (Vec::new(), Vec::new(), Drops::default());
    let result = JsonDecoder::default().decode(
        &payload.into(),
        given(labels),
        &mut logs,
        &mut metrics,
        &mut drops,
    );
    (result, logs, metrics, drops.iter().collect())
}

#[test]
fn every_kind_of_object_is_read_or_counted() {
    let (result, logs, metrics, drops) = decode(corpus("json_event/events"), &base());
    result.unwrap();
    assert_eq!(
        metrics.iter().map(shown).collect::<Vec<_>>(),
        [r#"cpu_usage{cpu="cpu\"0",host="h",topic="t"} 1.5 1795400000123"#]
    );
    assert_eq!(
        (&logs[0].body[..], logs[0].time_ns),
        (&b"a \"line\""[..], 1_795_400_000_000_000_007)
    );
    assert_eq!(format!("{:?}", logs[0].stream), r#"{"host": "here", "job": "a", "topic": "t"}"#);
    assert_eq!(
        fields(&logs[0]),
        [r#"method="GET""#, "status=200", r#"ok="true""#, r#"more="[1,{\"a\":2}]""#]
    );
    assert_eq!(drops, [("no_event", 1), ("malformed_line", 1)]);
}

#[test]
fn what_is_missing_is_given() {
    let text = "{\"line\":\"x\"}\n{\"name\":\"a\",\"value\":1,\"time\":null,\"other\":[]}\n";
    let (result, logs, metrics, _) = decode(text, &base());
    result.unwrap();
    assert_eq!((&*logs[0].stream, logs[0].time_ns), (&*base(), super::NOW_NS));
    assert_eq!(shown(&metrics[0]), r#"a{host="here",topic="t"} 1 1795400000000"#);
}

#[test]
fn a_payload_of_which_nothing_can_be_read_is_refused() {
    for text in
        ["[1]", "{", "a line", "{\"line\":1}", "{\"line\":\"x\",\"labels\":{\"a\":1}}", "\u{0}"]
    {
        let (result, logs, _, drops) = decode(text, &base());
        assert!(result.is_err() && logs.is_empty() && drops.is_empty(), "{text}");
    }
    let deep = format!("{{\"line\":\"x\",\"fields\":{{\"a\":{}", "[".repeat(100_000));
    assert!(decode(deep, &base()).0.is_err());
    assert!(decode("\n \n", &base()).0.is_ok());
}

#[test]
fn a_line_is_a_slice_of_the_payload_and_its_stream_is_shared() {
    let labels = base();
    let payload = Bytes::from("{\"labels\":{\"job\":\"a\"},\"line\":\"plain\"}\n".repeat(2));
    let (_, logs, ..) = decode(payload.clone(), &labels);
    assert!(payload.as_ptr_range().contains(&logs[1].body.as_ptr()));
    assert!(Arc::ptr_eq(&logs[0].stream, &logs[1].stream));
}

fn logs() -> impl Strategy<Value = Vec<Log>> {
    let text = "\\PC{0,12}".prop_map(|text| Value::Text(text.into()));
    let value = prop_oneof![text, (-1e300..1e300).prop_map(Value::Number)];
    let field = ("[a-z.\"]{0,9}", value)
        .prop_map(|(name, value)| Field { name: Name::Shared(name.into()), value });
    let line = (pairs(), any::<i64>(), ".{0,40}", prop::collection::vec(field, 0..4));
    let one = line.prop_map(|(pairs, time_ns, body, fields)| Log {
        stream: Arc::new(Labels::new(pairs)),
        time_ns,
        body: body.into(),
        fields: (!fields.is_empty()).then(|| Box::new(Fields(fields))),
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    #[test]
    fn what_was_written_comes_back(logs in logs(), metrics in samples()) {
        let mut out = Vec::new();
        for log in &logs {
            json::log(&mut out, log).unwrap();
            out.push(b'\n');
        }
        for metric in &metrics {
            json::metric(&mut out, metric).unwrap();
            out.push(b'\n');
        }
        let (result, logs_again, again, drops) = decode(out, &no_labels());
        result.unwrap();
        prop_assert!(drops.is_empty());
        prop_assert_eq!((logs.len(), metrics.len()), (logs_again.len(), again.len()));
        for (one, other) in logs.iter().zip(&logs_again) {
            prop_assert_eq!(&one.stream, &other.stream);
            prop_assert_eq!((one.time_ns, &one.body, &one.fields), (other.time_ns, &other.body, &other.fields));
        }
        for (one, other) in metrics.iter().zip(&again) {
            prop_assert_eq!((one.series.name(), one.series.labels()), (other.series.name(), other.series.labels()));
            prop_assert_eq!(other.series.kind(), names::kind(one.series.name()));
            prop_assert_eq!((one.time_ms, one.value), (other.time_ms, other.value));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(text in "([{}\\[\\]:,\"0-9a-z]|\"line\":|\"labels\":\\{|\"fields\":|\n){0,40}") {
        crate::formats::fuzz::json_event(text.as_bytes());
    }
}
