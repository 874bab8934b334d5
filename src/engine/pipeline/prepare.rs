//! Building what is new of a plan. Nothing runs and nothing is touched yet, so that a mistake leaves everything as it is.

use std::collections::HashMap;
use std::sync::Arc;

use sentinel_contract::{Cause, Input, Observer, Output, Processor, Transform};

use super::Running;
use super::cells::{InputCell, Runs};
use super::identity::Identity;
use crate::config::{Plan, Role, Shared, Spec};
use crate::filter::Filter;
use crate::lane::{Stage, StageChange};
use crate::telemetry::Plugin;

/// What a plan needs that is not running.
pub(super) struct Parts {
    pub(super) plan: Arc<Plan>,
    /// One for each input of the plan.
    pub(super) inputs: Vec<InputPart>,
    /// One for each processor; `None` for a transform.
    pub(super) observers: Vec<Option<ObserverPart>>,
    pub(super) transforms: Vec<(Identity, Arc<Plugin>)>,
    /// One for each output.
    pub(super) outputs: Vec<OutputPart>,
}

pub(super) struct InputPart {
    pub(super) identity: Identity,
    /// `None`: it runs already.
    pub(super) built: Option<Input>,
    pub(super) filter: Option<Filter>,
    pub(super) stages: Vec<StageChange>,
    /// The observers that are kept one a partition of it.
    pub(super) chain: Vec<Identity>,
}

pub(super) struct ObserverPart {
    pub(super) identity: Identity,
    pub(super) built: Option<Box<dyn Observer>>,
    /// It is kept one a partition.
    pub(super) by_partition: bool,
}

impl InputPart {
    /// What runs under this identity is what it is to be.
    pub(super) fn runs_on(&self, identity: &Identity) -> bool {
        self.built.is_none() && self.identity == *identity
    }
}

impl ObserverPart {
    /// The same of an observer.
    pub(super) fn runs_on(&self, identity: &Identity) -> bool {
        self.built.is_none() && self.identity == *identity
    }
}

pub(super) struct OutputPart {
    pub(super) identity: Identity,
    pub(super) built: Option<Box<dyn Output>>,
    pub(super) filter: Option<Arc<Filter>>,
}

/// Whether an origin passes `from`.
pub(crate) fn admits(from: &[String], origin: &str) -> bool {
    from.is_empty() || from.iter().any(|name| name == origin)
}

impl Running {
    /// Builds what of the plan is not running as it is.
    pub(super) fn prepare(&self, plan: &Arc<Plan>) -> Result<Parts, Cause> {
        let transforms = self.transform_parts(plan);
        let inputs = plan.inputs.iter().enumerate();
        let inputs = inputs.map(|(index, spec)| {
            let of = plan.by_partition.iter().zip(&plan.processors);
            let chain = of.filter(|(of, _)| **of == Some(index));
            let chain = chain.map(|(_, (spec, _))| Identity::new(plan, Role::Processor, spec));
            self.input_part(plan, (index, spec), chain.collect(), &transforms)
        });
        let inputs: Vec<InputPart> = inputs.collect::<Result<_, _>>()?;
        let outputs = plan.outputs.iter().map(|spec| self.output_part(plan, spec));
        let observers = plan.by_partition.iter().enumerate().map(|(index, of)| {
            let begun_anew = of.map(|input| inputs[input].built.is_some());
            self.observer_part(plan, index, begun_anew)
        });
        let observers = observers.collect::<Result<_, _>>()?;
        Ok(Parts {
            plan: Arc::clone(plan),
            inputs,
            observers,
            outputs: outputs.collect::<Result<_, _>>()?,
            transforms: transforms.into_values().collect(),
        })
    }

    /// The transforms of a plan by their place in the file, with their counters.
    fn transform_parts(&self, plan: &Plan) -> HashMap<usize, (Identity, Arc<Plugin>)> {
        let processors = plan.processors.iter().enumerate();
        let transforms = processors.filter(|(_, (_, is_observer))| !is_observer);
        let part = |(index, (spec, _)): (usize, &(Spec<Processor>, bool))| {
            let identity = Identity::new(plan, Role::Processor, spec);
            let old = self.transforms.iter().find(|cell| cell.identity.succeeds(&identity));
            let state = old.map_or_else(
                || Plugin::new(Role::Processor, spec.entry.name, &spec.alias),
                |cell| Arc::clone(&cell.state),
            );
            (index, (identity, state))
        };
        transforms.map(part).collect()
    }

    fn input_part(
        &self,
        plan: &Arc<Plan>,
        (index, spec): (usize, &Spec<Input>),
        chain: Vec<Identity>,
        transforms: &HashMap<usize, (Identity, Arc<Plugin>)>,
    ) -> Result<InputPart, Cause> {
        let identity = Identity::new(plan, Role::Input, spec);
        let same = |cell: &&InputCell| cell.identity == identity && cell.chain == chain;
        let running = self.inputs.iter().find(same);
        let built = match running {
            Some(cell) if cell.rewire.capacity() == 0 && !cell.rewire.is_closed() => {
                anyhow::bail!(
                    "`{}` has not followed the last reloads yet: its outputs take nothing",
                    spec.alias
                );
            }
            Some(_) => None,
            None => Some(build_input(plan, index, &self.shared)?),
        };
        let mut stages = Vec::new();
        for (at, (processor, is_observer)) in plan.processors.iter().enumerate() {
            if *is_observer || !admits(&processor.common.from, &spec.alias) {
                continue;
            }
            let (transform, state) = &transforms[&at];
            let same = self.transforms.iter().any(|cell| cell.identity == *transform);
            let in_lane = running.is_some_and(|cell| cell.stages.contains(&transform.alias));
            stages.push(if same && in_lane {
                StageChange::Keep(Arc::clone(&transform.alias))
            } else {
                StageChange::New(self.stage(plan, at, state)?)
            });
        }
        Ok(InputPart { identity, built, filter: spec.common.filter()?, stages, chain })
    }

    fn stage(&self, plan: &Arc<Plan>, at: usize, state: &Arc<Plugin>) -> Result<Stage, Cause> {
        let (plan, shared) = (Arc::clone(plan), self.shared.clone());
        let rebuild = move || build_transform(&plan, at, &shared);
        Ok(Stage { transform: rebuild()?, rebuild: Box::new(rebuild), state: Arc::clone(state) })
    }

    fn output_part(
        &self,
        plan: &Arc<Plan>,
        spec: &Spec<Box<dyn Output>>,
    ) -> Result<OutputPart, Cause> {
        let identity = Identity::new(plan, Role::Output, spec);
        let running = self.outputs.iter().any(|cell| cell.identity == identity);
        let build = || spec.build(&plan.context(Role::Output, spec, &self.shared));
        let built = if running { None } else { Some(build()?) };
        Ok(OutputPart { identity, built, filter: spec.common.filter()?.map(Arc::new) })
    }

    /// `begun_anew`: whether the input of which it is kept one a partition is, if it is.
    fn observer_part(
        &self,
        plan: &Arc<Plan>,
        index: usize,
        begun_anew: Option<bool>,
    ) -> Result<Option<ObserverPart>, Cause> {
        let (spec, is_observer) = &plan.processors[index];
        if !is_observer {
            return Ok(None);
        }
        let identity = Identity::new(plan, Role::Processor, spec);
        let by_partition = begun_anew.is_some();
        let running = self.observers.iter().any(|cell| {
            cell.identity == identity && by_partition == matches!(cell.runs, Runs::ByPartition(_))
        });
        let running = running && begun_anew != Some(true);
        let built = if running { None } else { Some(build_observer(plan, index, &self.shared)?) };
        Ok(Some(ObserverPart { identity, built, by_partition }))
    }
}

/// Builds an input of a plan.
pub(super) fn build_input(plan: &Plan, index: usize, shared: &Shared) -> Result<Input, Cause> {
    let spec = &plan.inputs[index];
    spec.build(&plan.context(Role::Input, spec, shared))
}

/// Builds an observer of a plan.
pub(super) fn build_observer(
    plan: &Plan,
    index: usize,
    shared: &Shared,
) -> Result<Box<dyn Observer>, Cause> {
    let spec = &plan.processors[index].0;
    match spec.build(&plan.context(Role::Processor, spec, shared))? {
        Processor::Observer(observer) => Ok(observer),
        Processor::Transform(_) => Err(anyhow::anyhow!("is no longer an observer")),
    }
}

fn build_transform(
    plan: &Plan,
    index: usize,
    shared: &Shared,
) -> Result<Box<dyn Transform>, Cause> {
    let spec = &plan.processors[index].0;
    match spec.build(&plan.context(Role::Processor, spec, shared))? {
        Processor::Transform(transform) => Ok(transform),
        Processor::Observer(_) => Err(anyhow::anyhow!("is no longer a transform")),
    }
}
