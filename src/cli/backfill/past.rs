//! The history that detectors have while they see the past: frames go to the store, all else nowhere.
//!
//! Frames are handed over a few hundred at a time, after a read that waits for those before: the store's queue is for what
//! is live. A frame that is already there is left as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use sentinel_contract::command::Past as Incident;
use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::{SILENCE, State};
use sentinel_contract::{Cause, Events};
use sentinel_engine::replay::Sink;

/// Frames of one detector and group that wait.
const TOGETHER: usize = 200;
/// An incident's frames are not learnt from for so long; then they are what live detectors would learn again.
const LONGEST_MS: i64 = 2 * 3_600_000;

/// See the head of this file.
pub(super) struct Past {
    store: Arc<dyn History>,
    /// What is later is not of the past.
    upto_ms: i64,
    waiting: Mutex<BTreeMap<String, Waiting>>,
    written: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    signals: Vec<String>,
    frames: Vec<Frame>,
}

impl Past {
    pub(super) fn new(store: Arc<dyn History>, upto_ms: i64) -> Self {
        Past { store, upto_ms, waiting: Mutex::default(), written: AtomicU64::new(0) }
    }

    /// Frames that went to the store.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }

    /// Hands over what waits of this name.
    fn hand_over(&self, name: &str, waiting: &mut Waiting) -> Result<(), Cause> {
        let (Some(first), Some(last)) = (waiting.frames.first(), waiting.frames.last()) else {
            return Ok(());
        };
        let (from_ms, to_ms) = (first.time_ms, last.time_ms + 1);
        let there = self.store.frames(name, &waiting.signals, from_ms, to_ms)?;
        let there: BTreeSet<i64> = there.into_iter().map(|frame| frame.time_ms).collect();
        for frame in waiting.frames.drain(..) {
            if !there.contains(&frame.time_ms) {
                self.store.append_frame(name, &waiting.signals, &frame);
                self.written.fetch_add(1, Relaxed);
            }
        }
        Ok(())
    }

    /// Hands over all that waits; what could not be stays and is tried again.
    pub(super) fn hand_over_all(&self) -> Result<(), Cause> {
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter_mut().try_for_each(|(name, waiting)| self.hand_over(name, waiting))
    }
}

impl History for Past {
    fn append_frame(&self, detector: &str, signals: &[String], frame: &Frame) {
        if frame.time_ms > self.upto_ms {
            return;
        }
        let mut all = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = all.entry(detector.to_owned()).or_default();
        if waiting.signals != signals {
            waiting.signals = signals.to_vec();
        }
        if waiting.frames.len() >= TOGETHER
            && let Err(error) = self.hand_over(detector, waiting)
        {
            tracing::debug!(error = %format!("{error:#}"), "history does not take the past");
            waiting.frames.remove(0); // a disk that fails must not fill the memory
        }
        waiting.frames.push(frame.clone());
    }

    fn frames(
        &self,
        detector: &str,
        signals: &[String],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Frame>, Cause> {
        self.hand_over_all()?;
        self.store.frames(detector, signals, from_ms, to_ms)
    }

    fn record_incident(&self, _: &sentinel_contract::Incident) {}

    fn incidents(&self, _: i64, _: usize) -> Result<Vec<sentinel_contract::Incident>, Cause> {
        Ok(Vec::new())
    }

    fn save_state(&self, _: &str, _: &[u8]) {}

    fn load_state(&self, _: &str) -> Result<Option<Vec<u8>>, Cause> {
        Ok(None)
    }

    fn flush(&self) {}
}

/// The incidents of the past: their times, and nothing else. Scores and changes of state go nowhere.
#[derive(Default)]
pub(super) struct Incidents(BTreeMap<String, Case>);

struct Case {
    detector: Arc<str>,
    host: String,
    group: String,
    from_ms: i64,
    until_ms: Option<i64>,
    confirmed: bool,
}

impl Incidents {
    /// The times of a detector's confirmed incidents; those that are open last up to `upto_ms`.
    pub(super) fn of(&self, detector: &str, upto_ms: i64) -> Vec<Incident> {
        let own = self.0.values().filter(|case| case.confirmed && &*case.detector == detector);
        own.map(|case| Incident {
            host: case.host.clone(),
            group: case.group.clone(),
            from_ms: case.from_ms,
            until_ms: case.until_ms.unwrap_or(upto_ms).min(case.from_ms + LONGEST_MS),
        })
        .collect()
    }
}

fn is_silence(change: &sentinel_contract::Incident) -> bool {
    change.contributions.first().is_some_and(|one| one.feature == SILENCE)
}

impl Sink for Incidents {
    fn take(&mut self, origin: &Arc<str>, events: &Events) {
        let Events::Incidents(changes) = events else { return };
        // A silence has no frames to leave out. Where the past was sampled at longer intervals than a frame of today, it is
        // silent all the time.
        for change in changes.iter().filter(|change| !is_silence(change)) {
            let case = self.0.entry(change.key.clone()).or_insert_with(|| Case {
                detector: Arc::clone(origin),
                host: change.host.clone(),
                group: change.group.clone(),
                from_ms: change.started_ms,
                until_ms: None,
                confirmed: false,
            });
            match change.state {
                State::Detected | State::Recovering | State::Updated => (),
                State::Confirmed | State::Notified => {
                    (case.confirmed, case.until_ms) = (true, None);
                }
                State::Resolved | State::Accepted | State::Expired if case.confirmed => {
                    case.until_ms = Some(change.time_ms);
                }
                State::Resolved | State::Accepted | State::Expired => {
                    self.0.remove(&change.key);
                }
            }
        }
    }
}
