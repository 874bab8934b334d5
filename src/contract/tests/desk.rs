//! What the desk answers, and what it forgets.

use crate::desk::{Answer, Asking, Budget, Desk, Head, Letter};
use crate::incident::{Incident, Severity, State};

const MINUTE: i64 = 60_000;
const DAY: i64 = 1440 * MINUTE;

fn asking(key: &str, time_ms: i64) -> Asking<'_> {
    Asking {
        host: "box",
        key,
        time_ms,
        near_ms: 10 * MINUTE,
        severity: Severity::Warning,
        user: false,
        what: "cpu is high",
    }
}

fn change(key: &str, state: State, time_ms: i64) -> Incident {
    let (key, host, detector) = (key.to_owned(), "box".to_owned(), "host".to_owned());
    Incident { key, detector, host, state, time_ms, ..Incident::default() }
}

#[test]
fn who_has_called_may_ask_again_and_uses_the_budget_once() {
    let desk = Desk::new(Budget { per_hour: 1, per_day: 1 });
    assert_eq!(desk.ask(&asking("a", 0)), Answer::Call);
    assert_eq!(desk.ask(&asking("a", MINUTE)), Answer::Call);
    assert_eq!(desk.ask(&asking("b", MINUTE)), Answer::Join("a".to_owned()));
    assert_eq!(desk.letters("a").len(), 1);
    assert_eq!(desk.letters("a"), [], "a letter is read once");
}

#[test]
fn an_open_incident_that_nobody_watches_is_joined_by_nobody() {
    let desk = Desk::default();
    assert_eq!(desk.ask(&asking("a", 0)), Answer::Call);
    desk.attend("box", "a", MINUTE, 60 * MINUTE);
    assert_eq!(desk.follow("a", &asking("b", 50 * MINUTE), 90 * MINUTE), Head::There);
    assert_eq!(desk.ask(&asking("c", 61 * MINUTE)), Answer::Call);
}

#[test]
fn a_wrong_clock_does_not_spend_the_budget_for_ever() {
    let desk = Desk::new(Budget { per_hour: 1, per_day: 1 });
    assert_eq!(desk.ask(&asking("a", 400 * DAY)), Answer::Call);
    assert_eq!(desk.ask(&asking("b", DAY)), Answer::Call, "it was set back by a year");
}

#[test]
fn what_was_accepted_is_not_joined() {
    let desk = Desk::default();
    desk.note(&change("a", State::Notified, 0));
    assert_eq!(desk.ask(&asking("b", MINUTE)), Answer::Join("a".to_owned()));
    desk.note(&change("a", State::Accepted, 2 * MINUTE));
    assert_eq!(desk.ask(&asking("c", 3 * MINUTE)), Answer::Call);
}

#[test]
fn what_a_detector_does_not_know_of_its_own_is_lost_and_told_once() {
    let desk = Desk::default();
    desk.recall(&[change("b", State::Confirmed, 2), change("a", State::Detected, 1)], 3);
    let lost = || desk.lost(|one| one.detector == "host" && one.key != "a", 3);
    let told = lost();
    assert_eq!(
        told.iter().map(|one| (&*one.key, one.state)).collect::<Vec<_>>(),
        [("b", State::Expired)]
    );
    assert_eq!(lost(), []);
}

#[test]
fn a_flood_of_held_calls_is_counted_and_not_kept() {
    let desk = Desk::new(Budget { per_hour: 1, per_day: 1 });
    desk.ask(&asking("first", 0));
    desk.note(&change("first", State::Accepted, 1));
    for at in 0..1000 {
        assert_eq!(desk.ask(&asking(&format!("k{at}"), MINUTE)), Answer::Hold);
    }
    let (_, digest) = desk.digest("h", DAY).unwrap();
    assert_eq!((digest.count, digest.held.len()), (1000, 50));
    let letter =
        |at: i64| Letter { key: at.to_string(), severity: Severity::Info, what: String::new() };
    (0..1000).for_each(|at| desk.tell("first", letter(at)));
    assert_eq!(desk.letters("first").len(), 50);
}

#[test]
fn incidents_of_different_hosts_do_not_join() {
    let desk = Desk::default();
    assert_eq!(desk.ask(&asking("a", 0)), Answer::Call);
    let elsewhere = |key| Asking { host: "other", ..asking(key, MINUTE) };
    assert_eq!(desk.ask(&elsewhere("b")), Answer::Call);
    assert_eq!(desk.ask(&elsewhere("c")), Answer::Join("b".to_owned()));
}
