//! What a plugin is to the engine: a name, a sample of its options, and a way to build it.
//!
//! A plugin implements [`Plugin`] with its own types; [`Entry`] erases them, so that each kind's `lib.rs` can list its
//! plugins in one constant.

use std::ops::Range;

use serde::de::{Deserialize as _, DeserializeOwned};
use toml::Spanned;
use toml::de::DeValue;

use crate::context::Context;

/// Why a tick, a run or a write failed; shown to people, never matched on.
pub type Cause = anyhow::Error;

/// A plugin's table as the parser left it: positions intact.
pub type Table<'a> = Spanned<DeValue<'a>>;

/// What is wrong with a plugin's options.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The table does not fit the configuration type; the error knows where.
    #[error("{message}")]
    Shape {
        /// Serde's words.
        message: String,
        /// Bytes of the file.
        span: Option<Range<usize>>,
    },
    /// A value that has the right type but cannot be used.
    #[error("{option}: {reason}")]
    Value {
        /// The option's name; dotted when it lies in a sub-table.
        option: String,
        /// What is wrong with it, for example "must be at least 1s".
        reason: String,
    },
}

impl ConfigError {
    /// A value that cannot be used.
    pub fn value(option: impl Into<String>, reason: impl Into<String>) -> Self {
        ConfigError::Value { option: option.into(), reason: reason.into() }
    }
}

/// A plugin, with its own configuration type.
pub trait Plugin {
    /// `Input`, `Processor` or `Box<dyn Output>`.
    type Kind;
    /// `#[serde(default, deny_unknown_fields)]`; no `flatten`, no tagged enums: they lose positions.
    type Config: DeserializeOwned;
    /// Its name in `agent.toml`, and its folder's.
    const NAME: &'static str;
    /// `include_str!("sample.toml")`: every option, uncommented equal to the defaults.
    const SAMPLE: &'static str;
    /// Checks values and builds. Touches nothing outside the process: no file, no socket.
    fn build(config: Self::Config, context: &Context) -> Result<Self::Kind, Vec<ConfigError>>;
}

/// A plugin with its types erased.
pub struct Entry<K> {
    /// [`Plugin::NAME`].
    pub name: &'static str,
    /// [`Plugin::SAMPLE`].
    pub sample: &'static str,
    /// Deserialises the table and builds. The table holds the plugin's own options only.
    pub build: fn(Table<'_>, &Context) -> Result<K, Vec<ConfigError>>,
}

impl<K> Entry<K> {
    /// The entry of a plugin.
    pub const fn of<P: Plugin<Kind = K>>() -> Self {
        Entry { name: P::NAME, sample: P::SAMPLE, build: build::<P> }
    }
}

fn build<P: Plugin>(table: Table<'_>, context: &Context) -> Result<P::Kind, Vec<ConfigError>> {
    let config =
        P::Config::deserialize(toml::de::ValueDeserializer::from(table)).map_err(|error| {
            vec![ConfigError::Shape { message: error.message().to_owned(), span: error.span() }]
        })?;
    P::build(config, context)
}
