//! What confirms: evidence of several signals, one signal alone when it lasts, one frame that stands out of a fortnight.

use super::*;

const SIGNALS: usize = 8;

/// A detector of eight signals of which nobody has said what is worth a word, after 300 ordinary frames.
fn watched(seed: u64) -> (Rig, SplitMix64) {
    watched_from(seed, 0.0)
}

/// The same of signals of which a change is worth a word from `least` on.
fn watched_from(seed: u64, least: f64) -> (Rig, SplitMix64) {
    let head = "preset = \"none\"\nframe_interval = \"1m\"\nmin_training_frames = 120\n";
    let signal = |at| {
        format!(
            "[[signals]]\nname = \"s{at}\"\nmetric = \"s{at}\"\nmin_relative = 0.0\nmin_change = {least:?}\n"
        )
    };
    let options: String =
        std::iter::once(head.to_owned()).chain((0..SIGNALS).map(signal)).collect();
    let (mut rig, mut rng) = (Rig::new(&options), SplitMix64::new(seed));
    for _ in 0..300 {
        frame(&mut rig, &mut rng, 0, 0.0);
    }
    assert_eq!(rig.states(), []);
    (rig, rng)
}

/// A frame in which the first `moved` signals are off by `by`; the noise is 1.
fn frame(rig: &mut Rig, rng: &mut SplitMix64, moved: usize, by: f64) {
    let names: Vec<String> = (0..SIGNALS).map(|at| format!("s{at}")).collect();
    let mut value = |at| 50.0 + rng.normal() + if at < moved { by } else { 0.0 };
    let values: Vec<(&str, f64)> =
        names.iter().enumerate().map(|(at, name)| (&**name, value(at))).collect();
    rig.now_ms += rig.interval_ms;
    rig.send("x", &values, Kind::Gauge, rig.now_ms);
    rig.tick(rig.now_ms + 100);
}

fn confirmed(rig: &Rig) -> bool {
    rig.states().contains(&State::Confirmed)
}

#[test]
fn several_signals_confirm_within_frames_and_one_alone_when_it_lasts() {
    let (mut rig, mut rng) = watched(1);
    for _ in 0..6 {
        frame(&mut rig, &mut rng, 3, 20.0);
    }
    assert!(confirmed(&rig), "{:?}", told(&rig));

    let (mut rig, mut rng) = watched(1);
    for _ in 0..6 {
        frame(&mut rig, &mut rng, 1, 80.0);
    }
    assert!(!confirmed(&rig), "{:?}", told(&rig));
    for _ in 0..40 {
        frame(&mut rig, &mut rng, 1, 80.0);
    }
    assert!(confirmed(&rig), "{:?}", told(&rig));
}

#[test]
fn one_frame_that_stands_out_is_confirmed_and_calls_nobody() {
    let (mut rig, mut rng) = watched(2);
    frame(&mut rig, &mut rng, 3, 60.0);
    for _ in 0..15 {
        frame(&mut rig, &mut rng, 0, 0.0);
    }
    let states = [State::Detected, State::Confirmed, State::Recovering, State::Resolved];
    assert_eq!(rig.states(), states, "{:?}", told(&rig));
}

#[test]
fn one_frame_far_beyond_a_signals_own_band_is_confirmed_and_calls_nobody() {
    let (mut rig, mut rng) = watched_from(3, 4.0);
    let mut then_calm = |rig: &mut Rig, by| {
        frame(rig, &mut rng, 1, by);
        for _ in 0..70 {
            frame(rig, &mut rng, 0, 0.0);
        }
    };
    then_calm(&mut rig, 12.0);
    assert!(!confirmed(&rig), "beyond it is not enough: {:?}", told(&rig));
    assert!(rig.states().contains(&State::Detected));
    rig.incidents.clear();
    then_calm(&mut rig, 80.0);
    let states = [State::Detected, State::Confirmed, State::Recovering, State::Resolved];
    assert_eq!(rig.states(), states, "{:?}", told(&rig));
}

#[test]
fn what_is_often_as_far_off_as_can_be_is_not_beyond_any_more() {
    // A disk that is idle, and busy for a second each time something is flushed: far more than any scale, so clipped.
    let signal =
        "[[signals]]\nname = \"busy\"\nmetric = \"busy\"\nmin_change = 5.0\nmin_relative = 0.5\n";
    let head = "preset = \"none\"\nframe_interval = \"1s\"\nmin_training_frames = 300\n";
    let (mut rig, mut rng) = (Rig::new(&format!("{head}{signal}")), SplitMix64::new(4));
    let mut second = |rig: &mut Rig, flushed: f64| {
        let busy = if rng.uniform() < flushed { 100.0 } else { rng.uniform() };
        rig.window("x", &[("busy", busy)]);
    };
    for _ in 0..310 {
        second(&mut rig, 0.1);
    }
    rig.incidents.clear();
    for _ in 0..600 {
        second(&mut rig, 0.1);
    }
    assert!(!confirmed(&rig) && rig.keys().len() <= 3, "{:?}", told(&rig));
    for _ in 0..60 {
        second(&mut rig, 0.0);
    }
    assert!(rig.is_ready() && rig.detector.groups[0].incident.is_none());
    rig.incidents.clear();
    rig.window("x", &[("busy", 1000.0)]);
    second(&mut rig, 0.0);
    assert_eq!(rig.states()[..1], [State::Detected], "further than ever is");
}

#[test]
fn what_begins_to_be_far_off_for_a_moment_again_and_again_is_believed_less_each_time() {
    let (mut rig, mut rng) = watched_from(5, 4.0);
    let mut tests = Vec::new();
    for _ in 0..6 {
        frame(&mut rig, &mut rng, 1, 60.0);
        frame(&mut rig, &mut rng, 0, 0.0);
        tests.push(rig.score("robust_z").unwrap());
        for _ in 0..80 {
            frame(&mut rig, &mut rng, 0, 0.0);
        }
    }
    assert!(!rig.states().contains(&State::Notified), "{:?}", told(&rig));
    assert!(tests.is_sorted_by(|before, now| now < before), "{tests:?}");
    assert!(tests[5] < tests[0] / 2.0, "{tests:?}");
}

#[test]
fn context_switches_that_cost_nothing_raise_nothing() {
    // What this agent's own training makes of them on an idle host (tests/faults-live), and a storm.
    let head = "preset = \"host\"\nframe_interval = \"1s\"\nmin_training_frames = 120\n";
    let (mut rig, mut rng) = (Rig::new(head), SplitMix64::new(6));
    let mut seconds = |rig: &mut Rig, count: usize, switches: f64| {
        for _ in 0..count {
            let noisy = switches * (1.0 + 0.05 * rng.normal());
            let processes = 120.0 + rng.normal().round();
            rig.window("x", &[("kernel_context_switches", noisy), ("processes_total", processes)]);
        }
    };
    seconds(&mut rig, 300, 1700.0);
    assert!(rig.is_ready());
    seconds(&mut rig, 5, 6500.0);
    seconds(&mut rig, 30, 1700.0);
    assert_eq!(rig.states(), [], "{:?}", told(&rig));
    seconds(&mut rig, 5, 90_000.0);
    assert!(rig.states().contains(&State::Detected), "{:?}", told(&rig));
}

#[test]
fn one_frame_on_which_all_models_and_a_signals_own_test_agree_is_confirmed_and_calls_nobody() {
    // One series with a strong day: its way from night to noon is longer than what is wrong at noon, and it goes it daily.
    let head = "preset = \"none\"\nframe_interval = \"5m\"\nmin_training_frames = 288\n";
    let signal =
        "[[signals]]\nname = \"s\"\nmetric = \"s\"\nmin_relative = 0.0\nmin_change = 5.0\n";
    let (mut rig, mut rng) = (Rig::new(&format!("{head}{signal}")), SplitMix64::new(9));
    let mut frames = |rig: &mut Rig, count: usize, more: f64| {
        for _ in 0..count {
            let turn = std::f64::consts::TAU * rig.now_ms as f64 / 86_400_000.0;
            let day = 100.0 * (1.0 + turn.cos()).powi(2);
            rig.window("x", &[("s", 100.0 + day + more + 2.0 * rng.normal())]);
        }
    };
    frames(&mut rig, 6 * 288, 0.0);
    assert_eq!(rig.states(), [], "{:?}", told(&rig));
    frames(&mut rig, 1, 80.0);
    frames(&mut rig, 20, 0.0);
    let states = [State::Detected, State::Confirmed, State::Recovering, State::Resolved];
    assert_eq!(rig.states(), states, "{:?}", told(&rig));
}
