//! One event as one JSON object, for readers that know nothing of us; and such objects of metrics and logs read back.
//!
//! Times are RFC 3339 in UTC, so that no reader has to guess the unit. An object with a `line` is a log record, one with a `name`
//! and a `value` a sample; an incident is neither. What comes back: labels, time, line, fields (texts and numbers), name
//! and value; the kind of a metric by its name. Not: bytes of a line that were no UTF-8.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use sentinel_contract::{Cause, Fields, Incident, Labels, Log, Metric, Series, Value};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use super::interner::{Bases, Interner, Names, put_part};
use super::{Drops, Given, Malformed, check_count, names};

#[derive(Serialize)]
struct MetricLine<'a> {
    name: &'a str,
    labels: Pairs<'a>,
    time: Option<Rfc3339>,
    value: f64,
}

#[derive(Serialize)]
struct LogLine<'a> {
    time: Option<Rfc3339>,
    labels: Pairs<'a>,
    line: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fields: Option<Found<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    invalid_utf8: bool,
}

/// Written as RFC 3339.
struct Rfc3339(Timestamp);

impl Serialize for Rfc3339 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// Labels as an object.
struct Pairs<'a>(&'a Labels);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter())
    }
}

/// Parsed fields as an object.
struct Found<'a>(&'a Log, &'a Fields);

impl Serialize for Found<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Found(log, fields) = self;
        let pairs = fields.0.iter().map(|field| (field.name.as_str(), One(log, &field.value)));
        serializer.collect_map(pairs)
    }
}

/// The value of one parsed field.
struct One<'a>(&'a Log, &'a Value);

impl Serialize for One<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.1 {
            Value::Number(number) => serializer.serialize_f64(*number),
            Value::Text(text) => serializer.serialize_str(text),
            Value::Slice(start, end) => {
                let text = self.0.body.get(*start as usize..*end as usize).unwrap_or_default();
                serializer.serialize_str(&String::from_utf8_lossy(text))
            }
        }
    }
}

/// Appends a metric, without a line end. What is not finite is written as null.
pub fn metric(out: &mut Vec<u8>, metric: &Metric) -> Result<(), Cause> {
    let (name, labels) = (metric.series.name(), Pairs(metric.series.labels()));
    let time = Timestamp::from_millisecond(metric.time_ms).ok().map(Rfc3339);
    Ok(serde_json::to_writer(out, &MetricLine { name, labels, time, value: metric.value })?)
}

/// Appends a log record, without a line end. What is not UTF-8 is replaced, and the line marked.
pub fn log(out: &mut Vec<u8>, log: &Log) -> Result<(), Cause> {
    let line = String::from_utf8_lossy(&log.body);
    let invalid_utf8 = matches!(line, Cow::Owned(_));
    let time = Timestamp::from_nanosecond(i128::from(log.time_ns)).ok().map(Rfc3339);
    let fields = log.fields.as_ref().map(|fields| Found(log, fields));
    let line = LogLine { time, labels: Pairs(&log.stream), line: &line, fields, invalid_utf8 };
    Ok(serde_json::to_writer(out, &line)?)
}

/// Appends an incident, without a line end.
pub fn incident(out: &mut Vec<u8>, incident: &Incident) -> Result<(), Cause> {
    Ok(serde_json::to_writer(out, incident)?)
}

/// A text of the payload where it stands there, else unescaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What is read of an object.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    time: Option<Text<'a>>,
    #[serde(borrow)]
    labels: Option<&'a RawValue>,
    #[serde(borrow)]
    line: Option<Text<'a>>,
    #[serde(borrow)]
    fields: Option<&'a RawValue>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    value: Option<f64>,
}

/// Reads objects; remembers streams, series and names of fields.
#[derive(Default)]
pub struct JsonDecoder {
    bases: Bases,
    streams: Interner<Arc<Labels>>,
    series: Interner<Arc<Series>>,
    names: Names,
    key: Vec<u8>,
}

impl JsonDecoder {
    /// Appends the events of a payload, one object a line. Labels are the object's over those given. A line that is none is
    /// counted as `malformed_line`, and a payload of no other lines is [`Malformed`]; an object that is neither a metric nor
    /// a log record is counted as `no_event`.
    pub fn decode(
        &mut self,
        payload: &Bytes,
        given: Given<'_>,
        logs: &mut Vec<Log>,
        metrics: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        let before = (logs.len(), metrics.len());
        let base = self.bases.number(given.labels);
        let (mut first, mut good, mut none, mut bad) = (None, false, 0, 0);
        for line in payload.split(|byte| *byte == b'\n') {
            if line.trim_ascii().is_empty() {
                continue;
            }
            match self.line(payload, line, base, given, logs, metrics) {
                Ok(true) => good = true,
                Ok(false) => {
                    good = true;
                    none += 1;
                }
                Err(error) => {
                    bad += 1;
                    first.get_or_insert(error);
                }
            }
            if let Err(malformed) = check_count(logs.len() - before.0 + metrics.len() - before.1) {
                logs.truncate(before.0);
                metrics.truncate(before.1);
                return Err(malformed);
            }
        }
        match first {
            Some(error) if !good => Err(Malformed(format!("not an event as JSON: {error}"))),
            _ => {
                drops.add("no_event", none);
                drops.add("malformed_line", bad);
                Ok(())
            }
        }
    }

    /// False for an object that is no event.
    fn line(
        &mut self,
        payload: &Bytes,
        line: &[u8],
        base: u64,
        given: Given<'_>,
        logs: &mut Vec<Log>,
        metrics: &mut Vec<Metric>,
    ) -> Result<bool, serde_json::Error> {
        let object: Object<'_> = serde_json::from_slice(line)?;
        let time: Option<Timestamp> = object.time.and_then(|Text(time)| time.parse().ok());
        self.key.clear();
        self.key.extend_from_slice(&base.to_le_bytes());
        put_part(&mut self.key, object.labels.map_or("", RawValue::get).as_bytes());
        if let Some(Text(line)) = object.line {
            let make = || Ok(Arc::new(labels(object.labels, given.labels)?));
            let stream = self.streams.find(&self.key, make)?;
            let time = time.and_then(|time| i64::try_from(time.as_nanosecond()).ok());
            let fields = object.fields.map(|fields| self.fields(fields)).transpose()?;
            let fields = fields.filter(|Fields(fields)| !fields.is_empty()).map(Box::new);
            let body = match line {
                Cow::Borrowed("") => Bytes::new(),
                Cow::Borrowed(line) => payload.slice_ref(line.as_bytes()),
                Cow::Owned(line) => Bytes::from(line),
            };
            logs.push(Log { stream, time_ns: time.unwrap_or(given.now_ns), body, fields });
            return Ok(true);
        }
        let (Some(Text(name)), Some(value)) = (object.name, object.value) else { return Ok(false) };
        if name.is_empty() {
            return Ok(false);
        }
        self.key.extend_from_slice(name.as_bytes());
        let make = || {
            let labels = labels(object.labels, given.labels)?;
            Ok::<_, serde_json::Error>(Series::new(&*name, names::kind(&name), labels.iter()))
        };
        let series = self.series.find(&self.key, make)?;
        let time_ms = time.map_or(given.now_ms(), Timestamp::as_millisecond);
        metrics.push(Metric { series, time_ms, value });
        Ok(true)
    }

    fn fields(&mut self, fields: &RawValue) -> Result<Fields, serde_json::Error> {
        serde_json::Deserializer::from_str(fields.get()).deserialize_map(Read(&mut self.names))
    }
}

/// The labels of an object over those given.
#[cold]
fn labels(labels: Option<&RawValue>, base: &Labels) -> Result<Labels, serde_json::Error> {
    let Some(labels) = labels else { return Ok(base.clone()) };
    let pairs: std::collections::BTreeMap<Box<str>, Box<str>> = serde_json::from_str(labels.get())?;
    Ok(base.with(pairs))
}

/// Reads fields: texts and numbers as they are, anything else as JSON text, nothing for null.
struct Read<'a>(&'a mut Names);

impl<'de> Visitor<'de> for Read<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of fields")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = Vec::new();
        while let Some(Text(name)) = map.next_key()? {
            let value: serde_json::Value = map.next_value()?;
            let value = match value {
                serde_json::Value::Null => continue,
                serde_json::Value::String(text) => Value::Text(text.into()),
                serde_json::Value::Number(number) => {
                    Value::Number(number.as_f64().unwrap_or(f64::NAN))
                }
                other => Value::Text(other.to_string().into()),
            };
            let name = self.0.name(name.as_bytes());
            fields.push(sentinel_contract::Field { name, value });
        }
        Ok(Fields(fields))
    }
}
