//! The states of an incident: detected, confirmed, notified, recovering, and its ends (DESIGN section 6). What is new in
//! between is in `update`, how bad it is in `severity`, the end of what cannot be seen in `expiry`.
//!
//! Detections that overlap are one incident (what comes back needs ever longer to be over): it stays open until the frames have been calm for a while, and a relapse
//! while it recovers, or soon after its end, goes back to where it stood, under the same key and without a second call. The
//! key is made of the detector, the group and the first frame, so a restart keeps it. Whether it calls is decided at the
//! desk (`sentinel_contract::desk`), where all detectors of the host ask: it may join another incident, or be held back.

use std::borrow::Cow;

use sentinel_contract::Incident;
use sentinel_contract::desk::{Answer, Desk};
use sentinel_contract::incident::{Contribution, State};

use super::expiry;
use super::open::Open;
use super::series::GroupKey;
use super::severity::Extent;
use super::update::update;

/// See [`Place::near_ms`].
const MOST_NEAR_MS: i64 = 10 * 60_000;

/// How long things last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub confirm_frames: u32,
    pub recover_frames: u32,
    /// What comes back within this time after its end is the same incident.
    pub relapse_ms: i64,
    /// An open incident ends after this and is taken as the new normal.
    pub accept_ms: i64,
    /// Length of a frame.
    pub interval_ms: i64,
}

/// Whose incidents these are.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub detector: String,
    pub host: String,
    pub group: String,
    /// The host is one of many, and named wherever the group is.
    pub of_many: bool,
}

impl Owner {
    /// Of a group of these labels: the host that they name, else this one.
    pub(super) fn of(detector: &str, host: &str, key: &GroupKey) -> Owner {
        let named = key.labels.iter().find(|(name, _)| name == "host");
        let host = named.map_or(host, |(_, host)| host);
        let rest = key.labels.iter().filter(|(name, _)| name != "host");
        let rest: Vec<&str> = rest.map(|(_, value)| value.as_str()).collect();
        let (detector, host, group) = (detector.to_owned(), host.to_owned(), rest.join(","));
        Owner { detector, host, group, of_many: named.is_some() }
    }

    /// The group, else the host; of many hosts both.
    pub(super) fn place(&self) -> Cow<'_, str> {
        match self.group.as_str() {
            "" => Cow::Borrowed(&self.host),
            group if self.of_many => Cow::Owned(format!("{}/{group}", self.host)),
            group => Cow::Borrowed(group),
        }
    }
}

/// Where an incident happens: whose it is, by which rules, and where it asks before it calls.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub owner: &'a Owner,
    pub rules: Rules,
    pub desk: &'a Desk,
}

impl Place<'_> {
    /// What was over for longer than this is no part of what happens now: about as long as an end takes to be seen.
    pub(super) fn near_ms(&self) -> i64 {
        (i64::from(self.rules.recover_frames) * self.rules.interval_ms).min(MOST_NEAR_MS)
    }

    /// Until when an incident of this frame counts as watched: frames may be late, or lost in a restart.
    pub(super) fn attended_ms(&self, time_ms: i64) -> i64 {
        time_ms + self.rules.relapse_ms.max(10 * self.rules.interval_ms)
    }
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
    /// By more than this one frame.
    pub lasts: bool,
    /// It recovers.
    pub calm: bool,
    /// Nothing of the open incident can be seen in it: its signals are missing.
    pub unseen: bool,
    /// It is about a source that says nothing.
    pub silence: bool,
    pub extent: Extent,
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

/// How an incident ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// A blip: it never lasted.
    Unconfirmed,
    /// It was one, and is over.
    Over,
    /// It went on for so long that it is the new normal.
    Accepted,
    /// Nothing more can be known of it.
    Expired,
}

/// Takes a frame's verdict. Returns the changes of state, in order, and how the incident ended if it did.
pub(super) fn step(
    slot: &mut Option<Open>,
    past: &mut Option<Open>,
    verdict: &Verdict,
    place: &Place<'_>,
) -> (Vec<Incident>, Option<End>) {
    if let Some(change) = expire(slot, verdict.time_ms, place.owner) {
        *past = None;
        return (vec![change], Some(End::Expired));
    }
    let mut changes = Vec::new();
    if slot.is_none() && !verdict.above || slot.is_some() && verdict.unseen {
        return (changes, None);
    }
    let is_back = |old: &Open| {
        let recent =
            old.ended_ms.is_some_and(|end| verdict.time_ms - end <= place.rules.relapse_ms);
        recent && old.is_like(verdict)
    };
    if slot.is_none()
        && let Some(mut old) = past.take().filter(is_back)
    {
        old.revive(verdict);
        *slot = Some(old);
    } else if slot.is_none() {
        let mut open = Open::new(verdict, place.owner);
        let reason = format!("score {:.2}, not yet confirmed", verdict.score);
        changes.push(open.enter(State::Detected, verdict.time_ms, reason, place.owner));
        *slot = Some(open);
    } else if let Some(open) = slot {
        expiry::see(open, verdict.time_ms, place.rules);
        open.note(verdict);
    }
    let Some(open) = slot else { return (changes, None) };

    if matches!(open.state, State::Recovering | State::Resolved) && verdict.above {
        changes.push(open.come_back(verdict.time_ms, place.owner));
    }
    advance(open, verdict, place, &mut changes);
    update(open, verdict, place, &mut changes);
    let end = close(open, verdict, place, &mut changes);
    if end.is_some() {
        *past = slot.take().filter(|_| end != Some(End::Accepted));
    }
    (changes, end)
}

/// Ends an incident of which nothing more can be known, whether or not there is a verdict.
pub(super) fn expire(slot: &mut Option<Open>, time_ms: i64, owner: &Owner) -> Option<Incident> {
    let reason = expiry::expired(slot.as_ref()?, time_ms)?;
    let mut open = slot.take()?;
    Some(open.enter(State::Expired, time_ms, reason, owner))
}

/// Towards more certainty.
fn advance(open: &mut Open, verdict: &Verdict, place: &Place<'_>, changes: &mut Vec<Incident>) {
    let time_ms = verdict.time_ms;
    let confirms = open.state == State::Detected && verdict.sure;
    if confirms {
        (open.state, open.reached) = (State::Confirmed, State::Confirmed);
        open.confirmed_ms.get_or_insert(time_ms);
    }
    if open.state != State::Confirmed {
        return;
    }
    let answer = open.ask(time_ms, place);
    let reason = match &answer {
        Some(Answer::Join(head)) => Some(format!("it is part of {head}, of which somebody knows")),
        Some(Answer::Hold) => Some("over the notification budget: in the digest".to_owned()),
        _ if !confirms => None,
        Some(Answer::Call) => Some("it lasts".to_owned()),
        None => Some(verdict.why_not.clone()),
    };
    if let Some(reason) = reason {
        changes.push(open.enter(State::Confirmed, time_ms, reason, place.owner));
    }
    if answer == Some(Answer::Call) {
        open.reached = State::Notified;
        let reason = open.page.clone().unwrap_or_default();
        changes.push(open.enter(State::Notified, time_ms, reason, place.owner));
    }
}

/// Towards its end.
fn close(
    open: &mut Open,
    verdict: &Verdict,
    place: &Place<'_>,
    changes: &mut Vec<Incident>,
) -> Option<End> {
    let Place { owner, rules, .. } = *place;
    let time_ms = verdict.time_ms;
    let goes_on = verdict.above && open.is_confirmed() && !open.tells_of_silence();
    if goes_on && expiry::seen_ms(open, time_ms) >= rules.accept_ms {
        let reason = "it has lasted so long that it is taken as the new normal".into();
        changes.push(open.end_as_normal(time_ms, reason, owner));
        return Some(End::Accepted);
    }
    if open.state != State::Recovering && open.low >= open.patience(rules.recover_frames) {
        let reason = format!("score {:.2}, calm", verdict.score);
        changes.push(open.enter(State::Recovering, time_ms, reason, owner));
    }
    if open.state == State::Recovering && open.low >= open.calm_frames(rules.recover_frames) {
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
