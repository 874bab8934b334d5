//! The loop without its thread, one look at a time: what happens between two looks is told exactly, and nothing waits.

use std::sync::Arc;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Batch, Emitter, Fate, Log, Memory, Stop};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::harness::{Place, logs, resolve, text};
use crate::tail::appear::Origin;
use crate::tail::service::Loop;
use crate::tail::{Settings, Timing};

pub(super) struct Steps {
    pub(super) tail: Loop,
    pub(super) counters: Arc<Counters>,
    lane: mpsc::Receiver<Batch>,
}

impl Steps {
    pub(super) fn new(place: &Place, pattern: &str, options: &str) -> Self {
        Steps::with(place.settings(pattern, options))
    }

    /// With other waiting times.
    pub(super) fn timed(place: &Place, pattern: &str, options: &str, timing: Timing) -> Self {
        Steps::with(Settings { timing, ..place.settings(pattern, options) })
    }

    fn with(settings: Settings) -> Self {
        let (sender, lane) = mpsc::channel(1000);
        let counters = Arc::new(Counters::default());
        let out = Emitter::new("tail".into(), Arc::clone(&counters), Memory::new(64 << 20), sender);
        let mut tail = Loop::new(settings, out, Stop::default(), Stop::default());
        tail.resume();
        tail.discover(Origin::Start);
        Steps { tail, counters, lane }
    }

    /// Takes notice of what changed and reads nothing, as when there is no memory.
    pub(super) fn notice(&mut self) {
        self.tail.follow_changes();
        self.tail.poll(Instant::now());
        self.tail.books.write().unwrap();
    }

    /// Walks the globs, takes notice of what changed, and reads all there is: each line and the name of its file.
    pub(super) async fn look(&mut self) -> Vec<String> {
        self.tail.follow_changes();
        self.tail.discover(Origin::Later);
        self.read().await
    }

    /// As [`Steps::look`], without help of notifications and of the walk.
    pub(super) async fn poll(&mut self) -> Vec<String> {
        self.read().await
    }

    /// Reads what notifications say, as between two polls.
    pub(super) async fn notified(&mut self) -> Vec<String> {
        self.tail.follow_changes();
        self.read_ready().await
    }

    /// Reads all there is of what grew, and resolves nothing: the loop takes no notice of receipts either.
    pub(super) async fn send(&mut self) -> Vec<Batch> {
        self.tail.poll(Instant::now());
        let mut batches = Vec::new();
        while let Some(id) = self.tail.ready.pop_front() {
            self.tail.read(id).await;
            batches.extend(self.lane.try_recv());
        }
        batches
    }

    async fn read(&mut self) -> Vec<String> {
        self.tail.poll(Instant::now());
        self.read_ready().await
    }

    /// Reads what was found before, as when files change between a look and the reading.
    pub(super) async fn read_ready(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(id) = self.tail.ready.pop_front() {
            self.tail.read(id).await;
            while let Ok(batch) = self.lane.try_recv() {
                lines.extend(logs(&batch).iter().map(line));
                resolve(batch, Fate::Delivered);
            }
        }
        self.tail.take_lost();
        self.tail.books.write().unwrap();
        lines
    }
}

fn line(log: &Log) -> String {
    let path = log.stream.iter().find(|(label, _)| *label == "filename").unwrap().1;
    format!("{}: {}", path.rsplit('/').next().unwrap(), text(log))
}
