//! Options that every plugin has; the engine takes them out of the table before the plugin reads it.

use std::collections::BTreeMap;

use sentinel_contract::Labels;
use sentinel_contract::units::{Period, Size};
use serde::Deserialize;

use crate::filter::{Filter, FilterError};
use crate::limit::Limits;
use crate::queue::{DiskOptions, WhenFull};

/// What the engine does for a plugin.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Common {
    /// The plugin's name in messages, `from` and `status`; its plugin's name when not given.
    pub alias: Option<String>,
    /// How often an input is gathered.
    pub interval: Option<Period>,
    /// On every event an input or observer makes.
    pub tags: BTreeMap<String, String>,
    /// The origins a processor or output sees; all when empty.
    pub from: Vec<String>,
    /// Globs of metric names to pass.
    pub namepass: Vec<String>,
    /// Globs of metric names to drop.
    pub namedrop: Vec<String>,
    /// Label globs of which one must match.
    pub tagpass: BTreeMap<String, Vec<String>>,
    /// Label globs of which none may match.
    pub tagdrop: BTreeMap<String, Vec<String>>,
    /// Series of a source at most; samples of more are dropped.
    pub max_series: Option<usize>,
    /// Label sets of a source's lines at most; lines of more share one.
    pub max_streams: Option<usize>,
    /// Events in one write at most.
    pub batch_events: Option<usize>,
    /// Bytes in one write at most, before encoding.
    pub batch_bytes: Option<Size>,
    /// How long an output waits for more before it writes.
    pub flush_interval: Option<Period>,
    /// Bytes of the output's queue on disk; 0: in memory only.
    pub queue_bytes: Option<Size>,
    /// How old what waits may become before it is given up; 0: any age.
    pub queue_age: Option<Period>,
    /// What happens when the queue has reached its bounds.
    pub when_full: WhenFull,
}

/// The default of `max_series`: a host has some hundreds, a host of containers some thousands; a label with an identifier
/// in it reaches this within minutes. The hashes of so many take half a megabyte at most.
const MAX_SERIES: usize = 10_000;
/// The default of `max_streams`: a fifth of what Loki takes of one tenant by default, and twice the containers of a node.
const MAX_STREAMS: usize = 1_000;
/// The default of `queue_bytes`.
const QUEUE_BYTES: u64 = 1 << 30;
/// The smallest queue on disk: eight segments in each of its two lanes.
const LEAST_QUEUE_BYTES: u64 = 64 << 20;

/// What a plugin is, as far as its common options go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// `[[inputs.*]]`
    Input,
    /// `[[processors.*]]`
    Processor,
    /// `[[outputs.*]]`
    Output,
}

impl Role {
    /// The table's name.
    pub fn table(self) -> &'static str {
        match self {
            Role::Input => "inputs",
            Role::Processor => "processors",
            Role::Output => "outputs",
        }
    }

    /// One of them.
    pub fn word(self) -> &'static str {
        match self {
            Role::Input => "input",
            Role::Processor => "processor",
            Role::Output => "output",
        }
    }

    /// The common options that mean something for it.
    pub fn options(self) -> &'static [&'static str] {
        match self {
            Role::Input => &[
                "alias",
                "interval",
                "tags",
                "namepass",
                "namedrop",
                "tagpass",
                "tagdrop",
                "max_series",
                "max_streams",
            ],
            Role::Processor => &["alias", "from", "tags", "max_series"],
            Role::Output => &[
                "alias",
                "from",
                "namepass",
                "namedrop",
                "tagpass",
                "tagdrop",
                "batch_events",
                "batch_bytes",
                "flush_interval",
                "queue_bytes",
                "queue_age",
                "when_full",
            ],
        }
    }
}

impl Common {
    /// The name and label filters.
    pub fn filter(&self) -> Result<Option<Filter>, FilterError> {
        Filter::new(&self.namepass, &self.namedrop, &self.tagpass, &self.tagdrop)
    }

    /// How many series and streams the source may have whose events bear these tags.
    pub(crate) fn limits(&self, tags: &Labels) -> Limits {
        let series = self.max_series.unwrap_or(MAX_SERIES);
        Limits::new(series, self.max_streams.unwrap_or(MAX_STREAMS), tags)
    }

    /// The bounds of an output's queue on disk.
    pub fn disk(&self) -> DiskOptions {
        DiskOptions {
            bytes: self.queue_bytes.map_or(QUEUE_BYTES, |size| size.0),
            age: self.queue_age.map(|period| period.0).filter(|age| !age.is_zero()),
            when_full: self.when_full,
        }
    }

    /// Values that cannot be used: option and reason.
    pub fn mistakes(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        let mut say = |option: &str, reason: String| found.push((option.to_owned(), reason));
        if self.interval.is_some_and(|interval| interval.0.as_millis() < 100) {
            say("interval", "must be at least 100ms".to_owned());
        }
        let counts = [
            ("max_series", self.max_series),
            ("max_streams", self.max_streams),
            ("batch_events", self.batch_events),
        ];
        for (option, _) in counts.into_iter().filter(|(_, count)| *count == Some(0)) {
            say(option, "must be at least 1".to_owned());
        }
        if self.batch_bytes.is_some_and(|size| size.0 < 1024) {
            say("batch_bytes", "must be at least 1KiB".to_owned());
        }
        if self.queue_bytes.is_some_and(|size| (1..LEAST_QUEUE_BYTES).contains(&size.0)) {
            say(
                "queue_bytes",
                "must be at least 64MiB, or 0 for a queue in memory only".to_owned(),
            );
        }
        if let Some(alias) = &self.alias
            && (alias.is_empty()
                || alias.contains(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))))
        {
            say("alias", "must be made of letters, digits, `-`, `_` and `.`".to_owned());
        }
        if let Err(error) = self.filter() {
            say(error.option, format!("{} is not a glob: {}", error.glob, error.reason));
        }
        found
    }
}
