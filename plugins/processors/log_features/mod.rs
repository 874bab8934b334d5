//! `log_features` turns log lines into one row of features per window and group: how many, by how many, how many failed,
//! how long they took. The rows are ordinary metrics.
//!
//! It counts in event time (`watermark`, `origin`), by group (`group`), in cells (`cell`) that hold
//! sets (`distinct`), latencies (`quantile`) and what failed (`failed`, `path`): that is told to the detectors below, as
//! evidence. It reads no file and knows no format: the fields come from `parse`.

mod cell;
mod distinct;
mod failed;
mod group;
mod origin;
mod path;
mod quantile;
mod snapshot;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::units::Period;
use sentinel_contract::{
    Batch, Cause, ConfigError, Context, Emit, Events, Observer, Plugin, Processor,
};
use serde::Deserialize;

use crate::grouping::{Grouping, Role};
use crate::watermark::Pace;

use cell::Roles;
use failed::Scratch;
use group::Owners;
use origin::{Origin, Out, Shared};

const SECOND_NS: i64 = 1_000_000_000;

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Length of a window.
    pub window: Period,
    /// Labels, or fields where there is no such label.
    pub group_by: Vec<String>,
    /// Groups counted apart, per origin.
    pub max_groups: usize,
    /// Fields that together make a session.
    pub session: Vec<String>,
    /// The field that names the client.
    pub client: String,
    /// How long a window waits for lines that come late.
    pub lateness: Period,
    /// The field of the status.
    pub status_field: String,
    /// A status from here on is an error.
    pub error_status: u16,
    /// The field of the latency, in seconds.
    pub latency_field: String,
    /// The field of the bytes sent.
    pub bytes_field: String,
    /// The field of the method.
    pub method_field: String,
    /// The field of the path.
    pub path_field: String,
    /// Distinct values counted exactly.
    pub max_keys: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            window: Period::secs(60),
            group_by: vec!["job".to_owned()],
            max_groups: 100,
            session: vec!["remote_addr".to_owned(), "http_user_agent".to_owned()],
            client: "remote_addr".to_owned(),
            lateness: Period::secs(5),
            status_field: "status".to_owned(),
            error_status: 500,
            latency_field: "request_time".to_owned(),
            bytes_field: "body_bytes_sent".to_owned(),
            method_field: "method".to_owned(),
            path_field: "path".to_owned(),
            max_keys: 1024,
        }
    }
}

/// The observer.
#[derive(Debug)]
pub struct Features {
    shared: Shared,
    origins: Vec<Origin>,
}

/// The plugin.
#[derive(Debug)]
pub struct LogFeatures;

impl Plugin for LogFeatures {
    type Kind = Processor;
    type Config = Config;
    const NAME: &'static str = "log_features";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Processor, Vec<ConfigError>> {
        Ok(Processor::Observer(Box::new(Features::new(&config, context)?)))
    }
}

fn check(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut ask = |is_right: bool, option: &str, reason: &str| {
        if !is_right {
            errors.push(ConfigError::value(option, reason));
        }
    };
    let window = config.window.0;
    let is_whole = window.subsec_nanos().is_multiple_of(1_000_000);
    ask(
        window >= Duration::from_secs(1) && is_whole,
        "window",
        "must be at least 1s, in whole milliseconds",
    );
    ask(window <= Duration::from_hours(24), "window", "must be at most 24h");
    ask(config.lateness.0 <= Duration::from_hours(24), "lateness", "must be at most 24h");
    ask((1..=10_000).contains(&config.max_groups), "max_groups", "must be between 1 and 10000");
    ask((1..=1_000_000).contains(&config.max_keys), "max_keys", "must be between 1 and 1000000");
    ask((400..600).contains(&config.error_status), "error_status", "must be between 400 and 599");
    ask(config.group_by.len() <= 8, "group_by", "has more than 8 names");
    ask(config.session.len() <= 8, "session", "has more than 8 names");
    errors
}

impl Features {
    fn new(config: &Config, context: &Context) -> Result<Self, Vec<ConfigError>> {
        let errors = check(config);
        if !errors.is_empty() {
            return Err(errors);
        }
        let nanos = |period: Period| period.0.as_nanos() as i64;
        let (window_ns, lateness_ns) = (nanos(config.window), nanos(config.lateness));
        // A quarter of a window without a line, but no less than the lateness: then a source holds nothing back.
        let idle_ms = (lateness_ns / 1_000_000).max(window_ns / 4_000_000).clamp(1_000, 600_000);
        let names = |list: &[String]| list.iter().map(|name| name.as_str().into()).collect();
        let roles = Roles {
            session: config.session.iter().map(|name| Role::new(name)).collect(),
            client: Role::new(&config.client),
            status: Role::new(&config.status_field),
            bytes: Role::new(&config.bytes_field),
            latency: Role::new(&config.latency_field),
            method: Role::new(&config.method_field),
            path: Role::new(&config.path_field),
            scratch: Scratch::default(),
            error_status: f64::from(config.error_status),
            max_keys: config.max_keys,
        };
        let host = [("host".into(), (*context.host).into())];
        let tags = context.tags.iter().map(|(name, value)| (name.into(), value.into()));
        let tags = host.into_iter().chain(tags).collect();
        let shared = Shared {
            pace: Pace { lateness_ns, idle_ms, window_ns },
            grouping: Grouping { by: names(&config.group_by), max: config.max_groups, tags },
            roles,
            owners: Owners::default(),
            started_ms: None,
            now_ms: None,
            of_a_partition: false,
        };
        Ok(Features { shared, origins: Vec::new() })
    }

    fn origin(&mut self, name: &Arc<str>) -> usize {
        let same = |origin: &Origin| Arc::ptr_eq(&origin.name, name) || origin.name == *name;
        self.origins.iter().position(same).unwrap_or_else(|| {
            self.origins.push(Origin::new(Arc::clone(name), &self.shared));
            self.origins.len() - 1
        })
    }
}

impl Observer for Features {
    fn observe(&mut self, batch: &Batch, emit: &mut Emit) {
        let Events::Logs(logs) = &batch.events else { return };
        if self.shared.of_a_partition {
            // Heard now, as the partition counts: what it brings may be older, and is not idle.
            self.shared.now_ms = self.shared.now_ms.max(batch.reached_ms);
        }
        let mut out = Out::default();
        let place = self.origin(&batch.origin);
        self.origins[place].take(batch.source, logs, &mut self.shared, &mut out);
        out.emit(emit);
    }

    fn tick(&mut self, now_ms: i64, emit: &mut Emit) {
        self.shared.started_ms.get_or_insert(now_ms);
        self.shared.now_ms = self.shared.now_ms.max(Some(now_ms)); // a step back of the clock is waited out
        let mut out = Out::default();
        for origin in &mut self.origins {
            origin.tick(&self.shared, &mut out);
        }
        out.emit(emit);
    }

    fn unseen(&mut self, origin: &str, events: usize) {
        let place = self.origin(&Arc::from(origin));
        self.origins[place].unseen(events as u64);
    }

    fn of_a_partition(&mut self) {
        self.shared.of_a_partition = true;
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.save()
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Cause> {
        let result = self.load(snapshot);
        if result.is_err() {
            self.origins.clear();
            self.shared.owners = Owners::default();
        }
        result
    }

    fn status(&self) -> serde_json::Value {
        let origins = self.origins.iter().map(|origin| {
            let reached_ms = origin.watermark.reached_ns().map(|ns| ns.div_euclid(1_000_000));
            let lag_s = reached_ms
                .zip(self.shared.now_ms)
                .map(|(reached, now)| (now - reached) as f64 / 1000.0);
            serde_json::json!({
                "origin": &*origin.name,
                "groups": origin.groups.all.len(),
                "open_windows": origin.windows.len(),
                "watermark_ms": reached_ms,
                "watermark_lag_s": lag_s,
                "late": origin.tallies.late,
                "in_first_partial_window": origin.tallies.partial,
                "too_far_ahead": origin.tallies.ahead,
                "unseen": origin.tallies.unseen,
                "in_group_other": origin.groups.overflowed,
            })
        });
        serde_json::json!({ "origins": origins.collect::<Vec<_>>() })
    }
}
