//! Loki's push requests by hand: the lines are copied once and allocate nothing.
//!
//! From `pkg/push/push.proto` of grafana/loki: `PushRequest { streams = 1 }`,
//! `StreamAdapter { labels = 1, entries = 2 }`; what Loki does with several streams and with late lines from
//! `pkg/ingester/instance.go` and `stream.go` of its version 3.7. Checked against prost in the tests.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::{Cause, Labels, Log, Piece};
use sentinel_transport::ByIdentity;
use sentinel_transport::compress::shrink;
use sentinel_transport::protobuf::{close, open, put_bytes};

use super::entry::{LONGEST_LINE, incident_stream, put_entry, put_fields, repair};
use super::labels;
use super::times::{Given, Times};

/// Streams kept; a host with more files than this has most of them idle.
const MOST_STREAMS: usize = 16_384;

/// How long an unused stream is kept: well beyond any pause within which lines of one time could come.
const KEEP: Duration = Duration::from_mins(10);

/// Loki refuses lines that are this much older than the newest of their stream (half of its `max_chunk_age`).
const WINDOW_NS: i64 = 3600 * 1_000_000_000;

/// What is known of a stream.
struct Known {
    /// Encoded field `labels` of its `StreamAdapter`.
    labels: Box<[u8]>,
    /// Encoded structured metadata of all its entries.
    metadata: Box<[u8]>,
    /// Times in use.
    times: Times,
    /// The newest time that was acknowledged, and with the write under way.
    newest: i64,
    next_newest: i64,
    /// Whether lines of the write come well behind a newer one of it: they are sorted, so that Loki takes them.
    mixed: bool,
    /// The last write it was part of, and its place there.
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
    /// Of its stream.
    pub(super) place: u32,
}

/// Encodes writes as requests; remembers their streams.
///
/// A write is one request, but for the streams with lines that Loki will call too far behind: they get one each. Of the
/// streams in a request Loki tells the error of the last only, and drops what it refuses of the others in silence.
pub struct Encoder {
    keep: Vec<String>,
    fields: Vec<(String, String)>,
    host: Arc<str>,
    streams: ByIdentity<Labels, Known>,
    runs: Vec<Run>,
    sent: Vec<Sent>,
    /// The streams by place, of lines; then the names of those of incidents.
    places: Vec<u32>,
    incident_streams: Vec<String>,
    /// Places of the streams that get a request of their own.
    alone: Vec<u32>,
    /// Requests of the write so far.
    turn: usize,
    given: Given,
    incident_times: Times,
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
            places: Vec::new(),
            incident_streams: Vec::new(),
            alone: Vec::new(),
            turn: 0,
            given: Given::default(),
            incident_times: Times::default(),
            request: 0,
            swept: Instant::now(),
            raw: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// A write of these pieces begins: gives their events times, and finds out how many requests it takes.
    pub fn begin(&mut self, pieces: &[Piece]) {
        self.raw.clear();
        self.sent.clear();
        self.turn = 0;
        self.find_runs(pieces);
    }

    /// Encodes the next request of the write; false when there is none.
    pub fn next(&mut self, pieces: &[Piece]) -> Result<bool, Cause> {
        self.raw.clear();
        self.sent.clear();
        let own = self.alone.get(self.turn).copied();
        if own.is_none() && self.turn > self.alone.len() {
            return Ok(false);
        }
        self.turn += 1;
        let (runs, given) = (std::mem::take(&mut self.runs), std::mem::take(&mut self.given));
        for group in runs.chunk_by(|a, b| a.place == b.place) {
            let place = group[0].place;
            if own.map_or_else(|| !self.alone.contains(&place), |own| own == place) {
                self.put_stream(group, pieces, &given);
            }
        }
        (self.runs, self.given) = (runs, given);
        if own.is_none() {
            self.put_incidents(pieces)?;
        }
        Ok(!self.sent.is_empty())
    }

    /// How many streams get a request of their own.
    pub fn alone(&self) -> usize {
        self.alone.len()
    }

    /// The request, not compressed.
    pub fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The entries of the request.
    pub(super) fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// The names of the streams of the write, by place.
    pub(super) fn names(&self) -> Vec<String> {
        let name = |stream: &u32| {
            let field = &self.streams.value(*stream as usize).labels[1..];
            let len = 1 + field.iter().take_while(|byte| **byte >= 0x80).count();
            String::from_utf8_lossy(&field[len..]).into_owned()
        };
        self.places.iter().map(name).chain(self.incident_streams.iter().cloned()).collect()
    }

    /// The write was answered for, and `all` of it taken.
    pub fn settled(&mut self, all: bool, now: Instant) {
        let request = self.request;
        for known in self.streams.values_mut().filter(|known| known.request == request) {
            if all {
                known.newest = known.next_newest; // what was refused is perhaps of next year
            }
            known.used = now;
        }
        self.given.settled();
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

    /// Where the records of each stream stand, streams in the order in which they are first seen; and their times.
    fn find_runs(&mut self, pieces: &[Piece]) {
        self.request += 1;
        self.runs.clear();
        self.places.clear();
        self.incident_streams.clear();
        self.alone.clear();
        let mut given = std::mem::take(&mut self.given);
        given.begin(pieces);
        let mut index = 0;
        for (nth, piece) in pieces.iter().enumerate() {
            let (times, new) = given.times_mut(nth);
            let mut start = 0;
            for run in piece.logs().chunk_by(|a, b| Arc::ptr_eq(&a.stream, &b.stream)) {
                let end = start + run.len() as u32;
                let times = &mut times[start as usize..end as usize];
                let (place, stream) = self.add_run(run, times, new);
                let piece = nth as u32;
                self.runs.push(Run { place, stream, piece, start, end, index: index + start });
                start = end;
            }
            for (incident, time) in piece.incidents().iter().zip(times).filter(|_| new) {
                *time = self.incident_times.distinct(incident.time_ms.saturating_mul(1_000_000));
            }
            index += piece.range.len() as u32;
        }
        self.given = given;
        self.runs.sort_by_key(|run| run.place); // stable: the records of a stream keep their order
    }

    /// The place and the stream of records that stand together, which get their times if they are `new`.
    fn add_run(&mut self, run: &[Log], times: &mut [i64], new: bool) -> (u32, u32) {
        let stream = self.find(&run[0].stream);
        let known = self.streams.value_mut(stream);
        if known.request != self.request {
            known.request = self.request;
            known.next_newest = known.newest;
            known.mixed = false;
            known.place = self.places.len() as u32;
            self.places.push(stream as u32);
        }
        let (mut oldest, mut newest) = (i64::MAX, known.next_newest);
        for (log, time) in run.iter().zip(times) {
            if new {
                *time = known.times.distinct(log.time_ns);
            }
            oldest = oldest.min(*time);
            newest = newest.max(*time);
            known.mixed |= *time < newest.saturating_sub(WINDOW_NS);
        }
        known.next_newest = newest;
        let place = known.place;
        if oldest < known.newest.saturating_sub(WINDOW_NS) && !self.alone.contains(&place) {
            self.alone.push(place);
        }
        (place, stream as u32)
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
                newest: i64::MIN,
                next_newest: i64::MIN,
                mixed: false,
                request: 0,
                place: 0,
                used: Instant::now(),
            }
        };
        self.streams.adopt(stream, stream.hash(), make).0
    }

    fn put_stream(&mut self, runs: &[Run], pieces: &[Piece], given: &Given) {
        let stream = open(&mut self.raw, 1);
        let (mixed, place) = {
            let known = self.streams.value(runs[0].stream as usize);
            self.raw.extend_from_slice(&known.labels);
            (known.mixed, known.place)
        };
        let first = self.sent.len();
        for run in runs {
            let range = run.start as usize..run.end as usize;
            let logs = &pieces[run.piece as usize].logs()[range.clone()];
            let times = &given.times(run.piece as usize)[range];
            let indices = run.index..;
            for ((log, time_ns), index) in logs.iter().zip(times).zip(indices) {
                let len = log.body.len() as u32;
                self.sent.push(Sent { time_ns: *time_ns, index, len, place });
                if !mixed {
                    self.put_line(runs[0].stream, log, *time_ns);
                }
            }
        }
        if mixed {
            self.put_sorted(first, runs, pieces);
        }
        close(&mut self.raw, &stream);
    }

    /// The lines of a stream with the oldest first: behind a newer one Loki would not take them.
    #[cold]
    fn put_sorted(&mut self, first: usize, runs: &[Run], pieces: &[Piece]) {
        let mut sent = self.sent.split_off(first);
        sent.sort_by_key(|entry| entry.time_ns);
        for entry in &sent {
            let run = runs
                .iter()
                .find(|run| (run.index..run.index + (run.end - run.start)).contains(&entry.index));
            let Some(run) = run else { continue };
            let at = (run.start + (entry.index - run.index)) as usize;
            self.put_line(run.stream, &pieces[run.piece as usize].logs()[at], entry.time_ns);
        }
        self.sent.append(&mut sent);
    }

    #[inline]
    fn put_line(&mut self, stream: u32, log: &Log, time_ns: i64) {
        let metadata = &self.streams.value(stream as usize).metadata;
        self.extra.clear();
        if log.fields.is_some() {
            put_fields(&mut self.extra, log, &self.fields);
        }
        let cut = log.body.len() > LONGEST_LINE;
        let body = &log.body[..log.body.len().min(LONGEST_LINE)];
        match std::str::from_utf8(body) {
            Ok(_) if !cut => put_entry(&mut self.raw, time_ns, body, metadata, &self.extra),
            _ => {
                let line = repair(&log.body, &mut self.extra);
                put_entry(&mut self.raw, time_ns, line.as_bytes(), metadata, &self.extra);
            }
        }
    }

    fn put_incidents(&mut self, pieces: &[Piece]) -> Result<(), Cause> {
        let mut index = 0;
        for (nth, piece) in pieces.iter().enumerate() {
            let times = self.given.times(nth);
            for ((incident, time_ns), index) in piece.incidents().iter().zip(times).zip(index..) {
                let line = serde_json::to_vec(incident)?;
                let place = (self.places.len() + self.incident_streams.len()) as u32;
                let len = line.len() as u32;
                self.sent.push(Sent { time_ns: *time_ns, index, len, place });
                let stream = open(&mut self.raw, 1);
                let name = incident_stream(incident);
                put_bytes(&mut self.raw, 1, name.as_bytes());
                put_entry(&mut self.raw, *time_ns, &line, &[], &[]);
                close(&mut self.raw, &stream);
                self.incident_streams.push(name);
            }
            index += piece.range.len() as u32;
        }
        Ok(())
    }
}
