//! Small shifts that last, and slow slopes: the CUSUM among the signals' own tests.

use super::super::drift::{Drift, score, usual};
use super::*;

/// Two signals of which a deviation of 1 matters, with noise of 1, after four days of minutes.
fn watched(seed: u64) -> (Rig, SplitMix64) {
    let signal = |name: &str, role: &str| {
        format!(
            "[[signals]]\nname = \"{name}\"\nmetric = \"{name}\"\nmin_change = 1.0\nmin_relative = 0.0\ndirection = \"up\"\n\
             role = \"{role}\"\n"
        )
    };
    let head = "preset = \"none\"\nframe_interval = \"1m\"\nmin_training_frames = 5700\n";
    let options = format!("{head}{}{}", signal("memory", "resource"), signal("load", "resource"));
    let (mut rig, mut rng) = (Rig::new(&options), SplitMix64::new(seed));
    for _ in 0..5750 {
        frame(&mut rig, &mut rng, 0.0);
    }
    assert!(rig.is_ready() && !rig.states().contains(&State::Confirmed), "{:?}", told(&rig));
    rig.incidents.clear();
    (rig, rng)
}

fn frame(rig: &mut Rig, rng: &mut SplitMix64, by: f64) {
    let values = [("memory", 50.0 + rng.normal() + by), ("load", 20.0 + rng.normal())];
    rig.now_ms += rig.interval_ms;
    rig.send("x", &values, Kind::Gauge, rig.now_ms);
    rig.tick(rig.now_ms + 100);
}

fn confirmed(rig: &Rig) -> Option<&Incident> {
    rig.incidents.iter().find(|one| one.state == State::Confirmed)
}

#[test]
fn a_shift_within_the_band_is_found_when_it_lasts_and_is_over_when_it_is() {
    for seed in 0..3 {
        let (mut rig, mut rng) = watched(seed);
        let began = rig.now_ms;
        while confirmed(&rig).is_none() && rig.now_ms < began + 120 * 60_000 {
            frame(&mut rig, &mut rng, 2.2);
        }
        let found = confirmed(&rig).unwrap_or_else(|| panic!("seed {seed}: {:?}", told(&rig)));
        let minutes = (found.time_ms - began) / 60_000;
        assert!((30..=75).contains(&minutes), "seed {seed}: after {minutes} min");
        assert_eq!(found.contributions[0].feature, "memory", "seed {seed}: {found:?}");
        assert!(rig.score("cusum").unwrap() >= 1.0, "seed {seed}: {:?}", rig.written);
        for _ in 0..60 {
            frame(&mut rig, &mut rng, 0.0);
        }
        assert_eq!(rig.states().last(), Some(&State::Resolved), "seed {seed}: {:?}", told(&rig));
    }
}

#[test]
fn a_slope_that_the_recent_level_follows_is_found() {
    let (mut rig, mut rng) = watched(7);
    let began = rig.now_ms;
    for minute in 0..180 {
        frame(&mut rig, &mut rng, f64::from(minute) * 0.03);
    }
    let found = confirmed(&rig).unwrap_or_else(|| panic!("{:?}", told(&rig)));
    let (minutes, memory) = ((found.time_ms - began) / 60_000, &found.contributions[0]);
    assert!(minutes <= 150, "after {minutes} min");
    assert_eq!(memory.feature, "memory");
    assert!(memory.value > memory.upper, "it is told against what is usual: {memory:?}");
}

#[test]
fn a_spike_a_short_shift_and_a_gap_are_no_drift() {
    let mut drift = Drift::new();
    drift.push(1e9);
    assert!(drift.shift() < 0.05, "one value counts as three deviations");
    for _ in 0..20 {
        drift.push(3.0);
    }
    let short = drift.shift();
    assert!(short < 1.0, "{short}");
    drift.push(f64::NAN);
    assert!((drift.shift() - short).abs() < 1e-12, "what is missing says nothing");
    for _ in 0..60 {
        drift.push(0.0);
    }
    assert_eq!(drift.shift(), 0.0);
}

#[test]
fn a_shift_counts_while_the_signal_is_off_to_the_same_side() {
    let beyond = Some(1.0);
    assert_eq!(score(2.0, 3.0, beyond), 2.0);
    assert_eq!(score(-2.0, -3.0, beyond), 2.0);
    for (shift, off) in [(2.0, -3.0), (-2.0, 3.0), (2.0, 0.5), (2.0, f64::NAN), (0.0, 5.0)] {
        assert_eq!(score(shift, off, beyond), 0.0, "{shift} {off}");
    }
    assert_eq!(score(2.0, 3.0, None), 0.0);
}

#[test]
fn what_is_usual_is_the_longest_shift_of_a_training_of_two_days() {
    let day = 86_400.0;
    let mut rng = SplitMix64::new(3);
    let noise: Vec<f64> = (0..4000).map(|_| rng.normal()).collect();
    assert_eq!(usual(1.5 * day, noise.iter().copied()), None, "too early");
    assert_eq!(usual(2.5 * day, noise.iter().copied()), Some(1.0));
    let shifted = noise.iter().enumerate().map(|(at, z)| z + if at < 200 { 3.0 } else { 0.0 });
    let wider = usual(2.5 * day, shifted).expect("a shift of three hours");
    assert!((5.0..15.0).contains(&wider), "{wider}");
    let wandering = noise.iter().enumerate().map(|(at, z)| z + if at < 2000 { 3.0 } else { -3.0 });
    assert_eq!(usual(2.5 * day, wandering), None, "it has no level");
}
