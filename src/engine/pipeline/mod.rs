//! The running agent: every task of a plan, wired; exchanged by difference when the plan changes; stopped in the right
//! order.
//!
//! Stopping: inputs stop reading (and outlive the outputs, to take receipts), lanes drain, observers save, outputs
//! flush, the queues' disk thread writes what is left, positions and the store come last; then the deadline.
//!
//! [`start`] and [`Running::reload`] are one way: build what is new (nothing is touched when that fails), stop what
//! changed, start what is new, and exchange the routes. A start has nothing to stop.

mod cells;
mod identity;
mod install;
mod prepare;
mod retire;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::{Cause, Memory, Stop};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::commands::Commands;
use crate::config::{Plan, Shared};
use crate::dead_letters::DeadLetters;
use crate::gather::Shed;
use crate::queue::{DiskThread, Signal};
use crate::telemetry::Telemetry;
use cells::{InputCell, ObserverCell, OutputCell, TransformCell};
pub(crate) use prepare::admits;
use retire::Leaving;

/// A running agent.
pub struct Running {
    /// What it says of itself.
    pub telemetry: Arc<Telemetry>,
    /// The way to its observers.
    pub commands: Commands,
    plan: Arc<Plan>,
    shared: Shared,
    patient: Memory,
    prompt: Memory,
    shed: Shed,
    dead_letters: Arc<DeadLetters>,
    stop: Stop,
    drain: CancellationToken,
    deadline: CancellationToken,
    inputs: Vec<InputCell>,
    transforms: Vec<TransformCell>,
    observers: Vec<ObserverCell>,
    outputs: Vec<OutputCell>,
    /// Outputs that are no longer configured, while they deliver what they have.
    leaving: Vec<Leaving>,
    disks: DiskThread,
    signal: Arc<Signal>,
    ticker: JoinHandle<()>,
}

/// Starts everything. Builds first: on an error nothing has been started.
pub fn start(plan: &Arc<Plan>, shared: &Shared) -> Result<Running, Cause> {
    let budget = plan.agent.memory.0 as usize;
    // Half for sources that can wait, a quarter for what cannot (host metrics). The last quarter is not given out: it is
    // what outputs have encoded, compressed and read from disk.
    let (patient, prompt) = (Memory::new(budget / 2), Memory::new(budget / 4));
    let budgets = vec![patient.clone(), prompt.clone()];
    let telemetry = Telemetry::new(Arc::clone(&plan.host), budgets, shared.pressure.clone());
    let signal = Arc::new(Signal::default());
    let dead_letters = Arc::new(DeadLetters::new(&shared.state_dir, Arc::clone(&telemetry)));
    let mut running = Running {
        commands: Commands::new(Arc::clone(&dead_letters)),
        dead_letters,
        ticker: tokio::spawn(tick(Arc::clone(&telemetry))),
        telemetry,
        plan: Arc::clone(plan),
        shared: shared.clone(),
        patient,
        prompt,
        shed: Shed::default(),
        stop: Stop::default(),
        drain: CancellationToken::new(),
        deadline: CancellationToken::new(),
        inputs: Vec::new(),
        transforms: Vec::new(),
        observers: Vec::new(),
        outputs: Vec::new(),
        leaving: Vec::new(),
        disks: DiskThread::start(Arc::clone(&signal))?,
        signal,
    };
    let parts = running.prepare(plan)?;
    running.install(parts);
    Ok(running)
}

async fn tick(telemetry: Arc<Telemetry>) {
    let mut clock = tokio::time::interval(Duration::from_secs(1));
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut last = std::time::Instant::now();
    loop {
        clock.tick().await;
        let seconds = last.elapsed().as_secs_f64();
        last = std::time::Instant::now();
        if seconds > 0.0 {
            telemetry.tick(seconds);
        }
    }
}

impl Running {
    /// Goes over to another plan: what is the same in both runs on untouched. On an error the old plan runs on, as it was.
    /// Returns the options that changed and take effect at the next start only.
    pub async fn reload(&mut self, plan: &Arc<Plan>) -> Result<Vec<&'static str>, Cause> {
        let parts = self.prepare(plan)?;
        self.retire(&parts).await;
        let later = identity::at_the_next_start(&self.plan, plan);
        self.install(parts);
        Ok(later)
    }

    /// Stops in order, within the configured time.
    pub async fn stop(self) {
        let now = tokio::time::Instant::now();
        let patience = self.plan.agent.shutdown_timeout.0;
        let part = |share| now + patience.mul_f64(share);
        let (most, end) = (part(0.85), part(1.0));
        self.stop.reading.cancel();
        let (inputs, lanes): (Vec<_>, Vec<_>) =
            self.inputs.into_iter().map(|cell| (cell.task, cell.lane)).unzip();
        // An input that does not stop must not use up the time of those that have something to save.
        wait(lanes, part(0.3)).await;
        let (once, keyed) = ObserverCell::apart(self.observers);
        wait(once, part(0.5)).await;
        // What they emit of it is delivered too. They are ended by their input, which keeps what they know.
        let settled = async {
            for one in &keyed {
                one.settle().await;
            }
        };
        let _late = tokio::time::timeout_at(part(0.5), settled).await;
        self.drain.cancel();
        let leaving = self.leaving.into_iter().map(|one| one.task);
        let deadline = self.deadline.clone();
        let cut = tokio::spawn(async move {
            tokio::time::sleep_until(most).await;
            deadline.cancel();
        });
        wait(self.outputs.into_iter().map(|cell| cell.task).chain(leaving), part(0.9)).await;
        cut.abort();
        self.disks.stop(end).await;
        self.stop.finished.cancel();
        wait(inputs, end).await;
        self.ticker.abort();
        self.shared.history.flush();
    }
}

/// Waits for tasks; those that are late are left behind.
async fn wait(tasks: impl IntoIterator<Item = JoinHandle<()>>, until: tokio::time::Instant) {
    for mut task in tasks {
        if tokio::time::timeout_at(until, &mut task).await.is_err() {
            task.abort();
        }
    }
}
