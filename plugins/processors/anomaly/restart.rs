//! After a restart: the frames of history since the snapshot are judged again, by the same code and in the same order, so
//! that scores, boundaries and the open incident are those of a run that was never stopped (`kill -9` comes at any time; a
//! snapshot is up to five minutes old).
//!
//! What is not in history cannot come back: frames that were not judged (nothing came, or not all of it was seen), and the
//! frame that was being collected. A model that was asked for since the snapshot is trained again; live it may be in use a
//! few frames later than it was.

use sentinel_contract::Incident;

use super::group::{Group, Shared};
use super::suspects::LEVEL_FRAMES;

/// Frames judged again at most: older state is good for models and levels, not for an incident.
const MOST: i64 = 20_000;
/// Changes of one incident that are looked at.
const CHANGES: usize = 1000;

impl Group {
    /// Takes the frames since the snapshot. Returns the changes that no history knows: they are still to be told.
    pub(super) fn catch_up(&mut self, shared: &Shared) -> Vec<Incident> {
        let interval_ms = shared.options.interval_ms;
        let from_ms = self.last_ms.saturating_add(1);
        let read = |from_ms: i64, to_ms: i64| {
            let frames = shared.history.frames(&self.history_name, &shared.names, from_ms, to_ms);
            frames.unwrap_or_default()
        };
        let before = read(from_ms.saturating_sub(LEVEL_FRAMES as i64 * interval_ms), from_ms);
        let since = read(from_ms, from_ms.saturating_add(MOST * interval_ms));
        for frame in before {
            self.remember(frame, shared);
        }
        let mut untold = Vec::new();
        for frame in since {
            let passed = ((frame.time_ms - self.last_ms) / interval_ms).clamp(1, 64) as u32;
            self.spoken = self.spoken.checked_shl(passed).unwrap_or(0) | 1;
            self.last_ms = frame.time_ms;
            let time_ms = frame.time_ms;
            let changes = self.take(frame, shared).changes;
            self.ask(time_ms, shared);
            untold.extend(changes.into_iter().filter(|change| !is_told(change, shared)));
        }
        untold
    }
}

fn is_told(change: &Incident, shared: &Shared) -> bool {
    let known = shared.history.changes(&change.key, CHANGES).unwrap_or_default();
    known.iter().any(|one| {
        one.key == change.key && one.state == change.state && one.time_ms == change.time_ms
    })
}
