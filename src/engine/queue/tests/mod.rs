//! The queue with its part on disk, driven by hand: the test is output, disk thread and clock.

mod books;
mod codec;
mod outage;
mod trouble;

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Fate, Labels, Piece, Receipt};

use super::keeper::Keeper;
use super::{DiskOptions, Entry, MemoryLimits, Queue, Signal, Way, WhenFull};
use crate::disk::tests::simulated::Simulated;
use crate::disk::{Folder, Limits};
use crate::tests::log_batch;

/// One queue over two simulated folders.
struct Rig {
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    keepers: Vec<Keeper>,
    now: Instant,
    fates: Arc<Mutex<Vec<(String, Fate)>>>,
}

/// Folders of the two lanes; they outlive a rig.
#[derive(Clone, Default)]
struct Folders {
    kept: Simulated,
    direct: Simulated,
}

/// A line of the tests occupies about 72 bytes, so that a kept lane holds fourteen, and half as many are ready.
const MEMORY: MemoryLimits = MemoryLimits { kept: 1_000, direct: 1_000 };

fn rig(folders: &Folders, options: &DiskOptions) -> Rig {
    let counters: Arc<Counters> = Arc::default();
    let signal = Arc::new(Signal::default());
    let queue = Arc::new(Queue::new(MEMORY, Arc::clone(&counters), options, Some(signal)));
    let limits = Limits { bytes: options.bytes, segment: options.bytes / 8 };
    let keepers = [(Way::Kept, &folders.kept), (Way::Direct, &folders.direct)];
    let keepers = keepers.map(|(way, folder)| {
        let folder = folder.clone();
        let open = move || Ok(Box::new(folder.clone()) as Box<dyn Folder>);
        Keeper::new(Arc::clone(&queue), way, limits, Box::new(open))
    });
    let mut rig = Rig {
        queue,
        counters,
        keepers: keepers.into(),
        now: Instant::now(),
        fates: Arc::default(),
    };
    rig.turn();
    rig
}

fn options(when_full: WhenFull) -> DiskOptions {
    DiskOptions { bytes: 8 << 10, age: None, when_full }
}

impl Rig {
    /// The disk thread does what is to be done now.
    fn turn(&mut self) {
        for keeper in &mut self.keepers {
            keeper.turn(self.now);
        }
    }

    /// The same after some time; what is due in between is done.
    fn after(&mut self, pause: Duration) {
        for _ in 0..4 {
            self.now += pause / 4;
            self.turn();
        }
    }

    /// A line that its source can read again.
    fn keep(&self, line: &str) {
        self.push(line, |ear| Some(Receipt::new(ear)));
    }

    /// A line that nobody can read again.
    fn direct(&self, line: &str) {
        self.push(line, |_| None);
    }

    fn push(
        &self,
        line: &str,
        receipt: impl FnOnce(Box<dyn FnOnce(Fate) + Send + Sync>) -> Option<Receipt>,
    ) {
        let labels = Arc::new(Labels::new([("a", "b")]));
        let (ear, name) = (Arc::clone(&self.fates), line.to_owned());
        let receipt = receipt(Box::new(move |fate| ear.lock().unwrap().push((name, fate))));
        self.queue
            .push(Entry::new(Piece::whole(Arc::new(log_batch("in", &labels, &[line]))), receipt));
    }

    /// The output delivers all it can get; the disk thread reads on for it.
    fn deliver(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let Some(entry) = self.queue.pop() else {
                self.after(Duration::from_millis(200)); // what is being written is synced
                match self.queue.pop() {
                    Some(entry) => lines.push(self.settle(entry, Fate::Delivered)),
                    None => return lines,
                }
                continue;
            };
            lines.push(self.settle(entry, Fate::Delivered));
        }
    }

    fn settle(&self, entry: Entry, fate: Fate) -> String {
        let line = line_of(&entry);
        self.queue.done(&entry);
        self.counters.delivered.fetch_add(u64::from(fate == Fate::Delivered), Relaxed);
        entry.resolve(fate);
        line
    }

    /// The agent ends in order: the output is gone, the disk thread writes what is left.
    fn end(self) -> Arc<Counters> {
        self.queue.abandon();
        self.keepers.into_iter().for_each(Keeper::finish);
        self.counters
    }

    fn fates(&self) -> Vec<(String, Fate)> {
        self.fates.lock().unwrap().clone()
    }

    /// received + restored = delivered + dropped + queued, as far as lines are not delivered twice.
    fn balances(&self) {
        let c = &self.counters;
        let restored = c.counts().get("restored").copied().unwrap_or(0);
        let dropped: u64 = c.drops().values().sum();
        let (received, queued) = (c.received.load(Relaxed), c.queued.load(Relaxed));
        let sum = c.delivered.load(Relaxed) + dropped + queued;
        assert_eq!(received + restored, sum, "{queued} queued, dropped: {:?}", c.drops());
        assert!(c.queued_bytes.load(Relaxed) < 1 << 30, "never less than nothing");
    }
}

fn line_of(entry: &Entry) -> String {
    let logs = entry.piece.logs();
    assert_eq!(logs.len(), 1);
    String::from_utf8(logs[0].body.to_vec()).unwrap()
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number:04}")).collect()
}

/// The bytes of all segments in a folder.
fn written(folder: &Simulated) -> usize {
    let files = folder.everything();
    files.iter().filter(|(name, _)| name.ends_with("seg")).map(|(_, content)| content.len()).sum()
}
