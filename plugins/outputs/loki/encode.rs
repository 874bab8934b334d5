//! Loki's push requests by hand: the lines are copied once and allocate nothing.
//!
//! From `pkg/push/push.proto` of grafana/loki: `PushRequest { streams = 1 }`,
//! `StreamAdapter { labels = 1, entries = 2 }`; what Loki does with several streams and with late lines from
//! `pkg/ingester/instance.go` and `stream.go` of its version 3.7. Checked against prost in the tests.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use sentinel_contract::{Cause, Log, Piece};
use sentinel_transport::compress::shrink;
use sentinel_transport::formats::names;
use sentinel_transport::protobuf::{close, open, put_bytes};

use super::entry::{LONGEST_LINE, incident_stream, put_entry, put_fields, repair};
use super::streams::{Stream, Streams};
use super::times::Given;

/// Loki refuses lines that are this much older than the newest of their stream (half of its `max_chunk_age`).
const WINDOW_NS: i64 = 3600 * 1_000_000_000;

/// A stream of the write.
struct Place {
    stream: Arc<Stream>,
    /// The newest time that was acknowledged before, and with the write.
    newest: i64,
    next_newest: i64,
    /// Whether lines of the write come well behind a newer one of it: they are sorted, so that Loki takes them.
    mixed: bool,
}

/// Records of one stream that stand together.
struct Run {
    place: u32,
    metadata: Arc<[u8]>,
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
    fields: Vec<(String, String)>,
    streams: Arc<Mutex<Streams>>,
    runs: Vec<Run>,
    sent: Vec<Sent>,
    /// The streams of lines; then the names of those of incidents.
    places: Vec<Place>,
    incident_streams: Vec<String>,
    /// Places of the streams that get a request of their own.
    alone: Vec<u32>,
    /// Requests of the write so far.
    turn: usize,
    given: Given,
    began: Instant,
    raw: Vec<u8>,
    extra: Vec<u8>,
}

impl Encoder {
    /// `keep`: the labels that name a stream; `fields`: parsed fields to attach.
    pub fn new(keep: Vec<String>, fields: &[String], host: Arc<str>) -> Self {
        let fields = fields.iter();
        let fields =
            fields.map(|field| (field.clone(), names::label(field).into_owned())).collect();
        Encoder::of(fields, Arc::new(Mutex::new(Streams::new(keep, host))))
    }

    /// Another one, for writes at the same time, that gives no time which this one gave.
    pub fn beside(&self) -> Self {
        Encoder::of(self.fields.clone(), Arc::clone(&self.streams))
    }

    fn of(fields: Vec<(String, String)>, streams: Arc<Mutex<Streams>>) -> Self {
        Encoder {
            fields,
            streams,
            runs: Vec::new(),
            sent: Vec::new(),
            places: Vec::new(),
            incident_streams: Vec::new(),
            alone: Vec::new(),
            turn: 0,
            given: Given::default(),
            began: Instant::now(),
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
        let lines = self.places.iter().map(|place| place.stream.name());
        lines.chain(self.incident_streams.iter().cloned()).collect()
    }

    /// The write was answered for, and `all` of it taken.
    pub fn settled(&mut self, all: bool, now: Instant) {
        for place in self.places.iter().filter(|_| all) {
            let mut marks = place.stream.marks(); // what was refused is perhaps of next year
            marks.newest = marks.newest.max(place.next_newest);
        }
        self.given.settled();
        shrink(&mut self.raw);
        let began = self.began;
        lock(&self.streams).sweep(began, now);
    }

    /// Where the records of each stream stand, streams in the order in which they are first seen; and their times.
    fn find_runs(&mut self, pieces: &[Piece]) {
        self.runs.clear();
        self.places.clear();
        self.incident_streams.clear();
        self.alone.clear();
        self.began = Instant::now();
        let (shared, mut given) = (Arc::clone(&self.streams), std::mem::take(&mut self.given));
        let mut streams = lock(&shared);
        let write = streams.begin();
        given.begin(pieces);
        let mut index = 0;
        for (nth, piece) in pieces.iter().enumerate() {
            let (times, new) = given.times_mut(nth);
            let mut start = 0;
            for run in piece.logs().chunk_by(|a, b| Arc::ptr_eq(&a.stream, &b.stream)) {
                let end = start + run.len() as u32;
                let times = &mut times[start as usize..end as usize];
                let (stream, metadata) = streams.find(&run[0].stream, self.began);
                let place = self.place(stream, write, run, times, new);
                let (metadata, piece) = (Arc::clone(metadata), nth as u32);
                self.runs.push(Run { place, metadata, piece, start, end, index: index + start });
                start = end;
            }
            for (incident, time) in piece.incidents().iter().zip(times).filter(|_| new) {
                *time = streams.incidents.distinct(incident.time_ms.saturating_mul(1_000_000));
            }
            index += piece.range.len() as u32;
        }
        drop(streams);
        self.given = given;
        self.runs.sort_by_key(|run| run.place); // stable: the records of a stream keep their order
    }

    /// The place of records that stand together, which get their times if they are `new`.
    fn place(
        &mut self,
        stream: &Arc<Stream>,
        write: u64,
        run: &[Log],
        times: &mut [i64],
        new: bool,
    ) -> u32 {
        let mut marks = stream.marks();
        if marks.write != write {
            (marks.write, marks.place) = (write, self.places.len() as u32);
            let (stream, newest) = (Arc::clone(stream), marks.newest);
            self.places.push(Place { stream, newest, next_newest: newest, mixed: false });
        }
        let place = &mut self.places[marks.place as usize];
        let (mut oldest, mut newest) = (i64::MAX, place.next_newest);
        for (log, time) in run.iter().zip(times) {
            if new {
                *time = marks.times.distinct(log.time_ns);
            }
            oldest = oldest.min(*time);
            newest = newest.max(*time);
            place.mixed |= *time < newest.saturating_sub(WINDOW_NS);
        }
        place.next_newest = newest;
        if oldest < place.newest.saturating_sub(WINDOW_NS) && !self.alone.contains(&marks.place) {
            self.alone.push(marks.place);
        }
        marks.place
    }

    fn put_stream(&mut self, runs: &[Run], pieces: &[Piece], given: &Given) {
        let stream = open(&mut self.raw, 1);
        let place = runs[0].place;
        let Place { stream: name, mixed, .. } = &self.places[place as usize];
        let mixed = *mixed;
        self.raw.extend_from_slice(&name.labels);
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
                    self.put_line(&run.metadata, log, *time_ns);
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
            let log = &pieces[run.piece as usize].logs()[at];
            self.put_line(&run.metadata, log, entry.time_ns);
        }
        self.sent.append(&mut sent);
    }

    #[inline]
    fn put_line(&mut self, metadata: &[u8], log: &Log, time_ns: i64) {
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

fn lock(streams: &Mutex<Streams>) -> MutexGuard<'_, Streams> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}
