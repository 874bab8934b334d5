//! Starting what was built, and telling everything where its batches go from now on.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_contract::{Batch, Emitter, Input, Observer, Observers, Output, Stop};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Running;
use super::cells::{InputCell, ObserverCell, Once, OutputCell, Runs, TransformCell, spawn};
use super::identity::Identity;
use super::prepare::{InputPart, ObserverPart, OutputPart, Parts, build_input, build_observer};
use crate::config::{Plan, Role, Spec};
use crate::filter::Filter;
use crate::gather::{GatherTask, Schedule};
use crate::lane::{Lane, Rewire, StageChange};
use crate::observer::{Core, INBOX, ObserverTask};
use crate::output::{BatchLimits, OutputTask};
use crate::partitions::{Keyed, Sets};
use crate::queue::{self, MemoryLimits, Queue};
use crate::router::Router;
use crate::service::ServiceTask;
use crate::telemetry::{Condition, Plugin};

/// Batches between an input and its lane; bounded by their memory permits too.
const LANE: usize = 16;
/// Reloads that a lane may be behind, while it waits for memory.
const REWIRES: usize = 16;

impl Running {
    /// Makes the plan the one that runs. What it has differently was stopped.
    pub(super) fn install(&mut self, parts: Parts) {
        let Parts { plan, inputs, observers, transforms, outputs } = parts;
        self.plan = Arc::clone(&plan);
        let gone = self.install_outputs(outputs);
        self.install_observers(observers);
        let cell = |(identity, state)| TransformCell { identity, state };
        self.transforms = transforms.into_iter().map(cell).collect();
        self.shed.set(self.outputs.iter().map(|cell| Arc::clone(&cell.queue)).collect());
        self.install_inputs(inputs);
        self.route();
        self.show();
        for cell in gone {
            self.dismiss(cell);
        }
        let aliases: Vec<&str> = plan.outputs.iter().map(|spec| &*spec.alias).collect();
        queue::warn_of_orphans(&self.shared.state_dir, &aliases);
    }

    /// Starts outputs, in the order of the plan. Returns those that are no longer in it.
    fn install_outputs(&mut self, parts: Vec<OutputPart>) -> Vec<OutputCell> {
        let mut old = std::mem::take(&mut self.outputs);
        for (index, part) in parts.into_iter().enumerate() {
            let at = old.iter().position(|cell| part.identity.succeeds(&cell.identity));
            let before = at.map(|at| old.swap_remove(at));
            let cell = match (part.built, before) {
                (None, Some(cell)) => cell,
                (None, None) => continue, // only what runs is not built
                (Some(output), before) => {
                    self.start_output(index, part.identity, part.filter, output, before)
                }
            };
            let spec = &self.plan.outputs[index];
            cell.queue.adapt(self.memory(), &spec.common.disk());
            self.outputs.push(cell);
        }
        old
    }

    /// What one output may keep in memory.
    fn memory(&self) -> MemoryLimits {
        let share = self.prompt.capacity() / self.plan.outputs.len().max(1);
        // Of the patient part a quarter may wait for one output: the rest is for reading on.
        MemoryLimits { kept: self.patient.capacity() / 4, direct: share }
    }

    /// An output's task, on its predecessor's queue when there is one.
    fn start_output(
        &self,
        index: usize,
        identity: Identity,
        filter: Option<Arc<Filter>>,
        output: Box<dyn Output>,
        before: Option<OutputCell>,
    ) -> OutputCell {
        let spec = &self.plan.outputs[index];
        let (state, queue) = match before {
            Some(cell) => (cell.state, cell.queue),
            None => self.new_queue(spec),
        };
        state.set(Condition::Active);
        let (again, shared) = (Arc::clone(&self.plan), self.shared.clone());
        let rebuild = move || {
            let spec = &again.outputs[index];
            spec.build(&again.context(Role::Output, spec, &shared))
        };
        let (retire, drain) = (CancellationToken::new(), self.drain.child_token());
        let deadline = self.deadline.child_token();
        let accepts = output.accepts();
        self.dead_letters.serve(&spec.alias, &queue, accepts);
        let task = OutputTask {
            limits: limits(spec, self.plan.agent.flush_interval.0),
            wanted: self.patient.wanted(),
            output,
            rebuild: Box::new(rebuild),
            queue: Arc::clone(&queue),
            state: Arc::clone(&state),
            dead_letters: Arc::clone(&self.dead_letters),
            retire: retire.clone(),
            drain: drain.clone(),
            deadline: deadline.clone(),
        };
        let task = spawn(Role::Output, spec.entry.name, &spec.alias, task.run());
        let from = spec.common.from.clone();
        OutputCell { identity, state, task, queue, accepts, filter, from, retire, drain, deadline }
    }

    fn new_queue(&self, spec: &Spec<Box<dyn Output>>) -> (Arc<Plugin>, Arc<Queue>) {
        let state = Plugin::new(Role::Output, spec.entry.name, &spec.alias);
        let (options, state_dir) = (spec.common.disk(), &self.shared.state_dir);
        let (memory, counters) = (self.memory(), &state.counters);
        let (queue, keepers) =
            queue::queue(state_dir, &spec.alias, memory, &options, counters, &self.signal);
        self.disks.add(keepers);
        (state, queue)
    }

    /// Starts observers, from the last to the first: one emits to those below it.
    fn install_observers(&mut self, parts: Vec<Option<ObserverPart>>) {
        let mut old = std::mem::take(&mut self.observers);
        for (index, part) in parts.into_iter().enumerate().rev() {
            let Some(part) = part else { continue };
            let at = old.iter().position(|cell| cell.identity == part.identity);
            let cell = match (part.built, at.map(|at| old.swap_remove(at))) {
                (Some(_built_by_partition), _) if part.by_partition => {
                    self.keyed_observer(index, part.identity)
                }
                (Some(observer), _) => self.start_observer(index, part.identity, observer),
                (None, Some(cell)) => cell,
                (None, None) => continue,
            };
            self.observers.insert(0, cell);
        }
    }

    fn start_observer(
        &self,
        index: usize,
        identity: Identity,
        observer: Box<dyn Observer>,
    ) -> ObserverCell {
        let spec = &self.plan.processors[index].0;
        let (again, shared) = (Arc::clone(&self.plan), self.shared.clone());
        let (inbox, batches) = mpsc::channel(INBOX);
        let unseen = Arc::new(AtomicU64::new(0));
        let state = Plugin::new(Role::Processor, spec.entry.name, &spec.alias);
        let router = Router::new(self.routes(&spec.alias, &self.observers));
        let handle = router.handle();
        let tags = self.plan.context(Role::Processor, spec, &self.shared).tags;
        let core = Core {
            observer,
            rebuild: Arc::new(move || build_observer(&again, index, &shared)),
            origin: Arc::clone(&spec.alias),
            order: 0,
            reached_ms: None,
            state: Arc::clone(&state),
            limits: spec.common.limits(&tags),
            router,
            telemetry: Arc::clone(&self.telemetry),
            shown_as: spec.alias.to_string(),
            changed: false,
            made: Vec::new(),
        };
        let task = ObserverTask {
            core,
            inbox: batches,
            commands: self.commands.add(&spec.alias),
            unseen: Arc::clone(&unseen),
            history: Arc::clone(&self.shared.history),
        };
        let task = spawn(Role::Processor, spec.entry.name, &spec.alias, task.run());
        let from = spec.common.from.clone();
        let (inbox, opener) = (inbox.downgrade(), Some(inbox));
        let runs = Runs::Once(Once { task, inbox, opener, unseen, router: handle });
        ObserverCell { identity, state, from, runs }
    }

    /// An observer that its input begins and ends, one a partition.
    fn keyed_observer(&self, index: usize, identity: Identity) -> ObserverCell {
        let spec = &self.plan.processors[index].0;
        let (again, shared) = (Arc::clone(&self.plan), self.shared.clone());
        let state = Plugin::new(Role::Processor, spec.entry.name, &spec.alias);
        let (limited, tags) =
            (spec.common.clone(), self.plan.context(Role::Processor, spec, &self.shared).tags);
        let keyed = Keyed {
            alias: Arc::clone(&spec.alias),
            state: Arc::clone(&state),
            build: Arc::new(move || build_observer(&again, index, &shared)),
            limits: Box::new(move || limited.limits(&tags)),
            inboxes: Arc::default(),
            routes: Mutex::new((self.routes(&spec.alias, &self.observers), Vec::new())),
        };
        let from = spec.common.from.clone();
        ObserverCell { identity, state, from, runs: Runs::ByPartition(Arc::new(keyed)) }
    }

    fn install_inputs(&mut self, parts: Vec<InputPart>) {
        let mut old = std::mem::take(&mut self.inputs);
        for (index, mut part) in parts.into_iter().enumerate() {
            let at = old.iter().position(|cell| cell.identity == part.identity);
            let cell = match (part.built.take(), at.map(|at| old.swap_remove(at))) {
                (None, Some(cell)) => {
                    let stages = part.stages.iter().map(StageChange::alias).cloned().collect();
                    let rewire = Rewire { filter: part.filter, stages: part.stages };
                    let _its_lane_has_ended = cell.rewire.try_send(rewire);
                    InputCell { stages, ..cell }
                }
                (None, None) => continue,
                (Some(input), _) => self.start_input(index, input, part),
            };
            self.inputs.push(cell);
        }
    }

    fn start_input(&self, index: usize, input: Input, part: InputPart) -> InputCell {
        let InputPart { identity, filter, stages, chain, .. } = part;
        let rewire = Rewire { filter, stages };
        let stages = rewire.stages.iter().map(StageChange::alias).cloned().collect();
        let spec = &self.plan.inputs[index];
        let state = Plugin::new(Role::Input, spec.entry.name, &spec.alias);
        let stop = Stop {
            reading: self.stop.reading.child_token(),
            finished: self.stop.finished.child_token(),
        };
        let (sender, batches) = mpsc::channel(LANE);
        let (rewires, receiver) = mpsc::channel(REWIRES);
        let router = Router::new(self.routes(&spec.alias, &self.observers));
        let handle = router.handle();
        let _first = rewires.try_send(rewire); // its own first stages come the same way
        let tags = self.plan.context(Role::Input, spec, &self.shared).tags;
        let lane = Lane {
            limits: spec.common.limits(&tags),
            batches,
            input: Arc::clone(&state),
            filter: None,
            stages: Vec::new(),
            router,
            dead_letters: Arc::clone(&self.dead_letters),
            memory: self.patient.clone(),
            reading: stop.reading.clone(),
            rewires: receiver,
        };
        let lane = spawn(Role::Input, spec.entry.name, &spec.alias, lane.run());
        let takes_receipts = matches!(input, Input::Service(_));
        let task = self.input_task(index, input, &state, &stop, sender);
        InputCell {
            identity,
            state,
            takes_receipts,
            stop,
            task,
            lane,
            router: handle,
            rewire: rewires,
            stages,
            chain,
        }
    }

    /// Those that the input begins and ends, by partition, while it runs.
    fn observers_of(&self, index: usize) -> Observers {
        let of = self.plan.by_partition.iter().zip(&self.plan.processors);
        let aliases = of.filter(|(of, _)| **of == Some(index)).map(|(_, (spec, _))| &spec.alias);
        let keyed = aliases.filter_map(|alias| {
            let cell = self.observers.iter().find(|cell| cell.identity.alias == *alias)?;
            match &cell.runs {
                Runs::ByPartition(keyed) => Some(Arc::clone(keyed)),
                Runs::Once(_) => None,
            }
        });
        let (observers, turns) = Observers::new();
        let sets = Sets {
            chain: keyed.collect(),
            commands: self.commands.clone(),
            telemetry: Arc::clone(&self.telemetry),
        };
        tokio::spawn(sets.run(turns)); // ends with the input
        observers
    }

    fn input_task(
        &self,
        index: usize,
        input: Input,
        state: &Arc<Plugin>,
        stop: &Stop,
        lane: mpsc::Sender<Batch>,
    ) -> JoinHandle<()> {
        let spec = &self.plan.inputs[index];
        let (again, shared) = (Arc::clone(&self.plan), self.shared.clone());
        let rebuild = move || build_input(&again, index, &shared);
        let origin = Arc::clone(&spec.alias);
        let (name, alias) = (spec.entry.name, &spec.alias);
        match input {
            Input::Gather(collectors) => {
                let gathers = |input| match input {
                    Input::Gather(collectors) => Ok(collectors),
                    Input::Service(_) => Err(anyhow::anyhow!("is no longer polled")),
                };
                let task = GatherTask {
                    origin,
                    collectors,
                    rebuild: Box::new(move || rebuild().and_then(gathers)),
                    state: Arc::clone(state),
                    schedule: schedule(&self.plan, spec),
                    memory: self.prompt.clone(),
                    pressure: self.shared.pressure.clone(),
                    queues: self.shed.clone(),
                    lane,
                    reading: stop.reading.clone(),
                    first: true,
                };
                spawn(Role::Input, name, alias, task.run())
            }
            Input::Service(service) => {
                let services = |input| match input {
                    Input::Service(service) => Ok(service),
                    Input::Gather(_) => Err(anyhow::anyhow!("is no longer a service")),
                };
                let counters = Arc::clone(&state.counters);
                let mut emitter = Emitter::new(origin, counters, self.patient.clone(), lane);
                emitter.observers = service.by_partition().then(|| self.observers_of(index));
                let task = ServiceTask {
                    service,
                    rebuild: Box::new(move || rebuild().and_then(services)),
                    state: Arc::clone(state),
                    emitter,
                    stop: stop.clone(),
                };
                spawn(Role::Input, name, alias, task.run())
            }
        }
    }
}

fn schedule(plan: &Plan, spec: &Spec<Input>) -> Schedule {
    let agent = &plan.agent;
    let interval = spec.common.interval.unwrap_or(agent.interval).0;
    Schedule::new(interval, agent.round_interval, agent.collection_jitter.0, &plan.host)
}

fn limits(spec: &Spec<Box<dyn Output>>, wait: Duration) -> BatchLimits {
    BatchLimits {
        events: spec.common.batch_events.unwrap_or(50_000),
        bytes: spec.common.batch_bytes.map_or(1 << 20, |size| size.0 as usize),
        wait: spec.common.flush_interval.map_or(wait, |period| period.0),
    }
}
