//! Events as messages: one each, or, in OTLP, as many as go to the same place.

use std::ops::Range;
use std::sync::Arc;

use sentinel_contract::{Cause, Events, Kinds, Log, Metric, Piece};
use sentinel_transport::compress;
use sentinel_transport::formats::{influx, json, logfmt, otlp};
use serde::Deserialize;

use super::address::{Address, Addresses};

/// Events of one OTLP message at most, and about how many bytes of lines.
const GROUP: usize = 1000;
const GROUP_BYTES: usize = 128 << 10;

/// How a message is written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The line as it is. Labels and time are lost but for what topic, key and the message's time say.
    Raw,
    /// An object for each event, with all that it has.
    Json,
    /// `key=value` pairs, likewise.
    Logfmt,
    /// OTLP protobuf (`LogsData`, `MetricsData`), many events a message.
    Otlp,
    /// InfluxDB's line protocol: samples only.
    Influx,
}

/// One message.
pub(super) struct Message<'a> {
    pub(super) address: Arc<Address>,
    pub(super) payload: &'a [u8],
    pub(super) time_ms: i64,
    /// Which events are in it, counted over all pieces.
    pub(super) events: Range<usize>,
}

/// Events that make no message, and why.
pub(super) type Unfit = (Range<usize>, Cause);

/// Makes the messages of one write after the other.
pub(super) struct Payloads {
    format: Format,
    buffer: Vec<u8>,
    piece: usize,
    event: usize,
    /// Events of the pieces before.
    before: usize,
}

impl Payloads {
    pub(super) fn new(format: Format) -> Self {
        Payloads { format, buffer: Vec::new(), piece: 0, event: 0, before: 0 }
    }

    /// The same for another instance.
    pub(super) fn beside(&self) -> Self {
        Payloads::new(self.format)
    }

    pub(super) fn accepts(&self) -> Kinds {
        match self.format {
            Format::Raw => Kinds::LOGS,
            Format::Json | Format::Logfmt => Kinds::LOGS.and(Kinds::METRICS).and(Kinds::INCIDENTS),
            Format::Otlp => Kinds::LOGS.and(Kinds::METRICS),
            Format::Influx => Kinds::METRICS,
        }
    }

    /// A write begins.
    pub(super) fn begin(&mut self) {
        compress::shrink(&mut self.buffer);
        (self.piece, self.event, self.before) = (0, 0, 0);
    }

    /// The next message; `None` after the last.
    pub(super) fn next<'a>(
        &'a mut self,
        pieces: &'a [Piece],
        addresses: &mut Addresses,
    ) -> Option<Result<Message<'a>, Unfit>> {
        let piece = loop {
            let piece = pieces.get(self.piece)?;
            if self.event < piece.range.len() {
                break piece;
            }
            self.before += piece.range.len();
            (self.piece, self.event) = (self.piece + 1, 0);
        };
        self.buffer.clear();
        let from = self.event;
        let made = match &piece.batch.events {
            Events::Logs(_) => self.logs(&piece.logs()[from..], addresses),
            Events::Metrics(_) => self.metrics(&piece.metrics()[from..], addresses),
            Events::Incidents(_) => self.incident(piece, from, addresses),
            Events::Evidence(_) => Err(anyhow::anyhow!("evidence is not for outputs")),
        };
        let (count, made) = match made {
            Ok((count, address, time_ms)) => (count, Ok((address, time_ms))),
            Err(cause) => (1, Err(cause)),
        };
        self.event += count;
        let events = self.before + from..self.before + from + count;
        Some(match made {
            Err(cause) => Err((events, cause)),
            Ok((address, time_ms)) => {
                let payload = match self.format {
                    Format::Raw => &piece.logs()[from].body[..],
                    _ => &self.buffer[..],
                };
                Ok(Message { address, payload, time_ms, events })
            }
        })
    }

    fn logs(&mut self, logs: &[Log], addresses: &mut Addresses) -> Result<Made, Cause> {
        let log = &logs[0];
        let address = addresses.of_stream(&log.stream)?;
        let time_ms = log.time_ns.div_euclid(1_000_000);
        let mut count = 1;
        match self.format {
            Format::Raw => {}
            Format::Json => json::log(&mut self.buffer, log)?,
            Format::Logfmt => logfmt::log(&mut self.buffer, log),
            Format::Otlp => {
                let mut bytes = log.body.len();
                count += logs[1..]
                    .iter()
                    .take(GROUP - 1)
                    .take_while(|next| {
                        bytes += next.body.len();
                        let same = Arc::ptr_eq(&next.stream, &log.stream)
                            || addresses
                                .of_stream(&next.stream)
                                .is_ok_and(|next| Arc::ptr_eq(&next, &address));
                        same && bytes <= GROUP_BYTES
                    })
                    .count();
                otlp::encode_logs(&mut self.buffer, &logs[..count]);
            }
            Format::Influx => anyhow::bail!("a line is no sample"),
        }
        Ok((count, address, time_ms))
    }

    fn metrics(&mut self, metrics: &[Metric], addresses: &mut Addresses) -> Result<Made, Cause> {
        let metric = &metrics[0];
        if !metric.value.is_finite() {
            anyhow::bail!("the value is not a finite number");
        }
        let address = addresses.of_series(&metric.series)?;
        let mut count = 1;
        match self.format {
            Format::Json => json::metric(&mut self.buffer, metric)?,
            Format::Logfmt => logfmt::metric(&mut self.buffer, metric),
            Format::Influx => influx::metric(&mut self.buffer, metric),
            Format::Otlp => {
                let same = |next: &&Metric| {
                    next.value.is_finite()
                        && addresses
                            .of_series(&next.series)
                            .is_ok_and(|next| Arc::ptr_eq(&next, &address))
                };
                count += metrics[1..].iter().take(GROUP - 1).take_while(same).count();
                otlp::encode_metrics(&mut self.buffer, &metrics[..count]);
            }
            Format::Raw => anyhow::bail!("a sample is no line"),
        }
        Ok((count, address, metric.time_ms))
    }

    fn incident(
        &mut self,
        piece: &Piece,
        at: usize,
        addresses: &mut Addresses,
    ) -> Result<Made, Cause> {
        let incident = &piece.incidents()[at];
        let address = addresses.of_host(&incident.host)?;
        match self.format {
            Format::Json => json::incident(&mut self.buffer, incident)?,
            Format::Logfmt => logfmt::incident(&mut self.buffer, incident),
            Format::Raw | Format::Otlp | Format::Influx => {
                anyhow::bail!("this format has no incidents")
            }
        }
        Ok((1, address, incident.time_ms))
    }
}

/// How many events, where to, and of which time.
type Made = (usize, Arc<Address>, i64);
