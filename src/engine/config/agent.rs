//! The tables of the agent itself: `[agent]` and `[web]`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use sentinel_contract::desk::Budget;
use sentinel_contract::units::{Period, Secret, Size};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

/// The longest past that is read: six weeks.
const MOST_BACKFILL_S: u64 = 42 * 86_400;

/// `[agent]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Agent {
    /// How often inputs are gathered.
    pub interval: Period,
    /// Gather at whole multiples of the interval, so that hosts line up.
    pub round_interval: bool,
    /// Each gather waits for a random part of this, so that hosts do not line up on a backend.
    pub collection_jitter: Period,
    /// How long an output waits for more before it writes.
    pub flush_interval: Period,
    /// The host's name; the system's when empty.
    pub host: String,
    /// On every metric and log.
    pub tags: BTreeMap<String, String>,
    /// All queues and read buffers together.
    pub memory: Size,
    /// How long stopping may take.
    pub shutdown_timeout: Period,
    /// How long frames and incidents are kept in the embedded store.
    pub history_retention: Period,
    /// How far back a detector's past is read from a backend at its first start.
    pub backfill: Backfill,
    /// Where that is; the address of the first output that can be read, when empty.
    pub backfill_url: Secret,
    /// Calls of all detectors together within an hour; more go into a digest.
    pub notifications_per_hour: u32,
    /// The same within a day.
    pub notifications_per_day: u32,
}

/// The option `backfill`: a duration, or "off".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backfill(pub Option<Period>);

impl<'de> Deserialize<'de> for Backfill {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DurationOrOff)
    }
}

struct DurationOrOff;

impl Visitor<'_> for DurationOrOff {
    type Value = Backfill;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a duration such as \"6w\", or \"off\"")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Backfill, E> {
        if text == "off" {
            return Ok(Backfill(None));
        }
        let period =
            text.parse().map_err(|error: String| E::custom(format!("{error}, nor \"off\"")))?;
        Ok(Backfill(Some(period)))
    }
}

impl Default for Agent {
    fn default() -> Self {
        let budget = Budget::default();
        Agent {
            interval: Period::secs(10),
            round_interval: true,
            collection_jitter: Period::secs(0),
            flush_interval: Period::secs(1),
            host: String::new(),
            tags: BTreeMap::new(),
            memory: Size(32 << 20),
            shutdown_timeout: Period::secs(10),
            history_retention: Period::secs(30 * 86_400),
            backfill: Backfill(Some(Period::secs(MOST_BACKFILL_S))),
            backfill_url: Secret::new(""),
            notifications_per_hour: budget.per_hour,
            notifications_per_day: budget.per_day,
        }
    }
}

/// The options of `[agent]`.
pub const AGENT_OPTIONS: &[&str] = &[
    "interval",
    "round_interval",
    "collection_jitter",
    "flush_interval",
    "host",
    "tags",
    "memory",
    "shutdown_timeout",
    "history_retention",
    "backfill",
    "backfill_url",
    "notifications_per_hour",
    "notifications_per_day",
];

impl Agent {
    /// Values that have the right type and cannot be used: option and reason.
    pub fn mistakes(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        if self.interval.0.as_millis() < 100 {
            found.push(("interval", "must be at least 100ms"));
        }
        if self.collection_jitter >= self.interval {
            found.push(("collection_jitter", "must be shorter than the interval"));
        }
        if !(4 << 20..=4 << 30).contains(&self.memory.0) {
            found.push(("memory", "must be between 4MiB and 4GiB"));
        }
        if self.shutdown_timeout.0.as_secs() < 1 {
            found.push(("shutdown_timeout", "must be at least 1s"));
        }
        if self.history_retention.0.as_secs() < 3600 {
            found.push(("history_retention", "must be at least 1h"));
        }
        let past = self.backfill.0.map(|past| past.0.as_secs());
        if past.is_some_and(|past| !(3600..=MOST_BACKFILL_S).contains(&past)) {
            found.push(("backfill", "must be 1h to 6w, or \"off\""));
        }
        let url = self.backfill_url.reveal();
        if !(url.is_empty() || url.starts_with("http://") || url.starts_with("https://")) {
            found.push(("backfill_url", "must be an address such as \"http://127.0.0.1:8428\""));
        }
        if self.notifications_per_hour == 0 {
            found.push(("notifications_per_hour", "must be at least 1"));
        }
        if self.notifications_per_day < self.notifications_per_hour {
            found.push(("notifications_per_day", "must be at least notifications_per_hour"));
        }
        found
    }

    /// How many calls the detectors may make.
    pub fn budget(&self) -> Budget {
        Budget { per_hour: self.notifications_per_hour, per_day: self.notifications_per_day }
    }
}

/// `[web]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// Address of the local page; none when empty.
    pub listen: String,
    /// Names by which the page may be asked for, beside localhost.
    pub allowed_hosts: Vec<String>,
}

impl Default for Web {
    fn default() -> Self {
        Web { listen: "127.0.0.1:9600".to_owned(), allowed_hosts: Vec::new() }
    }
}

/// The options of `[web]`.
pub const WEB_OPTIONS: &[&str] = &["listen", "allowed_hosts"];

impl Web {
    /// Values that cannot be used: option and reason.
    pub fn mistakes(&self) -> Vec<(&'static str, &'static str)> {
        if self.listen.is_empty() || self.listen.parse::<SocketAddr>().is_ok() {
            return Vec::new();
        }
        vec![("listen", "must be an address and a port, for example \"127.0.0.1:9600\", or empty")]
    }
}
