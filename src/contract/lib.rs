//! What the engine and the plugins agree on. One page a file; depends on no other package of ours.
//!
//! Read in this order: what flows ([`event`] and its [`level`], [`incident`], [`evidence`], [`batch`]), what comes back
//! ([`receipt`]), what bounds it ([`memory`], [`pressure`]), what a plugin is ([`plugin`], [`input`], [`processor`] and the
//! [`command`]s it may be given, [`output`]), and the handles a plugin is given ([`context`], [`history`], [`trainer`], [`desk`], [`telemetry`]).

pub mod event;

pub mod level;

pub mod incident;

pub mod evidence;

pub mod batch;

pub mod receipt;

pub mod memory;

pub mod plugin;

pub mod input;

pub mod processor;

pub mod command;

pub mod partition;

pub mod output;

pub mod context;

pub mod history;

pub mod trainer;

pub mod pressure;

pub mod desk;

pub mod telemetry;

pub mod units;

pub mod schedule;

#[cfg(test)]
mod tests;

pub use batch::{Audience, Batch, Events, Kinds};
pub use command::Command;
pub use context::Context;
pub use desk::Desk;
pub use event::{Field, Fields, Kind, Labels, Log, Metric, Name, Series, Value};
pub use evidence::Evidence;
pub use incident::Incident;
pub use input::{Collector, Emitter, Gather, Input, Now, Service, Stop};
pub use level::Level;
pub use memory::{Memory, Permit, Wanted};
pub use output::{Output, Piece, WriteError};
pub use partition::{Observers, Part};
pub use plugin::{Cause, ConfigError, Entry, Plugin};
pub use pressure::Pressure;
pub use processor::{Emit, Observer, Processor, Transform};
pub use receipt::{Fate, Receipt};
