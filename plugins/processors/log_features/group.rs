//! Groups: which one a line belongs to, found by the address of its stream's labels; and the series of each.
//!
//! Groups are known by a 64-bit hash of their values. Two that meet in it would be counted as one: with 100 groups, once in
//! 4e15 configurations.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::FixedState;
use sentinel_contract::{Kind, Labels, Log, Series};

use super::cell::{FEATURES, METHODS};
use crate::grouping::{Grouping, MAX_STREAMS, key_of};

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// In the order of `group_by`.
    pub(super) values: Vec<Box<str>>,
    labels: Vec<(Box<str>, Box<str>)>,
    /// The first and the last window in which it was seen.
    pub(super) first_window: i64,
    pub(super) last_window: i64,
    /// What its lines have had, ever; see `cell`.
    pub(super) traits: u16,
    /// The methods its lines have had, one bit each.
    pub(super) methods: u16,
    /// The labels as evidence has them, built once.
    shared_labels: Option<Arc<Labels>>,
    series: [Option<Arc<Series>>; FEATURES.len()],
    method_series: [Option<Arc<Series>>; METHODS.len()],
}

/// What is known of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// `None` when it depends on the line's fields.
    group: Option<usize>,
    /// Its label `level`: is there one, and is it error or worse.
    pub(super) level: Option<bool>,
}

/// The groups of one origin.
#[derive(Debug, Default)]
pub(super) struct Groups {
    pub(super) all: Vec<Group>,
    by_hash: HashMap<u64, usize, FixedState>,
    streams: HashMap<usize, (Arc<Labels>, Known), FixedState>,
    last: Option<(Arc<Labels>, Known)>,
    other: Option<usize>,
    /// Lines that went to the group `other` because there were too many groups.
    pub(super) overflowed: u64,
}

/// Which origin had a group's values first. Another that has them too says its name in a label, or two samples of one
/// series would be written at one time.
#[derive(Debug, Default)]
pub(super) struct Owners(HashMap<Vec<Box<str>>, Arc<str>, FixedState>);

impl Owners {
    /// The origin, when it must be in the labels.
    pub(super) fn claim(&mut self, values: &[Box<str>], origin: &Arc<str>) -> Option<Arc<str>> {
        let owner = self.0.entry(values.to_vec()).or_insert_with(|| Arc::clone(origin));
        (owner != origin).then(|| Arc::clone(origin))
    }

    fn release(&mut self, values: &[Box<str>], origin: &Arc<str>) {
        if self.0.get(values) == Some(origin) {
            self.0.remove(values);
        }
    }
}

/// What is needed when a line is the first of its group.
pub(super) struct Room<'a> {
    /// A group last seen before this window may be replaced.
    pub(super) forgotten: i64,
    pub(super) origin: &'a Arc<str>,
    pub(super) owners: &'a mut Owners,
}

impl Groups {
    /// The group of a line, and what its label `level` says.
    pub(super) fn find(
        &mut self,
        log: &Log,
        grouping: &Grouping,
        room: &mut Room<'_>,
    ) -> (usize, Option<bool>) {
        let is_last =
            self.last.as_ref().is_some_and(|(stream, _)| Arc::ptr_eq(stream, &log.stream));
        if !is_last {
            let known = self.stream(&log.stream);
            self.last = Some((Arc::clone(&log.stream), known));
        }
        let known = match &self.last {
            Some((_, known)) => *known,
            None => Known { group: None, level: None },
        };
        if let Some(group) = known.group {
            return (group, known.level);
        }
        let (group, by_labels) = self.by_values(log, grouping, room);
        if by_labels {
            let known = Known { group: Some(group), ..known };
            self.last = Some((Arc::clone(&log.stream), known));
            self.streams
                .insert(Arc::as_ptr(&log.stream) as usize, (Arc::clone(&log.stream), known));
        }
        (group, known.level)
    }

    fn stream(&mut self, stream: &Arc<Labels>) -> Known {
        let address = Arc::as_ptr(stream) as usize;
        if let Some((_, known)) = self.streams.get(&address) {
            return *known;
        }
        if self.streams.len() >= MAX_STREAMS {
            self.streams.clear();
        }
        let level = stream.get("level").map(|level| matches!(level, "error" | "fatal"));
        let known = Known { group: None, level };
        self.streams.insert(address, (Arc::clone(stream), known));
        known
    }

    /// By labels, else by fields; true when the labels alone decide.
    fn by_values(&mut self, log: &Log, grouping: &Grouping, room: &mut Room<'_>) -> (usize, bool) {
        let (hash, by_labels) = grouping.key(log);
        if let Some(group) = self.by_hash.get(&hash) {
            return (*group, by_labels);
        }
        let values = grouping.values(log);
        if let Some(group) = self.add(values, grouping, room) {
            self.by_hash.insert(hash, group);
            return (group, by_labels);
        }
        self.overflowed += 1;
        (self.other(grouping, room), false) // asked again: there may be room later
    }

    fn add(
        &mut self,
        values: Vec<Box<str>>,
        grouping: &Grouping,
        room: &mut Room<'_>,
    ) -> Option<usize> {
        let ordinary = self.all.len() - usize::from(self.other.is_some());
        let replaced = if ordinary < grouping.max {
            None
        } else {
            let is_forgotten = |(index, it): &(usize, &Group)| {
                it.last_window < room.forgotten && Some(*index) != self.other
            };
            Some(self.all.iter().enumerate().find(is_forgotten)?.0)
        };
        let origin = room.owners.claim(&values, room.origin);
        let group = Group::new(values, grouping, origin.as_deref());
        let Some(index) = replaced else {
            self.all.push(group);
            return Some(self.all.len() - 1);
        };
        room.owners.release(&self.all[index].values, room.origin);
        self.by_hash.retain(|_, known| *known != index);
        self.streams.clear();
        self.all[index] = group;
        Some(index)
    }

    fn other(&mut self, grouping: &Grouping, room: &mut Room<'_>) -> usize {
        if let Some(other) = self.other {
            return other;
        }
        let values = grouping.of_other();
        let origin = room.owners.claim(&values, room.origin);
        self.all.push(Group::new(values, grouping, origin.as_deref()));
        let other = self.all.len() - 1;
        self.other = Some(other);
        other
    }

    /// Puts back a group of a snapshot.
    pub(super) fn restore(
        &mut self,
        values: Vec<Box<str>>,
        is_other: bool,
        grouping: &Grouping,
        origin: Option<&str>,
    ) {
        let index = self.all.len();
        if is_other {
            self.other = Some(index);
        } else {
            self.by_hash.insert(key_of(&values), index);
        }
        self.all.push(Group::new(values, grouping, origin));
    }

    /// Whether this is the group for what is too much.
    pub(super) fn is_other(&self, group: usize) -> bool {
        self.other == Some(group)
    }
}

impl Group {
    fn new(values: Vec<Box<str>>, grouping: &Grouping, origin: Option<&str>) -> Self {
        let mut labels = grouping.tags.clone();
        labels.extend(grouping.by.iter().cloned().zip(values.iter().cloned()));
        labels.extend(origin.map(|origin| ("origin".into(), origin.into())));
        Group {
            values,
            labels,
            first_window: i64::MAX,
            last_window: i64::MIN,
            traits: 0,
            methods: 0,
            shared_labels: None,
            series: [const { None }; FEATURES.len()],
            method_series: [const { None }; METHODS.len()],
        }
    }

    /// The labels of all its series.
    pub(super) fn shared_labels(&mut self) -> Arc<Labels> {
        let labels = &self.labels;
        Arc::clone(
            self.shared_labels.get_or_insert_with(|| Arc::new(Labels::new(labels.iter().cloned()))),
        )
    }

    /// The series of a feature, built once.
    pub(super) fn series(&mut self, feature: usize) -> Arc<Series> {
        let labels = &self.labels;
        let series = self.series[feature].get_or_insert_with(|| {
            Series::new(FEATURES[feature], Kind::Gauge, labels.iter().cloned())
        });
        Arc::clone(series)
    }

    /// The series of a method's share.
    pub(super) fn method_series(&mut self, method: usize) -> Arc<Series> {
        let labels = &self.labels;
        let series = self.method_series[method].get_or_insert_with(|| {
            let method = ("method".into(), METHODS[method].into());
            Series::new("log_method_share", Kind::Gauge, labels.iter().cloned().chain([method]))
        });
        Arc::clone(series)
    }
}
