//! The task of one output: takes entries from its queue, makes writes of them, and does what the answers say.
//!
//! Every retry in the agent is here. Order is kept: an entry is not overtaken by a later one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sentinel_contract::{Cause, Fate, Output, Piece, WriteError};
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::dead_letters::DeadLetters;
use crate::panic::guard_async;
use crate::queue::{Entry, Queue};
use crate::telemetry::{Condition, Plugin};

/// How often a backend that refuses us (401, 403, 404) is asked again.
const PROBE: Duration = Duration::from_secs(30);
/// No write may take longer, whatever the plugin's own time limit.
const WRITE_LIMIT: Duration = Duration::from_mins(2);
/// Refusals of one write after which the search for what is bad in it goes on slowly: a pause of the backoff behind each
/// event that is given up. Enough for about eight bad events of a thousand. It is no limit on the search itself: what were
/// left of the write then could not be called refused. So nothing becomes a dead letter but what was refused by itself or
/// by name, data with many bad events gets through at two or more of these a second (each success takes the backoff back
/// to its start), and a backend that refuses everything is soon asked about twice a minute.
const QUICK_REFUSALS: usize = 64;

/// The longest pause between tries while the agent stops.
const LAST_TRIES: Duration = Duration::from_secs(1);

/// When a write is full.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimits {
    /// Events.
    pub events: usize,
    /// Bytes before encoding.
    pub bytes: usize,
    /// How long to wait for more after the first.
    pub wait: Duration,
}

/// What an output task needs.
pub(crate) struct OutputTask {
    /// The plugin.
    pub output: Box<dyn Output>,
    /// Builds it again after a panic.
    pub rebuild: Box<dyn Fn() -> Result<Box<dyn Output>, Cause> + Send + Sync>,
    /// Where entries come from.
    pub queue: Arc<Queue>,
    /// Its condition and counters.
    pub state: Arc<Plugin>,
    /// When a write is full.
    pub limits: BatchLimits,
    /// Where refused events go.
    pub dead_letters: Arc<DeadLetters>,
    /// Cancelled when another task goes on with the queue: finish the request, put the rest back, and return.
    pub retire: CancellationToken,
    /// Cancelled when no more entries will come: write what is there and return.
    pub drain: CancellationToken,
    /// Cancelled when time is up: return at once.
    pub deadline: CancellationToken,
}

/// What became of one write so far, in events; and how often it was refused.
#[derive(Default)]
struct Tally {
    taken: usize,
    refused: usize,
    refusals: usize,
}

impl Tally {
    fn settled(&self) -> usize {
        self.taken + self.refused
    }
}

/// Entries that go out as one request.
type Group = Vec<Entry>;

impl OutputTask {
    /// Runs until drained or out of time.
    pub(crate) async fn run(mut self) {
        let deadline = self.deadline.clone();
        tokio::select! {
            () = self.work() => {}
            () = deadline.cancelled() => tracing::warn!("stopped with data not delivered"),
        }
        if !self.retire.is_cancelled() {
            self.queue.abandon();
        }
    }

    async fn work(&mut self) {
        let mut backoff =
            Backoff::new(Arc::as_ptr(&self.state) as u64 ^ crate::clock::now_ms() as u64);
        while let Some(group) = self.next_group().await {
            let mut held = Held {
                groups: of_at_most(self.limits.events, group),
                queue: Arc::clone(&self.queue),
                state: Arc::clone(&self.state),
                retire: self.retire.clone(),
            };
            self.deliver(&mut held, &mut backoff).await;
        }
    }

    /// Waits for the first entry, then for more until the write is full or old enough. `None`: drained, or retired.
    async fn next_group(&mut self) -> Option<Group> {
        let mut group = loop {
            if self.retire.is_cancelled() {
                return None;
            }
            if let Some(entry) = self.queue.pop() {
                break vec![entry];
            }
            tokio::select! {
                () = self.queue.arrival() => {}
                () = self.retire.cancelled() => return None,
                () = self.drain.cancelled() => return self.queue.pop().map(|entry| vec![entry]),
            }
        };
        let full_at = tokio::time::Instant::now() + self.limits.wait;
        let (mut events, mut bytes) = (group[0].events(), group[0].bytes);
        while events < self.limits.events && bytes < self.limits.bytes {
            if let Some(entry) = self.queue.pop() {
                events += entry.events();
                bytes += entry.bytes;
                group.push(entry);
                continue;
            }
            tokio::select! {
                () = self.queue.arrival() => {}
                () = tokio::time::sleep_until(full_at) => break,
                () = self.retire.cancelled() => break,
                () = self.drain.cancelled() => break,
            }
        }
        Some(group)
    }

    /// Writes until every group is delivered or its bad events are found.
    async fn deliver(&mut self, held: &mut Held, backoff: &mut Backoff) {
        let mut panics = 0;
        let mut tally = Tally::default();
        while let Some(group) = held.groups.last() {
            if self.retire.is_cancelled() {
                return; // what is held goes back to the queue
            }
            let pieces: Vec<Piece> = group.iter().map(|entry| entry.piece.clone()).collect();
            let settled = tally.settled();
            let started = Instant::now();
            let answer = self.attempt(&pieces, &mut panics).await;
            drop(pieces);
            self.state.counters.call(started.elapsed());
            match answer {
                Ok(()) => {
                    if self.state.condition() != Condition::Active {
                        tracing::info!("delivering again");
                    }
                    self.state.set(Condition::Active);
                    backoff.reset();
                    tally.taken += held.events();
                    held.settle(|_, _| Vec::new(), &self.dead_letters, "");
                }
                Err(WriteError::Retry { after, cause }) => {
                    let pause = backoff.next(after);
                    self.report(Condition::Retrying, &cause, pause);
                    self.pause(pause).await;
                }
                Err(WriteError::Hold { cause }) => {
                    self.report(Condition::Held, &cause, PROBE);
                    self.pause(PROBE).await;
                }
                Err(WriteError::Split { cause }) => {
                    if !held.halve() {
                        tally.refused += held.events();
                        self.refused(held, &cause);
                    }
                }
                Err(WriteError::Reject { events, cause }) => {
                    tally.refused += events.len();
                    tally.taken += held.events().saturating_sub(events.len());
                    self.rejected(held, &events, &cause);
                    backoff.reset();
                }
                Err(WriteError::Partly { events, cause }) => {
                    // An answer that names nothing of what was sent is one that does not say what is bad.
                    let alone = held.part(&events) || !held.halve();
                    self.search(held, alone, &cause, &mut tally, backoff).await;
                }
                Err(WriteError::Refuse { cause }) => {
                    let alone = !held.halve();
                    self.search(held, alone, &cause, &mut tally, backoff).await;
                }
            }
            if tally.refused > 0 && tally.settled() > settled {
                // A backend that refuses everything all day must not look well.
                let all = tally.taken == 0;
                self.state.set(if all { Condition::Rejecting } else { Condition::Active });
            }
        }
    }

    /// After a refusal: when it was of a part that is `alone` (one event, or named ones), this is settled, with a pause
    /// when there were many refusals of this write already.
    async fn search(
        &mut self,
        held: &mut Held,
        alone: bool,
        cause: &Cause,
        tally: &mut Tally,
        backoff: &mut Backoff,
    ) {
        tally.refusals += 1;
        if tally.refusals == QUICK_REFUSALS {
            tracing::warn!(error = %format!("{cause:#}"), "the backend refuses much of a write: what is bad in it is searched for slowly");
        }
        if !alone {
            return;
        }
        tally.refused += held.events();
        self.refused(held, cause);
        if tally.refusals > QUICK_REFUSALS && !held.groups.is_empty() {
            self.pause(backoff.next(None)).await;
        }
    }

    /// Waits before the next try. While the agent stops there is little time left: whatever the pause was to be, the
    /// backend is asked at once and then each second until the deadline.
    async fn pause(&mut self, pause: Duration) {
        if self.drain.is_cancelled() {
            return tokio::time::sleep(pause.min(LAST_TRIES)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.drain.cancelled() => {}
            () = self.retire.cancelled() => {}
        }
    }

    async fn attempt(&mut self, pieces: &[Piece], panics: &mut u32) -> Result<(), WriteError> {
        let write = tokio::time::timeout(WRITE_LIMIT, self.output.write(pieces));
        match guard_async(write).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_elapsed)) => Err(WriteError::Retry {
                after: None,
                cause: anyhow::anyhow!("no answer within {WRITE_LIMIT:?}"),
            }),
            Err(words) => {
                *panics += 1;
                self.state.counters.restarts.fetch_add(1, Relaxed);
                tracing::error!(error = %words, "the plugin panicked and is built again");
                match (self.rebuild)() {
                    Ok(output) => self.output = output,
                    Err(error) => tracing::error!(%error, "cannot build the plugin again"),
                }
                let cause = anyhow::anyhow!(words);
                // The second panic over the same events: something in them does it; find what.
                if *panics >= 2 {
                    return Err(WriteError::Refuse { cause });
                }
                Err(WriteError::Retry { after: None, cause })
            }
        }
    }

    fn report(&self, condition: Condition, cause: &Cause, pause: Duration) {
        let pause_s = pause.as_secs_f32();
        match condition {
            Condition::Held => {
                tracing::error!(error = %format!("{cause:#}"), pause_s, "the backend refuses us: data is kept, and it is asked again");
            }
            _ => {
                tracing::warn!(error = %format!("{cause:#}"), pause_s, "not delivered, will be tried again");
            }
        }
        self.state.fail(condition, format!("{cause:#}"));
    }

    /// The backend named the bad events; the rest was taken.
    fn rejected(&self, held: &mut Held, events: &[usize], cause: &Cause) {
        let why = format!("{cause:#}");
        self.state.counters.error(crate::clock::now_ms(), why.clone());
        tracing::warn!(error = %why, events = events.len(), "the backend refused events: kept in the dead letters");
        let bad = |first: usize, count: usize| {
            let here = events.iter().filter(|&&event| (first..first + count).contains(&event));
            here.map(|event| event - first).collect()
        };
        held.settle(bad, &self.dead_letters, &why);
    }

    /// The whole group is refused.
    fn refused(&self, held: &mut Held, cause: &Cause) {
        let all: Vec<usize> = (0..held.events()).collect();
        self.rejected(held, &all, cause);
    }
}

/// What has been taken from the queue and is not yet settled, last group first. Dropped at the deadline, it tells the
/// sources to read again.
struct Held {
    groups: Vec<Group>,
    queue: Arc<Queue>,
    state: Arc<Plugin>,
    retire: CancellationToken,
}

impl Held {
    /// The last group is answered for: `bad` names the refused events of each entry (first index, count); they become
    /// dead letters, the others are delivered.
    fn settle(
        &mut self,
        bad: impl Fn(usize, usize) -> Vec<usize>,
        dead_letters: &DeadLetters,
        why: &str,
    ) {
        let counters = &self.state.counters;
        let mut first = 0;
        for entry in self.groups.pop().into_iter().flatten() {
            let count = entry.events();
            let refused = bad(first, count);
            first += count;
            self.queue.done(&entry);
            counters.delivered.fetch_add((count - refused.len()) as u64, Relaxed);
            if refused.is_empty() {
                counters.delivered_bytes.fetch_add(entry.bytes as u64, Relaxed);
                entry.resolve(Fate::Delivered);
                continue;
            }
            counters.drop_events("rejected", refused.len() as u64);
            match dead_letters.write(&self.state, &entry.piece, &refused, why) {
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
    fn events(&self) -> usize {
        self.groups.last().map_or(0, |group| group.iter().map(Entry::events).sum())
    }

    /// Parts the named events from the last group, to be settled first: they are the last group then, the others the one
    /// before it. False when none of them is in it.
    fn part(&mut self, events: &[usize]) -> bool {
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
    fn halve(&mut self) -> bool {
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
        if self.retire.is_cancelled() {
            self.queue.put_back(entries.collect());
        } else {
            entries.for_each(|entry| self.queue.leave(entry));
        }
    }
}
