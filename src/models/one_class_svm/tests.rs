//! What the one-class SVM promises.

use linfa::traits::{Fit, Predict, PredictInplace};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, Array2};

use super::cache::RowCache;
use super::kernel::{Blocks, exp2_minus};
use super::*;
use crate::{ModelError, rng::SplitMix64};

mod explaining;
mod oracles;
mod states;

/// Features of the made-up host: cpu, mem, disk, net, latency.
const WIDTH: usize = 5;

/// Host metrics as in reference/models.md section 0, standardised: a day and a night regime, features driven by one load.
fn host_metrics(n_rows: usize, seed: u64) -> Vec<f64> {
    const MEAN: [[f64; WIDTH]; 2] =
        [[60.0, 55.0, 40.0, 80.0, 30.0], [25.0, 45.0, 30.0, 20.0, 15.0]];
    const SIGMA: [f64; WIDTH] = [8.0, 4.0, 5.0, 10.0, 4.0];
    const LOAD: [f64; WIDTH] = [0.8, 0.5, 0.4, 0.7, 0.6];
    let mut rng = SplitMix64::new(seed);
    let mut rows = Vec::with_capacity(n_rows * WIDTH);
    for _ in 0..n_rows {
        let regime = rng.below(2);
        let load = rng.normal();
        rows.extend((0..WIDTH).map(|f| {
            let half = (MEAN[0][f] - MEAN[1][f]) / 2.0;
            let own = (1.0 - LOAD[f] * LOAD[f]).sqrt() * rng.normal();
            let side = if regime == 0 { half } else { -half };
            (side + SIGMA[f] * (LOAD[f] * load + own)) / SIGMA[f].hypot(half)
        }));
    }
    rows
}

fn fitted(rows: &[f64], nu: f64) -> OneClassSvm {
    OneClassSvm::params().nu(nu).fit_rows(rows, WIDTH).expect("enough rows")
}

fn decisions(svm: &OneClassSvm, rows: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; rows.len() / svm.n_features()];
    svm.decision_rows(rows, svm.n_features(), &mut out);
    out
}

fn share_outside(svm: &OneClassSvm, rows: &[f64]) -> f64 {
    let decisions = decisions(svm, rows);
    decisions.iter().filter(|decision| **decision < 0.0).count() as f64 / decisions.len() as f64
}

#[test]
fn the_exponential_is_within_its_error_and_exact_at_zero() {
    assert_eq!(exp2_minus(0.0), 1.0);
    let mut worst = 0.0_f64;
    for step in 0..2_000_000 {
        let d = step as f32 * 5e-5;
        let exact = (-f64::from(d)).exp2();
        worst = worst.max((f64::from(exp2_minus(d)) / exact - 1.0).abs());
    }
    assert!(worst < 2e-7, "{worst:e}");
    for far in [100.0, 1e30, f32::INFINITY, f32::NAN] {
        assert_eq!(f64::from(exp2_minus(far)), (-100.0_f64).exp2());
    }
}

#[test]
fn nu_is_the_share_of_training_rows_outside() {
    let rows = host_metrics(5_000, 1);
    for nu in [0.005, 0.01, 0.05, 0.2] {
        let svm = fitted(&rows, nu);
        let report = svm.fit_report();
        assert!(report.converged);
        assert!((share_outside(&svm, &rows) - nu).abs() <= 0.005, "nu {nu}");
        assert!((report.outside as f64 / report.rows as f64 - nu).abs() <= 0.005, "nu {nu}");
        assert!(svm.n_support() as f64 >= nu * 5_000.0 && svm.rho() > 0.0);
    }
}

#[test]
fn rows_of_the_same_kind_are_inside_and_far_ones_score_one() {
    let svm = fitted(&host_metrics(3_000, 1), 0.01);
    assert!(share_outside(&svm, &host_metrics(5_000, 2)) < 0.025);
    for far in [60.0, 1e9, f64::INFINITY, f64::NEG_INFINITY] {
        let row = [0.0, 0.0, far, 0.0, 0.0];
        assert_eq!(svm.decision_row(&row), -svm.rho());
        assert_eq!(svm.score_row(&row), 1.0);
    }
    // Between the regimes, where the mean of all rows is, there is nothing: the boundary is not a ball.
    let opposed = [1.2, -1.2, 1.2, -1.2, 1.2];
    assert!(svm.score_row(&opposed) > 0.1, "{}", svm.score_row(&opposed));
}

#[test]
fn a_small_cache_gives_the_same_model_and_is_kept_to() {
    let rows = host_metrics(3_000, 3);
    let params = OneClassSvm::params().nu(0.1);
    let least = params.clone().cache_bytes(1 << 16).fit_rows(&rows, WIDTH).expect("rows");
    assert_eq!(least, params.fit_rows(&rows, WIDTH).expect("rows"));

    let blocks = Blocks::new(3_000, WIDTH, |row, feature| rows[row * WIDTH + feature] as f32);
    let mut cache = RowCache::new(&blocks, 1 << 16);
    let mut rng = SplitMix64::new(1);
    let mut expected = vec![0.0; 3_000];
    for _ in 0..500 {
        let (one, other) = (rng.below(3_000), rng.below(9));
        let slots = [one, other].map(|row| cache.fetch(row));
        for (row, slot) in [one, other].into_iter().zip(slots) {
            cache.write(row, &mut expected);
            assert_eq!(cache.values(slot), expected);
            assert_eq!(cache.values(slot)[row], 1.0);
        }
        assert!(cache.bytes() <= 1 << 16);
    }
    assert_eq!(cache.bytes(), 5 * 3_000 * 4);
}

#[test]
fn more_rows_than_allowed_are_drawn_from_all() {
    let mut rows = host_metrics(4_000, 4);
    rows.extend(vec![3.0; 4_000 * WIDTH]);
    let svm = OneClassSvm::params().max_rows(500).fit_rows(&rows, WIDTH).expect("rows");
    assert_eq!(svm.fit_report().rows, 500);
    assert!(svm.decision_row(&[3.0; WIDTH]) > 0.0, "the second half was drawn from, too");
    assert!(share_outside(&svm, &rows[..4_000 * WIDTH]) < 0.1, "and the first");
}

#[test]
fn the_same_seed_gives_the_same_model_and_another_nearly_the_same_decisions() {
    let rows = host_metrics(1_000, 5);
    let with = |seed| {
        let params = OneClassSvm::params().gamma(Gamma::Value(0.2)).seed(seed);
        params.fit_rows(&rows, WIDTH).expect("rows")
    };
    assert_eq!(with(1), with(1));
    let pairs = decisions(&with(1), &rows).into_iter().zip(decisions(&with(2), &rows));
    let worst = pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
    assert!(worst < 2e-3, "{worst}");
}

#[test]
fn when_iterations_run_out_the_report_says_so() {
    let rows = host_metrics(2_000, 6);
    let svm = OneClassSvm::params().nu(0.1).max_iterations(3).fit_rows(&rows, WIDTH);
    let svm = svm.expect("rows");
    assert_eq!((svm.fit_report().iterations, svm.fit_report().converged), (3, false));
    assert!(svm.decision_row(&rows[..WIDTH]).is_finite());
}

#[test]
fn gammas_are_found_as_documented() {
    let rows = host_metrics(5_000, 7);
    let gamma = |gamma, rows: &[f64]| {
        OneClassSvm::params().gamma(gamma).fit_rows(rows, WIDTH).expect("rows").gamma()
    };
    let n = rows.len() as f64;
    let mean = rows.iter().sum::<f64>() / n;
    let variance = rows.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n;
    assert!((gamma(Gamma::Scale, &rows) * 5.0 * variance - 1.0).abs() < 1e-12);

    let mut distances = Vec::new();
    for (one, other) in (0..2_000).zip((0..5_000).rev()) {
        let [one, other] = [one, other].map(|row| &rows[row * WIDTH..][..WIDTH]);
        distances.push(one.iter().zip(other).map(|(a, b)| (a - b).powi(2)).sum::<f64>());
    }
    let expected = 0.5 / crate::robust::median(&distances).expect("some");
    assert!((gamma(Gamma::Median, &rows) / expected - 1.0).abs() < 0.15);

    assert_eq!(gamma(Gamma::Value(0.37), &rows), 0.37);
    for rule in [Gamma::Median, Gamma::Scale] {
        assert_eq!(gamma(rule, &[2.0; 10 * WIDTH]), 1.0);
    }
    let mut mostly_equal = vec![0.0; 100 * WIDTH];
    mostly_equal[..WIDTH].fill(1.0);
    assert!(gamma(Gamma::Median, &mostly_equal) > 0.1, "the mean, where the median is 0");
}

#[test]
fn constant_columns_change_nothing() {
    let rows = host_metrics(800, 8);
    let widened: Vec<f64> =
        rows.chunks_exact(WIDTH).flat_map(|row| row.iter().copied().chain([7.5])).collect();
    let params = OneClassSvm::params().gamma(Gamma::Value(0.2));
    let narrow = params.fit_rows(&rows, WIDTH).expect("rows");
    let wide = params.fit_rows(&widened, WIDTH + 1).expect("rows");
    assert_eq!(decisions(&narrow, &rows), decisions(&wide, &widened));
    let mut moved = widened[..=WIDTH].to_vec();
    moved[WIDTH] = 12.0;
    assert!(wide.decision_row(&moved) < wide.decision_row(&widened[..=WIDTH]) - 0.5 * wide.rho());
}

#[test]
fn a_large_level_leaves_digits_for_what_varies() {
    let rows = host_metrics(500, 9);
    let raised: Vec<f64> = rows.iter().map(|value| value + 1e9).collect();
    let params = OneClassSvm::params().gamma(Gamma::Value(0.2));
    let pairs = decisions(&params.fit_rows(&rows, WIDTH).expect("rows"), &rows);
    let raised = decisions(&params.fit_rows(&raised, WIDTH).expect("rows"), &raised);
    let worst =
        pairs.iter().zip(raised).map(|(one, other)| (one - other).abs()).fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst}");
}

#[test]
fn rows_that_are_all_equal_are_on_the_boundary_and_all_else_outside() {
    for n_rows in [2, 3, 300] {
        let svm = fitted(&vec![4.0; n_rows * WIDTH], 0.01);
        assert!(svm.fit_report().converged);
        assert!(svm.decision_row(&[4.0; WIDTH]).abs() <= 1e-6 * svm.rho());
        assert!(svm.score_row(&[6.0; WIDTH]) > 0.5);
        let mut parts = [f64::NAN; WIDTH];
        svm.explain_row(&[4.0; WIDTH], &mut parts);
        assert_eq!(parts, [0.0; WIDTH]);
    }
}

#[test]
fn two_rows_and_doubled_rows_are_fitted() {
    let two = OneClassSvm::params().fit_rows(&[0.0, 1.0], 1).expect("two rows");
    assert!(two.fit_report().converged);
    assert!(two.score_row(&[0.5]) < two.score_row(&[9.0]));

    let rows = host_metrics(400, 10);
    let doubled: Vec<f64> = [rows.clone(), rows.clone()].concat();
    let params = OneClassSvm::params().nu(0.05).gamma(Gamma::Value(0.2)).tolerance(1e-6);
    let (single, double) = (
        params.fit_rows(&rows, WIDTH).expect("rows"),
        params.fit_rows(&doubled, WIDTH).expect("rows"),
    );
    assert!(double.fit_report().converged);
    for row in rows.chunks_exact(WIDTH) {
        assert!((2.0 * single.decision_row(row) - double.decision_row(row)).abs() < 1e-4);
    }
}

#[test]
fn a_missing_value_counts_as_zero() {
    let mut rows = host_metrics(300, 11);
    rows[7] = f64::NAN;
    let mut replaced = rows.clone();
    replaced[7] = 0.0;
    let svm = fitted(&rows, 0.05);
    assert_eq!(svm, fitted(&replaced, 0.05));
    let mut row = rows[..WIDTH].to_vec();
    row[2] = f64::NAN;
    let missing = svm.decision_row(&row);
    row[2] = 0.0;
    assert_eq!(missing, svm.decision_row(&row));
    assert!(fitted(&vec![f64::NAN; 20 * WIDTH], 0.1).decision_row(&[0.0; WIDTH]).is_finite());
}

#[test]
fn infinities_in_training_do_not_spoil_the_other_rows() {
    let mut rows = host_metrics(300, 12);
    rows[7] = f64::INFINITY;
    rows[13] = f64::NEG_INFINITY;
    let svm = OneClassSvm::params().nu(0.05).gamma(Gamma::Value(0.2)).fit_rows(&rows, WIDTH);
    let svm = svm.expect("rows");
    assert!(svm.fit_report().converged);
    assert!(share_outside(&svm, &rows) < 0.06);
    assert!(svm.decision_row(&rows[20 * WIDTH..21 * WIDTH]).is_finite());
}

#[test]
fn linfa_traits_give_the_same_as_the_plain_functions() {
    let rows = host_metrics(300, 13);
    let records = Array2::from_shape_vec((300, WIDTH), rows.clone()).expect("shape");
    let dataset = DatasetBase::from(records.clone());
    let svm = OneClassSvm::params().nu(0.05).fit(&dataset).expect("rows");
    assert_eq!(svm, fitted(&rows, 0.05));

    let mut expected = vec![0.0; 300];
    svm.score_rows(&rows, WIDTH, &mut expected);
    let expected = Array1::from(expected);
    assert!(
        rows.chunks_exact(WIDTH).zip(&expected).all(|(row, score)| svm.score_row(row) == *score)
    );
    let predicted: Array1<f64> = svm.predict(&dataset);
    assert_eq!(predicted, expected);
    let mut columns_first = svm.default_target(&records);
    svm.predict_inplace(&records.t().as_standard_layout().reversed_axes(), &mut columns_first);
    assert_eq!(columns_first, expected);
}

#[test]
fn wide_rows_are_scored_as_narrow_ones_are() {
    let mut rng = SplitMix64::new(14);
    let width = 200;
    let rows: Vec<f64> = (0..60 * width).map(|_| rng.normal()).collect();
    let svm = OneClassSvm::params().nu(0.1).fit_rows(&rows, width).expect("rows");
    let (mut parts, row) = (vec![0.0; width], &rows[..width]);
    let explained = svm.explain_row(row, &mut parts);
    assert!((svm.decision_row(row) - explained.decision).abs() < 1e-5 * svm.rho());
}

#[test]
fn too_few_rows_and_wrong_shapes_are_errors() {
    let params = OneClassSvm::params();
    let one = params.fit_rows(&[1.0, 2.0], 2);
    assert!(matches!(one, Err(ModelError::NotEnoughRows { needed: 2, got: 1 })));
    assert!(matches!(params.fit_rows(&[1.0; 7], 2), Err(ModelError::Shape(_))));
    assert!(matches!(params.fit_rows(&[], 0), Err(ModelError::Shape(_))));
    let wide = DatasetBase::from(Array2::<f64>::zeros((2, 1001)));
    assert!(matches!(params.fit(&wide), Err(ModelError::Shape(_))));
}

#[test]
fn parameters_out_of_range_are_named() {
    let params = OneClassSvm::params;
    let refused = [
        ("nu", params().nu(0.0)),
        ("nu", params().nu(1.0)),
        ("nu", params().nu(f64::NAN)),
        ("gamma", params().gamma(Gamma::Value(0.0))),
        ("gamma", params().gamma(Gamma::Value(f64::INFINITY))),
        ("tolerance", params().tolerance(0.0)),
        ("max_rows", params().max_rows(1)),
        ("max_rows", params().max_rows(5001)),
        ("cache_bytes", params().cache_bytes(65_535)),
        ("max_iterations", params().max_iterations(0)),
    ];
    for (parameter, params) in refused {
        let error = params.check_ref().expect_err(parameter);
        assert!(error.to_string().starts_with(parameter), "{error}");
        assert!(params.fit_rows(&[1.0, 2.0, 3.0], 1).is_err());
    }
}
