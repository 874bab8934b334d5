//! Which group a line belongs to: found by the address of its stream's labels, else by its fields.
//!
//! Groups are known by a 64-bit hash of their values. When there are too many, the lines of new ones go to the group
//! `other`, until one was silent for an hour and gives up its place.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::quality::FixedState;
use sentinel_contract::{Labels, Log};

use super::group::{Group, MEMORY_NS, Shared, labels};
use super::level::Level;
use super::window::SOURCE;
use crate::grouping::{Grouping, MAX_STREAMS, key_of};
use crate::watermark::Start;

/// Jobs whose lines the agent has made itself: they tell of events already.
const OWN_JOBS: [&str; 1] = ["changes"];

/// What is known of a stream.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// `None` when it depends on the line's fields.
    group: Option<usize>,
    level: Option<Level>,
    /// Events of this agent: they are not mined again.
    is_own: bool,
}

/// The groups.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) all: Vec<Group>,
    grouping: Grouping,
    by_hash: HashMap<u64, usize, FixedState>,
    streams: HashMap<usize, (Arc<Labels>, Known), FixedState>,
    last: Option<(Arc<Labels>, Known)>,
    other: Option<usize>,
    /// Lines that went to the group `other` because there were too many groups.
    pub(super) overflowed: u64,
}

impl Groups {
    pub(super) fn new(grouping: Grouping) -> Self {
        Groups {
            all: Vec::new(),
            grouping,
            by_hash: HashMap::default(),
            streams: HashMap::default(),
            last: None,
            other: None,
            overflowed: 0,
        }
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.all.clear();
        self.by_hash.clear();
        self.streams.clear();
        (self.last, self.other) = (None, None);
    }

    /// The group of a line, and what its label `level` says; `None` for events of this agent.
    pub(super) fn find(&mut self, log: &Log, shared: &Shared) -> Option<(usize, Option<Level>)> {
        let known = match &self.last {
            Some((stream, known)) if Arc::ptr_eq(stream, &log.stream) => *known,
            _ => {
                let known = self.stream(&log.stream);
                self.last = Some((Arc::clone(&log.stream), known));
                known
            }
        };
        if known.is_own {
            return None;
        }
        if let Some(group) = known.group {
            return Some((group, known.level));
        }
        let (group, by_labels) = self.by_values(log, shared);
        if by_labels {
            let known = Known { group: Some(group), ..known };
            self.last = Some((Arc::clone(&log.stream), known));
            self.streams
                .insert(Arc::as_ptr(&log.stream) as usize, (Arc::clone(&log.stream), known));
        }
        Some((group, known.level))
    }

    fn stream(&mut self, stream: &Arc<Labels>) -> Known {
        let address = Arc::as_ptr(stream) as usize;
        if let Some((_, known)) = self.streams.get(&address) {
            return *known;
        }
        if self.streams.len() >= MAX_STREAMS {
            self.streams.clear();
        }
        let is_own = stream.get(SOURCE.0) == Some(SOURCE.1)
            || stream.get("job").is_some_and(|job| OWN_JOBS.contains(&job));
        let known = Known { group: None, level: Level::of_label(stream), is_own };
        self.streams.insert(address, (Arc::clone(stream), known));
        known
    }

    /// By labels, else by fields; true when the labels alone decide.
    fn by_values(&mut self, log: &Log, shared: &Shared) -> (usize, bool) {
        let (hash, by_labels) = self.grouping.key(log);
        if let Some(group) = self.by_hash.get(&hash) {
            return (*group, by_labels);
        }
        let values = self.grouping.values(log);
        if let Some(group) = self.add(values, shared) {
            self.by_hash.insert(hash, group);
            return (group, by_labels);
        }
        self.overflowed += 1;
        (self.other(shared), false) // asked again: there may be room later
    }

    fn add(&mut self, values: Vec<Box<str>>, shared: &Shared) -> Option<usize> {
        let ordinary = self.all.len() - usize::from(self.other.is_some());
        let replaced = if ordinary < self.grouping.max {
            None
        } else {
            let memory = MEMORY_NS / shared.pace.window_ns;
            let is_forgotten = |(index, it): &(usize, &Group)| {
                Some(*index) != self.other
                    && it.start == Start::Running
                    && it.windows.is_empty()
                    && it.last_window < it.next.saturating_sub(memory)
            };
            Some(self.all.iter().enumerate().find(is_forgotten)?.0)
        };
        let group = self.make(values, shared);
        let Some(index) = replaced else {
            self.all.push(group);
            return Some(self.all.len() - 1);
        };
        self.by_hash.retain(|_, known| *known != index);
        self.streams.clear();
        self.last = None;
        self.all[index] = group;
        Some(index)
    }

    fn make(&self, values: Vec<Box<str>>, shared: &Shared) -> Group {
        let labels = labels(&self.grouping.tags, &self.grouping.by, &values);
        Group::new(values, &labels, shared)
    }

    fn other(&mut self, shared: &Shared) -> usize {
        if let Some(other) = self.other {
            return other;
        }
        let values = self.grouping.of_other();
        let group = self.make(values, shared);
        self.all.push(group);
        let other = self.all.len() - 1;
        self.other = Some(other);
        other
    }

    /// Puts back a group of a snapshot; `None` when it does not fit.
    pub(super) fn restore(
        &mut self,
        values: Vec<Box<str>>,
        is_other: bool,
        shared: &Shared,
    ) -> Option<&mut Group> {
        let is_sound =
            values.len() == self.grouping.by.len() && self.all.len() <= self.grouping.max;
        if !is_sound || (is_other && self.other.is_some()) {
            return None;
        }
        if is_other {
            self.other = Some(self.all.len());
        } else {
            self.by_hash.insert(key_of(&values), self.all.len());
        }
        let group = self.make(values, shared);
        self.all.push(group);
        self.all.last_mut()
    }

    /// Whether this is the group for what is too much.
    pub(super) fn is_other(&self, group: usize) -> bool {
        self.other == Some(group)
    }

    /// The labels that make the groups.
    pub(super) fn by(&self) -> &[Box<str>] {
        &self.grouping.by
    }
}
