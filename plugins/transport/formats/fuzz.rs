//! What `tests/fuzz` feeds with bytes of its own making, and the tests here with its corpus: the decoders. Compiled for tests
//! and fuzzing only.
//!
//! Of any bytes each decoder must say: malformed, and nothing is taken; or events that are sound, and that come back the same
//! when they are written and read again.

use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::{Labels, Log, Metric, Value};

use super::influx::{self, InfluxDecoder};
use super::json::{self, JsonDecoder};
use super::otlp::{LogsDecoder, MetricsDecoder, encode_logs, encode_metrics};
use super::prometheus::RemoteWriteDecoder;
use super::unpack::Packing;
use super::{Drops, Given, Malformed, names};

/// 2026-11-23T02:13:20Z.
const NOW_NS: i64 = 1_795_400_000_000_000_000;
/// What can be written as RFC 3339, which is more than OTLP's nanoseconds and less than our milliseconds.
const YEAR_9999_MS: i64 = 253_000_000_000_000;

fn base() -> Arc<Labels> {
    Arc::new(Labels::new([("topic", "t"), ("level", "info")]))
}

fn given(labels: &Arc<Labels>) -> Given<'_> {
    Given { labels, now_ns: NOW_NS }
}

/// Nothing is taken of what is malformed.
fn settled(result: &Result<(), Malformed>, taken: usize, drops: &Drops) {
    if result.is_err() {
        assert!(taken == 0 && *drops == Drops::default(), "of a broken payload nothing is taken");
    }
}

/// OTLP's logs.
pub fn otlp_logs(data: &[u8]) {
    let (base, payload) = (base(), Bytes::copy_from_slice(data));
    let (mut decoder, mut logs, mut drops) = <(LogsDecoder, Vec<_>, Drops)>::default();
    let result = decoder.decode(&payload, given(&base), &mut logs, &mut drops);
    settled(&result, logs.len(), &drops);
    logs.iter().for_each(is_sound);
    let mut written = Vec::new();
    encode_logs(&mut written, &logs);
    let mut again = Vec::new();
    let read = decoder.decode(&written.into(), given(&base), &mut again, &mut drops);
    assert!(read.is_ok(), "{read:?}");
    same_logs(&logs, &again);
}

/// OTLP's metrics.
pub fn otlp_metrics(data: &[u8]) {
    let base = base();
    let (mut decoder, mut metrics, mut drops) = <(MetricsDecoder, Vec<_>, Drops)>::default();
    let result = decoder.decode(data, given(&base), &mut metrics, &mut drops);
    settled(&result, metrics.len(), &drops);
    metrics.iter().for_each(is_sound_sample);
    let (mut written, mut again) = (Vec::new(), Vec::new());
    encode_metrics(&mut written, &metrics);
    let read = decoder.decode(&written, given(&base), &mut again, &mut drops);
    assert!(read.is_ok(), "{read:?}");
    same_samples(&metrics, &again, |_| true);
}

/// Line protocol.
pub fn influx(data: &[u8]) {
    let base = base();
    let (mut decoder, mut metrics, mut drops) = <(InfluxDecoder, Vec<_>, Drops)>::default();
    let result = decoder.decode(data, given(&base), &mut metrics, &mut drops);
    settled(&result, metrics.len(), &drops);
    metrics.iter().for_each(is_sound_sample);
    let (mut written, mut again) = (Vec::new(), Vec::new());
    for metric in &metrics {
        influx::metric(&mut written, metric);
        written.push(b'\n');
    }
    let read = decoder.decode(&written, given(&base), &mut again, &mut drops);
    assert!(read.is_ok(), "{read:?}");
    same_samples(&metrics, &again, |_| true);
}

/// Remote write; the first byte chooses the packing.
pub fn remote_write(data: &[u8]) {
    let Some((packing, data)) = data.split_first() else { return };
    let packing = [Packing::None, Packing::Snappy, Packing::Zstd][usize::from(*packing) % 3];
    let base = base();
    let (mut decoder, mut metrics, mut drops) = <(RemoteWriteDecoder, Vec<_>, Drops)>::default();
    let result = decoder.decode(data, packing, 1 << 20, given(&base), &mut metrics, &mut drops);
    settled(&result, metrics.len(), &drops);
    metrics.iter().for_each(is_sound_sample);
    let mut again = Vec::new();
    let read = decoder.decode(data, packing, 1 << 20, given(&base), &mut again, &mut drops);
    assert_eq!(result, read, "what is remembered changes nothing");
    same_samples(&metrics, &again, |_| true);
}

/// Events as JSON.
pub fn json_event(data: &[u8]) {
    let (base, payload) = (base(), Bytes::copy_from_slice(data));
    let (mut decoder, mut logs, mut metrics) = <(JsonDecoder, Vec<_>, Vec<Metric>)>::default();
    let mut drops = Drops::default();
    let result = decoder.decode(&payload, given(&base), &mut logs, &mut metrics, &mut drops);
    settled(&result, logs.len() + metrics.len(), &drops);
    logs.iter().for_each(is_sound);
    let mut written = Vec::new();
    for log in &logs {
        assert!(json::log(&mut written, log).is_ok());
        written.push(b'\n');
    }
    for metric in &metrics {
        assert!(metric.value.is_finite());
        assert!(json::metric(&mut written, metric).is_ok());
        written.push(b'\n');
    }
    let (mut logs_again, mut again) = (Vec::new(), Vec::new());
    let read =
        decoder.decode(&written.into(), given(&base), &mut logs_again, &mut again, &mut drops);
    assert!(read.is_ok(), "{read:?}");
    same_logs(&logs, &logs_again);
    same_samples(&metrics, &again, |one| one.time_ms.abs() < YEAR_9999_MS);
}

fn is_sound(log: &Log) {
    for field in log.fields.iter().flat_map(|fields| &fields.0) {
        let name = field.name.as_str();
        assert!(!matches!(field.value, Value::Slice(..)), "{name} is of the payload, not the line");
    }
}

fn is_sound_sample(one: &Metric) {
    let (name, labels) = (one.series.name(), one.series.labels());
    assert!(one.value.is_finite());
    assert_eq!(name, names::metric(name));
    assert!(labels.iter().all(|(name, _)| name == names::label(name)), "{labels:?}");
    assert!(labels.get("topic").is_some(), "what is given is there");
}

/// Ids of traces move behind the other fields, and of two of them the last counts.
fn same_logs(logs: &[Log], again: &[Log]) {
    assert_eq!(logs.len(), again.len());
    for (one, other) in logs.iter().zip(again) {
        assert_eq!((&one.stream, &one.body), (&other.stream, &other.body));
        assert_eq!(one.time_ns, other.time_ns);
        let id = fields(one).iter().any(|(name, _)| name.ends_with("_id"));
        assert!(id || fields(one) == fields(other), "{one:?} {other:?}");
    }
}

/// Names and values; a value that is no number is itself.
fn fields(log: &Log) -> Vec<(&str, String)> {
    let fields = log.fields.iter().flat_map(|fields| &fields.0);
    fields.map(|field| (field.name.as_str(), format!("{:?}", field.value))).collect()
}

/// A time of zero says that there is none.
fn same_samples(metrics: &[Metric], again: &[Metric], exact: impl Fn(&Metric) -> bool) {
    assert_eq!(metrics.len(), again.len());
    for (one, other) in metrics.iter().zip(again) {
        assert_eq!(one.series, other.series);
        assert_eq!(one.value, other.value);
        assert!(one.time_ms == other.time_ms || one.time_ms <= 0 || !exact(one));
    }
}

#[cfg(test)]
#[test]
fn the_corpus_of_formats_finds_nothing() {
    use crate::fuzz::corpus;
    corpus::run("otlp_logs", otlp_logs);
    corpus::run("otlp_metrics", otlp_metrics);
    corpus::run("influx", influx);
    corpus::run("remote_write", remote_write);
    corpus::run("json_event", json_event);
}
