//! The life of an incident in a whole detector: through restarts, lost state, silence, beside other detectors.

use sentinel_contract::command::Command;
use sentinel_contract::desk::Budget;

use super::*;

const WEB: &str = "preset = \"web\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n";

fn fail(rig: &mut Rig, site: &mut Site, windows: usize) {
    for _ in 0..windows {
        let window = site.next().failing(0.6);
        rig.window("nginx", &window.features());
    }
}

fn pass(rig: &mut Rig, site: &mut Site, windows: usize) {
    for _ in 0..windows {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
}

/// Lets it close the frame that it is collecting.
fn close(rig: &mut Rig) {
    rig.tick(rig.now_ms + 5_000);
    rig.tick(rig.now_ms + 10_000);
}

fn notified(rig: &Rig) -> usize {
    rig.states().iter().filter(|state| **state == State::Notified).count()
}

#[test]
fn a_kill_in_the_middle_of_an_incident_changes_no_score_and_calls_nobody_again() {
    let (mut rig, mut site) = live(5, 30.0, 0.01, 170);
    close(&mut rig);
    let snapshot = rig.detector.snapshot().unwrap(); // before anything happened
    pass(&mut rig, &mut site, 20);
    fail(&mut rig, &mut site, 12);
    close(&mut rig);
    assert_eq!(rig.states(), [State::Detected, State::Confirmed, State::Notified]);
    let mut restarted = rig.restarted_on(&snapshot, rig.history.copied()); // kill -9
    let mut compared = 0;
    for at in 0..100 {
        let window = site.next();
        let window = if at < 10 { window.failing(0.6) } else { window };
        rig.window("nginx", &window.features());
        restarted.window("nginx", &window.features());
        if at < 2 {
            continue;
        }
        for model in ["overall", "isolation_forest", "one_class_svm", "pca", "robust_z", "cusum"] {
            let (a, b) = (rig.score(model).unwrap(), restarted.score(model).unwrap());
            assert!((a - b).abs() < 1e-9, "window {at}, {model}: {a} and {b}");
            compared += 1;
        }
    }
    assert_eq!(compared, 98 * 6);
    assert_eq!(restarted.states(), [State::Recovering, State::Resolved]);
    assert_eq!(restarted.incidents[..], rig.incidents[3..], "told as if it had never been killed");
}

#[test]
fn live_and_replayed_the_same_data_give_the_same_incidents() {
    let windows: Vec<Window> = {
        let mut site = Site::new(21, 60.0);
        let failing = |at: usize| if (170..185).contains(&at) { 0.5 } else { 0.0 };
        (0..300).map(|at| site.next().failing(failing(at))).collect()
    };
    let mut replayed = Rig::new(WEB);
    for window in &windows {
        replayed.window("nginx", &window.features());
    }
    // Live: a training thread (one frame is long enough for it), samples in pieces, the clock between them.
    let trainer = Trainer::immediate();
    let mut live = Rig::trained_by(WEB, &trainer);
    for window in &windows {
        live.now_ms += live.interval_ms;
        for pair in window.features().chunks(2) {
            live.send("nginx", pair, Kind::Gauge, live.now_ms);
        }
        live.tick(live.now_ms + 100);
        live.tick(live.now_ms + 400);
        trainer.submit(|| ()).wait().unwrap();
    }
    assert_eq!(notified(&live), 1);
    assert_eq!(live.incidents, replayed.incidents);
    let (a, b) = (live.score("overall").unwrap(), replayed.score("overall").unwrap());
    assert!((a - b).abs() < 1e-9);
}

#[test]
fn what_was_decided_and_not_told_before_a_kill_is_told_after_it() {
    let (mut rig, mut site) = live(5, 30.0, 0.01, 170);
    let snapshot = rig.detector.snapshot().unwrap();
    fail(&mut rig, &mut site, 8);
    close(&mut rig);
    assert_eq!(notified(&rig), 1);
    let history = rig.history.copied();
    history.incidents.lock().unwrap().truncate(1); // the last writes were lost
    let mut restarted = rig.restarted_on(&snapshot, history);
    restarted.tick(rig.now_ms + 11_000);
    assert_eq!(restarted.incidents[..], rig.incidents[1..]);
}

#[test]
fn an_incident_whose_detector_lost_its_state_expires_and_the_same_fault_calls_nobody_again() {
    let (mut rig, mut site) = live(5, 30.0, 0.01, 170);
    fail(&mut rig, &mut site, 8);
    let key = rig.keys()[0].to_owned();
    let mut fresh = Rig::on(WEB, rig.history.copied(), rig.now_ms);
    let told = fresh.history.incidents(i64::MIN, usize::MAX).unwrap();
    fresh.desk.recall(&told, rig.now_ms);
    fail(&mut fresh, &mut site, 20); // the limit of the preset works while it learns
    assert_eq!((fresh.states()[0], &fresh.incidents[0].key), (State::Expired, &key));
    // It joins what is no longer known, and soon takes its place.
    assert_eq!(fresh.states()[1..], [State::Detected, State::Confirmed, State::Updated]);
    assert_eq!(fresh.incidents[2].joined, Some(key));
}

#[test]
fn two_detectors_with_one_desk_call_once() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    let mut other = Rig::beside(WEB, "other", &rig.desk);
    for _ in 0..150 {
        other.window("nginx", &site.next().features());
    }
    other.now_ms = rig.now_ms;
    fail(&mut rig, &mut site, 6);
    let rest = Rig { now_ms: rig.now_ms, ..other };
    let mut other = rest;
    fail(&mut other, &mut site, 6);
    assert_eq!(notified(&rig), 1);
    assert_eq!(other.states(), [State::Detected, State::Confirmed], "{:?}", told(&other));
    assert_eq!(other.incidents[1].joined.as_deref(), Some(&*rig.incidents[0].key));
}

#[test]
fn groups_of_one_detector_that_fail_together_call_once() {
    let mut rig = Rig::new(WEB);
    let mut sites: Vec<Site> = (0..3).map(|seed| Site::new(seed, 40.0)).collect();
    for at in 0..180 {
        rig.now_ms += 1000;
        for (site, job) in sites.iter_mut().zip(["a", "b", "c"]) {
            let window = site.next().failing(if at < 165 { 0.0 } else { 0.6 });
            rig.send(job, &window.features(), Kind::Gauge, rig.now_ms);
        }
        rig.tick(rig.now_ms + 100);
    }
    assert_eq!(notified(&rig), 1, "{:?}", told(&rig));
    let joined = rig.incidents.iter().filter(|one| one.joined.is_some());
    assert_eq!(joined.count(), 2);
}

#[test]
fn a_digest_is_one_call_that_is_over_at_once_and_names_what_was_held_back() {
    let desk = Desk::new(Budget { per_hour: 1, per_day: 5 });
    let mut rig = Rig::beside(WEB, "web", &desk);
    let mut site = Site::new(3, 200.0);
    pass(&mut rig, &mut site, 150);
    desk.note(&Incident {
        key: "host/box/1".into(),
        state: State::Notified,
        time_ms: rig.now_ms - 1_800_000,
        ..Incident::default()
    });
    desk.note(&Incident {
        key: "host/box/1".into(),
        state: State::Resolved,
        time_ms: rig.now_ms - 1_700_000,
        ..Incident::default()
    });
    // Not critical: errors that users see, and the limit by little.
    for _ in 0..8 {
        let window = site.next().failing(0.07);
        rig.window("nginx", &window.features());
    }
    assert_eq!(rig.states(), [State::Detected, State::Confirmed], "{:?}", told(&rig));
    let held = &rig.incidents[1];
    assert!(held.held && held.reason.contains("in the digest"), "{held:?}");
    let key = held.key.clone();
    pass(&mut rig, &mut site, 30);
    let before = rig.incidents.len();
    for _ in 0..1900 {
        rig.now_ms += 1000;
        rig.tick(rig.now_ms);
    }
    let digests: Vec<&Incident> =
        rig.incidents[before..].iter().filter(|one| one.key.starts_with("digest/box/")).collect();
    let states: Vec<State> = digests.iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Notified, State::Resolved], "{:?}", told(&rig));
    let message = &digests[0].message;
    // The errors, and then that nobody asks any more, which is another fault.
    assert!(message.starts_with("2 incidents of box called nobody, 2 "), "{message}");
    assert!(message.contains(&key), "{message}");
    assert_eq!(digests[0].reason, "over the notification budget of 1 an hour and 5 a day");
}

#[test]
fn an_incident_whose_signals_go_missing_neither_resolves_nor_stays() {
    let mut rig = Rig::new(
        "preset = \"none\"\nmin_training_frames = 60\n[[signals]]\nname = \"a\"\nmetric = \"a\"\n\
        [[signals]]\nname = \"b\"\nmetric = \"b\"\n",
    );
    let mut rng = SplitMix64::new(3);
    for at in 0..160 {
        let a = if at < 150 { 50.0 } else { 900.0 } + rng.normal();
        rig.window("x", &[("a", a), ("b", 20.0 + rng.normal())]);
    }
    rig.window("x", &[("b", 20.0)]); // closes the last of them
    let states = rig.states();
    assert_eq!(states, [State::Detected, State::Confirmed, State::Notified], "{:?}", told(&rig));
    for _ in 0..6 * 60 + 2 {
        rig.window("x", &[("b", 20.0 + rng.normal())]);
    }
    assert_eq!(rig.states()[3..], [State::Expired], "{:?}", told(&rig));
    assert!(rig.incidents[3].reason.starts_with("nothing of it was seen for 6 h"));
}

#[test]
fn an_incident_of_a_source_that_may_be_silent_expires_with_it() {
    let mut rig = Rig::new("preset = \"web\"\nmin_training_frames = 60\nsilence = \"ignore\"\n");
    let mut site = Site::new(3, 200.0);
    pass(&mut rig, &mut site, 150);
    fail(&mut rig, &mut site, 5);
    assert_eq!(notified(&rig), 1);
    for _ in 0..6 * 60 + 2 {
        rig.now_ms += rig.interval_ms;
        rig.tick(rig.now_ms);
    }
    assert_eq!(rig.states().last(), Some(&State::Expired), "{:?}", told(&rig));
}

#[test]
fn a_silent_source_is_one_call_and_expires_after_two_days() {
    let mut rig = Rig::new("preset = \"web\"\nmin_training_frames = 60\n");
    let mut site = Site::new(3, 200.0);
    pass(&mut rig, &mut site, 150);
    for _ in 0..3 * 1440 {
        rig.now_ms += rig.interval_ms;
        rig.tick(rig.now_ms);
    }
    let expected =
        [State::Detected, State::Confirmed, State::Notified, State::Updated, State::Expired];
    assert_eq!(rig.states(), expected, "{:?}", told(&rig));
    let lasted = rig.incidents[4].time_ms - rig.incidents[4].started_ms;
    assert_eq!(lasted, 48 * 3_600_000);
}

#[test]
fn a_new_normal_can_be_taken_back_after_a_restart() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    fail(&mut rig, &mut site, 6);
    let key = rig.keys()[0].to_owned();
    let now_ms = rig.now_ms + 100;
    let accept = Command::Accept { key };
    assert!(rig.detector.command(&accept, now_ms, &mut Emit::default()).unwrap().is_ok());
    fail(&mut rig, &mut site, 5);
    let mut rig = rig.restarted(&rig.detector.snapshot().unwrap());
    let undo = Command::Undo { detector: None };
    assert!(rig.detector.command(&undo, now_ms, &mut Emit::default()).unwrap().is_ok());
    fail(&mut rig, &mut site, 6);
    assert_eq!(rig.states().last(), Some(&State::Notified), "{:?}", told(&rig));
}
