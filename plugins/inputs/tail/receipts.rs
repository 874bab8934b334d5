//! What became of the batches, as far as it is the loop's to do: what was lost is read again, positions are synced, and what
//! keeps them from being saved is said. Positions move in [`super::books`], without the loop.

use std::io;
use std::time::Duration;

use tokio::time::Instant;

use super::positions::unix_seconds;
use super::service::Loop;
use crate::ledger::Outcome;

/// How often positions are synced.
const SYNC: Duration = Duration::from_secs(1);

impl Loop {
    /// Reads again what was lost.
    pub(super) fn take_lost(&mut self) {
        for (lost, outcome) in self.books.take_lost() {
            let (id, events) = (lost.id, lost.events);
            match outcome {
                Outcome::Nothing | Outcome::Advanced => {}
                Outcome::Gone => self.out.counters.drop_events("source_gone", events),
                Outcome::Lost(mark) => {
                    let Some(file) = self.files.get_mut(id) else { continue };
                    file.rewind(mark);
                    file.pause = Some(Instant::now() + self.settings.timing.lost_pause);
                    self.active.insert(id);
                    if !self.stop.reading.is_cancelled() {
                        let path = file.path.display();
                        let message = format!(
                            "{path}: {events} lines were lost on their way, and are read again"
                        );
                        self.out.counters.error(unix_seconds() * 1000, message);
                    }
                }
            }
        }
    }

    /// Sets the saved position of a file.
    pub(super) fn record(&self, id: u64) {
        if let Some(file) = self.files.get(id) {
            self.books.record(file);
        }
    }

    /// Tells the books by what a file is known now.
    pub(super) fn identify(&self, id: u64) {
        if let Some(file) = self.files.get(id) {
            self.books.identify(file);
        }
    }

    /// Writes positions, and syncs them when it is time.
    pub(super) fn save(&mut self) {
        let now = Instant::now();
        let mut result = self.books.write();
        if now >= self.next_sync {
            self.next_sync = now + SYNC;
            if self.books.needs_sync() {
                result = result.and(self.books.sync());
            }
        }
        self.saved(result);
    }

    /// Keeps the note on positions true.
    pub(super) fn saved(&mut self, result: io::Result<()>) {
        if result.is_ok() && !self.unsaved {
            return;
        }
        let path = self.settings.positions.display().to_string();
        if let Err(error) = result {
            let text = format!("positions cannot be saved: {error}");
            self.unsaved = true;
            self.out.counters.error(unix_seconds() * 1000, text.as_str());
            if self.out.counters.note(&path, text) {
                tracing::error!(%path, %error, "positions cannot be saved");
            }
        } else if self.books.is_open() {
            self.unsaved = false;
            self.out.counters.clear_note(&path);
        }
    }
}
