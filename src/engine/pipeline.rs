//! The running agent: every task of a plan, wired, and stopped in the right order.
//!
//! Stopping: inputs stop reading (and outlive the outputs, to take receipts), lanes drain, observers save, outputs
//! flush, positions and the store come last; then the deadline.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sentinel_contract::{Batch, Cause, Emitter, Input, Memory, Output, Processor, Stop};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::commands::Commands;
use crate::config::{Plan, Role, Shared, Spec};
use crate::dead_letters::DeadLetters;
use crate::gather::{GatherTask, Schedule};
use crate::lane::{Lane, Stage};
use crate::observer::{INBOX, ObserverTask};
use crate::output::{BatchLimits, OutputTask};
use crate::queue::{self, DiskThread, Keeper, MemoryLimits, Signal};
use crate::router::{ObserverPort, OutputPort, Router};
use crate::service::ServiceTask;
use crate::telemetry::{Plugin, Telemetry};

/// Batches between an input and its lane; bounded by their memory permits too.
const LANE: usize = 16;

/// A running agent.
pub struct Running {
    /// What it says of itself.
    pub telemetry: Arc<Telemetry>,
    /// The way to its observers.
    pub commands: Commands,
    stop: Stop,
    drain: CancellationToken,
    deadline: CancellationToken,
    inputs: Vec<JoinHandle<()>>,
    lanes: Vec<JoinHandle<()>>,
    observers: Vec<JoinHandle<()>>,
    outputs: Vec<JoinHandle<()>>,
    disks: DiskThread,
    ticker: JoinHandle<()>,
    shared: Shared,
    patience: Duration,
}

/// What is built before any task runs, so that a plan either starts whole or not at all.
struct Wiring<'p> {
    plan: &'p Arc<Plan>,
    shared: &'p Shared,
    telemetry: Arc<Telemetry>,
    dead_letters: Arc<DeadLetters>,
    patient: Memory,
    prompt: Memory,
    stop: Stop,
    drain: CancellationToken,
    deadline: CancellationToken,
    /// Each output's port and the origins it admits.
    outputs: Vec<(OutputPort, Vec<String>)>,
    /// Each observer's port and the origins it admits.
    observers: Vec<(ObserverPort, Vec<String>)>,
    /// The way of commands to them.
    commands: Commands,
    /// What keeps the outputs' queues on disk, and what wakes it.
    keepers: Vec<Keeper>,
    disk: Arc<Signal>,
}

/// Starts everything. Builds first: on an error nothing has been started.
pub fn start(plan: &Arc<Plan>, shared: &Shared) -> Result<Running, Cause> {
    let budget = plan.agent.memory.0 as usize;
    // Three quarters for sources that can wait, one for what cannot (host metrics).
    let (patient, prompt) = (Memory::new(budget / 4 * 3), Memory::new(budget / 4));
    let telemetry = Telemetry::new(Arc::clone(&plan.host), vec![patient.clone(), prompt.clone()]);
    let dead_letters = Arc::new(DeadLetters::new(&shared.state_dir, Arc::clone(&telemetry)));
    let mut wiring = Wiring {
        commands: Commands::new(Arc::clone(&dead_letters)),
        dead_letters,
        plan,
        shared,
        telemetry: Arc::clone(&telemetry),
        patient,
        prompt,
        stop: Stop::default(),
        drain: CancellationToken::new(),
        deadline: CancellationToken::new(),
        outputs: Vec::new(),
        observers: Vec::new(),
        keepers: Vec::new(),
        disk: Arc::default(),
    };
    let inputs = wiring.inputs()?;
    let states: Vec<_> = wiring.states();
    let outputs = wiring.outputs()?;
    let observers = wiring.observers(&states)?;
    let (inputs, lanes) = wiring.lanes(inputs, &states)?;
    // The ports in the wiring hold the observers' inboxes open: only lanes and observers may.
    let Wiring {
        stop,
        drain,
        deadline,
        outputs: ports,
        observers: inboxes,
        commands,
        keepers,
        disk,
        ..
    } = wiring;
    drop((ports, inboxes));
    let aliases: Vec<&str> = plan.outputs.iter().map(|spec| &*spec.alias).collect();
    queue::warn_of_orphans(&shared.state_dir, &aliases);
    let running = Running {
        disks: DiskThread::start(disk, keepers)?,
        ticker: tokio::spawn(tick(Arc::clone(&telemetry))),
        telemetry,
        commands,
        stop,
        drain,
        deadline,
        inputs: inputs.into_iter().map(Task::spawn).collect(),
        lanes: lanes.into_iter().map(Task::spawn).collect(),
        observers: observers.into_iter().map(Task::spawn).collect(),
        outputs: outputs.into_iter().map(Task::spawn).collect(),
        shared: shared.clone(),
        patience: plan.agent.shutdown_timeout.0,
    };
    Ok(running)
}

/// A task with the name its log lines carry.
struct Task {
    span: tracing::Span,
    work: std::pin::Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Task {
    fn new(
        role: Role,
        name: &str,
        alias: &str,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let plugin = format!("{}.{name}", role.table());
        let span = if name == alias {
            tracing::info_span!("plugin", plugin)
        } else {
            tracing::info_span!("plugin", plugin, alias)
        };
        Task { span, work: Box::pin(work) }
    }

    fn spawn(self) -> JoinHandle<()> {
        tokio::spawn(self.work.instrument(self.span))
    }
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

/// An input that is built and has its place in `status`.
struct BuiltInput {
    index: usize,
    input: Input,
    state: Arc<Plugin>,
}

fn admits(from: &[String], origin: &str) -> bool {
    from.is_empty() || from.iter().any(|name| name == origin)
}

impl Wiring<'_> {
    fn inputs(&self) -> Result<Vec<BuiltInput>, Cause> {
        let plan = self.plan;
        let build = |(index, spec): (usize, &Spec<Input>)| {
            let input = spec.build(&plan.context(Role::Input, spec, self.shared))?;
            let state = self.telemetry.add(Role::Input, spec.entry.name, &spec.alias);
            Ok(BuiltInput { index, input, state })
        };
        plan.inputs.iter().enumerate().map(build).collect()
    }

    /// The places of the processors in `status`, in the order of the file.
    fn states(&self) -> Vec<Arc<Plugin>> {
        let specs = self.plan.processors.iter();
        specs
            .map(|(spec, _)| self.telemetry.add(Role::Processor, spec.entry.name, &spec.alias))
            .collect()
    }

    fn outputs(&mut self) -> Result<Vec<Task>, Cause> {
        let plan = Arc::clone(self.plan);
        let share = self.prompt.capacity() / plan.outputs.len().max(1);
        let mut tasks = Vec::new();
        for (index, spec) in plan.outputs.iter().enumerate() {
            let state = self.telemetry.add(Role::Output, spec.entry.name, &spec.alias);
            let output = spec.build(&plan.context(Role::Output, spec, self.shared))?;
            // Of the patient part a quarter may wait in memory for one output: the rest is for reading on.
            let memory = MemoryLimits { kept: self.patient.capacity() / 4, direct: share };
            let (options, counters) = (spec.common.disk(), &state.counters);
            let state_dir = &self.shared.state_dir;
            let (queue, keepers) =
                queue::queue(state_dir, &spec.alias, memory, &options, counters, &self.disk);
            self.keepers.extend(keepers);
            self.dead_letters.serve(&spec.alias, &queue, output.accepts());
            let port = OutputPort {
                queue: Arc::clone(&queue),
                accepts: output.accepts(),
                filter: spec.common.filter()?.map(Arc::new),
            };
            self.outputs.push((port, spec.common.from.clone()));
            let (again, shared) = (Arc::clone(&plan), self.shared.clone());
            let rebuild = move || {
                let spec = &again.outputs[index];
                spec.build(&again.context(Role::Output, spec, &shared))
            };
            let task = OutputTask {
                limits: limits(spec, plan.agent.flush_interval.0),
                output,
                rebuild: Box::new(rebuild),
                queue,
                state,
                dead_letters: Arc::clone(&self.dead_letters),
                drain: self.drain.clone(),
                deadline: self.deadline.clone(),
            };
            tasks.push(Task::new(Role::Output, spec.entry.name, &spec.alias, task.run()));
        }
        Ok(tasks)
    }

    /// From the last to the first: an observer emits to those below it.
    fn observers(&mut self, states: &[Arc<Plugin>]) -> Result<Vec<Task>, Cause> {
        let plan = Arc::clone(self.plan);
        let mut tasks = Vec::new();
        for (index, (spec, is_observer)) in plan.processors.iter().enumerate().rev() {
            if !is_observer {
                continue;
            }
            let (again, shared) = (Arc::clone(&plan), self.shared.clone());
            let rebuild = move || {
                let spec = &again.processors[index].0;
                match spec.build(&again.context(Role::Processor, spec, &shared))? {
                    Processor::Observer(observer) => Ok(observer),
                    Processor::Transform(_) => Err(anyhow::anyhow!("is no longer an observer")),
                }
            };
            let (inbox, batches) = mpsc::channel(INBOX);
            let unseen = Arc::new(AtomicU64::new(0));
            let state = Arc::clone(&states[index]);
            let task = ObserverTask {
                observer: rebuild()?,
                rebuild: Box::new(rebuild),
                origin: Arc::clone(&spec.alias),
                state: Arc::clone(&state),
                inbox: batches,
                commands: self.commands.add(&spec.alias),
                unseen: Arc::clone(&unseen),
                router: self.router(&spec.alias),
                history: Arc::clone(&self.shared.history),
                telemetry: Arc::clone(&self.telemetry),
                changed: false,
            };
            tasks.push(Task::new(Role::Processor, spec.entry.name, &spec.alias, task.run()));
            let port = ObserverPort { inbox, unseen, state };
            self.observers.push((port, spec.common.from.clone()));
        }
        Ok(tasks)
    }

    /// Where an origin's batches go, among the outputs and the observers wired so far.
    fn router(&self, origin: &str) -> Router {
        let outputs = self.outputs.iter().filter(|(_, from)| admits(from, origin));
        let observers = self.observers.iter().filter(|(_, from)| admits(from, origin));
        Router {
            outputs: outputs.map(|(port, _)| port.clone()).collect(),
            observers: observers.map(|(port, _)| port.clone()).collect(),
        }
    }

    fn stages(&self, origin: &str, states: &[Arc<Plugin>]) -> Result<Vec<Stage>, Cause> {
        let mut stages = Vec::new();
        for (index, (spec, is_observer)) in self.plan.processors.iter().enumerate() {
            if *is_observer || !admits(&spec.common.from, origin) {
                continue;
            }
            let (again, shared) = (Arc::clone(self.plan), self.shared.clone());
            let rebuild = move || {
                let spec = &again.processors[index].0;
                match spec.build(&again.context(Role::Processor, spec, &shared))? {
                    Processor::Transform(transform) => Ok(transform),
                    Processor::Observer(_) => Err(anyhow::anyhow!("is no longer a transform")),
                }
            };
            let state = Arc::clone(&states[index]);
            stages.push(Stage { transform: rebuild()?, rebuild: Box::new(rebuild), state });
        }
        Ok(stages)
    }

    fn lanes(
        &self,
        inputs: Vec<BuiltInput>,
        states: &[Arc<Plugin>],
    ) -> Result<(Vec<Task>, Vec<Task>), Cause> {
        let (mut tasks, mut lanes) = (Vec::new(), Vec::new());
        for BuiltInput { index, input, state } in inputs {
            let spec = &self.plan.inputs[index];
            let (sender, batches) = mpsc::channel(LANE);
            let lane = Lane {
                batches,
                input: Arc::clone(&state),
                filter: spec.common.filter()?,
                stages: self.stages(&spec.alias, states)?,
                router: self.router(&spec.alias),
                dead_letters: Arc::clone(&self.dead_letters),
                reading: self.stop.reading.clone(),
            };
            lanes.push(Task::new(Role::Input, spec.entry.name, &spec.alias, lane.run()));
            tasks.push(self.input(index, input, state, sender));
        }
        Ok((tasks, lanes))
    }

    fn input(
        &self,
        index: usize,
        input: Input,
        state: Arc<Plugin>,
        lane: mpsc::Sender<Batch>,
    ) -> Task {
        let spec = &self.plan.inputs[index];
        let (again, shared) = (Arc::clone(self.plan), self.shared.clone());
        let rebuild = move || {
            let spec = &again.inputs[index];
            spec.build(&again.context(Role::Input, spec, &shared))
        };
        let gathers = |input| match input {
            Input::Gather(collectors) => Ok(collectors),
            Input::Service(_) => Err(anyhow::anyhow!("is no longer polled")),
        };
        let services = |input| match input {
            Input::Service(service) => Ok(service),
            Input::Gather(_) => Err(anyhow::anyhow!("is no longer a service")),
        };
        match input {
            Input::Gather(collectors) => {
                let task = GatherTask {
                    origin: Arc::clone(&spec.alias),
                    collectors,
                    rebuild: Box::new(move || rebuild().and_then(gathers)),
                    state,
                    schedule: self.schedule(spec),
                    memory: self.prompt.clone(),
                    queues: self.outputs.iter().map(|(port, _)| Arc::clone(&port.queue)).collect(),
                    lane,
                    reading: self.stop.reading.clone(),
                    first: true,
                };
                Task::new(Role::Input, spec.entry.name, &spec.alias, task.run())
            }
            Input::Service(service) => {
                let origin = Arc::clone(&spec.alias);
                let counters = Arc::clone(&state.counters);
                let task = ServiceTask {
                    service,
                    rebuild: Box::new(move || rebuild().and_then(services)),
                    state,
                    emitter: Emitter::new(origin, counters, self.patient.clone(), lane),
                    stop: self.stop.clone(),
                };
                Task::new(Role::Input, spec.entry.name, &spec.alias, task.run())
            }
        }
    }

    fn schedule(&self, spec: &Spec<Input>) -> Schedule {
        let agent = &self.plan.agent;
        let interval = spec.common.interval.unwrap_or(agent.interval).0;
        let jitter = agent.collection_jitter.0;
        Schedule::new(interval, agent.round_interval, jitter, &self.plan.host)
    }
}

fn limits(spec: &Spec<Box<dyn Output>>, wait: Duration) -> BatchLimits {
    BatchLimits {
        events: spec.common.batch_events.unwrap_or(50_000),
        bytes: spec.common.batch_bytes.map_or(1 << 20, |size| size.0 as usize),
        wait: spec.common.flush_interval.map_or(wait, |period| period.0),
    }
}

impl Running {
    /// Stops in order, within the configured time.
    pub async fn stop(self) {
        let now = tokio::time::Instant::now();
        let part = |share| now + self.patience.mul_f64(share);
        let (most, end) = (part(0.85), part(1.0));
        self.stop.reading.cancel();
        // An input that does not stop must not use up the time of those that have something to save.
        wait(self.lanes, part(0.3)).await;
        wait(self.observers, part(0.5)).await;
        self.drain.cancel();
        let deadline = self.deadline.clone();
        let cut = tokio::spawn(async move {
            tokio::time::sleep_until(most).await;
            deadline.cancel();
        });
        wait(self.outputs, part(0.9)).await;
        cut.abort();
        self.disks.stop(end).await;
        self.stop.finished.cancel();
        wait(self.inputs, end).await;
        self.ticker.abort();
        self.shared.history.flush();
    }
}

/// Waits for tasks; those that are late are left behind.
async fn wait(tasks: Vec<JoinHandle<()>>, until: tokio::time::Instant) {
    for mut task in tasks {
        if tokio::time::timeout_at(until, &mut task).await.is_err() {
            task.abort();
        }
    }
}
