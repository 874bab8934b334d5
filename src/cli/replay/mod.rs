//! `replay`: recorded data through the same code as live, strictly causal; scores, incidents, and a report at the end.
//!
//! `table` reads a CSV, `series` drives the detector over it, `scores` takes what it emits, `report` sums up.

mod report;
mod scores;
mod series;
mod table;
#[cfg(test)]
mod tests;

use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use sentinel_contract::Incident;
use sentinel_engine::config::Shared;

use super::{EXIT_CONFIG, Options, Output, complain, paths, print};
use report::Report;
use table::Table;

/// What to replay, and where what comes of it goes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The [[processors.anomaly]] to replay, by its alias [default: the first one]
    #[arg(long, value_name = "ALIAS")]
    detector: Option<String>,
    /// A CSV (plain or gzip; `timestamp` in seconds, one column a signal, `label` last and never read) to learn from
    /// before the series
    #[arg(long, value_name = "CSV", requires = "series")]
    train: Option<PathBuf>,
    /// The CSV to replay through the detector
    #[arg(long, value_name = "CSV", required = true)]
    series: Option<PathBuf>,
    /// Write a row a frame: timestamp, anomaly_score, the score of each model, the three top features
    #[arg(long, value_name = "CSV")]
    scores: Option<PathBuf>,
    /// Write each change of each incident as a line of JSON
    #[arg(long, value_name = "JSONL")]
    incidents: Option<PathBuf>,
    /// How to print the report
    #[arg(long, value_enum, default_value = "text")]
    format: Output,
}

/// Replays, writes what was asked for, prints the report.
pub(crate) fn replay(options: &Options, arguments: &Arguments) -> Result<ExitCode> {
    options.start_log();
    let shared = Shared::inert(paths::state_dir(options.state_dir.as_deref()));
    let plan = match options.plan(&shared) {
        Ok(plan) => plan,
        Err(problems) => {
            complain(&problems.render());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let Some(path) = &arguments.series else { return Ok(ExitCode::FAILURE) };
    let detector = series::detector(&plan, arguments.detector.as_deref())?;
    let table = Table::read(path)?;
    let train = arguments.train.as_deref().map(Table::read).transpose()?;
    let train = train.map(|train| train.in_order(&table.names)).transpose()?;
    let found = series::replay(&plan, detector, train.as_ref(), &table)?;
    if let Some(path) = &arguments.scores {
        found.scores.write(path, found.rows.iter().copied())?;
    }
    if let Some(path) = &arguments.incidents {
        write_incidents(path, &found.incidents)?;
    }
    let times = (table.times[0] * 1000, table.times[table.times.len() - 1] * 1000);
    let mut report =
        Report::new(path.display().to_string(), found.frames(), times, &found.incidents);
    report.notes = found.notes;
    print(&match arguments.format {
        Output::Text => report.text(),
        Output::Json => format!("{:#}\n", report.json()),
    });
    Ok(ExitCode::SUCCESS)
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
