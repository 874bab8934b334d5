//! Which series feed which columns of which group. A series is matched once, when its `Arc` is first seen; a sample then costs one
//! look-up by pointer.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sentinel_contract::{Kind, Series};
use serde::{Deserialize, Serialize};

use super::fold::{Fold, Tally};
use super::signals::Column;

/// What an observer says of a window of which it has not seen all (`processors.log_features`).
const UNSEEN: &str = "log_unseen";
/// What a series' samples feed.
pub(super) enum Target {
    /// Nothing here.
    Nothing,
    /// Its group is one too many.
    Refused,
    /// It counts what its source has not seen.
    Unseen,
    /// Columns of a group.
    Columns { group: u32, columns: Box<[u16]> },
}

pub(super) struct Entry {
    series: Arc<Series>,
    pub target: Target,
    tally: Tally,
}

/// A set of label values that is watched on its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GroupKey {
    /// The values, joined; empty for the host itself.
    pub name: String,
    /// Names and values of the labels it has.
    pub labels: Vec<(String, String)>,
}

impl GroupKey {
    /// The group of these labels.
    pub(super) fn of(labels: &[(String, String)]) -> GroupKey {
        let values: Vec<&str> = labels.iter().map(|(_, value)| value.as_str()).collect();
        GroupKey { name: values.join(","), labels: labels.to_vec() }
    }
}

/// All series that were seen, and what came of them in the current frame.
pub(super) struct Known {
    columns: Vec<Column>,
    group_by: Vec<String>,
    max_groups: usize,
    index: HashMap<usize, u32, FixedState>,
    entries: Vec<Entry>,
    /// The entries by the hash of their series: who made it may have forgotten it and made it again.
    by_hash: HashMap<u64, u32, FixedState>,
    groups: Vec<GroupKey>,
    /// Of each group, the places of its entries.
    places: Vec<Vec<u32>>,
    by_labels: HashMap<Vec<(String, String)>, u32, FixedState>,
}

/// A series of a group, and what came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SavedSeries {
    name: String,
    is_counter: bool,
    labels: Vec<(String, String)>,
    tally: Tally,
}

impl Known {
    pub(super) fn new(columns: Vec<Column>, group_by: Vec<String>, max_groups: usize) -> Self {
        Known {
            columns,
            group_by,
            max_groups,
            index: HashMap::default(),
            entries: Vec::new(),
            by_hash: HashMap::default(),
            groups: Vec::new(),
            places: Vec::new(),
            by_labels: HashMap::default(),
        }
    }

    /// The places of a group's series.
    pub(super) fn of_group(&self, group: usize) -> impl Iterator<Item = u32> {
        self.places.get(group).into_iter().flatten().copied()
    }

    /// One more entry.
    fn push(&mut self, entry: Entry) -> u32 {
        let at = self.entries.len() as u32;
        if let Target::Columns { group, .. } = entry.target {
            self.places[group as usize].push(at);
        }
        self.by_hash.insert(entry.series.hash(), at);
        self.entries.push(entry);
        at
    }

    /// A group's series, in the order of their places.
    pub(super) fn saved(&self, group: usize) -> Vec<SavedSeries> {
        let saved = |at: u32| {
            let Entry { series, tally, .. } = &self.entries[at as usize];
            let labels = series.labels().iter();
            SavedSeries {
                name: series.name().to_owned(),
                is_counter: series.kind() == Kind::Counter,
                labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
                tally: tally.clone(),
            }
        };
        self.of_group(group).map(saved).collect()
    }

    /// Takes a saved series back; `None` when it feeds nothing any more.
    pub(super) fn hold(&mut self, saved: SavedSeries) -> Option<u32> {
        let kind = if saved.is_counter { Kind::Counter } else { Kind::Gauge };
        let labels = saved.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let series = Series::new(saved.name.as_str(), kind, labels);
        let target = self.target_of(&series);
        if !matches!(target, Target::Columns { .. }) {
            return None;
        }
        Some(self.push(Entry { series, target, tally: saved.tally }))
    }

    /// The groups, in the order of a frame's rows.
    pub(super) fn groups(&self) -> &[GroupKey] {
        &self.groups
    }

    /// How many there may be.
    pub(super) fn max_groups(&self) -> usize {
        self.max_groups
    }

    /// Whether these labels are some of those that make the groups.
    pub(super) fn can_make(&self, labels: &[(String, String)]) -> bool {
        labels.iter().all(|(name, _)| self.group_by.contains(name))
    }

    /// Restores a group before it speaks.
    pub(super) fn add_group(&mut self, key: GroupKey) {
        self.by_labels.insert(key.labels.clone(), self.groups.len() as u32);
        self.groups.push(key);
        self.places.push(Vec::new());
    }

    /// Series held.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.entries.len()
    }

    /// What the samples of the series at this place feed.
    pub(super) fn target(&self, at: u32) -> &Target {
        &self.entries[at as usize].target
    }

    /// Takes a sample of the current frame.
    pub(super) fn add(&mut self, at: u32, time_ms: i64, value: f64, longest_gap_ms: i64) {
        let entry = &mut self.entries[at as usize];
        entry.tally.add(entry.series.kind(), time_ms, value, longest_gap_ms);
    }

    /// The current frame is over.
    pub(super) fn next_frame(&mut self) {
        for entry in self.entries.iter_mut().filter(|entry| entry.tally.is_used()) {
            entry.tally.next_frame();
        }
    }

    /// Nothing is known any more of what counters stood at.
    pub(super) fn start_anew(&mut self) {
        for entry in &mut self.entries {
            entry.tally = Tally::default();
        }
    }

    /// The place of a series.
    pub(super) fn entry_of(&mut self, series: &Arc<Series>) -> u32 {
        // The entry holds the series, so that its address cannot become another's.
        let address = Arc::as_ptr(series).addr();
        if let Some(at) = self.index.get(&address) {
            return *at;
        }
        let known = self.by_hash.get(&series.hash()).copied();
        if let Some(at) = known.filter(|at| *self.entries[*at as usize].series == **series) {
            // The same one, made again: the old address may become another's now.
            let old = std::mem::replace(&mut self.entries[at as usize].series, Arc::clone(series));
            self.index.remove(&Arc::as_ptr(&old).addr());
            self.index.insert(address, at);
            return at;
        }
        let target = self.target_of(series);
        let series = Arc::clone(series);
        let at = self.push(Entry { series, target, tally: Tally::default() });
        self.index.insert(address, at);
        at
    }

    fn target_of(&mut self, series: &Series) -> Target {
        if series.name() == UNSEEN {
            return Target::Unseen;
        }
        let takers = self.columns.iter().enumerate().filter(|(_, column)| column.takes(series));
        let columns: Box<[u16]> = takers.map(|(index, _)| index as u16).collect();
        if columns.is_empty() {
            return Target::Nothing;
        }
        let labels = self.group_by.iter().filter_map(|name| {
            series.labels().get(name).map(|value| (name.clone(), value.to_owned()))
        });
        let labels: Vec<_> = labels.collect();
        if let Some(group) = self.by_labels.get(&labels) {
            return Target::Columns { group: *group, columns };
        }
        if self.groups.len() >= self.max_groups {
            return Target::Refused;
        }
        let group = self.groups.len() as u32;
        self.add_group(GroupKey::of(&labels));
        Target::Columns { group, columns }
    }

    /// What the current frame holds up to now, one row of columns a group.
    pub(super) fn rows(&self) -> Vec<Vec<f64>> {
        let mut rows = vec![vec![Fold::default(); self.columns.len()]; self.groups.len()];
        for entry in &self.entries {
            if let Target::Columns { group, columns } = &entry.target
                && entry.tally.is_used()
            {
                for column in columns {
                    let over_time = self.columns[usize::from(*column)].over_time;
                    let value = entry.tally.value(entry.series.kind(), over_time);
                    rows[*group as usize][usize::from(*column)].add(value);
                }
            }
        }
        let value = |row: Vec<Fold>| -> Vec<f64> {
            row.iter()
                .zip(&self.columns)
                .map(|(fold, column)| fold.value(column.aggregate))
                .collect()
        };
        rows.into_iter().map(value).collect()
    }

    /// Forgets series that nobody else holds.
    pub(super) fn sweep(&mut self) {
        self.entries.retain(|entry| Arc::strong_count(&entry.series) > 1 || entry.tally.is_used());
        let places = self.entries.iter().enumerate();
        self.index =
            places.map(|(at, entry)| (Arc::as_ptr(&entry.series).addr(), at as u32)).collect();
        self.places.iter_mut().for_each(Vec::clear);
        self.by_hash.clear();
        for (at, entry) in self.entries.iter().enumerate() {
            self.by_hash.insert(entry.series.hash(), at as u32);
            if let Target::Columns { group, .. } = entry.target {
                self.places[group as usize].push(at as u32);
            }
        }
    }
}
