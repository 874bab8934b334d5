//! Loki's push request by hand: one pass over the lines, which are copied once and allocate nothing.
//!
//! From `pkg/push/push.proto` of grafana/loki: `PushRequest { streams = 1 }`,
//! `StreamAdapter { labels = 1, entries = 2 }`, `EntryAdapter { timestamp = 1, line = 2, structuredMetadata = 3 }`. Checked against prost in the tests.

use std::io::Write as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::{Cause, Incident, Labels, Log, Piece, Value};
use sentinel_transport::ByIdentity;
use sentinel_transport::compress::shrink;
use sentinel_transport::protobuf::{
    close, field_len, open, put_bytes, put_head, put_int, varint_len,
};

use super::labels;
use super::times::Times;

/// Loki's default `max_line_size`; what is longer is cut and marked.
pub const LONGEST_LINE: usize = 256 << 10;

/// Streams kept; a host with more files than this has most of them idle.
const MOST_STREAMS: usize = 16_384;

/// How long an unused stream is kept: well beyond any pause within which lines of one time could come.
const KEEP: Duration = Duration::from_mins(10);

/// What is known of a stream.
struct Known {
    /// Encoded field `labels` of its `StreamAdapter`.
    labels: Box<[u8]>,
    /// Encoded structured metadata of all its entries.
    metadata: Box<[u8]>,
    /// Times in use: acknowledged, and with the request under way.
    times: Times,
    next_times: Times,
    /// The last request it was part of, and its place there.
    request: u64,
    place: u32,
    used: Instant,
}

/// Records of one stream that stand together.
struct Run {
    place: u32,
    stream: u32,
    piece: u32,
    start: u32,
    end: u32,
    /// Index of the first over all pieces.
    index: u32,
}

/// One entry as it was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) time_ns: i64,
    /// Over all pieces.
    pub(super) index: u32,
    pub(super) len: u32,
}

/// Encodes requests; remembers their streams.
pub struct Encoder {
    keep: Vec<String>,
    fields: Vec<(String, String)>,
    host: Arc<str>,
    streams: ByIdentity<Labels, Known>,
    runs: Vec<Run>,
    sent: Vec<Sent>,
    incident_times: Times,
    next_incident_times: Times,
    request: u64,
    swept: Instant,
    raw: Vec<u8>,
    extra: Vec<u8>,
}

impl Encoder {
    /// `keep`: the labels that name a stream; `fields`: parsed fields to attach.
    pub fn new(keep: Vec<String>, fields: &[String], host: Arc<str>) -> Self {
        let fields = fields.iter().map(|field| (field.clone(), labels::clean(field))).collect();
        Encoder {
            keep,
            fields,
            host,
            streams: ByIdentity::default(),
            runs: Vec::new(),
            sent: Vec::new(),
            incident_times: Times::default(),
            next_incident_times: Times::default(),
            request: 0,
            swept: Instant::now(),
            raw: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// Encodes the records and incidents of the pieces.
    pub fn encode(&mut self, pieces: &[Piece]) -> Result<(), Cause> {
        self.raw.clear();
        self.sent.clear();
        self.find_runs(pieces);
        let runs = std::mem::take(&mut self.runs);
        for group in runs.chunk_by(|a, b| a.place == b.place) {
            self.put_stream(group, pieces);
        }
        self.runs = runs;
        self.put_incidents(pieces)
    }

    /// The request, not compressed.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The entries of the request.
    pub(super) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// The request was taken: its times are in use.
    pub fn acknowledged(&mut self, now: Instant) {
        let request = self.request;
        for known in self.streams.values_mut().filter(|known| known.request == request) {
            known.times = known.next_times;
            known.used = now;
        }
        self.incident_times = self.next_incident_times;
        shrink(&mut self.raw);
        if now - self.swept > KEEP || self.streams.entries().len() > MOST_STREAMS {
            self.swept = now;
            let crowded = self.streams.entries().len() > MOST_STREAMS;
            self.streams.retain(|entry| {
                let known = &entry.value;
                known.request == request || (!crowded && now - known.used < KEEP)
            });
        }
    }

    /// Where the records of each stream stand; streams in the order in which they are first seen.
    fn find_runs(&mut self, pieces: &[Piece]) {
        self.request += 1;
        self.runs.clear();
        let (mut index, mut places) = (0, 0);
        for (nth, piece) in pieces.iter().enumerate() {
            let mut start = 0;
            for run in piece.logs().chunk_by(|a, b| Arc::ptr_eq(&a.stream, &b.stream)) {
                let stream = self.find(&run[0].stream);
                let known = self.streams.value_mut(stream);
                if known.request != self.request {
                    known.request = self.request;
                    known.next_times = known.times;
                    known.place = places;
                    places += 1;
                }
                let (place, piece, stream) = (known.place, nth as u32, stream as u32);
                let end = start + run.len() as u32;
                self.runs.push(Run { place, stream, piece, start, end, index: index + start });
                start = end;
            }
            index += piece.range.len() as u32;
        }
        self.runs.sort_by_key(|run| run.place); // stable: the records of a stream keep their order
    }

    fn find(&mut self, stream: &Arc<Labels>) -> usize {
        if let Some(at) = self.streams.find(stream) {
            return at;
        }
        let (keep, host) = (&self.keep, &self.host);
        let make = || {
            let mut encoded = Vec::new();
            put_bytes(&mut encoded, 1, labels::stream_name(stream, keep, host).as_bytes());
            Known {
                labels: encoded.into(),
                metadata: labels::metadata(stream, keep),
                times: Times::default(),
                next_times: Times::default(),
                request: 0,
                place: 0,
                used: Instant::now(),
            }
        };
        self.streams.adopt(stream, stream.hash(), make).0
    }

    fn put_stream(&mut self, runs: &[Run], pieces: &[Piece]) {
        let stream = open(&mut self.raw, 1);
        let known = self.streams.value_mut(runs[0].stream as usize);
        self.raw.extend_from_slice(&known.labels);
        let mut times = known.next_times;
        for run in runs {
            let logs = &pieces[run.piece as usize].logs()[run.start as usize..run.end as usize];
            for (nth, log) in logs.iter().enumerate() {
                let time_ns = times.distinct(log.time_ns);
                let (index, len) = (run.index + nth as u32, log.body.len() as u32);
                self.sent.push(Sent { time_ns, index, len });
                self.extra.clear();
                if log.fields.is_some() {
                    put_fields(&mut self.extra, log, &self.fields);
                }
                let cut = log.body.len() > LONGEST_LINE;
                let body = &log.body[..log.body.len().min(LONGEST_LINE)];
                match std::str::from_utf8(body) {
                    Ok(_) if !cut => {
                        put_entry(&mut self.raw, time_ns, body, &known.metadata, &self.extra);
                    }
                    _ => {
                        let line = repair(&log.body, &mut self.extra);
                        let line = line.as_bytes();
                        put_entry(&mut self.raw, time_ns, line, &known.metadata, &self.extra);
                    }
                }
            }
        }
        known.next_times = times;
        close(&mut self.raw, &stream);
    }

    fn put_incidents(&mut self, pieces: &[Piece]) -> Result<(), Cause> {
        self.next_incident_times = self.incident_times;
        let mut index = 0;
        for piece in pieces {
            for (nth, incident) in piece.incidents().iter().enumerate() {
                let time_ns = incident.time_ms.saturating_mul(1_000_000);
                let time_ns = self.next_incident_times.distinct(time_ns);
                let line = serde_json::to_vec(incident)?;
                let (at, len) = (index + nth as u32, line.len() as u32);
                self.sent.push(Sent { time_ns, index: at, len });
                let stream = open(&mut self.raw, 1);
                put_bytes(&mut self.raw, 1, incident_stream(incident).as_bytes());
                put_entry(&mut self.raw, time_ns, &line, &[], &[]);
                close(&mut self.raw, &stream);
            }
            index += piece.range.len() as u32;
        }
        Ok(())
    }
}

fn incident_stream(incident: &Incident) -> String {
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

#[inline]
fn put_entry(out: &mut Vec<u8>, time_ns: i64, line: &[u8], metadata: &[u8], extra: &[u8]) {
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
fn put_fields(out: &mut Vec<u8>, log: &Log, fields: &[(String, String)]) {
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
fn repair(body: &[u8], extra: &mut Vec<u8>) -> String {
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
