//! One event a line: JSON as it is everywhere (`sentinel_transport::formats::json`), or text for people.
//!
//! Text is what each kind of event is usually read as: a metric as in Prometheus' exposition format, a log line as it
//! was, byte for byte, an incident as its sentence.

use std::io::Write as _;

use jiff::Timestamp;
use sentinel_contract::{Cause, Incident, Log, Metric};
use sentinel_transport::formats::json;

/// Appends a metric as JSON.
pub(super) fn metric_json(out: &mut Vec<u8>, metric: &Metric) -> Result<(), Cause> {
    json::metric(out, metric).map(|()| out.push(b'\n'))
}

/// Appends a log record as JSON.
pub(super) fn log_json(out: &mut Vec<u8>, log: &Log) -> Result<(), Cause> {
    json::log(out, log).map(|()| out.push(b'\n'))
}

/// Appends an incident as JSON.
pub(super) fn incident_json(out: &mut Vec<u8>, incident: &Incident) -> Result<(), Cause> {
    json::incident(out, incident).map(|()| out.push(b'\n'))
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
    let time = Timestamp::from_millisecond(incident.time_ms);
    let time = time.map(|time| time.to_string()).unwrap_or_default();
    let state = format!("{:?}", incident.state).to_lowercase();
    let (detector, message) = (&incident.detector, &incident.message);
    writeln!(out, "{time} {state} {detector}: {message} (score {:.2})", incident.score)?;
    Ok(())
}
