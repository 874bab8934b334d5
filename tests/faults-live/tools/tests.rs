//! The schedule, the logs and the score. The injectors of the host are seen to work by the run itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};
use serde_json::json;

use crate::application::{Application, NEW, Writer};
use crate::incidents::{Arrival, Follower};
use crate::kinds::{GAP, Kind, Planned, Timeline, schedule};
use crate::score::{Observed, Report, Share, median, said, score};
use crate::traffic::{Traffic, Web};
use crate::truth::{Fault, Truth};

/// The lines of `seconds` of traffic in a mode.
fn traffic(web: Web, seconds: i64) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.log");
    let mut traffic = Traffic::new(File::create(&path).unwrap(), 7);
    let start = Timestamp::from_second(1_795_500_000).unwrap();
    for tick in 0..seconds * 50 {
        let now = Timestamp::from_millisecond(start.as_millisecond() + tick * 20).unwrap();
        traffic.tick(web, &now.to_zoned(TimeZone::UTC)).unwrap();
    }
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

fn errors(lines: &[String]) -> f64 {
    let failed = lines.iter().filter(|line| line.split('"').nth(2).unwrap().starts_with(" 5"));
    failed.count() as f64 / lines.len() as f64
}

/// Requests of each client.
fn clients(lines: &[String]) -> BTreeMap<&str, usize> {
    let mut clients = BTreeMap::new();
    for line in lines {
        *clients.entry(line.split(' ').next().unwrap()).or_insert(0) += 1;
    }
    clients
}

#[test]
fn the_same_seed_gives_the_same_schedule_and_another_seed_another() {
    assert_eq!(schedule(&Kind::ALL, 3, 5), schedule(&Kind::ALL, 3, 5));
    assert_ne!(schedule(&Kind::ALL, 3, 5), schedule(&Kind::ALL, 3, 6));
}

#[test]
fn every_kind_comes_as_often_as_asked_within_its_ranges() {
    let plan = schedule(&Kind::ALL, 10, 1);
    for kind in Kind::ALL {
        let runs: Vec<&Planned> = plan.iter().filter(|fault| fault.kind == kind).collect();
        assert_eq!(runs.iter().map(|fault| fault.run).collect::<BTreeSet<_>>(), (0..10).collect());
        for fault in runs {
            let within = |(least, most): (f64, f64), value| (least..=most).contains(&value);
            assert!(within(kind.strength(), fault.strength), "{fault:?}");
            assert!(within(kind.seconds(), fault.seconds), "{fault:?}");
            assert!(within(GAP, fault.gap), "{fault:?}");
        }
    }
}

#[test]
fn steady_traffic_keeps_its_rate_and_rarely_fails() {
    let lines = traffic(Web::Steady, 60);
    let rate = lines.len() as f64 / 60.0;
    assert!((60.0..150.0).contains(&rate), "{rate}");
    assert!(errors(&lines) < 0.01, "{}", errors(&lines));
    assert!(clients(&lines).len() > 200);
}

#[test]
fn a_flood_of_errors_is_of_the_share_that_was_drawn() {
    let share = errors(&traffic(Web::Errors(0.4), 60));
    assert!((0.36..0.44).contains(&share), "{share}");
}

#[test]
fn stopped_traffic_writes_nothing() {
    assert!(traffic(Web::Stopped, 5).is_empty());
}

#[test]
fn one_client_floods_with_so_many_times_all_others() {
    let lines = traffic(Web::Flood(4.0), 20);
    let loudest = *clients(&lines).values().max().unwrap();
    let times = loudest as f64 / (lines.len() - loudest) as f64;
    assert!((3.7..4.3).contains(&times), "{times}");
}

#[test]
fn collapsed_sessions_are_few_and_ask_as_much_as_before() {
    let (steady, collapsed) = (traffic(Web::Steady, 20), traffic(Web::Collapsed(3), 20));
    assert_eq!(clients(&collapsed).len(), 3);
    let ratio = collapsed.len() as f64 / steady.len() as f64;
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
}

#[test]
fn a_new_error_comes_only_while_it_is_on_and_no_two_are_alike() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("app.log");
    let mut writer = Writer::new(File::create(&path).unwrap(), 7);
    let mut write = |state| {
        let before = fs::read_to_string(&path).unwrap().len();
        (0..500).for_each(|_| writer.tick(state, Timestamp::UNIX_EPOCH).unwrap());
        fs::read_to_string(&path).unwrap()[before..].to_owned()
    };
    let words = |nth: usize| NEW[nth].split('#').next().unwrap();
    assert!(!write(Application::Steady).contains(words(3)));
    let failing = write(Application::Failing { error: 3, rate: 6.25 });
    assert_eq!(failing.matches(words(3)).count(), 63, "10 s of them, and the first at once");
    assert!(!write(Application::Steady).contains(words(3)));
    assert_eq!((0..NEW.len()).map(words).collect::<BTreeSet<_>>().len(), NEW.len());
}

#[test]
fn wilsons_interval_is_that_of_the_textbook() {
    let share = Share::new(9, 10); // Newcombe 1998's method 3: 0.5958 to 0.9821
    assert!((share.lower - 0.5958).abs() < 1e-3 && (share.upper - 0.9821).abs() < 1e-3, "{share}");
    let none = Share::new(0, 10);
    assert!(none.lower == 0.0 && (none.upper - 0.2775).abs() < 1e-3, "{none}");
    assert!(median(vec![3.0, 1.0, 2.0, 10.0]) == 2.5 && median(vec![]).is_nan());
}

fn fault(kind: Kind, onset_ms: i64, end_ms: i64) -> Truth {
    let plan = Planned { kind, run: 0, strength: 1.0, seconds: 10.0, gap: 50.0 };
    let (onset_mono_ms, end_mono_ms) = (0, 10_000);
    let (unit, open_before) = (String::new(), Vec::new());
    Truth::Fault(Fault { plan, unit, onset_ms, end_ms, onset_mono_ms, end_mono_ms, open_before })
}

fn arrival(key: &str, state: &str, time_ms: i64, top: &str) -> Arrival {
    let incident = json!({
        "message": key, "key": key, "state": state, "time_ms": time_ms, "detector": "host",
        "contributions": [{ "feature": top, "share": 1.0 }],
    });
    Arrival { arrived_ms: time_ms + 400, incident }
}

fn quiet() -> Truth {
    Truth::Quiet { start_ms: 0, end_ms: 60_000 }
}

/// Two faults of the host's timeline.
fn scored(arrivals: &[Arrival]) -> Report {
    let faults = [fault(Kind::CpuHog, 100_000, 110_000), fault(Kind::DiskFill, 200_000, 210_000)];
    let truth = [&[quiet()], &faults[..]].concat();
    score(vec![Observed { timeline: Timeline::Host, truth, said: said(arrivals) }])
}

#[test]
fn a_notification_within_a_fault_finds_it_and_is_judged_by_its_top_feature() {
    let report = scored(&[
        arrival("a", "confirmed", 101_000, "cpu_busy"),
        arrival("a", "notified", 102_000, "cpu_busy"),
        arrival("a", "notified", 103_000, "cpu_busy"),
        arrival("b", "notified", 204_000, "latency_p95"),
    ]);
    assert_eq!((report.all.recall.hits, report.all.recall.of), (2, 2));
    assert_eq!((report.all.named.hits, report.all.named.of), (1, 2));
    assert_eq!((report.precision.hits, report.precision.of), (2, 2));
    assert_eq!(report.outcomes[0].delay_frames, Some(2.0));
    assert_eq!(report.outcomes[0].arrival_seconds, Some(2.4));
    assert_eq!(
        report.all.notifications, 2,
        "a second notification of an incident is no second incident"
    );
}

#[test]
fn what_is_only_confirmed_is_not_found() {
    let report = scored(&[arrival("a", "confirmed", 101_000, "cpu_busy")]);
    assert_eq!((report.all.recall.hits, report.all.confirmed.hits), (0, 1));
    assert_eq!(report.precision.of, 0);
    assert!(report.to_string().contains("confirmed, not notified"));
}

#[test]
fn a_notification_outside_of_faults_is_false_and_recovery_is_given_some_time() {
    let report = scored(&[
        arrival("quiet", "notified", 30_000, "cpu_busy"),
        arrival("between", "notified", 150_000, "cpu_busy"),
        arrival("recovery", "notified", 118_000, "cpu_busy"),
        arrival("early", "notified", 99_000, "cpu_busy"),
    ]);
    assert_eq!(report.quiet_notifications, 1);
    assert_eq!((report.precision.hits, report.precision.of), (1, 4));
    assert_eq!(report.false_messages, ["host: quiet", "host: between", "host: early"]);
    assert_eq!(report.all.recall.hits, 0, "recovery is not the fault");
}

#[test]
fn a_first_suspect_may_name_it_or_the_process_that_does_it() {
    let mut by_process = arrival("a", "notified", 101_000, "context_switches");
    by_process.incident["suspects"] = json!([{ "what": "process sentinel-faults grew" }]);
    let mut by_signal = arrival("b", "notified", 201_000, "latency_p95");
    by_signal.incident["suspects"] = json!(["log_disk_used", "cpu_busy"]);
    assert_eq!(scored(&[by_process.clone(), by_signal]).all.named.hits, 2);
    // No process stops traffic here.
    let truth = vec![fault(Kind::TrafficStop, 100_000, 110_000)];
    let observed = Observed { timeline: Timeline::Logs, truth, said: said(&[by_process]) };
    assert_eq!(score(vec![observed]).all.named.hits, 0);
}

#[test]
fn an_incident_of_one_timeline_is_false_for_a_fault_of_the_other() {
    let host = vec![quiet(), fault(Kind::CpuHog, 100_000, 110_000)];
    let logs = vec![quiet(), fault(Kind::TrafficStop, 105_000, 120_000)];
    let report = score(vec![
        Observed {
            timeline: Timeline::Host,
            truth: host,
            said: said(&[
                arrival("right", "notified", 102_000, "cpu_busy"),
                // Beyond the hog and its slack: the stop that goes on is none of the host's.
                arrival("false", "notified", 121_000, "cpu_busy"),
            ]),
        },
        Observed { timeline: Timeline::Logs, truth: logs, said: said(&[]) },
    ]);
    assert_eq!((report.all.recall.hits, report.all.recall.of), (1, 2));
    assert_eq!((report.precision.hits, report.precision.of), (1, 2));
    assert_eq!(report.precisions[1].1.of, 0, "nothing was said of the logs");
    assert_eq!(report.false_messages, ["host: false"]);
    assert!((report.quiet_minutes - 1.0).abs() < 1e-9, "the same minute, on both");
}

#[test]
fn what_comes_in_a_fault_that_was_interrupted_is_not_scored() {
    let truth = vec![
        quiet(),
        Truth::Begun { start_ms: 100_000 },
        fault(Kind::CpuHog, 100_000, 110_000),
        Truth::Begun { start_ms: 200_000 },
    ];
    let arrivals = [
        arrival("a", "notified", 102_000, "cpu_busy"),
        arrival("b", "notified", 203_000, "cpu_busy"),
    ];
    let observed = Observed { timeline: Timeline::Host, truth, said: said(&arrivals) };
    let report = score(vec![observed]);
    assert_eq!((report.all.recall.hits, report.all.recall.of), (1, 1));
    assert_eq!((report.precision.hits, report.precision.of), (1, 1));
}

#[test]
fn each_timeline_has_five_kinds_in_the_order_of_the_whole_schedule() {
    let plan = schedule(&Kind::ALL, 10, 1);
    for timeline in Timeline::ALL {
        let own = plan.iter().filter(|fault| fault.kind.timeline() == timeline);
        assert_eq!(own.count(), 50);
    }
    // As it was drawn when there was one timeline, but for the gaps.
    let first: Vec<_> = plan[..4].iter().map(|fault| (fault.kind.name(), fault.run)).collect();
    assert_eq!(
        first,
        [("client_flood", 5), ("traffic_stop", 3), ("traffic_stop", 6), ("memory_leak", 7)]
    );
    assert!((plan[0].strength - 4.803_254_818_136_974).abs() < 1e-9, "{}", plan[0].strength);
    assert!((plan[0].seconds - 5.104_146_532_148_99).abs() < 1e-9, "{}", plan[0].seconds);
}

#[test]
fn a_timeline_is_settled_when_nothing_is_open_and_the_last_is_long_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("incidents.jsonl");
    let mut follower = Follower::new(&path, &folder.path().join("arrivals.jsonl")).unwrap();
    let mut say = |state| {
        let mut file = File::options().append(true).create(true).open(&path).unwrap();
        writeln!(file, "{}", json!({ "key": "a", "state": state })).unwrap();
        follower.poll().unwrap();
        (follower.is_settled(Duration::ZERO), follower.is_settled(Duration::from_secs(3600)))
    };
    assert_eq!(say("detected"), (true, true), "a detection may be nothing");
    assert_eq!(say("notified"), (false, false));
    assert_eq!(say("resolved"), (true, false));
}
