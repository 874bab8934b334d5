//! An open incident: what is known of it, and the event that tells a change of it. Its explanation is that of its worst
//! frame. How it moves from state to state is in `incident`.

use sentinel_contract::Incident;
use sentinel_contract::desk::{Answer, Asking};
use sentinel_contract::incident::{Contribution, SILENCE, Severity, State};
use serde::{Deserialize, Serialize};

use super::incident::{Owner, Place, Verdict};
use super::severity::{Extent, severity};
use super::update::Told;

/// What became of its call.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) enum Call {
    /// Nobody has been asked to decide.
    #[default]
    None,
    /// It called; or it took the place of the incident that did, and that it had joined.
    Made { joined: Option<String> },
    /// It is part of another that called, and told it how bad this is.
    Joined { head: String, severity: Severity },
    /// It is over the budget, as bad as it was then.
    Held { severity: Severity },
}

/// An open incident. Serialised with the group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Open {
    pub key: String,
    pub started_ms: i64,
    /// Of its start or its last relapse: what stands still for it does so from here on.
    pub since_ms: i64,
    /// When it ended, if it did.
    pub ended_ms: Option<i64>,
    /// When it was confirmed first.
    #[serde(default)]
    pub confirmed_ms: Option<i64>,
    pub state: State,
    /// Where it goes back to when it relapses: detected, confirmed or notified.
    pub reached: State,
    pub low: u32,
    /// Highest score since the last change, and at all.
    peak: f64,
    pub highest: f64,
    models: Vec<(String, f64)>,
    pub contributions: Vec<Contribution>,
    normal: Vec<String>,
    pub what: String,
    pub page: Option<String>,
    #[serde(default)]
    pub call: Call,
    #[serde(default)]
    pub extent: Extent,
    #[serde(default)]
    pub severity: Severity,
    #[serde(default)]
    pub told: Told,
    /// Its level was offered as the new normal.
    #[serde(default)]
    pub offered: bool,
    /// When something of it was last seen, and for how long nothing was.
    #[serde(default)]
    pub seen_ms: i64,
    #[serde(default)]
    pub gaps_ms: i64,
    /// How often it came back while it recovered, and after its end.
    #[serde(default)]
    relapses: u32,
    #[serde(default)]
    revivals: u32,
    #[serde(default)]
    pub silence: bool,
    /// There was more of it than single frames.
    #[serde(default)]
    pub lasted: bool,
}

/// Calm frames that begin the recovery of a confirmed incident.
const LOW_FRAMES: u32 = 2;
/// What comes back needs so many times the calm at most.
const MOST_PATIENCE: u32 = 5;
/// A share of an explanation that makes a feature a leading one.
const LEADS: f64 = 0.25;

impl Open {
    /// Its cause is a source that says nothing: that is no level that could be normal.
    pub(super) fn is_silence(&self) -> bool {
        self.silence
    }

    /// The source was silent in its worst frame.
    pub(super) fn tells_of_silence(&self) -> bool {
        self.silence || self.contributions.first().is_some_and(|one| one.feature == SILENCE)
    }

    /// None of the features that lead its explanation has a value.
    pub(super) fn is_out_of_sight(&self, is_missing: impl Fn(&str) -> bool) -> bool {
        let leading = leading(&self.contributions);
        !leading.is_empty() && leading.iter().all(|feature| is_missing(feature))
    }

    /// A person or the boundary should take it seriously.
    pub(super) fn is_confirmed(&self) -> bool {
        self.reached != State::Detected
    }
}

impl Open {
    pub(super) fn new(verdict: &Verdict, owner: &Owner) -> Self {
        let group = owner.place();
        let mut open = Open {
            key: format!("{}/{group}/{}", owner.detector, verdict.time_ms / 1000),
            started_ms: verdict.time_ms,
            since_ms: verdict.time_ms,
            ended_ms: None,
            confirmed_ms: None,
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
            call: Call::None,
            extent: Extent::default(),
            severity: Severity::Info,
            told: Told::default(),
            offered: false,
            seen_ms: verdict.time_ms,
            gaps_ms: 0,
            relapses: 0,
            revivals: 0,
            silence: false,
            lasted: false,
        };
        open.note(verdict);
        open
    }

    /// Takes a frame into account. The explanation is that of the worst frame.
    pub(super) fn note(&mut self, verdict: &Verdict) {
        self.low = if verdict.calm { self.low + 1 } else { 0 };
        self.peak = self.peak.max(verdict.score);
        let worst = verdict.score > self.highest || self.contributions.is_empty();
        if verdict.above && (worst || verdict.silence) {
            self.models.clone_from(&verdict.models);
            self.contributions.clone_from(&verdict.contributions);
            self.normal.clone_from(&verdict.normal);
            self.what.clone_from(&verdict.what);
        }
        self.highest = self.highest.max(verdict.score);
        self.silence = verdict.silence;
        self.lasted |= verdict.lasts;
        if verdict.above {
            self.extent.widen(verdict.extent);
        }
        if self.page.is_none() {
            self.page.clone_from(&verdict.page);
        }
    }

    /// The frame is about the same: a leading feature of the one leads the other too. What nothing leads can be anything.
    pub(super) fn is_like(&self, verdict: &Verdict) -> bool {
        let (own, now) = (leading(&self.contributions), leading(&verdict.contributions));
        own.is_empty() || now.is_empty() || own.iter().any(|feature| now.contains(feature))
    }

    /// It ended a short while ago, and is back: what it says now is of now.
    pub(super) fn revive(&mut self, verdict: &Verdict) {
        (self.since_ms, self.ended_ms) = (verdict.time_ms, None);
        (self.seen_ms, self.gaps_ms) = (verdict.time_ms, 0);
        self.revivals += 1;
        (self.highest, self.lasted, self.offered) = (0.0, false, false);
        self.contributions.clear();
        if self.reached != State::Notified {
            (self.call, self.page) = (Call::None, None); // to be decided anew
        }
        self.note(verdict);
    }

    /// Calm frames until it is said to recover: more of them, the oftener it came back.
    pub(super) fn patience(&self, recover_frames: u32) -> u32 {
        let first = if self.is_confirmed() { LOW_FRAMES } else { 1 };
        first.saturating_mul(1 << self.relapses.min(16)).min(self.calm_frames(recover_frames))
    }

    /// Calm frames until it is over: more of them, the oftener it was over and came back.
    pub(super) fn calm_frames(&self, recover_frames: u32) -> u32 {
        recover_frames * (1 + self.revivals).min(MOST_PATIENCE)
    }

    /// Back to where it stood. Who was called is not called again, but told.
    pub(super) fn come_back(&mut self, time_ms: i64, owner: &Owner) -> Incident {
        self.relapses += u32::from(self.state == State::Recovering);
        let reason = "it came back".to_owned();
        if self.reached != State::Notified {
            return self.enter(self.reached, time_ms, reason, owner);
        }
        self.state = State::Notified;
        self.tell(time_ms);
        self.updated(time_ms, reason, owner)
    }

    /// Asks whether it may call, if it would and that is open.
    pub(super) fn ask(&mut self, time_ms: i64, place: &Place<'_>) -> Option<Answer> {
        self.page.as_ref()?;
        let lasted_ms = time_ms - self.started_ms;
        let severity = severity(self.extent, lasted_ms, State::Notified).max(self.severity);
        let is_open = match self.call {
            Call::None => true,
            Call::Held { severity: then } => severity > then,
            Call::Made { .. } | Call::Joined { .. } => false,
        };
        if !is_open {
            return None;
        }
        self.severity = severity;
        let answer = place.desk.ask(&Asking {
            host: &place.owner.host,
            key: &self.key,
            time_ms,
            near_ms: place.near_ms(),
            severity,
            user: self.extent.user,
            what: &self.told_of(place.owner),
        });
        let was_held = matches!(self.call, Call::Held { .. });
        self.call = match &answer {
            Answer::Call => Call::Made { joined: None },
            Answer::Join(head) => Call::Joined { head: head.clone(), severity },
            Answer::Hold => Call::Held { severity },
        };
        Some(answer).filter(|answer| !(was_held && *answer == Answer::Hold))
    }

    /// Where and what it is.
    pub(super) fn told_of(&self, owner: &Owner) -> String {
        format!("{}: {}", owner.place(), self.what)
    }

    /// As bad as it has been.
    pub(super) fn weigh(&mut self, time_ms: i64) {
        let now = severity(self.extent, time_ms - self.started_ms, self.reached);
        self.severity = self.severity.max(now);
    }

    /// Tells what is new; it stands where it stood.
    pub(super) fn updated(&mut self, time_ms: i64, reason: String, owner: &Owner) -> Incident {
        self.change(State::Updated, time_ms, reason, owner)
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

    pub(super) fn enter(
        &mut self,
        state: State,
        time_ms: i64,
        reason: String,
        owner: &Owner,
    ) -> Incident {
        self.state = state;
        self.change(state, time_ms, reason, owner)
    }

    fn change(&mut self, state: State, time_ms: i64, reason: String, owner: &Owner) -> Incident {
        self.weigh(time_ms);
        let score = std::mem::take(&mut self.peak);
        let place = owner.place();
        let message = match state {
            State::Recovering => format!("recovering on {place}: {}", self.what),
            State::Resolved => format!("over on {place}: {}", self.what),
            State::Accepted => format!("the new normal on {place}: {}", self.what),
            State::Expired => format!("no longer known on {place}: {}", self.what),
            State::Updated => format!("still on {place}: {}", self.what),
            State::Detected | State::Confirmed | State::Notified => self.told_of(owner),
        };
        let joined = match &self.call {
            Call::Joined { head, .. } => Some(head.clone()),
            Call::Made { joined } => joined.clone(),
            Call::None | Call::Held { .. } => None,
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
            severity: self.severity,
            joined,
            held: matches!(self.call, Call::Held { .. }),
            ..Incident::default() // what is hit, and all that is told beside it, is filled in by `tell`
        }
    }
}

/// The names of the features that lead an explanation.
pub(super) fn leading(all: &[Contribution]) -> Vec<String> {
    let leads = |(at, one): &(usize, &Contribution)| *at == 0 || one.share >= LEADS;
    all.iter().enumerate().filter(leads).map(|(_, one)| one.feature.clone()).collect()
}
