//! The sentence a person on call reads: where, what is hit, what is usual, since when, where it goes, what it is made of, what
//! changed just before, and what is normal. Every part may be missing.
//!
//! "web01 nginx: 412 of 5,480 requests failed (7.5 %, usual at most 1.3 %) since 14:03, still rising; 96 % are 502 on
//! /api/cart; first suspect: app.service restarted 14:02:41; traffic and latency normal". A suspect, never a cause.

use std::fmt::Write as _;

use sentinel_contract::Incident;
use sentinel_contract::incident::{Contribution, Direction, HostChange, Part, State, Tier, Trend};

use super::impact::Sum;
use super::signals::{Aggregate, Signal, Signals, Treatment};
use super::unit::Unit;
use super::words::{hour, length, list, local, per_frame, plain, subject, thousands};

/// Counted in each frame anew: who is there for ten frames is not ten.
const DISTINCT: [&str; 2] = ["sessions", "clients"];
/// Subjects named as normal.
const NORMAL: usize = 5;
/// A part of the breakdown is told in the sentence from here on.
const TOLD: f64 = 0.5;
/// A signal that changed by fewer of its usual movements is no suspect to name.
const TELLING: f64 = 2.0;
/// Letters of a host change in the sentence.
const LONGEST: usize = 100;

/// What the sentence is made of, beside what the incident has already.
pub(super) struct Facts<'a> {
    /// The contribution that leads; none for a combination, or a source that is silent.
    pub lead: Option<Lead<'a>>,
    /// What to say when nothing leads.
    pub what: &'a str,
    /// Signals of which it is known what is usual.
    pub known: &'a [&'a str],
    /// When the usual is usual: "on Tuesdays at 14:00". Empty when it is measured against the last hours.
    pub usual_when: &'a str,
    pub lasted_ms: i64,
    pub interval_ms: i64,
}

/// The signal that says what is hit.
#[derive(Clone, Copy)]
pub(super) struct Lead<'a> {
    pub one: &'a Contribution,
    pub at: usize,
    pub signal: &'a Signal,
    /// It counts something: its values of several frames add up.
    pub adds_up: bool,
    pub sum: Sum,
}

/// The first contribution outside its band (within it only when all are); of its subject rather the rate, because a share
/// of requests says more than a number.
pub(super) fn lead<'a>(
    contributions: &'a [Contribution],
    signals: &'a Signals,
    sum: impl Fn(usize) -> Sum,
) -> Option<Lead<'a>> {
    let found = |one: &'a Contribution| {
        let at = signals.index_of(&one.feature)?;
        let signal = &signals.signals[at];
        let summed = signals.columns[signal.column].over_time == Aggregate::Sum;
        let distinct = DISTINCT.contains(&&*signal.name);
        let adds_up =
            summed && !distinct && signal.over.is_none() && signal.treatment != Treatment::Rate;
        Some(Lead { one, at, signal, adds_up, sum: sum(at) })
    };
    let is_outside = |one: &&Contribution| one.value > one.upper || one.value < one.lower;
    let first = contributions.iter().find(is_outside).or(contributions.first()).and_then(found)?;
    let of_subject = |lead: &Lead<'_>| {
        lead.signal.treatment == Treatment::Rate
            && (is_outside(&lead.one) || !is_outside(&first.one))
            && lead.sum.volume > 0.0
            && subject(&lead.one.feature) == subject(&first.one.feature)
    };
    contributions.iter().filter_map(found).find(of_subject).or(Some(first))
}

/// What is hit: "412 of 5,480 requests failed", "18,204 requests, 14,020 more than usual", "cpu busy up to 97 %".
pub(super) fn hit(lead: &Lead<'_>, signals: &Signals) -> String {
    let (signal, sum, name) = (lead.signal, lead.sum, plain(&lead.signal.name));
    if signal.treatment == Treatment::Rate && sum.volume > 0.0 {
        let of = signal.volume.map_or("", |at| &signals.signals[at].name);
        let what = match signal.name.as_str() {
            "error_rate" => "failed".to_owned(),
            "error_share" => "are errors".to_owned(),
            _ => format!("are {name}"),
        };
        let (some, all) = (thousands(sum.events), thousands(sum.volume));
        return format!("{some} of {all} {} {what}", plain(of));
    }
    if lead.adds_up && sum.frames > 0 {
        let shown = |value: f64| match signal.unit {
            Unit::Number => thousands(value),
            unit => unit.shown(value),
        };
        let mut text = match (signal.unit, signal.name.as_str()) {
            (Unit::Number, _) => format!("{} {name}", thousands(sum.values)),
            (_, "bytes") => format!("{} sent", shown(sum.values)),
            _ => format!("{name} {}", shown(sum.values)),
        };
        if sum.known == sum.frames {
            let off = sum.values - sum.expected;
            let side = if off < 0.0 { "fewer" } else { "more" };
            let _infallible = write!(text, ", {} {side} than usual", shown(off.abs()));
        }
        return text;
    }
    let down = lead.one.direction == Direction::Down;
    let (value, side) = match (sum.frames, down) {
        (0, _) => (lead.one.value, ""),
        (1, _) => (sum.high, ""),
        (_, false) => (sum.high, "up to "),
        (_, true) => (sum.low, "down to "),
    };
    format!("{name} {side}{}", signal.unit.shown(value))
}

/// "at most 1.3 %"; empty when it is not known.
fn bound(lead: &Lead<'_>, facts: &Facts<'_>) -> String {
    let one = lead.one;
    if one.upper <= one.lower || (one.lower..=one.upper).contains(&one.value) {
        return String::new(); // not known, or nothing that it is beyond
    }
    let shown = |value| lead.signal.unit.shown(value);
    let mut text = match one.direction {
        Direction::Up => format!("at most {}", shown(one.upper)),
        Direction::Down => format!("at least {}", shown(one.lower)),
    };
    if lead.adds_up {
        let _infallible = write!(text, " {}", per_frame(facts.interval_ms));
    }
    if !facts.usual_when.is_empty() {
        let _infallible = write!(text, " {}", facts.usual_when);
    }
    text
}

/// What is usual, with the signal's name.
pub(super) fn usual(facts: &Facts<'_>) -> String {
    let Some(lead) = &facts.lead else { return String::new() };
    match bound(lead, facts) {
        text if text.is_empty() => text,
        text => format!("{} {text}", plain(&lead.signal.name)),
    }
}

/// The whole sentence. `incident` has everything but its message.
pub(super) fn sentence(incident: &Incident, facts: &Facts<'_>) -> String {
    let mut text = incident.host.clone();
    if !incident.group.is_empty() {
        let _infallible = write!(text, " {}", incident.group);
    }
    text.push_str(": ");
    let over = incident.state.is_end();
    match incident.state {
        State::Resolved => {
            let _infallible = write!(text, "over after {}: ", length(facts.lasted_ms));
        }
        State::Accepted => text.push_str("taken as the new normal: "),
        State::Expired => text.push_str("no longer seen: "),
        _ => (),
    }
    text.push_str(if incident.hit.is_empty() { facts.what } else { &incident.hit });
    if let Some(lead) = &facts.lead {
        let mut aside = Vec::new();
        if lead.signal.treatment == Treatment::Rate && lead.sum.volume > 0.0 {
            let share = lead.sum.events / lead.sum.volume;
            aside.push(Unit::Share.shown(share));
            if share <= lead.one.upper && lead.one.value > lead.one.upper {
                aside.push(format!("at its worst {}", Unit::Share.shown(lead.one.value)));
            }
        }
        let bound = bound(lead, facts);
        if !bound.is_empty() {
            aside.push(format!("usual {bound}"));
        }
        if !aside.is_empty() {
            let _infallible = write!(text, " ({})", aside.join(", "));
        }
    }
    let _infallible = write!(text, " since {}", hour(incident.started_ms, incident.time_ms));
    if let Some(trend) = incident.trend.filter(|_| !over) {
        let down = facts.lead.is_some_and(|lead| lead.one.direction == Direction::Down);
        text.push_str(match trend {
            Trend::Rising if down => ", still falling",
            Trend::Rising => ", still rising",
            Trend::Steady => ", steady",
            Trend::Recovering => ", recovering",
        });
    }
    let more = [
        largest(&incident.breakdown),
        suspect(incident, facts).map(|words| format!("first suspect: {words}")),
        normal(incident, facts),
        young(incident),
    ];
    for part in more.into_iter().flatten() {
        text.push_str("; ");
        text.push_str(&part);
    }
    text
}

/// A model that knows no hours yet may take an hour for a fault.
fn young(incident: &Incident) -> Option<String> {
    (incident.tier == Some(Tier::Level)).then(|| "no daily rhythm known yet".to_owned())
}

/// The largest part, when it is most of it.
fn largest(parts: &[Part]) -> Option<String> {
    // In the order in which they stand: first what says most.
    let one = parts.iter().find(|part| part.share >= TOLD)?;
    let (share, value) = (Unit::Share.shown((one.share * 100.0).floor() / 100.0), &one.value);
    Some(match one.dimension.as_str() {
        "client" | "unit" => format!("{share} from {value}"),
        "path" => format!("{share} on {value}"),
        _ => format!("{share} are {value}"),
    })
}

/// What changed on the host last before it began; else the signal of another subject that changed most.
pub(super) fn first_change(incident: &Incident) -> Option<&HostChange> {
    let before = |patterns: bool| {
        let all = incident.changes.iter();
        all.filter(|change| change.time_ms <= incident.started_ms)
            .filter(|change| (change.kind == "new_pattern") == patterns)
            .max_by_key(|change| change.time_ms)
    };
    before(false).or_else(|| before(true)) // a new template is rather an effect
}

fn suspect(incident: &Incident, facts: &Facts<'_>) -> Option<String> {
    if let Some(change) = first_change(incident) {
        let mut text: String = change.text.chars().take(LONGEST).collect();
        if text.len() < change.text.len() {
            text.push_str("...");
        }
        return Some(format!("{text} {}", local(change.time_ms, "%H:%M:%S")));
    }
    let lead = facts.lead.map(|lead| subject(&lead.one.feature));
    let other = |feature: &str| lead.as_deref() != Some(&subject(feature));
    let is_normal = |feature: &String| incident.normal.contains(feature);
    let mut suspects = incident.suspects.iter();
    let one = suspects
        .find(|one| one.change >= TELLING && other(&one.feature) && !is_normal(&one.feature))?;
    let times = thousands(one.change);
    Some(format!("{}, moved {times} times as far as it usually does", plain(&one.feature)))
}

/// The subjects of which every known signal is normal.
fn normal(incident: &Incident, facts: &Facts<'_>) -> Option<String> {
    let lead = facts.lead.as_ref()?; // of a combination every signal is within its own band
    let is_normal = |name: &&str| incident.normal.iter().any(|one| one == name);
    let off: Vec<String> =
        facts.known.iter().filter(|name| !is_normal(name)).map(|name| subject(name)).collect();
    let lead = subject(&lead.one.feature);
    let mut calm: Vec<String> = Vec::new();
    for name in facts.known.iter().filter(|name| is_normal(name)) {
        let word = subject(name);
        if !off.contains(&word) && lead != word && !calm.contains(&word) {
            calm.push(word);
        }
    }
    calm.truncate(NORMAL);
    (!calm.is_empty()).then(|| format!("{} normal", list(&calm)))
}
