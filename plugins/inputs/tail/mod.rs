//! `inputs.tail`: follows files and emits their lines, each at least once, across rotation, truncation and restarts.
//!
//! What goes wrong with tailed files, and what other agents do about it, is in
//! reference/reliability-and-performance.md B2. The parts: which paths ([`discover`]), what changed ([`watch`]), which
//! file is which ([`identity`], [`files`], [`appear`], [`rotate`], [`copies`], [`gone`]), reading ([`read`], [`chunk`],
//! [`lines`], [`multiline`]), what is acknowledged ([`books`], [`crate::ledger`], [`receipts`]) and saved ([`positions`],
//! [`record`], [`disk`]), and the loop that drives them ([`service`]). It does not parse lines (`processors.parse` does) and
//! reads no compressed files.

mod access;
mod appear;
mod books;
mod chunk;
mod copies;
mod discover;
mod disk;
mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod gone;
mod identity;
mod lines;
mod multiline;
mod positions;
mod read;
mod receipts;
mod record;
mod recorded;
mod rotate;
mod service;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::units::{Period, Size};
use sentinel_contract::{ConfigError, Context, Input, Labels, Plugin};
use serde::Deserialize;

use discover::Globs;
use lines::Rules;
use multiline::{Begins, Grouping};
pub use recorded::Recorded;

/// The plugin.
#[derive(Debug)]
pub struct Tail;

/// Where to begin in a file that was there when the agent first started.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// At its first line.
    Beginning,
    /// After its last complete line.
    End,
}

/// How lines are joined into events.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Each line is an event.
    Off,
    /// A line that matches `start` begins an event.
    Start,
    /// A line that is not indented begins an event.
    Indentation,
}

/// The options `[inputs.tail.multiline]`.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Multiline {
    /// How lines are joined.
    pub mode: Mode,
    /// The pattern of `mode = "start"`.
    pub start: String,
    /// Most lines of an event.
    pub max_lines: usize,
    /// An event is over when the file has not grown for this long.
    pub timeout: Period,
}

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Globs of the files to follow.
    pub files: Vec<String>,
    /// Globs of files not to follow; without a slash: of their names.
    pub exclude: Vec<String>,
    /// Where to begin in a file that was there when the agent first started.
    pub start: Start,
    /// Labels on every line.
    pub labels: BTreeMap<String, String>,
    /// The label that holds the path; empty: none.
    pub filename_label: String,
    /// A longer line is cut, and marked.
    pub max_line_bytes: Size,
    /// Most bytes of one read.
    pub read_chunk: Size,
    /// A last line without a line end goes out when it has not grown for this long; zero: it waits.
    pub idle_flush: Period,
    /// How often active files are looked at, notified or not.
    pub poll_interval: Period,
    /// How often the globs are walked.
    pub discover_interval: Period,
    /// Most files open at once.
    pub max_open_files: usize,
    /// Most bytes of deleted files kept open.
    pub deleted_max_bytes: Size,
    /// How long a deleted file is kept open.
    pub deleted_max_age: Period,
    /// Lines into events.
    pub multiline: Multiline,
}

impl Default for Multiline {
    fn default() -> Self {
        Multiline {
            mode: Mode::Off,
            start: String::new(),
            max_lines: 128,
            timeout: Period::secs(3),
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Config {
            files: Vec::new(),
            exclude: ["*.gz", "*.xz", "*.zst", "*.bz2"].map(str::to_owned).to_vec(),
            start: Start::End,
            labels: BTreeMap::new(),
            filename_label: "filename".to_owned(),
            max_line_bytes: Size(256 << 10),
            read_chunk: Size(256 << 10),
            idle_flush: Period::secs(0),
            poll_interval: Period::secs(1),
            discover_interval: Period::secs(10),
            max_open_files: 512,
            deleted_max_bytes: Size(1 << 30),
            deleted_max_age: Period::secs(3600),
            multiline: Multiline::default(),
        }
    }
}

/// The options, checked and compiled.
#[derive(Debug)]
struct Settings {
    globs: Globs,
    start: Start,
    base: Arc<Labels>,
    filename_label: String,
    rules: Rules,
    read_chunk: usize,
    idle_flush: Option<Duration>,
    group_timeout: Duration,
    poll_interval: Duration,
    discover_interval: Duration,
    max_open_files: usize,
    deleted_max_bytes: u64,
    deleted_max_age: Duration,
    positions: PathBuf,
    timing: Timing,
}

/// Waiting times that are nobody's business but the tests'.
#[derive(Clone, Copy, Debug)]
struct Timing {
    /// Notifications are gathered for this long: ten looks a second at a busy folder are enough.
    coalesce: Duration,
    /// A renamed or deleted file that has not grown for this long has its last, unfinished line.
    quiet: Duration,
    /// A deleted file that has not grown for this long is closed: its writer may still hold it.
    deleted_quiet: Duration,
    /// What may be a copy made by copytruncate is not read as a new file before this.
    hold: Duration,
    /// Lost data is not read again before this.
    lost_pause: Duration,
    /// Idle files are looked at this often.
    idle_check: Duration,
    /// A renamed file is watched for this long.
    renamed_keep: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            coalesce: Duration::from_millis(100),
            quiet: Duration::from_secs(5),
            deleted_quiet: Duration::from_secs(60),
            hold: Duration::from_secs(5),
            lost_pause: Duration::from_secs(1),
            idle_check: Duration::from_secs(30),
            renamed_keep: Duration::from_secs(24 * 3600),
        }
    }
}

impl Plugin for Tail {
    type Kind = Input;
    type Config = Config;
    const NAME: &'static str = "tail";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Input, Vec<ConfigError>> {
        let settings = Settings::new(config, context, Timing::default())?;
        Ok(Input::Service(Box::new(service::Tailing::new(settings))))
    }
}

impl Settings {
    fn new(config: Config, context: &Context, timing: Timing) -> Result<Self, Vec<ConfigError>> {
        let mut errors = check_ranges(&config);
        let globs = match Globs::new(&config.files, &config.exclude) {
            Ok(globs) => Some(globs),
            Err((option, reason)) => {
                errors.push(ConfigError::value(option, reason));
                None
            }
        };
        let begins = match begins(&config.multiline) {
            Ok(begins) => begins,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let Some(globs) = globs.filter(|_| errors.is_empty()) else { return Err(errors) };
        let max_lines = config.multiline.max_lines;
        let file: String = context
            .alias
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '_' })
            .collect();
        Ok(Settings {
            globs,
            start: config.start,
            base: Arc::new(context.tags.with(config.labels)),
            filename_label: config.filename_label,
            rules: Rules {
                max_bytes: config.max_line_bytes.0 as usize,
                grouping: begins.map(|begins| Grouping { begins, max_lines }),
            },
            read_chunk: config.read_chunk.0 as usize,
            idle_flush: Some(config.idle_flush.0).filter(|wait| !wait.is_zero()),
            group_timeout: config.multiline.timeout.0,
            poll_interval: config.poll_interval.0,
            discover_interval: config.discover_interval.0,
            max_open_files: config.max_open_files,
            deleted_max_bytes: config.deleted_max_bytes.0,
            deleted_max_age: config.deleted_max_age.0,
            positions: context.state_dir.join("positions").join(format!("{file}.log")),
            timing,
        })
    }

    /// The labels of one file's lines.
    fn stream(&self, name: &std::path::Path) -> Arc<Labels> {
        if self.filename_label.is_empty() {
            return Arc::clone(&self.base);
        }
        let path = name.to_string_lossy();
        Arc::new(self.base.with([(self.filename_label.as_str(), path.as_ref())]))
    }
}

fn check_ranges(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut require = |holds: bool, option: &str, reason: &str| {
        if !holds {
            errors.push(ConfigError::value(option, reason));
        }
    };
    let at_least_100ms = |period: Period| period.0 >= Duration::from_millis(100);
    let sensible = |size: Size| (1 << 10..=64 << 20).contains(&size.0);
    require(
        !config.files.is_empty(),
        "files",
        "name at least one file, for example [\"/var/log/nginx/access.log\"]",
    );
    require(sensible(config.max_line_bytes), "max_line_bytes", "must be 1KiB to 64MiB");
    require(sensible(config.read_chunk), "read_chunk", "must be 1KiB to 64MiB");
    require(at_least_100ms(config.poll_interval), "poll_interval", "must be at least 100ms");
    require(
        at_least_100ms(config.discover_interval),
        "discover_interval",
        "must be at least 100ms",
    );
    require(config.max_open_files > 0, "max_open_files", "must be at least 1");
    require(config.multiline.max_lines > 0, "multiline.max_lines", "must be at least 1");
    require(
        at_least_100ms(config.multiline.timeout),
        "multiline.timeout",
        "must be at least 100ms",
    );
    errors
}

fn begins(options: &Multiline) -> Result<Option<Begins>, ConfigError> {
    let error = |reason: &str| Err(ConfigError::value("multiline.start", reason));
    match options.mode {
        Mode::Start if options.start.is_empty() => {
            error("give the pattern of an event's first line, for example '^\\d{4}-\\d{2}-\\d{2}'")
        }
        Mode::Start => match regex::bytes::Regex::new(&options.start) {
            Ok(pattern) => Ok(Some(Begins::Pattern(pattern))),
            Err(reason) => error(&reason.to_string()),
        },
        _ if !options.start.is_empty() => error("is used only with mode = \"start\""),
        Mode::Indentation => Ok(Some(Begins::Indentation)),
        Mode::Off => Ok(None),
    }
}
