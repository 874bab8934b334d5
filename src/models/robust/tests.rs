//! Tests of the robust statistics against their definitions.

use super::*;
use crate::rng::SplitMix64;

#[test]
fn the_median_of_an_even_number_of_values_is_the_mean_of_the_middle_two() {
    assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), Some(2.5));
    assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[]), None);
}

#[test]
fn missing_values_are_left_out_and_infinities_are_large_numbers() {
    assert_eq!(median(&[f64::NAN, 1.0, f64::NAN]), Some(1.0));
    assert_eq!(median(&[f64::NAN]), None);
    assert_eq!(quantile(&[1.0, 2.0, f64::INFINITY], 1.0), Some(f64::MAX));
    assert_eq!(quantile(&[f64::NEG_INFINITY, f64::INFINITY], 0.5), Some(0.0));
    assert_eq!(mad(&[f64::NEG_INFINITY, 5.0, f64::INFINITY]), Some(f64::MAX));
}

#[test]
fn quantiles_are_linear_between_neighbours() {
    let values = [10.0, 20.0, 30.0, 40.0];
    assert_eq!(quantile(&values, 0.0), Some(10.0));
    assert_eq!(quantile(&values, 1.0), Some(40.0));
    assert!((quantile(&values, 0.9).expect("four values") - 37.0).abs() < 1e-12); // numpy.quantile
    assert_eq!(quantile(&values, -3.0), Some(10.0));
    assert_eq!(quantile(&values, 3.0), Some(40.0));
    assert_eq!(quantile(&values, f64::NAN), Some(10.0));
}

#[test]
fn the_mad_of_normal_values_is_their_standard_deviation_even_with_outliers() {
    let mut rng = SplitMix64::new(11);
    let mut values: Vec<f64> = (0..20_000).map(|_| 50.0 + 4.0 * rng.normal()).collect();
    values.iter_mut().step_by(20).for_each(|value| *value = 1e9);
    let scale = RobustScale::fit(&values, 0.1).expect("values");
    assert!((scale.scale - 4.0).abs() < 0.4, "{scale:?}");
    assert!((scale.center - 50.0).abs() < 0.5, "{scale:?}");
    assert!((scale.z(58.0) - 2.0).abs() < 0.3);
}

#[test]
fn a_signal_that_stands_still_has_the_floor_as_its_scale() {
    let scale = RobustScale::fit(&[7.0; 10], 0.5).expect("values");
    assert_eq!((scale.center, scale.scale), (7.0, 0.5));
    assert_eq!(scale.z(8.0), 2.0);
    for bad_floor in [0.0, -1.0, f64::NAN] {
        let scale = RobustScale::fit(&[7.0; 10], bad_floor).expect("values");
        assert_eq!(scale.z(7.0), 0.0);
        assert!(scale.scale > 0.0);
    }
    assert_eq!(RobustScale::fit(&[f64::NAN], 1.0), None);
}

#[test]
fn a_window_agrees_with_sorting_its_last_values() {
    let mut rng = SplitMix64::new(5);
    for capacity in [1, 2, 7, 64] {
        let mut window = TrailingQuantile::new(capacity);
        let mut rolling = RollingMedian::new(capacity);
        let mut all = Vec::new();
        for _ in 0..400 {
            let value = (rng.below(30) as f64 - 15.0) * if rng.below(9) == 0 { -0.0 } else { 0.5 };
            all.push(value);
            window.push(value);
            let last = &all[all.len().saturating_sub(capacity)..];
            let q = rng.uniform();
            assert_eq!(window.quantile(q), quantile(last, q));
            assert_eq!(rolling.push(value), median(last));
            assert_eq!(window.len(), last.len());
            assert_eq!(window.sorted.len(), last.len());
        }
        assert_eq!(rolling.window(), &window);
    }
}

#[test]
fn a_window_skips_missing_values_and_starts_empty() {
    let mut window = TrailingQuantile::new(3);
    assert!(window.is_empty());
    assert_eq!(window.quantile(0.5), None);
    window.extend([f64::NAN, 1.0, f64::NAN, f64::INFINITY]);
    assert_eq!(window.values().collect::<Vec<_>>(), [1.0, f64::MAX]);
    assert_eq!(TrailingQuantile::new(0).capacity(), 1);
    assert_eq!(RollingMedian::new(3).push(f64::NAN), None);
}

#[test]
fn a_saved_window_comes_back_and_never_holds_more_than_its_capacity() {
    let mut window = TrailingQuantile::new(4);
    window.extend([3.0, 1.0, 2.5, 9.0, 0.1]);
    let text = serde_json::to_string(&window).expect("serialises");
    assert_eq!(text, r#"{"capacity":4,"values":[1.0,2.5,9.0,0.1]}"#);
    assert_eq!(serde_json::from_str::<TrailingQuantile>(&text).expect("parses"), window);

    let forged = r#"{"capacity":2,"values":[5.0,4.0,3.0]}"#;
    let window: TrailingQuantile = serde_json::from_str(forged).expect("parses");
    assert_eq!(window.values().collect::<Vec<_>>(), [4.0, 3.0]);
}
