//! What the tests of all outputs need: a context, pieces, and the check that a sample shows every option.

use std::cell::Cell;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::history::NoHistory;
use sentinel_contract::incident::State;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, ConfigError, Context, Events, Incident, Labels, Log, Output, Piece, Plugin,
};
use serde::de::{DeserializeOwned, Error as _, Visitor};
use serde::{Deserializer, forward_to_deserialize_any};

pub(crate) fn context() -> Context {
    Context {
        alias: Arc::from("test"),
        host: Arc::from("web-1"),
        tags: Arc::new(Labels::new([("host", "web-1")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    }
}

pub(crate) fn build<P: Plugin<Kind = Box<dyn Output>>>(config: P::Config) -> Box<dyn Output> {
    P::build(config, &context()).unwrap()
}

pub(crate) fn refusals<P: Plugin<Kind = Box<dyn Output>>>(config: P::Config) -> String {
    let errors = P::build(config, &context()).err().unwrap_or_default();
    errors.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("\n")
}

pub(crate) fn piece(events: Events) -> Piece {
    Piece::whole(Arc::new(Batch::new(Arc::from("test"), events)))
}

pub(crate) fn log(stream: &Arc<Labels>, time_ns: i64, body: &[u8]) -> Log {
    let body = bytes::Bytes::copy_from_slice(body);
    Log { stream: Arc::clone(stream), time_ns, body, fields: None }
}

pub(crate) fn incident() -> Incident {
    Incident {
        message: "errors are high".into(),
        key: "web-1".into(),
        detector: "web".into(),
        host: "web-1".into(),
        group: String::new(),
        state: State::Confirmed,
        time_ms: 1_795_400_000_000,
        started_ms: 1_795_399_940_000,
        score: 2.5,
        models: Vec::new(),
        contributions: Vec::new(),
        normal: Vec::new(),
        reason: "the score stayed above 1".into(),
        ..Incident::default()
    }
}

/// The sample parses; with every option uncommented it equals the defaults; every option is in it.
pub(crate) fn check_sample<P>()
where
    P: Plugin,
    P::Config: DeserializeOwned + PartialEq + Debug,
{
    let parse = |text: &str| {
        let whole = text.parse::<toml::Table>().unwrap();
        whole["outputs"][P::NAME][0].clone()
    };
    let config = |table: toml::Value| table.try_into::<P::Config>().unwrap();
    let lines = P::SAMPLE.lines().map(|line| line.strip_prefix("# ").unwrap_or(line));
    let full = parse(&lines.collect::<Vec<_>>().join("\n"));
    assert_eq!(config(parse(P::SAMPLE)), config(full.clone()));
    let shown = full.as_table().unwrap().keys().map(String::as_str).collect::<Vec<_>>();
    for option in options::<P::Config>() {
        assert!(shown.contains(option), "{option} is not in the sample of {}", P::NAME);
    }
}

/// The names of a configuration's options.
fn options<C: DeserializeOwned>() -> &'static [&'static str] {
    let seen = Cell::new(&[][..]);
    C::deserialize(Spy(&seen)).err();
    seen.get()
}

struct Spy<'a>(&'a Cell<&'static [&'static str]>);

impl<'de> Deserializer<'de> for Spy<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Self::Error::custom("only looking"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.set(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
