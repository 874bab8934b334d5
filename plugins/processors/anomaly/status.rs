//! What `status` and the page show of a detector. No decision is made here.

use serde_json::{Value, json};

use super::group::{Group, Shared, Training};
use super::verdict::{FOREST, GUARD};

/// One group: its state, models, signals with value, expected and band, and its open incident.
pub(super) fn group(group: &Group, shared: &Shared) -> Value {
    let last = group.last.as_ref();
    let needed = shared.options.min_frames as u64;
    let missing = needed.saturating_sub(group.learnt_frames);
    let state = match (&group.used, last) {
        (_, Some(last)) if last.blind => "blind",
        (Some(_), _) => "ready",
        (None, _) => "learning",
    };
    let ready_in = group.used.is_none().then(|| {
        (missing as i64 + super::group::EFFECT_FRAMES) * shared.options.interval_ms / 1000
    });
    json!({
        "group": group.owner.group,
        "labels": group.labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
        "history": group.history_name,
        "state": state,
        "frames": group.learnt_frames,
        "frames_needed": needed,
        "ready_in_s": ready_in,
        "scored_frames": group.scored_frames,
        "last_frame_ms": (group.last_ms > i64::MIN).then_some(group.last_ms),
        "training": matches!(group.training, Training::Running { .. }),
        "training_refused": group.refused,
        "model": group.used.as_ref().map(|used| json!({
            "since_ms": used.since_ms,
            "frames": used.model.frames,
            "from_ms": used.model.from_ms,
            "upto_ms": used.model.upto_ms,
        })),
        "score": last.and_then(|last| last.score),
        "models": models(group),
        "signals": signals(group, shared),
        "incidents": group.incidents,
        "incident": group.incident.as_ref().map(|open| json!({
            "key": open.key,
            "state": open.state,
            "started_ms": open.started_ms,
        })),
    })
}

fn models(group: &Group) -> Value {
    let (Some(used), Some(last)) = (&group.used, &group.last) else { return json!([]) };
    json!([
        { "name": FOREST, "score": last.forest, "boundary": used.forest.bound() },
        { "name": GUARD, "score": last.robust_z, "boundary": used.robust_z.bound() },
    ])
}

fn signals(group: &Group, shared: &Shared) -> Value {
    let Some(last) = &group.last else { return json!([]) };
    let rows = shared.signals.signals.iter().zip(&last.measures);
    // JSON writes what is not finite as null.
    rows.filter(|(_, one)| one.value.is_finite() || one.expected.is_finite())
        .map(|(signal, one)| {
            json!({
                "name": signal.name,
                "value": one.value,
                "expected": one.expected,
                "lower": one.lower,
                "upper": one.upper,
                "score": one.score,
            })
        })
        .collect()
}
