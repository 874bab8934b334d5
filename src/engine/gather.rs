//! The clock of a polled input, and the thread its collectors run on.
//!
//! Collectors run one after the other on one thread. A call that outlasts its deadline keeps that thread; the others
//! go on with a new one, and the hung collector is not called again until its call returns.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sentinel_contract::pressure::Level;
use sentinel_contract::{Batch, Cause, Collector, Events, Log, Memory, Metric, Now, Pressure};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::panic::guard;
use crate::queue::Queue;
use crate::telemetry::{Condition, Plugin};

/// A polled input at run time.
pub struct GatherTask {
    /// The input's alias.
    pub origin: Arc<str>,
    /// Its collectors.
    pub collectors: Vec<Collector>,
    /// Builds them again; used for one that panicked.
    pub rebuild: Box<dyn Fn() -> Result<Vec<Collector>, Cause> + Send + Sync>,
    /// Its condition and counters.
    pub state: Arc<Plugin>,
    /// When to gather.
    pub schedule: Schedule,
    /// The share of the budget for what cannot wait.
    pub memory: Memory,
    /// While the host is very short, collectors that may be left out are.
    pub pressure: Pressure,
    /// The queues that can make room in it.
    pub queues: Shed,
    /// To the lane.
    pub lane: mpsc::Sender<Batch>,
    /// Cancelled: gather no more.
    pub reading: CancellationToken,
    /// Nothing has been gathered yet.
    pub first: bool,
}

/// The queues of all outputs, as they are now: they share the budget of what cannot wait.
#[derive(Clone, Default)]
pub struct Shed(Arc<Mutex<Vec<Arc<Queue>>>>);

impl Shed {
    /// After a reload.
    pub(crate) fn set(&self, queues: Vec<Arc<Queue>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = queues;
    }

    /// Each gives up its oldest entry that is in memory only; false when none has one.
    fn shed(&self) -> bool {
        let queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queues.iter().filter(|queue| queue.shed()).count() > 0
    }
}

/// When to gather.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// How often.
    pub interval: Duration,
    /// At whole multiples of it.
    pub round: bool,
    /// This host's share of the jitter.
    pub delay: Duration,
}

impl Schedule {
    /// Of an input. One host always waits for the same part of the jitter: its samples keep their distance.
    pub fn new(interval: Duration, round: bool, jitter: Duration, host: &str) -> Self {
        let hash = host.bytes().fold(0_u64, |hash, byte| hash.wrapping_mul(31) + u64::from(byte));
        // An input that is gathered more often than the jitter lasts keeps its own interval.
        let delay = jitter.min(interval).mul_f64((hash % 1000) as f64 / 1000.0);
        Schedule { interval, round, delay }
    }

    /// How long until the next gather, and the time its samples get.
    pub fn next(&self, now_ms: i64) -> (Duration, i64) {
        let interval = self.interval_ms();
        let at = if self.round {
            now_ms - now_ms.rem_euclid(interval) + interval
        } else {
            now_ms + interval
        };
        (Duration::from_millis((at - now_ms) as u64) + self.delay, at)
    }

    /// The gather after the one planned for `planned`. A clock that is being slowed down may stand just before
    /// `planned` still: the same moment is not gathered twice.
    pub fn after(&self, planned: i64, now_ms: i64) -> (Duration, i64) {
        if self.is_stale(planned, now_ms) || now_ms >= planned {
            return self.next(now_ms);
        }
        let (wait, at) = self.next(planned);
        (wait + Duration::from_millis((planned - now_ms) as u64), at)
    }

    /// Whether `now_ms` is too far from when the gather of `planned` was due to give its samples that time.
    pub fn is_stale(&self, planned: i64, now_ms: i64) -> bool {
        let due = planned + self.delay.as_millis() as i64;
        (now_ms - due).abs() > self.interval_ms()
    }

    fn interval_ms(&self) -> i64 {
        self.interval.as_millis() as i64
    }
}

/// A collector and where it is.
enum Slot {
    Idle(Collector),
    /// Its call outlasted the deadline: it comes back here.
    Hung(&'static str, oneshot::Receiver<Done>),
    /// It panicked: built again at the next tick.
    Broken(&'static str),
}

/// A finished call.
struct Done {
    collector: Collector,
    samples: Vec<Metric>,
    logs: Vec<Log>,
    outcome: Result<Result<(), Cause>, String>,
    took: Duration,
}

struct Job {
    collector: Collector,
    now: Now,
    samples: Vec<Metric>,
    reply: oneshot::Sender<Done>,
}

impl GatherTask {
    /// Gathers at once and after a second, so that rates and the page have something to show, then on schedule.
    pub async fn run(mut self) {
        let mut worker = Worker::start(&self.origin);
        let mut slots: Vec<Slot> =
            std::mem::take(&mut self.collectors).into_iter().map(Slot::Idle).collect();
        let mut wait = (Duration::ZERO, now_ms());
        let mut early = 1;
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait.0) => {}
                () = self.reading.cancelled() => return,
            }
            // A step of the clock, or a suspended machine, must not give old samples a new time or the reverse.
            let planned = wait.1;
            let time_ms =
                if self.schedule.is_stale(planned, now_ms()) { now_ms() } else { planned };
            self.gather(&mut slots, &mut worker, time_ms).await;
            wait = self.schedule.after(planned, now_ms());
            if early > 0 && wait.0 > Duration::from_millis(2500) {
                early -= 1;
                wait = (Duration::from_secs(1), now_ms() + 1000);
            }
        }
    }

    async fn gather(&mut self, slots: &mut [Slot], worker: &mut Worker, time_ms: i64) {
        let now = Now { time_ms, instant: Instant::now() };
        let mut samples = Vec::new();
        let mut logs = Vec::new();
        // Handed to each call in turn. A call that hangs keeps it, and nothing that others have gathered.
        let mut buffer = Vec::new();
        let mut failed = false;
        let mut hung = false;
        for slot in slots.iter_mut() {
            self.revive(slot, &mut logs);
            if self.pauses(slot) {
                continue;
            }
            let Slot::Idle(_) = slot else {
                hung = true;
                continue;
            };
            let Slot::Idle(collector) = std::mem::replace(slot, Slot::Broken("")) else { continue };
            let (name, deadline) = (collector.name, collector.deadline);
            let mut reply = worker.submit(collector, now, std::mem::take(&mut buffer));
            match tokio::time::timeout(deadline, &mut reply).await {
                Ok(Ok(mut done)) => {
                    samples.append(&mut done.samples);
                    logs.append(&mut done.logs);
                    buffer = std::mem::take(&mut done.samples);
                    let (next, error) = self.settle(name, done);
                    *slot = next;
                    failed |= error;
                }
                Ok(Err(_gone)) => {
                    self.state.counters.error(time_ms, format!("{name}: no thread to gather on"));
                    *slot = Slot::Broken(name);
                    *worker = Worker::start(&self.origin);
                    failed = true;
                }
                Err(_late) => {
                    tracing::warn!(
                        collector = name,
                        deadline_s = deadline.as_secs_f32(),
                        "hung: the others go on without it"
                    );
                    self.state.counters.note(
                        name,
                        format!("collector {name} has not answered within {deadline:?}"),
                    );
                    self.state
                        .counters
                        .error(time_ms, format!("{name}: no answer within {deadline:?}"));
                    *slot = Slot::Hung(name, reply);
                    *worker = Worker::start(&self.origin);
                    hung = true;
                }
            }
        }
        self.state.set(match (hung, failed) {
            (true, _) => Condition::Hung,
            (_, true) => Condition::Failed,
            _ => Condition::Active,
        });
        if !samples.is_empty() && std::mem::take(&mut self.first) {
            tracing::info!(series = samples.len(), "collecting");
        }
        self.emit(Events::Metrics(samples)).await;
        self.emit(Events::Logs(logs)).await;
    }

    /// Whether the host is too short for this one now.
    fn pauses(&self, slot: &Slot) -> bool {
        let Slot::Idle(Collector { name, spare: true, .. }) = slot else { return false };
        let (counters, about) = (&self.state.counters, format!("{name} pauses"));
        let pauses = self.pressure.level() >= Level::Processes;
        if pauses {
            counters.count("paused_gathers", 1);
            counters.note(&about, format!("{name} is not collected while the host is very short"));
        } else {
            counters.clear_note(&about);
        }
        pauses
    }

    /// Takes back a collector whose call returned at last, or builds one that panicked.
    fn revive(&self, slot: &mut Slot, logs: &mut Vec<Log>) {
        match slot {
            Slot::Idle(_) => {}
            Slot::Hung(name, reply) => {
                let name = *name;
                if let Ok(mut done) = reply.try_recv() {
                    tracing::info!(
                        collector = name,
                        took_s = done.took.as_secs_f32(),
                        "answers again"
                    );
                    self.state.counters.clear_note(name);
                    logs.append(&mut done.logs); // they have a time of their own
                    *slot = self.settle(name, done).0; // its samples are too old to be told
                }
            }
            Slot::Broken(name) => match (self.rebuild)() {
                Ok(all) => {
                    if let Some(collector) =
                        all.into_iter().find(|collector| collector.name == *name)
                    {
                        self.state.counters.restarts.fetch_add(1, Relaxed);
                        *slot = Slot::Idle(collector);
                    }
                }
                Err(error) => tracing::error!(%error, "cannot build the collector again"),
            },
        }
    }

    /// Where the collector of a finished call goes, and whether it failed.
    fn settle(&self, name: &'static str, done: Done) -> (Slot, bool) {
        self.state.counters.call(done.took);
        match done.outcome {
            Ok(Ok(())) => (Slot::Idle(done.collector), false),
            Ok(Err(error)) => {
                tracing::warn!(collector = name, error = %format!("{error:#}"), "cannot collect");
                self.state.counters.error(now_ms(), format!("{name}: {error:#}"));
                (Slot::Idle(done.collector), true)
            }
            Err(words) => {
                tracing::error!(collector = name, error = %words, "the collector panicked and is built again");
                self.state.counters.error(now_ms(), format!("{name}: {words}"));
                (Slot::Broken(name), true)
            }
        }
    }

    async fn emit(&mut self, events: Events) {
        if events.is_empty() {
            return;
        }
        let bytes = match &events {
            Events::Metrics(samples) => samples.capacity() * size_of::<Metric>(),
            events => events.bytes(),
        };
        let permit = loop {
            if let Some(permit) = self.memory.try_acquire(bytes) {
                break permit;
            }
            // The oldest samples make room for the newest.
            if !self.queues.shed() {
                self.state.counters.drop_events("memory", events.len() as u64);
                return;
            }
        };
        let mut batch = Batch::new(Arc::clone(&self.origin), events);
        batch.permit = Some(permit);
        let _gone_at_shutdown = self.lane.send(batch).await;
    }
}

/// The thread that collectors run on.
struct Worker {
    jobs: std::sync::mpsc::SyncSender<Job>,
}

impl Worker {
    fn start(origin: &str) -> Self {
        let (jobs, queue) = std::sync::mpsc::sync_channel::<Job>(1);
        let work = move || {
            for Job { mut collector, now, mut samples, reply } in queue {
                let started = Instant::now();
                let mut logs = Vec::new();
                let outcome = guard(|| {
                    let outcome = collector.gather.gather(now, &mut samples);
                    collector.gather.logs(&mut logs);
                    outcome
                });
                let done = Done { collector, samples, logs, outcome, took: started.elapsed() };
                let _nobody_waits = reply.send(done);
            }
        };
        // A thread that cannot be started shows as a collector that is gone, and is tried again at the next tick.
        let started =
            std::thread::Builder::new().name(origin.to_owned()).stack_size(256 << 10).spawn(work);
        if let Err(error) = started {
            tracing::error!(%error, "cannot start a thread to gather on");
        }
        Worker { jobs }
    }

    fn submit(
        &self,
        collector: Collector,
        now: Now,
        samples: Vec<Metric>,
    ) -> oneshot::Receiver<Done> {
        let (reply, done) = oneshot::channel();
        let _gone = self.jobs.send(Job { collector, now, samples, reply });
        done
    }
}

/// One gather of some collectors on this thread, for `once`: twice, a second apart, so that rates have a value.
pub fn twice(collectors: &mut [Collector]) -> (Vec<Metric>, Vec<(&'static str, Cause)>) {
    let mut samples = Vec::new();
    let mut errors = Vec::new();
    for round in 0..2 {
        if round > 0 {
            std::thread::sleep(Duration::from_secs(1));
        }
        samples.clear();
        errors.clear();
        let now = Now { time_ms: now_ms(), instant: Instant::now() };
        for collector in collectors.iter_mut() {
            match guard(|| collector.gather.gather(now, &mut samples)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => errors.push((collector.name, error)),
                Err(words) => errors.push((collector.name, anyhow::anyhow!(words))),
            }
        }
    }
    (samples, errors)
}
