//! A folder of tables: each on its own, a few at a time.
//!
//! `X.test.csv` is replayed after `X.train.csv` when that is there; `X.explain.csv` (what people say of it) is not read.
//! `--scores` and `--incidents` are folders then, with a file for each table.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, anyhow, ensure};
use sentinel_engine::config::Plan;

use super::report::Report;
use super::{Arguments, Outputs, one_series};
use crate::cli::progress::Progress;

/// A table, and the one to learn from.
#[derive(Debug, PartialEq)]
pub(crate) struct Pair {
    /// The file's name up to `.test` or `.csv`.
    pub name: String,
    pub train: Option<PathBuf>,
    pub series: PathBuf,
}

/// Replays every table of the folder; the reports in the order of the names.
pub(super) fn replay(
    plan: &Plan,
    arguments: &Arguments,
    folder: &Path,
    out: Outputs<'_>,
) -> Result<Vec<Report>> {
    let pairs = pairs(folder)?;
    for out in [out.scores, out.incidents].into_iter().flatten() {
        let cannot = || format!("{}: cannot be made a folder", out.display());
        std::fs::create_dir_all(out).with_context(cannot)?;
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(pairs.len());
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Vec::new(), Progress::new("replay, tables", pairs.len() as u64)));
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(pair) = pairs.get(at) else { return };
            let within = |out: Option<&Path>, kind: &str| {
                out.map(|out| out.join(format!("{}.{kind}", pair.name)))
            };
            let (scores, incidents) = (within(out.scores, "csv"), within(out.incidents, "jsonl"));
            let from = (pair.train.as_deref(), pair.series.as_path());
            let to = Outputs { scores: scores.as_deref(), incidents: incidents.as_deref() };
            let report = one_series(plan, arguments, from, to, true);
            if let Ok(mut done) = done.lock() {
                done.0.push((at, report));
                done.1.add(1);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let (mut reports, _) = done.into_inner().map_err(|_| anyhow!("a replay panicked"))?;
    reports.sort_by_key(|(at, _)| *at);
    reports.into_iter().map(|(_, report)| report).collect()
}

/// The tables of a folder.
pub(crate) fn pairs(folder: &Path) -> Result<Vec<Pair>> {
    let cannot = || format!("{}: cannot be read", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(cannot)? {
        paths.push(entry.with_context(cannot)?.path());
    }
    paths.sort();
    let mut pairs: Vec<Pair> = Vec::new();
    let kinds = paths.iter().filter_map(|path| Some((kind(path)?, path)));
    let kinds: Vec<_> = kinds.collect();
    for ((stem, part), path) in &kinds {
        let has =
            |wanted: &str| kinds.iter().any(|((other, kind), _)| other == stem && *kind == wanted);
        if *part == "explain" || (*part == "train" && has("test")) {
            continue;
        }
        let train = kinds.iter().find(|((other, kind), _)| other == stem && *kind == "train");
        let train = train.filter(|_| *part == "test").map(|(_, path)| (*path).clone());
        pairs.push(Pair { name: stem.clone(), train, series: (*path).clone() });
    }
    ensure!(!pairs.is_empty(), "{}: there is no *.csv or *.csv.gz", folder.display());
    Ok(pairs)
}

/// A table's name, and which part of it the file is.
fn kind(path: &Path) -> Option<(String, &'static str)> {
    let name = path.file_name()?.to_str()?;
    let stem = name.strip_suffix(".gz").unwrap_or(name).strip_suffix(".csv")?;
    let parts = [(".test", "test"), (".train", "train"), (".explain", "explain")];
    let part = parts.iter().find_map(|(end, part)| Some((stem.strip_suffix(end)?, *part)));
    let (stem, part) = part.unwrap_or((stem, ""));
    Some((stem.to_owned(), part))
}
