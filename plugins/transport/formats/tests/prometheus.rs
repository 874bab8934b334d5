//! Remote write.

use std::sync::Arc;

use proptest::prelude::*;
use prost::Message;

use super::{Shown, base, given, no_labels, shown};
use crate::Body;
use crate::formats::Drops;
use crate::formats::prometheus::RemoteWriteDecoder;
use crate::formats::unpack::Packing;

const LIMIT: usize = 1 << 20;

/// From `remote.proto` and `types.proto`.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    histograms: Vec<Label>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

fn series(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> TimeSeries {
    let label =
        |(name, value): &(&str, &str)| Label { name: (*name).into(), value: (*value).into() };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples
            .iter()
            .map(|(value, timestamp)| Sample { value: *value, timestamp: *timestamp })
            .collect(),
        histograms: vec![],
    }
}

fn decode(raw: &[u8], packing: Packing) -> Shown {
    let (labels, mut metrics, mut drops) = (base(), Vec::new(), Drops::default());
    let result = RemoteWriteDecoder::default().decode(
        raw,
        packing,
        LIMIT,
        given(&labels),
        &mut metrics,
        &mut drops,
    );
    assert!(result.is_ok() || metrics.is_empty());
    (result.map(|()| metrics.iter().map(shown).collect()), drops.iter().collect())
}

#[test]
fn what_prost_wrote_is_read_or_counted() {
    let stale = f64::from_bits(0x7ff0_0000_0000_0002);
    let mut timeseries = vec![
        series(&[("__name__", "up"), ("host", "b"), ("job", "n\u{e9}")], &[(1.0, 5), (0.0, 0)]),
        series(
            &[("__name__", "http.requests_total"), ("le.x", "a")],
            &[(7.0, 5), (stale, 6), (f64::NAN, 7), (f64::INFINITY, 8)],
        ),
        series(&[("job", "nameless")], &[(1.0, 5), (2.0, 6)]),
        series(&[("__name__", "twice"), ("a", "1"), ("a", "2")], &[(1.0, 5)]),
        series(&[("__name__", "empty"), ("", "1")], &[(1.0, 5)]),
        series(&[("__name__", "before_1970")], &[(1.0, -5)]),
    ];
    timeseries[5].histograms.push(Label::default());
    let raw = WriteRequest { timeseries, metadata: vec![Label::default()] }.encode_to_vec();
    let expected = [
        "up{host=\"b\",job=\"n\u{e9}\",topic=\"t\"} 1 5",
        "up{host=\"b\",job=\"n\u{e9}\",topic=\"t\"} 0 0",
        r#"http_requests_total{host="here",le_x="a",topic="t"} 7 5+"#,
        r#"before_1970{host="here",topic="t"} 1 -5"#,
    ];
    let (metrics, mut drops) = decode(&raw, Packing::None);
    drops.sort_unstable();
    assert_eq!(metrics.unwrap(), expected);
    assert_eq!(
        drops,
        [("invalid_labels", 4), ("native_histogram", 1), ("not_finite", 2), ("stale", 1)]
    );
    let mut body = Body::new();
    body.snappy(&raw).unwrap();
    assert_eq!(decode(body.as_slice(), Packing::Snappy).0.unwrap(), expected);
    body.zstd(&raw).unwrap();
    assert_eq!(decode(body.as_slice(), Packing::Zstd).0.unwrap(), expected);
}

#[test]
fn of_a_broken_request_nothing_is_taken() {
    let good = series(&[("__name__", "up")], &[(1.0, 5)]);
    let raw = WriteRequest { timeseries: vec![good; 2], metadata: vec![] }.encode_to_vec();
    for end in 1..raw.len() {
        let result = decode(&raw[..end], Packing::None);
        assert!(result.0.is_err() && result.1.is_empty() || end == raw.len() / 2, "{end}");
    }
    assert!(decode(&raw, Packing::Snappy).0.is_err());
    assert!(decode(&vec![0; LIMIT + 1], Packing::None).0.is_err());
}

#[test]
fn a_series_is_shared_and_each_given_label_set_has_its_own() {
    let raw = WriteRequest {
        timeseries: vec![series(&[("__name__", "up")], &[(1.0, 5)])],
        metadata: vec![],
    };
    let raw = raw.encode_to_vec();
    let (mut decoder, mut metrics, mut drops) = <(RemoteWriteDecoder, Vec<_>, Drops)>::default();
    for labels in [base(), base(), no_labels()] {
        decoder
            .decode(&raw, Packing::None, LIMIT, given(&labels), &mut metrics, &mut drops)
            .unwrap();
    }
    assert!(Arc::ptr_eq(&metrics[0].series, &metrics[1].series));
    assert_eq!(metrics[2].series.labels().iter().len(), 0);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
        crate::formats::fuzz::remote_write(&data);
    }
}
