//! Events as logfmt: `ts=... level=... labels and fields, msg=...`. Only written; `processors.parse` reads it.
//!
//! Quoting and escaping as in go-logfmt (`encode.go`, `jsonstring.go`): a value is quoted when it has a space, a control
//! character, `=`, `"` or what is not UTF-8, and when it is the word `null`; a key loses such characters.

use std::io::Write as _;

use jiff::Timestamp;
use sentinel_contract::{Incident, Log, Metric, Value};

/// Appends a log record, without a line end. A label or field called `ts` or `msg` stands there a second time.
pub fn log(out: &mut Vec<u8>, log: &Log) {
    put_time(out, Timestamp::from_nanosecond(i128::from(log.time_ns)).ok());
    if let Some(level) = log.stream.get("level") {
        put(out, "level", level.as_bytes());
    }
    for (name, value) in log.stream.iter().filter(|(name, _)| *name != "level") {
        put(out, name, value.as_bytes());
    }
    for field in log.fields.iter().flat_map(|fields| &fields.0) {
        let name = field.name.as_str();
        match &field.value {
            Value::Number(number) => put_number(out, name, *number),
            Value::Text(text) => put(out, name, text.as_bytes()),
            Value::Slice(start, end) => {
                let text = log.body.get(*start as usize..*end as usize);
                put(out, name, text.unwrap_or_default());
            }
        }
    }
    put(out, "msg", &log.body);
}

/// Appends a sample, without a line end.
pub fn metric(out: &mut Vec<u8>, metric: &Metric) {
    put_time(out, Timestamp::from_millisecond(metric.time_ms).ok());
    put(out, "name", metric.series.name().as_bytes());
    for (name, value) in metric.series.labels().iter() {
        put(out, name, value.as_bytes());
    }
    put_number(out, "value", metric.value);
}

/// Appends an incident's state and its sentence, without a line end; its explanation is in the JSON only.
pub fn incident(out: &mut Vec<u8>, incident: &Incident) {
    put_time(out, Timestamp::from_millisecond(incident.time_ms).ok());
    put(out, "level", incident.severity.level().as_bytes());
    let state = serde_json::to_value(incident.state).unwrap_or_default();
    let texts = [
        ("state", state.as_str().unwrap_or_default()),
        ("detector", &incident.detector),
        ("host", &incident.host),
        ("group", &incident.group),
        ("key", &incident.key),
    ];
    for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
        put(out, name, text.as_bytes());
    }
    put_number(out, "score", incident.score);
    put(out, "msg", incident.message.as_bytes());
}

fn put_time(out: &mut Vec<u8>, time: Option<Timestamp>) {
    out.extend_from_slice(b"ts=");
    if let Some(time) = time {
        let _infallible = write!(out, "{time}");
    }
}

fn put_number(out: &mut Vec<u8>, name: &str, number: f64) {
    if put_key(out, name) {
        let _infallible = write!(out, "{number}");
    }
}

#[inline]
fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    if !put_key(out, name) {
        return;
    }
    match std::str::from_utf8(value) {
        Ok(text) if text != "null" && !text.chars().any(asks_for_quotes) => {
            out.extend_from_slice(value);
        }
        _ => put_quoted(out, value),
    }
}

/// A character that is not in a bare value.
fn asks_for_quotes(c: char) -> bool {
    c <= ' ' || matches!(c, '=' | '"' | '\x7f' | char::REPLACEMENT_CHARACTER)
}

/// False, and nothing appended, when nothing is left of it.
#[inline]
fn put_key(out: &mut Vec<u8>, name: &str) -> bool {
    let good = |c: &char| *c > ' ' && !matches!(*c, '=' | '"' | char::REPLACEMENT_CHARACTER);
    let before = out.len();
    out.push(b' ');
    for c in name.chars().filter(good) {
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    if out.len() == before + 1 {
        out.truncate(before);
        return false;
    }
    out.push(b'=');
    true
}

fn put_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        let (mut rest, mut at) = (chunk.valid().as_bytes(), 0);
        while let Some(byte) = rest.get(at) {
            if *byte >= b' ' && !matches!(byte, b'"' | b'\\') {
                at += 1;
                continue;
            }
            out.extend_from_slice(&rest[..at]);
            match byte {
                b'"' | b'\\' => out.extend([b'\\', *byte]),
                b'\n' => out.extend_from_slice(b"\\n"),
                b'\r' => out.extend_from_slice(b"\\r"),
                b'\t' => out.extend_from_slice(b"\\t"),
                _ => {
                    let _infallible = write!(out, "\\u{byte:04x}");
                }
            }
            (rest, at) = (&rest[at + 1..], 0);
        }
        out.extend_from_slice(rest);
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd"); // one for each byte, as Go decodes them
        }
    }
    out.push(b'"');
}
