//! Tests of the change ranking: worked by hand, and what it must not depend on.

use super::*;
use crate::rng::SplitMix64;

const WINDOW: usize = 12;

/// `n` values about `level` with a spread of one.
fn noise(seed: u64, level: f64, n: usize) -> Vec<f64> {
    let mut rng = SplitMix64::new(seed);
    (0..n).map(|_| level + rng.normal()).collect()
}

fn fit(training: &[f64]) -> Baseline {
    Baseline::fit(training, WINDOW).expect("numbers")
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-12 * b.abs().max(1.0), "{a} is not {b}");
}

#[test]
fn the_scale_is_of_the_movements_as_worked_by_hand() {
    let mut training = [0.0, 2.0].repeat(6);
    training[11] = 6.0;
    let baseline = Baseline::fit(&training, 3).expect("numbers");
    let (step_squared, drift_squared) = (76.0_f64 / 11.0, 68.0_f64 / 9.0);
    close(baseline.center, 1.0);
    close(baseline.step, step_squared.sqrt()); // ten steps of 2, one of 6
    close(baseline.drift, drift_squared.sqrt()); // eight frames 2 off the median of three, one 6 off
    close(baseline.scale(0.0), (step_squared + drift_squared).sqrt() + 0.002);
    close(baseline.scale(0.5), (step_squared + drift_squared).sqrt() + 0.5);
}

#[test]
fn a_change_is_the_fourth_power_mean_of_the_deviations_in_scales() {
    let baseline = Baseline { center: 10.0, step: 3.0, drift: 4.0 };
    let scale = 5.0 + 0.011;
    let changed = change(&baseline, &[10.0], &[10.0, 20.0, 40.0], Direction::Both, 0.0);
    close(changed, ((10.0_f64.powi(4) + 30.0_f64.powi(4)) / 3.0).powf(0.25) / scale);
}

#[test]
fn a_signal_that_always_moves_ranks_below_one_that_never_did() {
    let (calm, lively) = (noise(1, 50.0, 500), noise(2, 50.0, 500));
    let lively: Vec<f64> = lively.iter().map(|value| 50.0 + 20.0 * (value - 50.0)).collect();
    let post = [70.0; 5];
    let changes =
        [lively, calm].map(|past| change(&fit(&past), &past[488..], &post, Direction::Both, 0.0));
    assert_eq!(rank(&changes), [1, 0]);
    assert!(changes[1] > 10.0 * changes[0], "{changes:?}");
}

#[test]
fn a_value_that_was_usual_or_that_was_there_before_the_onset_is_no_change() {
    let usual = Baseline { center: 10.0, step: 1.0, drift: 1.0 };
    let shifted_hours_ago = [30.0; WINDOW];
    assert_eq!(change(&usual, &shifted_hours_ago, &[30.0; 5], Direction::Both, 0.0), 0.0);
    assert_eq!(change(&usual, &shifted_hours_ago, &[10.0; 5], Direction::Both, 0.0), 0.0);
    assert!(change(&usual, &shifted_hours_ago, &[50.0; 5], Direction::Both, 0.0) > 10.0);
}

#[test]
fn a_constant_signal_has_a_finite_change_and_none_while_it_stands() {
    let baseline = fit(&[7.0; 100]);
    assert_eq!((baseline.step, baseline.drift), (0.0, 0.0));
    assert_eq!(change(&baseline, &[7.0; WINDOW], &[7.0; 5], Direction::Both, 0.0), 0.0);
    close(change(&baseline, &[7.0; WINDOW], &[8.0; 5], Direction::Both, 0.0), 1.0 / 0.008);
    close(change(&baseline, &[7.0; WINDOW], &[8.0; 5], Direction::Both, 2.0), 0.5);
}

#[test]
fn missing_values_are_left_out_of_training_and_are_frames_without_change() {
    assert_eq!(Baseline::fit(&[f64::NAN; 40], WINDOW), None);
    assert_eq!(Baseline::fit(&[], WINDOW), None);
    let mut gap = [5.0, 6.0].repeat(7);
    gap[..3].copy_from_slice(&[1.0, f64::NAN, 5.0]);
    let gap = fit(&gap);
    assert_eq!((gap.center, gap.step), (5.0, 1.0)); // of 1, six 5, six 6; no step across the gap

    let baseline = Baseline { center: 0.0, step: 1.0, drift: 0.0 };
    let of = |post: &[f64]| change(&baseline, &[f64::NAN; 3], post, Direction::Both, 0.0);
    assert_eq!(of(&[]), 0.0);
    assert_eq!(of(&[f64::NAN; 5]), 0.0);
    assert_eq!(of(&[9.0, f64::NAN, f64::NAN]), of(&[9.0, 0.0, 0.0])); // said once in three frames
    assert!(of(&[9.0, f64::NAN, f64::NAN]) < of(&[9.0, 9.0, 9.0]));
}

#[test]
fn a_signal_that_spoke_now_and_then_in_training_is_not_judged() {
    let mut training = [f64::NAN; 600];
    training.iter_mut().step_by(9).for_each(|value| *value = 4.0);
    assert_eq!(Baseline::fit(&training, WINDOW), None);
    training[..11].fill(4.0);
    assert!(Baseline::fit(&training, WINDOW).is_some());
    assert_eq!(Baseline::fit(&training[..10], WINDOW), None); // nine steps
}

#[test]
fn a_single_spike_ranks_below_the_same_deviation_that_lasts() {
    let baseline = fit(&noise(3, 50.0, 300));
    let of = |post: &[f64]| change(&baseline, &[50.0], post, Direction::Both, 0.0);
    let mut spike = [50.0; 16];
    spike[4] = 90.0;
    let share = of(&spike) / of(&[90.0; 16]);
    assert!((share - 0.5).abs() < 0.01, "{share}"); // 1 / 16^(1/4)
}

#[test]
fn a_direction_leaves_the_other_side_out() {
    let baseline = Baseline { center: 10.0, step: 1.0, drift: 0.0 };
    let of = |value: f64, direction| change(&baseline, &[12.0], &[value; 3], direction, 0.0);
    for (value, up, down) in [(20.0, true, false), (2.0, false, true), (11.0, false, false)] {
        assert_eq!(of(value, Direction::Up) > 0.0, up, "{value} up");
        assert_eq!(of(value, Direction::Down) > 0.0, down, "{value} down");
    }
    assert_eq!(of(20.0, Direction::Up), of(20.0, Direction::Both));
    assert_eq!(of(2.0, Direction::Down), of(2.0, Direction::Both));
}

#[test]
fn equal_changes_stay_in_their_order_and_nan_comes_last() {
    assert_eq!(rank(&[1.0, f64::NAN, 3.0, 1.0, 3.0, 0.0]), [2, 4, 0, 3, 5, 1]);
    assert_eq!(rank(&[]), [0_usize; 0]);
    let apart = [0.0; 36];
    assert_eq!(rank_distinct(&[1.0, f64::NAN, 3.0, 1.0, 3.0, 0.0], &apart, 9), [2, 4, 0, 3, 5, 1]);
}

#[test]
fn the_order_of_the_signals_does_not_change_their_ranking() {
    let columns: Vec<Vec<f64>> = (0..8).map(|seed| noise(seed, 100.0, 200)).collect();
    let ranking = |columns: &[Vec<f64>]| {
        let changes: Vec<f64> = columns
            .iter()
            .map(|c| change(&fit(&c[..150]), &c[138..150], &c[150..], Direction::Both, 0.0))
            .collect();
        let training: Vec<&[f64]> = columns.iter().map(|c| &c[..150]).collect();
        let distinct = rank_distinct(&changes, &correlation(&training), 8);
        (rank(&changes), distinct, changes)
    };
    let (order, distinct, changes) = ranking(&columns);
    let reversed: Vec<Vec<f64>> = columns.iter().rev().cloned().collect();
    let (order_back, distinct_back, mut changes_back) = ranking(&reversed);
    changes_back.reverse();
    assert_eq!(changes, changes_back); // to the last bit
    assert_eq!(order, order_back.iter().map(|at| 7 - at).collect::<Vec<_>>());
    assert_eq!(distinct, distinct_back.iter().map(|at| 7 - at).collect::<Vec<_>>());
}

#[test]
fn a_signal_that_repeats_the_first_suspect_makes_room_for_another() {
    let (load, disk) = (noise(4, 0.0, 400), noise(5, 0.0, 400));
    let echo: Vec<f64> = load.iter().map(|value| 3.0 - 2.0 * value).collect();
    let correlation = correlation(&[load, echo, disk]);
    close(correlation[1], -1.0);
    assert!(correlation[2].abs() < 0.2);
    assert_eq!(rank(&[9.0, 8.0, 2.0]), [0, 1, 2]);
    assert_eq!(rank_distinct(&[9.0, 8.0, 2.0], &correlation, 3), [0, 2, 1]);
    assert_eq!(rank_distinct(&[9.0, 8.0, 2.0], &correlation, 1), [0]);
}

#[test]
fn a_constant_column_correlates_with_nothing() {
    let (constant, other) = (vec![0.1; 300], noise(6, 0.0, 300));
    let all = correlation(&[constant, other]);
    assert_eq!((all[0], all[1], all[2]), (0.0, 0.0, 0.0));
    close(all[3], 1.0);
}

#[test]
fn wild_values_do_not_make_a_change_infinite() {
    let baseline = fit(&[0.0, 1.0, f64::INFINITY, 1.0, 0.0, 1.0].repeat(4));
    assert!(baseline.scale(0.0).is_finite());
    for post in [f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN] {
        let changed = change(&baseline, &[0.5], &[post; 3], Direction::Both, 0.0);
        assert!(changed.is_finite() && changed > 1e50, "{changed}");
    }
}

#[test]
fn a_saved_change_goes_on_where_it_stopped() {
    let mut change = Change::new(&fit(&noise(8, 5.0, 100)), &[5.0], Direction::Up, 0.1);
    change.push(7.25);
    let text = serde_json::to_string(&change).expect("state");
    let mut restored: Change = serde_json::from_str(&text).expect("state");
    change.push(9.5);
    restored.push(9.5);
    assert_eq!(change.value(), restored.value());
}
