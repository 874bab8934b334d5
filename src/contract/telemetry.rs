//! The counters of one plugin. The engine counts events, bytes, errors and latency; a plugin counts only its drops,
//! and leaves notes for people (a file it may not read) that `status` and the page show.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Notes kept of one plugin; a hundred unreadable files are said as a hundred, not more.
const MAX_NOTES: usize = 100;

/// Counters of one plugin; all in events unless said otherwise.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events that came in: read by an input, seen by a processor, queued for an output.
    pub received: AtomicU64,
    /// Their bytes.
    pub received_bytes: AtomicU64,
    /// Events that went on: emitted by an input or processor, acknowledged by a backend.
    pub delivered: AtomicU64,
    /// Bytes acknowledged.
    pub delivered_bytes: AtomicU64,
    /// Failed ticks, runs or writes.
    pub errors: AtomicU64,
    /// Times the plugin was started again.
    pub restarts: AtomicU64,
    /// Calls measured (gathers, applies, writes).
    pub calls: AtomicU64,
    /// Microseconds spent in them.
    pub call_micros: AtomicU64,
    /// Microseconds of the longest.
    pub call_micros_max: AtomicU64,
    /// Events waiting now.
    pub queued: AtomicU64,
    /// Bytes waiting in memory now.
    pub queued_bytes: AtomicU64,
    /// Bytes that the queue takes on disk now.
    pub disk_bytes: AtomicU64,
    /// Series of it that were seen lately.
    pub series: AtomicU64,
    /// Label sets of its lines that were seen lately.
    pub streams: AtomicU64,
    drops: Mutex<BTreeMap<&'static str, u64>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    gauges: Mutex<BTreeMap<&'static str, f64>>,
    notes: Mutex<BTreeMap<String, String>>,
    last_error: Mutex<Option<(i64, String)>>,
}

impl Counters {
    /// Counts `events` given up, with the reason (a constant word such as `queue_full`).
    pub fn drop_events(&self, reason: &'static str, events: u64) {
        if events > 0 {
            *locked(&self.drops).entry(reason).or_insert(0) += events;
        }
    }

    /// What was given up, by reason.
    pub fn drops(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.drops).clone()
    }

    /// Counts `events` that went on, but about which something is worth knowing (a constant word such as `unparsed`).
    pub fn count(&self, what: &'static str, events: u64) {
        if events > 0 {
            *locked(&self.counts).entry(what).or_insert(0) += events;
        }
    }

    /// What is worth knowing about events that went on.
    pub fn counts(&self) -> BTreeMap<&'static str, u64> {
        locked(&self.counts).clone()
    }

    /// Sets a figure of the plugin's own (a constant name such as `consumer_lag`), as it is now.
    pub fn gauge(&self, name: &'static str, value: f64) {
        locked(&self.gauges).insert(name, value);
    }

    /// Figures of the plugin's own.
    pub fn gauges(&self) -> BTreeMap<&'static str, f64> {
        locked(&self.gauges).clone()
    }

    /// Remembers a condition that a person should mend, until it is cleared. True when it is new.
    pub fn note(&self, about: &str, text: impl Into<String>) -> bool {
        let mut notes = locked(&self.notes);
        if notes.len() >= MAX_NOTES && !notes.contains_key(about) {
            return false;
        }
        notes.insert(about.to_owned(), text.into()).is_none()
    }

    /// The condition is mended.
    pub fn clear_note(&self, about: &str) {
        locked(&self.notes).remove(about);
    }

    /// Conditions to mend.
    pub fn notes(&self) -> BTreeMap<String, String> {
        locked(&self.notes).clone()
    }

    /// Counts an error and remembers its words.
    pub fn error(&self, now_ms: i64, message: impl Into<String>) {
        self.errors.fetch_add(1, Ordering::Relaxed);
        *locked(&self.last_error) = Some((now_ms, message.into()));
    }

    /// When the last error was, in milliseconds since 1970 UTC, and what it said.
    pub fn last_error(&self) -> Option<(i64, String)> {
        locked(&self.last_error).clone()
    }

    /// Adds one measured call.
    pub fn call(&self, took: std::time::Duration) {
        let micros = took.as_micros() as u64;
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.call_micros.fetch_add(micros, Ordering::Relaxed);
        self.call_micros_max.fetch_max(micros, Ordering::Relaxed);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner) // counters stay true after a plugin's panic
}
