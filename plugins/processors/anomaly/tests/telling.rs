//! What an incident says to a person on call: the whole sentence, absolute numbers, the breakdown, and what is left out when
//! it is not known.

use sentinel_contract::Log;
use sentinel_contract::evidence::{Evidence, Of, Tally};
use sentinel_contract::incident::{Contribution, Direction, HostChange, Suspect, Trend};

use super::super::impact::Sum;
use super::super::sentence::{self, Facts};
use super::*;

fn rows(values: &[(&str, u64)]) -> Vec<(String, u64)> {
    values.iter().map(|(value, count)| ((*value).to_owned(), *count)).collect()
}

/// What a window with so many failures was made of, all but every tenth on one path.
fn evidence(job: &str, time_ms: i64, failures: u64, requests: u64) -> Evidence {
    let cart = failures - failures / 10;
    let failed = |dimension, values: &[(&str, u64)]| Tally {
        dimension,
        of: Of::Failed,
        total: failures,
        rows: rows(values),
    };
    Evidence {
        labels: Arc::new(Labels::new([("job", job), ("host", "box")])),
        time_ms,
        tallies: vec![
            failed("status and path", &[("502 on /api/cart", cart), ("500 on /", failures - cart)]),
            failed("status", &[("502", cart), ("500", failures - cart)]),
            failed("client", &[("10.0.0.1", failures / 3)]),
            Tally {
                dimension: "client",
                of: Of::All,
                total: requests,
                rows: rows(&[("10.9.9.9", requests * 3 / 4)]),
            },
        ],
        sample: "<ip> \"POST /api/cart\" 502".to_owned(),
    }
}

impl Rig {
    fn explain(&mut self, evidence: Evidence) {
        let batch = Batch::new("features".into(), Events::Evidence(vec![evidence]));
        let mut emit = Emit::default();
        self.detector.observe(&batch, &mut emit);
        self.keep(emit);
    }

    fn change(&mut self, kind: &str, ms_ago: i64, sentence: &str) {
        let log = Log {
            stream: Arc::new(Labels::new([("job", "changes"), ("kind", kind)])),
            time_ns: (self.now_ms - ms_ago) * 1_000_000,
            body: sentence.as_bytes().to_vec().into(),
            fields: None,
        };
        let batch = Batch::new("changes".into(), Events::Logs(vec![log]));
        self.detector.observe(&batch, &mut Emit::default());
    }

    /// A window of which so much failed, with its evidence before it, as it comes from `log_features`.
    fn failing(&mut self, site: &mut Site, share: f64) -> Window {
        let window = site.next().failing(share);
        let time_ms = self.now_ms + self.interval_ms;
        self.explain(evidence("nginx", time_ms, window.errors as u64, window.requests as u64));
        self.window("nginx", &window.features());
        window
    }
}

/// What the closed frames add up to: a window's frame is closed by the next window.
#[derive(Default)]
struct Seen {
    failed: f64,
    all: f64,
    next: Option<Window>,
}

impl Seen {
    fn take(&mut self, window: Window) {
        if let Some(closed) = self.next.replace(window) {
            self.failed += closed.errors;
            self.all += closed.requests;
        }
    }
}

fn last(rig: &Rig) -> &Incident {
    rig.incidents.last().expect("an incident")
}

fn since(incident: &Incident) -> String {
    super::super::words::hour(incident.started_ms, incident.time_ms)
}

#[test]
fn a_called_incident_says_all_in_one_sentence() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 190);
    rig.change("file", 30_000, "/etc/hosts was changed");
    rig.change("unit", 500, "app.service restarted");
    let mut seen = Seen::default();
    while rig.states().last() != Some(&State::Notified) {
        seen.take(rig.failing(&mut site, 0.5));
    }
    let (failed, all) = (seen.failed, seen.all);
    let told = last(&rig);
    assert_eq!(told.hit, format!("{failed} of {all} requests failed"));
    assert_eq!(told.trend, Some(Trend::Rising));
    assert!(told.usual.starts_with("error rate at most "), "{}", told.usual);
    let bound = told.usual.strip_prefix("error rate ").unwrap();
    let share = super::super::unit::Unit::Share.shown(failed / all);
    let head = format!(
        "box nginx: {failed} of {all} requests failed ({share}, usual {bound}) since {}, still rising; ",
        since(told)
    );
    let rest = told.message.strip_prefix(&head).unwrap_or_else(|| panic!("{}", told.message));
    let (part, rest) = rest.split_once("; ").unwrap();
    assert!(part.ends_with(" % are 502 on /api/cart"), "{part}");
    assert!(rest.starts_with("first suspect: app.service restarted "), "{rest}");
    assert!(rest.contains("; traffic and latency normal; no daily rhythm"), "{rest}");
    assert_eq!(told.breakdown[0].dimension, "status and path");
    assert_eq!(told.breakdown[0].value, "502 on /api/cart");
    assert!((0.88..0.95).contains(&told.breakdown[0].share), "{:?}", told.breakdown);
    assert!(told.breakdown.iter().all(|part| part.value != "10.9.9.9"), "that is of all requests");
    assert_eq!(told.sample, "<ip> \"POST /api/cart\" 502");
    let coverage = told.coverage.unwrap();
    assert_eq!((coverage.known, coverage.signals), (9, 9));
    assert!(coverage.trained_frames >= 60, "{coverage:?}");
    assert!(told.next.iter().any(|one| *one == format!("sentinelops explain {}", told.key)));
    assert!(told.next.iter().any(|one| one.starts_with("journalctl -u app.service --since '")));
    assert!(told.reason.contains("agree") || told.reason.contains("limit"), "{}", told.reason);
    assert!(!told.message.contains("cause"));
}

#[test]
fn the_end_tells_the_total_of_the_frames_in_which_it_went_on() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 190);
    let mut windows: Vec<Window> = (0..8).map(|_| rig.failing(&mut site, 0.5)).collect();
    assert!(last(&rig).total.is_none());
    while rig.states().last() != Some(&State::Resolved) {
        windows.push(rig.failing(&mut site, 0.0));
    }
    let impact = rig.detector.groups[0].impact.as_ref().unwrap();
    let count = (impact.last_ms - last(&rig).started_ms) / rig.interval_ms + 1;
    assert!((8..20).contains(&count), "{count} frames");
    let counted = &windows[..count as usize];
    let failed: f64 = counted.iter().map(|window| window.errors).sum();
    let all = thousands(counted.iter().map(|window| window.requests).sum());
    let over = last(&rig);
    let total = over.total.as_ref().unwrap();
    assert_eq!(total.hit, format!("{failed} of {all} requests failed"));
    assert_eq!(total.lasted_ms, count * rig.interval_ms);
    assert_eq!(over.trend, Some(Trend::Recovering));
    let head = format!("box nginx: over after {count} s: {}", total.hit);
    assert!(over.message.starts_with(&head), "{}", over.message);
    assert_eq!(over.next[0], format!("sentinelops explain {}", over.key));
    assert!(!over.next.iter().any(|one| one.contains("accept") || one.contains("maintenance")));
}

fn thousands(value: f64) -> String {
    super::super::words::thousands(value)
}

#[test]
fn a_flood_says_how_much_more_it_is_and_who_asks() {
    let (mut rig, mut site) = live(4, 30.0, 0.003, 190);
    for _ in 0..6 {
        let window = site.next().flooded(250.0);
        let time_ms = rig.now_ms + rig.interval_ms;
        rig.explain(evidence("nginx", time_ms, 0, window.requests as u64));
        rig.window("nginx", &window.features());
    }
    let told = last(&rig);
    assert_eq!(told.state, State::Confirmed);
    assert!(told.score >= 1.0, "what is told is beyond the boundary: {}", told.score);
    let first = &told.contributions[0].feature;
    if first == "requests" {
        assert!(told.hit.contains(" requests, ") && told.hit.ends_with(" more than usual"));
    }
    let client = &told.breakdown[0];
    assert_eq!((&*client.dimension, &*client.value), ("client", "10.9.9.9"));
    assert!(told.message.contains("% from 10.9.9.9; "), "{}", told.message);
    assert!(told.message.contains("errors"), "{}", told.message);
    assert!(told.sample.is_empty());
}

#[test]
fn traffic_that_stops_says_how_many_are_missing() {
    let (mut rig, _) = live(1, 30.0, 0.0, 150);
    let features = ["log_requests", "log_sessions", "log_clients", "log_errors", "log_bytes"];
    for _ in 0..8 {
        rig.window("nginx", &features.map(|name| (name, 0.0)));
    }
    let told = last(&rig);
    assert!(told.message.contains(" fewer than usual (usual at least "), "{}", told.message);
    assert!(told.message.contains(" a second) since "), "{}", told.message);
}

#[test]
fn a_silent_source_has_a_sentence_without_numbers() {
    let (mut rig, _) = live(1, 30.0, 0.0, 150);
    for _ in 0..40 {
        rig.now_ms += 1000;
        rig.tick(rig.now_ms);
    }
    let told = last(&rig);
    let begun = format!("box nginx: {} since {}", told.hit, since(told));
    assert!(told.hit.starts_with("silent for ") && told.message.starts_with(&begun), "{told:?}");
    assert!(told.usual.is_empty() && told.breakdown.is_empty() && told.similar.is_none());
}

/// A host with two signals of the preset.
fn host() -> (Rig, SplitMix64) {
    let options = "preset = \"host\"\nframe_interval = \"10s\"\nmin_training_frames = 60\n";
    let mut rig = Rig::new(options);
    let mut rng = SplitMix64::new(7);
    for _ in 0..200 {
        beat(&mut rig, &mut rng, 20.0);
    }
    (rig, rng)
}

fn beat(rig: &mut Rig, rng: &mut SplitMix64, busy: f64) {
    let time_ms = rig.now_ms + rig.interval_ms;
    rig.now_ms = time_ms;
    let mut send = |name: &str, labels: &[(&str, &str)], value: f64| {
        let series = rig
            .series
            .entry((name.to_owned(), labels.iter().map(|(_, value)| *value).collect()))
            .or_insert_with(|| Series::new(name, Kind::Gauge, labels.iter().copied()));
        Metric { series: Arc::clone(series), time_ms, value }
    };
    let noise = |rng: &mut SplitMix64| rng.normal();
    let metrics = vec![
        send("cpu_usage_idle", &[("cpu", "cpu-total")], 100.0 - busy - noise(rng)),
        send("mem_available_percent", &[], 60.0 + noise(rng)),
        send("disk_used_percent", &[("mode", "rw")], 40.0 + 0.01 * noise(rng)),
    ];
    let batch = Batch::new("system".into(), Events::Metrics(metrics));
    let mut emit = Emit::default();
    rig.detector.observe(&batch, &mut emit);
    rig.keep(emit);
    rig.tick(rig.now_ms + 20_000);
}

#[test]
fn a_hosts_sentence_names_the_peak_and_reads_well_without_a_breakdown() {
    let (mut rig, mut rng) = host();
    assert_eq!(rig.states(), [], "{:?}", told(&rig));
    for _ in 0..5 {
        beat(&mut rig, &mut rng, 75.0);
    }
    let told = last(&rig);
    assert!(told.hit.starts_with("cpu busy up to 7"), "{told:?}");
    assert!(
        told.message.starts_with(&format!("box: {} (usual at most ", told.hit)),
        "{}",
        told.message
    );
    assert!(told.message.contains(&format!(" %) since {}, ", since(told))), "{}", told.message);
    assert!(told.message.contains("; memory and disk normal; "), "{}", told.message);
    assert!(!told.message.contains("suspect"), "there is none: {}", told.message);
    assert!(told.next.iter().any(|one| one.contains("--sort=-%cpu")), "{:?}", told.next);
    assert!(told.breakdown.is_empty() && told.sample.is_empty());
    while rig.states().last() != Some(&State::Resolved) {
        beat(&mut rig, &mut rng, 20.0);
    }
    assert!(last(&rig).message.contains(": cpu busy up to 7"), "{}", last(&rig).message);
}

#[test]
fn the_last_incident_of_the_same_kind_is_named_and_no_other() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 300);
    let fault = |rig: &mut Rig, site: &mut Site, share: f64, calm: usize| {
        (0..8).for_each(|_| _ = rig.failing(site, share));
        for _ in 0..calm {
            let window = site.next();
            rig.window("nginx", &window.features());
        }
    };
    fault(&mut rig, &mut site, 0.5, 120);
    assert!(rig.incidents.iter().all(|one| one.similar.is_none()));
    let (key, hit) = (last(&rig).key.clone(), last(&rig).hit.clone());
    assert_eq!(last(&rig).state, State::Resolved, "{:?}", told(&rig));
    let snapshot = rig.detector.snapshot().unwrap();
    let mut rig = rig.restarted(&snapshot);
    fault(&mut rig, &mut site, 0.6, 0);
    let similar = last(&rig).similar.clone().unwrap_or_else(|| panic!("{:?}", told(&rig)));
    assert_ne!(last(&rig).key, key);
    assert_eq!((similar.key, similar.hit, &*similar.ended), (key, hit, "resolved"));
    assert!(similar.lasted_ms >= 8 * rig.interval_ms, "{}", similar.lasted_ms);
}

#[test]
fn a_restart_goes_on_counting() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 190);
    let mut seen = Seen::default();
    for _ in 0..4 {
        seen.take(rig.failing(&mut site, 0.5));
    }
    let snapshot = rig.detector.snapshot().unwrap();
    let mut rig = rig.restarted(&snapshot);
    seen.next = None; // the frame that was not closed is gone
    for _ in 0..3 {
        seen.take(rig.failing(&mut site, 0.5));
    }
    let (failed, all) = (seen.failed, seen.all);
    let impact = rig.detector.groups[0].impact.as_ref().unwrap();
    let rate = rig.detector.shared.signals.index_of("error_rate").unwrap();
    let sum = impact.of(rate);
    assert!((sum.events - failed).abs() < 1e-6 && (sum.volume - all).abs() < 1e-6, "{sum:?}");
    let most = &impact.parts(true)[0];
    assert_eq!(most.value, "502 on /api/cart");
    assert!(most.count as f64 > 0.85 * failed, "{most:?} of {failed}");
}

#[test]
fn only_a_change_before_the_onset_is_a_suspect() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 190);
    rig.failing(&mut site, 0.5);
    rig.change("unit", -200, "late.service restarted");
    for share in std::iter::repeat_n(0.5, 4).chain(std::iter::repeat_n(0.0, 60)) {
        rig.failing(&mut site, share);
    }
    let told = last(&rig);
    let after = HostChange {
        time_ms: told.changes[0].time_ms,
        kind: "unit".into(),
        text: "late.service restarted".into(),
    };
    assert_eq!(told.changes, [after], "it is told");
    assert!(!told.message.contains("late.service"), "{}", told.message);
}

#[test]
fn evidence_of_another_group_or_time_is_not_taken() {
    let (mut rig, mut site) = live(3, 200.0, 0.005, 190);
    for _ in 0..5 {
        let window = site.next().failing(0.5);
        let time_ms = rig.now_ms + rig.interval_ms;
        rig.explain(evidence("other", time_ms, 100, 200));
        rig.explain(evidence("nginx", time_ms - 100 * rig.interval_ms, 100, 200));
        rig.window("nginx", &window.features());
    }
    assert!(last(&rig).breakdown.is_empty() && last(&rig).sample.is_empty());
    assert!(last(&rig).message.contains("requests failed"));
}

#[test]
fn a_signal_within_its_band_neither_leads_nor_is_suspected_when_another_is_outside() {
    let signals = super::super::presets::Preset::Web.signals();
    let one = |feature: &str, value: f64, upper: f64| Contribution {
        feature: feature.to_owned(),
        share: 0.5,
        direction: Direction::Up,
        value,
        expected: 0.5 * upper,
        lower: 0.0,
        upper,
    };
    let contributions = [one("requests_per_session", 11.7, 18.3), one("requests", 469.0, 120.0)];
    let lead = sentence::lead(&contributions, &signals, |_| Sum::default()).unwrap();
    assert_eq!(lead.one.feature, "requests");
    let within = [one("requests_per_session", 11.7, 18.3), one("requests", 90.0, 120.0)];
    let lead = sentence::lead(&within, &signals, |_| Sum::default()).unwrap();
    assert_eq!(lead.one.feature, "requests_per_session", "a combination has nothing better");

    let errors = [one("errors", 40.0, 3.0)];
    let suspect = |feature: &str| Suspect { feature: feature.to_owned(), change: 3.0 };
    let facts = Facts {
        lead: sentence::lead(&errors, &signals, |_| Sum::default()),
        what: "",
        known: &[],
        usual_when: "",
        lasted_ms: 0,
        interval_ms: 1000,
    };
    let mut incident = Incident {
        suspects: vec![suspect("requests"), suspect("latency_p95")],
        normal: vec!["requests".to_owned()],
        ..Incident::default()
    };
    let text = sentence::sentence(&incident, &facts);
    assert!(text.contains("first suspect: latency p95, moved 3 times"), "{text}");
    incident.normal.clear();
    let text = sentence::sentence(&incident, &facts);
    assert!(text.contains("first suspect: requests, moved 3 times"), "{text}");
}

#[test]
fn a_limit_that_is_passed_within_the_usual_band_leads_and_bounds_what_is_usual() {
    let options = "preset = \"none\"\nframe_interval = \"10s\"\nmin_training_frames = 60\n\
        [[signals]]\nname = \"full\"\nmetric = \"full\"\nlimit = 95.0\ndirection = \"up\"\n\
        [[signals]]\nname = \"other\"\nmetric = \"other\"\n";
    let (mut rig, mut rng) = (Rig::new(options), SplitMix64::new(3));
    let mut frame = |rig: &mut Rig, full: f64| {
        rig.now_ms += rig.interval_ms;
        let values = [("full", full + 0.1 * rng.normal()), ("other", 5.0 + 0.1 * rng.normal())];
        rig.send("x", &values, Kind::Gauge, rig.now_ms);
        rig.tick(rig.now_ms + 20_000);
    };
    for _ in 0..200 {
        frame(&mut rig, 90.0);
    }
    for _ in 0..6 {
        frame(&mut rig, 96.0);
    }
    let told = last(&rig);
    assert_eq!(told.contributions[0].feature, "full", "{told:?}");
    assert!(told.message.contains("full up to 96"), "{}", told.message);
    assert!(told.message.contains("usual at most 95"), "{}", told.message);
}

#[test]
fn what_came_before_the_onset_stays_however_much_follows() {
    let mut changes = super::super::changes::Changes::default();
    let record = |time_ms: i64, text: String| {
        let labels = Labels::new([("job", "changes"), ("kind", "unit")]);
        let time_ns = time_ms * 1_000_000;
        Log { stream: Arc::new(labels), time_ns, body: text.into(), fields: None }
    };
    changes.take(&record(99_000, "app.service restarted".to_owned()));
    for at in 0..20 {
        changes.take(&record(101_000 + at, format!("worker {at} died")));
    }
    let mut incident = Incident { started_ms: 100_000, time_ms: 200_000, ..Incident::default() };
    changes.join(&mut incident);
    assert_eq!(incident.changes.len(), 5);
    assert_eq!(incident.changes[4].text, "app.service restarted");
}
