//! Tests of [`roc_auc`] against its definition.

use super::roc_auc;
use crate::rng::SplitMix64;

#[test]
fn perfect_ranking_is_one_and_reversed_is_zero() {
    let labels = [false, false, true, true];
    assert_eq!(roc_auc(&[1.0, 2.0, 3.0, 4.0], &labels), 1.0);
    assert_eq!(roc_auc(&[4.0, 3.0, 2.0, 1.0], &labels), 0.0);
}

#[test]
fn equal_scores_count_half() {
    assert_eq!(roc_auc(&[5.0; 6], &[true, false, true, false, false, true]), 0.5);
    assert_eq!(roc_auc(&[0.0, -0.0], &[true, false]), 0.5);
}

#[test]
fn one_class_alone_has_no_area() {
    assert!(roc_auc(&[1.0, 2.0], &[true, true]).is_nan());
    assert!(roc_auc(&[], &[]).is_nan());
}

#[test]
fn a_score_that_is_not_a_number_ranks_lowest() {
    assert_eq!(roc_auc(&[f64::NAN, -1e300, 1.0], &[false, true, true]), 1.0);
}

#[test]
fn area_equals_the_share_of_pairs_in_order() {
    let mut rng = SplitMix64::new(3);
    for _ in 0..50 {
        let scores: Vec<f64> = (0..40).map(|_| rng.below(12) as f64).collect();
        let labels: Vec<bool> = (0..40).map(|i| i == 0 || (i > 1 && rng.below(3) == 0)).collect();
        let (mut won, mut pairs) = (0.0, 0.0);
        for (a, _) in scores.iter().zip(&labels).filter(|(_, label)| **label) {
            for (b, _) in scores.iter().zip(&labels).filter(|(_, label)| !**label) {
                pairs += 1.0;
                won += if a > b { 1.0 } else { f64::from(u8::from(a == b)) / 2.0 };
            }
        }
        assert!((roc_auc(&scores, &labels) - won / pairs).abs() < 1e-12);
    }
}
