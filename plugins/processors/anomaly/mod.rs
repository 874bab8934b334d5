//! A detector: named signals from any metrics, in frames; three views, three joint models and each signal's own test; incidents
//! that say why (DESIGN section 6). Any number of them, each with its own signals.
//!
//! In reading order. What is watched: `signals`, `presets`, `unit`. Samples to frames: `series`, `fold`, `frame`; read back,
//! `columns`. Learning: `treatment`, `treat` and `season` (robust residuals), `views`, `joint`, `rows`, `train`, `boundaries`, `worse`,
//! `tier`, `due`. Judging: `score` (1.0 at the boundary), `measuring`, `bars`, `rate_bar`, `drift`, `limits`, `share_test`, `verdict` (one
//! frame), `reasons`, `explain`, `suspects`. The incident: `incident` (its states), `open` (what is known of one), `course`, `accepted`,
//! `update`, `severity`, `expiry`, `digest`. What it says: `evidence`, `impact`, `tell`, `sentence`, `words`, `next`, `changes`. All of it
//! for one group: `group`, `training`, `past`, `state`, `restart`, `status`, `emit`, `commands`. Time comes from samples and ticks
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
mod next;
mod open;
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
        })
    }

    fn make_group(&self, key: &GroupKey) -> Group {
        let owner = Owner {
            detector: self.alias.to_string(),
            host: self.context.host.to_string(),
            group: key.name.clone(),
        };
        let output =
            emit::Output::new(&self.context, &key.labels, &self.shared.names, self.written);
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
            let key = GroupKey { name: group.owner.group.clone(), labels: group.labels.clone() };
            self.collector.add_group(key);
        }
        self.groups = groups;
        Ok(())
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
            "groups": rows.iter().enumerate().map(group).collect::<Vec<_>>(),
            "maintenance": self.maintenance(),
            "unused_samples": self.collector.counts,
            "unseen_events": self.unseen,
        })
    }
}
