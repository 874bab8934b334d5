//! One group: its templates, its event time, its open windows.
//!
//! A window is over when the watermark has passed its end. What comes later teaches templates and is counted as late.
//! The first window after a fresh start is not whole and is not written. A group that fell silent is written as
//! zeros for an hour: that it stopped must be seen.

use std::sync::Arc;

use sentinel_contract::{Labels, Log, Metric, Value};

use super::drain::{Found, Tree};
use super::level::Level;
use super::news::{News, Voice, stream};
use super::text::Line;
use super::window::{Beside, LATE, Window, Written};
use crate::grouping::Role;
use crate::watermark::{Pace, Start, Tick, Watermark};

/// How long a silent group is remembered.
pub(super) const MEMORY_NS: i64 = 3600 * 1_000_000_000;
/// Windows open at once beside those that the lateness keeps open; a line beyond is counted as too far ahead.
const MAX_OPEN: usize = 64;
/// Empty windows written in one go; a longer gap (in old logs) is passed over.
const MAX_SILENT: i64 = 120;
/// What all groups share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) pace: Pace,
    pub(super) max_patterns: usize,
    pub(super) similarity: f64,
    pub(super) top: usize,
    pub(super) events_per_hour: f64,
    pub(super) learning_ns: i64,
    pub(super) line: Line,
    pub(super) messages: Vec<Role>,
    pub(super) status: Role,
    pub(super) method: Role,
    pub(super) started_ms: Option<i64>,
    pub(super) now_ms: Option<i64>,
    /// A snapshot goes on where it ends: nothing is missing between.
    pub(super) of_a_partition: bool,
}

impl Shared {
    /// Where a group stands with a snapshot.
    pub(super) fn resumed(&self) -> Start {
        if self.of_a_partition { Start::Running } else { Start::Resumed(None) }
    }
}

/// What is made.
#[derive(Debug, Default)]
pub(super) struct Out {
    pub(super) metrics: Vec<Metric>,
    pub(super) logs: Vec<Log>,
}

/// What is counted beside the series.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tallies {
    pub(super) late: u64,
    pub(super) partial: u64,
    pub(super) ahead: u64,
    pub(super) unseen: u64,
    pub(super) cut: u64,
}

/// One group.
#[derive(Debug)]
pub(super) struct Group {
    /// In the order of `group_by`.
    pub(super) values: Vec<Box<str>>,
    pub(super) tree: Tree,
    pub(super) watermark: Watermark,
    pub(super) windows: Vec<Window>,
    /// Windows before this one are closed.
    pub(super) next: i64,
    /// Windows before this one were not whole when lines began to come.
    pub(super) first: i64,
    pub(super) start: Start,
    /// The earliest time of its lines.
    pub(super) since_ns: i64,
    pub(super) last_window: i64,
    pub(super) news: News,
    pub(super) tallies: Tallies,
    pub(super) written: Written,
    voice: Voice,
    cursor: usize,
    unseen_before: u64,
    late_written: u64,
}

impl Group {
    pub(super) fn new(values: Vec<Box<str>>, labels: &Labels, shared: &Shared) -> Self {
        let named: Vec<&str> =
            values.iter().map(|value| &**value).filter(|value| !value.is_empty()).collect();
        let host = labels.get("host").unwrap_or_default();
        let voice = Voice {
            stream: stream(labels),
            group: [host, &named.join(" ")].join(" ").trim().to_owned(),
            per_hour: shared.events_per_hour,
        };
        Group {
            values,
            tree: Tree::new(shared.max_patterns, shared.similarity),
            watermark: Watermark::default(),
            windows: Vec::new(),
            next: i64::MIN,
            first: i64::MIN,
            start: Start::Fresh,
            since_ns: i64::MAX,
            last_window: i64::MIN,
            news: News::default(),
            tallies: Tallies::default(),
            written: Written::new(labels.clone(), shared.top, shared.pace.window_ns),
            voice,
            cursor: 0,
            unseen_before: 0,
            late_written: 0,
        }
    }

    /// Counts a line; false when there is no room for its window.
    pub(super) fn line(&mut self, log: &Log, label: Option<Level>, shared: &mut Shared) -> bool {
        if self.start != Start::Running {
            self.begin(log.time_ns, shared);
        }
        let index = log.time_ns.div_euclid(shared.pace.window_ns);
        let cursor = if index < self.next { None } else { self.open(index, shared.pace) };
        if cursor.is_none() && index >= self.next {
            return false;
        }
        self.since_ns = self.since_ns.min(log.time_ns);
        let level = read(log, label, shared);
        self.tallies.cut += u64::from(shared.line.is_cut);
        let found = (!shared.line.tokens.is_empty()).then(|| self.tree.find(&shared.line, level));
        while let Some((from, to)) = self.tree.absorbed.pop() {
            self.windows.iter_mut().for_each(|window| window.absorb(from, to));
            self.news.absorb(from, to, self.tree.slots[to as usize].id);
        }
        let is_news = self.news_of(found, log, level, index, shared);
        let Some(cursor) = cursor else {
            let tally =
                if index < self.first { &mut self.tallies.partial } else { &mut self.tallies.late };
            *tally += 1;
            return true;
        };
        self.last_window = self.last_window.max(index);
        let window = &mut self.windows[cursor];
        window.lines += 1;
        window.errors += u64::from(level == Level::Error);
        window.new += u64::from(is_news);
        if let Some(Found::Known(slot) | Found::New { slot, .. }) = found {
            window.evictions += u64::from(matches!(found, Some(Found::New { replaced: true, .. })));
            window.count(slot);
        }
        true
    }

    /// Whether a template is news; then it is told of.
    fn news_of(
        &mut self,
        found: Option<Found>,
        log: &Log,
        level: Level,
        index: i64,
        shared: &Shared,
    ) -> bool {
        let Some(Found::New { slot, replaced, returned }) = found else { return false };
        if replaced {
            self.windows.iter_mut().for_each(|window| window.give_up(slot));
        }
        let has_learned = log.time_ns.saturating_sub(self.since_ns) >= shared.learning_ns;
        if returned || !has_learned {
            return false;
        }
        self.news.add(slot, self.tree.slots[slot as usize].id, level, index, log);
        true
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

    fn open(&mut self, index: i64, pace: Pace) -> Option<usize> {
        if self.windows.get(self.cursor).is_some_and(|window| window.index == index) {
            return Some(self.cursor);
        }
        let max_open = MAX_OPEN + (pace.lateness_ns / pace.window_ns) as usize;
        let place = match self.windows.binary_search_by_key(&index, |window| window.index) {
            Ok(place) => place,
            Err(_) if self.windows.len() >= max_open => return None,
            Err(place) => {
                let unseen = std::mem::take(&mut self.unseen_before);
                self.windows.insert(place, Window { index, unseen, ..Window::default() });
                place
            }
        };
        self.cursor = place;
        Some(place)
    }

    /// The times of lines of one source that were counted.
    pub(super) fn hear(&mut self, source: u64, logs: &[Log], shared: &Shared, out: &mut Out) {
        self.watermark.hear(source, logs.iter().map(|log| log.time_ns), shared.now_ms);
        self.advance(shared, out);
    }

    /// Lines that may have been of this group were not seen: the open windows say so, or the next one.
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
        let window_ns = shared.pace.window_ns;
        let end = reached_ns.div_euclid(window_ns); // the first window that is not over
        self.news.tell(
            end,
            end.saturating_mul(window_ns),
            &mut self.tree,
            &self.voice,
            &mut out.logs,
        );
        if self.next >= end && self.tallies.late == self.late_written {
            return;
        }
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
        let late = self.tallies.late - self.late_written;
        if late > 0 {
            self.late_written = self.tallies.late;
            let series = self.written.series(LATE);
            out.metrics.push(Metric {
                series,
                time_ms: reached_ns / 1_000_000,
                value: late as f64,
            });
        }
    }

    /// Writes the window `self.next`; false when there is nothing to write about.
    fn close(&mut self, window: Option<Window>, shared: &Shared, out: &mut Out) -> bool {
        let index = self.next;
        let window_ns = shared.pace.window_ns;
        if window.is_none() && self.last_window < index - MEMORY_NS / window_ns {
            return false; // long silent
        }
        let window = window.unwrap_or(Window { index, ..Window::default() });
        let began_ns = index.saturating_mul(window_ns);
        let beside = Beside {
            time_ms: (index + 1) * (window_ns / 1_000_000),
            has_learned: shared.learning_ns == 0
                || began_ns.saturating_sub(self.since_ns) >= shared.learning_ns,
            untold: std::mem::take(&mut self.news.untold_before),
        };
        self.written.close(&window, &mut self.tree, beside, &mut out.metrics);
        true
    }
}

/// Reads what is mined of a line into `shared.line`, and says how bad it is.
fn read(log: &Log, label: Option<Level>, shared: &mut Shared) -> Level {
    let Shared { line, messages, status, method, .. } = shared;
    let Some(fields) = &log.fields else {
        line.read(&log.body, label.is_none());
        return label.or(line.level).unwrap_or_default();
    };
    // A request: its method and status are all of its template.
    let code = status.find(fields).map_or([0; 3], |value| status_digits(log, value));
    if code[0] != 0
        && let Some(verb) = method.find(fields)
    {
        let verb = text(log, verb);
        let is_verb = (1..=10).contains(&verb.len()) && verb.iter().all(u8::is_ascii_uppercase);
        line.request(if is_verb { verb } else { b"other" }, &code);
        return if code[0] == b'5' { Level::Error } else { Level::Normal };
    }
    let known = label.or_else(|| Level::of_field(log));
    let message = messages.iter_mut().find_map(|role| {
        role.find(fields).map(|value| text(log, value)).filter(|text| !text.is_empty())
    });
    line.read(message.unwrap_or(&log.body), known.is_none());
    known.or(line.level).unwrap_or_default()
}

fn text<'l>(log: &'l Log, value: &'l Value) -> &'l [u8] {
    match value {
        Value::Slice(start, end) => {
            log.body.get(*start as usize..*end as usize).unwrap_or_default()
        }
        Value::Text(text) => text.as_bytes(),
        Value::Number(_) => &[],
    }
}

/// The digits of a status of HTTP, zeros when it is none.
fn status_digits(log: &Log, value: &Value) -> [u8; 3] {
    match value {
        Value::Number(code) if (100.0..600.0).contains(code) => {
            let code = *code as u16;
            [code / 100, code / 10 % 10, code % 10].map(|digit| b'0' + digit as u8)
        }
        Value::Number(_) => [0; 3],
        value => match text(log, value) {
            [a @ b'1'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9'] => [*a, *b, *c],
            _ => [0; 3],
        },
    }
}

/// The labels of a group: the agent's, and its own.
pub(super) fn labels(
    tags: &[(Box<str>, Box<str>)],
    by: &[Box<str>],
    values: &[Box<str>],
) -> Arc<Labels> {
    Arc::new(Labels::new(
        tags.iter().cloned().chain(by.iter().cloned().zip(values.iter().cloned())),
    ))
}
