//! Decisions of the one-class SVM, one a line, for the accuracy page (`tests/accuracy/model_figures.py`), which sets them
//! beside scikit-learn's on the same rows. `svm_decisions TRAIN.csv TEST.csv NU GAMMA`: numbers only, no header.

#![allow(clippy::print_stdout, reason = "an example prints its result")]

use std::{env, error::Error, fs};

use sentinel_models::{Gamma, OneClassSvm};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [train, test, nu, gamma] = arguments.as_slice() else {
        return Err("usage: svm_decisions TRAIN.csv TEST.csv NU GAMMA".into());
    };
    let (train, width) = read(train)?;
    let (test, _) = read(test)?;
    let params = OneClassSvm::params().nu(nu.parse()?).gamma(Gamma::Value(gamma.parse()?));
    let svm = params.fit_rows(&train, width)?;
    let mut decisions = vec![0.0; test.len() / width];
    svm.decision_rows(&test, width, &mut decisions);
    for decision in decisions {
        println!("{decision}");
    }
    Ok(())
}

/// Values row after row, and how many a row has.
fn read(path: &str) -> Result<(Vec<f64>, usize), Box<dyn Error>> {
    let text = fs::read_to_string(path)?;
    let width = text.lines().next().ok_or("empty file")?.split(',').count();
    let values =
        text.lines().flat_map(|line| line.split(',')).map(str::parse).collect::<Result<_, _>>()?;
    Ok((values, width))
}
