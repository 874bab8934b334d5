//! What the agent says of itself: every plugin's condition and counters, as JSON for the page and `status`, and as
//! Prometheus text for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Memory, Pressure};
use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::config::Role;

/// How a plugin is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It works.
    Active,
    /// It failed and will be started again.
    Failed,
    /// A call does not return.
    Hung,
    /// The backend refuses us (credentials, address): everything is kept.
    Held,
    /// The backend does not take data now.
    Retrying,
    /// The backend refused all of the last write for good: what is sent goes to the dead letters.
    Rejecting,
}

impl Condition {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Condition::Active => "active",
            Condition::Failed => "failed",
            Condition::Hung => "hung",
            Condition::Held => "held",
            Condition::Retrying => "retrying",
            Condition::Rejecting => "rejecting",
        }
    }
}

/// One plugin, as people see it.
pub struct Plugin {
    /// Input, processor or output.
    pub role: Role,
    /// The plugin's name.
    pub name: &'static str,
    /// Its alias.
    pub alias: Arc<str>,
    /// Its counters.
    pub counters: Arc<Counters>,
    condition: Mutex<Condition>,
    rates: Mutex<Rates>,
}

/// Per second, smoothed over about ten seconds.
#[derive(Default)]
struct Rates {
    received: f64,
    delivered: f64,
    bytes: f64,
    last: Option<[u64; 3]>,
}

impl Plugin {
    /// A plugin that has done nothing yet.
    pub fn new(role: Role, name: &'static str, alias: &Arc<str>) -> Arc<Self> {
        Arc::new(Plugin {
            role,
            name,
            alias: Arc::clone(alias),
            counters: Arc::default(),
            condition: Mutex::new(Condition::Active),
            rates: Mutex::default(),
        })
    }

    /// Sets the condition.
    pub fn set(&self, condition: Condition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }

    /// The condition.
    pub fn condition(&self) -> Condition {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts an error and sets the condition.
    pub fn fail(&self, condition: Condition, message: impl Into<String>) {
        self.counters.error(now_ms(), message);
        self.set(condition);
    }

    fn smooth(&self, seconds: f64) {
        let c = &self.counters;
        let bytes = if self.role == Role::Output { &c.delivered_bytes } else { &c.received_bytes };
        let now = [c.received.load(Relaxed), c.delivered.load(Relaxed), bytes.load(Relaxed)];
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = rates.last {
            let keep = (-seconds / 10.0).exp();
            let mix = |old: f64, i: usize| {
                old * keep + (1.0 - keep) * now[i].saturating_sub(last[i]) as f64 / seconds
            };
            rates.received = mix(rates.received, 0);
            rates.delivered = mix(rates.delivered, 1);
            rates.bytes = mix(rates.bytes, 2);
        }
        rates.last = Some(now);
    }

    fn json(&self) -> Value {
        let c = &self.counters;
        let rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        let round = |rate: f64| (rate * 100.0).round() / 100.0;
        let error = c
            .last_error()
            .map(|(time_ms, message)| json!({"time_ms": time_ms, "message": message}));
        let calls = c.calls.load(Relaxed);
        json!({
            "kind": self.role.word(), "name": self.name, "alias": &*self.alias,
            "state": self.condition().word(),
            "received": c.received.load(Relaxed), "delivered": c.delivered.load(Relaxed),
            "received_rate": round(rates.received), "delivered_rate": round(rates.delivered),
            "bytes_rate": round(rates.bytes),
            "queued": c.queued.load(Relaxed), "queued_bytes": c.queued_bytes.load(Relaxed),
            "disk_bytes": c.disk_bytes.load(Relaxed),
            "series": c.series.load(Relaxed), "streams": c.streams.load(Relaxed),
            "errors": c.errors.load(Relaxed), "restarts": c.restarts.load(Relaxed),
            "drops": c.drops(), "counts": c.counts(), "gauges": c.gauges(), "notes": c.notes(), "last_error": error,
            "call_avg_us": c.call_micros.load(Relaxed).checked_div(calls).unwrap_or(0),
            "call_max_us": c.call_micros_max.load(Relaxed),
        })
    }
}

/// Everything that is running.
pub struct Telemetry {
    host: Arc<str>,
    started_ms: i64,
    memory: Vec<Memory>,
    pressure: Pressure,
    plugins: Mutex<Vec<Arc<Plugin>>>,
    detectors: Mutex<BTreeMap<String, Value>>,
    /// When somebody last asked for the detectors; they are only put into words while somebody looks.
    asked_ms: AtomicI64,
    dead_letters: AtomicU64,
    reload: Mutex<Reload>,
}

/// The configuration in use.
struct Reload {
    /// Since when.
    loaded_ms: i64,
    /// Why a newer one is not.
    error: Option<String>,
}

impl Telemetry {
    /// Nothing running yet.
    pub fn new(host: Arc<str>, memory: Vec<Memory>, pressure: Pressure) -> Arc<Self> {
        Arc::new(Telemetry {
            host,
            started_ms: now_ms(),
            memory,
            pressure,
            plugins: Mutex::default(),
            detectors: Mutex::default(),
            asked_ms: AtomicI64::new(0),
            dead_letters: AtomicU64::new(0),
            reload: Mutex::new(Reload { loaded_ms: now_ms(), error: None }),
        })
    }

    /// Adds a plugin.
    pub fn add(&self, role: Role, name: &'static str, alias: &Arc<str>) -> Arc<Plugin> {
        let plugin = Plugin::new(role, name, alias);
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&plugin));
        plugin
    }

    /// These plugins are running now, in this order. What the observers that are gone said of themselves goes.
    pub fn set_plugins(&self, plugins: Vec<Arc<Plugin>>) {
        let mut detectors = self.detectors.lock().unwrap_or_else(PoisonError::into_inner);
        // Of one that is kept one a partition, the partition's name follows.
        let is_of = |shown: &str, plugin: &Plugin| {
            plugin.role == Role::Processor && shown.split(' ').next() == Some(&*plugin.alias)
        };
        detectors.retain(|shown, _| plugins.iter().any(|plugin| is_of(shown, plugin)));
        *self.plugins.lock().unwrap_or_else(PoisonError::into_inner) = plugins;
    }

    /// A configuration was read: it is in use, or it is not, and why.
    pub fn reloaded(&self, outcome: Result<(), String>) {
        let mut reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(()) => *reload = Reload { loaded_ms: now_ms(), error: None },
            Err(error) => reload.error = Some(error),
        }
    }

    /// All plugins, in the order they were added.
    pub fn plugins(&self) -> Vec<Arc<Plugin>> {
        self.plugins.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Called once a second: keeps the rates.
    pub fn tick(&self, seconds: f64) {
        for plugin in self.plugins() {
            plugin.smooth(seconds);
        }
    }

    /// More dead letters are on disk.
    pub fn count_dead_letters(&self, events: u64) {
        self.dead_letters.fetch_add(events, Relaxed);
    }

    /// Of both parts of the budget together.
    fn memory_of(&self, read: fn(&Memory) -> usize) -> usize {
        self.memory.iter().map(read).sum()
    }

    /// The most bytes in use since the last call; those in use now.
    pub(crate) fn memory_since_last(&self) -> (usize, usize) {
        (self.memory_of(Memory::peak_since_last), self.memory_of(Memory::used))
    }

    /// Whether somebody looked at the detectors in the last half minute.
    pub fn watched(&self) -> bool {
        now_ms() - self.asked_ms.load(Relaxed) < 30_000
    }

    /// An observer's own words about itself.
    pub fn detector(&self, alias: &str, status: Value) {
        if !status.is_null() {
            let mut detectors = self.detectors.lock().unwrap_or_else(PoisonError::into_inner);
            detectors.insert(alias.to_owned(), status);
        }
    }

    /// It is gone.
    pub fn forget_detector(&self, alias: &str) {
        self.detectors.lock().unwrap_or_else(PoisonError::into_inner).remove(alias);
    }

    /// Whether everything works; else what does not.
    pub fn ready(&self) -> Result<(), String> {
        let unwell = self.plugins().into_iter().filter(|p| p.condition() != Condition::Active);
        let words: Vec<String> = unwell
            .map(|p| format!("{} {} is {}", p.role.word(), p.alias, p.condition().word()))
            .collect();
        if words.is_empty() { Ok(()) } else { Err(words.join("; ")) }
    }

    /// For the page and for `status`.
    pub fn json(&self) -> Value {
        self.asked_ms.store(now_ms(), Relaxed);
        let plugins: Vec<Value> = self.plugins().iter().map(|plugin| plugin.json()).collect();
        json!({
            "host": &*self.host, "version": env!("CARGO_PKG_VERSION"),
            "started_ms": self.started_ms, "now_ms": now_ms(),
            "memory": {
                "used": self.memory_of(Memory::used),
                "peak": self.memory_of(Memory::peak),
                "capacity": self.memory_of(Memory::capacity),
            },
            "pressure": {
                "level": self.pressure.level().word(),
                "waiting_trainings": self.pressure.waiting(),
            },
            "dead_letters": self.dead_letters.load(Relaxed),
            "configuration": self.configuration(),
            "plugins": plugins,
            "detectors": *self.detectors.lock().unwrap_or_else(PoisonError::into_inner),
        })
    }

    fn configuration(&self) -> Value {
        let reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        json!({"loaded_ms": reload.loaded_ms, "error": reload.error})
    }

    /// Prometheus text exposition format 0.0.4.
    pub fn prometheus(&self) -> String {
        let plugins = self.plugins();
        let mut out = String::with_capacity(256 * plugins.len() * METRICS.len() / 4);
        let mut line = |name: &str, labels: &str, value: f64| {
            let _infallible = writeln!(out, "sentinelops_{name}{{{labels}}} {value}");
        };
        let labels: Vec<String> = plugins
            .iter()
            .map(|p| {
                format!("kind=\"{}\",plugin=\"{}\",alias=\"{}\"", p.role.word(), p.name, p.alias)
            })
            .collect();
        for (name, read) in METRICS {
            for (plugin, labels) in plugins.iter().zip(&labels) {
                line(name, labels, read(&plugin.counters));
            }
        }
        for (plugin, labels) in plugins.iter().zip(&labels) {
            line("up", labels, f64::from(u8::from(plugin.condition() == Condition::Active)));
            for (reason, count) in plugin.counters.drops() {
                line(
                    "dropped_events_total",
                    &format!("{labels},reason=\"{reason}\""),
                    count as f64,
                );
            }
            for (name, value) in plugin.counters.gauges() {
                line(name, labels, value);
            }
            for (what, count) in plugin.counters.counts() {
                line("counted_events_total", &format!("{labels},what=\"{what}\""), count as f64);
            }
        }
        line("memory_used_bytes", "", self.memory_of(Memory::used) as f64);
        line("memory_peak_bytes", "", self.memory_of(Memory::peak) as f64);
        line("memory_capacity_bytes", "", self.memory_of(Memory::capacity) as f64);
        line("pressure_level", "", f64::from(self.pressure.level() as u8));
        line("waiting_trainings", "", self.pressure.waiting() as f64);
        line("dead_letters_total", "", self.dead_letters.load(Relaxed) as f64);
        line("start_time_seconds", "", self.started_ms as f64 / 1000.0);
        // Named as Prometheus names its own.
        let reload = self.reload.lock().unwrap_or_else(PoisonError::into_inner);
        line("config_last_reload_successful", "", f64::from(u8::from(reload.error.is_none())));
        line("config_last_reload_success_timestamp_seconds", "", reload.loaded_ms as f64 / 1000.0);
        out
    }
}

type Read = fn(&Counters) -> f64;

/// The counters that every plugin has.
const METRICS: &[(&str, Read)] = &[
    ("received_events_total", |c| c.received.load(Relaxed) as f64),
    ("received_bytes_total", |c| c.received_bytes.load(Relaxed) as f64),
    ("delivered_events_total", |c| c.delivered.load(Relaxed) as f64),
    ("delivered_bytes_total", |c| c.delivered_bytes.load(Relaxed) as f64),
    ("errors_total", |c| c.errors.load(Relaxed) as f64),
    ("restarts_total", |c| c.restarts.load(Relaxed) as f64),
    ("calls_total", |c| c.calls.load(Relaxed) as f64),
    ("call_seconds_total", |c| c.call_micros.load(Relaxed) as f64 / 1e6),
    ("call_seconds_max", |c| c.call_micros_max.load(Relaxed) as f64 / 1e6),
    ("queued_events", |c| c.queued.load(Relaxed) as f64),
    ("queued_bytes", |c| c.queued_bytes.load(Relaxed) as f64),
    ("queued_disk_bytes", |c| c.disk_bytes.load(Relaxed) as f64),
    ("series", |c| c.series.load(Relaxed) as f64),
    ("streams", |c| c.streams.load(Relaxed) as f64),
    ("notes", |c| c.notes().len() as f64),
];
