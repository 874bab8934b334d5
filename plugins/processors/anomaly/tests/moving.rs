//! A detector of one partition: its clock, and what it knows on its way to another member.

use super::*;

const OPTIONS: &str = "preset = \"web\"\nframe_interval = \"10s\"\nmin_training_frames = 60\ngroup_by = [\"host\", \"job\"]\nlateness = \"5s\"\n";

/// The members that have the partition, one after the other, on histories of their own.
struct Member {
    rig: Rig,
    site: [Site; 2],
    scores: Vec<(i64, String, f64)>,
}

fn rig() -> Rig {
    let mut rig = Rig::new(OPTIONS);
    rig.detector.of_a_partition();
    rig
}

impl Member {
    fn new() -> Member {
        Member { rig: rig(), site: [Site::new(1, 40.0), Site::new(2, 9.0)], scores: Vec::new() }
    }

    /// A frame of both hosts, in two samples each; `between` is asked in the middle of it.
    fn frame(&mut self, between: impl FnOnce(&mut Self)) {
        let start = self.rig.now_ms;
        let windows = self.site.each_mut().map(Site::next);
        let mut between = Some(between);
        for half in [1_u8, 2] {
            for (host, window) in ["a", "b"].iter().zip(&windows) {
                let features = window.features();
                let values = features.map(|(name, value)| (name, value * f64::from(half) / 1.5));
                self.send(host, &values, start + 5000 * i64::from(half));
            }
            if half == 1 {
                between.take().unwrap()(self);
            }
        }
        self.rig.now_ms = start + 10_000;
    }

    fn send(&mut self, host: &str, values: &[(&str, f64)], time_ms: i64) {
        // Made anew each time, as by an input that has forgotten what it made.
        let series =
            |name: &str| Series::new(name, Kind::Gauge, [("host", host), ("job", "nginx")]);
        let metrics: Vec<Metric> = values
            .iter()
            .map(|(name, value)| Metric { series: series(name), time_ms, value: *value })
            .collect();
        let batch = Batch::new("features".into(), Events::Metrics(metrics));
        let mut emit = Emit::default();
        self.rig.detector.observe(&batch, &mut emit);
        self.rig.detector.tick(time_ms, &mut emit);
        for events in &emit.0 {
            if let Events::Metrics(metrics) = events {
                let scores = metrics.iter().filter(|one| one.series.name() == "anomaly_score");
                self.scores.extend(scores.map(|one| {
                    let labels: Vec<&str> =
                        one.series.labels().iter().map(|(_, value)| value).collect();
                    ((one.time_ms - START_MS) / 10_000, labels.join(" "), one.value)
                }));
            }
        }
        self.rig.keep(emit);
    }

    /// Goes to another member, which has neither its history nor its desk.
    fn moves(&mut self) {
        let old = &self.rig.detector;
        let parts = old.parts().into_iter();
        let parts: Vec<(String, Vec<u8>)> =
            parts.filter_map(|(name, _)| Some((name.clone(), old.part(&name)?))).collect();
        let of = |kind: &str| parts.iter().filter(|(name, _)| name.starts_with(kind)).count();
        assert_eq!((of("clock"), of("group/"), of("model/"), of("frames/")), (1, 2, 2, 2));
        let (now_ms, incidents) = (self.rig.now_ms, std::mem::take(&mut self.rig.incidents));
        self.rig = rig();
        self.rig.detector.restore_parts(parts).unwrap();
        (self.rig.now_ms, self.rig.incidents) = (now_ms, incidents);
    }
}

#[test]
fn a_move_in_the_middle_of_a_frame_and_of_an_incident_changes_no_score_and_calls_nobody_again() {
    let (mut stays, mut moves) = (Member::new(), Member::new());
    for at in 0..150 {
        for member in [&mut stays, &mut moves] {
            member.site[0].error_share = if at > 125 { 0.5 } else { 0.001 };
        }
        stays.frame(|_| ());
        moves.frame(|member| {
            if [121, 122, 135, 136].contains(&at) {
                member.moves();
            }
        });
    }
    assert!(stays.scores.len() > 100, "{}", stays.scores.len());
    assert_eq!(stays.scores.len(), moves.scores.len());
    for (one, other) in stays.scores.iter().zip(&moves.scores) {
        assert_eq!((one.0, &one.1), (other.0, &other.1));
        assert!((one.2 - other.2).abs() <= 1e-9, "{one:?} and {other:?}");
    }
    assert_eq!(told(&stays.rig), told(&moves.rig));
    let notified =
        |rig: &Rig| rig.states().iter().filter(|state| **state == State::Notified).count();
    assert_eq!(notified(&moves.rig), 1, "{:#?}", told(&moves.rig));
    let called = moves.rig.incidents.iter().find(|one| one.state == State::Notified).unwrap();
    assert_eq!((called.host.as_str(), called.group.as_str()), ("a", "nginx"));
}

#[test]
fn what_a_host_sends_late_is_not_late_when_the_clock_leaps_between_two_messages() {
    let mut detector = rig().detector;
    for frame in 0..40_i64 {
        // Half an hour old, and each message twelve seconds after the one before; a frame waits for five.
        let (reached_ms, time_ms) = (START_MS + frame * 12_000, START_MS + (frame - 180) * 10_000);
        let series = Series::new("log_requests", Kind::Gauge, [("host", "a"), ("job", "nginx")]);
        let metrics = vec![Metric { series, time_ms, value: 1.0 }];
        let mut batch = Batch::new("features".into(), Events::Metrics(metrics));
        batch.reached_ms = Some(reached_ms);
        let mut emit = Emit::default();
        detector.observe(&batch, &mut emit);
        detector.tick(reached_ms, &mut emit);
    }
    assert_eq!(detector.collector.counts.get("late"), None);
}

#[test]
fn a_series_that_is_made_again_stays_one() {
    let mut member = Member::new();
    for _ in 0..20 {
        member.frame(|_| ());
    }
    assert_eq!(member.rig.detector.collector.held(), 2 * 9);
}

#[test]
fn a_late_host_is_waited_for_and_a_clock_that_stands_still_closes_nothing() {
    let mut member = Member::new();
    let at = member.rig.now_ms;
    member.send("a", &[("log_requests", 1.0)], at + 1000);
    member.send("a", &[("log_requests", 1.0)], at + 11_000);
    member.send("b", &[("log_requests", 1.0)], at + 9000); // late, and not too late
    member.send("a", &[("log_requests", 1.0)], at + 14_000);
    assert_eq!(member.rig.detector.collector.counts.get("late"), None);
    member.send("a", &[("log_requests", 1.0)], at + 16_000);
    member.send("b", &[("log_requests", 1.0)], at + 9500);
    assert_eq!(member.rig.detector.collector.counts["late"], 1);
}
