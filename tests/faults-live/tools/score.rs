//! What the agent said against what was done: recall, precision, the name given, the delay, and quiet time.
//!
//! A fault is found when an incident is first notified within it or `GRACE` after its end; a notification is right when it lies
//! within a fault or `SLACK` after one, because ending trouble is a change too. Intervals are Wilson's, 95 % (Wilson,
//! "Probable inference", JASA 1927). Confirmed incidents are scored in the same way beside the notified ones: they are what the
//! page shows, and all that there is of trouble in traffic alone, about which nobody is called (DESIGN section 6).
//!
//! Each timeline is scored with what its own agent said: an incident of the host's is right only for a fault of the host, however
//! well it fits a fault of the logs that was under way.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::incidents::Arrival;
use crate::kinds::{Kind, Timeline};
use crate::truth::{Fault, Truth};

/// Milliseconds of a frame.
const FRAME: i64 = 1000;
/// A few frames: confirmation may end just after a short fault has.
const GRACE: i64 = 5 * FRAME;
/// Recovery: averages over ten seconds (pressure) have to run out.
const SLACK: i64 = 10 * FRAME;
/// The normal distribution's, for 95 %.
const Z: f64 = 1.959_963_985;
/// The process that injectors are.
const PROCESS: &str = "sentinel-faults";

/// The first time that an incident reached a state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    /// As the agent says: the end of the frame.
    pub(crate) time_ms: i64,
    /// When it could be read.
    pub(crate) arrived_ms: i64,
    pub(crate) detector: String,
    pub(crate) message: String,
    pub(crate) top: Option<String>,
    pub(crate) suspect: Option<String>,
}

/// One timeline: what was done, and what its agent said.
#[derive(Debug)]
pub(crate) struct Observed {
    pub(crate) timeline: Timeline,
    pub(crate) truth: Vec<Truth>,
    pub(crate) said: Said,
}

/// All incidents, by key: when each was first confirmed or more, and when first notified.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) confirmed: Vec<Reached>,
    pub(crate) notified: Vec<Reached>,
}

/// So many of so many, with Wilson's interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Share {
    pub(crate) hits: usize,
    pub(crate) of: usize,
    /// NaN (null in JSON) of none.
    pub(crate) value: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

impl Share {
    pub(crate) fn new(hits: usize, of: usize) -> Self {
        let (n, p) = (of as f64, hits as f64 / of as f64);
        let (middle, scale) = (p + Z * Z / (2.0 * n), 1.0 + Z * Z / n);
        let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
        let ends = ((middle - half) / scale, (middle + half) / scale);
        Share { hits, of, value: p, lower: ends.0.max(0.0), upper: ends.1.min(1.0) }
    }
}

/// One fault and what became of it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) fault: Fault,
    pub(crate) found: bool,
    pub(crate) confirmed: bool,
    /// Of the first notification; none when there was none.
    pub(crate) named: Option<bool>,
    pub(crate) top: Option<String>,
    pub(crate) suspect: Option<String>,
    pub(crate) detector: Option<String>,
    pub(crate) message: Option<String>,
    /// From the onset to the end of the frame that was notified, in frames.
    pub(crate) delay_frames: Option<f64>,
    /// From the onset until it could be read.
    pub(crate) arrival_seconds: Option<f64>,
    pub(crate) notifications: usize,
    /// Of the first confirmed incident, called or not.
    pub(crate) confirmed_named: Option<bool>,
    pub(crate) confirmed_delay_frames: Option<f64>,
}

/// Of one kind, or of all.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) recall: Share,
    pub(crate) confirmed: Share,
    /// Of those found.
    pub(crate) named: Share,
    pub(crate) median_delay_frames: f64,
    pub(crate) median_arrival_seconds: f64,
    pub(crate) notifications: usize,
    /// Of the confirmed incidents.
    pub(crate) confirmed_named: Share,
    pub(crate) confirmed_delay_frames: f64,
}

/// The whole.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) rows: Vec<Row>,
    pub(crate) all: Row,
    pub(crate) precision: Share,
    /// Of each timeline.
    pub(crate) precisions: Vec<(&'static str, Share)>,
    /// Of the confirmed incidents.
    pub(crate) confirmed_precision: Share,
    pub(crate) quiet_minutes: f64,
    /// Notified while nothing had been done yet.
    pub(crate) quiet_notifications: usize,
    /// What was notified without a fault, quiet time included.
    pub(crate) false_messages: Vec<String>,
    pub(crate) outcomes: Vec<Outcome>,
}

/// Reads a run's folder and scores it, or as much of it as has been.
pub(crate) fn score_folder(folder: &Path) -> Result<Report> {
    let observed = Timeline::ALL.map(|timeline| {
        let folder = folder.join(timeline.name());
        let truth: Vec<Truth> = lines(&folder.join("truth.jsonl"))?;
        let arrivals: Vec<Arrival> = lines(&folder.join("arrivals.jsonl"))?;
        Ok(Observed { timeline, truth, said: said(&arrivals) })
    });
    let observed = observed.into_iter().collect::<Result<Vec<_>>>()?;
    let begun = observed.iter().any(|one| !one.truth.is_empty());
    ensure!(begun, "there is no truth yet: the quiet time is not over");
    Ok(score(observed))
}

fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let parse = |line| serde_json::from_str(line).with_context(|| path.display().to_string());
    text.lines().map(parse).collect()
}

/// The first time of each incident in the states that count.
pub(crate) fn said(arrivals: &[Arrival]) -> Said {
    let mut said = Said::default();
    let mut known: BTreeSet<(String, &str)> = BTreeSet::new();
    for Arrival { arrived_ms, incident } in arrivals {
        let text =
            |name: &str| incident.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let reached = || Reached {
            time_ms: incident.get("time_ms").and_then(Value::as_i64).unwrap_or(*arrived_ms),
            arrived_ms: *arrived_ms,
            detector: text("detector"),
            message: text("message"),
            top: first(incident, "contributions"),
            suspect: first(incident, "suspects"),
        };
        let state = text("state");
        let notified = state == "notified";
        if (notified || state == "confirmed") && known.insert((text("key"), "confirmed")) {
            said.confirmed.push(reached());
        }
        if notified && known.insert((text("key"), "notified")) {
            said.notified.push(reached());
        }
    }
    said
}

/// What the first of a list is called: it is a text, or an object with a name of some kind.
fn first(incident: &Value, list: &str) -> Option<String> {
    let first = incident.get(list)?.as_array()?.first()?;
    let names = ["feature", "signal", "name", "what", "text", "message"];
    let name = names.iter().find_map(|name| first.get(name)?.as_str());
    name.or_else(|| first.as_str()).map(str::to_owned)
}

fn is_right(kind: Kind, name: &str) -> bool {
    let accepted = kind.accepted();
    let plain = name.strip_prefix("log_").unwrap_or(name);
    accepted.features.contains(&plain) || accepted.process && name.contains(PROCESS)
}

/// Scores what was said, each timeline by its own truth.
pub(crate) fn score(observed: Vec<Observed>) -> Report {
    let scored: Vec<Scored> = observed.into_iter().map(score_timeline).collect();
    let sum = |of: &dyn Fn(&Scored) -> usize| scored.iter().map(of).sum::<usize>();
    let precision = Share::new(sum(&|one| one.right.0), sum(&|one| one.right.1));
    let precisions = scored.iter().map(|one| (one.name, Share::new(one.right.0, one.right.1)));
    let precisions = precisions.collect();
    let confirmed = [sum(&|one| one.confirmed.0), sum(&|one| one.confirmed.1)];
    // The same minutes on each: they count once.
    let quiet_ms = scored.iter().map(|one| one.quiet_ms).max().unwrap_or_default();
    let quiet_notifications = sum(&|one| one.quiet_notifications);
    let (mut outcomes, mut false_messages) = (Vec::new(), Vec::new());
    for mut one in scored {
        outcomes.append(&mut one.outcomes);
        false_messages.append(&mut one.false_messages);
    }
    let kinds = Kind::ALL.into_iter();
    let of = |kind: Kind| outcomes.iter().filter(move |one| one.fault.plan.kind == kind);
    let rows = kinds.filter(|kind| of(*kind).next().is_some());
    Report {
        rows: rows.map(|kind| row(kind.name(), &of(kind).collect::<Vec<_>>())).collect(),
        all: row("all", &outcomes.iter().collect::<Vec<_>>()),
        precision,
        precisions,
        confirmed_precision: Share::new(confirmed[0], confirmed[1]),
        quiet_minutes: quiet_ms as f64 / 60_000.0,
        quiet_notifications,
        false_messages,
        outcomes,
    }
}

/// One timeline's part of the report.
struct Scored {
    name: &'static str,
    /// Notifications that were right, of all.
    right: (usize, usize),
    /// The same of confirmed incidents.
    confirmed: (usize, usize),
    quiet_ms: i64,
    quiet_notifications: usize,
    false_messages: Vec<String>,
    outcomes: Vec<Outcome>,
}

fn score_timeline(observed: Observed) -> Scored {
    let Observed { timeline, truth, mut said } = observed;
    if let Some(Truth::Begun { start_ms }) = truth.last() {
        said.notified.retain(|one| one.time_ms < *start_ms);
        said.confirmed.retain(|one| one.time_ms < *start_ms);
    }
    let (mut faults, mut quiet_ms, mut quiet_notifications) = (Vec::new(), 0, 0);
    for truth in &truth {
        match truth {
            Truth::Fault(fault) => faults.push(fault),
            Truth::Begun { .. } => (),
            Truth::Quiet { start_ms, end_ms } => {
                quiet_ms += end_ms - start_ms;
                let within = |one: &&Reached| (*start_ms..=*end_ms).contains(&one.time_ms);
                quiet_notifications += said.notified.iter().filter(within).count();
            }
        }
    }
    let belongs = |one: &Reached| faults.iter().any(|fault| within(fault, one.time_ms, SLACK));
    let (right, wrong): (Vec<_>, Vec<_>) = said.notified.iter().partition(|one| belongs(one));
    let told = |one: &&Reached| format!("{}: {}", one.detector, one.message);
    Scored {
        name: timeline.name(),
        right: (right.len(), said.notified.len()),
        confirmed: (said.confirmed.iter().filter(|one| belongs(one)).count(), said.confirmed.len()),
        quiet_ms,
        quiet_notifications,
        false_messages: wrong.iter().map(told).collect(),
        outcomes: faults.iter().map(|fault| outcome(fault, &said)).collect(),
    }
}

/// A frame that ends here holds some of the fault, or of the time given after it.
fn within(fault: &Fault, time_ms: i64, after: i64) -> bool {
    (fault.onset_ms..=fault.end_ms + after).contains(&time_ms)
}

fn outcome(fault: &Fault, said: &Said) -> Outcome {
    let found = |list: &[Reached]| -> Vec<Reached> {
        list.iter().filter(|one| within(fault, one.time_ms, GRACE)).cloned().collect()
    };
    let (notified, confirmed) = (found(&said.notified), found(&said.confirmed));
    let earliest = |list: &[Reached]| list.iter().min_by_key(|one| one.time_ms).cloned();
    let (first, shown) = (earliest(&notified), earliest(&confirmed));
    let first = first.as_ref();
    let kind = fault.plan.kind;
    let right = |name: &Option<String>| name.as_ref().is_some_and(|name| is_right(kind, name));
    let named = |one: &Reached| right(&one.suspect) || right(&one.top);
    let frames = |one: &Reached| (one.time_ms - fault.onset_ms) as f64 / FRAME as f64;
    Outcome {
        found: first.is_some(),
        confirmed: shown.is_some(),
        named: first.map(named),
        top: first.and_then(|first| first.top.clone()),
        suspect: first.and_then(|first| first.suspect.clone()),
        detector: first.map(|first| first.detector.clone()),
        message: first.map(|first| first.message.clone()),
        delay_frames: first.map(frames),
        arrival_seconds: first.map(|first| (first.arrived_ms - fault.onset_ms) as f64 / 1000.0),
        notifications: notified.len(),
        confirmed_named: shown.as_ref().map(named),
        confirmed_delay_frames: shown.as_ref().map(frames),
        fault: fault.clone(),
    }
}

fn row(name: &str, outcomes: &[&Outcome]) -> Row {
    let count = |test: &dyn Fn(&Outcome) -> bool| outcomes.iter().filter(|one| test(one)).count();
    let (found, confirmed) = (count(&|one| one.found), count(&|one| one.confirmed));
    let values = |value: &dyn Fn(&Outcome) -> Option<f64>| -> f64 {
        median(outcomes.iter().filter_map(|one| value(one)).collect())
    };
    Row {
        name: name.to_owned(),
        recall: Share::new(found, outcomes.len()),
        confirmed: Share::new(confirmed, outcomes.len()),
        named: Share::new(count(&|one| one.named == Some(true)), found),
        median_delay_frames: values(&|one| one.delay_frames),
        median_arrival_seconds: values(&|one| one.arrival_seconds),
        notifications: outcomes.iter().map(|one| one.notifications).sum(),
        confirmed_named: Share::new(count(&|one| one.confirmed_named == Some(true)), confirmed),
        confirmed_delay_frames: values(&|one| one.confirmed_delay_frames),
    }
}

/// NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
