//! What a failing or damaged disk means for its lane, and how people hear of it.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::Way;
use super::keeper::{Keeper, PAUSE};
use crate::clock::now_ms;

impl Keeper {
    pub(super) fn count_damage(&mut self) {
        let Some(disk) = self.disk.as_mut() else { return };
        let (lost, aside, torn) = (disk.take_lost(), disk.take_quarantined(), disk.take_torn());
        let counters = &self.queue.counters;
        if lost > 0 {
            counters.queued.fetch_sub(lost, Relaxed);
            counters.drop_events("corrupt", lost);
            tracing::error!(
                events = lost,
                lane = self.way.word(),
                "the queue on disk is damaged: events are lost"
            );
        }
        if aside > 0 {
            counters.count("quarantined_segments", aside);
            tracing::error!(
                segments = aside,
                lane = self.way.word(),
                "segments of the queue cannot be read, and are kept as .bad"
            );
        }
        if torn > 0 {
            counters.count("torn_bytes", torn);
            tracing::info!(
                bytes = torn,
                lane = self.way.word(),
                "the last record was not finished when the agent or the machine stopped: cut off"
            );
        }
    }

    pub(super) fn failed(&mut self, now: Instant, error: &io::Error) {
        (self.resumes, self.in_trouble) = (Some(now + PAUSE), true);
        self.alarm(&format!("{error}: entries are kept in memory, and it is tried again"));
        self.memory_only();
    }

    /// What the condition is called in `status`.
    pub(super) fn note(&self) -> String {
        format!("queue on disk ({})", self.way.word())
    }

    pub(super) fn alarm(&self, words: &str) {
        if self.queue.counters.note(&self.note(), words) {
            tracing::error!(
                error = words,
                lane = self.way.word(),
                "the queue's part on disk fails"
            );
            self.queue.counters.error(now_ms(), format!("queue on disk: {words}"));
        }
    }

    /// After a write that failed: the disk is back.
    pub(super) fn works(&mut self) {
        if self.refused || !std::mem::take(&mut self.in_trouble) {
            return;
        }
        self.queue.counters.clear_note(&self.note());
        self.queue.with(self.way, |lane| lane.disk_first = self.way == Way::Direct);
        tracing::info!(lane = self.way.word(), "the queue's part on disk works again");
    }

    /// Nothing waits for the disk to be handed out.
    pub(super) fn memory_only(&self) {
        self.queue.with(self.way, |lane| lane.disk_first = false);
    }
}
