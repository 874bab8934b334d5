//! What the last windows of each group were made of, as `processors.log_features` tells it. Kept until
//! the frame of the same time is judged: the frame that opens an incident must find what it was made of.

use std::collections::VecDeque;

use sentinel_contract::Evidence;

/// Windows kept of a group.
const WINDOWS: usize = 16;

/// The last windows, by group.
#[derive(Debug)]
pub(super) struct Store {
    group_by: Vec<String>,
    max_groups: usize,
    groups: Vec<(Labels, VecDeque<Evidence>)>,
}

/// Names and values of a group's labels.
type Labels = Vec<(String, String)>;

impl Store {
    pub(super) fn new(group_by: Vec<String>, max_groups: usize) -> Self {
        Store { group_by, max_groups, groups: Vec::new() }
    }

    /// Whether this label makes groups.
    pub(super) fn groups_by(&self, label: &str) -> bool {
        self.group_by.iter().any(|name| name == label)
    }

    /// Keeps a window; the oldest of its group goes.
    pub(super) fn take(&mut self, one: &Evidence) {
        let of = |name: &String| one.labels.get(name).map(|value| (name.clone(), value.to_owned()));
        let labels: Labels = self.group_by.iter().filter_map(of).collect();
        let known = self.groups.iter().position(|(known, _)| *known == labels);
        let at = match known {
            Some(at) => at,
            None if self.groups.len() >= self.max_groups => return, // nor is the group watched
            None => {
                self.groups.push((labels, VecDeque::new()));
                self.groups.len() - 1
            }
        };
        let windows = &mut self.groups[at].1;
        if windows.len() == WINDOWS {
            windows.pop_front();
        }
        windows.push_back(one.clone());
    }

    /// The windows of a group that ended after `from_ms` and not after `to_ms`.
    pub(super) fn between<'s>(
        &'s self,
        labels: &'s [(String, String)],
        from_ms: i64,
        to_ms: i64,
    ) -> impl Iterator<Item = &'s Evidence> {
        let own = self.groups.iter().filter(move |(known, _)| known == labels);
        own.flat_map(|(_, windows)| windows)
            .filter(move |one| from_ms < one.time_ms && one.time_ms <= to_ms)
    }
}
