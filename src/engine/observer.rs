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

/// An observer that runs, with what it needs to be called.
pub(crate) struct Core {
    /// The plugin.
    pub observer: Box<dyn Observer>,
    /// Builds it again after a panic.
    pub rebuild: Arc<Build>,
    /// Its alias; the origin of what it emits.
    pub origin: Arc<str>,
    /// In the order of what it emits; of a partition that partition's number.
    pub order: u64,
    /// Of a partition: how far that has come. Those below measure by it how old what is emitted is.
    pub reached_ms: Option<i64>,
    /// Its counters.
    pub state: Arc<Plugin>,
    /// How many series it may emit.
    pub limits: Limits,
    /// Where its events go.
    pub router: Router,
    /// Where it is shown, and as what.
    pub telemetry: Arc<Telemetry>,
    /// See `telemetry`.
    pub shown_as: String,
    /// It has told of an incident since it was saved.
    pub changed: bool,
    /// What it has emitted, and is not routed yet.
    pub made: Vec<Batch>,
}

/// Builds an observer.
pub(crate) type Build = dyn Fn() -> Result<Box<dyn Observer>, Cause> + Send + Sync;

/// It panicked, and was built again: it knows nothing yet.
pub(crate) struct Anew;

impl Core {
    /// Shows it a batch.
    pub(crate) fn observe(&mut self, batch: &Batch) -> Result<(), Anew> {
        let counters = &self.state.counters;
        counters.received.fetch_add(batch.events.len() as u64, Relaxed);
        counters.received_bytes.fetch_add(batch.events.bytes() as u64, Relaxed);
        self.call(|observer, emit| observer.observe(batch, emit))
    }

    /// Does what a person asks, and answers. Whether something was done.
    pub(crate) fn command(&mut self, request: Request) -> Result<bool, Anew> {
        let Request { command, reply } = request;
        if matches!(*command, Command::Backfilled { .. }) {
            tracing::debug!(?command, "told"); // by the agent itself, and long
        } else {
            tracing::info!(?command, "told by command");
        }
        let outcome = self.call(|observer, emit| observer.command(&command, now_ms(), emit));
        let (answer, outcome) = match outcome {
            Ok(answer) => {
                let done = matches!(answer, Some(Ok(_)));
                (answer, Ok(done))
            }
            Err(anew) => {
                let words = "it failed on the command, which the agent's log has; it runs on";
                (Some(Err(words.into())), Err(anew))
            }
        };
        let _nobody_waits = reply.send(answer);
        outcome
    }

    /// Calls it, and takes what it emits.
    pub(crate) fn call<T>(
        &mut self,
        work: impl FnOnce(&mut dyn Observer, &mut Emit) -> T,
    ) -> Result<T, Anew> {
        let mut emit = Emit::default();
        let started = Instant::now();
        let outcome = guard(|| work(&mut *self.observer, &mut emit));
        self.state.counters.call(started.elapsed());
        let value = outcome.map_err(|words| self.build_again(words))?;
        for mut events in emit.0 {
            self.limits.apply(&mut events, &self.state.counters);
            if let Events::Incidents(incidents) = &events {
                incidents.iter().for_each(tell);
                self.changed = true;
            }
            self.state.counters.delivered.fetch_add(events.len() as u64, Relaxed);
            let batch = Batch {
                order: self.order,
                reached_ms: self.reached_ms,
                ..Batch::new(Arc::clone(&self.origin), events)
            };
            self.made.push(batch);
        }
        Ok(value)
    }

    /// Routes what was emitted.
    fn route(&mut self) {
        for batch in self.made.drain(..) {
            let unwanted = self.router.route(batch);
            self.state.counters.count("no_output", unwanted as u64);
        }
    }

    /// The same, to observers of partitions too.
    pub(crate) async fn route_to_all(&mut self) {
        for batch in self.made.drain(..) {
            let unwanted = self.router.route_to_all(batch).await;
            self.state.counters.count("no_output", unwanted as u64);
        }
    }

    fn build_again(&mut self, words: String) -> Anew {
        tracing::error!(error = %words, "the observer panicked and is built again from its last saved state");
        self.state.fail(Condition::Failed, words);
        self.state.counters.restarts.fetch_add(1, Relaxed);
        match (self.rebuild)() {
            Ok(observer) => {
                self.observer = observer;
                self.state.set(Condition::Active);
            }
            Err(error) => tracing::error!(%error, "cannot build the observer again"),
        }
        Anew
    }

    /// In words each second while somebody looks, else now and then.
    pub(crate) fn show_now_and_then(&self, ticks: u64) {
        if self.telemetry.watched() || ticks.is_multiple_of(10) {
            self.show();
        }
    }

    /// Puts it into words.
    pub(crate) fn show(&self) {
        match guard(|| self.observer.status()) {
            Ok(status) => self.telemetry.detector(&self.shown_as, status),
            Err(words) => tracing::error!(error = %words, "the observer cannot say how it is"),
        }
    }

    /// What it was saved as cannot be used.
    pub(crate) fn unusable(&self, error: &Cause) {
        tracing::warn!(error = %format!("{error:#}"), "saved state cannot be used: it learns anew");
        self.state.counters.error(now_ms(), format!("saved state cannot be used: {error:#}"));
    }
}

/// An observer that sees all of its origins.
pub(crate) struct ObserverTask {
    /// The plugin.
    pub core: Core,
    /// From the lanes and the observers above. Ends when they end.
    pub inbox: mpsc::Receiver<Arc<Batch>>,
    /// From people. It may end before the inbox does.
    pub commands: mpsc::Receiver<Request>,
    /// Events that did not fit into the inbox.
    pub unseen: Arc<AtomicU64>,
    /// Where its snapshot goes.
    pub history: Arc<dyn History>,
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
            let outcome = tokio::select! {
                batch = self.inbox.recv() => match batch {
                    Some(batch) => self.core.observe(&batch),
                    None => break,
                },
                Some(request) = self.commands.recv() => self.command(request),
                _ = clock.tick() => {
                    let ticked = self.tick();
                    self.core.show_now_and_then(ticks);
                    ticks += 1;
                    let due = if self.core.changed { SAVE_CHANGE } else { SAVE_EVERY };
                    if saved.elapsed() >= due {
                        self.save();
                        self.core.changed = false;
                        saved = Instant::now();
                    }
                    ticked
                }
            };
            self.core.route();
            if outcome.is_err() {
                self.restore();
            }
        }
        self.save();
    }

    fn tick(&mut self) -> Result<(), Anew> {
        let missed = self.unseen.swap(0, Relaxed) as usize;
        self.core.call(|observer, emit| {
            if missed > 0 {
                observer.unseen("", missed);
            }
            observer.tick(now_ms(), emit);
        })
    }

    fn command(&mut self, request: Request) -> Result<(), Anew> {
        // What was decided must survive the end of the process, and is seen at once by whoever asks next.
        if self.core.command(request)? {
            self.save();
            self.core.show();
        }
        Ok(())
    }

    fn state_name(&self) -> String {
        observer_state(&self.core.origin)
    }

    fn restore(&mut self) {
        let observer = &mut self.core.observer;
        let state = self.history.load_state(&observer_state(&self.core.origin));
        let restored = state.and_then(|state| match state {
            Some(bytes) => {
                guard(|| observer.restore(&bytes)).map_err(|words| anyhow::anyhow!(words))?
            }
            None => Ok(()),
        });
        if let Err(error) = restored {
            self.core.unusable(&error);
        }
    }

    fn save(&mut self) {
        match guard(|| self.core.observer.snapshot()) {
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
