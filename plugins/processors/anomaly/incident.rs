//! The states of an incident: detected, confirmed, notified, recovering, resolved (DESIGN section 6).
//!
//! Detections that overlap are one incident: it stays open until the frames have been calm for a while, and a relapse
//! while it recovers, or soon after its end, goes back to where it stood, under the same key and without a second call. The key is made of the detector, the group and
//! the first frame, so a restart keeps it. New-normal offers, digests and maintenance windows are not here yet.

use sentinel_contract::Incident;
use sentinel_contract::incident::{Contribution, State};
use serde::{Deserialize, Serialize};

/// Calm frames that begin the recovery of a confirmed incident.
const LOW_FRAMES: u32 = 2;

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub confirm_frames: u32,
    pub recover_frames: u32,
    /// What comes back within this time after its end is the same incident.
    pub relapse_ms: i64,
    /// An open incident ends after this and is taken as the new normal.
    pub accept_ms: i64,
}

/// Whose incidents these are.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub detector: String,
    pub host: String,
    pub group: String,
}

/// What a frame says.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    pub time_ms: i64,
    /// As it is written: 1.0 at the boundary.
    pub score: f64,
    /// An incident opens, or goes on.
    pub above: bool,
    /// It is confirmed.
    pub sure: bool,
    /// It recovers.
    pub calm: bool,
    pub models: Vec<(String, f64)>,
    /// Empty below the boundary.
    pub contributions: Vec<Contribution>,
    pub normal: Vec<String>,
    /// The sentence's subject: which signals, how far.
    pub what: String,
    /// Why a person should be called, if so.
    pub page: Option<String>,
    /// Why not, otherwise.
    pub why_not: String,
}

/// An open incident. Serialised with the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    pub key: String,
    pub started_ms: i64,
    /// Of its start or its last relapse: what stands still for it does so from here on.
    pub since_ms: i64,
    /// When it ended, if it did.
    ended_ms: Option<i64>,
    pub state: State,
    /// Where it goes back to when it relapses: detected, confirmed or notified.
    pub reached: State,
    low: u32,
    /// Highest score since the last change, and at all.
    peak: f64,
    highest: f64,
    models: Vec<(String, f64)>,
    contributions: Vec<Contribution>,
    normal: Vec<String>,
    what: String,
    page: Option<String>,
}

impl Open {
    /// A person or the boundary should take it seriously.
    pub(super) fn is_confirmed(&self) -> bool {
        self.reached != State::Detected
    }
}

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A blip: it never lasted.
    Unconfirmed,
    /// It was one, and is over.
    Over,
    /// It went on for so long that it is the new normal.
    Accepted,
}

/// Takes a frame's verdict. Returns the changes of state, in order, and how the incident ended if it did.
pub(super) fn step(
    slot: &mut Option<Open>,
    past: &mut Option<Open>,
    verdict: &Verdict,
    owner: &Owner,
    rules: Rules,
) -> (Vec<Incident>, Option<End>) {
    let mut changes = Vec::new();
    let recent =
        |old: &Open| old.ended_ms.is_some_and(|end| verdict.time_ms - end <= rules.relapse_ms);
    if slot.is_none() && !verdict.above {
        return (changes, None);
    }
    if slot.is_none()
        && let Some(mut old) = past.take().filter(recent)
    {
        (old.since_ms, old.ended_ms) = (verdict.time_ms, None);
        old.highest = 0.0; // it may be another fault: what it says now is of now
        old.contributions.clear();
        old.note(verdict);
        *slot = Some(old);
    } else if slot.is_none() {
        let mut open = Open::new(verdict, owner);
        let reason = format!("score {:.2}, not yet confirmed", verdict.score);
        changes.push(open.enter(State::Detected, verdict.time_ms, reason, owner));
        *slot = Some(open);
    } else if let Some(open) = slot {
        open.note(verdict);
    }
    let Some(open) = slot else { return (changes, None) };

    if matches!(open.state, State::Recovering | State::Resolved) && verdict.above {
        let reached = open.reached;
        changes.push(open.enter(reached, verdict.time_ms, "it came back".into(), owner));
    }
    advance(open, verdict, owner, &mut changes);
    let end = close(open, verdict, owner, rules, &mut changes);
    if end.is_some() {
        *past = slot.take().filter(|_| end != Some(End::Accepted));
    }
    (changes, end)
}

/// Towards more certainty.
fn advance(open: &mut Open, verdict: &Verdict, owner: &Owner, changes: &mut Vec<Incident>) {
    if open.state == State::Detected && verdict.sure {
        let reason = match &open.page {
            Some(_) => "it lasts".to_owned(),
            None => verdict.why_not.clone(),
        };
        open.reached = State::Confirmed;
        changes.push(open.enter(State::Confirmed, verdict.time_ms, reason, owner));
    }
    if open.state == State::Confirmed
        && let Some(reason) = open.page.clone()
    {
        open.reached = State::Notified;
        changes.push(open.enter(State::Notified, verdict.time_ms, reason, owner));
    }
}

/// Towards its end.
fn close(
    open: &mut Open,
    verdict: &Verdict,
    owner: &Owner,
    rules: Rules,
    changes: &mut Vec<Incident>,
) -> Option<End> {
    let time_ms = verdict.time_ms;
    if time_ms - open.since_ms >= rules.accept_ms {
        let reason = "it has lasted so long that it is taken as the new normal".into();
        changes.push(open.end_as_normal(time_ms, reason, owner));
        return Some(End::Accepted);
    }
    let patience = if open.is_confirmed() { LOW_FRAMES.min(rules.recover_frames) } else { 1 };
    if open.state != State::Recovering && open.low >= patience {
        let reason = format!("score {:.2}, calm", verdict.score);
        changes.push(open.enter(State::Recovering, time_ms, reason, owner));
    }
    if open.state == State::Recovering && open.low >= rules.recover_frames {
        let seconds = (time_ms - open.started_ms) / 1000;
        let reason = if open.is_confirmed() {
            format!("low for {} frames, {seconds} s after it began", open.low)
        } else {
            "it did not last".into()
        };
        let end = if open.is_confirmed() { End::Over } else { End::Unconfirmed };
        changes.push(open.enter(State::Resolved, time_ms, reason, owner));
        open.ended_ms = Some(time_ms);
        return Some(end);
    }
    None
}

impl Open {
    fn new(verdict: &Verdict, owner: &Owner) -> Self {
        let group = if owner.group.is_empty() { &owner.host } else { &owner.group };
        let mut open = Open {
            key: format!("{}/{group}/{}", owner.detector, verdict.time_ms / 1000),
            started_ms: verdict.time_ms,
            since_ms: verdict.time_ms,
            ended_ms: None,
            state: State::Detected,
            reached: State::Detected,
            low: 0,
            peak: 0.0,
            highest: 0.0,
            models: Vec::new(),
            contributions: Vec::new(),
            normal: Vec::new(),
            what: String::new(),
            page: None,
        };
        open.note(verdict);
        open
    }

    /// Takes a frame into account. The explanation is that of the worst frame.
    fn note(&mut self, verdict: &Verdict) {
        self.low = if verdict.calm { self.low + 1 } else { 0 };
        self.peak = self.peak.max(verdict.score);
        if verdict.above && (verdict.score > self.highest || self.contributions.is_empty()) {
            self.models.clone_from(&verdict.models);
            self.contributions.clone_from(&verdict.contributions);
            self.normal.clone_from(&verdict.normal);
            self.what.clone_from(&verdict.what);
        }
        self.highest = self.highest.max(verdict.score);
        if self.page.is_none() {
            self.page.clone_from(&verdict.page);
        }
    }

    /// Ends as the new normal.
    pub(super) fn end_as_normal(
        &mut self,
        time_ms: i64,
        reason: String,
        owner: &Owner,
    ) -> Incident {
        self.enter(State::Accepted, time_ms, reason, owner)
    }

    fn enter(&mut self, state: State, time_ms: i64, reason: String, owner: &Owner) -> Incident {
        self.state = state;
        let score = std::mem::take(&mut self.peak);
        let place = if owner.group.is_empty() { &owner.host } else { &owner.group };
        let message = match state {
            State::Recovering => format!("recovering on {place}: {}", self.what),
            State::Resolved => format!("over on {place}: {}", self.what),
            State::Accepted => format!("the new normal on {place}: {}", self.what),
            State::Detected | State::Confirmed | State::Notified => {
                format!("{place}: {}", self.what)
            }
        };
        Incident {
            message,
            key: self.key.clone(),
            detector: owner.detector.clone(),
            host: owner.host.clone(),
            group: owner.group.clone(),
            state,
            time_ms,
            started_ms: self.started_ms,
            score: if score > 0.0 { score } else { self.highest },
            models: self.models.clone(),
            contributions: self.contributions.clone(),
            normal: self.normal.clone(),
            reason,
            ..Incident::default() // what is hit, and all that is told beside it, is filled in by `tell`
        }
    }
}
