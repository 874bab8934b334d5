//! The task of one observer: its inbox, its clock, its snapshots. It delays and endangers nobody's delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sentinel_contract::history::History;
use sentinel_contract::incident::{Incident, State};
use sentinel_contract::{Batch, Cause, Command, Emit, Events, Observer};
use tokio::sync::mpsc;

use crate::clock::now_ms;
use crate::commands::Request;
use crate::limit::Limits;
use crate::panic::guard;
use crate::router::Router;
use crate::telemetry::{Condition, Plugin, Telemetry};

/// Batches an inbox holds. A batch is at most about a read buffer, so this bounds what a slow observer can pin.
pub(crate) const INBOX: usize = 64;
/// How old saved state may be.
const SAVE_EVERY: Duration = Duration::from_mins(5);
/// A change of an incident is saved sooner: a process that is killed in the middle of one must know it when it comes back.
const SAVE_CHANGE: Duration = Duration::from_secs(10);
/// Its clock.
const TICK: Duration = Duration::from_secs(1);

/// The name in history of the snapshot of the observer of that alias.
pub fn observer_state(alias: &str) -> String {
    format!("observer:{alias}")
}

/// An observer at run time.
pub(crate) struct ObserverTask {
    /// The plugin.
    pub observer: Box<dyn Observer>,
    /// Builds it again after a panic.
    pub rebuild: Box<dyn Fn() -> Result<Box<dyn Observer>, Cause> + Send + Sync>,
    /// Its alias; the origin of what it emits.
    pub origin: Arc<str>,
    /// Its counters.
    pub state: Arc<Plugin>,
    /// From the lanes and the observers above. Ends when they end.
    pub inbox: mpsc::Receiver<Arc<Batch>>,
    /// From people. It may end before the inbox does.
    pub commands: mpsc::Receiver<Request>,
    /// Events that did not fit into the inbox.
    pub unseen: Arc<AtomicU64>,
    /// How many series it may emit.
    pub limits: Limits,
    /// Where its events go.
    pub router: Router,
    /// Where its snapshot goes.
    pub history: Arc<dyn History>,
    /// Where it is shown.
    pub telemetry: Arc<Telemetry>,
    /// It has told of an incident since it was saved.
    pub changed: bool,
}

impl ObserverTask {
    /// Runs until every sender of the inbox is gone; then saves.
    pub(crate) async fn run(mut self) {
        self.restore();
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut saved = Instant::now();
        let mut ticks = 0_u64;
        loop {
            tokio::select! {
                batch = self.inbox.recv() => match batch {
                    Some(batch) => self.observe(&batch),
                    None => break,
                },
                Some(request) = self.commands.recv() => self.command(request),
                _ = clock.tick() => {
                    self.tick();
                    // In words each second while somebody looks, else now and then.
                    if self.telemetry.watched() || ticks.is_multiple_of(10) {
                        self.show();
                    }
                    ticks += 1;
                    let due = if self.changed { SAVE_CHANGE } else { SAVE_EVERY };
                    if saved.elapsed() >= due {
                        self.save();
                        self.changed = false;
                        saved = Instant::now();
                    }
                }
            }
        }
        self.save();
    }

    fn observe(&mut self, batch: &Batch) {
        let counters = &self.state.counters;
        counters.received.fetch_add(batch.events.len() as u64, Relaxed);
        counters.received_bytes.fetch_add(batch.events.bytes() as u64, Relaxed);
        self.call(|observer, emit| observer.observe(batch, emit));
    }

    fn tick(&mut self) {
        let missed = self.unseen.swap(0, Relaxed) as usize;
        self.call(|observer, emit| {
            if missed > 0 {
                observer.unseen("", missed);
            }
            observer.tick(now_ms(), emit);
        });
    }

    fn command(&mut self, request: Request) {
        let Request { command, reply } = request;
        if matches!(*command, Command::Backfilled { .. }) {
            tracing::debug!(?command, "told"); // by the agent itself, and long
        } else {
            tracing::info!(?command, "told by command");
        }
        let answer = self
            .call(|observer, emit| observer.command(&command, now_ms(), emit))
            .unwrap_or_else(|| {
                Some(Err("it failed on the command, which the agent's log has; it runs on".into()))
            });
        // What was decided must survive the end of the process, and is seen at once by whoever asks next.
        if matches!(answer, Some(Ok(_))) {
            self.save();
            self.show();
        }
        let _nobody_waits = reply.send(answer);
    }

    /// `None` when it panicked.
    fn call<T>(&mut self, work: impl FnOnce(&mut dyn Observer, &mut Emit) -> T) -> Option<T> {
        let mut emit = Emit::default();
        let started = Instant::now();
        let outcome = guard(|| work(&mut *self.observer, &mut emit));
        self.state.counters.call(started.elapsed());
        let value = match outcome {
            Ok(value) => value,
            Err(words) => {
                self.build_again(words);
                return None;
            }
        };
        for mut events in emit.0 {
            self.limits.apply(&mut events, &self.state.counters);
            if let Events::Incidents(incidents) = &events {
                incidents.iter().for_each(tell);
                self.changed = true;
            }
            self.state.counters.delivered.fetch_add(events.len() as u64, Relaxed);
            let unwanted = self.router.route(Batch::new(Arc::clone(&self.origin), events));
            self.state.counters.count("no_output", unwanted as u64);
        }
        Some(value)
    }

    fn build_again(&mut self, words: String) {
        tracing::error!(error = %words, "the observer panicked and is built again from its last saved state");
        self.state.fail(Condition::Failed, words);
        self.state.counters.restarts.fetch_add(1, Relaxed);
        match (self.rebuild)() {
            Ok(observer) => {
                self.observer = observer;
                self.restore();
                self.state.set(Condition::Active);
            }
            Err(error) => tracing::error!(%error, "cannot build the observer again"),
        }
    }

    fn show(&self) {
        match guard(|| self.observer.status()) {
            Ok(status) => self.telemetry.detector(&self.origin, status),
            Err(words) => tracing::error!(error = %words, "the observer cannot say how it is"),
        }
    }

    fn state_name(&self) -> String {
        observer_state(&self.origin)
    }

    fn restore(&mut self) {
        let restored = self.history.load_state(&self.state_name()).and_then(|state| match state {
            Some(bytes) => {
                guard(|| self.observer.restore(&bytes)).map_err(|words| anyhow::anyhow!(words))?
            }
            None => Ok(()),
        });
        if let Err(error) = restored {
            tracing::warn!(error = %format!("{error:#}"), "saved state cannot be used: it learns anew");
            self.state.counters.error(now_ms(), format!("saved state cannot be used: {error:#}"));
        }
    }

    fn save(&mut self) {
        match guard(|| self.observer.snapshot()) {
            Ok(Some(bytes)) => self.history.save_state(&self.state_name(), &bytes),
            Ok(None) => {}
            Err(words) => tracing::error!(error = %words, "cannot save the observer's state"),
        }
    }
}

/// In the agent's own log too: it is what a person looks at who has just started it.
fn tell(incident: &Incident) {
    let (state, severity, message) = (incident.state, incident.severity, incident.message.as_str());
    if state == State::Notified {
        tracing::warn!(?state, ?severity, key = %incident.key, "incident: {message}");
    } else {
        tracing::info!(?state, ?severity, key = %incident.key, "incident: {message}");
    }
}
