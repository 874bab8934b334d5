//! A plan driven by hand: the same transforms and observers in the same order as live, on one thread, by given times.
//!
//! Nothing runs by itself: no input is started, no output contacted, no clock read. Whoever drives it passes batches and
//! ticks in the order of their times; what observers emit goes to the observers below them and to the driver's sink. An
//! observer sees everything: there is no inbox that could be full. Queues, receipts and snapshots have no part in it.

use std::sync::Arc;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Batch, Cause, Emit, Events, Input, Observer, Processor, Transform};

use crate::config::{Plan, Role, Shared, Spec};
use crate::filter::Filter;
use crate::panic::guard;

/// Takes what observers emit, with the emitter's alias.
pub trait Sink {
    /// One list of events.
    fn take(&mut self, origin: &Arc<str>, events: &Events);
}

/// The way of one input's batches.
struct Lane {
    alias: Arc<str>,
    filter: Option<Filter>,
    stages: Vec<Stage>,
    observers: Vec<usize>,
}

struct Stage {
    alias: Arc<str>,
    transform: Box<dyn Transform>,
    counters: Counters,
}

struct Node {
    alias: Arc<str>,
    observer: Box<dyn Observer>,
    /// Those below it that see what it emits.
    observers: Vec<usize>,
}

/// A plan's lanes and observers.
pub struct Driver {
    lanes: Vec<Lane>,
    nodes: Vec<Node>,
}

/// An input of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin(usize);

/// An observer of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watcher(usize);

impl Driver {
    /// Builds every transform, one a lane, and every observer.
    pub fn new(plan: &Plan, shared: &Shared) -> Result<Self, Cause> {
        let mut nodes = Vec::new();
        let mut admitted = Vec::new();
        for (spec, _) in plan.processors.iter().filter(|(_, is_observer)| *is_observer) {
            if let Processor::Observer(observer) = processor(plan, spec, shared)? {
                let alias = Arc::clone(&spec.alias);
                nodes.push(Node { alias, observer, observers: Vec::new() });
                admitted.push(&spec.common.from);
            }
        }
        let watching = |origin: &str, first: usize| -> Vec<usize> {
            (first..admitted.len()).filter(|at| admits(admitted[*at], origin)).collect()
        };
        for (at, node) in nodes.iter_mut().enumerate() {
            node.observers = watching(&node.alias, at + 1);
        }
        let lane = |spec: &Spec<Input>| -> Result<Lane, Cause> {
            Ok(Lane {
                alias: Arc::clone(&spec.alias),
                filter: spec.common.filter()?,
                stages: stages(plan, &spec.alias, shared)?,
                observers: watching(&spec.alias, 0),
            })
        };
        let lanes = plan.inputs.iter().map(lane).collect::<Result<_, _>>()?;
        Ok(Driver { lanes, nodes })
    }

    /// The input of that alias.
    pub fn origin(&self, alias: &str) -> Option<Origin> {
        self.lanes.iter().position(|lane| &*lane.alias == alias).map(Origin)
    }

    /// The observer of that alias.
    pub fn watcher(&self, alias: &str) -> Option<Watcher> {
        self.nodes.iter().position(|node| &*node.alias == alias).map(Watcher)
    }

    /// Runs events of an input through its filter and its transforms, in place.
    pub fn transform(&mut self, origin: Origin, events: &mut Events) -> Result<(), Cause> {
        let lane = &mut self.lanes[origin.0];
        if let Some(filter) = &lane.filter {
            filter.apply(events);
        }
        for stage in &mut lane.stages {
            let Stage { alias, transform, counters } = stage;
            guard(|| transform.apply(events, counters))
                .map_err(|words| anyhow::anyhow!("processor `{alias}` {words}"))?;
        }
        Ok(())
    }

    /// Hands transformed events of one source of an input to the observers that admit it.
    pub fn deliver(
        &mut self,
        origin: Origin,
        source: u64,
        events: Events,
        sink: &mut dyn Sink,
    ) -> Result<(), Cause> {
        if events.is_empty() {
            return Ok(());
        }
        let lane = &self.lanes[origin.0];
        let mut batch = Batch::new(Arc::clone(&lane.alias), events);
        batch.source = source;
        for at in lane.observers.clone() {
            self.observe(at, &batch, sink)?;
        }
        Ok(())
    }

    /// Hands a batch to one observer, whatever it admits.
    pub fn show(
        &mut self,
        watcher: Watcher,
        batch: &Batch,
        sink: &mut dyn Sink,
    ) -> Result<(), Cause> {
        self.observe(watcher.0, batch, sink)
    }

    /// Tells every observer the time, in the order of the file.
    pub fn tick(&mut self, now_ms: i64, sink: &mut dyn Sink) -> Result<(), Cause> {
        for at in 0..self.nodes.len() {
            self.call(at, sink, |observer, emit| observer.tick(now_ms, emit))?;
        }
        Ok(())
    }

    /// What transforms counted: the processor's alias, what (dropped events first), how many.
    pub fn counts(&self) -> Vec<(Arc<str>, &'static str, u64)> {
        let mut all: Vec<(Arc<str>, &'static str, u64)> = Vec::new();
        for stage in self.lanes.iter().flat_map(|lane| &lane.stages) {
            for (what, events) in stage.counters.drops().into_iter().chain(stage.counters.counts())
            {
                let known = all
                    .iter_mut()
                    .find(|one| one.0 == stage.alias && one.1 == what)
                    .map(|one| &mut one.2);
                match known {
                    Some(sum) => *sum += events,
                    None => all.push((Arc::clone(&stage.alias), what, events)),
                }
            }
        }
        all
    }

    /// Every observer's state, by alias, as the page shows it.
    pub fn status(&self) -> Vec<(Arc<str>, serde_json::Value)> {
        self.nodes.iter().map(|node| (Arc::clone(&node.alias), node.observer.status())).collect()
    }

    fn observe(&mut self, at: usize, batch: &Batch, sink: &mut dyn Sink) -> Result<(), Cause> {
        self.call(at, sink, |observer, emit| observer.observe(batch, emit))
    }

    /// Calls an observer, then those below with what it emitted: nothing is looked at before what came before it.
    fn call(
        &mut self,
        at: usize,
        sink: &mut dyn Sink,
        work: impl FnOnce(&mut dyn Observer, &mut Emit),
    ) -> Result<(), Cause> {
        let mut emit = Emit::default();
        let node = &mut self.nodes[at];
        guard(|| work(&mut *node.observer, &mut emit))
            .map_err(|words| anyhow::anyhow!("processor `{}` {words}", node.alias))?;
        if emit.0.is_empty() {
            return Ok(());
        }
        let (alias, below) = (Arc::clone(&node.alias), node.observers.clone());
        for events in emit.0 {
            sink.take(&alias, &events);
            let batch = Batch::new(Arc::clone(&alias), events);
            for next in &below {
                self.observe(*next, &batch, sink)?;
            }
        }
        Ok(())
    }
}

fn admits(from: &[String], origin: &str) -> bool {
    from.is_empty() || from.iter().any(|name| name == origin)
}

fn processor(plan: &Plan, spec: &Spec<Processor>, shared: &Shared) -> Result<Processor, Cause> {
    spec.build(&plan.context(Role::Processor, spec, shared))
}

fn stages(plan: &Plan, origin: &str, shared: &Shared) -> Result<Vec<Stage>, Cause> {
    let mut stages = Vec::new();
    for (spec, is_observer) in &plan.processors {
        if *is_observer || !admits(&spec.common.from, origin) {
            continue;
        }
        if let Processor::Transform(transform) = processor(plan, spec, shared)? {
            let alias = Arc::clone(&spec.alias);
            stages.push(Stage { alias, transform, counters: Counters::default() });
        }
    }
    Ok(stages)
}
