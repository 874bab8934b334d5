//! The plan: what the configuration says is to run, checked, with what it takes to build each plugin again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::history::{History, NoHistory};
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Cause, Context, Desk, Entry, Input, Labels, Output, Pressure, Processor};
use serde::de::DeserializeOwned;

use super::agent::{Agent, Web};
use super::common::{Common, Role};

/// Every plugin there is, given by the binary.
#[derive(Clone, Copy)]
pub struct Registry {
    /// `[[inputs.*]]`
    pub inputs: &'static [Entry<Input>],
    /// `[[processors.*]]`
    pub processors: &'static [Entry<Processor>],
    /// `[[outputs.*]]`
    pub outputs: &'static [Entry<Box<dyn Output>>],
}

/// One configured plugin.
pub struct Spec<K: 'static> {
    /// Which plugin.
    pub entry: &'static Entry<K>,
    /// Its name among all plugins.
    pub alias: Arc<str>,
    /// What the engine does for it.
    pub common: Common,
    /// Its own table as TOML, values filled in. Never printed: it may hold secrets.
    pub(crate) table: String,
}

/// A checked configuration.
pub struct Plan {
    /// `[agent]`
    pub agent: Agent,
    /// `[web]`
    pub web: Web,
    /// The host's name.
    pub host: Arc<str>,
    /// In the order of the files.
    pub inputs: Vec<Spec<Input>>,
    /// In the order of the files; each with whether it is an observer.
    pub processors: Vec<(Spec<Processor>, bool)>,
    /// Of each processor: the input, by its place, of which it is kept one a partition, if it is such an observer.
    pub by_partition: Vec<Option<usize>>,
    /// In the order of the files.
    pub outputs: Vec<Spec<Box<dyn Output>>>,
}

/// What plugins share at run time.
#[derive(Clone)]
pub struct Shared {
    /// Where state lives.
    pub state_dir: PathBuf,
    /// The embedded store.
    pub history: Arc<dyn History>,
    /// The training thread.
    pub trainer: Trainer,
    /// Calls and open incidents, of all detectors.
    pub desk: Desk,
    /// How short the host is.
    pub pressure: Pressure,
}

impl Shared {
    /// For checking only: keeps nothing, trains nothing.
    pub fn inert(state_dir: PathBuf) -> Self {
        let pressure = Pressure::default();
        let (trainer, _never_run) = Trainer::new(pressure.clone(), || (), || ());
        let (history, desk) = (Arc::new(NoHistory), Desk::default());
        Shared { state_dir, history, trainer, desk, pressure }
    }
}

impl<K> Spec<K> {
    /// The plugin's own options, for a command that builds it its own way (replay of tables).
    pub fn options<C: DeserializeOwned>(&self) -> Result<C, Cause> {
        let table = toml::de::DeValue::parse(&self.table);
        let options = table.map(toml::de::ValueDeserializer::from).and_then(C::deserialize);
        options.map_err(|error| anyhow::anyhow!("{}", error.message()))
    }

    /// Builds the plugin from its checked table.
    pub fn build(&self, context: &Context) -> Result<K, Cause> {
        let table = toml::de::DeValue::parse(&self.table)
            .map_err(|error| anyhow::anyhow!("{}", error.message()))?;
        (self.entry.build)(table, context).map_err(|errors| {
            let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("{}", words.join("; "))
        })
    }
}

/// The context of one plugin.
pub(super) fn context(
    role: Role,
    alias: &Arc<str>,
    common: &Common,
    agent: &Agent,
    host: &Arc<str>,
    shared: &Shared,
) -> Context {
    let own = if role == Role::Output { None } else { Some(&common.tags) };
    let tags = agent.tags.iter().chain(own.into_iter().flatten());
    let host_first = [("host", &**host)].into_iter();
    let labels = host_first.chain(tags.map(|(name, value)| (name.as_str(), value.as_str())));
    Context {
        alias: Arc::clone(alias),
        host: Arc::clone(host),
        tags: Arc::new(Labels::new(labels)),
        interval: interval(common, agent),
        state_dir: shared.state_dir.clone(),
        history: Arc::clone(&shared.history),
        trainer: shared.trainer.clone(),
        desk: shared.desk.clone(),
    }
}

fn interval(common: &Common, agent: &Agent) -> Duration {
    common.interval.unwrap_or(agent.interval).0
}

impl Plan {
    /// The context of one of this plan's plugins.
    pub fn context<K>(&self, role: Role, spec: &Spec<K>, shared: &Shared) -> Context {
        context(role, &spec.alias, &spec.common, &self.agent, &self.host, shared)
    }
}
