//! The embedded store of frames, incidents and model state: SQLite in WAL mode, one file, one owning thread.
//!
//! Writes go into a bounded queue and return at once, a frame after 50 ms at most when it is full; the thread groups them into
//! one transaction a second. A read is answered by the same thread after all that was queued before it. A commit survives the end of the process;
//! the end of the machine may take the last seconds, unless [`History::flush`] was called (`synchronous = NORMAL`,
//! <https://www.sqlite.org/pragma.html#pragma_synchronous>).
//!
//! It does not hold metrics or log lines, does not shrink its file (freed pages are used again), and does not guard
//! its retention against a clock that is set forward by more than it.

mod look;
mod memory;
mod queue;
mod read;
mod schema;
mod thread;
mod write;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use rusqlite::Connection;
use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::Incident;
use sentinel_contract::plugin::Cause;

pub use look::Look;
pub use memory::InMemory;
use queue::Queue;
use schema::Place;
use thread::{Command, Keeper};
use write::Write;

/// How long a read, a flush or the end waits for the thread; longer means that the disk hangs.
const PATIENCE: Duration = Duration::from_secs(10);
/// SQLite needs little; the default of 2 MiB is only address space, but there is no use for it.
const STACK: usize = 512 << 10;

/// What the store's handle and its thread both count.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    dropped: AtomicU64,
    errors: AtomicU64,
}

impl Counts {
    pub(crate) fn drop_writes(&self, writes: usize) {
        self.dropped.fetch_add(writes as u64, Ordering::Relaxed);
    }
}

/// A detector's name and the names of its signals.
type Detector = (Arc<str>, Arc<[String]>);

/// The handle on the store. Dropping the last one writes what is queued and closes the file.
#[derive(Debug)]
pub struct Store {
    queue: Arc<Queue>,
    ended: Mutex<Receiver<()>>,
    counts: Arc<Counts>,
    detectors: Mutex<HashMap<Box<str>, Detector>>,
}

impl Store {
    /// Opens or makes the database and starts its thread. Frames and incidents older than `retention` are removed,
    /// at the start and then hourly.
    ///
    /// A damaged file is set aside as `<path>.corrupt-<ms>` and a new one begun. A full or failing disk is retried by
    /// the thread. Errors: a file of a newer agent (left as it is), a path that cannot be opened or made.
    pub fn open(path: &Path, retention: Duration) -> Result<Arc<Store>, Cause> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make the folder of {}", path.display()))?;
        }
        Store::start(Place::File(path.to_owned()), retention)
    }

    /// A store that lives and ends with its handle.
    pub fn in_memory() -> Result<Arc<Store>, Cause> {
        Store::start(Place::Memory, Duration::from_hours(30 * 24))
    }

    /// Writes given up because the queue was full, the disk failed for too long, or they could not be stored.
    pub fn dropped(&self) -> u64 {
        self.counts.dropped.load(Ordering::Relaxed)
    }

    /// Failed transactions and reads, of which the first in a row is logged.
    pub fn errors(&self) -> u64 {
        self.counts.errors.load(Ordering::Relaxed)
    }

    fn start(place: Place, retention: Duration) -> Result<Arc<Store>, Cause> {
        let counts = Arc::new(Counts::default());
        let keeper = Keeper::open(place, retention, Arc::clone(&counts))?;
        let queue = Arc::new(Queue::new(queue::WAIT));
        let commands = Arc::clone(&queue);
        let (end, ended) = sync_channel::<()>(1);
        std::thread::Builder::new()
            .name("history".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                keeper.run(&commands);
                drop(end);
            })
            .context("cannot start the history thread")?;
        Ok(Arc::new(Store { queue, ended: Mutex::new(ended), counts, detectors: Mutex::default() }))
    }

    /// Queues, or drops and counts.
    fn write(&self, write: Write) {
        if !self.queue.push(Command::Write(write))
            && self.counts.dropped.fetch_add(1, Ordering::Relaxed) == 0
        {
            tracing::warn!(
                "history does not keep up: a write is dropped; more will only be counted"
            );
        }
    }

    fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Cause> {
        let (reply, answer) = sync_channel(1);
        let sent = self.queue.push(Command::Read(Box::new(move |connection| {
            let result = query(connection);
            let damaged = result.as_ref().err().is_some_and(schema::is_damage);
            let _nobody_waits = reply.try_send(result);
            damaged
        })));
        anyhow::ensure!(sent, "history does not keep up or has ended");
        let result = answer.recv_timeout(PATIENCE).map_err(|error| match error {
            RecvTimeoutError::Timeout => anyhow!("history does not answer: its disk hangs"),
            RecvTimeoutError::Disconnected => anyhow!("history is not open; the log says why"),
        })?;
        result.context("history cannot be read")
    }

    /// The shared form of a detector's name and signals: made anew only when they change.
    fn shared(&self, detector: &str, signals: &[String]) -> Detector {
        let mut known = self.detectors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((name, shared)) = known.get(detector)
            && **shared == *signals
        {
            return (Arc::clone(name), Arc::clone(shared));
        }
        let fresh = (Arc::from(detector), Arc::from(signals));
        known.insert(detector.into(), Clone::clone(&fresh));
        fresh
    }
}

impl History for Store {
    fn append_frame(&self, detector: &str, signals: &[String], frame: &Frame) {
        if frame.values.len() != signals.len() {
            let (values, signals) = (frame.values.len(), signals.len());
            tracing::error!(
                detector,
                values,
                signals,
                "a frame has not one value a signal: dropped"
            );
            self.counts.drop_writes(1);
            return;
        }
        let (detector, signals) = self.shared(detector, signals);
        self.write(Write::Frame { detector, signals, frame: frame.clone() });
    }

    fn frames(
        &self,
        detector: &str,
        signals: &[String],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Frame>, Cause> {
        let (detector, signals) = (detector.to_owned(), signals.to_vec());
        self.read(move |connection| read::frames(connection, &detector, &signals, from_ms, to_ms))
    }

    fn record_incident(&self, incident: &Incident) {
        self.write(Write::Incident(Box::new(incident.clone())));
    }

    fn incidents(&self, from_ms: i64, limit: usize) -> Result<Vec<Incident>, Cause> {
        self.read(move |connection| read::incidents(connection, from_ms, limit))
    }

    fn changes(&self, part: &str, limit: usize) -> Result<Vec<Incident>, Cause> {
        let part = part.to_owned();
        self.read(move |connection| read::changes(connection, &part, limit))
    }

    fn save_state(&self, name: &str, bytes: &[u8]) {
        let saved_ms = thread::now_ms();
        self.write(Write::State { name: name.to_owned(), bytes: bytes.to_vec(), saved_ms });
    }

    fn load_state(&self, name: &str) -> Result<Option<Vec<u8>>, Cause> {
        let name = name.to_owned();
        self.read(move |connection| read::state(connection, &name))
    }

    fn flush(&self) {
        let (done, waited) = sync_channel(1);
        if !self.queue.push(Command::Flush(done)) || waited.recv_timeout(PATIENCE).is_err() {
            tracing::error!("history could not be flushed: the disk hangs or the queue is full");
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.close();
        let ended = self.ended.get_mut().unwrap_or_else(PoisonError::into_inner);
        // The thread never sends: it ends, which disconnects. A timeout is a disk that hangs; nothing more to do then.
        let _disconnected = ended.recv_timeout(PATIENCE);
    }
}
