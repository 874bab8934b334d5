//! What comes of an incident between its call and its end, one verdict after another: updates, severity, offers, expiry.

use sentinel_contract::incident::{Contribution, Direction, Severity};

use super::super::incident::{End, Owner, Place, Rules, Verdict, step};
use super::super::open::Open;
use super::super::severity::{Extent, severity};
use super::*;

pub(super) const MINUTE: i64 = 60_000;
pub(super) const HOUR: i64 = 60 * MINUTE;
const RULES: Rules = Rules {
    confirm_frames: 2,
    recover_frames: 4,
    relapse_ms: 20 * MINUTE,
    accept_ms: 6 * HOUR,
    interval_ms: MINUTE,
};

/// One group of a detector, told what each minute is like.
pub(super) struct Course {
    desk: Desk,
    owner: Owner,
    open: Option<Open>,
    past: Option<Open>,
    pub time_ms: i64,
    pub changes: Vec<Incident>,
    ends: Vec<End>,
}

pub(super) fn course(detector: &str, desk: &Desk) -> Course {
    Course {
        desk: desk.clone(),
        owner: Owner {
            detector: detector.into(),
            host: "h".into(),
            group: String::new(),
            of_many: false,
        },
        open: None,
        past: None,
        time_ms: 0,
        changes: Vec::new(),
        ends: Vec::new(),
    }
}

/// A minute beyond the boundary that should call.
pub(super) fn bad(score: f64, feature: &str) -> Verdict {
    Verdict {
        score,
        above: true,
        sure: true,
        extent: Extent { size: 1.5, breadth: 1, user: false },
        contributions: vec![Contribution {
            feature: feature.to_owned(),
            share: 1.0,
            direction: Direction::Up,
            value: 9.0,
            expected: 1.0,
            lower: 0.0,
            upper: 2.0,
        }],
        what: format!("{feature} 9 above the usual 0 to 2"),
        page: Some("because".to_owned()),
        ..Verdict::default()
    }
}

pub(super) fn quiet() -> Verdict {
    Verdict { calm: true, ..Verdict::default() }
}

fn silence() -> Verdict {
    Verdict { silence: true, ..bad(2.0, "silence") }
}

impl Course {
    pub(super) fn minutes(&mut self, minutes: i64, verdict: &Verdict) {
        for _ in 0..minutes {
            self.time_ms += MINUTE;
            let verdict = Verdict { time_ms: self.time_ms, ..verdict.clone() };
            let place = Place { owner: &self.owner, rules: RULES, desk: &self.desk };
            let (changes, end) = step(&mut self.open, &mut self.past, &verdict, &place);
            for change in &changes {
                self.desk.note(change);
            }
            self.changes.extend(changes);
            self.ends.extend(end);
        }
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.changes.iter().map(|change| change.state).collect()
    }

    /// Minute and reason of every update.
    pub(super) fn updates(&self) -> Vec<(i64, &str)> {
        let updates = self.changes.iter().filter(|change| change.state == Updated);
        updates.map(|change| (change.time_ms / MINUTE, &*change.reason)).collect()
    }
}

use State::{Confirmed, Detected, Notified, Recovering, Resolved, Updated};

pub(super) const CALLED: [State; 3] = [Detected, Confirmed, Notified];

/// A bad minute so many times beyond its boundary.
fn sized(size: f64) -> Verdict {
    let one = bad(2.0, "cpu");
    Verdict { extent: Extent { size, ..one.extent }, ..one }
}

#[test]
fn what_goes_on_as_it_was_tells_nothing() {
    let mut one = course("d", &Desk::default());
    one.minutes(7, &bad(2.0, "cpu"));
    one.minutes(7, &bad(5.0, "cpu")); // the written score grows with duration
    assert_eq!(one.states(), CALLED);
}

#[test]
fn a_material_change_is_one_update_and_none_a_second_call() {
    for (what, changed, words) in [
        ("far", sized(3.2), "3.2 times its boundary, was 1.5"),
        ("lead", bad(2.5, "mem"), "mem leads now"),
        (
            "users",
            Verdict { extent: Extent { user: true, ..bad(2.0, "cpu").extent }, ..bad(2.0, "cpu") },
            "users are hit by now",
        ),
        (
            "size",
            Verdict { extent: Extent { size: 5.0, breadth: 5, user: true }, ..bad(2.0, "cpu") },
            "now critical, was warning; users are hit by now; 5.0 times its boundary, was 1.5",
        ),
    ] {
        let mut one = course("d", &Desk::default());
        one.minutes(6, &bad(2.0, "cpu"));
        one.minutes(8, &changed);
        assert_eq!(one.updates(), [(7, words)], "{what}");
        assert_eq!(one.states()[..3], CALLED, "{what}");
        assert_eq!(one.changes.len(), 4, "{what}: {:?}", one.states());
        assert!(one.changes.iter().all(|change| change.key == "d/h/60"));
    }
}

#[test]
fn updates_keep_five_minutes_from_each_other_and_lose_nothing() {
    let mut one = course("d", &Desk::default());
    for minute in 0..14 {
        one.minutes(1, &sized(1.5 * 1.5_f64.powi(minute)));
    }
    let minutes: Vec<i64> = one.updates().iter().map(|(minute, _)| *minute).collect();
    assert_eq!(minutes, [6, 11]);
}

#[test]
fn another_fault_soon_after_the_end_is_an_incident_of_its_own_and_calls() {
    let mut one = course("d", &Desk::default());
    one.minutes(3, &bad(2.0, "errors"));
    one.minutes(9, &quiet()); // it is over after four of them
    one.minutes(3, &bad(2.0, "requests"));
    let states = one.states();
    assert_eq!(states[..5], [Detected, Confirmed, Notified, Recovering, Resolved]);
    assert_eq!(states[5..], CALLED);
    assert_ne!(one.changes[0].key, one.changes[5].key);
}

#[test]
fn what_comes_back_after_its_call_is_told_and_called_no_second_time() {
    let mut one = course("d", &Desk::default());
    one.minutes(3, &bad(2.0, "cpu"));
    one.minutes(10, &quiet());
    one.minutes(3, &bad(2.0, "cpu"));
    let expected = [&CALLED[..], &[Recovering, Resolved, Updated]].concat();
    assert_eq!(one.states(), expected);
    assert_eq!(one.changes[5].reason, "it came back");
}

#[test]
fn severity_is_from_size_breadth_and_duration() {
    let points = |size, breadth, user, minutes, reached| {
        severity(Extent { size, breadth, user }, minutes * MINUTE, reached)
    };
    use Severity::{Critical, Info, Warning};
    for (size, breadth, user, minutes, reached, expected) in [
        (9.0, 9, true, 90, Detected, Info),
        (1.9, 2, false, 14, Confirmed, Info),
        (1.9, 2, false, 14, Notified, Warning),
        (2.0, 2, false, 14, Confirmed, Info),
        (2.0, 3, false, 14, Confirmed, Warning),
        (4.0, 1, false, 0, Confirmed, Warning),
        (4.0, 3, true, 0, Notified, Critical),
        (4.0, 1, false, 15, Notified, Warning),
        (4.0, 1, false, 60, Notified, Critical),
        (1.0, 3, true, 60, Notified, Critical),
        (1.0, 1, true, 60, Notified, Warning),
    ] {
        assert_eq!(
            points(size, breadth, user, minutes, reached),
            expected,
            "{size} {breadth} {user} {minutes}"
        );
    }
}

#[test]
fn severity_rises_with_time_and_never_falls() {
    let mut one = course("d", &Desk::default());
    one.minutes(
        1,
        &Verdict { extent: Extent { size: 4.5, breadth: 1, user: false }, ..bad(2.0, "cpu") },
    );
    one.minutes(70, &bad(2.0, "cpu"));
    one.minutes(10, &quiet());
    let severities: Vec<Severity> = one.changes.iter().map(|change| change.severity).collect();
    assert_eq!(one.updates(), [(61, "now critical, was warning")]);
    use Severity::{Critical, Info, Warning};
    assert_eq!(severities, [Info, Warning, Warning, Critical, Critical, Critical]);
}

#[test]
fn after_two_hours_the_new_normal_is_offered_once_and_after_six_it_is_accepted() {
    let mut one = course("d", &Desk::default());
    let told = Verdict { page: None, why_not: "traffic alone".into(), ..bad(2.0, "requests") };
    one.minutes(7 * 60, &told);
    assert_eq!(one.states()[..4], [Detected, Confirmed, Updated, State::Accepted]);
    let (minute, reason) = one.updates()[0];
    assert_eq!(minute, 121);
    assert!(reason.contains("sentinelops accept d/h/60"), "{reason}");
    assert_eq!(one.changes[3].time_ms, 361 * MINUTE);
}

#[test]
fn a_source_that_stays_silent_is_no_new_normal_and_expires_after_48_hours() {
    let mut one = course("d", &Desk::default());
    one.minutes(48 * 60, &silence());
    assert_eq!(one.ends, []);
    assert_eq!(one.updates().iter().filter(|(_, reason)| reason.contains("accept")).count(), 1);
    one.minutes(1, &silence());
    assert_eq!(one.ends, [End::Expired]);
    let last = one.changes.last().unwrap();
    assert_eq!(
        (last.state, &*last.reason),
        (State::Expired, "silent for 48 h: the source is gone")
    );
}

#[test]
fn what_is_not_seen_for_six_hours_expires_even_if_the_host_slept() {
    let mut one = course("d", &Desk::default());
    one.minutes(3, &bad(2.0, "cpu"));
    one.minutes(6 * 60 - 1, &Verdict { unseen: true, ..quiet() });
    assert_eq!(one.states(), CALLED, "unseen is not calm");
    one.minutes(1, &Verdict { unseen: true, ..quiet() });
    assert_eq!(one.ends, [End::Expired]);

    let mut one = course("d", &Desk::default());
    one.minutes(3, &bad(2.0, "cpu"));
    one.time_ms += 9 * HOUR; // asleep
    one.minutes(1, &bad(2.0, "cpu"));
    assert_eq!(one.ends, [End::Expired], "it is not the new normal: nobody saw it");
    assert!(one.changes[3].reason.contains("for 9 h"), "{:?}", one.changes[3]);
}

#[test]
fn hours_of_sleep_do_not_make_a_new_normal() {
    let mut one = course("d", &Desk::default());
    one.minutes(60, &bad(2.0, "cpu"));
    one.time_ms += 5 * HOUR + 50 * MINUTE;
    one.minutes(60, &bad(2.0, "cpu"));
    assert_eq!(one.ends, []);
    one.minutes(5 * 60, &bad(2.0, "cpu"));
    assert_eq!(one.ends, [End::Accepted]);
}

#[test]
fn nothing_stays_open_for_ever() {
    let mut one = course("d", &Desk::default());
    one.minutes(3, &bad(2.0, "cpu"));
    for _ in 0..12 {
        one.time_ms += 5 * HOUR; // seen for a minute every five hours
        one.minutes(1, &bad(2.0, "cpu"));
    }
    assert!(one.ends.contains(&End::Expired), "{:?}", one.states());
}

#[test]
fn what_comes_and_goes_is_said_to_recover_ever_later() {
    let mut one = course("d", &Desk::default());
    one.minutes(3, &bad(2.0, "cpu"));
    for _ in 0..30 {
        one.minutes(3, &quiet());
        one.minutes(3, &bad(2.0, "cpu"));
    }
    let expected = [&CALLED[..], &[Recovering, Updated]].concat();
    assert_eq!(one.states()[..5], expected);
    assert!(one.changes.len() < 8, "{:?}", one.states());
    one.minutes(4, &quiet());
    assert_eq!(one.states().last(), Some(&Resolved), "it is over as soon as ever");
    one.minutes(1, &bad(2.0, "cpu"));
    one.minutes(4, &quiet());
    assert_ne!(one.states().last(), Some(&Resolved), "it was over too soon the last time");
    one.minutes(4, &quiet());
    assert_eq!(one.states().last(), Some(&Resolved));
}

#[test]
fn two_features_that_take_turns_at_the_head_are_told_once() {
    let mut one = course("d", &Desk::default());
    one.minutes(6, &bad(2.0, "cpu"));
    for turn in 0..6 {
        let feature = if turn % 2 == 0 { "mem" } else { "cpu" };
        one.minutes(6, &bad(2.1 + 0.1 * f64::from(turn), feature));
    }
    assert_eq!(one.updates(), [(7, "mem leads now")]);
}
