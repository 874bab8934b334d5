//! A record's bytes as a batch again; the format is told in `encode.rs`. Lines stay slices of the record.
//!
//! The bytes passed their checksum, and may still be of another version or from anywhere: every length is checked, and
//! nothing is reserved beyond what the bytes can hold.

use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::{
    Batch, Events, Field, Fields, Incident, Kind, Labels, Log, Metric, Name, Series, Value,
};

use super::encode::{INCIDENTS, LOGS, METRICS, NUMBER, SLICE, TEXT, VERSION};

/// Why a record is not a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    /// Of a newer agent, or no record.
    #[error("version {0} of a record is not known")]
    Version(u8),
    /// It ends too early, or names what is not there.
    #[error("a record is not what it should be")]
    Malformed,
}

type Result<T> = std::result::Result<T, DecodeError>;

/// The batch that was encoded, without receipt and permit.
pub(crate) fn decode(record: Bytes) -> Result<Batch> {
    let mut from = Reader { bytes: record };
    let version = from.u8()?;
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let kind = from.u8()?;
    let order = from.varint()?;
    let origin: Arc<str> = from.text()?.as_ref().into();
    let count = from.varint()?;
    let events = match kind {
        METRICS => Events::Metrics(metrics(&mut from, count)?),
        LOGS => Events::Logs(logs(&mut from, count)?),
        INCIDENTS => Events::Incidents(incidents(&mut from, count)?),
        _ => return Err(DecodeError::Malformed),
    };
    if !from.bytes.is_empty() {
        return Err(DecodeError::Malformed);
    }
    let mut batch = Batch::new(origin, events);
    batch.order = order;
    Ok(batch)
}

fn metrics(from: &mut Reader, count: u64) -> Result<Vec<Metric>> {
    let mut series: Vec<Arc<Series>> = Vec::new();
    let mut metrics = from.room(count, 17)?;
    for _ in 0..count {
        let at = from.varint()? as usize;
        if at == series.len() {
            let name = from.text()?;
            let kind = if from.u8()? == 1 { Kind::Counter } else { Kind::Gauge };
            series.push(Series::new(name, kind, pairs(from)?));
        }
        let series = series.get(at).ok_or(DecodeError::Malformed)?;
        let time_ms = i64::from_le_bytes(from.array()?);
        let value = f64::from_le_bytes(from.array()?);
        metrics.push(Metric { series: Arc::clone(series), time_ms, value });
    }
    Ok(metrics)
}

fn logs(from: &mut Reader, count: u64) -> Result<Vec<Log>> {
    let mut streams: Vec<Arc<Labels>> = Vec::new();
    let mut names: Vec<Arc<str>> = Vec::new();
    let mut logs = from.room(count, 11)?;
    for _ in 0..count {
        let at = from.varint()? as usize;
        if at == streams.len() {
            streams.push(Arc::new(Labels::new(pairs(from)?)));
        }
        let stream = Arc::clone(streams.get(at).ok_or(DecodeError::Malformed)?);
        let time_ns = i64::from_le_bytes(from.array()?);
        let body = from.slice()?;
        let fields = fields(from, &mut names, body.len())?;
        logs.push(Log { stream, time_ns, body, fields });
    }
    Ok(logs)
}

fn fields(
    from: &mut Reader,
    names: &mut Vec<Arc<str>>,
    body: usize,
) -> Result<Option<Box<Fields>>> {
    let count = from.varint()?;
    if count == 0 {
        return Ok(None);
    }
    let mut fields = from.room(count, 2)?;
    for _ in 0..count {
        let text = from.text()?;
        let known = names.iter().find(|name| ***name == *text).cloned();
        let name = known.unwrap_or_else(|| {
            let name: Arc<str> = text.into();
            names.push(Arc::clone(&name));
            name
        });
        let value = match from.u8()? {
            SLICE => {
                let (start, end) = (from.varint()?, from.varint()?);
                if start > end || end > body as u64 {
                    return Err(DecodeError::Malformed);
                }
                Value::Slice(start as u32, end as u32)
            }
            TEXT => Value::Text(from.text()?),
            NUMBER => Value::Number(f64::from_le_bytes(from.array()?)),
            _ => return Err(DecodeError::Malformed),
        };
        fields.push(Field { name: Name::Shared(name), value });
    }
    Ok(Some(Box::new(Fields(fields))))
}

fn incidents(from: &mut Reader, count: u64) -> Result<Vec<Incident>> {
    let mut incidents = Vec::new();
    for _ in 0..count {
        let json = from.slice()?;
        incidents.push(serde_json::from_slice(&json).map_err(|_| DecodeError::Malformed)?);
    }
    Ok(incidents)
}

fn pairs(from: &mut Reader) -> Result<Vec<(Box<str>, Box<str>)>> {
    let count = from.varint()?;
    let mut pairs = from.room(count, 2)?;
    for _ in 0..count {
        pairs.push((from.text()?, from.text()?));
    }
    Ok(pairs)
}

/// What is left of the bytes.
struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// Room for `count` things of at least `least` bytes each, when there can be so many.
    fn room<T>(&self, count: u64, least: u64) -> Result<Vec<T>> {
        let possible = count.checked_mul(least).is_some_and(|all| all <= self.bytes.len() as u64);
        // A log of one byte takes six times its record: what is malformed must not be given that at once.
        let room = count.min(16 << 10) as usize;
        if possible { Ok(Vec::with_capacity(room)) } else { Err(DecodeError::Malformed) }
    }

    fn u8(&mut self) -> Result<u8> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let array = *self.bytes.first_chunk().ok_or(DecodeError::Malformed)?;
        let _taken = self.bytes.split_to(N);
        Ok(array)
    }

    fn varint(&mut self) -> Result<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(DecodeError::Malformed)
    }

    fn slice(&mut self) -> Result<Bytes> {
        let length = self.varint()?;
        if length > self.bytes.len() as u64 {
            return Err(DecodeError::Malformed);
        }
        Ok(self.bytes.split_to(length as usize))
    }

    fn text(&mut self) -> Result<Box<str>> {
        let bytes = self.slice()?;
        std::str::from_utf8(&bytes).map(Into::into).map_err(|_| DecodeError::Malformed)
    }
}
