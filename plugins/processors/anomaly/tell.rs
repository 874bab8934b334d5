//! Fills what a person on call wants to know into every change of an incident: what is hit, where it goes, what is usual, what
//! it is made of, the last one like it, how much was seen, and how to go on. `sentence` makes the message of it.

use std::collections::VecDeque;

use sentinel_contract::Incident;
use sentinel_contract::history::Frame;
use sentinel_contract::incident::{Coverage, Direction, Similar, State, Tier, Total, Trend};
use serde::{Deserialize, Serialize};

use super::group::{Group, Shared};
use super::impact::{Impact, Seen};
use super::incident::{End, Verdict};
use super::next;
use super::sentence::{self, Facts, Lead};
use super::signals::{Role, Treatment};
use super::treat::Measure;
use super::treatment::Unit;
use super::words::{local, subject};

/// Ended incidents remembered of a group.
const ENDED: usize = 32;
/// Frames that are compared with as many before them.
const TREND_FRAMES: usize = 3;
/// The distance from what is usual has changed, when it has by this share.
const TREND_SHARE: f64 = 0.2;

/// An incident that is over, for the next one like it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Ended {
    /// The signal that led.
    feature: String,
    told: Similar,
}

impl Group {
    /// Takes a frame into what its incident has hit, and tells the changes of state of that frame.
    pub(super) fn tell(
        &mut self,
        verdict: &Verdict,
        values: &[f64],
        measures: &[Measure],
        (changes, end): (&mut [Incident], Option<End>),
        shared: &Shared,
    ) {
        if end == Some(End::Expired) {
            // Nothing of it is in this frame.
            for change in changes {
                let lead = self.describe(change, shared);
                self.remember_end(change, lead);
            }
            return;
        }
        let open = self.incident.as_ref().or(self.past.as_ref().filter(|_| end.is_some()));
        let (key, since_ms) = match (open, changes.last()) {
            (_, Some(change)) if end == Some(End::Accepted) => (change.key.clone(), None),
            (Some(open), _) => (open.key.clone(), Some(open.since_ms)),
            (None, _) => return,
        };
        let mut impact = self.impact.take().filter(|impact| impact.key == key);
        let seen = Seen {
            time_ms: verdict.time_ms,
            values,
            measures,
            above: verdict.above,
            score: verdict.score,
            what: &verdict.what,
            seasonal: &|at| self.is_seasonal(at, verdict.time_ms, values, measures, shared),
        };
        let from_ms = verdict.time_ms - shared.options.interval_ms;
        let evidence = shared.evidence.between(&self.labels, from_ms, verdict.time_ms);
        let now = impact.get_or_insert_with(|| Impact::new(&key));
        now.take(&seen, since_ms, &shared.signals.signals, evidence);
        self.impact = impact;
        for change in changes {
            let lead = self.describe(change, shared);
            if change.total.is_some() && end != Some(End::Unconfirmed) {
                self.remember_end(change, lead);
            }
        }
    }

    /// Fills one change, and returns the signal that leads. What is not of the incident that was counted keeps its own words.
    pub(super) fn describe(&self, change: &mut Incident, shared: &Shared) -> Option<String> {
        change.tier = self.tier();
        shared.changes.join(change);
        let impact = self.impact.as_ref().filter(|impact| impact.key == change.key)?;
        let signals = &shared.signals;
        let contributions = std::mem::take(&mut change.contributions);
        let lead = sentence::lead(&contributions, signals, |at| impact.of(at));
        let used = self.used.as_ref();
        let known: Vec<&str> = (shared.names.iter())
            .zip(used.map_or(&[][..], |used| &used.model.learned))
            .filter(|(_, learned)| learned.is_some())
            .map(|(name, _)| name.as_str())
            .collect();
        let interval_ms = shared.options.interval_ms;
        let usual_when = match (&lead, change.tier) {
            (Some(lead), Some(Tier::Daily)) if impact.seasonal.contains(&lead.at) => {
                local(impact.worst_ms, "at %H:00")
            }
            (Some(lead), Some(Tier::Weekly)) if impact.seasonal.contains(&lead.at) => {
                local(impact.worst_ms, "on %As at %H:00")
            }
            _ => String::new(),
        };
        let facts = Facts {
            lead,
            what: &impact.what,
            known: &known,
            usual_when: &usual_when,
            lasted_ms: (impact.last_ms - change.started_ms + interval_ms).max(0),
            interval_ms,
        };
        change.hit = match &facts.lead {
            Some(lead) => sentence::hit(lead, signals),
            None => impact.what.clone(),
        };
        change.trend = trend(change.state, facts.lead.as_ref(), &self.recent);
        change.usual = sentence::usual(&facts);
        if let Some(lead) = &facts.lead {
            let failed = is_about_failures(lead);
            if failed || is_about_requests(lead, &change.normal) {
                change.breakdown = impact.parts(failed);
            }
            if failed {
                change.sample.clone_from(&impact.sample);
            }
            change.similar = self.similar(&lead.one.feature, &change.key);
        }
        change.coverage = Some(Coverage {
            known: known.len(),
            signals: shared.names.len(),
            trained_frames: used.map_or(0, |used| used.model.frames),
        });
        if change.state.is_end() {
            change.total = Some(Total { lasted_ms: facts.lasted_ms, hit: change.hit.clone() });
        }
        change.next = next::commands(change, facts.lead.as_ref(), interval_ms);
        change.message = sentence::sentence(change, &facts);
        let feature = facts.lead.map(|lead| lead.one.feature.clone());
        change.contributions = contributions;
        feature
    }

    /// Whether a signal was measured against what is usual at this hour, rather than of late.
    fn is_seasonal(
        &self,
        at: usize,
        time_ms: i64,
        values: &[f64],
        measures: &[Measure],
        shared: &Shared,
    ) -> bool {
        let learned = self.used.as_ref().and_then(|used| used.model.learned[at].as_ref());
        let usual =
            learned.and_then(|learned| Some((learned, learned.usual_at(time_ms as f64 / 1000.0)?)));
        usual.is_some_and(|(learned, usual)| {
            let signal = &shared.signals.signals[at];
            let volume = signal.volume.map_or(f64::NAN, |volume| values[volume]);
            // As `measure` makes it, to the last bit.
            Unit::of(signal, learned.center, volume).undo(usual) == measures[at].expected
        })
    }

    /// The last one that this signal led.
    fn similar(&self, feature: &str, key: &str) -> Option<Similar> {
        let ended = self.ended.iter().rev();
        let mut alike = ended.filter(|one| one.feature == feature && one.told.key != key);
        alike.next().map(|one| one.told.clone())
    }

    /// Remembers an incident that is over.
    pub(super) fn remember_end(&mut self, change: &Incident, lead: Option<String>) {
        let (Some(total), Some(feature)) = (&change.total, lead) else { return };
        self.ended.retain(|one| one.told.key != change.key); // it came back
        if self.ended.len() == ENDED {
            self.ended.remove(0);
        }
        let ended = match change.state {
            State::Accepted => "accepted",
            State::Expired => "expired",
            _ => "resolved",
        };
        let told = Similar {
            key: change.key.clone(),
            started_ms: change.started_ms,
            lasted_ms: total.lasted_ms,
            ended: ended.to_owned(),
            hit: total.hit.clone(),
        };
        self.ended.push(Ended { feature, told });
    }
}

/// Whether the signal is about what failed, rather than about how much there was.
fn is_about_failures(lead: &Lead<'_>) -> bool {
    lead.signal.role != Role::Traffic
        && (lead.signal.treatment == Treatment::Rate || lead.signal.name.contains("error"))
}

/// Whether it is about who asks: whose bytes, latency and client errors they are is not known. More bytes of more requests are
/// those requests'.
fn is_about_requests(lead: &Lead<'_>, normal: &[String]) -> bool {
    let name = &lead.signal.name;
    subject(name) == "traffic" && (name != "bytes" || !normal.iter().any(|one| one == "requests"))
}

/// The leading signal's distance from what is usual in the last frames, against the frames before them; `None` when too few
/// are known.
fn trend(state: State, lead: Option<&Lead<'_>>, recent: &VecDeque<Frame>) -> Option<Trend> {
    if matches!(state, State::Recovering | State::Resolved) {
        return Some(Trend::Recovering);
    }
    let lead = lead?;
    let sign = if lead.one.direction == Direction::Down { -1.0 } else { 1.0 };
    let far = |frame: &Frame| sign * (frame.values[lead.at] - lead.one.expected);
    let far: Vec<f64> =
        recent.iter().rev().take(2 * TREND_FRAMES).map(far).filter(|far| far.is_finite()).collect();
    let half = far.len() / 2;
    if half == 0 {
        return None;
    }
    let mean = |values: &[f64]| values.iter().map(|far| far.max(0.0)).sum::<f64>() / half as f64;
    let (last, before) = (mean(&far[..half]), mean(&far[half..2 * half]));
    let least = TREND_SHARE * last.max(before);
    Some(match last - before {
        change if change > least => Trend::Rising,
        change if change < -least => Trend::Recovering,
        _ => Trend::Steady,
    })
}
