//! The real service on files of a temporary folder, with a lane that the test holds the other end of.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::history::NoHistory;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Cause, Context, Emitter, Events, Fate, Labels, Log, Memory, Service as _, Stop,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::tail::service::Tailing;
use crate::tail::{Config, Settings, Timing};

/// Long enough for a busy machine, never waited for when all is well.
const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn quick() -> Timing {
    Timing {
        coalesce: Duration::from_millis(5),
        quiet: Duration::from_millis(100),
        deleted_quiet: Duration::from_millis(200),
        hold: Duration::from_millis(300),
        lost_pause: Duration::from_millis(10),
        idle_check: Duration::from_secs(1),
        renamed_keep: Duration::from_secs(60),
    }
}

pub(super) fn context(state: &Path) -> Context {
    Context {
        alias: "web logs/1".into(),
        host: "h".into(),
        tags: Arc::new(Labels::new([("host", "h")])),
        interval: Duration::from_secs(10),
        state_dir: state.to_owned(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    }
}

/// A folder of files, and the agent's state beside it.
pub(super) struct Place {
    logs: TempDir,
    state: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        Place { logs: TempDir::new().unwrap(), state: TempDir::new().unwrap() }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.logs.path().canonicalize().unwrap().join(name)
    }

    pub(super) fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    pub(super) fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    /// What a reused inode looks like: that of `old`, which is gone, comes back as `new` with other bytes.
    pub(super) fn reuse(&self, old: &str, new: &str, bytes: &str) {
        let aside = self.state.path().join("aside");
        fs::hard_link(self.path(old), &aside).unwrap();
        fs::write(&aside, bytes).unwrap();
        self.remove(old);
        fs::rename(&aside, self.path(new)).unwrap();
    }

    /// Descriptors of this process on files whose name begins so, deleted ones too.
    pub(super) fn held(&self, name: &str) -> usize {
        let wanted = self.path(name).display().to_string();
        let held = fs::read_dir("/proc/self/fd").unwrap().flatten().filter(|entry| {
            fs::read_link(entry.path())
                .is_ok_and(|path| path.display().to_string().starts_with(&wanted))
        });
        held.count()
    }

    pub(super) fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).unwrap();
    }

    /// As logrotate's copytruncate does.
    pub(super) fn copy(&self, from: &str, to: &str) {
        fs::copy(self.path(from), self.path(to)).unwrap();
    }

    pub(super) fn truncate(&self, name: &str) {
        OpenOptions::new().write(true).open(self.path(name)).unwrap().set_len(0).unwrap();
    }

    pub(super) fn positions(&self) -> PathBuf {
        self.state.path().join("positions/web_logs_1.log")
    }

    /// An agent that follows `pattern`, with more options.
    pub(super) fn start(&self, pattern: &str, options: &str) -> Agent {
        self.start_with(pattern, options, 64, 64 << 20)
    }

    pub(super) fn settings(&self, pattern: &str, options: &str) -> Settings {
        let files = self.path(pattern).display().to_string();
        let times = "poll_interval = \"100ms\"\ndiscover_interval = \"100ms\"";
        let text = format!("files = [\"{files}\"]\n{times}\n{options}");
        let config: Config = toml::from_str(&text).unwrap();
        Settings::new(config, &context(self.state.path()), quick()).unwrap()
    }

    pub(super) fn start_with(
        &self,
        pattern: &str,
        options: &str,
        lane: usize,
        memory: usize,
    ) -> Agent {
        let settings = self.settings(pattern, options);
        let (sender, lane) = mpsc::channel(lane);
        let counters = Arc::new(Counters::default());
        let memory = Memory::new(memory);
        let out = Emitter::new("tail".into(), Arc::clone(&counters), memory.clone(), sender);
        let stop = Stop::default();
        let task = tokio::spawn(Box::new(Tailing::new(settings)).run(out, stop.clone()));
        Agent { lane, counters, memory, stop, task }
    }
}

pub(super) struct Agent {
    pub(super) lane: mpsc::Receiver<Batch>,
    pub(super) counters: Arc<Counters>,
    pub(super) memory: Memory,
    pub(super) stop: Stop,
    pub(super) task: JoinHandle<Result<(), Cause>>,
}

pub(super) fn logs(batch: &Batch) -> &[Log] {
    match &batch.events {
        Events::Logs(logs) => logs,
        _ => panic!("not logs"),
    }
}

pub(super) fn text(log: &Log) -> String {
    String::from_utf8_lossy(&log.body).into_owned()
}

pub(super) fn resolve(mut batch: Batch, fate: Fate) {
    batch.receipt.take().unwrap().resolve(fate);
}

impl Agent {
    /// The next batch, whose receipt the test resolves.
    pub(super) async fn next(&mut self) -> Batch {
        let batch = tokio::time::timeout(PATIENCE, self.lane.recv()).await;
        batch.expect("a batch comes").expect("the input runs")
    }

    /// The next `count` events, delivered.
    pub(super) async fn logs(&mut self, count: usize) -> Vec<Log> {
        let mut all = Vec::new();
        while all.len() < count {
            let batch = self.next().await;
            all.extend_from_slice(logs(&batch));
            resolve(batch, Fate::Delivered);
        }
        assert_eq!(all.len(), count, "{all:?}");
        all
    }

    pub(super) async fn lines(&mut self, count: usize) -> Vec<String> {
        self.logs(count).await.iter().map(text).collect()
    }

    /// Nothing comes for a few polls.
    pub(super) async fn is_silent(&mut self) {
        let batch = tokio::time::timeout(Duration::from_millis(400), self.lane.recv()).await;
        if let Ok(Some(batch)) = batch {
            panic!("unexpected: {:?}", logs(&batch).iter().map(text).collect::<Vec<_>>());
        }
    }

    /// As kill -9 does: what is written is written, nothing more.
    pub(super) async fn kill(mut self) {
        self.task.abort();
        while let Some(batch) = self.lane.recv().await {
            std::mem::forget(batch.receipt); // nobody hears of it
        }
    }

    /// In order: stop reading, let the receipts come in, finish.
    pub(super) async fn finish(self) {
        self.stop.reading.cancel();
        self.stop.finished.cancel();
        drop(self.lane);
        self.task.await.unwrap().unwrap();
    }
}

/// Polls until it holds.
pub(super) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

pub(super) fn numbered(range: std::ops::Range<usize>) -> String {
    expected(range).join("\n") + "\n"
}

pub(super) fn expected(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}
