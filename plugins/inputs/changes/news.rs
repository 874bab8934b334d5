//! What is told: one log record a change, with a sentence for people and the fields kind, subject and detail.
//!
//! A subject that changes all the time (a unit that crashes and starts, a timer's) is told four times an hour, all
//! subjects of a kind together `max_events` times; what is held back is said in one record when it may be told again.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use foldhash::fast::FixedState;
use sentinel_contract::{Field, Fields, Labels, Log, Name, Value};

/// Of one subject in an hour.
const MAX_OF_SUBJECT: u32 = 4;
/// Subjects whose events are counted.
const MAX_SUBJECTS: usize = 2000;
/// A sentence and a detail are not longer.
const MAX_TEXT: usize = 1000;
const HOUR_MS: i64 = 3_600_000;

/// One change.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// What it happened to: a unit, a package, a file.
    pub(super) subject: String,
    /// What happened, in one or two words: `restarted`, `upgraded`.
    pub(super) detail: String,
    /// For people.
    pub(super) sentence: String,
    /// When, if that is known better than "since the last look": milliseconds since 1970 UTC.
    pub(super) time_ms: Option<i64>,
}

/// Collects what one watcher has to tell.
#[derive(Debug)]
pub(super) struct News {
    kind: &'static str,
    stream: Arc<Labels>,
    max_events: u32,
    now_ms: i64,
    /// Changes are learned, not told.
    pub(super) learns: bool,
    hour_ms: i64,
    told: u32,
    held: u64,
    subjects: HashMap<u64, u32, FixedState>,
    pub(super) logs: Vec<Log>,
}

impl News {
    pub(super) fn new(kind: &'static str, tags: &Labels, max_events: u32) -> Self {
        let stream = Arc::new(tags.with([("job", "changes"), ("kind", kind)]));
        News {
            kind,
            stream,
            max_events,
            now_ms: 0,
            learns: true,
            hour_ms: i64::MIN,
            told: 0,
            held: 0,
            subjects: HashMap::default(),
            logs: Vec::new(),
        }
    }

    /// A new look at the host.
    pub(super) fn begin(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        if now_ms.saturating_sub(self.hour_ms) < HOUR_MS && now_ms >= self.hour_ms {
            return;
        }
        (self.hour_ms, self.told) = (now_ms, 0);
        self.subjects.clear();
        let held = std::mem::take(&mut self.held);
        if held > 0 {
            let sentence = format!(
                "{held} more changes ({}) in the last hour were not told one by one",
                self.kind
            );
            self.push(&Change {
                subject: self.kind.to_owned(),
                detail: "held back".to_owned(),
                sentence,
                time_ms: None,
            });
        }
    }

    /// Tells a change, unless this is the first look.
    pub(super) fn tell(&mut self, change: Change) {
        if !self.learns {
            self.tell_always(change);
        }
    }

    /// Tells a change even at the first look.
    pub(super) fn tell_always(&mut self, mut change: Change) {
        use std::hash::BuildHasher as _;
        let subject = FixedState::default().hash_one(&change.subject);
        let has_room = self.subjects.len() < MAX_SUBJECTS || self.subjects.contains_key(&subject);
        let times = if has_room {
            self.subjects.entry(subject).or_insert(0)
        } else {
            &mut MAX_OF_SUBJECT.clone()
        };
        *times += 1;
        if *times > MAX_OF_SUBJECT || self.told >= self.max_events {
            self.held += 1;
            return;
        }
        if *times == MAX_OF_SUBJECT {
            change.sentence.push_str("; more of this within the hour is only counted");
        }
        self.told += 1;
        self.push(&change);
    }

    fn push(&mut self, change: &Change) {
        let text = |name, value: &str| Field {
            name: Name::Static(name),
            value: Value::Text(cut(value).into()),
        };
        let fields = vec![
            text("kind", self.kind),
            text("subject", &change.subject),
            text("detail", &change.detail),
        ];
        let sentence: String = cut(&change.sentence)
            .chars()
            .map(|letter| if letter.is_control() { ' ' } else { letter })
            .collect();
        self.logs.push(Log {
            stream: Arc::clone(&self.stream),
            time_ns: change.time_ms.unwrap_or(self.now_ms).saturating_mul(1_000_000),
            body: Bytes::from(sentence),
            fields: Some(Box::new(Fields(fields))),
        });
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

/// `a, b, c and 4 more`.
pub(super) fn list<T: AsRef<str>>(names: &[T], shown: usize) -> String {
    let first: Vec<&str> = names.iter().take(shown).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(shown) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// `812 MiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = usize::from(value < 10.0 && unit > 0);
    format!("{value:.digits$} {}", UNITS[unit])
}
