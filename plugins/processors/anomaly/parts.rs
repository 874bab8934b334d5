//! What a detector of a partition knows, in parts that move with it: where it stands, each group with the frame that is being collected,
//! each group's model, and the newest frames (`moved`). Each is written as a snapshot is (`state`).

use std::collections::HashMap;

use anyhow::Context as _;
use sentinel_contract::Cause;
use sentinel_contract::history::Frame;
use serde::{Deserialize, Serialize};

use super::commands::Window;
use super::frame::{Clock, Held};
use super::group::{Group, Shared};
use super::series::GroupKey;
use super::state::{Saved, read, read_of, restore_group, save_group, write};
use super::suspects::LEVEL_FRAMES;
use super::train::Model;

/// Where the detector stands, without its groups.
pub(super) fn save_clock(clock: Clock, windows: &[Window], shared: &Shared) -> Option<Vec<u8>> {
    let (clock, windows) = (Some(clock), windows.to_vec());
    let mut saved = Saved::nothing(shared);
    (saved.clock, saved.windows) = (clock, windows);
    write(&saved)
}

/// One group without its model, and what is collected of its frame.
pub(super) fn save_apart(group: &Group, held: Held, shared: &Shared) -> Option<Vec<u8>> {
    let model = group.used.as_ref().map(|used| (used.boundaries.clone(), used.since_ms));
    let before = group.recent.len().saturating_sub(LEVEL_FRAMES);
    let mut apart = save_group(group);
    (apart.model, apart.boundaries) = (None, model);
    apart.recent = group.recent.iter().skip(before).map(SavedFrame::of).collect();
    apart.missing = group.missing;
    let mut saved = Saved::nothing(shared);
    (saved.groups, saved.held) = (vec![apart], Some(held));
    write(&saved)
}

/// A group's model.
pub(super) fn save_model(group: &Group) -> Option<Vec<u8>> {
    write(&group.used.as_ref()?.model)
}

/// What is read of a detector's parts.
pub(super) struct Restored {
    pub clock: Option<Clock>,
    pub windows: Vec<Window>,
    pub groups: Vec<(Group, Held)>,
}

/// Reads parts: the clock's, the groups' and, by the group's part, its model's and its frames'. A group that cannot be used is left out, and the
/// first reason why is returned beside the rest.
pub(super) fn restore_parts(
    parts: &[(String, Vec<u8>)],
    shared: &Shared,
    mut make: impl FnMut(&GroupKey) -> Group,
) -> (Restored, Option<Cause>) {
    let models: HashMap<&str, &[u8]> = parts
        .iter()
        .filter_map(|(name, bytes)| Some((name.strip_prefix(MODEL)?, bytes.as_slice())))
        .collect();
    let (mut restored, mut failed) =
        (Restored { clock: None, windows: Vec::new(), groups: Vec::new() }, None);
    let mut frames: HashMap<&str, Vec<&[u8]>> = HashMap::new();
    for (name, bytes) in parts {
        let group = name.strip_prefix(FRAMES).and_then(|name| name.split_once('/'));
        if let Some((_, group)) = group {
            frames.entry(group).or_default().push(bytes);
        }
    }
    for (name, bytes) in parts {
        let own = match name.strip_prefix(GROUP) {
            Some(group) => Own {
                model: models.get(group).copied(),
                frames: frames.remove(group).unwrap_or_default(),
            },
            None if name == CLOCK => Own::default(),
            None => continue,
        };
        if let Err(error) = restore_part(bytes, &own, shared, &mut make, &mut restored) {
            failed.get_or_insert(error.context(name.clone()));
        }
    }
    (restored, failed)
}

/// Other parts of a group.
#[derive(Default)]
struct Own<'a> {
    model: Option<&'a [u8]>,
    frames: Vec<&'a [u8]>,
}

fn restore_part(
    bytes: &[u8],
    own: &Own<'_>,
    shared: &Shared,
    make: &mut impl FnMut(&GroupKey) -> Group,
    restored: &mut Restored,
) -> Result<(), Cause> {
    let saved: Saved = read_of(bytes, shared)?;
    if let Some(clock) = saved.clock {
        restored.clock = Some(clock);
        restored.windows = saved.windows;
    }
    for mut group in saved.groups {
        if let Some((boundaries, since_ms)) = group.boundaries.take() {
            let model: Model = read(own.model.context("its model is missing")?)?;
            group.model = Some((model, boundaries, since_ms));
        }
        let group = restore_group(group, &own.frames, shared, make)?;
        restored.groups.push((group, Held::default()));
    }
    if let (Some(held), Some((_, own))) = (saved.held, restored.groups.last_mut()) {
        *own = held;
    }
    Ok(())
}

/// A frame; what is missing is null.
#[derive(Serialize, Deserialize)]
pub(super) struct SavedFrame(i64, Vec<Option<f64>>, Option<f64>);

impl SavedFrame {
    pub(super) fn of(frame: &Frame) -> SavedFrame {
        let known = |value: f64| (!value.is_nan()).then_some(value);
        let values = frame.values.iter().copied().map(known).collect();
        SavedFrame(frame.time_ms, values, known(frame.score))
    }

    pub(super) fn frame(self) -> Frame {
        let or_nan = |value: Option<f64>| value.unwrap_or(f64::NAN);
        let SavedFrame(time_ms, values, score) = self;
        Frame { time_ms, values: values.into_iter().map(or_nan).collect(), score: or_nan(score) }
    }
}

/// How the names of parts begin.
pub(super) const CLOCK: &str = "clock";
pub(super) const GROUP: &str = "group/";
pub(super) const MODEL: &str = "model/";
pub(super) const FRAMES: &str = "frames/";
