//! Saved states: exact round trips, and refusal of whatever contradicts itself.

use super::*;

fn state() -> IsolationForestState {
    fitted(&host_metrics(2_000, 0.05, 3).rows, WIDTH, 5).to_state()
}

#[test]
fn a_saved_forest_comes_back_bit_by_bit() {
    let mut rng = SplitMix64::new(8);
    for round in 0..20 {
        let width = 1 + rng.below(8);
        let n_rows = 2 + rng.below(6000);
        let distinct = 1 + rng.below(1000);
        let rows: Vec<f32> =
            (0..n_rows * width).map(|_| rng.below(distinct) as f32 / 7.0).collect();
        let params =
            IsolationForest::params().n_trees(1 + rng.below(20)).max_samples(2 + rng.below(4095));
        let forest = params.seed(round).fit_rows(&rows, width).expect("enough rows");
        let text = serde_json::to_string(&forest).expect("serialises");
        let restored: IsolationForest = serde_json::from_str(&text).expect("parses");
        assert_eq!(restored, forest, "round {round}");
        assert_eq!(restored.to_state(), forest.to_state());
    }
}

#[test]
fn a_saved_forest_of_the_default_size_is_small() {
    let text = serde_json::to_string(&state()).expect("serialises");
    assert!(text.len() < 300 * 1024, "{} bytes", text.len());
}

#[test]
fn another_version_is_refused_by_its_number() {
    let mut state = state();
    state.version = 2;
    let error = IsolationForest::from_state(&state).expect_err("version 2");
    assert!(matches!(error, ModelError::UnknownVersion { found: 2, supported: 1, .. }));
    assert_eq!(
        error.to_string(),
        "saved isolation forest has version 2, this build reads version 1"
    );
}

#[test]
fn each_contradiction_is_refused() {
    type Harm = fn(&mut IsolationForestState);
    let harms: [(&str, Harm); 14] = [
        ("no features", |s| s.n_features = 0),
        ("too few features", |s| s.n_features = 2),
        ("too many features", |s| s.n_features = usize::MAX),
        ("another sample size", |s| s.sample_size = 255),
        ("huge sample size", |s| s.sample_size = usize::MAX),
        ("one tree more", |s| s.n_trees += 1),
        ("no trees", |s| s.n_trees = 0),
        ("huge number of trees", |s| s.n_trees = usize::MAX),
        ("a node less", |s| s.features.truncate(s.features.len() - 1)),
        ("a threshold less", |s| s.thresholds.truncate(s.thresholds.len() - 1)),
        ("an infinite threshold", |s| s.thresholds[3] = f32::INFINITY),
        ("an empty leaf", |s| s.leaf_rows[0] = 0),
        ("a huge leaf", |s| s.leaf_rows[0] = u32::MAX),
        ("a chain too deep", |s| s.features[..20].fill(0)),
    ];
    for (what, harm) in harms {
        let mut state = state();
        harm(&mut state);
        let restored = IsolationForest::from_state(&state);
        assert!(matches!(restored, Err(ModelError::CorruptState { .. })), "{what}: {restored:?}");
    }
}

#[test]
fn random_damage_is_refused_or_gives_a_forest_that_scores() {
    let mut rng = SplitMix64::new(12);
    let good = state();
    for _ in 0..2_000 {
        let mut state = good.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(state.leaf_rows.len());
            let cut = rng.below(state.thresholds.len());
            let node = rng.below(state.features.len());
            match rng.below(6) {
                0 => state.leaf_rows[at] = rng.next_u64() as u32 >> rng.below(32),
                1 => state.thresholds[cut] = f32::from_bits(rng.next_u64() as u32),
                2 => state.features[node] = rng.next_u64() as i32 >> rng.below(32),
                3 => state.features.truncate(node),
                4 => state.sample_size = rng.below(5000),
                _ => state.n_trees = rng.below(1100),
            }
        }
        if let Ok(forest) = IsolationForest::from_state(&state) {
            let score = forest.score_row(&[f32::NAN, 1.0, 2.0, 3.0, 4.0]);
            assert!((0.0..=1.0).contains(&score));
        }
    }
}

#[test]
fn damaged_text_never_panics() {
    let params = IsolationForest::params().n_trees(3).max_samples(16);
    let forest = params.fit_rows(&host_metrics(200, 0.0, 1).rows, WIDTH).expect("enough rows");
    let good = serde_json::to_vec(&forest).expect("serialises");
    let mut rng = SplitMix64::new(13);
    for _ in 0..5_000 {
        let mut bytes = good.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] = b"0123456789-.,[]{}e\"n"[rng.below(20)];
        }
        bytes.truncate(if rng.below(4) == 0 { rng.below(bytes.len()) } else { bytes.len() });
        if let Ok(forest) = serde_json::from_slice::<IsolationForest>(&bytes) {
            let score = forest.score_row(&vec![1.0; forest.n_features()]);
            assert!((0.0..=1.0).contains(&score));
        }
    }
}
