//! Beside other implementations: decisions that scikit-learn made (`sklearn_decisions.py` wrote them), and linfa-svm.

use std::collections::BTreeMap;

use linfa::dataset::Pr;
use linfa_svm::Svm;
use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Recorded {
    tables: BTreeMap<String, Vec<Vec<f64>>>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    rows: String,
    train: usize,
    nu: f64,
    gamma: String,
    support: usize,
    rho: f64,
    decisions: Vec<f64>,
}

fn correlation(one: &[f64], other: &[f64]) -> f64 {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let (a, b) = (mean(one), mean(other));
    let product = |one: &[f64], a: f64, other: &[f64], b: f64| -> f64 {
        one.iter().zip(other).map(|(x, y)| (x - a) * (y - b)).sum()
    };
    product(one, a, other, b) / (product(one, a, one, a) * product(other, b, other, b)).sqrt()
}

fn same_signs(one: &[f64], other: &[f64]) -> f64 {
    let same = one.iter().zip(other).filter(|(one, other)| (**one < 0.0) == (**other < 0.0));
    same.count() as f64 / one.len() as f64
}

#[test]
fn decisions_are_those_that_scikit_learn_recorded() {
    let recorded: Recorded = serde_json::from_str(include_str!("sklearn.json")).expect("recorded");
    assert_eq!(recorded.cases.len(), 6);
    for case in recorded.cases {
        let table = &recorded.tables[&case.rows];
        let width = table[0].len();
        let (train, test) = (table[..case.train].concat(), table[case.train..].concat());
        let gamma = case.gamma.parse().map_or(Gamma::Scale, Gamma::Value);
        let svm = OneClassSvm::params().nu(case.nu).gamma(gamma).fit_rows(&train, width);
        let svm = svm.expect("rows");
        let ours = decisions(&svm, &test);
        let name = format!("{} nu {} gamma {}", case.rows, case.nu, case.gamma);
        let correlation = correlation(&ours, &case.decisions);
        assert!(correlation >= 0.9999, "{name}: {correlation}");
        let same = same_signs(&ours, &case.decisions);
        assert!(same >= 0.999, "{name}: {same}");
        assert!((svm.rho() - case.rho).abs() <= 2e-3 * case.rho.max(1.0), "{name}: {}", svm.rho());
        let support = svm.n_support().abs_diff(case.support);
        assert!(
            support <= 2 + case.support / 20,
            "{name}: {} of {}",
            svm.n_support(),
            case.support
        );
        // Rows on the boundary count as either; nu is between the shares without and with them.
        let limit = case.nu * case.train as f64;
        let on_train = decisions(&svm, &train);
        let below =
            |limit: f64| on_train.iter().filter(|decision| **decision < limit).count() as f64;
        assert!(below(-1e-3) <= limit && limit <= below(1e-3), "{name}");
    }
}

#[test]
fn decisions_are_those_of_linfa_svm() {
    for (nu, gamma, seed) in [(0.05, 0.2, 1), (0.1, 0.06, 2), (0.3, 1.0, 3)] {
        let rows = host_metrics(500, seed);
        let records = Array2::from_shape_vec((500, WIDTH), rows.clone()).expect("shape");
        let dataset = DatasetBase::new(records, Array1::from_elem(500, ()));
        let peer = Svm::<f64, Pr>::params().gaussian_kernel(1.0 / gamma).nu_weight(nu);
        let peer: Svm<f64, bool> = peer.fit(&dataset).expect("linfa-svm");
        let test = host_metrics(1_000, 9);
        let theirs: Vec<f64> = test
            .chunks_exact(WIDTH)
            .map(|row| peer.weighted_sum(&Array1::from(row.to_vec())) - peer.rho)
            .collect();
        let params = OneClassSvm::params().nu(nu).gamma(Gamma::Value(gamma)).tolerance(1e-6);
        let ours = decisions(&params.fit_rows(&rows, WIDTH).expect("rows"), &test);
        let correlation = correlation(&ours, &theirs);
        assert!(correlation >= 0.9999, "nu {nu}: {correlation}");
        assert!(same_signs(&ours, &theirs) >= 0.999, "nu {nu}");
    }
}
