//! OTLP's logs: against prost, against bytes that Python's `opentelemetry-proto` 1.45 wrote, and there and back.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use sentinel_contract::{Field, Fields, Labels, Log, Name, Value};

use super::{NOW_NS, PYTHON_NS, base, corpus, fields, given, no_labels, pairs};
use crate::formats::Drops;
use crate::formats::otlp::{LogsDecoder, encode_logs};

/// The messages as prost sees them, from `logs.proto` and `common.proto`.
mod proto {
    use prost::{Message, Oneof};

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct LogsData {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_logs: Vec<ResourceLogs>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ResourceLogs {
        #[prost(message, optional, tag = "1")]
        pub(super) resource: Option<Resource>,
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_logs: Vec<ScopeLogs>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Resource {
        #[prost(message, repeated, tag = "1")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ScopeLogs {
        #[prost(message, repeated, tag = "2")]
        pub(super) log_records: Vec<LogRecord>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct LogRecord {
        #[prost(fixed64, tag = "1")]
        pub(super) time_unix_nano: u64,
        #[prost(int32, tag = "2")]
        pub(super) severity_number: i32,
        #[prost(string, tag = "3")]
        pub(super) severity_text: String,
        #[prost(message, optional, tag = "5")]
        pub(super) body: Option<AnyValue>,
        #[prost(message, repeated, tag = "6")]
        pub(super) attributes: Vec<KeyValue>,
        #[prost(bytes = "vec", tag = "9")]
        pub(super) trace_id: Vec<u8>,
        #[prost(bytes = "vec", tag = "10")]
        pub(super) span_id: Vec<u8>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<AnyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct AnyValue {
        #[prost(oneof = "Any", tags = "1, 4, 7")]
        pub(super) value: Option<Any>,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum Any {
        #[prost(string, tag = "1")]
        Text(String),
        #[prost(double, tag = "4")]
        Double(f64),
        #[prost(bytes = "vec", tag = "7")]
        Bytes(Vec<u8>),
    }
}

fn field(name: &'static str, value: Value) -> Field {
    Field { name: Name::Static(name), value }
}

fn record(stream: &Arc<Labels>, time_ns: i64, body: &[u8], fields: Vec<Field>) -> Log {
    let fields = (!fields.is_empty()).then(|| Box::new(Fields(fields)));
    Log { stream: Arc::clone(stream), time_ns, body: Bytes::copy_from_slice(body), fields }
}

fn decode(payload: Vec<u8>, labels: &Arc<Labels>) -> Vec<Log> {
    let (mut logs, mut drops) = (Vec::new(), Drops::default());
    LogsDecoder::default().decode(&payload.into(), given(labels), &mut logs, &mut drops).unwrap();
    assert_eq!(drops, Drops::default());
    logs
}

#[test]
fn prost_reads_what_we_write() {
    use prost::Message as _;
    let a = Arc::new(Labels::new([("job", "a"), ("level", "warning")]));
    let b = Arc::new(Labels::new([("job", "b")]));
    let trace = "0102030405060708090a0b0c0d0e0f10";
    let extra = vec![
        field("method", Value::Slice(0, 3)),
        field("status", Value::Number(200.5)),
        field("trace_id", Value::Text(trace.into())),
        field("span_id", Value::Text("not one".into())),
    ];
    let logs = [
        record(&a, NOW_NS, b"GET /", extra),
        record(&a, 0, b"", vec![]),
        record(&b, NOW_NS, b"\xff", vec![]),
        record(&a, NOW_NS, b"x", vec![]),
    ];
    let mut out = Vec::new();
    encode_logs(&mut out, &logs[..3]);
    encode_logs(&mut out, &logs[3..]);
    let data = proto::LogsData::decode(&out[..]).unwrap();
    let text = |text: &str| proto::AnyValue { value: Some(proto::Any::Text(text.into())) };
    let pair = |key: &str, value| proto::KeyValue { key: key.into(), value: Some(value) };
    let attributes =
        |at: usize| data.resource_logs[at].resource.as_ref().unwrap().attributes.clone();
    let records = |at: usize| &data.resource_logs[at].scope_logs[0].log_records;
    assert_eq!(data.resource_logs.len(), 3);
    assert_eq!(attributes(0), [pair("job", text("a")), pair("level", text("warning"))]);
    assert_eq!(attributes(1), [pair("job", text("b"))]);
    let number = proto::AnyValue { value: Some(proto::Any::Double(200.5)) };
    let first = proto::LogRecord {
        time_unix_nano: NOW_NS as u64,
        severity_number: 13,
        severity_text: "warning".into(),
        body: Some(text("GET /")),
        attributes: vec![
            pair("method", text("GET")),
            pair("status", number),
            pair("span_id", text("not one")),
        ],
        trace_id: (1..=16).collect(),
        span_id: vec![],
    };
    assert_eq!(records(0)[0], first);
    assert_eq!((records(0)[1].time_unix_nano, &records(0)[1].body), (0, &Some(text(""))));
    let bytes = proto::AnyValue { value: Some(proto::Any::Bytes(vec![0xff])) };
    assert_eq!(records(1)[0].body, Some(bytes));
    assert_eq!((records(1)[0].severity_number, records(1)[0].severity_text.as_str()), (0, ""));
    assert_eq!(records(2)[0].body, Some(text("x")));
}

#[test]
fn everything_that_python_wrote_is_read() {
    let logs = decode(corpus("otlp_logs/python"), &base());
    let stream = |level: &str| {
        format!(
            r#"{{"host": "web-1", "level": "{level}", "process_pid": "42", "service_name": "cart", "topic": "t"}}"#
        )
    };
    let bodies: Vec<_> = logs.iter().map(|log| String::from_utf8_lossy(&log.body)).collect();
    assert_eq!(bodies, ["it broke", "a \u{fffd}", r#"{"a":1}"#]);
    let streams: Vec<_> = logs.iter().map(|log| format!("{:?}", log.stream)).collect();
    assert_eq!(streams, ["error", "info", "warn"].map(stream));
    let times: Vec<_> = logs.iter().map(|log| log.time_ns).collect();
    assert_eq!(times, [PYTHON_NS, PYTHON_NS + 1, NOW_NS]);
    assert_eq!(
        fields(&logs[0]),
        [
            "http.status=500",
            "ratio=0.25",
            r#"retry="true""#,
            r#"path="/buy""#,
            r#"list="[1,\"a\\\"b\",null]""#,
            r#"map="{\"x\":1.5,\"y\":\"/w==\"}""#,
            r#"raw="AP8=""#,
            r#"big="1152921504606846976""#,
            r#"scope_name="app.log""#,
            r#"event_name="cart.failed""#,
            r#"trace_id="000102030405060708090a0b0c0d0e0f""#,
            r#"span_id="0102030405060708""#,
        ]
    );
    assert_eq!(fields(&logs[1]), [r#"scope_name="app.log""#]);
}

#[test]
fn a_body_is_a_slice_of_the_payload_and_streams_and_names_are_shared() {
    let (labels, payload) = (base(), Bytes::from(corpus("otlp_logs/python")));
    let (mut decoder, mut logs) = (LogsDecoder::default(), Vec::new());
    for _ in 0..2 {
        decoder.decode(&payload, given(&labels), &mut logs, &mut Drops::default()).unwrap();
    }
    let range = payload.as_ptr_range();
    assert!(range.contains(&logs[0].body.as_ptr()) && range.contains(&logs[1].body.as_ptr()));
    assert!((0..3).all(|at| Arc::ptr_eq(&logs[at].stream, &logs[at + 3].stream)));
    let name = |log: &Log| match &log.fields.as_ref().unwrap().0[0].name {
        Name::Shared(name) => Arc::clone(name),
        Name::Static(name) => panic!("{name}"),
    };
    assert!(Arc::ptr_eq(&name(&logs[0]), &name(&logs[3])));
    let other = Arc::new(Labels::new([("topic", "u")]));
    decoder.decode(&payload, given(&other), &mut logs, &mut Drops::default()).unwrap();
    assert_eq!(logs[6].stream.get("topic"), Some("u"), "what is given is part of what is known");
}

#[test]
fn a_resource_is_found_behind_its_records() {
    let logs = decode(corpus("otlp_logs/resource_last"), &no_labels());
    assert_eq!(logs[0].stream.get("a_b"), Some("c"));
}

#[test]
fn a_severity_is_a_word_or_else_a_number_and_a_label_of_that_word_stays() {
    use prost::Message as _;
    let level = |text: &str, number, label: &str| {
        let value = proto::AnyValue { value: Some(proto::Any::Text(label.into())) };
        let attribute = proto::KeyValue { key: "level".into(), value: Some(value) };
        let record = proto::LogRecord {
            severity_text: text.into(),
            severity_number: number,
            ..proto::LogRecord::default()
        };
        let logs = proto::ResourceLogs {
            resource: Some(proto::Resource { attributes: vec![attribute] }),
            scope_logs: vec![proto::ScopeLogs { log_records: vec![record] }],
        };
        let data = proto::LogsData { resource_logs: vec![logs] };
        decode(data.encode_to_vec(), &no_labels())[0].stream.get("level").map(str::to_owned)
    };
    assert_eq!(level("CRITICAL", 0, "").as_deref(), Some("fatal"));
    assert_eq!(level("CRITICAL", 1, "gold").as_deref(), Some("fatal"));
    assert_eq!(level("custom", 8, "").as_deref(), Some("debug"));
    assert_eq!(level("", 0, "").as_deref(), None);
    assert_eq!(level("", 25, "").as_deref(), None);
    assert_eq!(level("warning", 13, "warning").as_deref(), Some("warning"));
    let ranges = [(1, "trace"), (4, "trace"), (5, "debug"), (9, "info"), (13, "warn")];
    for (number, expected) in
        ranges.into_iter().chain([(17, "error"), (21, "fatal"), (24, "fatal")])
    {
        assert_eq!(level("", number, "").as_deref(), Some(expected), "{number}");
    }
}

#[test]
fn of_a_broken_payload_nothing_is_taken() {
    let (labels, whole) = (base(), corpus("otlp_logs/python"));
    for end in 1..whole.len() {
        let payload = Bytes::copy_from_slice(&whole[..end]);
        let (mut logs, mut drops) = (vec![], Drops::default());
        let result = LogsDecoder::default().decode(&payload, given(&labels), &mut logs, &mut drops);
        assert!(result.is_err() && logs.is_empty(), "{end}");
    }
    let deep = corpus("otlp_logs/deep").into();
    let result =
        LogsDecoder::default().decode(&deep, given(&labels), &mut vec![], &mut Drops::default());
    assert!(result.unwrap_err().to_string().contains("more than 32 deep"));
}

#[test]
fn more_events_than_a_payload_may_have_are_refused() {
    let mut scope = vec![];
    for _ in 0..200_001 {
        scope.extend_from_slice(&[0x12, 0]);
    }
    let mut resource = vec![];
    crate::protobuf::put_bytes(&mut resource, 2, &scope);
    let mut payload = vec![];
    crate::protobuf::put_bytes(&mut payload, 1, &resource);
    let (mut logs, labels) = (vec![], base());
    let result = LogsDecoder::default().decode(
        &payload.into(),
        given(&labels),
        &mut logs,
        &mut Drops::default(),
    );
    assert!(result.unwrap_err().to_string().contains("more than 200000 events"));
    assert!(logs.is_empty());
}

fn values() -> impl Strategy<Value = Value> {
    let text = "\\PC{0,12}".prop_map(|text| Value::Text(text.into()));
    prop_oneof![
        text,
        any::<f64>().prop_filter("equal to itself", |n| !n.is_nan()).prop_map(Value::Number)
    ]
}

fn logs() -> impl Strategy<Value = Vec<Log>> {
    let stream = pairs().prop_map(|pairs| Arc::new(Labels::new(pairs)));
    let streams = prop::collection::vec(stream, 1..4);
    let field = ("[a-z.]{1,9}", values());
    let body = prop_oneof![
        "\\PC{0,300}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20)
    ];
    let line = (0..4_usize, 1..i64::MAX, body, prop::collection::vec(field, 0..4));
    (streams, prop::collection::vec(line, 0..12)).prop_map(|(streams, lines)| {
        let one = |(at, time_ns, body, fields): (usize, i64, Vec<u8>, Vec<(String, Value)>)| {
            let field =
                |(name, value): (String, Value)| Field { name: Name::Shared(name.into()), value };
            let fields = fields.into_iter().map(field).collect();
            record(&streams[at % streams.len()], time_ns, &body, fields)
        };
        lines.into_iter().map(one).collect()
    })
}

proptest! {
    #[test]
    fn what_was_written_comes_back(logs in logs()) {
        let mut out = Vec::new();
        encode_logs(&mut out, &logs);
        let again = decode(out, &no_labels());
        prop_assert_eq!(again.len(), logs.len());
        for (one, other) in logs.iter().zip(&again) {
            prop_assert_eq!(&one.stream, &other.stream);
            prop_assert_eq!((one.time_ns, &one.body, &one.fields), (other.time_ns, &other.body, &other.fields));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200), at in 0..400_usize, byte: u8) {
        let mut mutated = corpus("otlp_logs/python");
        let place = at % mutated.len();
        mutated[place] = byte;
        crate::formats::fuzz::otlp_logs(&data);
        crate::formats::fuzz::otlp_logs(&mutated);
    }
}
