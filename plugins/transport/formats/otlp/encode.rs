//! Logs and samples to OTLP: lengths are worked out ahead, so that each record is written once, and nothing is allocated.

use std::borrow::Cow;
use std::sync::Arc;

use sentinel_contract::{Field, Kind, Labels, Level, Log, Metric, Value};

use super::{LEVEL, SEVERITIES};
use crate::protobuf::{
    close, field_len, open, put_bytes, put_double, put_fixed64, put_head, put_int,
};

/// Length of a number of eight bytes with its tag, for fields below 16.
const FIXED: usize = 9;

/// A cumulative sum, of `AggregationTemporality`.
const CUMULATIVE: i64 = 2;

/// Appends log records as a `LogsData`. Records of one stream that stand together are one `ResourceLogs`. Called again
/// with the same buffer it goes on with the same message, which must stay below 256 MiB.
///
/// A time before 1970 is left out, which says it is not known.
pub fn logs(out: &mut Vec<u8>, logs: &[Log]) {
    for group in logs.chunk_by(|a, b| Arc::ptr_eq(&a.stream, &b.stream)) {
        let stream = &group[0].stream;
        let severity = Severity::of(stream);
        let resource_logs = open(out, 1);
        put_resource(out, stream);
        let scope_logs = open(out, 2);
        for log in group {
            put_record(out, log, severity.as_ref());
        }
        close(out, &scope_logs);
        close(out, &resource_logs);
    }
}

/// Appends samples as a `MetricsData`, as [`logs`] does. Samples of one name that stand together are one `Metric`.
///
/// What is not finite is written as it is: the caller leaves it out.
pub fn metrics(out: &mut Vec<u8>, metrics: &[Metric]) {
    if metrics.is_empty() {
        return;
    }
    let resource_metrics = open(out, 1);
    let scope_metrics = open(out, 2);
    let same = |a: &Metric, b: &Metric| {
        let (a, b) = (&a.series, &b.series);
        Arc::ptr_eq(a, b) || (a.name() == b.name() && a.kind() == b.kind())
    };
    for group in metrics.chunk_by(same) {
        let series = &group[0].series;
        let counter = series.kind() == Kind::Counter;
        let metric = open(out, 2);
        put_bytes(out, 1, series.name().as_bytes());
        let data = open(out, if counter { 7 } else { 5 });
        for sample in group {
            put_point(out, sample);
        }
        if counter {
            put_int(out, 2, CUMULATIVE);
            put_int(out, 3, 1); // monotonic
        }
        close(out, &data);
        close(out, &metric);
    }
    close(out, &scope_metrics);
    close(out, &resource_metrics);
}

/// The severity of a stream.
struct Severity<'a> {
    text: &'a str,
    number: u64,
}

impl<'a> Severity<'a> {
    fn of(labels: &'a Labels) -> Option<Self> {
        let text = labels.get(LEVEL)?;
        let level = Level::of_text(text.as_bytes());
        Some(Severity { text, number: level.map_or(0, |level| SEVERITIES[level as usize]) })
    }

    fn len(&self) -> usize {
        field_len(self.text.len()) + if self.number > 0 { 2 } else { 0 }
    }
}

fn put_resource(out: &mut Vec<u8>, labels: &Labels) {
    let len = |(name, value): (&str, &str)| field_len(text_attribute_len(name, value.len()));
    put_head(out, 1, labels.iter().map(len).sum());
    for (name, value) in labels.iter() {
        put_text_attribute(out, 1, name, value.as_bytes());
    }
}

#[inline]
fn put_record(out: &mut Vec<u8>, log: &Log, severity: Option<&Severity<'_>>) {
    let fields = log.fields.as_ref().map_or(&[][..], |fields| &fields.0[..]);
    let time = if log.time_ns > 0 { FIXED } else { 0 };
    let body = field_len(log.body.len());
    let len = time
        + severity.map_or(0, Severity::len)
        + field_len(body)
        + fields.iter().map(|field| record_field_len(log, field)).sum::<usize>();
    out.reserve(len + 6);
    put_head(out, 2, len);
    if log.time_ns > 0 {
        put_fixed64(out, 1, log.time_ns as u64);
    }
    if let Some(severity) = severity {
        if severity.number > 0 {
            put_int(out, 2, severity.number as i64);
        }
        put_bytes(out, 3, severity.text.as_bytes());
    }
    put_head(out, 5, body);
    let kind = if std::str::from_utf8(&log.body).is_ok() { 1 } else { 7 };
    put_bytes(out, kind, &log.body);
    for field in fields {
        put_record_field(out, log, field);
    }
}

/// What a field of ours becomes in a `LogRecord`.
enum Written<'a> {
    Number(f64),
    Text(Cow<'a, str>),
    /// `trace_id` or `span_id`: its field's number and the id.
    Id(u64, [u8; 16], usize),
}

#[inline]
fn written<'a>(log: &'a Log, field: &'a Field) -> Written<'a> {
    let text = match &field.value {
        Value::Number(number) => return Written::Number(*number),
        Value::Text(text) => text.as_bytes(),
        Value::Slice(start, end) => {
            log.body.get(*start as usize..*end as usize).unwrap_or_default()
        }
    };
    let id = match field.name.as_str() {
        "trace_id" => id(text, 16).map(|id| Written::Id(9, id, 16)),
        "span_id" => id(text, 8).map(|id| Written::Id(10, id, 8)),
        _ => None,
    };
    id.unwrap_or_else(|| Written::Text(String::from_utf8_lossy(text)))
}

/// An id of `len` bytes of its digits, in lower case as W3C has them; not the one of zeros, which is none.
fn id(text: &[u8], len: usize) -> Option<[u8; 16]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut id = [0; 16];
    let (pairs, []) = text.as_chunks::<2>() else { return None };
    if pairs.len() != len {
        return None;
    }
    for (byte, [high, low]) in id.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    (id != [0; 16]).then_some(id)
}

#[inline]
fn record_field_len(log: &Log, field: &Field) -> usize {
    let name = field.name.as_str();
    match written(log, field) {
        Written::Number(_) => field_len(field_len(name.len()) + field_len(FIXED)),
        Written::Text(text) => field_len(text_attribute_len(name, text.len())),
        Written::Id(_, _, len) => field_len(len),
    }
}

#[inline]
fn put_record_field(out: &mut Vec<u8>, log: &Log, field: &Field) {
    let name = field.name.as_str();
    match written(log, field) {
        Written::Number(number) => {
            put_head(out, 6, field_len(name.len()) + field_len(FIXED));
            put_bytes(out, 1, name.as_bytes());
            put_head(out, 2, FIXED);
            put_double(out, 4, number);
        }
        Written::Text(text) => put_text_attribute(out, 6, name, text.as_bytes()),
        Written::Id(number, id, len) => put_bytes(out, number, &id[..len]),
    }
}

#[inline]
fn put_point(out: &mut Vec<u8>, sample: &Metric) {
    let labels = sample.series.labels();
    let time = if sample.time_ms > 0 { FIXED } else { 0 };
    let attributes = labels.iter();
    let attributes: usize =
        attributes.map(|(name, value)| field_len(text_attribute_len(name, value.len()))).sum();
    put_head(out, 1, attributes + time + FIXED);
    for (name, value) in labels.iter() {
        put_text_attribute(out, 7, name, value.as_bytes());
    }
    if sample.time_ms > 0 {
        put_fixed64(out, 3, (sample.time_ms as u64).saturating_mul(1_000_000));
    }
    put_double(out, 4, sample.value);
}

/// Length of a `KeyValue` with a string.
#[inline]
fn text_attribute_len(name: &str, value: usize) -> usize {
    field_len(name.len()) + field_len(field_len(value))
}

#[inline]
fn put_text_attribute(out: &mut Vec<u8>, field: u64, name: &str, value: &[u8]) {
    put_head(out, field, text_attribute_len(name, value.len()));
    put_bytes(out, 1, name.as_bytes());
    put_head(out, 2, field_len(value.len()));
    put_bytes(out, 1, value);
}
