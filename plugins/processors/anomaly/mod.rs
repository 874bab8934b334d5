//! A detector: named signals from any metrics, in frames; three views, three joint models and each signal's own test; incidents
//! that say why (DESIGN section 6). Any number of them, each with its own signals.
//!
//! In reading order. What is watched: `signals`, `presets`, `unit`. Samples to frames: `series`, `fold`, `frame`; read back,
//! `columns`. Learning: `treatment`, `treat` and `season` (robust residuals), `views`, `joint`, `rows`, `train`, `boundaries`, `worse`,
//! `tier`, `due`. Judging: `score` (1.0 at the boundary), `measuring`, `bars`, `rate_bar`, `drift`, `limits`, `share_test`, `verdict` (one
//! frame), `reasons`, `explain`, `suspects`. The incident: `incident` (its states), `open` (what is known of one), `course`, `accepted`,
//! `update`, `severity`, `expiry`, `digest`. What it says: `evidence`, `impact`, `tell`, `sentence`, `words`, `next`, `changes`. All of it
//! for one group: `group`, `training`, `past`, `state`, `parts`, `moved`, `restart`, `status`, `emit`, `commands`. Time comes from samples and ticks
//! only: live and replay are the same code.

mod accepted;
mod bars;
mod boundaries;
mod changes;
mod columns;
mod commands;
mod config;
mod course;
mod digest;
mod drift;
mod due;
mod emit;
mod evidence;
mod expiry;
mod explain;
mod fold;
mod frame;
mod group;
mod impact;
mod incident;
mod joint;
mod limits;
mod measuring;
mod moved;
mod next;
mod open;
mod parts;
mod past;
mod presets;
mod rate_bar;
mod reasons;
mod restart;
mod rows;
mod score;
mod season;
mod sentence;
mod series;
mod severity;
mod share_test;
mod signals;
mod size;
mod state;
mod status;
mod suspects;
mod tell;
mod tier;
mod train;
mod training;
mod treat;
mod treatment;
mod unit;
mod update;
mod verdict;
mod views;
mod words;
mod worse;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sentinel_contract::command::{Command, Past};
use sentinel_contract::schedule::Schedule;
use sentinel_contract::units::Period;
use sentinel_contract::{
    Batch, Cause, ConfigError, Context, Emit, Events, Incident, Observer, Plugin, Processor,
};
use serde_json::{Value, json};

pub use config::{Config, Silence, Written};
use frame::{Closed, Collector};
use group::{Group, Shared};
use incident::{Owner, Rules};
pub use presets::Preset;
use series::GroupKey;
pub use signals::{Aggregate, Role, SignalConfig, Treatment, Watch};
pub use size::Size;
use train::Options;

/// What comes back within so many times the recovery is the same incident.
const RELAPSE: i64 = 5;
/// An incident ends after this as the new normal.
const ACCEPT_MS: i64 = 6 * 3_600_000;

/// The plugin.
pub struct Anomaly {
    alias: Arc<str>,
    context: Context,
    collector: Collector,
    groups: Vec<Group>,
    shared: Shared,
    written: Written,
    unseen: u64,
    calendar: Vec<Schedule>,
    windows: Vec<commands::Window>,
    /// Incidents of a past that was read, for groups that are seen later.
    past: Vec<Past>,
    /// Changes that a process made and could not tell any more.
    untold: Vec<Incident>,
    /// It has looked after what an earlier run left open.
    settled: bool,
    /// It is one of several, each of another partition.
    of_a_partition: bool,
}

impl Plugin for Anomaly {
    type Kind = Processor;
    type Config = Config;
    const NAME: &'static str = "anomaly";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Processor, Vec<ConfigError>> {
        Ok(Processor::Observer(Box::new(Anomaly::new(&config, context)?)))
    }
}

impl Anomaly {
    fn new(config: &Config, context: &Context) -> Result<Self, Vec<ConfigError>> {
        let mut errors = config.check();
        let mut signals = config.preset.signals();
        for signal in &config.signals {
            errors.extend(signals.add(signal).err());
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let millis = |period: Period| period.0.as_millis() as i64;
        let interval_ms = millis(config.frame_interval);
        let confirm = config.confirm_frames;
        let options = Options {
            level_frames: config.level_frames,
            size: config.size,
            min_frames: config.min_training_frames,
            window_ms: millis(config.training_window),
            interval_ms,
            share: score::allowance(config.incidents_per_week, interval_ms as f64 / 1000.0),
            welcome: score::welcome(config.incidents_per_week),
            seed: config.seed,
        };
        let shared = Shared {
            names: signals.names(),
            history: Arc::clone(&context.history),
            trainer: context.trainer.clone(),
            desk: context.desk.clone(),
            options,
            rules: Rules {
                confirm_frames: if confirm == 0 { config.preset.confirm_frames() } else { confirm },
                recover_frames: config.recover_frames,
                relapse_ms: i64::from(config.recover_frames) * RELAPSE * interval_ms,
                accept_ms: ACCEPT_MS,
                interval_ms,
            },
            welcome: score::rate(config.incidents_per_week, interval_ms as f64 / 1000.0),
            retrain_ms: millis(config.retrain_interval),
            silence: config.silence,
            explain: config.series == Written::Explained,
            signals: Arc::new(signals),
            changes: changes::Changes::default(),
            evidence: evidence::Store::new(config.group_by.clone(), config.max_groups),
        };
        let columns = shared.signals.columns.clone();
        let lateness = millis(config.lateness);
        let group_by = config.group_by.clone();
        Ok(Anomaly {
            alias: Arc::clone(&context.alias),
            context: context.clone(),
            collector: Collector::new(interval_ms, lateness, group_by, columns, config.max_groups),
            groups: Vec::new(),
            shared,
            written: config.series,
            unseen: 0,
            calendar: config.maintenance.clone(),
            windows: Vec::new(),
            untold: Vec::new(),
            past: Vec::new(),
            settled: false,
            of_a_partition: false,
        })
    }

    fn make_group(&self, key: &GroupKey) -> Group {
        let owner = Owner::of(&self.alias, &self.context.host, key);
        let names = &self.shared.names;
        let output = emit::Output::new(&self.context, &owner, &key.labels, names, self.written);
        Group::new(owner, key.labels.clone(), &self.shared, output)
    }

    fn closed(&mut self, frames: Vec<Closed>, emit: &mut Emit) {
        for frame in frames {
            for at in self.groups.len()..frame.rows.len() {
                let mut group = self.make_group(&self.collector.groups()[at]);
                group.exclude_past(&self.past, &self.shared);
                self.groups.push(group);
            }
            let maintained = self.is_maintained(frame.time_ms);
            for (group, columns) in self.groups.iter_mut().zip(&frame.rows) {
                if maintained {
                    for events in group.maintained(frame.time_ms, columns, &self.shared) {
                        emit.push(events);
                    }
                    continue;
                }
                let events = group.frame(frame.time_ms, columns, frame.blind, &self.shared);
                for events in events {
                    emit.push(events);
                }
            }
        }
    }
}

impl Observer for Anomaly {
    fn observe(&mut self, batch: &Batch, emit: &mut Emit) {
        match &batch.events {
            Events::Metrics(metrics) => {
                if let Some(reached_ms) = batch.reached_ms.filter(|_| self.of_a_partition) {
                    self.collector.reached(reached_ms);
                }
                let frames = self.collector.observe(&batch.origin, metrics);
                self.closed(frames, emit);
            }
            Events::Logs(logs) => logs.iter().for_each(|log| self.shared.changes.take(log)),
            Events::Evidence(evidence) => {
                for one in evidence {
                    self.shared.evidence.take(one);
                }
            }
            Events::Incidents(_) => (),
        }
    }

    fn tick(&mut self, now_ms: i64, emit: &mut Emit) {
        self.settle(now_ms, emit);
        let frames = self.collector.tick(now_ms);
        self.closed(frames, emit);
        if !self.shared.trainer.is_full() {
            self.groups.iter_mut().for_each(|group| group.ask_again(&self.shared));
        }
        self.tell_digest(now_ms, emit);
    }

    fn unseen(&mut self, _origin: &str, events: usize) {
        self.unseen += events as u64;
        self.collector.blind();
    }

    fn snapshot(&self) -> Option<Vec<u8>> {
        state::save(&self.groups, &self.windows, &self.shared)
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<(), Cause> {
        let (mut groups, windows) =
            state::restore(snapshot, &self.shared, |key| self.make_group(key))?;
        self.windows = windows;
        // Of another `group_by` nothing would ever come: it would be called silent.
        groups.retain(|group| self.collector.can_make(&group.labels));
        groups.truncate(self.collector.max_groups());
        for group in &mut groups {
            self.untold.extend(group.catch_up(&self.shared));
            self.collector.add_group(GroupKey::of(&group.labels));
        }
        self.groups = groups;
        Ok(())
    }

    fn of_a_partition(&mut self) {
        self.of_a_partition = true;
        if !self.shared.evidence.groups_by("host") {
            // Each partition's group of that name is written under the same series and the same history.
            tracing::warn!(
                alias = &*self.alias,
                "kept one a partition, and not grouped by \"host\": give it group_by = [\"host\", ...]"
            );
        }
        self.collector.of_a_partition();
    }

    fn parts(&self) -> Vec<(String, u64)> {
        let mut parts = vec![(parts::CLOCK.to_owned(), 0)];
        for (group, key) in self.groups.iter().zip(self.collector.groups()) {
            parts.push((format!("{}{}", parts::GROUP, key.name), 0));
            if let Some(used) = &group.used {
                let version = used.model.upto_ms as u64 ^ (used.since_ms as u64).rotate_left(32);
                parts.push((format!("{}{}", parts::MODEL, key.name), version.max(1)));
            }
            let blocks = group.blocks.iter();
            parts.extend(
                blocks.map(|(block, count)| {
                    (format!("{}{block}/{}", parts::FRAMES, key.name), count)
                }),
            );
        }
        parts
    }

    fn part(&self, name: &str) -> Option<Vec<u8>> {
        let find = |wanted: &str| self.collector.groups().iter().position(|key| key.name == wanted);
        if let Some(at) = name.strip_prefix(parts::MODEL).and_then(find) {
            return parts::save_model(self.groups.get(at)?);
        }
        if let Some((block, name)) =
            name.strip_prefix(parts::FRAMES).and_then(|name| name.split_once('/'))
        {
            return self.groups.get(find(name)?)?.block(block.parse().ok()?, &self.shared);
        }
        if let Some(at) = name.strip_prefix(parts::GROUP).and_then(find) {
            let (group, held) = (self.groups.get(at)?, self.collector.held_of(at));
            return parts::save_apart(group, held, &self.shared);
        }
        parts::save_clock(self.collector.clock(), &self.windows, &self.shared)
    }

    fn restore_parts(&mut self, parts: Vec<(String, Vec<u8>)>) -> Result<(), Cause> {
        let (restored, failed) =
            parts::restore_parts(&parts, &self.shared, |key| self.make_group(key));
        drop(parts);
        if let Some(clock) = restored.clock {
            self.collector.resume(clock);
        }
        self.windows = restored.windows;
        for (group, held) in restored.groups {
            if self.collector.can_make(&group.labels)
                && self.groups.len() < self.collector.max_groups()
            {
                self.collector.add_group(GroupKey::of(&group.labels));
                self.groups.push(group);
                self.collector.hold(held);
            }
        }
        failed.map_or(Ok(()), |why| Err(why.context("what cannot be used is learnt anew")))
    }

    fn command(
        &mut self,
        command: &Command,
        now_ms: i64,
        emit: &mut Emit,
    ) -> Option<Result<String, String>> {
        self.obey(command, now_ms, emit)
    }

    fn status(&self) -> Value {
        let (time_ms, rows) = self.collector.present();
        let signals = &self.shared.signals.signals;
        let all = rows.len();
        let shown = status::shown(&self.groups, all);
        let rows = shown.into_iter().map(|at| (at, &rows[at]));
        let group = |(at, row): (usize, &Vec<f64>)| {
            let values = signals.iter().map(|signal| signal.value(row)).collect();
            let present = status::Present { time_ms, values };
            match self.groups.get(at) {
                Some(group) => status::group(group, &present, &self.shared),
                None => status::starting(&self.collector.groups()[at], &present, &self.shared),
            }
        };
        json!({
            "frame_interval_s": self.shared.options.interval_ms as f64 / 1000.0,
            "groups": rows.map(group).collect::<Vec<_>>(),
            "all_groups": all,
            "maintenance": self.maintenance(),
            "unused_samples": self.collector.counts,
            "unseen_events": self.unseen,
        })
    }
}
