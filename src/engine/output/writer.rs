//! One write until it is settled: the tries, and what each answer leads to.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use sentinel_contract::{Cause, Output, Piece, WriteError};
use tokio::time::Instant;

use super::Shared;
use super::held::Held;
use super::window::{Turn, Window};
use crate::backoff::Backoff;
use crate::panic::guard_async;
use crate::telemetry::Condition;

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

/// One instance of the plugin, and what it needs to write.
pub(super) struct Writer {
    output: Box<dyn Output>,
    rebuilt: bool,
    backoff: Backoff,
    shared: Arc<Shared>,
    window: Arc<Window>,
}

/// A write that is over.
pub(super) struct Done {
    pub(super) writer: Writer,
    pub(super) number: u64,
    /// Nothing had to be tried again.
    pub(super) smooth: bool,
}

impl Writer {
    pub(super) fn new(output: Box<dyn Output>, shared: Arc<Shared>, window: Arc<Window>) -> Self {
        let seed = Arc::as_ptr(&shared) as u64 ^ crate::clock::now_ms() as u64;
        Writer { output, rebuilt: false, backoff: Backoff::new(seed), shared, window }
    }

    pub(super) fn into_output(self) -> Box<dyn Output> {
        self.output
    }

    /// Whether the plugin panicked and was built again: it knows nothing any more of what its siblings do.
    pub(super) fn was_rebuilt(&self) -> bool {
        self.rebuilt
    }

    /// Writes what is held until all of it is settled, or given back. The first request has this turn.
    pub(super) async fn write(mut self, number: u64, mut held: Held, turn: Turn) -> Done {
        let smooth = match guard_async(self.deliver(&mut held, turn)).await {
            Ok(smooth) => smooth,
            Err(words) => {
                // Not the output's: a receipt's, for one. The sources of what is left are told that it is lost.
                tracing::error!(error = %words, "a write broke off");
                false
            }
        };
        drop(held);
        Done { writer: self, number, smooth }
    }

    /// Writes until every group is delivered or its bad events are found. False when something had to be tried again.
    async fn deliver(&mut self, held: &mut Held, turn: Turn) -> bool {
        let (mut panics, mut smooth, mut turn) = (0, true, Some(turn));
        let mut tally = Tally::default();
        let (shared, window) = (Arc::clone(&self.shared), Arc::clone(&self.window));
        while let Some(group) = held.groups.last() {
            if turn.is_none() {
                tokio::select! {
                    next = window.turn() => turn = Some(next),
                    () = shared.halt.cancelled() => {}
                }
            }
            if shared.halt.is_cancelled() {
                return smooth; // what is held goes back to the queue
            }
            if let Some(pause) = window.closed_for().filter(|_| !shared.drain.is_cancelled()) {
                turn = None;
                self.pause(pause).await; // another write was told to
                continue;
            }
            let pieces: Vec<Piece> = group.iter().map(|entry| entry.piece.clone()).collect();
            let settled = tally.settled();
            let started = Instant::now();
            let answer = self.attempt(&pieces, &mut panics).await;
            drop(pieces);
            shared.state.counters.call(started.elapsed());
            match answer {
                Ok(()) => {
                    if shared.state.condition() != Condition::Active {
                        tracing::info!("delivering again");
                    }
                    shared.state.set(Condition::Active);
                    self.backoff.reset();
                    tally.taken += held.events();
                    held.settle(|_, _| Vec::new(), &shared.dead_letters, "");
                }
                Err(WriteError::Retry { after, cause }) => {
                    let pause = self.backoff.next(after);
                    window.halve(started, after.map(|_| pause));
                    self.report(Condition::Retrying, &cause, pause);
                    (smooth, turn) = (false, None); // others need not wait for the end of this pause
                    self.pause(pause).await;
                }
                Err(WriteError::Hold { cause }) => {
                    window.halve(started, Some(PROBE)); // it would refuse the others too
                    self.report(Condition::Held, &cause, PROBE);
                    (smooth, turn) = (false, None);
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
                    self.backoff.reset();
                }
                Err(WriteError::Partly { events, cause }) => {
                    // An answer that names nothing of what was sent is one that does not say what is bad.
                    let alone = held.part(&events) || !held.halve();
                    self.search(held, alone, &cause, &mut tally).await;
                }
                Err(WriteError::Refuse { cause }) => {
                    let alone = !held.halve();
                    self.search(held, alone, &cause, &mut tally).await;
                }
            }
            if tally.refused > 0 && tally.settled() > settled {
                // A backend that refuses everything all day must not look well.
                let all = tally.taken == 0;
                shared.state.set(if all { Condition::Rejecting } else { Condition::Active });
            }
        }
        smooth
    }

    /// After a refusal: when it was of a part that is `alone` (one event, or named ones), this is settled, with a pause
    /// when there were many refusals of this write already.
    async fn search(&mut self, held: &mut Held, alone: bool, cause: &Cause, tally: &mut Tally) {
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
            let pause = self.backoff.next(None);
            self.pause(pause).await;
        }
    }

    /// Waits before the next try. While the agent stops there is little time left: whatever the pause was to be, the
    /// backend is asked at once and then each second until the deadline.
    async fn pause(&mut self, pause: Duration) {
        if self.shared.drain.is_cancelled() {
            return tokio::time::sleep(pause.min(LAST_TRIES)).await;
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.shared.drain.cancelled() => {}
            () = self.shared.halt.cancelled() => {}
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
                self.shared.state.counters.restarts.fetch_add(1, Relaxed);
                tracing::error!(error = %words, "the plugin panicked and is built again");
                match (self.shared.rebuild)() {
                    Ok(output) => (self.output, self.rebuilt) = (output, true),
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
        self.shared.state.fail(condition, format!("{cause:#}"));
    }

    /// The backend named the bad events; the rest was taken.
    fn rejected(&self, held: &mut Held, events: &[usize], cause: &Cause) {
        let why = format!("{cause:#}");
        self.shared.state.counters.error(crate::clock::now_ms(), why.clone());
        tracing::warn!(error = %why, events = events.len(), "the backend refused events: kept in the dead letters");
        let bad = |first: usize, count: usize| {
            let here = events.iter().filter(|&&event| (first..first + count).contains(&event));
            here.map(|event| event - first).collect()
        };
        held.settle(bad, &self.shared.dead_letters, &why);
    }

    /// The whole group is refused.
    fn refused(&self, held: &mut Held, cause: &Cause) {
        let all: Vec<usize> = (0..held.events()).collect();
        self.rejected(held, &all, cause);
    }
}
