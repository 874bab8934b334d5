//! OTLP's metrics: against prost, against bytes that Python's `opentelemetry-proto` 1.45 wrote, and there and back.

use std::sync::Arc;

use proptest::prelude::*;
use sentinel_contract::{Kind, Labels, Metric, Series};

use super::{NOW_NS, base, corpus, given, no_labels, samples, shown};
use crate::formats::Drops;
use crate::formats::otlp::{MetricsDecoder, encode_metrics};

/// The messages as prost sees them, from `metrics.proto`.
mod proto {
    use prost::Message;

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct MetricsData {
        #[prost(message, repeated, tag = "1")]
        pub(super) resource_metrics: Vec<ResourceMetrics>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ResourceMetrics {
        #[prost(message, repeated, tag = "2")]
        pub(super) scope_metrics: Vec<ScopeMetrics>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct ScopeMetrics {
        #[prost(message, repeated, tag = "2")]
        pub(super) metrics: Vec<Metric>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Metric {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(message, optional, tag = "5")]
        pub(super) gauge: Option<Data>,
        #[prost(message, optional, tag = "7")]
        pub(super) sum: Option<Data>,
    }

    /// `Gauge`, and `Sum` with the other two.
    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Data {
        #[prost(message, repeated, tag = "1")]
        pub(super) points: Vec<NumberDataPoint>,
        #[prost(int32, tag = "2")]
        pub(super) aggregation_temporality: i32,
        #[prost(bool, tag = "3")]
        pub(super) is_monotonic: bool,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct NumberDataPoint {
        #[prost(fixed64, tag = "3")]
        pub(super) time_unix_nano: u64,
        #[prost(double, optional, tag = "4")]
        pub(super) as_double: Option<f64>,
        #[prost(message, repeated, tag = "7")]
        pub(super) attributes: Vec<KeyValue>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct KeyValue {
        #[prost(string, tag = "1")]
        pub(super) key: String,
        #[prost(message, optional, tag = "2")]
        pub(super) value: Option<Text>,
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct Text {
        #[prost(string, tag = "1")]
        pub(super) string_value: String,
    }
}

fn sample(name: &str, kind: Kind, cpu: &str, value: f64) -> Metric {
    Metric { series: Series::new(name, kind, [("cpu", cpu)]), time_ms: 1_795_400_000_123, value }
}

#[test]
fn prost_reads_what_we_write() {
    use prost::Message as _;
    let metrics = [
        sample("cpu_usage", Kind::Gauge, "0", 0.0),
        sample("cpu_usage", Kind::Gauge, "1", -2.5),
        sample("cpu_time", Kind::Counter, "0", 9.0),
    ];
    let mut out = Vec::new();
    encode_metrics(&mut out, &metrics);
    encode_metrics(&mut out, &[]);
    let data = proto::MetricsData::decode(&out[..]).unwrap();
    let point = |cpu: &str, value| proto::NumberDataPoint {
        time_unix_nano: NOW_NS as u64 + 123_000_000,
        as_double: Some(value),
        attributes: vec![proto::KeyValue {
            key: "cpu".into(),
            value: Some(proto::Text { string_value: cpu.into() }),
        }],
    };
    let gauge =
        proto::Data { points: vec![point("0", 0.0), point("1", -2.5)], ..proto::Data::default() };
    let sum = proto::Data {
        points: vec![point("0", 9.0)],
        aggregation_temporality: 2,
        is_monotonic: true,
    };
    let expected = [
        proto::Metric { name: "cpu_usage".into(), gauge: Some(gauge), sum: None },
        proto::Metric { name: "cpu_time".into(), gauge: None, sum: Some(sum) },
    ];
    assert_eq!(data.resource_metrics.len(), 1);
    assert_eq!(data.resource_metrics[0].scope_metrics[0].metrics, expected);
}

#[test]
fn everything_that_python_wrote_is_read_or_counted() {
    let (labels, mut metrics, mut drops) = (base(), Vec::new(), Drops::default());
    let mut decoder = MetricsDecoder::default();
    let payload = corpus("otlp_metrics/python");
    decoder.decode(&payload, given(&labels), &mut metrics, &mut drops).unwrap();
    let with = |more: &str| format!(r#"host="here",{more}service_name="cart",topic="t""#);
    let (plain, root) = (with(""), with(r#"route="/","#));
    let le = |bound: &str| with(&format!(r#"le="{bound}",route="/","#));
    let none = with(r#"route="none","#);
    let at = "1795400000123";
    let quantile = |q: &str| format!(r#"host="here",quantile="{q}",service_name="cart",topic="t""#);
    let queue = |q: &str| format!(r#"host="here",q="{q}",service_name="cart",topic="t""#);
    let expected = [
        format!("queue_size{{{}}} -7 {at}", queue("a")),
        format!("queue_size{{{}}} 1.5 {at}", queue("b")),
        format!("http_requests{{{plain}}} 12 {at}+"),
        format!("open_connections{{{plain}}} 3 1795400000000"),
        format!("latency_bucket{{{}}} 1 {at}+", le("0.5")),
        format!("latency_bucket{{{}}} 3 {at}+", le("2")),
        format!("latency_bucket{{{}}} 6 {at}+", le("+Inf")),
        format!("latency_sum{{{root}}} 4.5 {at}+"),
        format!("latency_count{{{root}}} 6 {at}+"),
        format!("latency_count{{{none}}} 2 {at}+"),
        format!("gc{{{}}} 0.4 {at}", quantile("0.5")),
        format!("gc{{{}}} 1 {at}", quantile("0.99")),
        format!("gc_sum{{{plain}}} 1.5 {at}+"),
        format!("gc_count{{{plain}}} 3 {at}+"),
    ];
    assert_eq!(metrics.iter().map(shown).collect::<Vec<_>>(), expected);
    let mut counted: Vec<_> = drops.iter().collect();
    counted.sort_unstable();
    assert_eq!(
        counted,
        [
            ("delta_temporality", 2),
            ("exponential_histogram", 1),
            ("malformed_histogram", 1),
            ("no_recorded_value", 1),
            ("no_value", 1),
            ("not_finite", 1),
        ]
    );
    let first: Vec<_> = metrics.iter().map(|one| Arc::clone(&one.series)).collect();
    metrics.clear();
    decoder.decode(&payload, given(&labels), &mut metrics, &mut drops).unwrap();
    assert!(metrics.iter().zip(&first).all(|(one, series)| Arc::ptr_eq(&one.series, series)));
}

#[test]
fn what_is_given_and_the_resource_yield_to_the_point() {
    let mut out = Vec::new();
    encode_metrics(&mut out, &[sample("a", Kind::Gauge, "7", 1.0)]);
    let labels = Arc::new(Labels::new([("cpu", "given"), ("host", "here")]));
    let (mut metrics, mut drops) = (Vec::new(), Drops::default());
    MetricsDecoder::default().decode(&out, given(&labels), &mut metrics, &mut drops).unwrap();
    assert_eq!(shown(&metrics[0]), r#"a{cpu="7",host="here"} 1 1795400000123"#);
}

proptest! {
    #[test]
    fn what_was_written_comes_back(metrics in samples()) {
        let (mut out, mut again) = (Vec::new(), Vec::new());
        encode_metrics(&mut out, &metrics);
        let mut drops = Drops::default();
        MetricsDecoder::default().decode(&out, given(&no_labels()), &mut again, &mut drops).unwrap();
        prop_assert_eq!(&drops, &Drops::default());
        prop_assert_eq!(metrics.len(), again.len());
        for (one, other) in metrics.iter().zip(&again) {
            prop_assert_eq!(&one.series, &other.series);
            prop_assert_eq!((one.time_ms, one.value), (other.time_ms, other.value));
        }
    }

    #[test]
    fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200), at in 0..1000_usize, byte: u8) {
        let mut mutated = corpus("otlp_metrics/python");
        let place = at % mutated.len();
        mutated[place] = byte;
        crate::formats::fuzz::otlp_metrics(&data);
        crate::formats::fuzz::otlp_metrics(&mutated);
    }
}
