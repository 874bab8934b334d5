//! The rate bar: what is asked of evidence when a detector of few signals confirms often.

use super::super::rate_bar::RateBar;
use super::*;

/// Frames of a minute in a week.
const WEEK: usize = 10_080;

#[test]
fn each_confirmed_incident_asks_for_more_up_to_half_as_much_again() {
    let mut bar = RateBar::default();
    assert_eq!(bar.factor(), 1.0);
    bar.raise();
    assert!((bar.factor() - 0.2_f64.exp()).abs() < 1e-12);
    (0..10).for_each(|_| bar.raise());
    assert!((bar.factor() - 0.4_f64.exp()).abs() < 1e-12, "{}", bar.factor());
}

#[test]
fn it_stays_where_it_is_at_twice_the_welcome_rate_and_sinks_below_it() {
    let week = |incidents: usize| {
        let mut bar = RateBar::default();
        bar.raise();
        for frame in 0..WEEK {
            bar.sink(1.0 / WEEK as f64);
            if (frame + 1) % (WEEK / incidents) == 0 {
                bar.raise();
            }
        }
        bar.factor()
    };
    assert!((week(2) - 0.2_f64.exp()).abs() < 1e-6, "{}", week(2));
    assert!(week(4) > week(2));
    let mut bar = RateBar::default();
    bar.raise();
    (0..WEEK).for_each(|_| bar.sink(1.0 / WEEK as f64));
    assert_eq!(bar.factor(), 1.0);
}

/// So many signals of noise, and every 200 frames twelve in which two are off by `by`; how many of the incidents are confirmed.
fn surges(signals: usize, count: usize, by: f64) -> (usize, f64) {
    let signal = |at| {
        format!(
            "[[signals]]\nname = \"s{at}\"\nmetric = \"s{at}\"\nmin_relative = 0.0\nmin_change = 0.0\n"
        )
    };
    let head = "preset = \"none\"\nframe_interval = \"1m\"\nmin_training_frames = 120\n";
    let options: String =
        std::iter::once(head.to_owned()).chain((0..signals).map(signal)).collect();
    let (mut rig, mut rng) = (Rig::new(&options), SplitMix64::new(8));
    let names: Vec<String> = (0..signals).map(|at| format!("s{at}")).collect();
    for frame in 0..300 + 200 * count {
        let off = frame > 300 && frame % 200 < 12;
        let mut value = |at| 50.0 + rng.normal() + if off && at < 2 { by } else { 0.0 };
        let values: Vec<(&str, f64)> =
            names.iter().enumerate().map(|(at, name)| (&**name, value(at))).collect();
        rig.window("x", &values);
    }
    let confirmed = rig.states().iter().filter(|state| **state == State::Confirmed).count();
    (confirmed, rig.detector.groups[0].memory.rate.factor())
}

#[test]
fn a_restless_series_is_confirmed_ever_less_often() {
    let (few, asked) = surges(2, 12, 10.0);
    assert!(
        (1..=4).contains(&few) && asked > 1.2,
        "{few} of 12, and {asked} times as much is asked"
    );
    let (many, _) = surges(8, 12, 10.0);
    assert!(many >= 10, "of many signals more than one is asked for, and no more: {many} of 12");
}

#[test]
fn it_outlives_a_restart() {
    let (mut rig, mut rng) = (
        Rig::new(
            "preset = \"none\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n[[signals]]\nname = \"s\"\nmetric = \"s\"\nmin_change = 1.0\n",
        ),
        SplitMix64::new(2),
    );
    for second in 0..130 {
        let value = if second > 120 { 90.0 } else { 50.0 };
        rig.window("x", &[("s", value + rng.normal())]);
    }
    assert!(rig.states().contains(&State::Confirmed), "{:?}", told(&rig));
    let factor = |rig: &Rig| rig.detector.groups[0].memory.rate.factor();
    let again = rig.restarted(&rig.detector.snapshot().unwrap());
    assert!(factor(&rig) > 1.1);
    assert_eq!(factor(&again), factor(&rig));
}
