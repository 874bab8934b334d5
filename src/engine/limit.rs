//! How many series and log streams one source may have: a label that holds an identifier must not fill the agent, the
//! disk queue and the backend.
//!
//! A series beyond the limit is dropped and counted. A line is never dropped for it: it goes on under one stream for
//! all that are too many. What was not seen for an hour makes room, so that a source whose series come and go is not
//! locked out for ever. Series and label sets are known by the hash that they carry: of two with the same hash, which is
//! one chance in 10^11 at ten thousand, the second is not counted.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Events, Labels, Log, Metric, Series};
use tokio::time::Instant;

/// What was not seen for so long makes room: an hour, in minutes.
const FORGET: u32 = 60;
/// How often that is looked for while there is room, in minutes.
const SWEEP: u32 = 10;
/// Jobs that keep their name in the streams of what is too many; those beyond share one stream.
const JOBS: usize = 16;
/// Characters of an example.
const EXAMPLE: usize = 200;

const SERIES_NOTE: &str = "max_series";
const STREAMS_NOTE: &str = "max_streams";

/// The limits of one source, and what it has.
pub(crate) struct Limits {
    series: Seen,
    streams: Seen,
    overflow: Overflow,
    started: Instant,
}

impl Limits {
    /// For a source with these tags on all its events.
    pub(crate) fn new(max_series: usize, max_streams: usize, tags: &Labels) -> Self {
        Limits {
            series: Seen::new(max_series),
            streams: Seen::new(max_streams),
            overflow: Overflow { shared: overflow(tags, None), jobs: Vec::new() },
            started: Instant::now(),
        }
    }

    /// Drops the samples of series that are too many, and gathers the lines of streams that are.
    pub(crate) fn apply(&mut self, events: &mut Events, counters: &Counters) {
        let minute = (self.started.elapsed().as_secs() / 60) as u32;
        match events {
            Events::Metrics(metrics) => self.metrics(metrics, minute, counters),
            Events::Logs(logs) => self.logs(logs, minute, counters),
            Events::Incidents(_) | Events::Evidence(_) => {}
        }
    }

    fn metrics(&mut self, metrics: &mut Vec<Metric>, minute: u32, counters: &Counters) {
        self.series.begin(minute, SERIES_NOTE, counters);
        let before = metrics.len();
        let mut example = None;
        metrics.retain(|metric| {
            let admitted = self.series.admit(metric.series.hash(), minute);
            if !admitted && example.is_none() {
                example = Some(Arc::clone(&metric.series));
            }
            admitted
        });
        counters.series.store(self.series.by_hash.len() as u64, Relaxed);
        let Some(example) = example else { return };
        counters.drop_events("series_limit", (before - metrics.len()) as u64);
        let (limit, example) = (self.series.limit, name_of(&example));
        say(counters, SERIES_NOTE, || {
            format!(
                "more than {limit} series: new ones such as {example} are dropped until others have been gone for an hour; `max_series` sets the limit"
            )
        });
    }

    fn logs(&mut self, logs: &mut [Log], minute: u32, counters: &Counters) {
        self.streams.begin(minute, STREAMS_NOTE, counters);
        let mut last = None; // lines of a stream come in runs
        let mut gathered = 0;
        let mut example = None;
        for log in logs {
            let hash = log.stream.hash();
            let admitted = match last {
                Some((of, admitted)) if of == hash => admitted,
                _ => self.streams.admit(hash, minute),
            };
            last = Some((hash, admitted));
            if !admitted {
                gathered += 1;
                let common = self.overflow.labels(&log.stream);
                let own = std::mem::replace(&mut log.stream, common);
                example.get_or_insert(own);
            }
        }
        counters.streams.store(self.streams.by_hash.len() as u64, Relaxed);
        let Some(example) = example else { return };
        counters.count("stream_limit", gathered);
        let (limit, example) = (self.streams.limit, labels_of(&example));
        say(counters, STREAMS_NOTE, || {
            format!(
                "more than {limit} log streams: the lines of new ones such as {example} go on with the labels {{overflow=\"true\"}} until others have been gone for an hour; `max_streams` sets the limit"
            )
        });
    }
}

/// Once, until it is mended: the first example stays.
fn say(counters: &Counters, about: &str, words: impl FnOnce() -> String) {
    if !counters.notes().contains_key(about) {
        let words = words();
        tracing::warn!("{words}");
        counters.note(about, words);
    }
}

/// The hashes of what was seen, with the minute when it was seen last.
struct Seen {
    limit: usize,
    by_hash: HashMap<u64, u32, BuildHasherDefault<AsItIs>>,
    swept: u32,
}

impl Seen {
    fn new(limit: usize) -> Self {
        Seen { limit, by_hash: HashMap::default(), swept: 0 }
    }

    /// Before a batch: makes room now and then, and takes the note back when there is some.
    fn begin(&mut self, minute: u32, about: &str, counters: &Counters) {
        let is_full = self.by_hash.len() >= self.limit;
        let every = if is_full { 1 } else { SWEEP };
        if minute.saturating_sub(self.swept) < every {
            return;
        }
        self.swept = minute;
        self.by_hash.retain(|_, seen| minute.saturating_sub(*seen) < FORGET);
        if self.by_hash.len() < self.by_hash.capacity() / 4 {
            self.by_hash.shrink_to_fit();
        }
        if is_full && self.by_hash.len() < self.limit {
            counters.clear_note(about);
        }
    }

    fn admit(&mut self, hash: u64, minute: u32) -> bool {
        if let Some(seen) = self.by_hash.get_mut(&hash) {
            *seen = minute;
            return true;
        }
        let has_room = self.by_hash.len() < self.limit;
        if has_room {
            self.by_hash.insert(hash, minute);
        }
        has_room
    }
}

/// The streams of the lines whose own stream is one too many.
struct Overflow {
    shared: Arc<Labels>,
    /// One a job: what people look for a source's lines by.
    jobs: Vec<Arc<Labels>>,
}

impl Overflow {
    fn labels(&mut self, stream: &Labels) -> Arc<Labels> {
        let Some(job) = stream.get("job") else { return Arc::clone(&self.shared) };
        if let Some(known) = self.jobs.iter().find(|labels| labels.get("job") == Some(job)) {
            return Arc::clone(known);
        }
        if self.jobs.len() >= JOBS {
            return Arc::clone(&self.shared);
        }
        let labels = overflow(&self.shared, Some(job));
        self.jobs.push(Arc::clone(&labels));
        labels
    }
}

fn overflow(tags: &Labels, job: Option<&str>) -> Arc<Labels> {
    let job = job.map(|job| ("job", job));
    Arc::new(tags.with([("overflow", "true")].into_iter().chain(job)))
}

fn name_of(series: &Series) -> String {
    cut(format!("{}{}", series.name(), all_labels(series.labels())))
}

fn labels_of(labels: &Labels) -> String {
    cut(all_labels(labels))
}

fn all_labels(labels: &Labels) -> String {
    let mut text = String::from("{");
    for (at, (name, value)) in labels.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        let _infallible = write!(text, "{comma}{name}={value:?}");
    }
    text + "}"
}

fn cut(text: String) -> String {
    match text.char_indices().nth(EXAMPLE) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

/// The keys are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

#[cfg(test)]
mod tests;
