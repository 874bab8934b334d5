//! What a backend refused for good: one JSON line an event, with the answer and the time, in two bounded files.
//!
//! `dead-letters.jsonl` grows to its limit, becomes `dead-letters.1.jsonl`, and starts again; what waited in the older one
//! is counted as dropped (`dead_letters_full`). Letters are never changed but for the one byte that settles them, and
//! only the agent writes; people read the files with [`walk`], and send letters again or remove them with an [`Order`].

mod again;
mod letter;
mod store;
mod walk;

pub use again::{Order, Told};
pub use letter::{Event, FieldValue, Letter, Line as LogLine, Summary};
pub use store::Purged;
pub use walk::{Line, Position, Which, latest, letter, walk};

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use sentinel_contract::{Batch, Cause, Kinds, Piece};

use crate::clock::now_ms;
use crate::queue::Queue;
use crate::telemetry::{Plugin, Telemetry};
use store::Store;

/// Each of the two files.
const LIMIT: u64 = 32 << 20;
/// Bytes of an answer that are kept with each event.
const LONGEST_REASON: usize = 4 << 10;

/// The letters of a running agent.
pub struct DeadLetters {
    state_dir: PathBuf,
    store: Mutex<Store>,
    /// Letters that are on their way again, by the address of their batch, which lives as long as they are here.
    flying: Mutex<HashMap<usize, Flying>>,
    /// One walk through the files at a time, and none while letters land: what is on its way is sent once.
    turn: Mutex<()>,
    /// Where an output's letters go again.
    queues: Mutex<BTreeMap<String, (Weak<Queue>, Kinds)>>,
    telemetry: Arc<Telemetry>,
}

/// A letter on its way.
struct Flying {
    batch: Arc<Batch>,
    position: Position,
    id: String,
    first_ms: i64,
    tries: u32,
    plugin: String,
    bytes: usize,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl DeadLetters {
    /// Letters of this agent go below `state_dir`.
    pub(crate) fn new(state_dir: &Path, telemetry: Arc<Telemetry>) -> Self {
        DeadLetters::bounded(state_dir, telemetry, LIMIT)
    }

    /// The same with files of another size.
    pub(crate) fn bounded(state_dir: &Path, telemetry: Arc<Telemetry>, limit: u64) -> Self {
        DeadLetters {
            state_dir: state_dir.to_owned(),
            store: Mutex::new(Store::new(state_dir, limit)),
            flying: Mutex::default(),
            turn: Mutex::default(),
            queues: Mutex::default(),
            telemetry,
        }
    }

    /// Letters of the output of this alias, which takes these kinds, are sent again through this queue, as long as that is
    /// there.
    pub(crate) fn serve(&self, alias: &str, queue: &Arc<Queue>, accepts: Kinds) {
        locked(&self.queues).insert(alias.to_owned(), (Arc::downgrade(queue), accepts));
    }

    /// That output is no longer configured: its letters are not sent again.
    pub(crate) fn dismiss(&self, alias: &str) {
        locked(&self.queues).remove(alias);
    }

    /// Writes the events of `piece` whose index within it is in `events`. On return they are on disk.
    pub(crate) fn write(
        &self,
        who: &Plugin,
        piece: &Piece,
        events: &[usize],
        why: &str,
    ) -> Result<(), Cause> {
        let reason: Arc<str> = why[..why.floor_char_boundary(LONGEST_REASON)].into();
        let (before, time_ms) = (self.before(piece), now_ms());
        let letters = events.iter().filter_map(|event| {
            let event = Event::of(&piece.batch.events, piece.range.start + event)?;
            let (id, first_ms, tries) = before.clone().unwrap_or((String::new(), time_ms, 0));
            Some(Letter {
                gone: 0,
                v: letter::VERSION,
                id,
                time_ms,
                first_ms,
                tries,
                role: who.role.word().to_owned(),
                plugin: who.alias.to_string(),
                origin: piece.batch.origin.to_string(),
                source: piece.batch.source,
                reason: reason.to_string(),
                event,
            })
        });
        let gone = locked(&self.store).append(letters)?;
        self.telemetry.count_dead_letters(events.len() as u64);
        self.count_gone(&gone, who);
        Ok(())
    }

    /// Name, first time and tries of the letter that this piece was made of: it keeps them.
    fn before(&self, piece: &Piece) -> Option<(String, i64, u32)> {
        let flying = locked(&self.flying);
        let letter = flying.get(&address(&piece.batch))?;
        Some((letter.id.clone(), letter.first_ms, letter.tries + 1))
    }

    /// Counts what went with the older file, each with its plugin while that is there.
    fn count_gone(&self, gone: &BTreeMap<String, u64>, who: &Plugin) {
        if gone.is_empty() {
            return;
        }
        let plugins = self.telemetry.plugins();
        for (alias, letters) in gone {
            let plugin = plugins.iter().find(|plugin| *plugin.alias == **alias);
            let counters = plugin.map_or(&who.counters, |plugin| &plugin.counters);
            counters.drop_events("dead_letters_full", *letters);
            tracing::error!(
                alias,
                letters,
                "the dead letters are full: the oldest are gone for good (`sentinelops queue` sends them again or removes them)"
            );
        }
    }
}

/// Of a batch that is alive.
fn address(batch: &Arc<Batch>) -> usize {
    Arc::as_ptr(batch).addr()
}

/// Removes letters of an agent that does not run; the caller holds its lock.
pub fn purge(state_dir: &Path, which: &Which) -> io::Result<Purged> {
    Store::new(state_dir, LIMIT).purge(which)
}
