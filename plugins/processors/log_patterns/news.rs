//! Templates that were never seen before, from the first line to the event that tells of them.
//!
//! They wait for the end of their window, so that the event can say how many lines there were and the worst are told
//! first. How many are told is bounded by the hour; what is not told is counted.

use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::{Field, Fields, Labels, Log, Name, Value};
use serde::{Deserialize, Serialize};

use super::drain::Tree;
use super::level::Level;
use super::window::{SOURCE, id_text, sixteenths};
use crate::redact;

/// Of one window so many wait; errors take the places of others.
const MAX_WAITING: usize = 64;
/// Bytes of a sample line and of a template that are shown.
pub(super) const MAX_SHOWN: usize = 400;
const HOUR_NS: f64 = 3600e9;

/// A template's first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Fresh {
    slot: u32,
    id: u64,
    level: Level,
    time_ns: i64,
    window: i64,
    /// Redacted.
    sample: String,
}

/// Those that wait, and how many may still be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct News {
    waiting: Vec<Fresh>,
    /// Events that may be told now; grows back with time.
    credit: Option<f64>,
    credit_ns: i64,
    /// Not told, ever; and those of which no window has said it.
    pub(super) untold: u64,
    pub(super) untold_before: u64,
}

/// What every event of a group has.
#[derive(Debug)]
pub(super) struct Voice {
    pub(super) stream: Arc<Labels>,
    pub(super) group: String,
    pub(super) per_hour: f64,
}

/// The event's line; the first field is for people.
#[derive(Serialize)]
struct Event<'e> {
    message: String,
    kind: &'static str,
    pattern: &'e str,
    level: &'static str,
    lines: u64,
    template: &'e str,
    sample: &'e str,
    first_seen_ms: i64,
    untold: u64,
}

impl Fresh {
    /// Lines of its template so far; none when it was given up.
    fn lines(&self, tree: &Tree) -> u64 {
        let template = tree.slots.get(self.slot as usize).filter(|template| template.id == self.id);
        template.map_or(0, |template| template.count)
    }
}

impl News {
    /// The first line of a template that nobody has seen.
    pub(super) fn add(&mut self, slot: u32, id: u64, level: Level, window: i64, log: &Log) {
        let is_full = self.waiting.len() >= MAX_WAITING;
        if is_full {
            let mildest = self.waiting.iter().enumerate().min_by_key(|(_, it)| it.level);
            match mildest.filter(|(_, it)| it.level < level).map(|(place, _)| place) {
                Some(place) => drop(self.waiting.swap_remove(place)),
                None => {
                    self.miss(1);
                    return;
                }
            }
            self.miss(1);
        }
        let sample = redact::line(&log.body, MAX_SHOWN);
        self.waiting.push(Fresh { slot, id, level, time_ns: log.time_ns, window, sample });
    }

    /// One template became part of another: it is told once.
    pub(super) fn absorb(&mut self, from: u32, to: u32, id: u64) {
        let is_told = self.waiting.iter().any(|it| it.slot == to && it.id == id);
        if is_told {
            self.waiting.retain(|it| it.slot != from);
        } else if let Some(it) = self.waiting.iter_mut().find(|it| it.slot == from) {
            (it.slot, it.id) = (to, id);
        }
    }

    fn miss(&mut self, events: u64) {
        self.untold += events;
        self.untold_before += events;
    }

    /// Tells those whose window is before `end`, which begins at `now_ns`.
    pub(super) fn tell(
        &mut self,
        end: i64,
        now_ns: i64,
        tree: &mut Tree,
        voice: &Voice,
        out: &mut Vec<Log>,
    ) {
        if !self.waiting.iter().any(|it| it.window < end) {
            return;
        }
        let credit = self.credit.unwrap_or(voice.per_hour);
        let passed = now_ns.saturating_sub(self.credit_ns).max(0) as f64 / HOUR_NS;
        let mut credit = (credit + passed.min(1.0) * voice.per_hour).min(voice.per_hour);
        let (mut due, waiting): (Vec<Fresh>, Vec<Fresh>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|it| it.window < end);
        self.waiting = waiting;
        due.sort_by_key(|it| (std::cmp::Reverse((it.level, it.lines(tree))), it.time_ns));
        for it in due {
            let lines = it.lines(tree);
            if credit < 1.0 || lines == 0 {
                self.miss(1); // too many, or given up since
                continue;
            }
            credit -= 1.0;
            out.push(self.event(&it, lines, tree, voice));
            tree.remember(it.id);
        }
        self.credit = Some(sixteenths(credit));
        self.credit_ns = now_ns;
    }

    fn event(&self, fresh: &Fresh, lines: u64, tree: &Tree, voice: &Voice) -> Log {
        let template = redact::template(&tree.slots[fresh.slot as usize].text(), MAX_SHOWN);
        let pattern = id_text(fresh.id);
        let level = match fresh.level {
            Level::Normal => "line",
            Level::Warning => "warning",
            Level::Error => "error",
        };
        let times = if lines == 1 { "once".to_owned() } else { format!("{lines} times") };
        let message = format!("{}: {level} never seen before, {times}: {template}", voice.group);
        let event = Event {
            message,
            kind: "new_pattern",
            pattern: &pattern,
            level: fresh.level.as_str(),
            lines,
            template: &template,
            sample: &fresh.sample,
            first_seen_ms: fresh.time_ns.div_euclid(1_000_000),
            untold: self.untold,
        };
        let body = serde_json::to_vec(&event).unwrap_or_default();
        let text = |name, value: &str| Field {
            name: Name::Static(name),
            value: Value::Text(value.into()),
        };
        let fields = vec![
            text("kind", event.kind),
            text("pattern", &pattern),
            text("level", event.level),
            Field { name: Name::Static("lines"), value: Value::Number(lines as f64) },
            text("message", &event.message),
        ];
        Log {
            stream: Arc::clone(&voice.stream),
            time_ns: fresh.time_ns,
            body: Bytes::from(body),
            fields: Some(Box::new(Fields(fields))),
        }
    }
}

/// The stream of a group's events: its labels and `source`, and a `job` if the group has none.
pub(super) fn stream(labels: &Labels) -> Arc<Labels> {
    let job = labels.get("job").is_none().then_some(("job", SOURCE.1));
    Arc::new(labels.with(job.into_iter().chain([SOURCE])))
}
