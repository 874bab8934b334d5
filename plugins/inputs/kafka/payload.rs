//! Payloads into events, by the format that the options name.

use bytes::Bytes;
use sentinel_contract::{Log, Metric};
use sentinel_transport::formats::influx::InfluxDecoder;
use sentinel_transport::formats::json::JsonDecoder;
use sentinel_transport::formats::otlp::{LogsDecoder, MetricsDecoder};
use sentinel_transport::formats::prometheus::RemoteWriteDecoder;
use sentinel_transport::formats::unpack::Packing;
use sentinel_transport::formats::{Drops, Given, Malformed};
use serde::Deserialize;

/// Bytes of one unpacked remote write request: more than Prometheus sends by a factor of ten.
const LARGEST: usize = 32 << 20;

/// What a message is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// A line; what is in it is `processors.parse`'s to find.
    Raw,
    /// An event as outputs.kafka and outputs.file write it as JSON: a line or a sample.
    Json,
    /// OTLP protobuf, `LogsData`.
    OtlpLogs,
    /// OTLP protobuf, `MetricsData`.
    OtlpMetrics,
    /// Prometheus remote write 1.0: protobuf and snappy.
    PrometheusRemoteWrite,
    /// Lines of InfluxDB's line protocol.
    Influx,
}

/// The events of some messages.
#[derive(Default)]
pub(super) struct Found {
    pub(super) logs: Vec<Log>,
    pub(super) metrics: Vec<Metric>,
    /// What was left out.
    pub(super) drops: Drops,
}

/// Reads payloads.
pub(super) enum Decoder {
    Raw,
    Json(JsonDecoder),
    OtlpLogs(LogsDecoder),
    OtlpMetrics(MetricsDecoder),
    RemoteWrite(RemoteWriteDecoder),
    Influx(InfluxDecoder),
}

impl Decoder {
    pub(super) fn new(format: Format) -> Self {
        match format {
            Format::Raw => Decoder::Raw,
            Format::Json => Decoder::Json(JsonDecoder::default()),
            Format::OtlpLogs => Decoder::OtlpLogs(LogsDecoder::default()),
            Format::OtlpMetrics => Decoder::OtlpMetrics(MetricsDecoder::default()),
            Format::PrometheusRemoteWrite => Decoder::RemoteWrite(RemoteWriteDecoder::default()),
            Format::Influx => Decoder::Influx(InfluxDecoder::default()),
        }
    }

    /// Appends the events of one payload.
    ///
    /// Errors: it is broken as a whole, and nothing of it is there.
    pub(super) fn decode(
        &mut self,
        payload: &Bytes,
        given: Given<'_>,
        found: &mut Found,
    ) -> Result<(), Malformed> {
        let Found { logs, metrics, drops } = found;
        match self {
            Decoder::Raw => {
                let (stream, body) = (given.labels.clone(), payload.clone());
                logs.push(Log { stream, time_ns: given.now_ns, body, fields: None });
                Ok(())
            }
            Decoder::Json(json) => json.decode(payload, given, logs, metrics, drops),
            Decoder::OtlpLogs(otlp) => otlp.decode(payload, given, logs, drops),
            Decoder::OtlpMetrics(otlp) => otlp.decode(payload, given, metrics, drops),
            Decoder::RemoteWrite(write) => {
                write.decode(payload, Packing::Snappy, LARGEST, given, metrics, drops)
            }
            Decoder::Influx(influx) => influx.decode(payload, given, metrics, drops),
        }
    }
}
