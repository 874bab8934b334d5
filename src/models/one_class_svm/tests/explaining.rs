//! Which feature moved the decision: additivity, and injected causes.

use proptest::prelude::*;

use super::*;

/// The reference's own numbers: the decision in double precision, from the saved form.
fn exact_decision(svm: &OneClassSvm, row: &[f64]) -> f64 {
    let state = svm.to_state();
    let scale = (state.gamma * std::f64::consts::LOG2_E).sqrt();
    let weighted = state.vectors.chunks_exact(row.len()).zip(&state.alphas);
    let sum: f64 = weighted
        .map(|(vector, alpha)| {
            let off = |(feature, value): (usize, &f32)| {
                f64::from(*value) / scale - (row[feature] - state.offset[feature])
            };
            let distance: f64 = vector.iter().enumerate().map(|pair| off(pair).powi(2)).sum();
            f64::from(*alpha) * (-state.gamma * distance).exp()
        })
        .sum();
    sum - state.rho
}

/// Most anomalous feature of a row, and the row's explanation.
fn top(svm: &OneClassSvm, row: &[f64]) -> (usize, SvmExplanation) {
    let mut parts = [0.0; WIDTH];
    let explained = svm.explain_row(row, &mut parts);
    let top = (0..WIDTH).max_by(|a, b| parts[*a].total_cmp(&parts[*b]));
    (top.expect("features"), explained)
}

#[test]
fn decisions_are_those_of_the_formula() {
    for (nu, seed) in [(0.01, 1), (0.05, 2), (0.4, 3)] {
        let svm = fitted(&host_metrics(1_000, seed), nu);
        let mut parts = [0.0; WIDTH];
        for row in host_metrics(500, 9).chunks_exact(WIDTH) {
            for factor in [1.0, 3.0] {
                let row: Vec<f64> = row.iter().map(|value| value * factor).collect();
                let exact = exact_decision(&svm, &row);
                let scale = svm.rho() + exact.abs();
                assert!((svm.decision_row(&row) - exact).abs() <= 1e-6 * scale);
                let explained = svm.explain_row(&row, &mut parts);
                assert!((explained.decision - exact).abs() <= 1e-6 * scale);
            }
        }
    }
}

#[test]
fn contributions_add_up_to_the_fall_of_the_decision() {
    let svm = fitted(&host_metrics(2_000, 4), 0.05);
    let mut parts = [0.0; WIDTH];
    for row in host_metrics(1_000, 5).chunks_exact(WIDTH) {
        for factor in [1.0, 2.0, 30.0, 1e12] {
            let row: Vec<f64> = row.iter().map(|value| value * factor).collect();
            let explained = svm.explain_row(&row, &mut parts);
            let fall = explained.reference - explained.decision;
            let sum: f64 = parts.iter().sum();
            assert!((sum - fall).abs() <= 1e-9 * svm.rho(), "{sum} and {fall}");
            let single = explained.reference - svm.decision_row(&row);
            assert!((sum - single).abs() <= 2e-6 * (svm.rho() + fall.abs()));
            assert!(explained.reference > 0.0, "ordinary rows are inside");
        }
    }
}

#[test]
fn a_feature_that_is_as_in_the_ordinary_row_has_no_part_at_all() {
    let svm = fitted(&host_metrics(1_000, 6), 0.05);
    // Rows that differ from an ordinary one in a single feature: it has all of the fall.
    let state = svm.to_state();
    let scale = (state.gamma * std::f64::consts::LOG2_E).sqrt();
    let mut exact = 0;
    for prototype in state.prototypes.chunks_exact(WIDTH) {
        for feature in 0..WIDTH {
            let mut row: Vec<f64> =
                (0..WIDTH).map(|f| f64::from(prototype[f]) / scale + state.offset[f]).collect();
            row[feature] += 5.0;
            let mut parts = [0.0; WIDTH];
            let explained = svm.explain_row(&row, &mut parts);
            // Another ordinary row may be nearer; then others have their part.
            let fall = explained.reference - explained.decision;
            let others: f64 = (0..WIDTH).filter(|f| *f != feature).map(|f| parts[f].abs()).sum();
            if others <= 1e-6 * fall {
                exact += 1;
            } else {
                assert!(parts[feature] > others, "{parts:?}");
            }
        }
    }
    assert!(exact >= 64 * WIDTH * 6 / 10, "{exact}");
}

#[test]
fn a_single_cause_is_on_top() {
    let mut rng = SplitMix64::new(7);
    for (nu, gamma) in [(0.01, Gamma::Median), (0.05, Gamma::Median), (0.05, Gamma::Scale)] {
        let params = OneClassSvm::params().nu(nu).gamma(gamma);
        let svm = params.fit_rows(&host_metrics(5_000, 8), WIDTH).expect("rows");
        let (mut hits, mut flagged) = (0, 0);
        for row in host_metrics(2_000, 9).chunks_exact(WIDTH) {
            let mut row = row.to_vec();
            let feature = rng.below(WIDTH);
            let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
            row[feature] = sign * (4.0 + 4.0 * rng.uniform());
            let (top, explained) = top(&svm, &row);
            if explained.decision < 0.0 {
                flagged += 1;
                hits += i32::from(top == feature);
            }
        }
        let rate = f64::from(hits) / f64::from(flagged);
        assert!(flagged > 1_500 && rate >= 0.97, "nu {nu}, {gamma:?}: {hits} of {flagged}");
    }
}

#[test]
fn shares_are_those_of_a_numerical_integral() {
    let svm = fitted(&host_metrics(600, 10), 0.05);
    let state = svm.to_state();
    let scale = (state.gamma * std::f64::consts::LOG2_E).sqrt();
    for row in host_metrics(20, 11).chunks_exact(WIDTH) {
        let row: Vec<f64> = row.iter().map(|value| value * 1.7).collect();
        let mut parts = [0.0; WIDTH];
        let explained = svm.explain_row(&row, &mut parts);
        let reference = state.prototypes.chunks_exact(WIDTH).find_map(|prototype| {
            let ordinary: Vec<f64> =
                (0..WIDTH).map(|f| f64::from(prototype[f]) / scale + state.offset[f]).collect();
            let off = exact_decision(&svm, &ordinary) - explained.reference;
            (off.abs() < 1e-9).then_some(ordinary)
        });
        let reference = reference.expect("one of the ordinary rows");
        const STEPS: usize = 400;
        for feature in 0..WIDTH {
            let step = row[feature] - reference[feature];
            let slope = |t: f64| {
                let mut at: Vec<f64> =
                    row.iter().zip(&reference).map(|(x, p)| p + t * (x - p)).collect();
                at[feature] += 1e-5;
                let above = exact_decision(&svm, &at);
                at[feature] -= 2e-5;
                (above - exact_decision(&svm, &at)) / 2e-5
            };
            let mean = (0..STEPS).map(|i| slope((i as f64 + 0.5) / STEPS as f64)).sum::<f64>()
                / STEPS as f64;
            assert!((parts[feature] + step * mean).abs() < 1e-4 * svm.rho(), "{parts:?}");
        }
    }
}

fn any_value() -> impl Strategy<Value = f64> {
    prop_oneof![
        8 => -5.0..5.0_f64,
        2 => (-3..3_i32).prop_map(f64::from),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(-1e300), Just(1e-300)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_rows_give_a_model_that_scores_explains_and_restores(
        width in 1..9_usize,
        values in prop::collection::vec(any_value(), 18..300),
        nu in 0.001..0.99_f64,
    ) {
        let n_rows = values.len() / width;
        let rows = &values[..n_rows * width];
        let svm = OneClassSvm::params().nu(nu).fit_rows(rows, width).expect("enough rows");
        prop_assert!(svm.fit_report().converged && svm.rho() > 0.0);
        let mut parts = vec![0.0; width];
        for row in rows.chunks_exact(width) {
            let score = svm.score_row(row);
            prop_assert!(score.is_finite() && score <= 1.0);
            let explained = svm.explain_row(row, &mut parts);
            let fall = explained.reference - explained.decision;
            prop_assert!((parts.iter().sum::<f64>() - fall).abs() <= 1e-6 * (svm.rho() + fall.abs()));
        }
        let restored = OneClassSvm::from_state(svm.to_state());
        prop_assert_eq!(restored.expect("valid"), svm);
    }
}
