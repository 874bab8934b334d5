//! What is known of Loki's streams, shared by all instances of an output: two of them must not give two lines one time.
//!
//! Labels that differ only in what becomes structured metadata are one stream to Loki, and one here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sentinel_contract::Labels;
use sentinel_transport::ByIdentity;
use sentinel_transport::protobuf::put_bytes;

use super::labels;
use super::times::Times;

/// Label sets kept; a host with more files than this has most of them idle.
const MOST: usize = 16_384;

/// How long an unused one is kept: well beyond any pause within which lines of one time could come.
const KEEP: Duration = Duration::from_mins(10);

/// The streams.
pub(super) struct Streams {
    keep: Vec<String>,
    host: Arc<str>,
    known: ByIdentity<Labels, Known>,
    by_name: HashMap<Arc<[u8]>, Arc<Stream>>,
    /// Times in use for incidents.
    pub(super) incidents: Times,
    writes: u64,
    swept: Instant,
}

/// A label set.
struct Known {
    stream: Arc<Stream>,
    metadata: Arc<[u8]>,
    used: Instant,
}

/// A stream.
pub(super) struct Stream {
    /// Encoded field `labels` of its `StreamAdapter`.
    pub(super) labels: Arc<[u8]>,
    marks: Mutex<Marks>,
}

/// What changes of a stream.
pub(super) struct Marks {
    /// Times in use.
    pub(super) times: Times,
    /// The newest time that was acknowledged.
    pub(super) newest: i64,
    /// The last write it was part of, and its place there.
    pub(super) write: u64,
    pub(super) place: u32,
}

impl Stream {
    pub(super) fn marks(&self) -> MutexGuard<'_, Marks> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its name, as it is sent.
    pub(super) fn name(&self) -> String {
        let field = &self.labels[1..];
        let len = 1 + field.iter().take_while(|byte| **byte >= 0x80).count();
        String::from_utf8_lossy(&field[len..]).into_owned()
    }
}

impl Streams {
    /// `keep`: the labels that name a stream.
    pub(super) fn new(keep: Vec<String>, host: Arc<str>) -> Self {
        Streams {
            keep,
            host,
            known: ByIdentity::default(),
            by_name: HashMap::new(),
            incidents: Times::default(),
            writes: 0,
            swept: Instant::now(),
        }
    }

    /// The number of a write that begins.
    pub(super) fn begin(&mut self) -> u64 {
        self.writes += 1;
        self.writes
    }

    /// The stream of these labels, and the encoded structured metadata of all its entries that have just these.
    pub(super) fn find(
        &mut self,
        labels: &Arc<Labels>,
        now: Instant,
    ) -> (&Arc<Stream>, &Arc<[u8]>) {
        let at = match self.known.find(labels) {
            Some(at) => at,
            None => {
                let (keep, host, by_name) = (&self.keep, &self.host, &mut self.by_name);
                let make = || Known {
                    stream: stream(by_name, labels::stream_name(labels, keep, host).as_bytes()),
                    metadata: labels::metadata(labels, keep).into(),
                    used: now,
                };
                self.known.adopt(labels, labels.hash(), make).0
            }
        };
        let known = self.known.value_mut(at);
        known.used = now;
        (&known.stream, &known.metadata)
    }

    /// Forgets what was not used for long, but nothing that was since `write_began`.
    pub(super) fn sweep(&mut self, write_began: Instant, now: Instant) {
        let crowded = self.known.entries().len() > MOST;
        if !crowded && now - self.swept <= KEEP {
            return;
        }
        self.swept = now;
        self.known.retain(|entry| {
            let used = entry.value.used;
            used >= write_began || (!crowded && now - used < KEEP)
        });
        self.by_name.retain(|_, stream| Arc::strong_count(stream) > 1); // also those of a write under way stay
    }
}

fn stream(by_name: &mut HashMap<Arc<[u8]>, Arc<Stream>>, name: &[u8]) -> Arc<Stream> {
    let mut encoded = Vec::new();
    put_bytes(&mut encoded, 1, name);
    if let Some(stream) = by_name.get(encoded.as_slice()) {
        return Arc::clone(stream);
    }
    let labels: Arc<[u8]> = encoded.into();
    let marks = Marks { times: Times::default(), newest: i64::MIN, write: 0, place: 0 };
    let stream = Arc::new(Stream { labels: Arc::clone(&labels), marks: Mutex::new(marks) });
    by_name.insert(labels, Arc::clone(&stream));
    stream
}
