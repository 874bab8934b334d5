//! What is counted of one group in one window, and the series and events that are made of it when the window is over.
//!
//! Of the templates' counts only the `top` most frequent are written, and the set changes by one template a window at
//! most once it is full: a burst of templates must not become a burst of series. The rest is summed up as `other`.

use std::collections::HashSet;
use std::sync::Arc;

use sentinel_contract::{Kind, Labels, Metric, Series};
use serde::{Deserialize, Serialize};

use super::drain::Tree;

/// The series of a group, by index.
const SERIES: [&str; 9] = [
    "log_lines",
    "log_error_lines",
    "log_line_error_rate",
    "log_patterns",
    "log_new_patterns",
    "log_new_patterns_untold",
    "log_pattern_evictions",
    "log_unseen",
    "log_late",
];
const LINES: usize = 0;
const ERRORS: usize = 1;
const ERROR_RATE: usize = 2;
const PATTERNS: usize = 3;
const NEW: usize = 4;
const UNTOLD: usize = 5;
const EVICTIONS: usize = 6;
const UNSEEN: usize = 7;
pub(super) const LATE: usize = 8;
/// These have names that other observers use too.
const SHARED_NAMES: usize = 7;
/// The label that tells them apart, and the stream of events.
pub(super) const SOURCE: (&str, &str) = ("source", "log_patterns");
/// A template's count of an hour ago weighs half.
const HALF_LIFE_NS: f64 = 3600e9;

/// A window that is not over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    /// Its start, in windows since 1970.
    pub(super) index: i64,
    pub(super) lines: u64,
    pub(super) errors: u64,
    pub(super) new: u64,
    pub(super) evictions: u64,
    pub(super) unseen: u64,
    /// By the template's place; the lines that are missing were of none or of one that was given up.
    pub(super) counts: Vec<u32>,
}

impl Window {
    pub(super) fn count(&mut self, slot: u32) {
        let slot = slot as usize;
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, 0);
        }
        self.counts[slot] += 1;
    }

    /// One template became part of another.
    pub(super) fn absorb(&mut self, from: u32, to: u32) {
        let count = self.counts.get(from as usize).copied().unwrap_or(0);
        if count > 0 {
            self.give_up(from);
            self.count(to);
            self.counts[to as usize] += count - 1;
        }
    }

    /// The place is another template's from now on.
    pub(super) fn give_up(&mut self, slot: u32) {
        if let Some(count) = self.counts.get_mut(slot as usize) {
            *count = 0;
        }
    }
}

/// A template whose counts are written.
#[derive(Debug)]
struct Shown {
    slot: usize,
    id: u64,
    series: Arc<Series>,
}

/// The series of a group.
#[derive(Debug)]
pub(super) struct Written {
    labels: Labels,
    series: [Option<Arc<Series>>; SERIES.len()],
    shown: Vec<Shown>,
    other: Option<Arc<Series>>,
    top: usize,
    decay: f64,
}

/// A template's id as people see it.
pub(super) fn id_text(id: u64) -> String {
    format!("{:012x}", id >> 16)
}

/// What is known beside the window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Beside {
    /// End of the window, milliseconds since 1970.
    pub(super) time_ms: i64,
    /// The learning period was over when the window began.
    pub(super) has_learned: bool,
    /// New templates of which no event tells.
    pub(super) untold: u64,
}

impl Written {
    pub(super) fn new(labels: Labels, top: usize, window_ns: i64) -> Self {
        Written {
            labels,
            series: [const { None }; SERIES.len()],
            shown: Vec::new(),
            other: None,
            top,
            decay: 0.5_f64.powf(window_ns as f64 / HALF_LIFE_NS),
        }
    }

    pub(super) fn series(&mut self, index: usize) -> Arc<Series> {
        let labels = &self.labels;
        let make = || {
            let source = (index >= SHARED_NAMES).then_some(SOURCE);
            Series::new(SERIES[index], Kind::Gauge, labels.iter().chain(source))
        };
        Arc::clone(self.series[index].get_or_insert_with(make))
    }

    /// The samples of a window that is over.
    pub(super) fn close(
        &mut self,
        window: &Window,
        tree: &mut Tree,
        beside: Beside,
        out: &mut Vec<Metric>,
    ) {
        let time_ms = beside.time_ms;
        let mut push = |series: Arc<Series>, value: u64| {
            out.push(Metric { series, time_ms, value: value as f64 });
        };
        push(self.series(LINES), window.lines);
        push(self.series(ERRORS), window.errors);
        push(self.series(PATTERNS), tree.templates().count() as u64);
        if beside.has_learned {
            push(self.series(NEW), window.new);
        }
        for (index, value) in
            [(UNTOLD, beside.untold), (EVICTIONS, window.evictions), (UNSEEN, window.unseen)]
        {
            if value > 0 {
                push(self.series(index), value);
            }
        }
        self.choose(window, tree);
        let mut rest = window.lines;
        for it in &self.shown {
            let count = window.counts.get(it.slot).copied().unwrap_or(0);
            rest = rest.saturating_sub(u64::from(count));
            push(Arc::clone(&it.series), u64::from(count));
        }
        if self.top > 0 {
            let labels = &self.labels;
            let other = self.other.get_or_insert_with(|| pattern_series(labels, "other"));
            push(Arc::clone(other), rest);
        }
        if window.lines > 0 {
            let value = window.errors as f64 / window.lines as f64;
            out.push(Metric { series: self.series(ERROR_RATE), time_ms, value });
        }
    }

    /// Decides which templates are shown.
    fn choose(&mut self, window: &Window, tree: &mut Tree) {
        for (slot, template) in tree.slots.iter_mut().enumerate() {
            let count = window.counts.get(slot).copied().unwrap_or(0);
            template.weight = sixteenths(template.weight * self.decay) + f64::from(count);
        }
        self.shown.retain(|it| tree.slots.get(it.slot).is_some_and(|slot| slot.id == it.id));
        let weight = |slot: usize| tree.slots[slot].weight;
        // An id is that of a template's first form: two that grew from the same form have the same, and one is shown.
        let id = |slot: usize| tree.slots[slot].id;
        let mut taken: HashSet<u64> = self.shown.iter().map(|it| it.id).collect();
        let mut candidates: Vec<usize> =
            (0..tree.slots.len()).filter(|slot| weight(*slot) > 0.0).collect();
        candidates.sort_by(|a, b| weight(*b).total_cmp(&weight(*a)).then(a.cmp(b)));
        candidates.retain(|slot| taken.insert(id(*slot)));
        let room = self.top.saturating_sub(self.shown.len());
        for slot in candidates.iter().take(room) {
            self.show(*slot, tree.slots[*slot].id);
        }
        let Some(best) = candidates.get(room).copied() else { return };
        let lightest = (0..self.shown.len())
            .min_by(|a, b| weight(self.shown[*a].slot).total_cmp(&weight(self.shown[*b].slot)));
        if let Some(lightest) = lightest
            && weight(best) > 2.0 * weight(self.shown[lightest].slot)
        {
            self.shown.remove(lightest);
            self.show(best, tree.slots[best].id);
        }
    }

    /// Shows a template.
    pub(super) fn show(&mut self, slot: usize, id: u64) {
        let series = pattern_series(&self.labels, &id_text(id));
        self.shown.push(Shown { slot, id, series });
    }

    /// The ids of those shown.
    pub(super) fn shown(&self) -> Vec<u64> {
        self.shown.iter().map(|it| it.id).collect()
    }
}

/// Rounded, so that a snapshot gives back the same number.
pub(super) fn sixteenths(number: f64) -> f64 {
    (number * 16.0).round() / 16.0
}

fn pattern_series(labels: &Labels, pattern: &str) -> Arc<Series> {
    Series::new("log_pattern_lines", Kind::Gauge, labels.iter().chain([("pattern", pattern)]))
}
