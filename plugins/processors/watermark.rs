//! Event time, for the observers that count lines in windows: how far the sources have come, and so which windows are whole.
//!
//! The watermark is the least over the active sources of the latest time each has shown, less the allowed lateness. A
//! source that is idle holds nothing back; when all are, the watermark follows the given clock. It never
//! goes back. One line from the future does not move it: a source's time leaps only when the next line agrees.

use std::collections::HashMap;

const SECOND_NS: i64 = 1_000_000_000;

/// A leap of event time that must be confirmed, unless the clock says that it is in the past.
const LEAP_NS: i64 = 3600 * SECOND_NS;

/// A source that reads old lines is given this long between two batches before it counts as idle.
const BACKLOG_IDLE_MS: i64 = 60_000;

/// The given clock moves once a second, so a source was heard up to this much later than it says: one that speaks all the
/// time must not be idle between two ticks, or its lines would be late as soon as the machine is.
const TICK_MS: i64 = 1000;

/// How long a silent source is waited for after a restart.
const RESUME_MS: i64 = 60_000;

/// Sources kept; idle ones beyond are forgotten.
const MAX_SOURCES: usize = 1024;

#[derive(Debug)]
struct Source {
    newest_ns: i64,
    leap: bool,
    heard_ms: i64,
}

/// The event clock of some sources.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    sources: HashMap<u64, Source, foldhash::fast::FixedState>,
    reached_ns: Option<i64>,
}

/// What decides when a source is idle.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) lateness_ns: i64,
    pub(crate) idle_ms: i64,
    pub(crate) window_ns: i64,
}

impl Pace {
    /// The first window that begins after `now_ms`.
    pub(crate) fn window_after(self, now_ms: i64) -> i64 {
        now_ms.saturating_mul(1_000_000).div_euclid(self.window_ns) + 1
    }
}

/// Where what counts lines in windows stands after the agent's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// No line yet.
    Fresh,
    /// Windows of a snapshot, no line yet; since when, on the given clock.
    Resumed(Option<i64>),
    /// Lines have come.
    Running,
}

/// What a tick may do with the open windows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Nothing yet.
    Wait,
    /// Drop those of the snapshot, whose lines did not come, and go on from now.
    GiveUp,
    /// Close those that are over.
    Close,
}

impl Start {
    /// Time has gone on. After a restart a silent source is waited for before its old windows are given up.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Tick {
        match *self {
            Start::Fresh => Tick::Wait,
            Start::Resumed(None) => {
                *self = Start::Resumed(Some(now_ms));
                Tick::Wait
            }
            Start::Resumed(Some(since)) if now_ms - since < RESUME_MS => Tick::Wait,
            Start::Resumed(Some(_)) => {
                *self = Start::Running;
                Tick::GiveUp
            }
            Start::Running => Tick::Close,
        }
    }
}

impl Watermark {
    /// Times of one batch of `source`, in its order.
    pub(crate) fn hear(
        &mut self,
        source: u64,
        times_ns: impl Iterator<Item = i64>,
        now_ms: Option<i64>,
    ) {
        if self.sources.len() >= MAX_SOURCES && !self.sources.contains_key(&source) {
            let oldest = self.sources.iter().min_by_key(|(_, it)| it.heard_ms).map(|(id, _)| *id);
            oldest.map(|id| self.sources.remove(&id));
        }
        let now_ns = now_ms.map(|now| now.saturating_mul(1_000_000));
        let mut times = times_ns.peekable();
        let Some(first) = times.peek() else { return };
        let start = Source { newest_ns: *first, leap: false, heard_ms: 0 };
        let it = self.sources.entry(source).or_insert(start);
        it.heard_ms = now_ms.unwrap_or(0);
        for time in times {
            if time <= it.newest_ns {
                it.leap = false;
            } else if time <= it.newest_ns.saturating_add(LEAP_NS)
                || it.leap
                || now_ns.is_some_and(|now| time <= now)
            {
                it.newest_ns = time;
                it.leap = false;
            } else {
                it.leap = true;
            }
        }
    }

    /// Moves it on, and returns where it stands.
    pub(crate) fn advance(&mut self, pace: Pace, now_ms: Option<i64>) -> Option<i64> {
        let is_active = |source: &&Source| {
            let Some(now) = now_ms else { return true };
            let lag_ns = now.saturating_mul(1_000_000).saturating_sub(source.newest_ns);
            let reads_backlog = lag_ns > pace.lateness_ns.saturating_add(pace.window_ns);
            let patience =
                if reads_backlog { pace.idle_ms.max(BACKLOG_IDLE_MS) } else { pace.idle_ms };
            now - source.heard_ms <= patience + TICK_MS
        };
        let slowest = self.sources.values().filter(is_active).map(|source| source.newest_ns).min();
        let reached = slowest.or_else(|| now_ms.map(|now| now.saturating_mul(1_000_000)))?;
        self.reached_ns = self.reached_ns.max(Some(reached.saturating_sub(pace.lateness_ns)));
        self.reached_ns
    }

    /// Where it stands.
    pub(crate) fn reached_ns(&self) -> Option<i64> {
        self.reached_ns
    }
}
