//! How often the true cause leads the ranking of suspects, on two public sets of labelled incidents.
//!
//! `SENTINEL_DATA=DIR petshop` prints one line a case set: top 1 and top 3 of `change_rank` (rank alone, and with the
//! repeated suspects put back), and of the baseline on the same rows.
//!
//! - `PetShop` (Hardt et al. 2024): 26 injected faults; every column of the target's metric competes, a node has the
//!   largest change of its columns, over all rows of the fault. Baseline: largest |x - median| / max(IQR, floor).
//! - SMD (Su et al. 2019, `*.explain.csv.gz`): 151 labelled segments; any of the named signals counts. At notification
//!   (the first 3, 4, 5 rows) and at resolution (all rows). Baseline: largest |x - mean| / max(standard deviation, floor).
//!
//! The floor is 0.001 |median| + 0.001 everywhere. Nothing after the rows ranked is used.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::{collections::BTreeMap, env, error::Error, fs, path::Path, process::Command};

use sentinel_models::{
    change_rank::{Baseline, Direction, change, correlation, rank, rank_distinct},
    robust::{median, quantile},
};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Seconds of the recent level before an onset.
const RECENT: i64 = 3 * 3600;

struct Table {
    names: Vec<String>,
    times: Vec<i64>,
    columns: Vec<Vec<f64>>,
}

/// Ranks of the first true cause, counted from 0; one entry a case.
#[derive(Default)]
struct Ranks {
    baseline: Vec<usize>,
    ours: Vec<usize>,
    distinct: Vec<usize>,
}

fn main() -> Result<()> {
    let data = env::var("SENTINEL_DATA").map_err(|_| "SENTINEL_DATA names no folder")?;
    petshop(&Path::new(&data).join("petshop"))?;
    smd(&Path::new(&data).join("smd"))
}

fn petshop(folder: &Path) -> Result<()> {
    let normal = table(&folder.join("low_traffic.noissue.csv.gz"))?;
    let faults = table(&folder.join("low_traffic.issues.csv.gz"))?;
    let explained = records(&folder.join("low_traffic.issues.explain.csv.gz"))?;
    if normal.names != faults.names {
        return Err("the two petshop tables differ in their columns".into());
    }
    let window = usize::try_from(RECENT / 300)?;
    let recent = normal.times.len().saturating_sub(window)..normal.times.len();
    let mut ranks = Ranks::default();
    for case in &explained {
        let (start, end) = (field(case, "start")?.parse()?, field(case, "end")?.parse()?);
        let cause = field(case, "features")?.split('|').next().ok_or("no node")?;
        let metric = field(case, "target")?.split('|').nth(1).ok_or("a target without a metric")?;
        let direction = if metric == "availability" { Direction::Down } else { Direction::Up };
        let mut nodes = Nodes::default();
        for (name, (training, series)) in
            normal.names.iter().zip(normal.columns.iter().zip(&faults.columns))
        {
            let mut parts = name.split('|');
            let (Some(node), Some(of)) = (parts.next(), parts.next()) else { continue };
            let post: Vec<f64> = rows(&faults, series, start, end);
            if of != metric {
                continue;
            }
            let changed = Baseline::fit(training, window).map_or(0.0, |usual| {
                change(&usual, &training[recent.clone()], &post, direction, 0.0)
            });
            nodes.add(node, changed, by_quartiles(training, &post), training);
        }
        ranks.add(&nodes, |node| node == cause);
    }
    ranks.print("petshop, all rows");
    Ok(())
}

fn smd(folder: &Path) -> Result<()> {
    let mut at: [(&str, Option<usize>, Ranks); 4] = [
        ("smd, first 3 rows", Some(3), Ranks::default()),
        ("smd, first 4 rows", Some(4), Ranks::default()),
        ("smd, first 5 rows", Some(5), Ranks::default()),
        ("smd, all rows", None, Ranks::default()),
    ];
    for machine in machines(folder)? {
        let train = table(&folder.join(format!("{machine}.train.csv.gz")))?;
        let test = table(&folder.join(format!("{machine}.test.csv.gz")))?;
        let window = usize::try_from(RECENT / 60)?;
        let usual: Vec<Option<Baseline>> =
            train.columns.iter().map(|column| Baseline::fit(column, window)).collect();
        let moments: Vec<[f64; 2]> = train.columns.iter().map(|column| by_mean(column)).collect();
        let correlations = correlation(&train.columns);
        for case in &records(&folder.join(format!("{machine}.explain.csv.gz")))? {
            let (start, end): (i64, i64) =
                (field(case, "start")?.parse()?, field(case, "end")?.parse()?);
            let causes: Vec<&str> = field(case, "features")?.split(';').collect();
            for (_, frames, ranks) in &mut at {
                let until = match frames {
                    Some(frames) => start + 60 * (i64::try_from(*frames)? - 1),
                    None => end,
                };
                let mut nodes =
                    Nodes { correlations: Some(correlations.clone()), ..Nodes::default() };
                for (i, name) in train.names.iter().enumerate() {
                    let mut before = rows(&train, &train.columns[i], start - RECENT, start - 1);
                    before.extend(rows(&test, &test.columns[i], start - RECENT, start - 1));
                    let post = rows(&test, &test.columns[i], start, until);
                    let changed = usual[i]
                        .map_or(0.0, |usual| change(&usual, &before, &post, Direction::Both, 0.0));
                    let [mean, scale] = moments[i];
                    nodes.add(name, changed, largest(&post, mean, scale), &train.columns[i]);
                }
                ranks.add(&nodes, |name| causes.contains(&name));
            }
        }
    }
    for (name, _, ranks) in &at {
        ranks.print(name);
    }
    Ok(())
}

/// What competes in one case: each node with the largest of its columns' changes, and that column's training.
#[derive(Default)]
struct Nodes {
    names: Vec<String>,
    changes: Vec<f64>,
    baselines: Vec<f64>,
    trainings: Vec<Vec<f64>>,
    correlations: Option<Vec<f64>>,
}

impl Nodes {
    fn add(&mut self, name: &str, changed: f64, baseline: f64, training: &[f64]) {
        if let Some(at) = self.names.iter().position(|known| known == name) {
            self.baselines[at] = self.baselines[at].max(baseline);
            if changed > self.changes[at] {
                self.changes[at] = changed;
                self.trainings[at] = training.to_vec();
            }
        } else {
            self.names.push(name.into());
            self.changes.push(changed);
            self.baselines.push(baseline);
            self.trainings.push(if self.correlations.is_none() {
                training.to_vec()
            } else {
                Vec::new()
            });
        }
    }
}

impl Ranks {
    fn add(&mut self, nodes: &Nodes, is_cause: impl Fn(&str) -> bool) {
        let correlations =
            nodes.correlations.clone().unwrap_or_else(|| correlation(&nodes.trainings));
        let first = |order: Vec<usize>| {
            order.iter().position(|at| is_cause(&nodes.names[*at])).unwrap_or(usize::MAX)
        };
        self.baseline.push(first(rank(&nodes.baselines)));
        self.ours.push(first(rank(&nodes.changes)));
        self.distinct.push(first(rank_distinct(&nodes.changes, &correlations, 3)));
    }

    fn print(&self, name: &str) {
        let share = |ranks: &[usize], top: usize| {
            ranks.iter().filter(|rank| **rank < top).count() as f64 / ranks.len() as f64
        };
        print!("{name:<20} n {:<4}", self.ours.len());
        for (of, ranks) in
            [("baseline", &self.baseline), ("change", &self.ours), ("distinct", &self.distinct)]
        {
            print!(" {of} top1 {:.3} top3 {:.3} ", share(ranks, 1), share(ranks, 3));
        }
        println!();
    }
}

/// The baseline for `PetShop`: the largest |x - median| / max(IQR, floor).
fn by_quartiles(training: &[f64], post: &[f64]) -> f64 {
    let (Some(middle), Some(low), Some(high)) =
        (median(training), quantile(training, 0.25), quantile(training, 0.75))
    else {
        return f64::NAN;
    };
    largest(post, middle, (high - low).max(floor(middle)))
}

/// Mean, and standard deviation or floor.
fn by_mean(training: &[f64]) -> [f64; 2] {
    let n = training.len() as f64;
    let mean = training.iter().sum::<f64>() / n;
    let variance = training.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    [mean, variance.sqrt().max(floor(median(training).unwrap_or(0.0)))]
}

fn floor(middle: f64) -> f64 {
    0.001 * middle.abs() + 0.001
}

/// NaN if `post` holds no number.
fn largest(post: &[f64], middle: f64, scale: f64) -> f64 {
    post.iter().map(|value| (value - middle).abs() / scale).fold(f64::NAN, f64::max)
}

/// The values of `column` from `start` to `end`, both included.
fn rows(table: &Table, column: &[f64], start: i64, end: i64) -> Vec<f64> {
    let (from, until) = (
        table.times.partition_point(|time| *time < start),
        table.times.partition_point(|time| *time <= end),
    );
    column[from..until].to_vec()
}

fn machines(folder: &Path) -> Result<Vec<String>> {
    let mut machines = Vec::new();
    for entry in fs::read_dir(folder)? {
        if let Some(machine) =
            entry?.file_name().to_str().and_then(|name| name.strip_suffix(".train.csv.gz"))
        {
            machines.push(machine.to_owned());
        }
    }
    machines.sort();
    Ok(machines)
}

fn table(path: &Path) -> Result<Table> {
    let text = unpack(path)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().ok_or("empty file")?.split(',').collect();
    let names: Vec<String> = header
        .get(1..header.len() - 1)
        .ok_or("too few columns")?
        .iter()
        .map(ToString::to_string)
        .collect();
    let mut table = Table { columns: vec![Vec::new(); names.len()], names, times: Vec::new() };
    for line in lines {
        let mut cells = line.split(',');
        table.times.push(cells.next().ok_or("empty line")?.parse()?);
        for column in &mut table.columns {
            let cell = cells.next().ok_or("short line")?;
            column.push(if cell.is_empty() { f64::NAN } else { cell.parse()? });
        }
    }
    Ok(table)
}

fn records(path: &Path) -> Result<Vec<BTreeMap<String, String>>> {
    let text = unpack(path)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().ok_or("empty file")?.split(',').collect();
    let record = |line: &str| {
        header.iter().map(ToString::to_string).zip(line.split(',').map(String::from)).collect()
    };
    Ok(lines.map(record).collect())
}

fn field<'a>(record: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str> {
    record.get(name).map(String::as_str).ok_or_else(|| format!("no column {name}").into())
}

fn unpack(path: &Path) -> Result<String> {
    let output = Command::new("gzip").arg("-dc").arg(path).output()?;
    if !output.status.success() {
        return Err(format!(
            "gzip -dc {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        )
        .into());
    }
    Ok(String::from_utf8(output.stdout)?)
}
