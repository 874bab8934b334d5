//! What a restart needs: the windows that are not closed, and the groups that are known.
//!
//! After a clean stop the sources read on where they were, and an unfinished window is finished. After a crash the
//! snapshot may be minutes old: its windows are then dropped, unless lines of the same window come first.

use std::sync::Arc;

use sentinel_contract::Cause;
use serde::{Deserialize, Serialize};

use super::Features;
use super::cell::Cell;
use super::origin::{Origin, Window};
use crate::watermark::Start;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    version: u32,
    window_ns: i64,
    group_by: Vec<Box<str>>,
    origins: Vec<SavedOrigin>,
}

#[derive(Serialize, Deserialize)]
struct SavedOrigin {
    name: String,
    next: i64,
    groups: Vec<SavedGroup>,
    windows: Vec<SavedWindow>,
}

#[derive(Serialize, Deserialize)]
struct SavedGroup {
    values: Vec<Box<str>>,
    is_other: bool,
    last_window: i64,
    traits: u16,
    methods: u16,
}

#[derive(Serialize, Deserialize)]
struct SavedWindow {
    index: i64,
    unseen: u64,
    cells: Vec<(usize, Cell)>,
}

impl Features {
    pub(super) fn save(&self) -> Option<Vec<u8>> {
        let saved = Saved {
            version: VERSION,
            window_ns: self.shared.pace.window_ns,
            group_by: self.shared.grouping.by.clone(),
            origins: self
                .origins
                .iter()
                .filter(|origin| origin.start != Start::Fresh)
                .map(save)
                .collect(),
        };
        serde_json::to_vec(&saved).ok()
    }

    pub(super) fn load(&mut self, snapshot: &[u8]) -> Result<(), Cause> {
        let saved: Saved = serde_json::from_slice(snapshot)?;
        if saved.version != VERSION {
            anyhow::bail!("snapshot version {} is not {VERSION}", saved.version);
        }
        let is_same = saved.window_ns == self.shared.pace.window_ns
            && saved.group_by == self.shared.grouping.by;
        if !is_same {
            anyhow::bail!("the snapshot was made with another window or group_by");
        }
        for it in saved.origins {
            let origin = self.load_origin(it)?;
            self.origins.push(origin);
        }
        Ok(())
    }

    fn load_origin(&mut self, saved: SavedOrigin) -> Result<Origin, Cause> {
        if saved.next.checked_mul(self.shared.pace.window_ns).is_none() {
            anyhow::bail!("the snapshot is of another time");
        }
        let mut origin = Origin::new(saved.name.into(), &self.shared);
        origin.next = saved.next;
        origin.start = self.shared.resumed();
        let width = self.shared.grouping.by.len();
        for it in saved.groups {
            if it.values.len() != width || origin.groups.all.len() > self.shared.grouping.max {
                anyhow::bail!("the snapshot has other groups");
            }
            let label = self.shared.owners.claim(&it.values, &origin.name);
            origin.groups.restore(it.values, it.is_other, &self.shared.grouping, label.as_deref());
            if let Some(group) = origin.groups.all.last_mut() {
                group.first_window = i64::MIN;
                group.last_window = it.last_window;
                group.traits = it.traits;
                group.methods = it.methods;
            }
        }
        for it in saved.windows {
            let mut cells: Vec<Option<Box<Cell>>> =
                origin.groups.all.iter().map(|_| None).collect();
            for (place, cell) in it.cells {
                let slot = cells
                    .get_mut(place)
                    .ok_or_else(|| anyhow::anyhow!("a cell without a group"))?;
                *slot = Some(Box::new(cell));
            }
            origin.windows.push(Window { index: it.index, cells, unseen: it.unseen });
        }
        origin.windows.sort_by_key(|window| window.index);
        origin.windows.dedup_by_key(|window| window.index);
        origin.windows.retain(|window| window.index >= origin.next);
        Ok(origin)
    }
}

fn save(origin: &Origin) -> SavedOrigin {
    let groups = origin.groups.all.iter().enumerate().map(|(place, group)| SavedGroup {
        values: group.values.clone(),
        is_other: origin.groups.is_other(place),
        last_window: group.last_window,
        traits: group.traits,
        methods: group.methods,
    });
    let windows = origin.windows.iter().map(|window| {
        let cells = window.cells.iter().enumerate();
        let cells = cells.filter_map(|(place, cell)| Some((place, (**cell.as_ref()?).clone())));
        SavedWindow { index: window.index, unseen: window.unseen, cells: cells.collect() }
    });
    SavedOrigin {
        name: Arc::clone(&origin.name).to_string(),
        next: origin.next,
        groups: groups.collect(),
        windows: windows.collect(),
    }
}
