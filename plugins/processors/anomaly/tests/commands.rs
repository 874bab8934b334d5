//! What people tell it: maintenance, accept, undo, train; and the suspects of an incident.

use sentinel_contract::command::Command;

use super::*;

fn tell(rig: &mut Rig, command: &Command) -> Option<Result<String, String>> {
    let mut emit = Emit::default();
    let now_ms = rig.now_ms + 100;
    let answer = Observer::command(&mut rig.detector, command, now_ms, &mut emit);
    rig.keep(emit);
    answer
}

fn fail(rig: &mut Rig, site: &mut Site, windows: usize) {
    for _ in 0..windows {
        let window = site.next().failing(0.5);
        rig.window("nginx", &window.features());
    }
}

fn maintenance(until_ms: Option<i64>) -> Command {
    Command::Maintenance { until_ms, detector: None, reason: "a new disk".to_owned() }
}

#[test]
fn in_maintenance_nothing_is_raised_and_nothing_is_learnt_and_then_it_is() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    let until_ms = rig.now_ms + 60_000;
    assert!(tell(&mut rig, &maintenance(Some(until_ms))).unwrap().is_ok());
    fail(&mut rig, &mut site, 1); // closes the last frame before
    let learnt = rig.detector.groups[0].learnt_frames;
    fail(&mut rig, &mut site, 20);
    assert_eq!(rig.states(), []);
    assert_eq!(rig.detector.groups[0].learnt_frames, learnt);
    assert_eq!(rig.detector.status()["maintenance"][0]["reason"], "a new disk");

    assert!(tell(&mut rig, &maintenance(None)).unwrap().is_ok());
    assert_eq!(tell(&mut rig, &maintenance(None)), None);
    fail(&mut rig, &mut site, 6);
    assert!(rig.states().contains(&State::Notified), "{:?}", told(&rig));
}

#[test]
fn a_maintenance_window_outlives_a_restart_and_ends_by_itself() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    let until_ms = rig.now_ms + 10_000;
    tell(&mut rig, &maintenance(Some(until_ms)));
    let mut rig = rig.restarted(&rig.detector.snapshot().unwrap());
    fail(&mut rig, &mut site, 9);
    assert_eq!(rig.states(), []);
    fail(&mut rig, &mut site, 8);
    assert!(rig.states().contains(&State::Notified), "{:?}", told(&rig));
}

#[test]
fn the_calendar_silences() {
    let mut rig = Rig::new(
        "preset = \"web\"\nframe_interval = \"1s\"\nmin_training_frames = 60\nmaintenance = [\"daily 00:00-24:00\"]\n",
    );
    let mut site = Site::new(3, 200.0);
    fail(&mut rig, &mut site, 10);
    assert_eq!(rig.states(), [], "even a limit that is passed calls nobody");
}

#[test]
fn an_accepted_incident_ends_and_stays_quiet_and_undo_brings_it_back() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    fail(&mut rig, &mut site, 6);
    let key = rig.keys()[0].to_owned();
    assert_eq!(tell(&mut rig, &Command::Accept { key: "another".to_owned() }), None);
    assert!(tell(&mut rig, &Command::Accept { key: key.clone() }).unwrap().is_ok());
    assert_eq!(rig.states().last(), Some(&State::Accepted));
    assert_eq!(rig.incidents.last().unwrap().key, key);
    fail(&mut rig, &mut site, 5);
    assert_eq!(rig.states().last(), Some(&State::Accepted), "{:?}", told(&rig));

    assert!(tell(&mut rig, &Command::Undo { detector: None }).unwrap().is_ok());
    assert_eq!(tell(&mut rig, &Command::Undo { detector: None }), None);
    fail(&mut rig, &mut site, 6);
    assert_eq!(rig.states().last(), Some(&State::Notified), "{:?}", told(&rig));
}

#[test]
fn training_by_command_gives_a_new_model_or_says_why_not() {
    let train = Command::Train { detector: None };
    let (mut rig, _) = live(3, 200.0, 0.005, 20);
    let why_not = tell(&mut rig, &train).unwrap().unwrap_err();
    assert!(why_not.contains(" of 60 frames"), "{why_not}");
    let (mut rig, mut site) = live(3, 200.0, 0.005, 100);
    let before = rig.detector.groups[0].used.as_ref().unwrap().model.upto_ms;
    assert!(tell(&mut rig, &train).unwrap().is_ok());
    for _ in 0..5 {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    assert!(rig.detector.groups[0].used.as_ref().unwrap().model.upto_ms > before);
}

#[test]
fn the_suspects_of_an_outage_are_its_errors() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    fail(&mut rig, &mut site, 6);
    let called = rig.incidents.iter().find(|one| one.state == State::Notified).unwrap();
    let first = &called.suspects[0];
    assert!(["errors", "error_rate"].contains(&&*first.feature), "{:?}", called.suspects);
    assert!(called.suspects.is_sorted_by(|a, b| a.change >= b.change));
}

#[test]
fn what_changed_on_the_host_shortly_before_is_told_with_the_incident() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    let log = |job: &str, time_ms: i64, body: &'static str| sentinel_contract::Log {
        stream: Arc::new(Labels::new([("job", job), ("kind", "unit")])),
        time_ns: time_ms * 1_000_000,
        body: bytes::Bytes::from_static(body.as_bytes()),
        fields: None,
    };
    let logs = vec![
        log("changes", rig.now_ms - 3_600_000, "an hour ago"),
        log("nginx", rig.now_ms, "GET /"),
        log("changes", rig.now_ms, "app.service restarted"),
    ];
    let batch = Batch::new("changes".into(), Events::Logs(logs));
    rig.detector.observe(&batch, &mut Emit::default());
    fail(&mut rig, &mut site, 6);
    let called = rig.incidents.iter().find(|one| one.state == State::Notified).unwrap();
    let told: Vec<(&str, &str)> =
        called.changes.iter().map(|change| (&*change.kind, &*change.text)).collect();
    assert_eq!(told, [("unit", "app.service restarted")]);
}

#[test]
fn what_was_accepted_does_not_make_it_deaf_to_another_limit() {
    let head = "preset = \"host\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n";
    let mut rig = Rig::new(head);
    let seconds = |rig: &mut Rig, count: usize, disk: f64, available: f64| {
        for _ in 0..count {
            rig.window("x", &[("disk_used_percent", disk), ("mem_available_percent", available)]);
        }
    };
    seconds(&mut rig, 20, 96.0, 40.0); // no label `mode`: not the preset's disk
    assert_eq!(rig.states(), []);
    let options = format!(
        "{head}[[signals]]\nname = \"full\"\nmetric = \"disk_used_percent\"\nlimit = 95.0\nmin_change = 2.0\n"
    );
    let mut rig = Rig::new(&options);
    seconds(&mut rig, 10, 96.0, 40.0);
    let key = rig.keys()[0].to_owned();
    assert_eq!(rig.states().last(), Some(&State::Notified), "{:?}", told(&rig));
    assert!(tell(&mut rig, &Command::Accept { key }).unwrap().is_ok());
    rig.incidents.clear();
    seconds(&mut rig, 30, 96.0, 40.0);
    assert_eq!(rig.states(), [], "the accepted limit calls nobody again");
    let mut rig = rig.restarted(&rig.detector.snapshot().unwrap());
    seconds(&mut rig, 30, 96.0, 40.0);
    assert_eq!(rig.states(), [], "nor after a restart: {:?}", told(&rig));
    seconds(&mut rig, 5, 96.0, 2.0);
    assert_eq!(rig.states().last(), Some(&State::Notified), "another limit does: {:?}", told(&rig));
    seconds(&mut rig, 40, 80.0, 40.0);
    rig.incidents.clear();
    seconds(&mut rig, 10, 97.0, 40.0);
    assert_eq!(
        rig.states().last(),
        Some(&State::Notified),
        "and so does the first, once it was kept: {:?}",
        told(&rig)
    );
}

#[test]
fn undo_takes_back_the_last_new_normal_of_all_groups() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 150);
    let mut both = |rig: &mut Rig, a: f64, b: f64| {
        for (job, share) in [("nginx", a), ("shop", b)] {
            let window = site.next().failing(share);
            rig.send(job, &window.features(), Kind::Gauge, rig.now_ms + rig.interval_ms);
        }
        rig.now_ms += rig.interval_ms;
        rig.tick(rig.now_ms + 100);
    };
    for _ in 0..150 {
        both(&mut rig, 0.005, 0.005);
    }
    let mut accept = |rig: &mut Rig, a: f64, b: f64| {
        for _ in 0..8 {
            both(rig, a, b);
        }
        let key = rig.incidents.last().unwrap().key.clone();
        assert!(tell(rig, &Command::Accept { key }).unwrap().is_ok(), "{:?}", told(rig));
    };
    accept(&mut rig, 0.5, 0.005);
    accept(&mut rig, 0.5, 0.5);
    let names: Vec<String> = (0..3)
        .filter_map(|_| tell(&mut rig, &Command::Undo { detector: None })?.ok())
        .map(|words| words.split(' ').next().unwrap().to_owned())
        .collect();
    assert_eq!(names, ["shop", "nginx"]);
}

#[test]
fn a_quiet_site_whose_failures_were_accepted_calls_nobody_again_between_two_of_them() {
    let mut rig = Rig::new("preset = \"web\"\n");
    let site = Site::new(1, 6.0).next();
    let minutes = |rig: &mut Rig, count: usize, every: usize| {
        for minute in 0..count {
            let errors = if minute % every < 2 { 6.0 } else { 0.0 };
            let window = Window { requests: 6.0, sessions: 3.0, errors, ..site };
            rig.window("nginx", &window.features());
        }
    };
    minutes(&mut rig, 6, 2);
    assert_eq!(rig.states().last(), Some(&State::Notified), "{:?}", told(&rig));
    let key = rig.keys()[0].to_owned();
    assert!(tell(&mut rig, &Command::Accept { key }).unwrap().is_ok());
    rig.incidents.clear();
    minutes(&mut rig, 14 * 8, 8);
    assert!(!rig.states().contains(&State::Notified), "{:?}", told(&rig));
}
