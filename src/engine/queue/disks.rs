//! Where the queues' disk parts lie, how they are bounded, and which of them belong to nobody any more.
//!
//! `STATE/queues/ALIAS.queue/kept` and `.../direct`: the name of an output is in its path, so that a person finds it, and
//! the ending keeps an alias such as `..` from being a path of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::telemetry::Counters;
use serde::Deserialize;

use super::keeper::Keeper;
use super::thread::Signal;
use super::{MemoryLimits, Queue, Way};
use crate::disk::{Limits, RealFolder};

/// The largest segment: what goes at once when the oldest is dropped, and what is read at most at a start.
const SEGMENT: u64 = 8 << 20;

/// What happens when a queue has reached its bounds, on disk or, without a disk, in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// Sources that can wait do; the others drop their oldest.
    #[default]
    Block,
    /// The oldest goes, whatever its source.
    DropOldest,
    /// What comes is not taken.
    DropNewest,
}

/// How an output's disk part is bounded.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiskOptions {
    /// Bytes of both lanes; 0: in memory only.
    pub bytes: u64,
    /// How old an entry may become.
    pub age: Option<Duration>,
    /// What happens when it is full.
    pub when_full: WhenFull,
}

/// The queue of one output, and what keeps its two lanes on disk.
pub(crate) fn queue(
    state_dir: &Path,
    alias: &str,
    limits: MemoryLimits,
    options: &DiskOptions,
    counters: &Arc<Counters>,
    signal: &Arc<Signal>,
) -> (Arc<Queue>, Vec<Keeper>) {
    if options.bytes == 0 {
        let queue = Queue::new(limits, Arc::clone(counters), options, None);
        return (Arc::new(queue), Vec::new());
    }
    let queue = Queue::new(limits, Arc::clone(counters), options, Some(Arc::clone(signal)));
    let queue = Arc::new(queue);
    // What cannot be read again is little and matters most: a quarter of the room is its own.
    let lanes = [(Way::Kept, options.bytes / 4 * 3), (Way::Direct, options.bytes / 4)];
    let keepers = lanes.map(|(way, bytes)| {
        let path = folder(state_dir, alias).join(way.word());
        let open = move || RealFolder::open(&path).map(|folder| Box::new(folder) as Box<_>);
        let limits = Limits { bytes, segment: SEGMENT.min(bytes / 8) };
        Keeper::new(Arc::clone(&queue), way, limits, Box::new(open))
    });
    (queue, keepers.into())
}

fn folder(state_dir: &Path, alias: &str) -> PathBuf {
    state_dir.join("queues").join(format!("{alias}.queue"))
}

/// Says which queues have something in them and belong to no output of the configuration: they are kept.
pub(crate) fn warn_of_orphans(state_dir: &Path, aliases: &[&str]) {
    for path in orphans(state_dir, aliases) {
        tracing::warn!(
            path = %path.display(),
            "a queue of an output that is no longer configured; it is kept: give an output its alias to deliver it, or remove it"
        );
    }
}

/// Folders of queues that no alias names and that hold records.
pub(super) fn orphans(state_dir: &Path, aliases: &[&str]) -> Vec<PathBuf> {
    let names = std::fs::read_dir(state_dir.join("queues")).into_iter().flatten().flatten();
    let known: Vec<PathBuf> = aliases.iter().map(|alias| folder(state_dir, alias)).collect();
    let mut found: Vec<PathBuf> = names.map(|entry| entry.path()).collect();
    found.retain(|path| path.extension().is_some_and(|end| end == "queue"));
    found.retain(|path| {
        !known.contains(path)
            && [Way::Kept, Way::Direct].iter().any(|way| has_segments(&path.join(way.word())))
    });
    found.sort();
    found
}

fn has_segments(lane: &Path) -> bool {
    let names = std::fs::read_dir(lane).into_iter().flatten().flatten();
    names.map(|entry| entry.path()).any(|path| path.extension().is_some_and(|end| end == "seg"))
}

impl Way {
    /// The name of its folder.
    pub(super) fn word(self) -> &'static str {
        match self {
            Way::Kept => "kept",
            Way::Direct => "direct",
        }
    }
}
