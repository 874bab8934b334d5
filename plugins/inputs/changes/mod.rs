//! What changed on this host, as log records: units, packages, files, processes, the clock, file systems. They are
//! annotations in Grafana, and suspects when something is wrong.
//!
//! One watcher a subject (`units`, `oom`, `processes`, `packages`, `files`, `clock`, `disks`, `ports`), each a collector;
//! `news` makes records of what they find and bounds them. The first look only learns. It reads /proc, /sys and stamps of
//! files; it asks no daemon and reads no file's contents but dpkg's log. Linux only.

mod clock;
mod disks;
mod files;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod news;
mod oom;
mod packages;
mod ports;
mod proc;
mod processes;
mod roots;
#[cfg(test)]
mod tests;
mod units;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sentinel_contract::units::{Period, Size};
use sentinel_contract::{
    Cause, Collector, ConfigError, Context, Gather, Input, Log, Metric, Now, Plugin,
};
use serde::Deserialize;

use news::News;
use processes::Limits;
use roots::Roots;

/// How long one look may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// A look is due a little before its time: gathers are not to the millisecond.
const SLACK: Duration = Duration::from_millis(500);

/// The subjects.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// Units of systemd that start, stop, restart.
    Units,
    /// Processes killed for lack of memory.
    Oom,
    /// Processes that grow in memory, in use of the processor, in number.
    Processes,
    /// Packages.
    Packages,
    /// Files of the configuration.
    Files,
    /// Steps of the clock; restarts of the host.
    Clock,
    /// File systems nearly full, or read-only.
    Disks,
    /// TCP ports that are listened on.
    Ports,
}

/// `[[inputs.changes]]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// What is watched.
    pub watch: Vec<Subject>,
    /// Files and folders whose changes are told.
    pub files: Vec<PathBuf>,
    /// How often they are looked at.
    pub files_interval: Period,
    /// Files at most.
    pub max_files: usize,
    /// Memory that the processes of a name must grow by.
    pub memory_growth: Size,
    /// Processors that the processes of a name must use.
    pub cpu_growth: f64,
    /// New processes a second.
    pub new_processes: f64,
    /// Percent.
    pub disk_full: f64,
    /// Least step of the clock.
    pub clock_step: Period,
    /// Records of one subject in an hour.
    pub max_events: u32,
}

impl Default for Config {
    fn default() -> Self {
        use Subject::{Clock, Disks, Files, Oom, Packages, Processes, Units};
        Config {
            watch: vec![Units, Oom, Processes, Packages, Files, Clock, Disks],
            files: vec!["/etc".into()],
            files_interval: Period::secs(60),
            max_files: 10_000,
            memory_growth: Size(256 << 20),
            cpu_growth: 0.8,
            new_processes: 100.0,
            disk_full: 90.0,
            clock_step: Period::secs(1),
            max_events: 60,
        }
    }
}

/// The input `changes`.
#[derive(Debug)]
pub struct Changes;

impl Plugin for Changes {
    type Kind = Input;
    type Config = Config;
    const NAME: &'static str = "changes";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Input, Vec<ConfigError>> {
        collectors(&config, context, &Roots::from_env()).map(Input::Gather)
    }
}

/// One subject.
trait Watch: Send {
    /// Looks at the host, and tells what is other than at the look before.
    fn look(&mut self, now_ms: i64, news: &mut News) -> Result<(), Cause>;
}

/// A watcher as a collector.
struct Watcher {
    watch: Box<dyn Watch>,
    news: News,
    every: Duration,
    due: Option<Instant>,
}

impl Gather for Watcher {
    fn gather(&mut self, now: Now, _out: &mut Vec<Metric>) -> Result<(), Cause> {
        if self.due.is_some_and(|due| now.instant + SLACK < due) {
            return Ok(());
        }
        self.due = Some(now.instant + self.every);
        self.news.begin(now.time_ms);
        let outcome = self.watch.look(now.time_ms, &mut self.news);
        self.news.learns = false;
        outcome
    }

    fn logs(&mut self, out: &mut Vec<Log>) {
        out.append(&mut self.news.logs);
    }
}

fn check(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    let mut ask = |is_right: bool, option: &str, reason: &str| {
        if !is_right {
            errors.push(ConfigError::value(option, reason));
        }
    };
    ask(!config.watch.is_empty(), "watch", "must name at least one");
    let is_twice = |(at, subject): (usize, &Subject)| config.watch[..at].contains(subject);
    ask(!config.watch.iter().enumerate().any(is_twice), "watch", "names one twice");
    ask(config.files.iter().all(|path| path.is_absolute()), "files", "must be absolute paths");
    let seconds = config.files_interval.0.as_secs();
    ask((10..=86_400).contains(&seconds), "files_interval", "must be 10s to 24h");
    ask((1..=200_000).contains(&config.max_files), "max_files", "must be 1 to 200000");
    ask(config.memory_growth.0 >= 1 << 20, "memory_growth", "must be at least 1MiB");
    ask((0.05..=4096.0).contains(&config.cpu_growth), "cpu_growth", "must be 0.05 to 4096");
    ask((1.0..=1e6).contains(&config.new_processes), "new_processes", "must be 1 to 1000000");
    ask((1.0..=100.0).contains(&config.disk_full), "disk_full", "must be 1 to 100");
    let step = config.clock_step.0.as_millis();
    ask((100..=3_600_000).contains(&step), "clock_step", "must be 100ms to 1h");
    ask((1..=10_000).contains(&config.max_events), "max_events", "must be 1 to 10000");
    errors
}

/// The collectors of `config`, reading from `roots`.
fn collectors(
    config: &Config,
    context: &Context,
    roots: &Roots,
) -> Result<Vec<Collector>, Vec<ConfigError>> {
    let errors = check(config);
    if !errors.is_empty() {
        return Err(errors);
    }
    let collector = |subject: &Subject| {
        let (name, kind, watch) = watch(*subject, config, context, roots);
        let every =
            if *subject == Subject::Files { config.files_interval.0 } else { Duration::ZERO };
        let news = News::new(kind, &context.tags, config.max_events);
        let gather = Box::new(Watcher { watch, news, every, due: None });
        Collector { name, deadline: DEADLINE, spare: false, gather }
    };
    Ok(config.watch.iter().map(collector).collect())
}

/// The watcher of a subject, its name and the kind of its records.
fn watch(
    subject: Subject,
    config: &Config,
    context: &Context,
    roots: &Roots,
) -> (&'static str, &'static str, Box<dyn Watch>) {
    match subject {
        Subject::Units => ("units", "unit", Box::new(units::Units::new(roots))),
        Subject::Oom => ("oom", "oom", Box::new(oom::Oom::new(roots))),
        Subject::Processes => {
            let limits = Limits {
                memory: config.memory_growth.0,
                cores: config.cpu_growth,
                forks: config.new_processes,
            };
            ("processes", "process", Box::new(processes::Processes::new(roots, limits)))
        }
        Subject::Packages => ("packages", "package", Box::new(packages::Packages::new(roots))),
        Subject::Files => {
            let place = |path: &PathBuf| match path.strip_prefix("/etc") {
                Ok(rest) => roots.etc.join(rest),
                Err(_) => roots.root.join(path.strip_prefix("/").unwrap_or(Path::new(""))),
            };
            let places = config.files.iter().map(place).collect();
            ("files", "file", Box::new(files::Files::new(places, config.max_files)))
        }
        Subject::Clock => {
            let step_ms = config.clock_step.0.as_millis() as i64;
            let kept = context.state_dir.join(format!("{}.boot_id", context.alias));
            ("clock", "host", Box::new(clock::Clock::new(roots, clock::wall, step_ms, kept)))
        }
        Subject::Disks => {
            ("disks", "disk", Box::new(disks::Disks::new(roots, disks::ask, config.disk_full)))
        }
        Subject::Ports => ("ports", "port", Box::new(ports::Ports::new(roots))),
    }
}
