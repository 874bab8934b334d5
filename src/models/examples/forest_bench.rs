//! CPU times of the isolation forest: 100 trees of 256 rows, 5 features, 20,000 rows; median of 15 repeats.
//!
//! Prints one `name value unit` per line: a fit, the score of a single row, score with contributions of a single row, a
//! row's share of a batch, and the size of the model in memory.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::{error::Error, hint::black_box};

use sentinel_models::{IsolationForest, rng::SplitMix64, robust::median};

#[path = "shared/cpu.rs"]
mod cpu;

const WIDTH: usize = 5;
const ROWS: usize = 20_000;
const REPEATS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let rows = correlated_rows();
    let params = IsolationForest::params().n_trees(100).max_samples(256).seed(42);
    let forest = params.fit_rows(&rows, WIDTH)?;

    let fit = repeated(|| cpu::seconds(20, || params.fit_rows(&rows, WIDTH)));
    println!("fit {:.2} ms", fit * 1e3);

    let single = repeated(|| {
        cpu::seconds(1, || {
            rows.chunks_exact(WIDTH).map(|row| forest.score_row(black_box(row))).sum::<f64>()
        })
    });
    println!("score_row {:.2} us", single / ROWS as f64 * 1e6);

    let mut contributions = [0.0; WIDTH];
    let explained = repeated(|| {
        cpu::seconds(1, || {
            let scores = rows
                .chunks_exact(WIDTH)
                .map(|row| forest.explain_row(black_box(row), &mut contributions));
            scores.sum::<f64>()
        })
    });
    println!("explain_row {:.2} us", explained / ROWS as f64 * 1e6);

    let mut scores = vec![0.0; ROWS];
    let batch =
        repeated(|| cpu::seconds(1, || forest.score_rows(black_box(&rows), WIDTH, &mut scores)));
    println!("score_rows {:.2} us/row", batch / ROWS as f64 * 1e6);

    println!("model {:.1} KiB", forest.memory() as f64 / 1024.0);
    Ok(())
}

fn repeated(mut seconds: impl FnMut() -> f64) -> f64 {
    let repeats: Vec<f64> = (0..REPEATS).map(|_| seconds()).collect();
    median(&repeats).unwrap_or(f64::NAN)
}

fn correlated_rows() -> Vec<f32> {
    let mut rng = SplitMix64::new(1);
    let mut rows = Vec::with_capacity(ROWS * WIDTH);
    for _ in 0..ROWS {
        let load = rng.normal() + 3.0 * rng.below(2) as f64;
        rows.extend((0..WIDTH).map(|_| (0.6 * load + 0.8 * rng.normal()) as f32));
    }
    rows
}
