//! OTLP's logs and metrics as protobuf, by hand in both directions.
//!
//! From opentelemetry-proto 1.x: `logs/v1/logs.proto`, `metrics/v1/metrics.proto`, `common/v1/common.proto`. A `LogsData` is
//! what an `ExportLogsServiceRequest` is on the wire, and a `MetricsData` an `ExportMetricsServiceRequest`; two of them one
//! behind the other are one. Checked against prost and against bytes of Python's `opentelemetry-proto` in the tests.
//!
//! | ours | OTLP's |
//! | --- | --- |
//! | labels of a stream | attributes of a resource; names with other characters than Prometheus' come in with `_` for them |
//! | label `level` | severity text and number |
//! | body | a string, or bytes when it is no UTF-8; other bodies come in as JSON text |
//! | fields | attributes; `trace_id` and `span_id` as themselves; lists and maps come in as JSON text |
//! | a counter, a gauge | a cumulative monotonic sum, a gauge; a histogram or a summary comes in as Prometheus' series |
//! | labels of a series | attributes of the data point; those of the resource come in as labels too |
//!
//! Names of metrics come in as they are with `_` for what Prometheus does not have, without suffixes for unit or kind:
//! `http.server.duration` is `http_server_duration`. (VictoriaMetrics keeps the dots unless told otherwise.)

mod encode;
mod logs;
mod metrics;
mod points;
mod value;

pub use encode::{logs as encode_logs, metrics as encode_metrics};
pub use logs::LogsDecoder;
pub use metrics::MetricsDecoder;

use sentinel_contract::{Labels, Level};

use super::Malformed;
use super::names;
use crate::protobuf::read::Reader;

/// The first of the four severity numbers of each level, in the order of [`Level`].
const SEVERITIES: [u64; 6] = [1, 5, 9, 13, 17, 21];

/// The level of a severity number.
fn level_of(number: u64) -> Option<Level> {
    let levels = [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error, Level::Fatal];
    levels.get(number.checked_sub(1)? as usize / 4).copied()
}

/// The label of a severity.
const LEVEL: &str = "level";

/// The bytes of the `resource` of a `ResourceLogs` or a `ResourceMetrics`, wherever it stands; empty without one.
fn resource(message: &[u8]) -> Result<&[u8], Malformed> {
    let (mut reader, mut resource) = (Reader::new(message), &[][..]);
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            resource = value.bytes()?;
        }
    }
    Ok(resource)
}

/// `base` with the attributes of a message over it, which are its fields of this number.
fn labels(base: &Labels, message: &[u8], field: u64) -> Result<Labels, Malformed> {
    let mut pairs = Vec::new();
    put_labels(&mut pairs, message, field)?;
    Ok(base.with(pairs))
}

/// Adds the attributes of a message as labels.
fn put_labels(
    pairs: &mut Vec<(Box<str>, Box<str>)>,
    message: &[u8],
    field: u64,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(message);
    while let Some((number, value)) = reader.field()? {
        if number == field {
            let (name, value) = value::attribute(value.bytes()?)?;
            let name = String::from_utf8_lossy(name);
            if !name.is_empty() {
                pairs.push((names::label(&name).into(), value::text(value)?.into()));
            }
        }
    }
    Ok(())
}

/// What a resource gives to its events.
struct Shared {
    /// Stands for it in keys; never that of another one.
    number: u64,
    labels: Labels,
}
