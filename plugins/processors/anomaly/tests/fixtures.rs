//! Signals as they are in the field, each with what it may come to: no panic, and never a storm.

use super::*;

/// Two gauges and a count of which one is played; nothing of it is too small to matter.
const PLAIN: &str = "preset = \"none\"\nframe_interval = \"1m\"\nmin_training_frames = 120\n\
    [[signals]]\nname = \"a\"\nmetric = \"a\"\n[[signals]]\nname = \"b\"\nmetric = \"b\"\n";

/// Minutes of `a` as given by the minute and a draw of noise, beside a `b` that is only noise.
fn played(minutes: usize, a: impl Fn(usize, f64) -> f64) -> Rig {
    let mut rig = Rig::new(PLAIN);
    let mut rng = SplitMix64::new(17);
    for minute in 0..minutes {
        let value = a(minute, rng.normal());
        let values = [("a", value), ("b", 20.0 + rng.normal())];
        let there = if value.is_nan() { &values[1..] } else { &values[..] };
        rig.window("x", there);
    }
    rig
}

/// At most so many incidents and calls.
fn no_storm(rig: &Rig, incidents: usize, calls: usize) {
    let called = rig.states().iter().filter(|state| **state == State::Notified).count();
    let mut keys = rig.keys();
    keys.sort_unstable();
    keys.dedup();
    let short: Vec<String> = told(rig).iter().take(40).cloned().collect();
    assert!(keys.len() <= incidents && called <= calls, "{} and {called}: {short:#?}", keys.len());
    let changes = rig.incidents.len();
    assert!(changes <= incidents * 20, "{changes} changes: {short:#?}");
}

#[test]
fn a_constant_is_quiet() {
    no_storm(&played(1440, |_, _| 50.0), 0, 0);
}

#[test]
fn a_near_constant_is_quiet() {
    no_storm(&played(1440, |minute, noise| 50.0 + noise * 1e-9 * (minute % 7) as f64), 1, 0);
}

#[test]
fn what_is_missing_from_the_start_or_from_some_time_on_raises_nothing() {
    no_storm(&played(720, |_, _| f64::NAN), 0, 0);
    no_storm(
        &played(1440, |minute, noise| if minute < 700 { 50.0 + noise } else { f64::NAN }),
        1,
        0,
    );
}

#[test]
fn a_source_of_which_everything_is_missing_is_one_incident() {
    let mut rig = played(720, |_, noise| 50.0 + noise);
    for _ in 0..1440 {
        rig.now_ms += rig.interval_ms;
        rig.tick(rig.now_ms);
    }
    no_storm(&rig, 1, 1);
    assert_eq!(rig.keys().len(), 1, "its silence");
}

#[test]
fn a_spike_calls_nobody() {
    no_storm(&played(1440, |minute, noise| if minute == 900 { 500.0 } else { 50.0 + noise }), 1, 0);
}

#[test]
fn a_level_shift_is_one_incident_and_then_the_new_normal() {
    let rig = played(1440, |minute, noise| if minute < 600 { 50.0 } else { 90.0 } + noise);
    no_storm(&rig, 2, 1);
    assert_eq!(rig.incidents[0].contributions[0].feature, "a");
    assert_eq!(rig.states().last(), Some(&State::Accepted), "{:#?}", told(&rig));
    assert!(rig.incidents.iter().any(|one| one.reason.contains("sentinelops accept")));
}

#[test]
fn a_ramp_is_no_storm() {
    let rig = played(2880, |minute, noise| 50.0 + noise + (minute as f64 - 600.0).max(0.0) * 0.05);
    no_storm(&rig, 4, 4); // in 38 hours: a level is accepted after six, and the ramp goes on
    assert!(!rig.keys().is_empty(), "and not overlooked");
}

#[test]
fn noise_that_grows_is_no_storm() {
    no_storm(
        &played(1440, |minute, noise| 50.0 + noise * if minute < 600 { 1.0 } else { 6.0 }),
        5,
        1,
    );
}

#[test]
fn a_missing_hour_is_a_gap() {
    let mut rig = played(720, |_, noise| 50.0 + noise);
    rig.now_ms += 3_600_000;
    let mut rng = SplitMix64::new(3);
    for _ in 0..300 {
        rig.window("x", &[("a", 50.0 + rng.normal()), ("b", 20.0 + rng.normal())]);
    }
    no_storm(&rig, 0, 0);
}

#[test]
fn a_day_that_shifts_by_an_hour_calls_nobody() {
    let season = |minute: usize| {
        let local = if minute < 4 * 1440 { minute } else { minute + 60 }; // summer time begins
        (local as f64 / 1440.0 * std::f64::consts::TAU).sin()
    };
    let rig = played(6 * 1440, |minute, noise| 50.0 + 20.0 * season(minute) + noise);
    no_storm(&rig, 3, 0);
}

#[test]
fn a_clock_that_leaps_and_comes_back_calls_nobody() {
    let mut rig = played(720, |_, noise| 50.0 + noise);
    let mut rng = SplitMix64::new(3);
    for leap in [86_400_000, -86_400_000, 30_000, -30_000, 7 * 86_400_000] {
        rig.now_ms += leap;
        rig.tick(rig.now_ms);
        for _ in 0..60 {
            rig.window("x", &[("a", 50.0 + rng.normal()), ("b", 20.0 + rng.normal())]);
        }
    }
    no_storm(&rig, 1, 0);
}

#[test]
fn a_clock_that_is_set_back_behind_an_incident_does_not_keep_it_open() {
    let mut rig = played(720, |minute, noise| if minute < 700 { 50.0 } else { 500.0 } + noise);
    assert_eq!(rig.keys().len(), 1);
    rig.now_ms -= 30 * 86_400_000;
    rig.tick(rig.now_ms);
    for _ in 0..10 {
        rig.window("x", &[("a", 500.0), ("b", 20.0)]);
    }
    let ended = rig.incidents.iter().find(|one| one.state == State::Expired).expect("an end");
    assert_eq!(ended.reason, "the clock was set back behind it");
    no_storm(&rig, 2, 2);
}

#[test]
fn two_failures_in_five_requests_are_too_little_to_call() {
    let mut rig = Rig::new("preset = \"web\"\nmin_training_frames = 120\n");
    let mut site = Site::new(9, 3.0);
    for minute in 0..1440 {
        let mut window = site.next();
        if minute > 700 && minute % 9 == 0 {
            window.errors = (window.requests * 0.5).floor(); // one or two
        }
        rig.window("nginx", &window.features());
    }
    no_storm(&rig, 4, 0);
}

#[test]
fn samples_that_come_twice_change_nothing() {
    let run = |times: usize| {
        let mut rig = Rig::new(PLAIN);
        let mut rng = SplitMix64::new(8);
        for _ in 0..300 {
            rig.now_ms += rig.interval_ms;
            let values = [("a", 50.0 + rng.normal()), ("b", 20.0 + rng.normal())];
            for _ in 0..times {
                rig.send("x", &values, Kind::Gauge, rig.now_ms);
            }
            rig.tick(rig.now_ms + 100);
        }
        rig
    };
    let (once, thrice) = (run(1), run(3));
    assert_eq!(once.states(), []);
    let (one, three) = (once.score("overall").unwrap(), thrice.score("overall").unwrap());
    // The mean of three equal samples is rounded.
    assert!((one - three).abs() < 1e-9, "{one} {three}");
}

#[test]
fn ten_times_the_series_are_bounded_and_one_call_at_most() {
    let mut rig = Rig::new("preset = \"web\"\nframe_interval = \"1s\"\nmin_training_frames = 60");
    let mut sites: Vec<Site> = (0..40).map(|seed| Site::new(seed, 20.0)).collect();
    let jobs: Vec<String> = (0..40).map(|job| format!("job{job}")).collect();
    for at in 0..240 {
        rig.now_ms += 1000;
        let speaking = if at < 120 { 4 } else { 40 };
        for (site, job) in sites.iter_mut().zip(&jobs).take(speaking) {
            rig.send(job, &site.next().features(), Kind::Gauge, rig.now_ms);
        }
        rig.tick(rig.now_ms + 100);
    }
    assert_eq!(rig.detector.groups.len(), 16, "max_groups");
    assert!(rig.detector.collector.counts["group_limit"] > 0);
    no_storm(&rig, 3, 0);
}
