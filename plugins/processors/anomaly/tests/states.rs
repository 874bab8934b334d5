//! The states of an incident, one verdict after another.

use super::super::incident::{End, Owner, Place, Rules, Verdict, step};
use super::super::open::Open;
use super::*;

const RULES: Rules = Rules {
    confirm_frames: 2,
    recover_frames: 4,
    relapse_ms: 300_000,
    accept_ms: 3_600_000,
    interval_ms: 60_000,
};

struct Told {
    open: Option<Open>,
    past: Option<Open>,
    time_ms: i64,
    changes: Vec<Incident>,
    ends: Vec<End>,
    desk: Desk,
}

fn told() -> Told {
    Told {
        open: None,
        past: None,
        time_ms: 60_000,
        changes: Vec::new(),
        ends: Vec::new(),
        desk: Desk::default(),
    }
}

impl Told {
    /// 1.0 opens, 1.5 confirms, below 0.8 is calm.
    fn scores(mut self, scores: &[f64], page: bool) -> Self {
        for score in scores {
            self.time_ms += 60_000;
            let verdict = Verdict {
                time_ms: self.time_ms,
                score: *score,
                above: *score >= 1.0,
                sure: *score >= 1.5,
                calm: *score < 0.8,
                page: page.then(|| "because".to_owned()),
                why_not: "why not".to_owned(),
                ..Verdict::default()
            };
            let owner = Owner {
                detector: "d".into(),
                host: "h".into(),
                group: String::new(),
                of_many: false,
            };
            let place = Place { owner: &owner, rules: RULES, desk: &self.desk };
            let (changes, end) = step(&mut self.open, &mut self.past, &verdict, &place);
            self.changes.extend(changes);
            self.ends.extend(end);
        }
        self
    }

    fn states(&self) -> Vec<State> {
        self.changes.iter().map(|change| change.state).collect()
    }
}

use State::{Confirmed, Detected, Notified, Recovering, Resolved, Updated};

#[test]
fn nothing_opens_below_the_boundary() {
    assert_eq!(told().scores(&[0.0, 0.99, 0.5], true).states(), []);
}

#[test]
fn a_blip_is_detected_and_never_confirmed() {
    let told = told().scores(&[1.2, 0.1, 0.1, 0.1, 0.1, 0.1], true);
    assert_eq!(told.states(), [Detected, Recovering, Resolved]);
    assert_eq!(told.ends, [End::Unconfirmed]);
}

#[test]
fn evidence_confirms_and_a_reason_notifies() {
    assert_eq!(told().scores(&[1.2, 0.9, 1.6], true).states(), [Detected, Confirmed, Notified]);
    assert_eq!(told().scores(&[1.2, 1.1, 1.4], true).states(), [Detected]);
    assert_eq!(told().scores(&[3.0], false).states(), [Detected, Confirmed]);
}

#[test]
fn a_reason_that_comes_late_still_notifies_once() {
    let told = told().scores(&[1.5, 1.5, 1.5], false).scores(&[1.5, 1.5], true);
    assert_eq!(told.states(), [Detected, Confirmed, Notified]);
}

#[test]
fn between_low_and_the_boundary_nothing_changes() {
    assert_eq!(
        told().scores(&[1.5, 1.5, 0.9, 0.85, 0.9, 0.95], false).states(),
        [Detected, Confirmed]
    );
}

#[test]
fn a_relapse_goes_back_to_where_it_stood_under_the_same_key() {
    let told = told().scores(&[1.5, 1.5, 0.1, 0.1, 1.5, 0.1, 0.1, 0.1, 0.1], true);
    let expected = [Detected, Confirmed, Notified, Recovering, Updated, Recovering, Resolved];
    assert_eq!(told.states(), expected);
    assert!(told.changes.iter().all(|change| change.key == "d/h/120"));
    assert!(told.changes.iter().all(|change| change.started_ms == 120_000));
    assert_eq!(told.ends, [End::Over]);
}

#[test]
fn what_comes_back_soon_after_the_end_is_the_same_incident_and_calls_nobody_again() {
    let told = told().scores(&[1.5, 0.1, 0.1, 0.1, 0.1, 0.1, 1.2, 1.5], true);
    let expected = [Detected, Confirmed, Notified, Recovering, Resolved, Updated];
    assert_eq!(told.states(), expected);
    assert!(told.changes.iter().all(|change| change.key == told.changes[0].key));
    assert_eq!(told.changes[5].reason, "it came back");
}

#[test]
fn what_comes_later_is_another_incident() {
    let told = told().scores(&[1.5, 1.5, 0.1, 0.1, 0.1, 0.1], false).scores(&[0.1; 6], false);
    let told = told.scores(&[1.5], false);
    let expected = [Detected, Confirmed, Recovering, Resolved, Detected, Confirmed];
    assert_eq!(told.states(), expected);
    assert_ne!(told.changes[0].key, told.changes[4].key);
}

#[test]
fn an_incident_without_end_is_taken_as_the_new_normal() {
    let told = told().scores(&[1.5; 61], false);
    assert_eq!(told.states(), [Detected, Confirmed, State::Accepted]);
    assert_eq!(told.ends, [End::Accepted]);
    assert!(told.changes[2].reason.contains("new normal"));
}

#[test]
fn a_change_carries_the_highest_score_since_the_last_one() {
    let told = told().scores(&[1.1, 1.4, 2.5, 1.2, 0.1, 0.1], false);
    let scores: Vec<f64> = told.changes.iter().map(|change| change.score).collect();
    assert_eq!(scores, [1.1, 2.5, 1.2]);
}
