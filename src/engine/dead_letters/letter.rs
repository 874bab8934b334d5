//! One letter as a line of JSON, and back: version 1.
//!
//! ```text
//! {"dead_letters":1,"generation":7}                                     the first line of a file
//! {"gone":0,"v":1,"id":"7-22","time_ms":...,"reason":"...","event":{"log":{...}}}    a letter
//! ```
//! What stays in all versions, so that an older agent can go on with a newer one's file: `gone` comes first and is one
//! digit, which becomes 1 in place when the letter is settled; `v` and `id` are as here; the first line has `generation`.
//! An event loses nothing: a line that is no UTF-8 is `line_base64`, a number that JSON does not know is its bits in hex.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use sentinel_contract::event;
use sentinel_contract::{Events, Fields, Incident, Kind, Labels, Log, Metric, Name, Series};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The version of the lines that are written.
pub(super) const VERSION: u32 = 1;
/// How the line of a letter begins that is not settled yet.
pub(super) const KEPT: &[u8] = b"{\"gone\":0,";
/// The same, settled.
pub(super) const GONE: &[u8] = b"{\"gone\":1,";
/// Where the digit is.
pub(super) const DIGIT: u64 = 8;

/// What a file begins with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Head {
    /// The version of the agent that began it.
    pub dead_letters: u32,
    /// Files are numbered; never used twice in a state folder.
    pub generation: u64,
}

/// An event that was refused for good, with the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Letter {
    /// 1: settled, it waits no more.
    pub(super) gone: u8,
    /// The version of the line.
    pub v: u32,
    /// How a person names it.
    pub id: String,
    /// When it was refused, the last time: milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// When it was refused first.
    pub first_ms: i64,
    /// How often it was sent again, by command, and refused again.
    pub tries: u32,
    /// `output`, or `processor`: a transform that panicked over it.
    pub role: String,
    /// The alias of that output or processor.
    pub plugin: String,
    /// Where the event came from: the alias of an input or observer.
    pub origin: String,
    /// Which of the origin's sources.
    pub source: u64,
    /// What the backend answered.
    pub reason: String,
    /// The event.
    pub event: Event,
}

/// What a letter is about, without the event: lists need no more.
#[derive(Debug, Deserialize)]
pub struct Summary<'a> {
    /// See [`Letter`].
    pub v: u32,
    /// See [`Letter`].
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    /// See [`Letter`].
    #[serde(default)]
    pub time_ms: i64,
    /// See [`Letter`].
    #[serde(borrow, default)]
    pub role: Cow<'a, str>,
    /// See [`Letter`].
    #[serde(borrow, default)]
    pub plugin: Cow<'a, str>,
    /// See [`Letter`].
    #[serde(borrow, default)]
    pub reason: Cow<'a, str>,
}

/// The event of a letter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A log record.
    Log(LogLetter),
    /// A sample.
    Metric(MetricLetter),
    /// A change of an incident.
    Incident(Box<Incident>),
}

/// A log record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogLetter {
    /// Of its stream.
    pub labels: BTreeMap<String, String>,
    /// Nanoseconds since 1970 UTC; as text, since many readers of JSON have no such integers.
    #[serde(with = "as_text")]
    pub time_ns: i64,
    /// The line.
    #[serde(flatten)]
    pub line: Line,
    /// What a parser found, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<(String, FieldValue)>,
}

/// The bytes of a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// UTF-8.
    #[serde(rename = "line")]
    Text(String),
    /// Anything else.
    #[serde(rename = "line_base64")]
    Base64(String),
}

/// A field's value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FieldValue {
    /// These bytes of the line.
    Slice(u32, u32),
    /// A text of its own.
    Text(String),
    /// A number.
    Number(Number),
}

/// A sample.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricLetter {
    /// Its series' name.
    pub name: String,
    /// `gauge` or `counter`.
    pub kind: MetricKind,
    /// Its series' labels.
    pub labels: BTreeMap<String, String>,
    /// Milliseconds since 1970 UTC.
    pub time_ms: i64,
    /// Its value.
    pub value: Number,
}

/// How its values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricKind {
    /// They go up and down.
    Gauge,
    /// They only grow.
    Counter,
}

/// A number to the last bit.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            to.serialize_f64(self.0)
        } else {
            to.serialize_str(&format!("{:#018x}", self.0.to_bits()))
        }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Bits(String),
        }
        match Form::deserialize(from)? {
            Form::Number(number) => Ok(Number(number)),
            Form::Bits(text) => {
                let digits = text.strip_prefix("0x").unwrap_or_default();
                let bits = u64::from_str_radix(digits, 16).map_err(serde::de::Error::custom)?;
                Ok(Number(f64::from_bits(bits)))
            }
        }
    }
}

mod as_text {
    //! An integer in quotes.

    use serde::{Deserialize as _, Deserializer, Serializer};

    // The signature is serde's.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields by reference")]
    pub(super) fn serialize<S: Serializer>(number: &i64, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(number)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<i64, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Line {
    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Line::Text(text.to_owned()),
            Err(_) => Line::Base64(STANDARD.encode(bytes)),
        }
    }

    /// The bytes as they were; `None` when a person has changed them into no base64.
    pub fn bytes(&self) -> Option<Cow<'_, [u8]>> {
        match self {
            Line::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
            Line::Base64(text) => STANDARD.decode(text).ok().map(Cow::Owned),
        }
    }
}

impl Event {
    /// The event at `index`; `None` for what no output takes.
    pub(super) fn of(events: &Events, index: usize) -> Option<Self> {
        match events {
            Events::Metrics(metrics) => {
                metrics.get(index).map(|metric| Event::Metric(metric.into()))
            }
            Events::Logs(logs) => logs.get(index).map(|log| Event::Log(log.into())),
            Events::Incidents(incidents) => {
                incidents.get(index).map(|incident| Event::Incident(Box::new(incident.clone())))
            }
            Events::Evidence(_) => None,
        }
    }

    /// As an output takes it. `None`: a person has changed it into something that cannot be.
    pub(crate) fn into_events(self) -> Option<Events> {
        Some(match self {
            Event::Log(log) => Events::Logs(vec![log.into_log()?]),
            Event::Metric(metric) => Events::Metrics(vec![metric.into_metric()]),
            Event::Incident(incident) => Events::Incidents(vec![*incident]),
        })
    }
}

fn labels(labels: &Labels) -> BTreeMap<String, String> {
    labels.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

impl From<&Metric> for MetricLetter {
    fn from(metric: &Metric) -> Self {
        MetricLetter {
            name: metric.series.name().to_owned(),
            kind: match metric.series.kind() {
                Kind::Gauge => MetricKind::Gauge,
                Kind::Counter => MetricKind::Counter,
            },
            labels: labels(metric.series.labels()),
            time_ms: metric.time_ms,
            value: Number(metric.value),
        }
    }
}

impl MetricLetter {
    fn into_metric(self) -> Metric {
        let kind = match self.kind {
            MetricKind::Gauge => Kind::Gauge,
            MetricKind::Counter => Kind::Counter,
        };
        let series = Series::new(self.name, kind, self.labels);
        Metric { series, time_ms: self.time_ms, value: self.value.0 }
    }
}

impl From<&Log> for LogLetter {
    fn from(log: &Log) -> Self {
        let fields = log.fields.as_deref().map_or(&[][..], |fields| &fields.0);
        let value = |value: &event::Value| match value {
            event::Value::Slice(start, end) => FieldValue::Slice(*start, *end),
            event::Value::Text(text) => FieldValue::Text(text.to_string()),
            event::Value::Number(number) => FieldValue::Number(Number(*number)),
        };
        let field = |field: &event::Field| (field.name.as_str().to_owned(), value(&field.value));
        LogLetter {
            labels: labels(&log.stream),
            time_ns: log.time_ns,
            line: Line::of(&log.body),
            fields: fields.iter().map(field).collect(),
        }
    }
}

impl LogLetter {
    fn into_log(self) -> Option<Log> {
        let body = Bytes::from(self.line.bytes()?.into_owned());
        let field = |(name, value): (String, FieldValue)| {
            let value = match value {
                FieldValue::Slice(start, end) => {
                    let is_within = start <= end && end as usize <= body.len();
                    is_within.then_some(event::Value::Slice(start, end))?
                }
                FieldValue::Text(text) => event::Value::Text(text.into()),
                FieldValue::Number(number) => event::Value::Number(number.0),
            };
            Some(event::Field { name: Name::Shared(name.into()), value })
        };
        let fields: Vec<_> = self.fields.into_iter().map(field).collect::<Option<_>>()?;
        let fields = (!fields.is_empty()).then(|| Box::new(Fields(fields)));
        let stream = Arc::new(Labels::new(self.labels));
        Some(Log { stream, time_ns: self.time_ns, body, fields })
    }
}
