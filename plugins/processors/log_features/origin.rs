//! One origin's windows: lines into cells, whole windows out.
//!
//! A window is closed when the watermark has passed its end. What comes later is counted, not squeezed in. The first
//! window after a fresh start is not whole and is not written. A known group that was silent is written as zeros
//! for an hour: that traffic has stopped must be seen.

use std::sync::Arc;

use sentinel_contract::{Emit, Events, Evidence, Kind, Log, Metric, Series};

use super::SECOND_NS;
use super::cell::{Cell, Roles};
use super::group::{Groups, Owners, Room};
use crate::grouping::Grouping;
use crate::watermark::{Pace, Start, Tick, Watermark};

/// How long a silent group is remembered.
const MEMORY_NS: i64 = 3600 * SECOND_NS;

/// Windows open at once beside those that the lateness keeps open; a line beyond is counted as too far ahead.
const MAX_OPEN: usize = 256;

/// Empty windows written in one go; a longer gap (in old logs) is passed over.
const MAX_SILENT: i64 = 120;

/// What is counted beside the features.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    pub(super) late: u64,
    pub(super) partial: u64,
    pub(super) ahead: u64,
    pub(super) unseen: u64,
}

/// What closed windows give.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) metrics: Vec<Metric>,
    pub(super) evidence: Vec<Evidence>,
}

impl Out {
    /// The evidence goes first: a detector closes its frame when it sees the metrics of the next.
    pub(super) fn emit(self, emit: &mut Emit) {
        emit.push(Events::Evidence(self.evidence));
        emit.push(Events::Metrics(self.metrics));
    }
}

/// A window that is not closed yet.
#[derive(Debug)]
pub(super) struct Window {
    /// Its start, in windows since 1970.
    pub(super) index: i64,
    /// By group.
    pub(super) cells: Vec<Option<Box<Cell>>>,
    pub(super) unseen: u64,
}

/// One origin.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) name: Arc<str>,
    pub(super) watermark: Watermark,
    pub(super) groups: Groups,
    /// In the order of their time.
    pub(super) windows: Vec<Window>,
    /// Windows before this one are closed.
    pub(super) next: i64,
    /// Windows before this one were not whole when lines began to come.
    first: i64,
    pub(super) start: Start,
    pub(super) tallies: Tallies,
    cursor: usize,
    unseen_before: u64,
    late_written: u64,
    late_series: Arc<Series>,
}

/// What all origins share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pace: Pace,
    pub(super) grouping: Grouping,
    pub(super) roles: Roles,
    pub(super) owners: Owners,
    /// The first time given.
    pub(super) started_ms: Option<i64>,
    pub(super) now_ms: Option<i64>,
    /// A snapshot goes on where it ends: nothing is missing between.
    pub(super) of_a_partition: bool,
}

impl Shared {
    /// Where it stands with a snapshot.
    pub(super) fn resumed(&self) -> Start {
        if self.of_a_partition { Start::Running } else { Start::Resumed(None) }
    }
}

impl Origin {
    pub(super) fn new(name: Arc<str>, shared: &Shared) -> Self {
        let labels =
            shared.grouping.tags.iter().cloned().chain([("origin".into(), (*name).into())]);
        let late_series = Series::new("log_late", Kind::Gauge, labels);
        Origin {
            name,
            watermark: Watermark::default(),
            groups: Groups::default(),
            windows: Vec::new(),
            next: i64::MIN,
            first: i64::MIN,
            start: Start::Fresh,
            tallies: Tallies::default(),
            cursor: 0,
            unseen_before: 0,
            late_written: 0,
            late_series,
        }
    }

    /// Takes a batch of one source.
    pub(super) fn take(&mut self, source: u64, logs: &[Log], shared: &mut Shared, out: &mut Out) {
        let Some(first) = logs.first() else { return };
        if self.start != Start::Running {
            self.begin(first.time_ns, shared);
        }
        let mut heard = 0;
        for (index, log) in logs.iter().enumerate() {
            if self.line(log, shared) {
                continue;
            }
            // Old lines, many windows in one batch: close what can be closed, then there is room.
            self.hear(source, &logs[heard..=index], shared, out);
            heard = index + 1;
            self.tallies.ahead += u64::from(!self.line(log, shared));
        }
        self.hear(source, &logs[heard..], shared, out);
    }

    fn hear(&mut self, source: u64, logs: &[Log], shared: &Shared, out: &mut Out) {
        self.watermark.hear(source, logs.iter().map(|log| log.time_ns), shared.now_ms);
        self.advance(shared, out);
    }

    /// The first line decides which window is the first whole one.
    fn begin(&mut self, time_ns: i64, shared: &Shared) {
        let window = time_ns.div_euclid(shared.pace.window_ns);
        let goes_on = self.windows.iter().any(|open| open.index == window);
        if !goes_on {
            // Of a snapshot: whether these windows had more lines, nobody knows.
            self.windows.clear();
            let start_ms = window.saturating_mul(shared.pace.window_ns / 1_000_000);
            let is_whole = self.start == Start::Fresh
                && shared.started_ms.is_some_and(|started| start_ms >= started);
            self.next = self.next.max(if is_whole { window } else { window + 1 });
        }
        self.first = self.next;
        self.start = Start::Running;
    }

    /// Counts a line; false when there is no room for its window.
    fn line(&mut self, log: &Log, shared: &mut Shared) -> bool {
        let index = log.time_ns.div_euclid(shared.pace.window_ns);
        if index < self.next {
            let is_partial = index < self.first;
            let tally = if is_partial { &mut self.tallies.partial } else { &mut self.tallies.late };
            *tally += 1;
            return true;
        }
        if self.windows.get(self.cursor).is_none_or(|window| window.index != index) {
            let Some(cursor) = self.open(index, shared.pace) else { return false };
            self.cursor = cursor;
        }
        let forgotten = self.next.saturating_sub(MEMORY_NS / shared.pace.window_ns);
        let mut room = Room { forgotten, origin: &self.name, owners: &mut shared.owners };
        let (place, level) = self.groups.find(log, &shared.grouping, &mut room);
        let window = &mut self.windows[self.cursor];
        if place >= window.cells.len() {
            window.cells.resize_with(place + 1, || None);
        }
        let cell = window.cells[place].get_or_insert_default();
        let (traits, method) = cell.take(log, &mut shared.roles, level);
        let group = &mut self.groups.all[place];
        group.traits |= traits;
        group.methods |= method;
        group.first_window = group.first_window.min(index);
        group.last_window = group.last_window.max(index);
        true
    }

    fn open(&mut self, index: i64, pace: Pace) -> Option<usize> {
        let max_open = MAX_OPEN + (pace.lateness_ns / pace.window_ns) as usize;
        match self.windows.binary_search_by_key(&index, |window| window.index) {
            Ok(place) => Some(place),
            Err(_) if self.windows.len() >= max_open => None,
            Err(place) => {
                let unseen = std::mem::take(&mut self.unseen_before);
                self.windows.insert(place, Window { index, cells: Vec::new(), unseen });
                Some(place)
            }
        }
    }

    /// Lines of this origin were not seen: the open windows say so, and the next one when none is open.
    pub(super) fn unseen(&mut self, events: u64) {
        self.tallies.unseen += events;
        if self.windows.is_empty() {
            self.unseen_before += events;
        }
        for window in &mut self.windows {
            window.unseen += events;
        }
    }

    /// Time has gone on.
    pub(super) fn tick(&mut self, shared: &Shared, out: &mut Out) {
        let Some(now_ms) = shared.now_ms else { return };
        match self.start.tick(now_ms) {
            Tick::Wait => return,
            Tick::GiveUp => {
                self.windows.clear();
                self.next = self.next.max(shared.pace.window_after(now_ms));
            }
            Tick::Close => {}
        }
        self.advance(shared, out);
    }

    /// Closes the windows that the watermark has passed.
    fn advance(&mut self, shared: &Shared, out: &mut Out) {
        let Some(reached_ns) = self.watermark.advance(shared.pace, shared.now_ms) else { return };
        let end = reached_ns.div_euclid(shared.pace.window_ns); // the first window that is not over
        let mut silent = 0;
        while self.next < end {
            let is_open = self.windows.first().is_some_and(|window| window.index == self.next);
            let window = if is_open { Some(self.windows.remove(0)) } else { None };
            silent = if is_open { 0 } else { silent + 1 };
            let is_remembered = self.close(window, shared, out);
            self.next += 1;
            if !is_open && (!is_remembered || silent >= MAX_SILENT) {
                let next_open = self.windows.first().map_or(end, |window| window.index.min(end));
                self.next = self.next.max(next_open);
                silent = 0;
            }
        }
        self.cursor = 0;
        self.write_late(out);
    }

    /// Writes one window; false when there is no group to write about.
    fn close(&mut self, window: Option<Window>, shared: &Shared, out: &mut Out) -> bool {
        let index = self.next;
        let window_ms = shared.pace.window_ns / 1_000_000;
        let time_ms = (index + 1) * window_ms;
        let forgotten = index - MEMORY_NS / shared.pace.window_ns;
        let silence = Cell::default();
        let (cells, unseen) =
            window.map_or((Vec::new(), 0), |window| (window.cells, window.unseen));
        let mut is_remembered = false;
        for (place, group) in self.groups.all.iter_mut().enumerate() {
            let cell = cells.get(place).and_then(Option::as_deref);
            if cell.is_none() && (group.last_window < forgotten || group.first_window > index) {
                continue; // long silent, or not seen yet
            }
            is_remembered = true;
            cell.unwrap_or(&silence).features(group, time_ms, unseen, &mut out.metrics);
            out.evidence.extend(cell.and_then(|cell| cell.evidence(group, time_ms)));
        }
        is_remembered
    }

    fn write_late(&mut self, out: &mut Out) {
        let late = self.tallies.late - self.late_written;
        let Some(reached_ns) = self.watermark.reached_ns() else { return };
        if late > 0 {
            self.late_written = self.tallies.late;
            let series = Arc::clone(&self.late_series);
            out.metrics.push(Metric {
                series,
                time_ms: reached_ns / 1_000_000,
                value: late as f64,
            });
        }
    }
}
