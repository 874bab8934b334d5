//! CPU times of Prophet on 14 days of 5 minutes with a daily and a weekly season: six made-up series, medians.
//!
//! Prints one `name value unit` per line: a fit of Prophet's own model, a fit of the shipped one (with its back-tests), a
//! single forecast of each with band and terms, and the size of the saved state. `tests/bench/prophet/peer.py` makes
//! the same series for Python's Prophet.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::{error::Error, f64::consts::TAU, hint::black_box};

use sentinel_models::prophet::{Prophet, Settings};
use sentinel_models::{rng::SplitMix64, robust::median};

#[path = "shared/cpu.rs"]
mod cpu;

const DAY: f64 = 86_400.0;
const ROWS: usize = 4032;
const AHEAD: usize = 4320;
const SERIES: u64 = 6;
const REPEATS: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let both = [("", Settings::prophet()), ("_shipped", Settings::shipped())];
    for (name, settings) in both {
        let (mut fits, mut forecasts, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 1..=SERIES {
            let (t, y) = series(seed);
            let model = Prophet::fit(&settings, &t, &y)?;
            let ahead: Vec<f64> = (1..=AHEAD).map(|i| t[ROWS - 1] + 300.0 * i as f64).collect();
            let fit = || cpu::seconds(4, || Prophet::fit(&settings, black_box(&t), &y));
            fits.push(repeated(fit));
            let forecast = || {
                cpu::seconds(4, || {
                    let points = ahead.iter().map(|at| model.predict_one(black_box(*at)));
                    points.map(|point| point.yhat + point.lower + point.trend).sum::<f64>()
                })
            };
            forecasts.push(repeated(forecast) / AHEAD as f64);
            bytes.push(model.memory() as f64);
        }
        println!("fit{name} {:.3} ms", median(&fits).unwrap_or(f64::NAN) * 1e3);
        println!("predict_one{name} {:.4} us", median(&forecasts).unwrap_or(f64::NAN) * 1e6);
        println!("model{name} {:.2} KiB", median(&bytes).unwrap_or(f64::NAN) / 1024.0);
    }
    Ok(())
}

fn repeated(mut seconds: impl FnMut() -> f64) -> f64 {
    let repeats: Vec<f64> = (0..REPEATS).map(|_| seconds()).collect();
    median(&repeats).unwrap_or(f64::NAN)
}

/// A trend with two changes, a daily wave, quieter weekends, noise; peer.py repeats it.
fn series(seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut rng = SplitMix64::new(seed);
    let (first, second) = (0.2 + 0.2 * rng.uniform(), 0.5 + 0.2 * rng.uniform());
    let row = |i: usize| {
        let (t, x) = (1.7e9 + 300.0 * i as f64, i as f64 / ROWS as f64);
        let trend = 4.0 * x - 8.0 * (x - first).max(0.0) + 10.0 * (x - second).max(0.0);
        let week = if (t / DAY).floor().rem_euclid(7.0) < 2.0 { -1.0 } else { 0.0 };
        let noise = rng.uniform() + rng.uniform() + rng.uniform() + rng.uniform() - 2.0;
        (t, 10.0 + trend + 2.0 * (TAU * t / DAY).sin() + week + noise)
    };
    (0..ROWS).map(row).unzip()
}
