//! What became of the batches: receipts come in, positions move and are saved.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sentinel_contract::Fate;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::files::Life;
use super::ledger::Outcome;
use super::positions::unix_seconds;
use super::record::Record;
use super::service::Loop;

/// How often positions are synced.
const SYNC: Duration = Duration::from_secs(1);

/// What became of a batch: which file, the batch's number, how many events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resolved {
    pub(super) id: u64,
    pub(super) number: u64,
    pub(super) events: u64,
    pub(super) fate: Fate,
}

/// Where receipts arrive. As many as there are batches, which memory bounds.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    resolved: Mutex<Vec<Resolved>>,
    pub(super) arrived: Notify,
}

impl Inbox {
    pub(super) fn put(&self, resolved: Resolved) {
        self.resolved.lock().unwrap_or_else(PoisonError::into_inner).push(resolved);
        self.arrived.notify_one();
    }

    fn take(&self) -> Vec<Resolved> {
        std::mem::take(&mut *self.resolved.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Loop {
    /// Moves positions over what was delivered, and reads again what was lost.
    pub(super) fn take_receipts(&mut self) {
        let resolved = self.inbox.take();
        if resolved.is_empty() {
            return;
        }
        let mut advanced = HashSet::new();
        for Resolved { id, number, events, fate } in resolved {
            let Some(file) = self.files.get_mut(id) else {
                if fate == Fate::Lost {
                    self.out.counters.drop_events("source_gone", events);
                }
                continue;
            };
            match file.ledger.resolve(number, fate) {
                Outcome::Nothing => {}
                Outcome::Advanced => {
                    advanced.insert(id);
                }
                Outcome::Gone => self.out.counters.drop_events("source_gone", events),
                Outcome::Lost(mark) => {
                    file.rewind(mark);
                    file.pause = Some(Instant::now() + self.settings.timing.lost_pause);
                    self.active.insert(id);
                    if !self.stop.reading.is_cancelled() {
                        let path = self.files.get(id).map(|file| file.path.display().to_string());
                        let path = path.unwrap_or_default();
                        let message = format!(
                            "{path}: {events} lines were lost on their way, and are read again"
                        );
                        self.out.counters.error(unix_seconds() * 1000, message);
                    }
                }
            }
        }
        for id in advanced {
            self.record(id);
        }
        let written = self.positions.write();
        self.saved(written);
    }

    /// Sets the saved position of a file.
    pub(super) fn record(&mut self, id: u64) {
        let Some(file) = self.files.get(id) else { return };
        if matches!(file.life, Life::Deleted { .. }) {
            return;
        }
        self.positions.put(Record {
            inode: file.inode,
            mark: file.ledger.acknowledged(),
            prefix: file.prefix,
            seconds: unix_seconds(),
            path: file.name.clone(),
        });
    }

    /// Writes positions, and syncs them when it is time.
    pub(super) fn save(&mut self) {
        let now = Instant::now();
        let mut result = self.positions.write();
        if now >= self.next_sync {
            self.next_sync = now + SYNC;
            if self.positions.needs_sync() {
                result = result.and(self.positions.sync());
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
        } else if self.positions.is_open() {
            self.unsaved = false;
            self.out.counters.clear_note(&path);
        }
    }
}
