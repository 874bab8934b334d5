//! `log_patterns` finds the templates of log lines (Drain) and says, in windows and groups: how many lines, how many
//! errors, how many of each frequent template, how many templates that are new; and tells of each that was never seen.
//!
//! In reading order: `mask` and `text` (a line as masked tokens), `level`, `drain` (tokens to a template), `group` (one
//! group's time and windows), `window` (what is written of one), `news` (the events) and `groups` (which
//! group), `snapshot`. Its clock is the time that lines tell. It joins no stack traces: that is for its input.

mod drain;
mod group;
mod groups;
mod level;
mod mask;
mod news;
mod snapshot;
#[cfg(test)]
mod tests;
mod text;
mod window;

use std::hash::BuildHasher;
use std::time::Duration;

use foldhash::fast::FixedState;
use sentinel_contract::units::Period;
use sentinel_contract::{
    Batch, Cause, ConfigError, Context, Emit, Events, Observer, Plugin, Processor,
};
use serde::Deserialize;
use serde_json::json;

use crate::grouping::{Grouping, Role};
use crate::redact;
use crate::watermark::Pace;
use group::{Group, Out, Shared};
use groups::Groups;
use text::Line;

/// Templates of a group that its state shows.
const STATUS_TOP: usize = 10;

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Length of a window.
    pub window: Period,
    /// Labels, or fields where there is no such label.
    pub group_by: Vec<String>,
    /// Groups kept apart.
    pub max_groups: usize,
    /// Templates kept of a group.
    pub max_patterns: usize,
    /// The share of telling tokens that a line has in common with its template.
    pub similarity: f64,
    /// The most frequent templates, whose counts are written.
    pub top: usize,
    /// New templates are no news for so long.
    pub learning: Period,
    /// Events of a group in an hour.
    pub max_events: usize,
    /// How long a window waits for lines that come late.
    pub lateness: Period,
    /// Fields that hold the message; the first that a line has is mined instead of the line.
    pub message_fields: Vec<String>,
    /// The field of the status of a request.
    pub status_field: String,
    /// The field of its method.
    pub method_field: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            window: Period::secs(60),
            group_by: vec!["job".to_owned()],
            max_groups: 50,
            max_patterns: 300,
            similarity: 0.5,
            top: 20,
            learning: Period::secs(3600),
            max_events: 10,
            lateness: Period::secs(5),
            message_fields: vec!["message".to_owned(), "msg".to_owned()],
            status_field: "status".to_owned(),
            method_field: "method".to_owned(),
        }
    }
}

/// The observer.
#[derive(Debug)]
pub struct Patterns {
    shared: Shared,
    groups: Groups,
}

/// The plugin.
#[derive(Debug)]
pub struct LogPatterns;

impl Plugin for LogPatterns {
    type Kind = Processor;
    type Config = Config;
    const NAME: &'static str = "log_patterns";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Processor, Vec<ConfigError>> {
        Ok(Processor::Observer(Box::new(Patterns::new(&config, context)?)))
    }
}

fn check(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut ask = |is_right: bool, option: &str, reason: &str| {
        if !is_right {
            errors.push(ConfigError::value(option, reason));
        }
    };
    let (window, day) = (config.window.0, Duration::from_hours(24));
    let is_whole = window.subsec_nanos().is_multiple_of(1_000_000);
    ask(
        window >= Duration::from_secs(1) && is_whole,
        "window",
        "must be at least 1s, in whole milliseconds",
    );
    ask(window <= day, "window", "must be at most 24h");
    ask(config.lateness.0 <= day, "lateness", "must be at most 24h");
    ask(config.learning.0 <= day * 366, "learning", "must be at most 366d");
    ask((1..=1000).contains(&config.max_groups), "max_groups", "must be between 1 and 1000");
    ask(
        (10..=10_000).contains(&config.max_patterns),
        "max_patterns",
        "must be between 10 and 10000",
    );
    ask((0.1..=1.0).contains(&config.similarity), "similarity", "must be between 0.1 and 1");
    ask(config.top <= 200, "top", "must be at most 200");
    ask(config.max_events <= 1000, "max_events", "must be at most 1000");
    ask(config.group_by.len() <= 8, "group_by", "has more than 8 names");
    ask(config.message_fields.len() <= 8, "message_fields", "has more than 8 names");
    errors
}

impl Patterns {
    fn new(config: &Config, context: &Context) -> Result<Self, Vec<ConfigError>> {
        let errors = check(config);
        if !errors.is_empty() {
            return Err(errors);
        }
        let nanos = |period: Period| period.0.as_nanos() as i64;
        let (window_ns, lateness_ns) = (nanos(config.window), nanos(config.lateness));
        // A quarter of a window without a line, but no less than the lateness: then a source holds nothing back.
        let idle_ms = (lateness_ns / 1_000_000).max(window_ns / 4_000_000).clamp(1_000, 600_000);
        let host = [("host".into(), (*context.host).into())];
        let tags = context.tags.iter().map(|(name, value)| (name.into(), value.into()));
        let grouping = Grouping {
            by: config.group_by.iter().map(|name| name.as_str().into()).collect(),
            max: config.max_groups,
            tags: host.into_iter().chain(tags).collect(),
        };
        let shared = Shared {
            pace: Pace { lateness_ns, idle_ms, window_ns },
            max_patterns: config.max_patterns,
            similarity: config.similarity,
            top: config.top,
            events_per_hour: config.max_events as f64,
            learning_ns: nanos(config.learning),
            line: Line::default(),
            messages: config.message_fields.iter().map(|name| Role::new(name)).collect(),
            status: Role::new(&config.status_field),
            method: Role::new(&config.method_field),
            started_ms: None,
            now_ms: None,
            of_a_partition: false,
        };
        Ok(Patterns { shared, groups: Groups::new(grouping) })
    }
}

fn emit_all(out: Out, emit: &mut Emit) {
    emit.push(Events::Metrics(out.metrics));
    emit.push(Events::Logs(out.logs));
}

impl Observer for Patterns {
    fn observe(&mut self, batch: &Batch, emit: &mut Emit) {
        let Events::Logs(logs) = &batch.events else { return };
        if self.shared.of_a_partition {
            // Heard now, as the partition counts: what it brings may be older, and is not idle.
            self.shared.now_ms = self.shared.now_ms.max(batch.reached_ms);
        }
        let (shared, groups) = (&mut self.shared, &mut self.groups);
        let source = FixedState::default().hash_one(&*batch.origin) ^ batch.source;
        let mut out = Out::default();
        // A run of lines of one group is heard as one.
        let (mut run, mut heard): (Option<usize>, usize) = (None, 0);
        for (at, log) in logs.iter().enumerate() {
            let Some((place, level)) = groups.find(log, shared) else { continue };
            if run != Some(place) {
                if let Some(before) = run {
                    groups.all[before].hear(source, &logs[heard..at], shared, &mut out);
                }
                (run, heard) = (Some(place), at);
            }
            let group: &mut Group = &mut groups.all[place];
            if !group.line(log, level, shared) {
                // Old lines, many windows in one batch: close what can be closed, then there is room.
                group.hear(source, &logs[heard..=at], shared, &mut out);
                heard = at + 1;
                let is_counted = group.line(log, level, shared);
                group.tallies.ahead += u64::from(!is_counted);
            }
        }
        if let Some(last) = run {
            groups.all[last].hear(source, &logs[heard..], shared, &mut out);
        }
        emit_all(out, emit);
    }

    fn tick(&mut self, now_ms: i64, emit: &mut Emit) {
        self.shared.started_ms.get_or_insert(now_ms);
        self.shared.now_ms = self.shared.now_ms.max(Some(now_ms)); // a step back of the clock is waited out
        let mut out = Out::default();
        for group in &mut self.groups.all {
            group.tick(&self.shared, &mut out);
        }
        emit_all(out, emit);
    }

    fn unseen(&mut self, _origin: &str, events: usize) {
        for group in &mut self.groups.all {
            group.unseen(events as u64);
        }
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        self.save()
    }

    fn of_a_partition(&mut self) {
        self.shared.of_a_partition = true;
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Cause> {
        let result = self.load(snapshot);
        if result.is_err() {
            self.groups.clear();
        }
        result
    }

    fn status(&self) -> serde_json::Value {
        let groups = self.groups.all.iter().map(|group| status(group, &self.shared));
        json!({
            "groups": groups.collect::<Vec<_>>(),
            "in_group_other": self.groups.overflowed,
        })
    }
}

fn status(group: &Group, shared: &Shared) -> serde_json::Value {
    let reached_ns = group.watermark.reached_ns();
    let learning_ns =
        shared.learning_ns - reached_ns.map_or(0, |reached| reached.saturating_sub(group.since_ns));
    let mut slots: Vec<_> = group.tree.templates().map(|(_, it)| it).collect();
    slots.sort_by_key(|it| std::cmp::Reverse(it.count));
    let patterns = slots.iter().take(STATUS_TOP).map(|it| {
        json!({
            "pattern": window::id_text(it.id),
            "level": it.level.as_str(),
            "lines": it.count,
            "template": redact::template(&it.text(), news::MAX_SHOWN),
        })
    });
    json!({
        "group": group.values,
        "patterns": slots.len(),
        "top": patterns.collect::<Vec<_>>(),
        "learning_s": (learning_ns / 1_000_000_000).max(0),
        "open_windows": group.windows.len(),
        "watermark_ms": reached_ns.map(|ns| ns.div_euclid(1_000_000)),
        "evictions": group.tree.evictions,
        "untold": group.news.untold,
        "late": group.tallies.late,
        "in_first_partial_window": group.tallies.partial,
        "too_far_ahead": group.tallies.ahead,
        "unseen": group.tallies.unseen,
        "cut": group.tallies.cut,
    })
}
