//! One write as it is under way: the entries that are not settled yet, in the groups that go out as one request each.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use sentinel_contract::Fate;

use super::Shared;
use crate::dead_letters::DeadLetters;
use crate::queue::Entry;

/// Entries that go out as one request.
type Group = Vec<Entry>;

/// What has been taken from the queue and is not yet settled, last group first. Dropped before that, it goes back to the
/// queue when another task goes on with it, else at the deadline its sources are told to read again.
pub(super) struct Held {
    pub(super) groups: Vec<Group>,
    shared: Arc<Shared>,
}

impl Held {
    /// All of a write, in groups that are not larger than a request may be.
    pub(super) fn new(group: Group, shared: &Arc<Shared>) -> Self {
        let groups = of_at_most(shared.limits.events, group);
        Held { groups, shared: Arc::clone(shared) }
    }

    /// The last group is answered for: `bad` names the refused events of each entry (first index, count); they become
    /// dead letters, the others are delivered.
    pub(super) fn settle(
        &mut self,
        bad: impl Fn(usize, usize) -> Vec<usize>,
        dead_letters: &DeadLetters,
        why: &str,
    ) {
        let counters = &self.shared.state.counters;
        let mut first = 0;
        for entry in self.groups.pop().into_iter().flatten() {
            let count = entry.events();
            let refused = bad(first, count);
            first += count;
            self.shared.queue.done(&entry);
            counters.delivered.fetch_add((count - refused.len()) as u64, Relaxed);
            if refused.is_empty() {
                counters.delivered_bytes.fetch_add(entry.bytes as u64, Relaxed);
                entry.resolve(Fate::Delivered);
                continue;
            }
            counters.drop_events("rejected", refused.len() as u64);
            match dead_letters.write(&self.shared.state, &entry.piece, &refused, why) {
                Ok(()) => entry.resolve(Fate::Rejected),
                Err(error) => {
                    // Not on record: the source reads it again, and the backend is asked again.
                    tracing::error!(%error, "cannot write the dead letters");
                    entry.resolve(Fate::Lost);
                }
            }
        }
    }

    /// Events of the last group.
    pub(super) fn events(&self) -> usize {
        self.groups.last().map_or(0, |group| group.iter().map(Entry::events).sum())
    }

    /// Parts the named events from the last group, to be settled first: they are the last group then, the others the one
    /// before it. False when none of them is in it.
    pub(super) fn part(&mut self, events: &[usize]) -> bool {
        let count = self.events();
        let mut events: Vec<usize> =
            events.iter().copied().filter(|&event| event < count).collect();
        events.sort_unstable();
        events.dedup();
        let Some(mut rest) = self.groups.pop_if(|_| !events.is_empty()) else { return false };
        let (mut named, mut others, mut passed) = (Vec::new(), Vec::new(), 0);
        for run in events.chunk_by(|a, b| a + 1 == *b) {
            let (between, from_run) = cut(rest, run[0] - passed);
            let (here, behind) = cut(from_run, run.len());
            others.extend(between);
            named.extend(here);
            rest = behind;
            passed = run[0] + run.len();
        }
        others.extend(rest);
        self.groups.extend([others, named].into_iter().filter(|group| !group.is_empty()));
        true
    }

    /// Splits the last group in two, the first half to go first; false when it is a single event.
    pub(super) fn halve(&mut self) -> bool {
        let events = self.events();
        let Some(group) = self.groups.last_mut().filter(|_| events > 1) else { return false };
        let (first, second) = cut(std::mem::take(group), events / 2);
        *group = second;
        self.groups.push(first);
        true
    }
}

/// The first `left` events of a group, and the rest.
fn cut(group: Group, mut left: usize) -> (Group, Group) {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for entry in group {
        let count = entry.events();
        if left >= count {
            first.push(entry);
        } else if left == 0 {
            second.push(entry);
        } else {
            let (a, b) = entry.split(left);
            first.push(a);
            second.push(b);
        }
        left = left.saturating_sub(count);
    }
    (first, second)
}

/// The group in pieces of at most `limit` events, the first of them last: entries may be larger than a write.
fn of_at_most(limit: usize, mut group: Group) -> Vec<Group> {
    let mut groups = Vec::new();
    while group.iter().map(Entry::events).sum::<usize>() > limit {
        let (first, rest) = cut(group, limit);
        groups.push(first);
        group = rest;
    }
    groups.push(group);
    groups.reverse();
    groups
}

impl Drop for Held {
    fn drop(&mut self) {
        let entries = self.groups.drain(..).rev().flatten();
        if self.shared.halt.is_cancelled() {
            self.shared.queue.put_back(entries.collect());
        } else {
            entries.for_each(|entry| self.shared.queue.leave(entry));
        }
    }
}
