//! What the principal components promise.

use linfa::traits::{Fit, Predict, PredictInplace};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, Array2};
use proptest::prelude::*;

use super::*;
use crate::{ModelError, rng::SplitMix64};

const WIDTH: usize = 6;

/// Standardised features that follow two loads, the last one none.
fn correlated(n_rows: usize, seed: u64) -> Vec<f64> {
    const WEIGHTS: [[f64; 2]; WIDTH] =
        [[0.9, 0.0], [0.8, 0.3], [0.7, -0.5], [0.0, 0.9], [0.3, 0.8], [0.0, 0.0]];
    let mut rng = SplitMix64::new(seed);
    let mut rows = Vec::with_capacity(n_rows * WIDTH);
    for _ in 0..n_rows {
        let loads = [rng.normal(), rng.normal()];
        rows.extend(WEIGHTS.map(|weights| {
            let own = 1.0 - weights[0] * weights[0] - weights[1] * weights[1];
            weights[0] * loads[0] + weights[1] * loads[1] + own.sqrt() * rng.normal()
        }));
    }
    rows
}

fn fitted(rows: &[f64], width: usize) -> Pca {
    Pca::params().variance(0.6).fit_rows(rows, width).expect("rows")
}

fn assert_close(one: f64, other: f64, tolerance: f64) {
    assert!((one - other).abs() <= tolerance, "{one} and {other}");
}

#[test]
fn the_components_of_a_plane_are_the_plane() {
    // x = (s + t, s - t, 0) / sqrt 2: variances 4 along the one and 1 along the other diagonal.
    let mut rng = SplitMix64::new(1);
    let rows: Vec<f64> = (0..20_000)
        .flat_map(|_| {
            let (s, t) = (2.0 * rng.normal(), rng.normal());
            [(s + t) / 2_f64.sqrt() + 7.0, (s - t) / 2_f64.sqrt(), 0.0]
        })
        .collect();
    let pca = Pca::params().variance(0.99).fit_rows(&rows, 3).expect("rows");
    assert_eq!(pca.n_components(), 2);
    assert_close(pca.variances()[0], 4.0, 0.15);
    assert_close(pca.variances()[1], 1.0, 0.05);
    for component in pca.components() {
        assert_close(component[0].abs(), 0.5_f64.sqrt(), 0.02);
        assert_close(component[2], 0.0, 1e-12);
    }
    assert_close(pca.score_row(&[9.0, -3.0, 0.0]), 0.0, 1e-12);
    assert_close(pca.score_row(&[9.0, -3.0, 6.0]), 36.0 / 3.0, 1e-9);
}

#[test]
fn training_rows_score_as_expected_on_average() {
    let rows = correlated(4_000, 2);
    let pca = fitted(&rows, WIDTH);
    let n = 4_000.0;
    let parts = rows.chunks_exact(WIDTH).map(|row| pca.score_parts(row));
    let (residual, distance) =
        parts.fold((0.0, 0.0), |sum, part| (sum.0 + part.residual, sum.1 + part.distance));
    assert_close(residual / n, pca.expected_residual() * (n - 1.0) / n, 1e-9);
    assert_close(distance / n, (n - 1.0) / n, 1e-9);
}

#[test]
fn a_row_that_breaks_the_correlation_has_the_residual_and_one_that_keeps_it_the_distance() {
    let pca = fitted(&correlated(4_000, 3), WIDTH);
    let with = pca.score_parts(&[4.0, 4.0, 3.0, 0.0, 1.2, 0.0]);
    let against = pca.score_parts(&[4.0, -4.0, 3.0, 0.0, 1.2, 0.0]);
    assert!(with.distance > 5.0 && with.residual < 2.0 * pca.expected_residual(), "{with:?}");
    assert!(against.residual > 10.0 * pca.expected_residual(), "{against:?}");
}

#[test]
fn the_feature_at_fault_has_most_of_the_residual() {
    let pca = fitted(&correlated(4_000, 4), WIDTH);
    let mut rng = SplitMix64::new(5);
    let (mut hits, mut tried) = (0, 0);
    for row in correlated(2_000, 6).chunks_exact(WIDTH) {
        let feature = rng.below(WIDTH);
        let weight: f64 = pca.components().map(|component| component[feature].powi(2)).sum();
        if weight >= 0.5 {
            continue;
        }
        let mut row = row.to_vec();
        row[feature] += if rng.below(2) == 0 { 12.0 } else { -12.0 };
        let mut contributions = [0.0; WIDTH];
        pca.explain_row(&row, &mut contributions);
        let top = (0..WIDTH).max_by(|a, b| contributions[*a].total_cmp(&contributions[*b]));
        tried += 1;
        hits += i32::from(top == Some(feature));
    }
    assert!(tried > 500 && f64::from(hits) >= 0.97 * f64::from(tried), "{hits} of {tried}");
}

#[test]
fn a_feature_that_stood_still_in_training_counts_in_full_when_it_moves() {
    let mut rows = correlated(500, 7);
    rows.iter_mut().skip(2).step_by(WIDTH).for_each(|value| *value = 0.0);
    let pca = fitted(&rows, WIDTH);
    let mut contributions = [0.0; WIDTH];
    let mut row = [0.0; WIDTH];
    row[2] = 5.0;
    pca.explain_row(&row, &mut contributions);
    assert_close(contributions[2], 25.0 / 6.0, 1e-9);
}

#[test]
fn rows_that_never_varied_leave_no_component_and_the_whole_deviation() {
    let pca = fitted(&[1.0, 2.0, 1.0, 2.0, 1.0, 2.0], 2);
    assert_eq!((pca.n_components(), pca.expected_residual()), (0, 0.0));
    assert_eq!(pca.score_parts(&[4.0, 2.0]), PcaScore { residual: 4.5, distance: 0.0 });
}

#[test]
fn one_feature_keeps_its_deviation_as_residual() {
    let pca = fitted(&[-1.0, 1.0, -1.0, 1.0], 1);
    assert_eq!(pca.n_components(), 0);
    assert_close(pca.score_row(&[3.0]), 9.0, 1e-12);
}

#[test]
fn two_equal_features_and_fewer_rows_than_features_are_no_trouble() {
    let doubled: Vec<f64> = correlated(300, 8).iter().flat_map(|v| [*v, *v]).collect();
    let pca = Pca::params().variance(0.999).fit_rows(&doubled, 2 * WIDTH).expect("rows");
    assert_eq!(pca.n_components(), WIDTH);
    let mut row = vec![0.0; 2 * WIDTH];
    row[0] = 3.0;
    row[1] = -3.0;
    assert!(
        pca.score_row(&row) > 18.0 / 12.0 - 0.01,
        "equal features that differ are all residual"
    );

    let few = fitted(&correlated(2, 9), WIDTH);
    assert_eq!(few.n_components(), 1);
    assert_close(few.expected_residual(), 0.0, 1e-12);
}

#[test]
fn a_missing_value_counts_as_zero_and_an_infinite_one_as_a_million() {
    let mut rows = correlated(300, 10);
    rows[3] = f64::NAN;
    rows[13] = f64::INFINITY;
    let mut replaced = rows.clone();
    replaced[3] = 0.0;
    replaced[13] = 1e6;
    let pca = fitted(&rows, WIDTH);
    assert_eq!(pca, fitted(&replaced, WIDTH));
    for (given, same) in [(f64::NAN, 0.0), (f64::NEG_INFINITY, -1e6), (1e300, 1e6)] {
        let row = |value| [1.0, value, 0.5, -1.0, 2.0, 0.0];
        assert_eq!(pca.score_parts(&row(given)), pca.score_parts(&row(same)));
    }
}

#[test]
fn linfa_traits_give_the_same_as_the_plain_functions() {
    let rows = correlated(200, 11);
    let records = Array2::from_shape_vec((200, WIDTH), rows.clone()).expect("shape");
    let dataset = DatasetBase::from(records.clone());
    let pca = Pca::params().variance(0.6).fit(&dataset).expect("rows");
    assert_eq!(pca, fitted(&rows, WIDTH));

    let expected: Array1<f64> = rows.chunks_exact(WIDTH).map(|row| pca.score_row(row)).collect();
    let predicted: Array1<f64> = pca.predict(&dataset);
    assert_eq!(predicted, expected);
    let mut columns_first = pca.default_target(&records);
    pca.predict_inplace(&records.t().as_standard_layout().reversed_axes(), &mut columns_first);
    assert_eq!(columns_first, expected);
}

#[test]
fn too_few_rows_no_features_and_wrong_shares_are_errors() {
    let params = Pca::params();
    assert!(matches!(
        params.fit_rows(&[1.0, 2.0], 2),
        Err(ModelError::NotEnoughRows { needed: 2, got: 1 })
    ));
    assert!(matches!(params.fit_rows(&[1.0; 7], 2), Err(ModelError::Shape(_))));
    assert!(matches!(params.fit_rows(&[], 0), Err(ModelError::Shape(_))));
    let wide = DatasetBase::from(Array2::<f64>::zeros((2, 1001)));
    assert!(matches!(params.fit(&wide), Err(ModelError::Shape(_))));
    for share in [0.0, 1.0, -1.0, f64::NAN] {
        assert!(matches!(
            Pca::params().variance(share).check(),
            Err(ModelError::OutOfRange { name: "variance", .. })
        ));
    }
    let error = Pca::params().variance(2.0).fit_rows(&[1.0, 2.0], 1).expect_err("share");
    assert_eq!(error.to_string(), "variance is 2, must be between 0 and 1");
}

#[test]
fn a_saved_state_restores_the_same_scores() {
    let pca = fitted(&correlated(300, 12), WIDTH);
    assert_eq!(Pca::from_state(pca.to_state()).expect("valid"), pca);
    let text = serde_json::to_string(&pca).expect("finite");
    let restored: Pca = serde_json::from_str(&text).expect("valid");
    for row in correlated(50, 1).chunks_exact(WIDTH) {
        // serde_json reads back the last digit or the one beside it.
        assert_close(restored.score_row(row), pca.score_row(row), 1e-12);
    }
}

#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let good = fitted(&correlated(300, 13), WIDTH).to_state();
    type Damage = fn(&mut PcaState);
    let broken: [(&str, Damage); 8] = [
        ("no features", |state| state.mean.clear()),
        ("as many components as features", |state| state.mean.truncate(2)),
        ("lengths", |state| state.components.truncate(7)),
        ("mean", |state| state.mean[0] = f64::NAN),
        ("variance", |state| state.variances[1] = 0.0),
        ("order", |state| state.variances.swap(0, 1)),
        ("residual", |state| state.left_over = -1.0),
        ("angles", |state| state.components[0] += 0.01),
    ];
    for (what, damage) in broken {
        let mut state = good.clone();
        damage(&mut state);
        assert!(matches!(Pca::from_state(state), Err(ModelError::CorruptState { .. })), "{what}");
    }
    let future = PcaState { version: 2, ..good };
    assert!(matches!(
        Pca::from_state(future),
        Err(ModelError::UnknownVersion { found: 2, supported: 1, .. })
    ));
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -5.0..5.0_f64,
        2 => Just(0.0),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1e300), Just(1e-300)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn contributions_add_up_for_any_rows(
        width in 1..12_usize,
        values in prop::collection::vec(any_value(), 24..400),
        share in 0.05..0.999_f64,
    ) {
        let n_rows = values.len() / width;
        let rows = &values[..n_rows * width];
        let pca = Pca::params().variance(share).fit_rows(rows, width).expect("enough rows");
        prop_assert!(pca.n_components() < width.max(1));
        let mut contributions = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            let score = pca.explain_row(row, &mut contributions);
            let sum: f64 = contributions.iter().sum();
            let length: f64 = pca.centred(row).map(|v| v * v).sum::<f64>() / width as f64;
            prop_assert!(score.is_finite() && contributions.iter().all(|part| *part >= 0.0));
            prop_assert!((sum - score).abs() <= 1e-12 * length.max(1e-300), "{sum} and {score}");
        }
        let restored = Pca::from_state(pca.to_state());
        prop_assert_eq!(restored.expect("valid"), pca);
    }
}
