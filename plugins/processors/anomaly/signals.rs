//! Named signals: which metrics make one, and how it is judged.
//!
//! A *column* collects the series of one metric (summed over devices, say); a *signal* is a column, or one column
//! over another (errors over requests), with its treatment, its direction and the least deviation worth a word.
//! Nothing here looks at data.

use std::collections::BTreeMap;

use globset::{Glob, GlobMatcher};
use sentinel_contract::{ConfigError, Series};
use serde::Deserialize;

use super::unit::Unit;

/// How a signal's values are brought to a scale on which deviations compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Treatment {
    /// As it is: percentages, temperatures, loads.
    #[default]
    Level,
    /// `ln(1 + x)`: counts, bytes, latencies; a doubling is the same step everywhere.
    Count,
    /// A shrunk logit: shares in 0..1, the less believed the smaller the volume is.
    Rate,
}

/// Which deviations count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watch {
    /// Above what is expected.
    Up,
    /// Below.
    Down,
    /// Either.
    #[default]
    Both,
}

/// How the series of one metric become one value, or the samples of one series within a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// Added up.
    Sum,
    /// The mean.
    #[default]
    Mean,
    /// The largest.
    Max,
    /// The latest.
    Last,
}

/// What a signal says about the service, for the decision to call a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Something that runs out or slows down.
    #[default]
    Resource,
    /// How much is asked of it: alone never a reason to call, except when it stops.
    Traffic,
    /// What its users notice.
    User,
}

/// `[[processors.anomaly.signals]]`: a signal of one's own.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct SignalConfig {
    /// Its name in scores and explanations.
    pub name: String,
    /// The metric's name, or a glob.
    pub metric: String,
    /// Labels the series must have: name to glob.
    pub labels: BTreeMap<String, String>,
    /// A metric it is divided by (same labels).
    pub divide_by: String,
    /// Over series.
    pub aggregate: Aggregate,
    /// Over the samples within a frame; a counter always becomes its rate a second.
    pub over_time: Aggregate,
    /// Scale.
    pub treatment: Treatment,
    /// The signal that counts what a rate is a share of, or the events that a count (of bytes, say) is made of.
    pub volume: String,
    /// Which deviations count.
    pub direction: Watch,
    /// Least deviation from the expected, in the signal's unit.
    pub min_change: f64,
    /// Least deviation as a share of the expected.
    pub min_relative: f64,
    /// For the decision to call a person.
    pub role: Role,
    /// Beyond it a person is called, learned or not. 0 is none.
    pub limit: f64,
}

impl Default for SignalConfig {
    fn default() -> Self {
        SignalConfig {
            name: String::new(),
            metric: String::new(),
            labels: BTreeMap::new(),
            divide_by: String::new(),
            aggregate: Aggregate::default(),
            over_time: Aggregate::default(),
            treatment: Treatment::default(),
            volume: String::new(),
            direction: Watch::default(),
            min_change: 0.0,
            min_relative: 0.25,
            role: Role::default(),
            limit: 0.0,
        }
    }
}

/// The series that make one number a frame and group.
#[derive(Clone, Debug)]
pub(super) struct Column {
    metric: GlobMatcher,
    labels: Vec<(String, GlobMatcher)>,
    pub aggregate: Aggregate,
    pub over_time: Aggregate,
    pub source: (String, BTreeMap<String, String>),
}

impl Column {
    /// Whether this series belongs to it. Asked once a series, not once a sample.
    pub(super) fn takes(&self, series: &Series) -> bool {
        let labels = series.labels();
        self.metric.is_match(series.name())
            && (self.labels.iter())
                .all(|(name, glob)| labels.get(name).is_some_and(|value| glob.is_match(value)))
    }
}

/// Beyond `value` a person is called, as soon as `least` of another signal's units came together in a few frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limit {
    pub value: f64,
    /// A signal that counts, and how many it must have counted over the last [`LIMIT_FRAMES`] frames.
    pub least: Option<(usize, f64)>,
}

/// A limit is judged over this many frames: one error of two requests is no outage.
pub(super) const LIMIT_FRAMES: usize = 5;

/// One signal, resolved.
#[derive(Clone, Debug)]
pub(super) struct Signal {
    pub name: String,
    /// Its column.
    pub column: usize,
    /// The column it is divided by.
    pub over: Option<usize>,
    /// The value is this minus the column (idle percent to busy percent).
    pub complement: Option<f64>,
    /// The signal that counts what a share is of, or what a sum is made of.
    pub volume: Option<usize>,
    pub treatment: Treatment,
    pub direction: Watch,
    pub min_change: f64,
    pub min_relative: f64,
    pub role: Role,
    pub limit: Option<Limit>,
    /// Dropping to zero means that the service has stopped.
    pub stops: bool,
    pub unit: Unit,
}

impl Signal {
    /// Somebody has said what deviation of it is worth a word.
    pub(super) fn is_gated(&self) -> bool {
        self.min_change > 0.0 || self.min_relative > 0.0
    }

    /// Its value, from one frame's columns of one group; NaN when something of it is missing.
    pub(super) fn value(&self, columns: &[f64]) -> f64 {
        let own = columns[self.column];
        let value = match self.over {
            Some(over) if columns[over] != 0.0 => own / columns[over],
            Some(_) => f64::NAN, // a share of nothing
            None => own,
        };
        self.complement.map_or(value, |whole| whole - value)
    }
}

/// All of a detector's signals, and the columns they read.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    pub columns: Vec<Column>,
    pub signals: Vec<Signal>,
}

impl Signals {
    /// The names, in order.
    pub(super) fn names(&self) -> Vec<String> {
        self.signals.iter().map(|signal| signal.name.clone()).collect()
    }

    /// The index of a signal.
    pub(super) fn index_of(&self, name: &str) -> Option<usize> {
        self.signals.iter().position(|signal| signal.name == name)
    }

    /// Adds a signal of the configuration; what is wrong with it is said by option.
    pub(super) fn add(&mut self, config: &SignalConfig) -> Result<(), ConfigError> {
        let wrong = |option: &str, reason: &str| {
            Err(ConfigError::value(format!("signals.{option}"), reason.to_owned()))
        };
        if config.name.is_empty() || config.metric.is_empty() {
            return wrong("name", "a signal needs a name and a metric");
        }
        if self.index_of(&config.name).is_some() {
            let reason =
                format!("\"{}\" is there already; signals need different names", config.name);
            return wrong("name", &reason);
        }
        for (option, value) in [
            ("min_change", config.min_change),
            ("min_relative", config.min_relative),
            ("limit", config.limit),
        ] {
            if !(0.0..=f64::MAX).contains(&value) {
                return wrong(option, "must be a number that is not negative");
            }
        }
        let volume = match config.volume.as_str() {
            "" if config.treatment == Treatment::Rate => {
                return wrong(
                    "volume",
                    "a rate needs the name of the signal that counts what it is a share of",
                );
            }
            "" => None,
            name => match self.index_of(name) {
                Some(index) => Some(index),
                None => return wrong("volume", &format!("there is no signal \"{name}\" above it")),
            },
        };
        let column = self.column(&config.metric, config)?;
        let over = match config.divide_by.as_str() {
            "" => None,
            metric => Some(self.column(metric, config)?),
        };
        self.signals.push(Signal {
            name: config.name.clone(),
            column,
            over,
            complement: None,
            volume,
            treatment: config.treatment,
            direction: config.direction,
            min_change: config.min_change,
            min_relative: config.min_relative,
            role: config.role,
            limit: (config.limit > 0.0).then_some(Limit { value: config.limit, least: None }),
            stops: false,
            unit: Unit::of(config),
        });
        Ok(())
    }

    /// The column of a metric, shared by the signals that read it alike.
    fn column(&mut self, metric: &str, config: &SignalConfig) -> Result<usize, ConfigError> {
        let source = (metric.to_owned(), config.labels.clone());
        let same = |column: &Column| {
            (&column.source, column.aggregate, column.over_time)
                == (&source, config.aggregate, config.over_time)
        };
        if let Some(index) = self.columns.iter().position(same) {
            return Ok(index);
        }
        let glob = |option: &str, text: &str| {
            let glob = Glob::new(text);
            glob.map(|glob| glob.compile_matcher())
                .map_err(|error| ConfigError::value(format!("signals.{option}"), error.to_string()))
        };
        let labels = config.labels.iter();
        let labels = labels.map(|(name, text)| Ok((name.clone(), glob("labels", text)?)));
        self.columns.push(Column {
            metric: glob("metric", metric)?,
            labels: labels.collect::<Result<_, ConfigError>>()?,
            aggregate: config.aggregate,
            over_time: config.over_time,
            source,
        });
        Ok(self.columns.len() - 1)
    }
}

impl super::Config {
    /// The metrics that the detector reads: name and labels, both globs. What history must hold to learn from it.
    pub fn sources(&self) -> Vec<(String, BTreeMap<String, String>)> {
        let mut signals = self.preset.signals();
        for signal in &self.signals {
            let _told_when_built = signals.add(signal);
        }
        signals.columns.into_iter().map(|column| column.source).collect()
    }
}
