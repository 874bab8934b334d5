//! What the CUSUM promises.

use proptest::prelude::*;

use super::*;
use crate::rng::SplitMix64;

/// Page's own: a clip and a ceiling that hardly ever matter.
fn page(decision: f64) -> CusumParams {
    CusumParams { decision, clip: decision + 0.499, ceiling: 1e6, ..CusumParams::default() }
}

fn started(params: CusumParams) -> Cusum {
    Cusum::new(params).expect("valid")
}

/// Mean number of samples until a shift is announced, residuals being normal with this mean.
fn run_length(params: CusumParams, mean: f64, runs: usize) -> f64 {
    let mut rng = SplitMix64::new(1);
    let total: u64 = (0..runs)
        .map(|_| {
            let mut cusum = started(params);
            while cusum.update(mean + rng.normal()).is_none() {}
            cusum.seen()
        })
        .sum();
    total as f64 / runs as f64
}

#[test]
fn run_lengths_are_those_of_the_tables() {
    // Montgomery, table 9.3 (k = 1/2, both sides).
    for (decision, shift, expected) in
        [(4.0, 0.0, 168.0), (4.0, 0.5, 26.6), (4.0, 1.0, 8.38), (5.0, 0.0, 465.0), (5.0, 1.0, 10.4)]
    {
        let measured = run_length(page(decision), shift, 4_000);
        let off = (measured / expected - 1.0).abs();
        assert!(off < 0.06, "h {decision}, shift {shift}: {measured:.1}, table {expected}");
    }
}

#[test]
fn a_single_spike_never_announces_a_shift_however_large() {
    for params in [CusumParams::default(), page(4.0)] {
        for spike in [5.0, 1e9, f64::INFINITY, f64::NEG_INFINITY] {
            let mut cusum = started(params);
            for _ in 0..50 {
                assert_eq!(cusum.update(0.0), None);
            }
            assert_eq!(cusum.update(spike), None);
            assert!(cusum.current().score < 1.0);
        }
    }
}

#[test]
fn a_shift_is_announced_with_its_direction_and_the_sample_it_began_with() {
    let mut cusum = started(CusumParams::default());
    for direction in [Direction::Up, Direction::Down] {
        let sign = if direction == Direction::Up { 1.0 } else { -1.0 };
        for _ in 0..100 {
            cusum.update(0.0);
        }
        let onset = cusum.seen();
        let announced = (1..100).find_map(|n| cusum.update(sign * 2.0).map(|shift| (n, shift)));
        let (after, shift) = announced.expect("within 100 samples");
        assert_eq!(after, 7, "6 times 1.5 is not above 10, 7 times is");
        assert_eq!((shift.direction, shift.onset), (direction, onset));
        assert!((shift.score - 1.05).abs() < 1e-12);
        cusum.reset();
        assert_eq!(cusum.current().score, 0.0);
        assert_eq!(cusum.current().onset, cusum.seen());
    }
}

#[test]
fn the_onset_of_a_small_shift_in_noise_is_close_on_average() {
    let mut rng = SplitMix64::new(3);
    let errors: Vec<f64> = (0..500)
        .map(|_| {
            let mut cusum = started(page(8.0));
            for _ in 0..40 {
                cusum.update(rng.normal());
            }
            cusum.reset();
            for _ in 0..40 {
                cusum.update(rng.normal());
            }
            loop {
                if let Some(shift) = cusum.update(1.5 + rng.normal()) {
                    return shift.onset as f64 - 80.0;
                }
            }
        })
        .collect();
    let median = crate::robust::median(&errors).expect("some");
    assert!(median.abs() <= 2.0, "{median}");
}

#[test]
fn after_a_long_shift_it_is_quiet_again_within_the_time_the_ceiling_gives() {
    let mut cusum = started(CusumParams::default());
    for _ in 0..10_000 {
        cusum.update(3.0);
    }
    assert_eq!(cusum.current().score, 2.0);
    let until_quiet = (1..100).find(|_| cusum.update(0.0).is_none());
    assert_eq!(until_quiet, Some(20));
}

#[test]
fn with_decay_a_shift_that_is_too_small_is_never_announced() {
    // It ends at (d - k) / (1 - decay): 8 for a shift of .9, 12 for one of 1.1.
    let params = CusumParams { decay: 0.95, ..CusumParams::default() };
    let mut cusum = started(params);
    assert!((0..10_000).all(|_| cusum.update(0.9).is_none()));
    assert!((cusum.current().score - 0.8).abs() < 1e-9);
    let mut cusum = started(params);
    assert!((0..10_000).any(|_| cusum.update(1.1).is_some()));
}

#[test]
fn missing_residuals_change_nothing_but_the_numbers() {
    let mut cusum = started(CusumParams::default());
    cusum.update(2.0);
    let before = cusum.current();
    for _ in 0..1_000 {
        assert_eq!(cusum.update(f64::NAN), None);
    }
    assert_eq!(cusum.current(), before);
    assert_eq!(cusum.seen(), 1_001);
}

#[test]
fn parameters_out_of_range_are_named() {
    let good = CusumParams::default();
    let refused = [
        ("reference", CusumParams { reference: -0.1, ..good }),
        ("decision", CusumParams { decision: 0.0, ..good }),
        ("clip", CusumParams { clip: 0.5, ..good }),
        ("clip", CusumParams { clip: 10.5, ..good }),
        ("clip", CusumParams { clip: f64::NAN, ..good }),
        ("ceiling", CusumParams { ceiling: 9.0, ..good }),
        ("decay", CusumParams { decay: 0.0, ..good }),
        ("decay", CusumParams { decay: 1.1, ..good }),
    ];
    for (parameter, params) in refused {
        let error = Cusum::new(params).expect_err(parameter);
        assert!(matches!(error, ModelError::OutOfRange { name, .. } if name == parameter));
    }
}

#[test]
fn a_restored_cusum_goes_on_as_if_nothing_had_happened() {
    let mut rng = SplitMix64::new(4);
    let mut cusum = started(CusumParams { decay: 0.99, ..CusumParams::default() });
    for _ in 0..77 {
        cusum.update(0.6 + rng.normal());
    }
    let text = serde_json::to_string(&cusum).expect("finite");
    let mut from_text: Cusum = serde_json::from_str(&text).expect("valid");
    let mut restored = Cusum::from_state(&cusum.to_state()).expect("valid");
    for _ in 0..100 {
        let residual = rng.normal();
        assert_eq!(cusum.update(residual), restored.update(residual));
        from_text.update(residual);
        // serde_json reads back the last digit or the one beside it.
        assert!((from_text.current().score - cusum.current().score).abs() < 1e-12);
        assert_eq!(from_text.current().onset, cusum.current().onset);
    }
    assert_eq!(cusum, restored);
}

#[test]
fn a_state_that_contradicts_itself_is_refused() {
    let good = started(CusumParams::default()).to_state();
    for damage in [
        CusumState { upper: (-1.0, 0), ..good.clone() },
        CusumState { lower: (21.0, 0), ..good.clone() },
        CusumState { lower: (f64::NAN, 0), ..good.clone() },
        CusumState { upper: (1.0, 1), ..good.clone() },
    ] {
        assert!(matches!(Cusum::from_state(&damage), Err(ModelError::CorruptState { .. })));
    }
    let worn = CusumState { decay: 2.0, ..good.clone() };
    assert!(matches!(Cusum::from_state(&worn), Err(ModelError::OutOfRange { .. })));
    let future = CusumState { version: 9, ..good };
    assert!(matches!(Cusum::from_state(&future), Err(ModelError::UnknownVersion { .. })));
}

proptest! {
    #[test]
    fn any_residuals_keep_the_sums_in_range_and_the_onset_in_the_past(
        residuals in prop::collection::vec(prop_oneof![
            -6.0..6.0_f64,
            Just(f64::NAN),
            Just(f64::INFINITY),
            Just(f64::NEG_INFINITY),
        ], 1..300),
        decay in 0.5..=1.0_f64,
    ) {
        let mut cusum = started(CusumParams { decay, ..CusumParams::default() });
        for residual in residuals {
            let shift = cusum.update(residual);
            let current = cusum.current();
            prop_assert!((0.0..=2.0).contains(&current.score));
            prop_assert!(current.onset <= cusum.seen());
            prop_assert_eq!(shift.is_some(), current.score > 1.0);
            prop_assert_eq!(&Cusum::from_state(&cusum.to_state()).expect("valid"), &cusum);
        }
    }
}
