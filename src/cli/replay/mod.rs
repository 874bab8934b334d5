//! `replay`: recorded data through the same code as live, strictly causal; scores, incidents, and a report at the end.
//!
//! Tables: `table` reads a CSV, `series` drives a detector over it, `folder` does so for many. Logs: `files` drives the whole
//! pipeline by the times in the lines. `scores` takes what detectors emit, `report` sums up.

mod compare;
mod files;
mod folder;
pub(crate) mod history;
mod report;
mod scores;
pub(crate) mod series;
mod table;
#[cfg(test)]
mod tests;

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Desk, Events, Incident, Plugin as _, Pressure};
use sentinel_engine::config::{Plan, Shared};
use sentinel_engine::replay::{Driver, Sink};
use sentinel_history::InMemory;
use sentinel_processors::anomaly::Anomaly;

use super::{EXIT_CONFIG, Options, Output, complain, paths, print};
use compare::Comparison;
use report::Report;
use scores::Scores;
use table::Table;

/// Frames of a detector kept for training: six weeks of minutes.
const FRAMES: usize = 60_000;

/// What to replay, and where what comes of it goes.
#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("source").required(true))]
pub(crate) struct Arguments {
    /// Only this [[processors.anomaly]], by its alias [default: for a series the first one, else all]
    #[arg(long, value_name = "ALIAS")]
    detector: Option<String>,
    /// A CSV (plain or gzip; `timestamp` in seconds, a column a signal, `label` last and never read) through one detector;
    /// or a folder of them
    #[arg(long, value_name = "CSV|DIR", group = "source")]
    series: Option<PathBuf>,
    /// A CSV of the same columns to learn from before (in a folder X.train.csv goes before X.test.csv by itself)
    #[arg(long, value_name = "CSV", requires = "series")]
    train: Option<PathBuf>,
    /// A log file (plain or gzip) through the whole pipeline, as if ALIAS had tailed it [default: the first inputs.tail];
    /// may be given several times
    #[arg(long, value_name = "[ALIAS=]LOG", group = "source")]
    file: Vec<String>,
    /// This host's metrics from VictoriaMetrics through the detectors
    #[arg(long, value_name = "URL", group = "source")]
    from_url: Option<String>,
    /// From when: "-14d", "2026-01-31", "2026-01-31T08:00:00Z", or seconds since 1970; at most six weeks before the end
    #[arg(long, value_name = "TIME", requires = "from_url", default_value = history::DEFAULT_START, allow_hyphen_values = true)]
    start: String,
    /// Until when
    #[arg(
        long,
        value_name = "TIME",
        requires = "from_url",
        default_value = "now",
        allow_hyphen_values = true
    )]
    end: String,
    /// Write a row a frame: timestamp, anomaly_score, the score of each model, the three top features (for a folder: a
    /// folder of such files)
    #[arg(long, value_name = "CSV|DIR")]
    scores: Option<PathBuf>,
    /// Write each change of each incident as a line of JSON (for a folder: a folder of such files)
    #[arg(long, value_name = "JSONL|DIR")]
    incidents: Option<PathBuf>,
    /// Replay the same data with this configuration too, and tell which incidents only one of them finds
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// How to print the report
    #[arg(long, value_enum, default_value = "text")]
    format: Output,
}

/// Where what comes of a replay goes.
#[derive(Clone, Copy, Default)]
struct Outputs<'a> {
    scores: Option<&'a Path>,
    incidents: Option<&'a Path>,
}

/// Replays, writes what was asked for, prints the report.
pub(crate) fn replay(options: &Options, arguments: &Arguments) -> Result<ExitCode> {
    options.start_log();
    let out =
        Outputs { scores: arguments.scores.as_deref(), incidents: arguments.incidents.as_deref() };
    let other = arguments.compare.as_deref().map(|other| (other, options.with_config(other)));
    let plans = [Some(options), other.as_ref().map(|(_, options)| options)];
    let mut all = Vec::new();
    for (options, out) in plans.into_iter().flatten().zip([out, Outputs::default()]) {
        let shared = Shared {
            state_dir: paths::state_dir(options.state_dir.as_deref()),
            history: Arc::new(InMemory::new(FRAMES)),
            trainer: Trainer::waiting(),
            desk: Desk::default(),
            pressure: Pressure::default(),
        };
        match options.plan(&shared) {
            Ok(plan) => {
                let shared = Shared { desk: Desk::new(plan.agent.budget()), ..shared };
                all.push((plan, shared, out));
            }
            Err(problems) => {
                complain(&problems.render());
                return Ok(ExitCode::from(EXIT_CONFIG));
            }
        }
    }
    let of = |(plan, shared, out): &(Plan, Shared, Outputs<'_>)| run(plan, shared, arguments, *out);
    let reports: Vec<Vec<Report>> = all.iter().map(of).collect::<Result<_>>()?;
    let mut texts = Vec::new();
    let as_text = arguments.format == Output::Text;
    match (&reports[..], &other) {
        ([first, second], Some((other, _))) => {
            let config = paths::config(options.config.as_deref());
            let names = [config, (*other).to_owned()].map(|path| path.display().to_string());
            for pair in first.iter().zip(second) {
                let both = Comparison::new([&names[0], &names[1]], [pair.0, pair.1]);
                texts.push(if as_text { both.text() } else { format!("{}\n", both.json()) });
            }
        }
        _ => {
            for report in reports.iter().flatten() {
                texts.push(if as_text { report.text() } else { format!("{}\n", report.json()) });
            }
        }
    }
    print(&texts.join(if as_text { "\n" } else { "" }));
    Ok(ExitCode::SUCCESS)
}

/// One configuration's replay.
fn run(
    plan: &Plan,
    shared: &Shared,
    arguments: &Arguments,
    out: Outputs<'_>,
) -> Result<Vec<Report>> {
    match &arguments.series {
        Some(path) if path.is_dir() => {
            ensure!(arguments.train.is_none(), "--train goes with one CSV, not with a folder");
            folder::replay(plan, arguments, path, out)
        }
        Some(path) => {
            let from = (arguments.train.as_deref(), path.as_path());
            Ok(vec![one_series(plan, arguments, from, out, false)?])
        }
        None => Ok(vec![pipeline(plan, shared, arguments, out)?]),
    }
}

/// One table, after the one to learn from.
fn one_series(
    plan: &Plan,
    arguments: &Arguments,
    (train, path): (Option<&Path>, &Path),
    out: Outputs<'_>,
    is_part: bool,
) -> Result<Report> {
    let detector = series::detector(plan, arguments.detector.as_deref())?;
    let table = Table::read(path)?;
    let train = train.map(Table::read).transpose()?;
    let train = train.map(|train| train.in_order(&table.names)).transpose()?;
    let found = series::replay(plan, detector, train.as_ref(), &table, is_part)?;
    if let Some(path) = out.scores {
        found.scores.write(path, found.rows.iter().copied())?;
    }
    if let Some(path) = out.incidents {
        write_incidents(path, &found.incidents)?;
    }
    let times = (table.times[0] * 1000, table.times[table.times.len() - 1] * 1000);
    let name = path.display().to_string();
    let mut report = Report::new(name, found.frames(), times, &found.incidents);
    report.notes = found.notes;
    Ok(report)
}

/// What the detectors of a pipeline emit.
struct Recorder {
    detectors: Vec<Arc<str>>,
    scores: Scores,
    incidents: Vec<Incident>,
}

impl Recorder {
    /// Listens to all detectors, or to the one of that alias.
    fn new(plan: &Plan, alias: Option<&str>) -> Result<Self> {
        if alias.is_some() {
            series::detector(plan, alias)?; // says which there are
        }
        let specs = plan.processors.iter().filter(|(spec, _)| spec.entry.name == Anomaly::NAME);
        let wanted = specs.filter(|(spec, _)| alias.is_none_or(|alias| alias == &*spec.alias));
        let detectors: Vec<_> = wanted.map(|(spec, _)| Arc::clone(&spec.alias)).collect();
        ensure!(!detectors.is_empty(), "the configuration has no [[processors.anomaly]]");
        Ok(Recorder { detectors, scores: Scores::default(), incidents: Vec::new() })
    }

    /// Writes what was asked for; the report.
    fn finish(self, name: String, out: Outputs<'_>, notes: Vec<String>) -> Result<Report> {
        if let Some(path) = out.scores {
            self.scores.write_all(path)?;
        }
        if let Some(path) = out.incidents {
            write_incidents(path, &self.incidents)?;
        }
        let frames = self.scores.groups().map(|(_, _, frames)| frames).sum();
        let span = self.scores.span().unwrap_or_default();
        let mut report = Report::new(name, frames, span, &self.incidents);
        for alias in &self.detectors {
            let groups: Vec<_> = self.scores.groups().filter(|one| one.0 == &**alias).collect();
            if groups.is_empty() {
                report.notes.push(format!("{alias}: no frame had a score"));
            }
            for (_, group, frames) in groups {
                let space = if group.is_empty() { "" } else { " " };
                report.notes.push(format!("{alias}{space}{group}: {frames} frames with a score"));
            }
        }
        report.notes.extend(notes);
        Ok(report)
    }
}

impl Sink for Recorder {
    fn take(&mut self, origin: &Arc<str>, events: &Events) {
        if !self.detectors.contains(origin) {
            return;
        }
        match events {
            Events::Metrics(metrics) => self.scores.take(origin, metrics),
            Events::Incidents(incidents) => self.incidents.extend(incidents.iter().cloned()),
            Events::Logs(_) | Events::Evidence(_) => (),
        }
    }
}

/// Log files through the pipeline, or history through the detectors.
fn pipeline(
    plan: &Plan,
    shared: &Shared,
    arguments: &Arguments,
    out: Outputs<'_>,
) -> Result<Report> {
    let mut recorder = Recorder::new(plan, arguments.detector.as_deref())?;
    let mut driver = Driver::new(plan, shared)?;
    if let Some(url) = &arguments.from_url {
        let (from_ms, to_ms) = history::span(&arguments.start, &arguments.end)?;
        let reader = |alias: &Arc<str>| -> Result<history::Reader> {
            let (_, config) = series::detector(plan, Some(alias))?;
            let watcher = driver.watcher(alias).context("the detector is no observer")?;
            Ok(history::Reader { watcher, config })
        };
        let readers: Vec<_> = recorder.detectors.iter().map(reader).collect::<Result<_>>()?;
        let kinds = history::kinds(plan, shared)?;
        let from = (url.as_str(), from_ms, to_ms);
        let notes = history::replay(plan, &mut driver, &readers, from, kinds, &mut recorder)?;
        return recorder.finish(url.clone(), out, notes);
    }
    let given = arguments.file.iter().map(|file| files::split(plan, file));
    let files: Vec<(String, PathBuf)> = given.collect::<Result<_>>()?;
    let notes = files::replay(plan, shared, &mut driver, &files, &mut recorder)?;
    let names: Vec<String> = files.iter().map(|(_, path)| path.display().to_string()).collect();
    recorder.finish(names.join(", "), out, notes)
}

/// One line of JSON a change.
fn write_incidents(path: &Path, incidents: &[Incident]) -> Result<()> {
    let cannot = || format!("{}: cannot be written", path.display());
    let mut out = BufWriter::new(std::fs::File::create(path).with_context(cannot)?);
    for incident in incidents {
        serde_json::to_writer(&mut out, incident).with_context(cannot)?;
        out.write_all(b"\n").with_context(cannot)?;
    }
    out.flush().with_context(cannot)
}
