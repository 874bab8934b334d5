//! The agent's own log: one line an event on stderr, in text or JSON, repeated ones folded.
//!
//! Under systemd (`JOURNAL_STREAM`) the text form carries a priority prefix and no time, as sd-daemon(3) says.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::now_ms;

/// The same line again within this time is counted, not written.
const FOLD: Duration = Duration::from_mins(1);
/// Different lines remembered for folding.
const REMEMBERED: usize = 256;

/// How lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people and for the journal.
    Text,
    /// One object a line.
    Json,
}

/// Starts logging; later calls do nothing.
pub fn start(level: Level, format: Format) {
    let journal = format == Format::Text && std::env::var_os("JOURNAL_STREAM").is_some();
    let layer = Lines::new(level, format, journal, |line: &str| {
        let _stderr_closed = std::io::stderr().lock().write_all(line.as_bytes());
    });
    let _already_started = tracing_subscriber::registry().with(layer).try_init();
}

/// The layer that makes lines and hands them to `write`.
pub(crate) struct Lines<W> {
    level: Level,
    format: Format,
    journal: bool,
    write: W,
    seen: Mutex<BTreeMap<String, (Instant, u64)>>,
}

/// Fields of a span or an event.
#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, Value::String(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, Value::from(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from((value * 1000.0).round() / 1000.0));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.others.push((name, value)),
        }
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        // Other people's crates speak of connections and pools; ours of the user's data.
        *metadata.level() <= self.level
            && (metadata.target().starts_with("sentinel") || *metadata.level() <= Level::WARN)
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        if let Some(scope) = context.event_scope(event) {
            for span in scope.from_root() {
                if let Some(outer) = span.extensions().get::<Fields>() {
                    fields.others.extend(outer.others.iter().cloned());
                }
            }
        }
        event.record(&mut fields);
        if let Some(folded) = self.fold(&fields) {
            (self.write)(&self.line(*event.metadata().level(), &fields, folded));
        }
    }
}

impl<W> Lines<W> {
    /// A layer that shows lines of `level` and worse.
    pub(crate) fn new(level: Level, format: Format, journal: bool, write: W) -> Self {
        Lines { level, format, journal, write, seen: Mutex::default() }
    }

    /// How many like this were swallowed since the last was written; `None`: swallow this one too.
    fn fold(&self, fields: &Fields) -> Option<u64> {
        let mut key = fields.message.clone();
        for (name, value) in &fields.others {
            if value.is_string() {
                let _infallible = write!(key, " {name}={value}");
            }
        }
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((since, count)) = seen.get_mut(&key) {
            if now.duration_since(*since) < FOLD {
                *count += 1;
                return None;
            }
            *since = now;
            return Some(std::mem::take(count));
        }
        if seen.len() >= REMEMBERED {
            seen.retain(|_, (since, _)| now.duration_since(*since) < FOLD);
        }
        if seen.len() < REMEMBERED {
            seen.insert(key, (now, 0));
        }
        Some(0)
    }

    fn line(&self, level: Level, fields: &Fields, folded: u64) -> String {
        match self.format {
            Format::Json => json_line(level, fields, folded),
            Format::Text => self.text_line(level, fields, folded),
        }
    }

    fn text_line(&self, level: Level, fields: &Fields, folded: u64) -> String {
        let mut line = String::with_capacity(160);
        let word = level_word(level);
        let _infallible = if self.journal {
            write!(line, "<{}>{}", priority(level), escape(&fields.message))
        } else {
            write!(line, "{} {word:<5} {}", timestamp(), escape(&fields.message))
        };
        for (name, value) in &fields.others {
            let _infallible = match value {
                Value::String(text) if !text.contains([' ', '"', '=']) && !text.is_empty() => {
                    write!(line, " {name}={}", escape(text))
                }
                value => write!(line, " {name}={value}"),
            };
        }
        if folded > 0 {
            let _infallible = write!(line, " (and {folded} like it)");
        }
        line.push('\n');
        line
    }
}

fn json_line(level: Level, fields: &Fields, folded: u64) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), timestamp().into());
    object.insert("level".to_owned(), level_word(level).into());
    object.insert("message".to_owned(), fields.message.clone().into());
    for (name, value) in &fields.others {
        object.insert((*name).to_owned(), value.clone());
    }
    if folded > 0 {
        object.insert("folded".to_owned(), folded.into());
    }
    format!("{}\n", Value::Object(object))
}

/// A message from a backend cannot start a line of its own, nor speak to the terminal.
fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG => "debug",
        Level::TRACE => "trace",
    }
}

fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

/// RFC 3339 in UTC with milliseconds. Days to date by Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn timestamp() -> String {
    let ms = now_ms();
    let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let day = doy - (153 * mp + 2) / 5 + 1;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    let (seconds, millis) = (in_day / 1000, in_day % 1000);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{millis:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}
