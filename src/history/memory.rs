//! A history that lives in memory: for replay and tests. Frames in a bounded ring a detector, read by binary search.
//!
//! No thread, no SQL: what was written is read at once and the same way each time. Nothing outlives its handle.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::Incident;
use sentinel_contract::plugin::Cause;

/// State changes kept; a replay that has more has other worries.
const MAX_INCIDENTS: usize = 100_000;

/// The frames of one detector in time order.
#[derive(Debug, Default)]
struct Ring {
    /// Every set of signals that its frames had: one, unless the detector was changed.
    sets: Vec<Vec<String>>,
    /// Each with the place of its set.
    frames: VecDeque<(u32, Frame)>,
}

#[derive(Debug, Default)]
struct Kept {
    rings: BTreeMap<String, Ring>,
    incidents: VecDeque<Incident>,
    states: BTreeMap<String, Vec<u8>>,
}

/// See the module's description.
#[derive(Debug)]
pub struct InMemory {
    frames: usize,
    kept: Mutex<Kept>,
}

impl InMemory {
    /// Keeps the newest `frames` of each detector; a frame weighs 8 bytes a signal and 56 more.
    pub fn new(frames: usize) -> Self {
        InMemory { frames: frames.max(1), kept: Mutex::default() }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner) // each write is one push
    }
}

impl Ring {
    fn add(&mut self, signals: &[String], frame: &Frame, most: usize) {
        let set = self.sets.iter().rposition(|known| known == signals).unwrap_or_else(|| {
            self.sets.push(signals.to_vec());
            self.sets.len() - 1
        }) as u32;
        let at = self.frames.partition_point(|(_, known)| known.time_ms < frame.time_ms);
        match self.frames.get_mut(at) {
            Some(known) if known.1.time_ms == frame.time_ms => *known = (set, frame.clone()),
            Some(_) => self.frames.insert(at, (set, frame.clone())),
            None => self.frames.push_back((set, frame.clone())),
        }
        if self.frames.len() > most {
            self.frames.pop_front();
        }
    }

    /// Frames within the times, their values in the order of `signals`.
    fn read(&self, signals: &[String], from_ms: i64, to_ms: i64) -> Vec<Frame> {
        let place = |time_ms| self.frames.partition_point(|(_, frame)| frame.time_ms < time_ms);
        let (first, end) = (place(from_ms), place(to_ms));
        // Where each wanted signal stands in a set; `None` when the set is the wanted one.
        let places: Vec<Option<Vec<Option<usize>>>> = (self.sets.iter())
            .map(|set| {
                let place = |name| set.iter().position(|own| own == name);
                (set != signals).then(|| signals.iter().map(place).collect())
            })
            .collect();
        let in_order = |(set, frame): &(u32, Frame)| match &places[*set as usize] {
            None => frame.clone(),
            Some(places) => {
                let value = |at: &Option<usize>| at.map_or(f64::NAN, |at| frame.values[at]);
                Frame { values: places.iter().map(value).collect(), ..*frame }
            }
        };
        self.frames.range(first..end.max(first)).map(in_order).collect()
    }
}

impl History for InMemory {
    fn append_frame(&self, detector: &str, signals: &[String], frame: &Frame) {
        if frame.values.len() != signals.len() {
            tracing::error!(detector, "a frame has not one value a signal: dropped");
            return;
        }
        let mut kept = self.kept();
        if !kept.rings.contains_key(detector) {
            kept.rings.insert(detector.to_owned(), Ring::default());
        }
        if let Some(ring) = kept.rings.get_mut(detector) {
            ring.add(signals, frame, self.frames);
        }
    }

    fn frames(
        &self,
        detector: &str,
        signals: &[String],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Frame>, Cause> {
        let kept = self.kept();
        Ok(kept
            .rings
            .get(detector)
            .map_or_else(Vec::new, |ring| ring.read(signals, from_ms, to_ms)))
    }

    fn record_incident(&self, incident: &Incident) {
        let mut kept = self.kept();
        if kept.incidents.len() >= MAX_INCIDENTS {
            kept.incidents.pop_front();
        }
        kept.incidents.push_back(incident.clone());
    }

    fn incidents(&self, from_ms: i64, limit: usize) -> Result<Vec<Incident>, Cause> {
        let kept = self.kept();
        let mut found: Vec<Incident> =
            kept.incidents.iter().rev().filter(|one| one.time_ms >= from_ms).cloned().collect();
        found.sort_by_key(|one| std::cmp::Reverse(one.time_ms)); // stable: of one time, the last written first
        found.truncate(limit);
        Ok(found)
    }

    fn save_state(&self, name: &str, bytes: &[u8]) {
        self.kept().states.insert(name.to_owned(), bytes.to_vec());
    }

    fn load_state(&self, name: &str) -> Result<Option<Vec<u8>>, Cause> {
        Ok(self.kept().states.get(name).cloned())
    }

    fn flush(&self) {}
}
