//! The shipped Prophet on hold-outs of every column of a folder of series: error, coverage and width of its band.
//!
//! `seasonal DATA/seasonal` reads every `*.csv` there (unpacked: timestamp, values, label) and prints one JSON object per
//! series and origin; the rule of origins is that of `tests/accuracy/seasonal_peers.py`, which does the same with Python's
//! Prophet, and `tests/accuracy/seasonal` compares both.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::{env, error::Error, fs, path::Path};

use sentinel_models::prophet::{Prophet, Settings};
use sentinel_models::robust::median;

#[path = "shared/cpu.rs"]
mod cpu;

const ORIGINS: i64 = 6;
const DAY: i64 = 86_400;

struct Series {
    name: String,
    seconds: Vec<i64>,
    values: Vec<f64>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args().nth(1).ok_or("usage: seasonal FOLDER")?;
    let mut paths: Vec<_> = fs::read_dir(&folder)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "csv"));
    paths.sort();
    for path in paths {
        for series in read(&path)? {
            judge(&series)?;
        }
    }
    Ok(())
}

fn judge(series: &Series) -> Result<(), Box<dyn Error>> {
    let times: Vec<f64> = series.seconds.iter().map(|second| *second as f64).collect();
    let steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let step = median(&steps).ok_or("an empty series")?;
    let horizon = match step {
        step if step < 72_000.0 => DAY,
        step if step < 20.0 * DAY as f64 => 30 * DAY,
        _ => 366 * DAY,
    };
    let (first, last) = (series.seconds[0], series.seconds[series.seconds.len() - 1]);
    let (start, end) = (first + (last - first) / 2, last - horizon);
    for k in 0..ORIGINS {
        let origin = start + (end - start) * k / (ORIGINS - 1);
        let rows = series.seconds.partition_point(|second| *second < origin);
        let until = series.seconds.partition_point(|second| *second < origin + horizon);
        let mut model = None;
        let (before, known) = (&times[..rows], &series.values[..rows]);
        let cpu = cpu::seconds(1, || {
            model = Prophet::fit(&Settings::shipped(), before, known).ok();
        });
        let model = model.ok_or("a fit failed")?;
        let (mut error, mut inside, mut winkler) = (0.0, 0.0, 0.0);
        for (time, &actual) in times[rows..until].iter().zip(&series.values[rows..until]) {
            let point = model.predict_one(*time);
            error += (actual - point.yhat).abs();
            inside += f64::from(u8::from((point.lower..=point.upper).contains(&actual)));
            let outside = (point.lower - actual).max(actual - point.upper).max(0.0);
            winkler += point.upper - point.lower + 40.0 * outside;
        }
        let n = (until - rows) as f64;
        println!(
            r#"{{"series": "{}", "origin": {origin}, "rows": {rows}, "ahead": {n}, "mae": {}, "coverage": {}, "winkler": {}, "cpu": {cpu}}}"#,
            series.name,
            error / n,
            inside / n,
            winkler / n,
        );
    }
    Ok(())
}

/// Every column between the timestamp and the label, without the rows where it is empty.
fn read(path: &Path) -> Result<Vec<Series>, Box<dyn Error>> {
    let file =
        path.file_stem().and_then(|stem| stem.to_str()).ok_or("a file name that is not UTF-8")?;
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().ok_or("empty file")?.split(',').collect();
    let names = header.get(1..header.len() - 1).ok_or("too few columns")?;
    let blank = |name: &&str| Series {
        name: format!("{file}:{name}"),
        seconds: Vec::new(),
        values: Vec::new(),
    };
    let mut found: Vec<Series> = names.iter().map(blank).collect();
    for line in lines {
        let mut cells = line.split(',');
        let second: i64 = cells.next().ok_or("empty line")?.parse()?;
        for (series, cell) in found.iter_mut().zip(cells) {
            if !cell.is_empty() {
                series.seconds.push(second);
                series.values.push(cell.parse()?);
            }
        }
    }
    Ok(found)
}
