//! What is new about an incident that somebody knows of: worse, broader, elsewhere, joined by another; and, after two hours,
//! the offer to take its level as the new normal. Updates of one incident keep a distance, and call nobody again.

use sentinel_contract::desk::{Asking, Head, Letter};
use sentinel_contract::incident::{Incident, Severity, State};
use serde::{Deserialize, Serialize};

use super::group::STILL_MS;
use super::incident::{Place, Verdict};
use super::open::{Call, Open};

/// Between two updates of an incident, and between its call and the first.
const GAP_MS: i64 = 5 * 60_000;
/// A size (how far beyond its boundary) so many times that of the last telling is new. Not the written score: that grows with
/// duration alone.
const FACTOR: f64 = 2.0;
/// The first features of an explanation: another one that leads is new.
const NAMED: usize = 3;

/// What was last told of an incident.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Told {
    time_ms: i64,
    severity: Severity,
    size: f64,
    features: Vec<String>,
    user: bool,
}

/// Takes stock of a frame, and tells what is new. Called once a frame, after the state has moved.
pub(super) fn update(
    open: &mut Open,
    verdict: &Verdict,
    place: &Place<'_>,
    changes: &mut Vec<Incident>,
) {
    let time_ms = verdict.time_ms;
    open.weigh(time_ms);
    let mut news = Vec::new();
    if let Some(took_over) = follow(open, time_ms, place) {
        news.push(took_over);
    }
    if open.reached == State::Notified {
        place.desk.attend(&place.owner.host, &open.key, time_ms, place.attended_ms(time_ms));
    }
    let just_now = changes.iter().any(|change| change.state == State::Notified);
    if just_now || open.told.size <= 0.0 {
        open.tell(time_ms); // the call itself, or state of an older version
    } else if open.state == State::Notified && time_ms - open.told.time_ms >= GAP_MS {
        news.extend(open.is_new());
        news.extend(place.desk.letters(&open.key).into_iter().map(|letter| open.read(letter)));
    }
    let stands = matches!(open.state, State::Confirmed | State::Notified);
    if stands && !open.offered && time_ms - open.since_ms >= STILL_MS {
        open.offered = true;
        news.push(open.offer());
    }
    if !news.is_empty() {
        open.tell(time_ms);
        changes.push(open.updated(time_ms, news.join("; "), place.owner));
    }
}

/// Of one that joined another: tells that one when this becomes worse, and takes its place when it is long over.
fn follow(open: &mut Open, time_ms: i64, place: &Place<'_>) -> Option<String> {
    if open.state != State::Confirmed {
        return None;
    }
    let told_of = open.told_of(place.owner);
    let Call::Joined { head, severity } = &mut open.call else { return None };
    let asking = Asking {
        host: &place.owner.host,
        key: &open.key,
        time_ms,
        near_ms: place.near_ms(),
        severity: open.severity,
        user: open.extent.user,
        what: &told_of,
    };
    match place.desk.follow(head, &asking, place.attended_ms(time_ms)) {
        Head::There => {
            if open.severity > *severity {
                *severity = open.severity;
                let (key, what) = (open.key.clone(), told_of);
                place.desk.tell(head, Letter { key, severity: *severity, what });
            }
            None
        }
        Head::Other(other) => {
            *head = other;
            None
        }
        Head::Yours => {
            let news = format!("it goes on, and {head}, which it had joined, is over");
            open.call = Call::Made { joined: Some(std::mem::take(head)) };
            (open.state, open.reached) = (State::Notified, State::Notified);
            Some(news)
        }
    }
}

impl Open {
    pub(super) fn tell(&mut self, time_ms: i64) {
        // All that were ever told: two that take turns at the head are no news.
        let mut features = std::mem::take(&mut self.told.features);
        for one in self.contributions.iter().take(NAMED) {
            if !features.contains(&one.feature) {
                features.push(one.feature.clone());
            }
        }
        let (severity, size, user) = (self.severity, self.extent.size, self.extent.user);
        self.told = Told { time_ms, severity, size, features, user };
    }

    /// What has changed materially since it was last told.
    fn is_new(&self) -> Vec<String> {
        let told = &self.told;
        let mut news = Vec::new();
        if self.severity > told.severity {
            news.push(format!("now {}, was {}", self.severity.word(), told.severity.word()));
        }
        if self.extent.user && !told.user {
            news.push("users are hit by now".to_owned());
        }
        if let Some(first) = self.contributions.first()
            && !told.features.contains(&first.feature)
        {
            news.push(format!("{} leads now", first.feature));
        }
        // The size of a silence is its length.
        let size = self.extent.size;
        if !self.is_silence() && size >= FACTOR * told.size {
            news.push(format!("{size:.1} times its boundary, was {:.1}", told.size));
        }
        news
    }

    /// Another incident of the host is part of this one from now on, or has become worse.
    fn read(&mut self, letter: Letter) -> String {
        let Letter { key, severity, what } = letter;
        let worse = if severity > self.severity { " (worse than this)" } else { "" };
        self.severity = self.severity.max(severity);
        format!("{key} is part of it: {}{worse}: {what}", severity.word())
    }

    fn offer(&self) -> String {
        let hours = STILL_MS / 3_600_000;
        let key = &self.key;
        if self.is_silence() {
            return format!(
                "silent for {hours} h; if that is as it should be: sentinelops accept {key}"
            );
        }
        format!(
            "it has lasted {hours} h; if this is the new normal: sentinelops accept {key} \
             (after 6 h it is taken as that by itself)"
        )
    }
}
