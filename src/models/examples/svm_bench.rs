//! CPU times of the one-class SVM beside scikit-learn's, on the same rows (`tests/bench/svm/run`).
//!
//! svm_bench TRAIN TEST NU GAMMA OUT     TRAIN and TEST hold rows of 5 doubles, little-endian; GAMMA is a number
//!
//! Prints one `name value unit` per line, medians of 15 repeats: a fit, a row's share of a batch, a single row, a single
//! row explained, and bytes; writes the decisions of TEST to OUT, as doubles.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::{env, error::Error, fs, hint::black_box};

use sentinel_models::{Gamma, OneClassSvm, robust::median};

#[path = "shared/cpu.rs"]
mod cpu;

const WIDTH: usize = 5;
const REPEATS: usize = 15;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [train, test, nu, gamma, out] = arguments.as_slice() else {
        return Err("svm_bench TRAIN TEST NU GAMMA OUT".into());
    };
    let (train, test) = (read(train)?, read(test)?);
    let params = OneClassSvm::params().nu(nu.parse()?).gamma(Gamma::Value(gamma.parse()?));
    let before = peak_kib()?;
    let svm = params.fit_rows(&train, WIDTH)?;
    println!("fit_memory {} KiB", peak_kib()? - before);

    let fit = repeated(|| cpu::seconds(3, || params.fit_rows(&train, WIDTH)));
    println!("fit {:.3} ms", fit * 1e3);
    let rows = (test.len() / WIDTH) as f64;
    let mut decisions = vec![0.0; test.len() / WIDTH];
    let batch =
        repeated(|| cpu::seconds(1, || svm.decision_rows(black_box(&test), WIDTH, &mut decisions)));
    println!("score_rows {:.4} us/row", batch / rows * 1e6);
    let single = repeated(|| {
        let some = || test.chunks_exact(WIDTH);
        cpu::seconds(1, || some().map(|row| svm.score_row(black_box(row))).sum::<f64>())
    });
    println!("score_row {:.4} us", single / rows * 1e6);
    let mut parts = [0.0; WIDTH];
    let explained = repeated(|| {
        let some = || test.chunks_exact(WIDTH).take(1000);
        cpu::seconds(1, || some().map(|row| svm.explain_row(row, &mut parts).decision).sum::<f64>())
    });
    println!("explain_row {:.2} us", explained * 1e3);
    println!("model {:.1} KiB", svm.memory() as f64 / 1024.0);
    println!("support_vectors {} of-rows", svm.n_support());
    let report = svm.fit_report();
    println!("iterations {} converged-{}", report.iterations, report.converged);
    println!("outside {:.4} of-rows", report.outside as f64 / report.rows as f64);
    fs::write(
        out,
        decisions.iter().flat_map(|decision| decision.to_le_bytes()).collect::<Vec<_>>(),
    )?;
    Ok(())
}

fn read(path: &str) -> Result<Vec<f64>, Box<dyn Error>> {
    let bytes = fs::read(path)?;
    let (values, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() || values.len() % WIDTH != 0 {
        return Err(format!("{path} does not hold rows of {WIDTH} doubles").into());
    }
    Ok(values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect())
}

/// Most memory this process has had so far.
fn peak_kib() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

fn repeated(mut seconds: impl FnMut() -> f64) -> f64 {
    let repeats: Vec<f64> = (0..REPEATS).map(|_| seconds()).collect();
    median(&repeats).unwrap_or(f64::NAN)
}
