//! A past that was read from a backend: the group learns from it as if it had seen it.

use sentinel_contract::command::Past;

use super::Anomaly;
use super::group::{Group, Shared, Training};
use super::signals::LIMIT_FRAMES;
use super::views::{LONG, Levels};

impl Anomaly {
    /// History has more of the past than was known at the start.
    pub(super) fn backfilled(&mut self, incidents: &[Past]) -> String {
        self.past = incidents.to_vec();
        for group in &mut self.groups {
            group.exclude_past(&self.past, &self.shared);
            group.backfilled(&self.shared);
        }
        format!("{} groups learn from the past at their next frame", self.groups.len())
    }
}

impl Group {
    /// Nothing is learnt from its incidents of the past: called when that is told, or when the group is first seen after it.
    pub(super) fn exclude_past(&mut self, incidents: &[Past], shared: &Shared) {
        let onset_ms = LIMIT_FRAMES as i64 * shared.options.interval_ms;
        let is_own =
            |past: &&Past| (&past.host, &past.group) == (&self.owner.host, &self.owner.group);
        let own = incidents.iter().filter(is_own);
        let past = own.map(|past| past.from_ms - onset_ms..past.until_ms);
        let mut excluded: Vec<_> = past.chain(std::mem::take(&mut self.excluded)).collect();
        excluded.sort_by_key(|times| times.start);
        for times in excluded {
            self.exclude(times);
        }
    }

    /// The levels become what they would be had it seen the past; a model is asked for at the next frame.
    fn backfilled(&mut self, shared: &Shared) {
        // An incident that is open holds the levels: they stay what they are.
        if self.incident.is_none() {
            self.levels = self.past_levels(shared).unwrap_or_else(|| self.levels.clone());
        }
        self.training = Training::Due { at_ms: i64::MIN };
        self.refused = None;
    }

    fn past_levels(&self, shared: &Shared) -> Option<Vec<Levels>> {
        let options = &shared.options;
        let to_ms = self.last_ms.checked_add(1)?;
        let from_ms =
            to_ms.checked_sub((LONG * options.level_frames) as i64 * options.interval_ms)?;
        let frames = shared.history.frames(&self.history_name, &shared.names, from_ms, to_ms);
        let frames = frames
            .inspect_err(
                |error| tracing::warn!(error = %format!("{error:#}"), "history cannot be read"),
            )
            .ok()?;
        let mut levels = vec![Levels::new(options.level_frames, options.size); shared.names.len()];
        let outside = |time_ms| !self.excluded.iter().any(|times| times.contains(&time_ms));
        for frame in frames.iter().filter(|frame| outside(frame.time_ms)) {
            for (level, value) in levels.iter_mut().zip(&frame.values) {
                level.push(*value);
            }
        }
        Some(levels)
    }
}
