//! `inputs.generate`: a made-up load whose truth is known: logs of a web site and of an application, metrics of hosts,
//! with anomalies of known kinds at known times.
//!
//! A line is a function of the seed, its number and its time ([`web`], [`app`], [`random`], [`text`]), a sample of the seed and
//! its time ([`host`]). What is due when says [`generator`], by the curve of a day ([`pace`]) and the anomalies ([`anomaly`],
//! [`schedule`]), which the truth file tells ([`truth`]). [`service`] makes batches; the command `generate` makes files.

mod anomaly;
mod app;
mod generator;
mod host;
mod pace;
mod random;
mod schedule;
mod service;
#[cfg(test)]
mod tests;
mod text;
mod truth;
mod web;

use std::str::FromStr;
use std::time::Duration;

use sentinel_contract::units::Period;
use sentinel_contract::{ConfigError, Context, Input, Plugin};
use serde::Deserialize;
use serde::de::value::{Error as WordError, StrDeserializer};

use anomaly::Wanted;
pub use generator::{Generator, Made, Moment, Piece, Scene, Source};
pub use pace::Profile;
pub use truth::Truth;

/// Lines a second at most.
const MAX_RATE: u64 = 10_000_000;
/// Hosts at most.
const MAX_HOSTS: usize = 100_000;

/// What is made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Data {
    /// An access log.
    Web,
    /// An application's log.
    App,
    /// Host metrics.
    Host,
}

impl Data {
    /// Its name in options, and the label `job` of its lines.
    pub fn as_str(self) -> &'static str {
        match self {
            Data::Web => "web",
            Data::App => "app",
            Data::Host => "host",
        }
    }
}

/// Reads a [`Data`] or a [`Profile`] as the configuration names it.
pub fn word<T: for<'de> Deserialize<'de>>(text: &str) -> Result<T, String> {
    T::deserialize(StrDeserializer::<WordError>::new(text)).map_err(|error| error.to_string())
}

/// `[[inputs.generate]]`
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is made.
    pub kinds: Vec<Data>,
    /// Lines a second, over all kinds and hosts; 0: as fast as they are taken.
    pub rate: u64,
    /// How the rate goes through the day.
    pub profile: Profile,
    /// Equal seeds make equal data.
    pub seed: u64,
    /// How many hosts.
    pub hosts: usize,
    /// The host's name, or what the names of several begin with; empty: this host's.
    pub host: String,
    /// Lines in all; 0: no end.
    pub lines: u64,
    /// Anomalies, each as `KIND@AT+DURATION`.
    pub anomalies: Vec<String>,
    /// One more anomaly in each span of this length, dealt by the seed; zero: none.
    pub anomaly_every: Period,
    /// The file that tells the anomalies; empty: none.
    pub truth: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            kinds: vec![Data::Web],
            rate: 100,
            profile: Profile::Steady,
            seed: 1,
            hosts: 1,
            host: String::new(),
            lines: 0,
            anomalies: Vec::new(),
            anomaly_every: Period::secs(0),
            truth: String::new(),
        }
    }
}

/// The input `generate`.
#[derive(Debug)]
pub struct Generate;

impl Plugin for Generate {
    type Kind = Input;
    type Config = Config;
    const NAME: &'static str = "generate";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Input, Vec<ConfigError>> {
        let mut errors = check(&config).err().unwrap_or_default();
        if !config.truth.is_empty() && !config.truth.starts_with('/') {
            let reason = "must be an absolute path such as \"/var/tmp/truth.jsonl\"";
            errors.push(ConfigError::value("truth", reason));
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let host =
            if config.host.is_empty() { (*context.host).to_owned() } else { config.host.clone() };
        let scene = Scene {
            host,
            labels: (*context.tags).clone(),
            interval: context.interval,
            start_ns: 0, // set when it runs
        };
        Ok(Input::Service(Box::new(service::Generating { config, scene })))
    }
}

/// What cannot be used although its type is right; the anomalies that are asked for.
fn check(config: &Config) -> Result<Vec<Wanted>, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut require = |holds: bool, option: &str, reason: &str| {
        if !holds {
            errors.push(ConfigError::value(option, reason));
        }
    };
    let kinds = &config.kinds;
    let has_logs = kinds.iter().any(|kind| *kind != Data::Host);
    let twice = |(at, kind): (usize, &Data)| kinds[..at].contains(kind);
    require(!kinds.is_empty(), "kinds", "must name at least one of \"web\", \"app\", \"host\"");
    require(!kinds.iter().enumerate().any(twice), "kinds", "names one twice");
    require(config.rate <= MAX_RATE, "rate", "must be at most 10000000");
    require((1..=MAX_HOSTS).contains(&config.hosts), "hosts", "must be 1 to 100000");
    require(config.lines == 0 || has_logs, "lines", "counts lines of logs, and `kinds` has none");
    let every = config.anomaly_every.0;
    let is_sensible = every.is_zero() || (60..=31_536_000).contains(&every.as_secs());
    require(is_sensible, "anomaly_every", "must be 0s, or 1m to 365d");
    let mut wanted = Vec::new();
    for text in &config.anomalies {
        match wish(text, config) {
            Ok(anomaly) => wanted.push(anomaly),
            Err(reason) => errors.push(ConfigError::value("anomalies", reason)),
        }
    }
    if errors.is_empty() { Ok(wanted) } else { Err(errors) }
}

/// Reads an anomaly that is asked for, and says why there will be none of it.
fn wish(text: &str, config: &Config) -> Result<Wanted, String> {
    let wanted = Wanted::from_str(text)?;
    let (name, data, _) = wanted.name.about();
    if !config.kinds.contains(&data) {
        let data = data.as_str();
        return Err(format!("{name} is an anomaly of \"{data}\", which is not among `kinds`"));
    }
    if config.rate == 0 && wanted.name.is_of_rate() {
        return Err(format!("{name} changes the rate, and with `rate` 0 there is none"));
    }
    if wanted.at.0.max(wanted.length.0) > Duration::from_hours(24 * 3650) {
        return Err(format!("\"{text}\" is more than ten years away, or as long"));
    }
    Ok(wanted)
}
