//! The loop: one thread for all files of one input, which reads, hands over batches, and takes receipts.
//!
//! Reading blocks on the disk, so the loop has a thread of its own and not a task. Whatever it waits for (memory, the
//! lane, a notification), it goes on taking receipts, saving positions and following renames meanwhile.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use sentinel_contract::{Batch, Cause, Emitter, Permit, Service, Stop};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::Settings;
use super::appear::Origin;
use super::books::Books;
use super::copies::Held;
use super::files::Files;
use super::positions::Positions;
use super::watch::Watch;

/// A file that has not grown for this long is looked at less often.
const ACTIVE: Duration = Duration::from_secs(10);

/// The input, built and not yet running.
#[derive(Debug)]
pub(super) struct Tailing {
    settings: Settings,
}

impl Tailing {
    pub(super) fn new(settings: Settings) -> Self {
        Tailing { settings }
    }
}

#[async_trait::async_trait]
impl Service for Tailing {
    async fn run(self: Box<Self>, out: Emitter, stop: Stop) -> Result<(), Cause> {
        let abort = Stop::default();
        let _aborts_when_dropped = abort.reading.clone().drop_guard();
        let (done, ended) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        // The engine's span names the plugin in log lines; a thread does not inherit it.
        let span = tracing::Span::current();
        let body = move || {
            let _entered = span.enter();
            runtime.block_on(async {
                Loop::new(self.settings, out, stop, abort).run().await;
            });
            let _aborted = done.send(());
        };
        let thread = std::thread::Builder::new().name("tail".to_owned());
        thread.spawn(body).context("cannot start the thread that reads files")?;
        if ended.await.is_err() {
            bail!("the thread that reads files panicked");
        }
        Ok(())
    }
}

/// The state of the loop.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) settings: Arc<Settings>,
    pub(super) out: Emitter,
    pub(super) stop: Stop,
    /// Its first token is cancelled when nobody waits for the end of the thread any more.
    abort: Stop,
    pub(super) files: Files,
    pub(super) books: Arc<Books>,
    pub(super) watch: Watch,
    pub(super) ready: VecDeque<u64>,
    /// Files looked at on every poll.
    pub(super) active: HashSet<u64>,
    pub(super) held: Vec<Held>,
    pub(super) refused: HashSet<PathBuf>,
    /// A link's target, and the link.
    pub(super) links: HashMap<PathBuf, PathBuf>,
    /// Paths that were known when the agent was last stopped, and when that was; both only during the start.
    pub(super) before: super::appear::Before,
    /// The next line's time is at least this.
    pub(super) clock_ns: i64,
    cursor: u64,
    pub(super) walk_now: bool,
    notified: bool,
    /// Positions could not be saved the last time.
    pub(super) unsaved: bool,
    drained: Instant,
    next_poll: Instant,
    next_walk: Instant,
    pub(super) next_sync: Instant,
}

impl Loop {
    pub(super) fn new(settings: Settings, out: Emitter, stop: Stop, abort: Stop) -> Self {
        let (positions, found, started) = Positions::open(settings.positions.clone());
        if found.damaged > 0 {
            let path = settings.positions.display();
            tracing::warn!(%path, lines = found.damaged, "skipped damaged saved positions");
        }
        if let Some(aside) = found.aside {
            let text = aside.explain(&settings.positions);
            tracing::warn!("{text}");
            out.counters.note("positions", text);
        }
        let (watch, watching) = Watch::new();
        let now = Instant::now();
        let mut this = Loop {
            settings: Arc::new(settings),
            out,
            stop,
            abort,
            files: Files::default(),
            before: super::appear::Before::new(&found, &positions),
            books: Arc::new(Books::new(positions)),
            watch,
            ready: VecDeque::new(),
            active: HashSet::new(),
            held: Vec::new(),
            refused: HashSet::new(),
            links: HashMap::new(),
            clock_ns: 0,
            cursor: 0,
            walk_now: false,
            notified: false,
            unsaved: false,
            drained: now,
            next_poll: now,
            next_walk: now,
            next_sync: now,
        };
        this.saved(started);
        if let Err(error) = watching {
            let text =
                format!("files are only polled: {error}; raise fs.inotify.max_user_instances");
            if this.out.counters.note("inotify", text.as_str()) {
                tracing::warn!("{text}");
            }
        }
        this
    }

    async fn run(&mut self) {
        self.resume();
        self.discover(Origin::Start);
        self.next_walk = Instant::now() + self.settings.discover_interval;
        while !self.is_stopping() {
            self.maintain();
            match self.ready.pop_front() {
                Some(id) => self.read(id).await,
                None => self.wait().await,
            }
        }
        while !self.stop.finished.is_cancelled() && !self.abort.reading.is_cancelled() {
            self.take_lost();
            self.save();
            self.wait().await;
        }
        if self.abort.reading.is_cancelled() {
            return; // as after kill -9: what is written is written
        }
        self.take_lost();
        let compacted = self.books.compact();
        self.saved(compacted);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stop.reading.is_cancelled() || self.abort.reading.is_cancelled()
    }

    /// Waits for a receipt, a notification, the next due time, or the next step of stopping.
    async fn wait(&mut self) {
        let stopping = self.stop.reading.is_cancelled();
        let mut deadline = self.next_poll.min(self.next_walk);
        if stopping {
            deadline = Instant::now() + self.settings.poll_interval; // those are over: in the past, they would spin
        }
        if self.books.needs_sync() {
            deadline = deadline.min(self.next_sync);
        }
        let gate = self.drained + self.settings.timing.coalesce;
        let notified = async {
            sleep_until(gate).await;
            self.watch.changed().await;
        };
        tokio::select! {
            biased;
            () = self.abort.reading.cancelled() => {}
            () = self.stop.reading.cancelled(), if !stopping => {}
            () = self.stop.finished.cancelled(), if stopping => {}
            () = self.books.arrived.notified() => {}
            () = notified, if !stopping => self.notified = true,
            () = sleep_until(deadline) => {}
        }
    }

    /// Everything but reading, as far as it is due.
    fn maintain(&mut self) {
        self.take_lost();
        let now = Instant::now();
        if self.notified || now >= self.drained + self.settings.timing.coalesce {
            self.notified = false;
            self.drained = now;
            self.follow_changes();
        }
        if now >= self.next_poll {
            self.poll(now);
            self.next_poll = now + self.settings.poll_interval;
        }
        if now >= self.next_walk || self.walk_now {
            self.walk_now = false;
            self.discover(Origin::Later);
            self.next_walk = now + self.settings.discover_interval;
        }
        self.save();
    }

    /// Looks at active files, and at some of the others, so that all are looked at every `idle_check`.
    pub(super) fn poll(&mut self, now: Instant) {
        let rounds = self.settings.timing.idle_check.as_secs_f64();
        let share = self.settings.poll_interval.as_secs_f64() / rounds.max(0.001);
        let count = (self.files.len() as f64 * share).ceil() as usize;
        let mut ids = self.files.some_after(self.cursor, count.min(self.files.len()));
        self.cursor = ids.last().copied().unwrap_or(0);
        ids.extend(self.active.iter());
        for id in ids {
            self.check(id);
        }
        let (files, watch) = (&self.files, &self.watch);
        self.active.retain(|id| {
            files.get(*id).is_some_and(|file| {
                file.is_busy()
                    || now < file.grown + ACTIVE
                    || !file.path.parent().is_some_and(|folder| watch.sees(folder))
            })
        });
        self.retry_held();
        self.limit_deleted();
    }

    /// Puts a file into the queue of files to read, and among those that are polled.
    pub(super) fn enqueue(&mut self, id: u64) {
        if let Some(file) = self.files.get_mut(id) {
            self.active.insert(id);
            if !std::mem::replace(&mut file.queued, true) {
                self.ready.push_back(id);
            }
        }
    }

    /// The time of the next line.
    pub(super) fn time_ns(&self) -> i64 {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        next_time(self.clock_ns, now.as_nanos() as i64)
    }

    /// Waits for memory; `None` when reading is to stop first.
    pub(super) async fn reserve(&mut self, bytes: usize) -> Option<Permit> {
        let out = self.out.clone();
        let mut reserve = pin!(out.reserve(bytes));
        loop {
            tokio::select! {
                biased;
                permit = &mut reserve => return Some(permit),
                () = self.wait() => {}
            }
            if self.is_stopping() {
                return None;
            }
            self.maintain();
        }
    }

    /// Hands a batch to the lane; while that is full, everything but reading goes on.
    pub(super) async fn send(&mut self, batch: Batch) {
        let out = self.out.clone();
        let mut send = pin!(out.send(batch));
        loop {
            tokio::select! {
                biased;
                () = &mut send => return,
                () = self.wait() => {}
            }
            if self.abort.reading.is_cancelled() || self.stop.finished.is_cancelled() {
                return;
            }
            if self.stop.reading.is_cancelled() {
                self.take_lost();
                self.save();
            } else {
                self.maintain();
            }
        }
    }
}

/// Now, but never again and never back, as lines of one read are a nanosecond apart. A clock that was set back by more than
/// that can explain is believed: else lines would bear the time of before until it is there again.
pub(super) fn next_time(last_ns: i64, now_ns: i64) -> i64 {
    if last_ns > now_ns.saturating_add(1_000_000_000) { now_ns } else { last_ns.max(now_ns) }
}
