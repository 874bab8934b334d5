//! The bounded estimates are as near as they say.

use std::hash::BuildHasher;

use foldhash::quality::FixedState;
use proptest::prelude::*;

use super::super::distinct::Distinct;
use super::super::quantile::Histogram;

fn distinct(of: u64, exact: usize) -> Distinct {
    let mut distinct = Distinct::default();
    for value in 0..of {
        let hash = FixedState::default().hash_one(value.to_string());
        distinct.insert(hash, exact);
        distinct.insert(hash, exact);
    }
    distinct
}

#[test]
fn few_distinct_values_are_counted_exactly() {
    assert_eq!(distinct(0, 1024).count(), 0.0);
    assert_eq!(distinct(1024, 1024).count(), 1024.0);
}

#[test]
fn many_distinct_values_are_estimated_within_three_standard_errors() {
    for of in [1025, 2000, 5000, 10_000, 20_000, 100_000, 500_000] {
        let error = distinct(of, 1024).count() / of as f64 - 1.0;
        assert!(error.abs() < 3.0 * 0.01625, "{of}: {error}");
    }
}

#[test]
fn a_set_survives_a_snapshot_in_both_forms() {
    for set in [distinct(10, 1024), distinct(5000, 1024)] {
        let text = serde_json::to_string(&set).unwrap();
        let back: Distinct = serde_json::from_str(&text).unwrap();
        assert_eq!(back.count(), set.count());
    }
    assert!(serde_json::from_str::<Distinct>("{\"registers\":\"000\"}").is_err());
    assert!(
        serde_json::from_str::<Histogram>("{\"zeros\":0,\"low\":9999,\"counts\":[1]}").is_err()
    );
}

#[test]
fn no_values_have_no_quantile() {
    let mut histogram = Histogram::default();
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        histogram.insert(bad);
    }
    assert_eq!(histogram.quantile(0.5), None);
    histogram.insert(0.0);
    assert_eq!(histogram.quantile(0.99), Some(0.0));
    histogram.insert(1e9);
    assert!(histogram.quantile(1.0).unwrap() > 9e4, "beyond the range it is the top");
}

proptest! {
    #[test]
    fn a_quantile_is_within_one_percent(
        mut values in proptest::collection::vec(1e-5..1e4_f64, 1..300),
        quantile in 0.0..1.0_f64,
    ) {
        let mut histogram = Histogram::default();
        for value in &values {
            histogram.insert(*value);
        }
        let text = serde_json::to_string(&histogram).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Histogram>(&text).unwrap(), &histogram);
        values.sort_by(f64::total_cmp);
        let exact = values[(quantile * (values.len() - 1) as f64).floor() as usize];
        let estimate = histogram.quantile(quantile).unwrap();
        prop_assert!((estimate / exact - 1.0).abs() <= 0.0101, "{} for {}", estimate, exact);
    }
}
