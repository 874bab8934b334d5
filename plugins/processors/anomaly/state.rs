//! The snapshot of a detector: a line that names version and checksum, then JSON.
//!
//! Models, scales, boundaries, levels, open incidents and a training that was under way. Frames are in history and not
//! here. A snapshot of another version, of another set of signals or of another frame interval is refused, and the detector
//! learns anew from history.

use std::ops::Range;

use anyhow::{Context as _, bail, ensure};
use sentinel_contract::Cause;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::accepted::Accepted;
use super::boundaries::{Boundaries, Raw};
use super::commands::Window;
use super::drift::Drift;
use super::frame::{Clock, Held};
use super::group::{Before, Group, InUse, Shared, Training};
use super::impact::Impact;
use super::open::Open;
use super::parts::SavedFrame;
use super::series::GroupKey;
use super::suspects::Tracker;
use super::tell::Ended;
use super::train::Model;
use super::verdict::Memory;
use super::views::Levels;

const VERSION: u32 = 3;
const MAGIC: &str = "sentinelops-anomaly";

#[derive(Serialize, Deserialize)]
pub(super) struct Saved {
    signals: Vec<String>,
    interval_ms: i64,
    /// Maintenance windows begun by command.
    pub(super) windows: Vec<Window>,
    pub(super) groups: Vec<SavedGroup>,
    /// In parts: where the collector stands, and what it holds of the one group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) clock: Option<Clock>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) held: Option<Held>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct SavedGroup {
    name: String,
    labels: Vec<(String, String)>,
    levels: Vec<Levels>,
    /// A snapshot of an older version has none.
    #[serde(default)]
    drifts: Vec<Drift>,
    pub(super) model: Option<(Model, Boundaries, i64)>,
    /// In parts: the boundaries and the use of a model that is a part of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boundaries: Option<(Boundaries, i64)>,
    /// In parts: the last frames, which are else in history.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) recent: Vec<SavedFrame>,
    #[serde(default)]
    pub(super) missing: u32,
    /// When the next model is due, or up to when the one under way is trained.
    due_ms: i64,
    running: bool,
    learnt_frames: u64,
    scored_frames: u64,
    incident: Option<Open>,
    past: Option<Open>,
    memory: Memory,
    tracker: Option<Tracker>,
    /// A snapshot of an older version has neither.
    #[serde(default)]
    impact: Option<Impact>,
    #[serde(default)]
    ended: Vec<Ended>,
    worst: Raw,
    #[serde(default)]
    waiting: Vec<Raw>,
    incidents: u64,
    accepted: bool,
    #[serde(default)]
    accepted_as: Accepted,
    /// Of earlier agents: unknown.
    #[serde(default = "never")]
    accepted_ms: i64,
    #[serde(default)]
    refused: Option<String>,
    excluded: Vec<Range<i64>>,
    spoken: u64,
    zeros: u32,
    last_ms: i64,
    /// For `undo`.
    #[serde(default)]
    before: Option<SavedBefore>,
}

fn never() -> i64 {
    i64::MIN
}

#[derive(Serialize, Deserialize)]
struct SavedBefore {
    at_ms: i64,
    levels: Vec<Levels>,
    model: Option<(Model, Boundaries, i64)>,
}

/// How long a new normal can be taken back; it doubles the state.
pub(super) const UNDO_MS: i64 = 7 * 86_400_000;

/// Writes all groups that have spoken.
pub(super) fn save(groups: &[Group], windows: &[Window], shared: &Shared) -> Option<Vec<u8>> {
    let spoken = groups.iter().filter(|group| group.last_ms > i64::MIN);
    let saved = Saved {
        windows: windows.to_vec(),
        groups: spoken.map(save_group).collect(),
        ..Saved::nothing(shared)
    };
    if saved.groups.is_empty() && windows.is_empty() {
        return None;
    }
    write(&saved)
}

pub(super) fn write(saved: &impl Serialize) -> Option<Vec<u8>> {
    let body = serde_json::to_string(saved)
        .inspect_err(|error| tracing::error!(%error, "cannot write the detector's state"))
        .ok()?;
    let checksum = crc32fast::hash(body.as_bytes());
    Some(format!("{MAGIC} {VERSION} {checksum:08x}\n{body}").into_bytes())
}

impl Saved {
    pub(super) fn nothing(shared: &Shared) -> Saved {
        Saved {
            signals: shared.names.clone(),
            interval_ms: shared.options.interval_ms,
            windows: Vec::new(),
            groups: Vec::new(),
            clock: None,
            held: None,
        }
    }
}

pub(super) fn save_group(group: &Group) -> SavedGroup {
    let (running, due_ms) = match group.training {
        Training::Due { at_ms } => (false, at_ms),
        Training::Running { upto_ms, .. } => (true, upto_ms),
    };
    let model = |used: &InUse| (used.model.clone(), used.boundaries.clone(), used.since_ms);
    let before = group.before.as_ref().filter(|before| group.last_ms - before.at_ms < UNDO_MS);
    let before = before.map(|before| SavedBefore {
        at_ms: before.at_ms,
        levels: before.levels.clone(),
        model: before.used.as_ref().map(model),
    });
    SavedGroup {
        name: group.owner.group.clone(),
        labels: group.labels.clone(),
        levels: group.levels.clone(),
        drifts: group.drifts.clone(),
        model: group.used.as_ref().map(model),
        boundaries: None,
        recent: Vec::new(),
        missing: 0,
        due_ms,
        running,
        learnt_frames: group.learnt_frames,
        scored_frames: group.scored_frames,
        incident: group.incident.clone(),
        past: group.past.clone(),
        memory: group.memory.clone(),
        tracker: group.tracker.clone(),
        impact: group.impact.clone(),
        ended: group.ended.clone(),
        worst: group.worst,
        waiting: group.waiting.clone(),
        incidents: group.incidents,
        accepted: group.accepted.is_some(),
        accepted_as: group.accepted.clone().unwrap_or_default(),
        accepted_ms: group.accepted_ms,
        refused: group.refused.clone(),
        excluded: group.excluded.clone(),
        spoken: group.spoken,
        zeros: group.zeros,
        last_ms: group.last_ms,
        before,
    }
}

/// Reads a snapshot into groups made by `make`. Nothing is half restored.
pub(super) fn restore(
    snapshot: &[u8],
    shared: &Shared,
    mut make: impl FnMut(&GroupKey) -> Group,
) -> Result<(Vec<Group>, Vec<Window>), Cause> {
    let saved = read_of(snapshot, shared)?;
    let groups = saved.groups.into_iter().map(|saved| restore_group(saved, &[], shared, &mut make));
    Ok((groups.collect::<Result<_, _>>()?, saved.windows))
}

pub(super) fn read_of(snapshot: &[u8], shared: &Shared) -> Result<Saved, Cause> {
    let saved: Saved = read(snapshot)?;
    if saved.signals != shared.names || saved.interval_ms != shared.options.interval_ms {
        bail!("the state is of other signals or another frame interval");
    }
    Ok(saved)
}

pub(super) fn read<T: DeserializeOwned>(snapshot: &[u8]) -> Result<T, Cause> {
    let text = std::str::from_utf8(snapshot).context("the state is not text")?;
    let (head, body) = text.split_once('\n').context("the state has no header")?;
    let mut words = head.split(' ');
    ensure!(words.next() == Some(MAGIC), "this is not the state of a detector");
    let version = words.next().and_then(|word| word.parse::<u32>().ok());
    ensure!(version == Some(VERSION), "the state is of version {version:?}, not {VERSION}");
    let checksum = words.next().and_then(|word| u32::from_str_radix(word, 16).ok());
    ensure!(checksum == Some(crc32fast::hash(body.as_bytes())), "the state's checksum is wrong");
    serde_json::from_str(body).context("the state cannot be read")
}

/// `frames`: of its history, in blocks; a training that was under way is begun again with them.
pub(super) fn restore_group(
    saved: SavedGroup,
    frames: &[&[u8]],
    shared: &Shared,
    make: &mut impl FnMut(&GroupKey) -> Group,
) -> Result<Group, Cause> {
    let n_signals = shared.names.len();
    ensure!(saved.levels.len() == n_signals, "the state lacks levels");
    let mut group = make(&GroupKey { name: saved.name, labels: saved.labels });
    group.used = saved.model.map(|model| in_use(model, n_signals)).transpose()?;
    if let Some(before) = saved.before {
        ensure!(before.levels.len() == n_signals, "the state lacks levels");
        let used = before.model.map(|model| in_use(model, n_signals)).transpose()?;
        let (at_ms, levels) = (before.at_ms, before.levels);
        group.before = Some(Box::new(Before { at_ms, levels, used }));
    }
    group.levels = saved.levels;
    if saved.drifts.len() == n_signals {
        group.drifts = saved.drifts;
    }
    group.learnt_frames = saved.learnt_frames;
    group.scored_frames = saved.scored_frames;
    group.incident = saved.incident;
    group.past = saved.past;
    group.memory = saved.memory;
    group.tracker = saved.tracker;
    group.impact = saved.impact;
    group.ended = saved.ended;
    group.worst = saved.worst;
    group.waiting = saved.waiting;
    group.incidents = saved.incidents;
    group.accepted = saved.accepted.then_some(saved.accepted_as);
    group.accepted_ms = saved.accepted_ms;
    group.refused = saved.refused;
    group.excluded = saved.excluded;
    group.spoken = saved.spoken;
    group.zeros = saved.zeros;
    group.last_ms = saved.last_ms;
    group.missing = saved.missing;
    group.recent = saved.recent.into_iter().map(SavedFrame::frame).collect();
    for block in frames {
        // Of fewer frames the next model is less sure; the one in use is not touched.
        if let Err(error) = group.take_block(block, shared) {
            tracing::warn!(group = %group.owner.place(), "frames that were kept cannot be used: {error:#}");
        }
    }
    if saved.running {
        group.submit(saved.due_ms, shared);
    } else {
        group.training = Training::Due { at_ms: saved.due_ms };
    }
    Ok(group)
}

fn in_use(saved: (Model, Boundaries, i64), n_signals: usize) -> Result<InUse, Cause> {
    let (model, boundaries, since_ms) = saved;
    let known = model.learned.iter().flatten().count();
    let fits = model.learned.len() == n_signals
        && model.joint.n_features() == known
        && boundaries.joint.len() == super::joint::JOINT;
    ensure!(fits, "the saved model does not fit its signals");
    Ok(InUse { model, boundaries, since_ms })
}
