//! The handle on the embedded store: frames, incidents and model state. One thread owns the store itself.

use crate::incident::Incident;
use crate::plugin::Cause;

/// One row of a detector: a value for each of its signals at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Milliseconds since 1970 UTC: the end of its interval.
    pub time_ms: i64,
    /// One value a signal, in the detector's order; NaN where the signal was missing.
    pub values: Vec<f64>,
    /// 1.0 at the boundary; NaN while learning.
    pub score: f64,
}

/// The store, as observers and the page see it. Writes return at once and are done in order; reads wait.
pub trait History: Send + Sync {
    /// Adds a frame of `detector`, whose signals are `signals` in this order. A frame of the same time is replaced.
    fn append_frame(&self, detector: &str, signals: &[String], frame: &Frame);

    /// Frames of `detector` with `from_ms <= time < to_ms`, in time order. Values come in the order of `signals`;
    /// a signal that the stored row does not know is NaN.
    fn frames(
        &self,
        detector: &str,
        signals: &[String],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Frame>, Cause>;

    /// Adds one state change of an incident.
    fn record_incident(&self, incident: &Incident);

    /// State changes since `from_ms`, newest first, at most `limit`.
    fn incidents(&self, from_ms: i64, limit: usize) -> Result<Vec<Incident>, Cause>;

    /// State changes of the incidents whose key contains `part`, newest first, at most `limit`.
    fn changes(&self, part: &str, limit: usize) -> Result<Vec<Incident>, Cause> {
        let mut changes = self.incidents(i64::MIN, usize::MAX)?;
        changes.retain(|change| change.key.contains(part));
        changes.truncate(limit);
        Ok(changes)
    }

    /// Replaces the named state (a model, an observer's snapshot).
    fn save_state(&self, name: &str, bytes: &[u8]);

    /// The named state as it was saved; `None` when there is none or its checksum is wrong (which is logged).
    fn load_state(&self, name: &str) -> Result<Option<Vec<u8>>, Cause>;

    /// Waits until everything that was written before is on disk.
    fn flush(&self);
}

/// Keeps nothing: for `once`, `check` and tests.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHistory;

impl History for NoHistory {
    fn append_frame(&self, _: &str, _: &[String], _: &Frame) {}
    fn frames(&self, _: &str, _: &[String], _: i64, _: i64) -> Result<Vec<Frame>, Cause> {
        Ok(Vec::new())
    }
    fn record_incident(&self, _: &Incident) {}
    fn incidents(&self, _: i64, _: usize) -> Result<Vec<Incident>, Cause> {
        Ok(Vec::new())
    }
    fn save_state(&self, _: &str, _: &[u8]) {}
    fn load_state(&self, _: &str) -> Result<Option<Vec<u8>>, Cause> {
        Ok(None)
    }
    fn flush(&self) {}
}
