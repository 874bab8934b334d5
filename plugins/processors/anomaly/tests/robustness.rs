//! Bad input, gaps, clocks, restarts.

use super::*;

fn counts(rig: &Rig, reason: &str) -> u64 {
    rig.detector.collector.counts.get(reason).copied().unwrap_or(0)
}

#[test]
fn a_restart_scores_as_if_it_had_not_happened() {
    let (mut rig, mut site) = live(5, 30.0, 0.01, 170);
    // What the first run was still collecting would be lost with it: let it close its frame first.
    rig.tick(rig.now_ms + 5_000);
    rig.tick(rig.now_ms + 10_000);
    let snapshot = rig.detector.snapshot().expect("a state");
    let mut restarted = rig.restarted(&snapshot);
    let mut compared = 0;
    for at in 0..120 {
        let window = site.next();
        let window = if (60..70).contains(&at) { window.failing(0.5) } else { window };
        rig.window("nginx", &window.features());
        restarted.window("nginx", &window.features());
        if at < 2 {
            continue;
        }
        for model in ["overall", "isolation_forest", "robust_z", "cusum"] {
            let (a, b) = (rig.score(model).unwrap(), restarted.score(model).unwrap());
            assert!((a - b).abs() < 1e-9, "{:?} window {at}, {model}: {a} and {b}", rig.states());
            compared += 1;
        }
    }
    assert_eq!(compared, 118 * 4);
    assert_eq!(rig.keys(), restarted.keys());
    assert_eq!(rig.keys().len(), 1);
}

#[test]
fn a_restart_keeps_the_open_incident_and_its_key() {
    let (mut rig, mut site) = live(6, 30.0, 0.0, 150);
    for _ in 0..6 {
        let window = site.next().failing(0.6);
        rig.window("nginx", &window.features());
    }
    let key = rig.keys()[0].to_owned();
    let mut restarted = rig.restarted(&rig.detector.snapshot().unwrap());
    for at in 0..20 {
        let window = site.next().failing(if at < 3 { 0.6 } else { 0.0 });
        restarted.window("nginx", &window.features());
    }
    assert_eq!(restarted.states(), [State::Recovering, State::Resolved], "not opened again");
    assert_eq!(restarted.keys(), [key]);
}

#[test]
fn frames_since_the_last_snapshot_are_read_back_from_history() {
    let (mut rig, mut site) = live(6, 30.0, 0.01, 150);
    let snapshot = rig.detector.snapshot().unwrap();
    for _ in 0..40 {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    let restarted = rig.restarted(&snapshot); // after a kill -9
    assert_eq!(restarted.detector.groups[0].learnt_frames, rig.detector.groups[0].learnt_frames);
    let levels = |rig: &Rig| -> Vec<f64> {
        rig.detector.groups[0].levels.iter().filter_map(|levels| levels.now().short()).collect()
    };
    let both = levels(&restarted).into_iter().zip(levels(&rig));
    assert!(both.into_iter().all(|(a, b)| (a - b).abs() <= 1e-9 * b.abs()));
}

#[test]
fn a_damaged_or_foreign_state_is_refused_and_learning_begins_anew() {
    let (rig, _) = live(7, 30.0, 0.01, 150);
    let good = rig.detector.snapshot().unwrap();
    let mut flipped = good.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let old = String::from_utf8(good.clone()).unwrap().replacen(" 3 ", " 2 ", 1).into_bytes();
    let cut = good[..good.len() / 2].to_vec();
    for bad in [Vec::new(), b"\xff\xfe".to_vec(), b"hello\n{}".to_vec(), flipped, old, cut] {
        let mut fresh =
            Rig::new("preset = \"web\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n");
        assert!(fresh.detector.restore(&bad).is_err());
        assert!(fresh.detector.groups.is_empty());
        fresh.window("nginx", &[("log_requests", 1.0)]);
    }
    let mut other =
        Rig::new("preset = \"web\"\nframe_interval = \"2s\"\nmin_training_frames = 60\n");
    let error = other.detector.restore(&good).unwrap_err().to_string();
    assert!(error.contains("another frame interval"), "{error}");
}

#[test]
fn what_is_not_finite_is_counted_and_missing_is_not_zero() {
    let (mut rig, mut site) = live(8, 30.0, 0.01, 150);
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut features = site.next().features();
        features[7].1 = bad; // bytes
        rig.window("nginx", &features);
    }
    let mut features = site.next().features().to_vec();
    features.remove(7);
    rig.window("nginx", &features);
    let window = site.next();
    rig.window("nginx", &window.features());
    assert_eq!(counts(&rig, "not_finite"), 3);
    let bytes =
        |name: &str| rig.written.iter().any(|(of, signal, ..)| of == name && signal == "bytes");
    assert!(!bytes("y") && !bytes("anomaly_score"), "{:?}", rig.written);
    assert_eq!(rig.states(), []);
}

#[test]
fn an_hour_of_no_clock_is_a_gap_and_no_anomaly() {
    let (mut rig, mut site) = live(9, 30.0, 0.01, 150);
    rig.now_ms += 3_600_000; // the host slept
    for _ in 0..30 {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    assert_eq!(rig.states(), []);
    assert!(rig.score("overall").is_some());
}

#[test]
fn a_clock_set_back_is_counted_and_scoring_goes_on() {
    let (mut rig, mut site) = live(10, 30.0, 0.01, 150);
    rig.now_ms -= 7_200_000;
    rig.tick(rig.now_ms);
    let scored = rig.detector.groups[0].scored_frames;
    for _ in 0..30 {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    assert_eq!(counts(&rig, "clock_step"), 1);
    assert!(rig.detector.groups[0].scored_frames >= scored + 28);
    assert_eq!(rig.states(), []);
}

#[test]
fn samples_from_the_future_and_from_closed_frames_are_counted() {
    let (mut rig, _) = live(11, 30.0, 0.01, 20);
    rig.send("nginx", &[("log_requests", 1e9)], Kind::Gauge, rig.now_ms + 86_400_000);
    rig.send("nginx", &[("log_requests", 1e9)], Kind::Gauge, rig.now_ms - 60_000);
    assert_eq!((counts(&rig, "future"), counts(&rig, "late")), (1, 1));
}

#[test]
fn a_counter_becomes_a_rate_and_survives_its_reset() {
    let options =
        "preset = \"none\"\nframe_interval = \"10s\"\n[[signals]]\nname = \"rate\"\nmetric = \"c\"";
    let mut rig = Rig::new(options);
    let mut total = 1000.0;
    let mut rates = Vec::new();
    for at in 0..12 {
        total = if at == 6 { 50.0 } else { total + 50.0 };
        rig.now_ms += 10_000;
        rig.send("x", &[("c", total)], Kind::Counter, rig.now_ms);
        rig.tick(rig.now_ms);
        if let Some((.., rate)) =
            rig.written.iter().find(|(name, of, ..)| name == "y" && of == "rate")
        {
            rates.push(*rate);
        }
    }
    assert!(rates.len() >= 9 && rates.iter().all(|rate| *rate == 5.0), "{rates:?}");
}

#[test]
fn a_group_too_many_is_counted_and_the_others_are_watched() {
    let mut rig = Rig::new(
        "preset = \"web\"\nframe_interval = \"1s\"\nmax_groups = 2\nmin_training_frames = 60",
    );
    let mut sites: Vec<Site> = (0..3).map(|seed| Site::new(seed, 20.0)).collect();
    for _ in 0..90 {
        rig.now_ms += 1000;
        for (site, job) in sites.iter_mut().zip(["a", "b", "c"]) {
            let window = site.next();
            rig.send(job, &window.features(), Kind::Gauge, rig.now_ms);
        }
        rig.tick(rig.now_ms + 100);
    }
    assert_eq!(rig.detector.groups.len(), 2);
    assert_eq!(counts(&rig, "group_limit"), 90 * 7, "two of nine are not asked for");
    assert!(rig.detector.groups.iter().all(|group| group.used.is_some()));
    let trouble = |rig: &mut Rig, sites: &mut [Site]| {
        rig.now_ms += 1000;
        for ((site, job), share) in sites.iter_mut().zip(["a", "b"]).zip([0.0, 0.7]) {
            let window = site.next().failing(share);
            rig.send(job, &window.features(), Kind::Gauge, rig.now_ms);
        }
        rig.tick(rig.now_ms + 100);
    };
    (0..8).for_each(|_| trouble(&mut rig, &mut sites));
    assert!(rig.incidents.iter().all(|incident| incident.group == "b"));
    assert_eq!(rig.keys().len(), 1);
}

#[test]
fn what_was_not_seen_is_not_judged() {
    let (mut rig, mut site) = live(12, 30.0, 0.0, 150);
    for _ in 0..6 {
        rig.detector.unseen("features", 10);
        let window = site.next().times(0.05); // the rest was not seen
        rig.window("nginx", &window.features());
    }
    assert_eq!(rig.states(), []);
    assert_eq!(rig.detector.status()["unseen_events"], 60);
    assert_eq!(rig.detector.status()["groups"][0]["state"], "blind");
}

#[test]
fn series_that_are_made_anew_each_time_are_forgotten_again() {
    let mut rig = Rig::new("preset = \"web\"\nframe_interval = \"1s\"");
    let mut site = Site::new(1, 20.0);
    for _ in 0..600 {
        rig.series.clear();
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    let held = rig.detector.collector.held();
    assert!(held <= 9 * 300, "{held} series are held");
    assert_eq!(rig.detector.groups.len(), 1);
}

#[test]
fn a_constant_signal_that_moves_is_seen_and_constant_data_is_quiet() {
    let options = "preset = \"none\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n\
        [[signals]]\nname = \"flat\"\nmetric = \"flat\"\nmin_change = 5.0\n[[signals]]\nname = \"zero\"\nmetric = \"zero\"\nmin_change = 1.0";
    let mut rig = Rig::new(options);
    for _ in 0..200 {
        rig.window("x", &[("flat", 7.0), ("zero", 0.0)]);
    }
    assert_eq!(rig.states(), []);
    for _ in 0..6 {
        rig.window("x", &[("flat", 40.0), ("zero", 0.0)]);
    }
    assert_eq!(rig.incidents[0].contributions[0].feature, "flat");
    assert_eq!(rig.keys().len(), 1);
}

#[test]
fn a_window_that_says_it_is_not_whole_is_not_judged() {
    let (mut rig, mut site) = live(13, 30.0, 0.0, 150);
    for _ in 0..6 {
        let mut features = site.next().times(0.05).features().to_vec();
        features.push(("log_unseen", 500.0));
        rig.window("nginx", &features);
    }
    let window = site.next();
    rig.window("nginx", &window.features());
    let scored = rig.detector.groups[0].scored_frames;
    let window = site.next();
    rig.window("nginx", &window.features());
    assert_eq!(rig.states(), []);
    assert_eq!(rig.detector.groups[0].scored_frames, scored + 1, "a whole one is judged again");
}

#[test]
fn a_process_that_stood_still_for_a_while_calls_nobody_silent() {
    let (mut rig, mut site) = live(14, 30.0, 0.0, 150);
    rig.now_ms += 25_000;
    rig.tick(rig.now_ms);
    for _ in 0..40 {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    assert_eq!(rig.states(), []);
}

#[test]
fn a_source_whose_windows_ended_in_zeros_is_not_silent_again() {
    let (mut rig, _) = live(15, 30.0, 0.0, 150);
    for _ in 0..10 {
        rig.window("nginx", &[("log_requests", 0.0), ("log_errors", 0.0)]);
    }
    let keys = rig.keys().len();
    for _ in 0..60 {
        rig.now_ms += 1000;
        rig.tick(rig.now_ms);
    }
    assert_eq!(rig.keys().len(), keys);
    assert!(
        rig.incidents.iter().all(|one| one.contributions.iter().all(|of| of.feature != "silence"))
    );
}
