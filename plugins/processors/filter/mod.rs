//! `filter` removes events by label, field, name, value or text. What it removes is counted (`filtered`) and counts as
//! delivered to its source.
//!
//! A rule that asks about something an event's kind does not have (a field of a metric) says nothing about that kind.
//! Incidents are never filtered.

mod rule;
#[cfg(test)]
mod tests;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{ConfigError, Context, Events, Plugin, Processor, Transform};
use serde::Deserialize;

use rule::Matcher;
pub use rule::{Part, Rule};

/// The options.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// When there are any, an event must match one of them.
    pub keep: Vec<Rule>,
    /// An event that matches one of these is removed, even if it should be kept.
    pub drop: Vec<Rule>,
}

/// The transform.
#[derive(Debug)]
pub struct Filter {
    keep: Vec<Matcher>,
    drop: Vec<Matcher>,
}

impl Plugin for Filter {
    type Kind = Processor;
    type Config = Config;
    const NAME: &'static str = "filter";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, _context: &Context) -> Result<Processor, Vec<ConfigError>> {
        Ok(Processor::Transform(Box::new(Filter::new(config)?)))
    }
}

impl Filter {
    fn new(config: Config) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        if config.keep.is_empty() && config.drop.is_empty() {
            errors.push(ConfigError::value("drop", "needs a rule, here or in `keep`"));
        }
        let mut build = |list: &str, rules: Vec<Rule>| {
            let built = rules.into_iter().enumerate().filter_map(|(index, rule)| {
                let option = format!("{list}[{index}]");
                Matcher::new(rule)
                    .map_err(|reason| errors.push(ConfigError::value(option, reason)))
                    .ok()
            });
            built.collect::<Vec<_>>()
        };
        let keep = build("keep", config.keep);
        let drop = build("drop", config.drop);
        if errors.is_empty() { Ok(Filter { keep, drop }) } else { Err(errors) }
    }
}

impl Transform for Filter {
    fn apply(&mut self, events: &mut Events, counters: &Counters) {
        let before = events.len();
        match events {
            Events::Logs(logs) => {
                let keeps = self.keep.iter().any(Matcher::is_about_logs);
                logs.retain(|log| {
                    !self.drop.iter_mut().any(|rule| rule.matches_log(log))
                        && (!keeps || self.keep.iter_mut().any(|rule| rule.matches_log(log)))
                });
            }
            Events::Metrics(metrics) => {
                let keeps = self.keep.iter().any(Matcher::is_about_metrics);
                metrics.retain(|metric| {
                    !self.drop.iter().any(|rule| rule.matches_metric(metric))
                        && (!keeps || self.keep.iter().any(|rule| rule.matches_metric(metric)))
                });
            }
            Events::Incidents(_) | Events::Evidence(_) => {}
        }
        counters.drop_events("filtered", (before - events.len()) as u64);
    }
}
