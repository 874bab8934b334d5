//! Detectors at one desk: incidents that overlap are one, and calls have a budget.

use sentinel_contract::desk::Budget;
use sentinel_contract::incident::Severity;

use super::super::incident::Verdict;
use super::super::severity::Extent;
use super::updates::{CALLED, Course, HOUR, MINUTE, bad, course, quiet};
use super::*;

use State::{Confirmed, Detected, Notified, Resolved, Updated};

#[test]
fn what_overlaps_joins_the_incident_that_called_and_calls_nobody() {
    let desk = Desk::default();
    let (mut host, mut web) = (course("host", &desk), course("web", &desk));
    for _ in 0..8 {
        host.minutes(1, &bad(2.0, "cpu"));
        web.minutes(1, &bad(2.0, "errors"));
    }
    assert_eq!(host.states(), [&CALLED[..], &[Updated]].concat());
    assert_eq!(web.states(), [Detected, Confirmed]);
    assert_eq!(web.changes[1].joined.as_deref(), Some("host/h/60"));
    assert_eq!(
        host.updates(),
        [(6, "web/h/60 is part of it: warning: h: errors 9 above the usual 0 to 2")]
    );
    // Worse than the first: the first is told, nobody is called.
    web.minutes(
        1,
        &Verdict { extent: Extent { size: 9.0, breadth: 9, user: true }, ..bad(2.0, "errors") },
    );
    host.minutes(4, &bad(2.0, "cpu"));
    let (minute, reason) = host.updates()[1];
    assert_eq!(minute, 11, "five minutes after the last update");
    assert!(reason.starts_with("web/h/60 is part of it: critical (worse than this)"), "{reason}");
    assert_eq!(host.changes.last().unwrap().severity, Severity::Critical);
    assert!(!web.states().contains(&Notified));
}

#[test]
fn what_begins_within_a_recovery_of_the_end_joins_and_what_begins_later_calls() {
    for (minutes, calls) in [(4, false), (5, true)] {
        let desk = Desk::default();
        let (mut host, mut web) = (course("host", &desk), course("web", &desk));
        host.minutes(3, &bad(2.0, "cpu"));
        host.minutes(4, &quiet());
        assert_eq!(host.states().last(), Some(&Resolved));
        web.time_ms = host.time_ms + (minutes - 1) * MINUTE;
        web.minutes(1, &bad(2.0, "errors"));
        assert_eq!(web.states().contains(&Notified), calls, "{minutes} minutes later");
    }
}

#[test]
fn what_goes_on_for_long_after_the_one_it_joined_takes_its_place() {
    let desk = Desk::default();
    let (mut host, mut web) = (course("host", &desk), course("web", &desk));
    host.minutes(3, &bad(2.0, "cpu"));
    web.time_ms = host.time_ms;
    web.minutes(2, &bad(2.0, "errors"));
    host.minutes(4, &quiet());
    web.minutes(20, &bad(2.0, "errors"));
    assert_eq!(web.states(), [Detected, Confirmed, Updated]);
    assert!(web.updates()[0].1.contains("host/h/60, which it had joined, is over"));
    // And it is now the one to join.
    let mut logs = course("logs", &desk);
    logs.time_ms = web.time_ms;
    logs.minutes(1, &bad(2.0, "lines"));
    assert_eq!(logs.changes[1].joined.as_deref(), Some(&*web.changes[0].key));
}

/// So many incidents one after the other, a quarter of an hour apart.
fn burst(desk: &Desk, incidents: i64, verdict: &Verdict) -> Vec<Course> {
    let one = |at: i64| {
        let mut one = course(&format!("d{at}"), desk);
        one.time_ms = at * 15 * MINUTE;
        one.minutes(1, verdict);
        one.minutes(4, &quiet());
        one
    };
    (0..incidents).map(one).collect()
}

#[test]
fn more_than_the_budget_is_held_back_for_a_digest_that_counts_and_names_it() {
    let desk = Desk::new(Budget { per_hour: 2, per_day: 10 });
    let all = burst(&desk, 4, &bad(2.0, "cpu"));
    let called: Vec<bool> = all.iter().map(|one| one.states().contains(&Notified)).collect();
    assert_eq!(called, [true, true, false, false]);
    let held = &all[3].changes[1];
    assert_eq!((held.state, held.held), (Confirmed, true));
    assert_eq!(held.reason, "over the notification budget: in the digest");

    assert_eq!(desk.digest("h", 46 * MINUTE), None, "the budget is spent");
    let (key, digest) = desk.digest("h", 61 * MINUTE).unwrap();
    assert_eq!((&*key, digest.count), ("digest/h/3660", 2));
    let keys: Vec<&str> = digest.held.iter().map(|held| &*held.key).collect();
    assert_eq!(keys, ["d2/h/1860", "d3/h/2760"]);
    assert_eq!(desk.digest("h", 62 * MINUTE), None, "once");
}

#[test]
fn the_day_has_a_budget_too_and_a_digest_is_one_of_its_calls() {
    let desk = Desk::new(Budget { per_hour: 100, per_day: 3 });
    let all = burst(&desk, 5, &bad(2.0, "cpu"));
    assert_eq!(all.iter().filter(|one| one.states().contains(&Notified)).count(), 3);
    assert_eq!(desk.digest("h", 24 * HOUR), None);
    assert_eq!(desk.digest("h", 24 * HOUR + MINUTE).map(|(_, digest)| digest.count), Some(2));
    let mut late = course("late", &desk);
    late.time_ms = 24 * HOUR + 5 * MINUTE;
    late.minutes(1, &bad(2.0, "cpu"));
    assert!(late.changes.last().unwrap().held);
}

#[test]
fn critical_for_users_may_use_the_budget_twice_and_no_more() {
    let desk = Desk::new(Budget { per_hour: 2, per_day: 10 });
    let urgent =
        Verdict { extent: Extent { size: 9.0, breadth: 9, user: true }, ..bad(2.0, "errors") };
    let all = burst(&desk, 2, &bad(2.0, "cpu"));
    assert!(all.iter().all(|one| one.states().contains(&Notified)));
    let mut web = course("web", &desk);
    web.time_ms = 40 * MINUTE;
    web.minutes(1, &bad(2.0, "errors"));
    assert_eq!(web.states(), [Detected, Confirmed]);
    web.minutes(1, &urgent);
    assert_eq!(web.states(), CALLED, "it was held, and has become urgent");
    web.minutes(4, &quiet());
    for (at, calls) in [(56, true), (57, false)] {
        // Of another host's desk it would be; here the fourth of the hour calls, and the fifth does not.
        let mut one = course(&format!("e{at}"), &desk);
        one.time_ms = at * MINUTE;
        desk.note(&Incident {
            key: web.changes[0].key.clone(),
            state: State::Accepted,
            ..Incident::default()
        });
        one.minutes(1, &urgent);
        desk.note(&Incident {
            key: one.changes[0].key.clone(),
            state: State::Accepted,
            ..Incident::default()
        });
        assert_eq!(one.states().contains(&Notified), calls, "{at}");
    }
}

#[test]
fn a_desk_that_is_told_what_history_knows_answers_as_before() {
    let desk = Desk::new(Budget { per_hour: 2, per_day: 10 });
    let all = burst(&desk, 4, &bad(2.0, "cpu"));
    let mut changes: Vec<Incident> = all.into_iter().flat_map(|one| one.changes).collect();
    changes.reverse();
    let next = Desk::new(Budget { per_hour: 2, per_day: 10 });
    next.recall(&changes, 46 * MINUTE);
    assert_eq!(next.digest("h", 59 * MINUTE), None);
    assert_eq!(next.digest("h", 61 * MINUTE), desk.digest("h", 61 * MINUTE));
}
