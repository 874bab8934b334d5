//! One entry of a stream as it is sent, with what goes beside the line; and what is done to a line that Loki would not
//! take as it is.
//!
//! From `pkg/push/push.proto` of grafana/loki: `EntryAdapter { timestamp = 1, line = 2, structuredMetadata = 3 }`.

use std::io::Write as _;

use sentinel_contract::{Incident, Log, Value};
use sentinel_transport::protobuf::{field_len, put_bytes, put_head, put_int, varint_len};

use super::labels;

/// Loki's default `max_line_size`; what is longer is cut and marked.
pub(super) const LONGEST_LINE: usize = 256 << 10;

/// The name of an incident's stream.
pub(super) fn incident_stream(incident: &Incident) -> String {
    let host = if incident.host.is_empty() { "unknown" } else { &incident.host };
    let pairs = [
        ("detector", incident.detector.as_str()),
        ("host", host),
        ("job", "sentinelops"),
        ("kind", "incident"),
        ("level", incident.severity.level()),
    ];
    labels::render(pairs.into_iter())
}

/// Appends one entry to its stream.
#[inline]
pub(super) fn put_entry(
    out: &mut Vec<u8>,
    time_ns: i64,
    line: &[u8],
    metadata: &[u8],
    extra: &[u8],
) {
    let seconds = time_ns.div_euclid(1_000_000_000);
    let nanos = time_ns.rem_euclid(1_000_000_000);
    let time = 2 + varint_len(seconds as u64) + varint_len(nanos as u64);
    let len = field_len(time) + field_len(line.len()) + metadata.len() + extra.len();
    out.reserve(len + 6);
    put_head(out, 2, len);
    put_head(out, 1, time);
    put_int(out, 1, seconds);
    put_int(out, 2, nanos);
    put_bytes(out, 2, line);
    out.extend_from_slice(metadata);
    out.extend_from_slice(extra);
}

/// What a parser found and the user wants beside the line; and the mark of a line that was cut when it was read.
pub(super) fn put_fields(out: &mut Vec<u8>, log: &Log, fields: &[(String, String)]) {
    let Some(found) = &log.fields else { return };
    for (field, name) in fields {
        match found.get(field) {
            None => {}
            Some(Value::Number(number)) => {
                let mut text = [0; 32];
                let room = text.len();
                let mut rest = &mut text[..];
                if write!(rest, "{number}").is_ok() {
                    let used = room - rest.len();
                    labels::put_metadata(
                        out,
                        name,
                        std::str::from_utf8(&text[..used]).unwrap_or(""),
                    );
                }
            }
            Some(_) => {
                let text = log.text(field).unwrap_or_default();
                match std::str::from_utf8(text) {
                    Ok("") => {}
                    Ok(text) => labels::put_metadata(out, name, text),
                    Err(_) => labels::put_metadata(out, name, &String::from_utf8_lossy(text)),
                }
            }
        }
    }
    if found.get("truncated").is_some() && !fields.iter().any(|(field, _)| field == "truncated") {
        labels::put_metadata(out, "truncated", "true");
    }
}

/// A line that is too long or not UTF-8: cut, repaired with U+FFFD, and marked.
#[cold]
pub(super) fn repair(body: &[u8], extra: &mut Vec<u8>) -> String {
    let mut end = body.len().min(LONGEST_LINE);
    while end < body.len() && end > 0 && body[end] & 0xc0 == 0x80 {
        end -= 1; // not within a character
    }
    let line = String::from_utf8_lossy(&body[..end]);
    if matches!(line, std::borrow::Cow::Owned(_)) {
        labels::put_metadata(extra, "invalid_utf8", "true");
    }
    let mut line = line.into_owned();
    if end < body.len() || line.len() > LONGEST_LINE {
        labels::put_metadata(extra, "truncated", "true");
    }
    line.truncate(line.floor_char_boundary(LONGEST_LINE)); // each bad byte became three
    line
}
