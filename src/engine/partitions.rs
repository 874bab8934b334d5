//! Observers that are kept one a partition of an input ([`sentinel_contract::partition`]): one set of them for each partition
//! that is ours, begun and ended as the input says, each observer on a task of its own.
//!
//! Their clock is the partition's: how far its messages have come, and it goes on with ours when the input says that there are no
//! more. So a consumer that stands still (its outputs are down, it was away) calls nobody for a silence that is its own, and
//! one that reads what has piled up judges it as it would have been judged in time.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sentinel_contract::partition::Turn;
use sentinel_contract::{Batch, Observer, Part};
use tokio::sync::{mpsc, oneshot};

use crate::clock::now_ms;
use crate::commands::{Commands, Request};
use crate::limit::Limits;
use crate::observer::{Anew, Build, Core, INBOX};
use crate::panic::guard;
use crate::router::{Inboxes, Router, RouterHandle, Routes, Seen};
use crate::telemetry::{Plugin, Telemetry};

/// How often it is shown.
const TICK: Duration = Duration::from_secs(1);
/// The partition's clock is told to those below when it has moved by this much.
const STEP_MS: i64 = 1000;
/// How long one observer may take to give what it knows; see [`sentinel_contract::Observers`].
const PATIENCE: Duration = Duration::from_secs(60);

/// An observer of which there is one a partition.
pub(crate) struct Keyed {
    /// Its alias.
    pub alias: Arc<str>,
    /// Counters of all of them together.
    pub state: Arc<Plugin>,
    /// Builds one.
    pub build: Arc<Build>,
    /// Limits of one.
    pub limits: Box<dyn Fn() -> Limits + Send + Sync>,
    /// Those that run, by partition.
    pub inboxes: Arc<Inboxes>,
    /// Where they emit to.
    pub routes: Mutex<(Routes, Vec<RouterHandle>)>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Keyed {
    /// From the next batch on.
    pub(crate) fn set_routes(&self, routes: Routes) {
        let mut current = lock(&self.routes);
        current.1.retain(|router| router.set(routes.clone()));
        current.0 = routes;
    }

    /// Waits until all that came is seen.
    pub(crate) async fn settle(&self) {
        let inboxes: Vec<_> = lock(&self.inboxes).values().cloned().collect();
        for inbox in inboxes {
            let (sender, answer) = oneshot::channel();
            if inbox.send(Seen::Ping(sender)).await.is_ok() {
                let _ended = answer.await;
            }
        }
    }

    /// All of them end when they have seen what is there.
    pub(crate) fn end(&self) {
        lock(&self.inboxes).clear();
    }

    fn router(&self) -> Router {
        let mut routes = lock(&self.routes);
        let router = Router::new(routes.0.clone());
        routes.1.push(router.handle());
        router
    }
}

/// The observers of one input, from the first to the last: one emits to those below it.
pub(crate) struct Sets {
    pub chain: Vec<Arc<Keyed>>,
    pub commands: Commands,
    pub telemetry: Arc<Telemetry>,
}

impl Sets {
    /// Does what the input says, until that has ended.
    pub(crate) async fn run(self, mut turns: mpsc::Receiver<Turn>) {
        while let Some(turn) = turns.recv().await {
            match turn {
                Turn::Begin { order, name, parts, done } => {
                    self.begin(order, &name, parts);
                    let _late = done.send(());
                }
                Turn::Save { order, last, parts } => self.save(order, last, &parts).await,
                Turn::Forget { order } => {
                    for keyed in &self.chain {
                        lock(&keyed.inboxes).remove(&order);
                    }
                }
                Turn::Unsaved { order } => {
                    for inbox in self.of(order) {
                        let _ended = inbox.send(Seen::Unsaved).await;
                    }
                }
                Turn::Reached { order, now_ms } => {
                    for inbox in self.of(order) {
                        let _busy = inbox.try_send(Seen::Calm(now_ms)); // another follows
                    }
                }
            }
        }
        self.chain.iter().for_each(|keyed| keyed.end());
    }

    /// The inboxes of a partition's observers.
    fn of(&self, order: u64) -> Vec<mpsc::Sender<Seen>> {
        self.chain.iter().filter_map(|keyed| lock(&keyed.inboxes).get(&order).cloned()).collect()
    }

    fn begin(&self, order: u64, name: &str, parts: Vec<Part>) {
        let mut by_alias: HashMap<Arc<str>, Vec<(String, Vec<u8>)>> = HashMap::new();
        for Part { observer, name, bytes } in parts {
            by_alias.entry(observer).or_default().extend(bytes.map(|bytes| (name, bytes)));
        }
        for keyed in self.chain.iter().rev() {
            let parts = by_alias.remove(&keyed.alias).unwrap_or_default();
            let Some(observer) = fresh(keyed) else { continue };
            let core = Core {
                observer,
                rebuild: Arc::clone(&keyed.build),
                origin: Arc::clone(&keyed.alias),
                order,
                reached_ms: None,
                state: Arc::clone(&keyed.state),
                limits: (keyed.limits)(),
                router: keyed.router(),
                telemetry: Arc::clone(&self.telemetry),
                shown_as: format!("{} {name}", keyed.alias),
                changed: false,
                made: Vec::new(),
            };
            let (inbox, seen) = mpsc::channel(INBOX);
            let commands = self.commands.join(&keyed.alias);
            let one = One {
                core,
                seen,
                commands,
                known: HashMap::new(),
                reached_ms: i64::MIN,
                spoke: None,
                to_tell: None,
            };
            tokio::spawn(one.run(parts));
            lock(&keyed.inboxes).insert(order, inbox);
        }
    }

    async fn save(&self, order: u64, last: bool, parts: &mpsc::Sender<Part>) {
        for keyed in &self.chain {
            // What the one above emitted is in the inbox before this.
            let inbox = {
                let mut inboxes = lock(&keyed.inboxes);
                if last { inboxes.remove(&order) } else { inboxes.get(&order).cloned() }
            };
            let Some(inbox) = inbox else { continue };
            let (done, told) = oneshot::channel();
            let saved = async {
                let _ended = inbox.send(Seen::Save { parts: parts.clone(), last, done }).await;
                let _ended = told.await;
            };
            let _late = tokio::time::timeout(PATIENCE, saved).await;
        }
    }
}

fn fresh(keyed: &Keyed) -> Option<Box<dyn Observer>> {
    let mut observer = (keyed.build)()
        .inspect_err(|error| {
            let error = format!("{error:#}");
            tracing::error!(%error, alias = &*keyed.alias, "cannot build the observer");
        })
        .ok()?;
    observer.of_a_partition();
    Some(observer)
}

/// One observer of one partition.
struct One {
    core: Core,
    seen: mpsc::Receiver<Seen>,
    commands: mpsc::Receiver<Request>,
    /// The parts that were given, as they were.
    known: HashMap<String, u64>,
    /// How far the partition has come, as far as those below know.
    reached_ms: i64,
    /// How far it is to be told to those below, once what it made of it is routed.
    to_tell: Option<i64>,
    /// The time of the last message, and when it was seen.
    spoke: Option<(i64, i64)>,
}

impl One {
    async fn run(mut self, parts: Vec<(String, Vec<u8>)>) {
        self.restore(parts);
        let mut clock = tokio::time::interval(TICK);
        clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut ticks = 0_u64;
        loop {
            let outcome = tokio::select! {
                seen = self.seen.recv() => match seen {
                    Some(Seen::Batch(batch)) => self.observe(&batch),
                    Some(Seen::Reached(now_ms)) => self.reach(now_ms),
                    Some(Seen::Calm(at_ms)) => self.calm(at_ms),
                    Some(Seen::Unsaved) => {
                        self.known.values_mut().for_each(|version| *version = 0);
                        Ok(())
                    }
                    Some(Seen::Ping(answer)) => {
                        let _nobody_waits = answer.send(());
                        Ok(())
                    }
                    Some(Seen::Save { parts, last, done }) => {
                        self.save(&parts).await;
                        let _nobody_waits = done.send(());
                        if last {
                            break;
                        }
                        Ok(())
                    }
                    None => break,
                },
                Some(request) = self.commands.recv() => self.core.command(request).map(drop),
                _ = clock.tick() => {
                    self.core.show_now_and_then(ticks);
                    ticks += 1;
                    Ok(())
                }
            };
            self.core.route_to_all().await;
            if let Some(now_ms) = self.to_tell.take() {
                self.core.router.reached(self.core.order, now_ms);
            }
            if outcome.is_err() {
                self.core.observer.of_a_partition(); // and learns anew; what was kept is written over
                self.known.values_mut().for_each(|version| *version = 0);
            }
        }
        self.core.telemetry.forget_detector(&self.core.shown_as);
    }

    fn observe(&mut self, batch: &Batch) -> Result<(), Anew> {
        self.core.reached_ms = self.core.reached_ms.max(batch.reached_ms);
        self.core.observe(batch)?;
        let Some(reached_ms) = batch.reached_ms else { return Ok(()) };
        self.spoke = Some((reached_ms, now_ms()));
        self.reach(reached_ms)
    }

    /// Nothing came since the last message: its partition's clock has gone on as long as ours. Not further: what comes next may be
    /// as old as that was, from hosts that send what has piled up with them.
    fn calm(&mut self, at_ms: i64) -> Result<(), Anew> {
        match self.spoke {
            Some((reached_ms, seen_ms)) => self.reach(reached_ms + (at_ms - seen_ms).max(0)),
            None => Ok(()),
        }
    }

    fn reach(&mut self, now_ms: i64) -> Result<(), Anew> {
        if now_ms < self.reached_ms.saturating_add(STEP_MS) {
            return Ok(());
        }
        self.reached_ms = now_ms;
        self.core.reached_ms = self.core.reached_ms.max(Some(now_ms));
        self.core.call(|observer, emit| observer.tick(now_ms, emit))?;
        self.to_tell = Some(now_ms);
        Ok(())
    }

    fn restore(&mut self, parts: Vec<(String, Vec<u8>)>) {
        let known: Vec<String> = parts.iter().map(|(name, _)| name.clone()).collect();
        let observer = &mut self.core.observer;
        let restored = guard(|| observer.restore_parts(parts))
            .unwrap_or_else(|words| Err(anyhow::anyhow!(words)));
        match restored {
            // What is there is known as what the observer now says that it is.
            Ok(()) => {
                let known: BTreeSet<String> = known.into_iter().collect();
                let parts = self.core.observer.parts();
                self.known = parts.into_iter().filter(|(name, _)| known.contains(name)).collect();
                let gone = known.into_iter().filter(|name| !self.known.contains_key(name));
                let gone: Vec<_> = gone.map(|name| (name, 0)).collect();
                self.known.extend(gone); // is told to be gone when parts are next given
            }
            Err(error) => {
                self.core.unusable(&error);
                // What is there is written over, or goes.
                self.known = known.into_iter().map(|name| (name, 0)).collect();
            }
        }
    }

    /// Gives what changed.
    async fn save(&mut self, to: &mpsc::Sender<Part>) {
        let part = |name: &str, bytes| Part {
            observer: Arc::clone(&self.core.origin),
            name: name.to_owned(),
            bytes,
        };
        let mut now = HashMap::new();
        for (name, version) in self.core.observer.parts() {
            let same = version != 0 && self.known.get(&name) == Some(&version);
            if !same {
                let observer = &self.core.observer;
                let bytes = guard(|| observer.part(&name)).unwrap_or_else(|words| {
                    tracing::error!(error = %words, "cannot save the observer's state");
                    None
                });
                if bytes.is_none() {
                    now.insert(name, 0); // it is there, and could not be read: next time
                    continue;
                }
                if to.send(part(&name, bytes)).await.is_err() {
                    return; // nobody waits for it any more
                }
            }
            now.insert(name, version);
        }
        for name in self.known.keys().filter(|name| !now.contains_key(*name)) {
            if to.send(part(name, None)).await.is_err() {
                return;
            }
        }
        self.known = now;
    }
}
