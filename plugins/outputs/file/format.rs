//! One event a line: JSON, or text for people. Times are RFC 3339 in UTC, so that no reader has to guess the unit.
//!
//! Text is what each kind of event is usually read as: a metric as in Prometheus' exposition format, a log line as it
//! was, byte for byte, an incident as its sentence.

use std::io::Write as _;

use jiff::Timestamp;
use sentinel_contract::{Cause, Fields, Incident, Labels, Log, Metric, Value};
use serde::{Serialize, Serializer};

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

fn at_ms(time_ms: i64) -> Option<Rfc3339> {
    Timestamp::from_millisecond(time_ms).ok().map(Rfc3339)
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
        serializer.collect_map(fields.0.iter().map(|field| {
            let value = match &field.value {
                Value::Number(number) => serde_json::Value::from(*number),
                Value::Text(text) => serde_json::Value::from(&**text),
                Value::Slice(start, end) => {
                    let text = log.body.get(*start as usize..*end as usize).unwrap_or_default();
                    serde_json::Value::from(String::from_utf8_lossy(text))
                }
            };
            (field.name.as_str(), value)
        }))
    }
}

/// Appends a metric as JSON.
pub(super) fn metric_json(out: &mut Vec<u8>, metric: &Metric) -> Result<(), Cause> {
    let (name, labels) = (metric.series.name(), Pairs(metric.series.labels()));
    let line = MetricLine { name, labels, time: at_ms(metric.time_ms), value: metric.value };
    json(out, &line)
}

/// Appends a log record as JSON. What is not UTF-8 is replaced, and the line marked.
pub(super) fn log_json(out: &mut Vec<u8>, log: &Log) -> Result<(), Cause> {
    let line = String::from_utf8_lossy(&log.body);
    let invalid_utf8 = matches!(line, std::borrow::Cow::Owned(_));
    let time = Timestamp::from_nanosecond(i128::from(log.time_ns)).ok().map(Rfc3339);
    let fields = log.fields.as_ref().map(|fields| Found(log, fields));
    json(out, &LogLine { time, labels: Pairs(&log.stream), line: &line, fields, invalid_utf8 })
}

/// Appends an incident as JSON.
pub(super) fn incident_json(out: &mut Vec<u8>, incident: &Incident) -> Result<(), Cause> {
    json(out, incident)
}

fn json(out: &mut Vec<u8>, line: &impl Serialize) -> Result<(), Cause> {
    serde_json::to_writer(&mut *out, line)?;
    out.push(b'\n');
    Ok(())
}

/// Appends a metric as in Prometheus' exposition format, with its time.
pub(super) fn metric_text(out: &mut Vec<u8>, metric: &Metric) -> Result<(), Cause> {
    out.extend_from_slice(metric.series.name().as_bytes());
    for (index, (name, value)) in metric.series.labels().iter().enumerate() {
        let comma = if index == 0 { '{' } else { ',' };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        write!(out, "{comma}{name}=\"{value}\"")?;
    }
    let end = if metric.series.labels().iter().len() > 0 { "}" } else { "" };
    writeln!(out, "{end} {} {}", metric.value, metric.time_ms)?;
    Ok(())
}

/// Appends a log record as it was.
pub(super) fn log_text(out: &mut Vec<u8>, log: &Log) {
    out.extend_from_slice(&log.body);
    out.push(b'\n');
}

/// Appends an incident as its sentence.
pub(super) fn incident_text(out: &mut Vec<u8>, incident: &Incident) -> Result<(), Cause> {
    let time = at_ms(incident.time_ms).map(|time| time.0.to_string()).unwrap_or_default();
    let state = format!("{:?}", incident.state).to_lowercase();
    let (detector, message) = (&incident.detector, &incident.message);
    writeln!(out, "{time} {state} {detector}: {message} (score {:.2})", incident.score)?;
    Ok(())
}
