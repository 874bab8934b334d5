//! A piece of a batch as the bytes of a record, and back: version 1.
//!
//! ```text
//! version:u8 kind:u8 order:varint origin:text count:varint, then of each event
//! metric    series:varint [name:text kind:u8 labels] time_ms:i64 value:f64
//! log       labels:varint [labels] time_ns:i64 body:bytes fields:varint (name:text tag:u8 value)*
//! incident  JSON:bytes
//! ```
//! Numbers are little endian, `varint` is LEB128, a text or bytes stand behind their length. A series or a set of labels
//! is written where it is first used, and named by its number afterwards.

use std::collections::HashMap;

use sentinel_contract::{Events, Field, Kind, Labels, Log, Piece, Series, Value};

pub(super) const VERSION: u8 = 1;
pub(super) const METRICS: u8 = 1;
pub(super) const LOGS: u8 = 2;
pub(super) const INCIDENTS: u8 = 3;
pub(super) const SLICE: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const NUMBER: u8 = 2;

/// Appends the piece's events to `out`. `false`: nothing of them can be kept (evidence, which no output takes).
pub(crate) fn encode(piece: &Piece, out: &mut Vec<u8>) -> bool {
    let kind = match &piece.batch.events {
        Events::Metrics(_) => METRICS,
        Events::Logs(_) => LOGS,
        Events::Incidents(_) => INCIDENTS,
        Events::Evidence(_) => return false,
    };
    out.extend([VERSION, kind]);
    put_varint(out, piece.batch.order);
    put_bytes(out, piece.batch.origin.as_bytes());
    put_varint(out, piece.range.len() as u64);
    let mut seen = Seen::default();
    for metric in piece.metrics() {
        if seen.number(std::sync::Arc::as_ptr(&metric.series).addr(), out) {
            put_series(out, &metric.series);
        }
        out.extend(metric.time_ms.to_le_bytes());
        out.extend(metric.value.to_le_bytes());
    }
    for log in piece.logs() {
        if seen.number(std::sync::Arc::as_ptr(&log.stream).addr(), out) {
            put_labels(out, &log.stream);
        }
        put_log(out, log);
    }
    for incident in piece.incidents() {
        // A map with keys that are not texts is what fails, and there is none.
        put_bytes(out, &serde_json::to_vec(incident).unwrap_or_default());
    }
    true
}

/// The shared parts that were written already, by address: they live as long as the batch.
#[derive(Default)]
struct Seen {
    numbers: HashMap<usize, u64>,
    last: Option<(usize, u64)>,
}

impl Seen {
    /// Writes the number of a part; true when it is new and has to follow.
    fn number(&mut self, address: usize, out: &mut Vec<u8>) -> bool {
        if let Some((_, number)) = self.last.filter(|(last, _)| *last == address) {
            put_varint(out, number);
            return false;
        }
        let next = self.numbers.len() as u64;
        let number = *self.numbers.entry(address).or_insert(next);
        self.last = Some((address, number));
        put_varint(out, number);
        number == next
    }
}

fn put_log(out: &mut Vec<u8>, log: &Log) {
    out.extend(log.time_ns.to_le_bytes());
    put_bytes(out, &log.body);
    let fields = log.fields.as_deref().map_or(&[][..], |fields| &fields.0);
    put_varint(out, fields.len() as u64);
    for Field { name, value } in fields {
        put_bytes(out, name.as_str().as_bytes());
        match value {
            Value::Slice(start, end) => {
                out.push(SLICE);
                put_varint(out, u64::from(*start));
                put_varint(out, u64::from(*end));
            }
            Value::Text(text) => {
                out.push(TEXT);
                put_bytes(out, text.as_bytes());
            }
            Value::Number(number) => {
                out.push(NUMBER);
                out.extend(number.to_le_bytes());
            }
        }
    }
}

fn put_series(out: &mut Vec<u8>, series: &Series) {
    put_bytes(out, series.name().as_bytes());
    out.push(match series.kind() {
        Kind::Gauge => 0,
        Kind::Counter => 1,
    });
    put_labels(out, series.labels());
}

fn put_labels(out: &mut Vec<u8>, labels: &Labels) {
    let pairs = labels.iter();
    put_varint(out, pairs.len() as u64);
    for (name, value) in pairs {
        put_bytes(out, name.as_bytes());
        put_bytes(out, value.as_bytes());
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
