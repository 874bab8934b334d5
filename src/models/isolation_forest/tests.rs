//! Tests of the isolation forest: quality on made-up host metrics, additivity, hostile values, saved states.

use linfa::traits::{Fit, Predict, PredictInplace};
use linfa::{DatasetBase, ParamGuard};
use ndarray::{Array1, Array2};

use super::*;
use crate::{ModelError, rng::SplitMix64, roc::roc_auc};

mod states;

/// Features of the made-up host: cpu, mem, disk, net, latency.
const WIDTH: usize = 5;
const SEEDS: std::ops::Range<u64> = 1..6;

struct Labelled {
    rows: Vec<f32>,
    anomalous: Vec<bool>,
    /// The one feature that was changed, if it was one.
    spiked: Vec<Option<usize>>,
}

/// Host metrics as in reference/models.md section 0: a day and a night regime, features driven by one load, `share` of
/// the rows anomalous in three kinds: one feature 4 to 8 of its own sigma over both regimes off (counted within a regime it could
/// land in the other, and be ordinary by itself); all features 1.5 to 3 sigma off; two swapped to the other regime.
fn host_metrics(n_rows: usize, share: f64, seed: u64) -> Labelled {
    const MEAN: [[f64; WIDTH]; 2] =
        [[60.0, 55.0, 40.0, 80.0, 30.0], [25.0, 45.0, 30.0, 20.0, 15.0]];
    const SIGMA: [f64; WIDTH] = [8.0, 4.0, 5.0, 10.0, 4.0];
    const LOAD: [f64; WIDTH] = [0.8, 0.5, 0.4, 0.7, 0.6];
    let mut rng = SplitMix64::new(seed);
    let mut data = Labelled { rows: Vec::new(), anomalous: Vec::new(), spiked: Vec::new() };
    for _ in 0..n_rows {
        let regime = rng.below(2);
        let load = rng.normal();
        let mut row: [f64; WIDTH] = std::array::from_fn(|f| {
            let own = (1.0 - LOAD[f] * LOAD[f]).sqrt() * rng.normal();
            MEAN[regime][f] + SIGMA[f] * (LOAD[f] * load + own)
        });
        let anomalous = rng.uniform() < share;
        let mut spiked = None;
        if anomalous {
            let sign = if rng.below(2) == 0 { 1.0 } else { -1.0 };
            let first = rng.below(WIDTH);
            match rng.below(3) {
                0 => {
                    let middle = f64::midpoint(MEAN[0][first], MEAN[1][first]);
                    let sigma = SIGMA[first].hypot(MEAN[0][first] - middle);
                    row[first] = middle + sign * sigma * (4.0 + 4.0 * rng.uniform());
                    spiked = Some(first);
                }
                1 => row.iter_mut().zip(SIGMA).for_each(|(value, sigma)| {
                    *value += sign * sigma * (1.5 + 1.5 * rng.uniform());
                }),
                _ => {
                    for f in [first, (first + 1) % WIDTH] {
                        row[f] += MEAN[1 - regime][f] - MEAN[regime][f];
                    }
                }
            }
        }
        data.rows.extend(row.map(|value| value as f32));
        data.anomalous.push(anomalous);
        data.spiked.push(spiked);
    }
    data
}

fn fitted(rows: &[f32], width: usize, seed: u64) -> IsolationForest {
    let params = IsolationForest::params().seed(seed);
    params.fit_rows(rows, width).expect("enough rows")
}

fn scores(forest: &IsolationForest, rows: &[f32]) -> Vec<f64> {
    let mut out = vec![0.0; rows.len() / forest.n_features()];
    forest.score_rows(rows, forest.n_features(), &mut out);
    out
}

#[test]
fn anomalies_of_a_host_with_two_regimes_rank_first() {
    let test = host_metrics(10_000, 0.05, 99);
    let aucs = SEEDS.map(|seed| {
        let forest = fitted(&host_metrics(5_000, 0.0, 50 + seed).rows, WIDTH, seed);
        roc_auc(&scores(&forest, &test.rows), &test.anomalous)
    });
    let mean = aucs.sum::<f64>() / 5.0;
    assert!(mean >= 0.92, "mean AUC {mean:.4}");
}

#[test]
fn training_rows_may_hold_unlabelled_anomalies() {
    let train = host_metrics(20_000, 0.05, 7);
    let test = host_metrics(10_000, 0.05, 8);
    let aucs = SEEDS.map(|seed| {
        roc_auc(&scores(&fitted(&train.rows, WIDTH, seed), &test.rows), &test.anomalous)
    });
    let mean = aucs.sum::<f64>() / 5.0;
    assert!(mean >= 0.92, "mean AUC {mean:.4}");
}

#[test]
fn the_spiked_feature_contributes_most() {
    let forest = fitted(&host_metrics(5_000, 0.0, 1).rows, WIDTH, 1);
    let test = host_metrics(20_000, 0.05, 2);
    let all = scores(&forest, &test.rows);
    let boundary = crate::robust::quantile(&all, 0.95).expect("scores");
    let (mut hits, mut flagged) = (0, 0);
    for (i, row) in test.rows.chunks_exact(WIDTH).enumerate() {
        let Some(spiked) = test.spiked[i].filter(|_| all[i] >= boundary) else { continue };
        let mut contributions = [0.0; WIDTH];
        forest.explain_row(row, &mut contributions);
        let top = (0..WIDTH).max_by(|a, b| contributions[*a].total_cmp(&contributions[*b]));
        flagged += 1;
        hits += usize::from(top == Some(spiked));
    }
    let rate = f64::from(hits as u32) / f64::from(flagged);
    assert!(flagged > 100 && rate >= 0.9, "{hits} of {flagged}");
}

#[test]
fn trees_do_split_even_when_most_features_stand_still() {
    let mut rng = SplitMix64::new(4);
    let width = 40;
    let rows: Vec<f32> = (0..3000 * width)
        .map(|i| if i % width == 17 { rng.normal() as f32 } else { 3.0 })
        .collect();
    let forest = fitted(&rows, width, 1);
    assert_eq!(forest.grown_depth(), 8);
    for tree in forest.nodes.chunks_exact(1 << forest.depth) {
        assert!(tree.iter().filter(|node| node.is_cut()).count() > 20);
        assert!(tree.iter().filter(|node| node.is_cut()).all(|node| node.feature == 17));
    }

    let mut outlier = vec![3.0; width];
    outlier[17] = 6.0;
    let mut contributions = vec![0.0; width];
    let score = forest.explain_row(&outlier, &mut contributions);
    assert!(score > 0.7 && score > forest.score_row(&rows[..width]) + 0.1, "{score}");
    assert!(contributions[17] > 1.0 && contributions.iter().filter(|c| **c != 0.0).count() == 1);
}

#[test]
fn contributions_add_up_to_the_path_length_for_any_row() {
    let mut rng = SplitMix64::new(6);
    let hostile = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN, 0.0];
    for round in 0..40 {
        let width = 1 + rng.below(12);
        let n_rows = 2 + rng.below(700);
        let rows: Vec<f32> = (0..n_rows * width)
            .map(|_| if rng.below(9) == 0 { hostile[rng.below(6)] } else { rng.below(50) as f32 })
            .collect();
        let params =
            IsolationForest::params().n_trees(1 + rng.below(30)).max_samples(2 + rng.below(600));
        let forest = params.seed(round).fit_rows(&rows, width).expect("enough rows");
        let batch = scores(&forest, &rows);
        let mut contributions = vec![f64::NAN; width];
        for (row, batch) in rows.chunks_exact(width).zip(batch) {
            let score = forest.explain_row(row, &mut contributions);
            let path = forest.base_path() - contributions.iter().sum::<f64>();
            assert!((path - forest.mean_path(row)).abs() <= 1e-9, "round {round}");
            assert!((0.0..=1.0).contains(&score));
            assert_eq!(score, forest.score_row(row), "round {round}");
            assert_eq!(score, batch, "round {round}");
        }
    }
}

#[test]
fn many_rows_score_as_they_do_one_by_one_whatever_their_number_and_width() {
    let mut rng = SplitMix64::new(12);
    for width in [1, 5, 8, 9, 16, 17, 32, 33, 64, 65] {
        let rows: Vec<f32> = (0..600 * width)
            .map(|_| match rng.below(20) {
                at @ 0..5 => [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0, -0.0][at],
                5..10 => rng.below(5) as f32 - 2.0,
                _ => rng.normal() as f32,
            })
            .collect();
        for sample in [100, 256, 300] {
            let params = IsolationForest::params().n_trees(20).max_samples(sample);
            let forest = params.fit_rows(&rows, width).expect("enough rows");
            for n_rows in [0, 1, 127, 128, 256, 257, 600] {
                let some = &rows[..n_rows * width];
                let singly: Vec<f64> =
                    some.chunks_exact(width).map(|row| forest.score_row(row)).collect();
                assert_eq!(scores(&forest, some), singly, "{n_rows} rows of {width}");
            }
        }
    }
}

#[test]
fn keys_of_values_compare_as_the_values_do() {
    let values =
        [f32::NAN, f32::NEG_INFINITY, f32::MIN, -1.5, -1e-40, -0.0, 0.0, 1e-40, 1.5, f32::MAX];
    for one in values {
        for threshold in values.into_iter().skip(1).chain([f32::INFINITY]) {
            let above = batch::key(one) > batch::key(threshold);
            assert_eq!(above, one > threshold, "{one} and {threshold}");
        }
    }
}

#[test]
fn a_branch_free_descent_finds_the_leaf_that_the_cuts_lead_to() {
    let data = host_metrics(600, 0.05, 3);
    let forest = fitted(&data.rows, WIDTH, 3);
    for row in data.rows.chunks_exact(WIDTH) {
        let mut sum = 0.0;
        for (nodes, leaves) in forest.nodes.chunks_exact(256).zip(forest.leaves.chunks_exact(256)) {
            let mut id = 1;
            while id < 256 && nodes[id].is_cut() {
                let above = row[usize::from(nodes[id].feature)] > nodes[id].threshold;
                id = 2 * id + usize::from(above);
            }
            let level = id.ilog2();
            let path = f64::from(leaves[(id << (8 - level)) - 256]);
            assert!(
                path >= f64::from(level),
                "a leaf is as deep as its cuts, or deeper for the rows left in it"
            );
            sum += path;
        }
        assert!((forest.mean_path(row) - sum / 100.0).abs() < 1e-12);
    }
}

#[test]
fn training_rows_have_the_base_path_on_average() {
    let data = host_metrics(256, 0.05, 3); // every tree sees all rows
    let forest = fitted(&data.rows, WIDTH, 3);
    let paths: Vec<f64> = data.rows.chunks_exact(WIDTH).map(|row| forest.mean_path(row)).collect();
    let mean = paths.iter().sum::<f64>() / paths.len() as f64;
    assert!((mean - forest.base_path()).abs() < 1e-3);
    assert!(
        (0.4..0.5).contains(&forest.score_of_path(mean)),
        "rows in clumps are somewhat harder to isolate than uniform ones"
    );
}

#[test]
fn the_same_seed_gives_the_same_forest_and_another_seed_another() {
    let data = host_metrics(1_000, 0.05, 3);
    assert_eq!(fitted(&data.rows, WIDTH, 9), fitted(&data.rows, WIDTH, 9));
    assert_ne!(fitted(&data.rows, WIDTH, 9), fitted(&data.rows, WIDTH, 10));
}

#[test]
fn linfa_traits_give_the_same_scores_as_the_plain_functions() {
    let data = host_metrics(1_500, 0.05, 3);
    let records =
        Array2::from_shape_fn((1_500, WIDTH), |(r, f)| f64::from(data.rows[r * WIDTH + f]));
    let dataset = DatasetBase::from(records.clone());
    let forest = IsolationForest::params().n_trees(100).max_samples(256).seed(42).fit(&dataset);
    let forest = forest.expect("enough rows");
    assert_eq!(forest, fitted(&data.rows, WIDTH, 42));

    let expected = Array1::from(scores(&forest, &data.rows));
    let predicted: Array1<f64> = forest.predict(&dataset);
    assert_eq!(predicted, expected);
    let mut columns_first = forest.default_target(&records);
    forest.predict_inplace(&records.t().as_standard_layout().reversed_axes(), &mut columns_first);
    assert_eq!(columns_first, expected);

    let checked = IsolationForest::params().check().expect("valid");
    assert_eq!(checked.fit(&dataset).expect("enough rows"), forest);
}

#[test]
fn a_missing_value_goes_to_the_lower_side() {
    let data = host_metrics(2_000, 0.0, 3);
    let forest = fitted(&data.rows, WIDTH, 1);
    let mut row = data.rows[..WIDTH].to_vec();
    row[2] = f32::NAN;
    let missing = forest.score_row(&row);
    row[2] = f32::NEG_INFINITY;
    assert_eq!(missing, forest.score_row(&row));
    row[2] = f32::MIN;
    assert_eq!(missing, forest.score_row(&row));
}

#[test]
fn a_column_that_is_missing_in_training_is_never_cut() {
    let mut rows = host_metrics(500, 0.0, 3).rows;
    rows.iter_mut().skip(1).step_by(WIDTH).for_each(|value| *value = f32::NAN);
    let forest = fitted(&rows, WIDTH, 1);
    assert!(forest.nodes.iter().filter(|node| node.is_cut()).all(|node| node.feature != 1));
    assert_eq!(forest.grown_depth(), 8);
}

#[test]
fn infinities_in_training_still_leave_finite_cuts() {
    let mut rows = host_metrics(500, 0.0, 3).rows;
    rows[7] = f32::INFINITY;
    rows[12] = f32::NEG_INFINITY;
    let forest = fitted(&rows, WIDTH, 1);
    assert!(
        forest
            .nodes
            .iter()
            .all(|node| !node.threshold.is_nan() && node.threshold > f32::NEG_INFINITY)
    );
    assert!(forest.score_row(&[f32::INFINITY; WIDTH]) > forest.score_row(&rows[..WIDTH]));
}

#[test]
fn rows_that_are_all_equal_score_a_half_and_so_does_everything_else() {
    for value in [0.0, 5.0, f32::NAN, f32::INFINITY] {
        let forest = fitted(&[value; 300 * 3], 3, 1);
        assert_eq!(forest.grown_depth(), 0);
        let mut contributions = [f64::NAN; 3];
        for row in [[value; 3], [9.0; 3], [f32::NAN; 3]] {
            assert!((forest.explain_row(&row, &mut contributions) - 0.5).abs() < 1e-6);
            assert_eq!(contributions, [0.0; 3]);
        }
    }
}

#[test]
fn fewer_rows_than_a_sample_are_all_used() {
    let rows: Vec<f32> = (0..10).map(|i| i as f32).chain([100.0]).collect();
    let forest = fitted(&rows, 1, 1);
    assert_eq!((forest.sample_size(), forest.depth, forest.n_trees()), (11, 4, 100));
    assert!(forest.score_row(&[100.0]) > forest.score_row(&[5.0]) + 0.2);
    assert_eq!(fitted(&[1.0, 2.0], 1, 1).grown_depth(), 1);
}

#[test]
fn too_few_rows_no_features_and_ragged_rows_are_errors() {
    let params = IsolationForest::params();
    let empty = DatasetBase::from(Array2::<f64>::zeros((0, 3)));
    assert!(matches!(params.fit(&empty), Err(ModelError::NotEnoughRows { needed: 2, got: 0 })));
    let one = params.fit_rows(&[1.0, 2.0], 2);
    assert!(matches!(one, Err(ModelError::NotEnoughRows { needed: 2, got: 1 })));
    let no_columns = DatasetBase::from(Array2::<f64>::zeros((9, 0)));
    assert!(matches!(params.fit(&no_columns), Err(ModelError::Shape(_))));
    assert!(matches!(params.fit_rows(&[], 0), Err(ModelError::Shape(_))));
    assert!(matches!(params.fit_rows(&[1.0; 7], 2), Err(ModelError::Shape(_))));
    let wide = DatasetBase::from(Array2::<f64>::zeros((2, 70_000)));
    assert!(matches!(params.fit(&wide), Err(ModelError::Shape(_))));
}

#[test]
fn parameters_out_of_range_are_named() {
    let refused = [
        IsolationForest::params().n_trees(0),
        IsolationForest::params().n_trees(1001),
        IsolationForest::params().max_samples(1),
        IsolationForest::params().max_samples(5000),
    ];
    for params in refused {
        assert!(matches!(params.check_ref(), Err(ModelError::InvalidParameter { .. })));
        assert!(params.fit_rows(&[1.0, 2.0, 3.0], 1).is_err());
    }
    let error = IsolationForest::params().n_trees(0).check().expect_err("no trees");
    assert_eq!(error.to_string(), "n_trees is 0, must be 1 to 1000");
}

#[test]
fn a_forest_of_the_default_size_stays_within_300_kib() {
    for width in [5, 60] {
        let mut rng = SplitMix64::new(1);
        let rows: Vec<f32> = (0..1000 * width).map(|_| rng.normal() as f32).collect();
        assert!(fitted(&rows, width, 1).memory() <= 300 * 1024);
    }
}
