//! Area under the ROC curve of the isolation forest on one machine of the Server Machine Dataset (Su et al. 2019).
//!
//! `smd_auc TRAIN.csv TEST.csv SEED...` prints one line `AUC FIT_MS` per seed: fits on the first file, scores the second,
//! and gives the CPU time of one fit. Columns: timestamp, features, label; `tests/bench/iforest/run` unpacks the files.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::{env, error::Error, fs};

use sentinel_models::{IsolationForest, roc::roc_auc};

#[path = "shared/cpu.rs"]
mod cpu;

struct Table {
    rows: Vec<f32>,
    n_features: usize,
    anomalous: Vec<bool>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [train, test, seeds @ ..] = arguments.as_slice() else {
        return Err("usage: smd_auc TRAIN.csv TEST.csv SEED...".into());
    };
    let (train, test) = (read(train)?, read(test)?);

    for seed in seeds {
        let params = IsolationForest::params().n_trees(100).max_samples(256).seed(seed.parse()?);
        let forest = params.fit_rows(&train.rows, train.n_features)?;
        let mut scores = vec![0.0; test.anomalous.len()];
        forest.score_rows(&test.rows, test.n_features, &mut scores);
        let fit = cpu::seconds(20, || params.fit_rows(&train.rows, train.n_features));
        println!("{:.4} {:.3}", roc_auc(&scores, &test.anomalous), fit * 1e3);
    }
    Ok(())
}

fn read(path: &str) -> Result<Table, Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let mut lines = text.lines();
    let n_columns = lines.next().ok_or("empty file")?.split(',').count();
    let n_features = n_columns.checked_sub(2).ok_or("too few columns")?;
    let mut table = Table { rows: Vec::new(), n_features, anomalous: Vec::new() };
    for line in lines {
        let mut columns = line.split(',').skip(1);
        for value in columns.by_ref().take(n_features) {
            table.rows.push(if value.is_empty() { f32::NAN } else { value.parse()? });
        }
        table.anomalous.push(columns.next() == Some("1"));
    }
    Ok(table)
}
