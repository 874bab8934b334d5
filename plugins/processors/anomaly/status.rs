//! What `status` and the page show of a detector. No decision is made here.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::group::{EFFECT_FRAMES, Group, Shared, Training};
use super::joint::NAMES;
use super::series::GroupKey;
use super::treat::Measure;
use super::verdict::{DRIFT, GUARD};

/// What a group's signals are up to now, in a frame that is not closed yet.
pub(super) struct Present {
    /// Of the newest sample.
    pub time_ms: Option<i64>,
    /// One a signal; NaN where nothing came.
    pub values: Vec<f64>,
}

/// Groups shown at most.
const SHOWN: usize = 64;

/// The places of the groups that are shown: of many those with an incident, and those with the highest scores.
pub(super) fn shown(groups: &[Group], all: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = (0..all).collect();
    if all > SHOWN {
        let interest = |at: &usize| {
            let Some(group) = groups.get(*at) else { return (false, f64::NEG_INFINITY) };
            let score = group.last.as_ref().and_then(|last| last.score);
            (group.incident.is_some(), score.unwrap_or(f64::NEG_INFINITY))
        };
        shown.sort_by(|a, b| {
            let (a, b) = (interest(a), interest(b));
            b.0.cmp(&a.0).then(b.1.total_cmp(&a.1))
        });
        shown.truncate(SHOWN);
        shown.sort_unstable();
    }
    shown
}

/// A group that has made no frame yet: what its signals are up to now.
pub(super) fn starting(key: &GroupKey, present: &Present, shared: &Shared) -> Value {
    let measures: Vec<Measure> = present.values.iter().copied().map(Measure::unknown).collect();
    let needed = shared.options.min_frames as u64;
    json!({
        "group": key.name,
        "labels": labels(&key.labels),
        "state": "learning",
        "frames": 0,
        "frames_needed": needed,
        "ready_in_s": ready_in_s(needed, shared),
        "scored_frames": 0,
        "time_ms": present.time_ms,
        "signals": signals(&measures, shared),
    })
}

/// One group: its state, models, signals with value, expected and band, and its open incident. The signals are those of
/// the last frame, or before there is one, what they are up to now.
pub(super) fn group(group: &Group, present: &Present, shared: &Shared) -> Value {
    let last = group.last.as_ref();
    let needed = shared.options.min_frames as u64;
    let missing = needed.saturating_sub(group.learnt_frames);
    let state = match (&group.used, last) {
        (_, Some(last)) if last.blind && group.awake => "blind",
        (Some(_), _) => "ready",
        (None, _) => "learning",
    };
    let ready_in = group.used.is_none().then(|| ready_in_s(missing, shared));
    let shown = last.filter(|_| group.awake);
    let time_ms = if shown.is_some() { Some(group.last_ms) } else { present.time_ms };
    let signals = match shown {
        Some(last) => signals(&last.measures, shared),
        None => signals(
            &group.measure(present.time_ms.unwrap_or(group.last_ms), &present.values, shared),
            shared,
        ),
    };
    json!({
        "group": group.owner.group,
        "labels": labels(&group.labels),
        "history": group.history_name,
        "state": state,
        "frames": group.learnt_frames,
        "frames_needed": needed,
        "ready_in_s": ready_in,
        "scored_frames": group.scored_frames,
        "time_ms": time_ms,
        "training": matches!(group.training, Training::Running { .. }),
        "training_refused": group.refused,
        "training_due_ms": group.due_ms(),
        "model": group.used.as_ref().map(|used| json!({
            "since_ms": used.since_ms,
            "frames": used.model.frames,
            "from_ms": used.model.from_ms,
            "upto_ms": used.model.upto_ms,
            "tier": used.model.tier,
        })),
        "score": last.and_then(|last| last.score),
        "models": models(group),
        "signals": signals,
        "incidents": group.incidents,
        "incident": group.incident.as_ref().map(|open| json!({
            "key": open.key,
            "state": open.state,
            "started_ms": open.started_ms,
        })),
    })
}

fn labels(labels: &[(String, String)]) -> BTreeMap<&str, &str> {
    labels.iter().map(|(name, value)| (&**name, &**value)).collect()
}

fn ready_in_s(missing_frames: u64, shared: &Shared) -> i64 {
    (missing_frames as i64 + EFFECT_FRAMES) * shared.options.interval_ms / 1000
}

fn models(group: &Group) -> Value {
    let (Some(used), Some(last)) = (&group.used, &group.last) else { return json!([]) };
    let model = |name: &str, score: f64, boundary: f64| json!({ "name": name, "score": score, "boundary": boundary });
    let joint = NAMES.iter().zip(last.joint).zip(&used.boundaries.joint);
    let mut models: Vec<Value> =
        joint.map(|((name, score), boundary)| model(name, score, boundary.bound())).collect();
    models.push(model(GUARD, last.own.robust_z, used.boundaries.robust_z.bound()));
    models.push(model(DRIFT, last.own.cusum, 1.0));
    Value::Array(models)
}

fn signals(measures: &[Measure], shared: &Shared) -> Value {
    let rows = shared.signals.signals.iter().zip(measures);
    // JSON writes what is not finite as null.
    rows.filter(|(_, one)| one.value.is_finite() || one.expected.is_finite())
        .map(|(signal, one)| {
            json!({
                "name": signal.name,
                "unit": signal.unit.symbol(),
                "value": one.value,
                "expected": one.expected,
                "lower": one.lower,
                "upper": one.upper,
                "score": one.score,
            })
        })
        .collect()
}
