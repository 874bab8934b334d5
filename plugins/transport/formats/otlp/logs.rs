//! A `LogsData` to log records. A body that is a string or bytes is a slice of the payload.

use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::level::LEVELS;
use sentinel_contract::{Field, Fields, Labels, Level, Log, Name, Value};

use super::value::{self, Any};
use super::{LEVEL, labels, level_of, resource};
use crate::formats::interner::{Bases, Interner, Names};
use crate::formats::{Drops, Given, Malformed, check_count, whole};
use crate::protobuf::read::Reader;

/// Beyond this an integer may not be a double: it becomes text.
const EXACT: u64 = 1 << 53;

/// Reads logs; remembers streams and names of fields.
#[derive(Default)]
pub struct LogsDecoder {
    bases: Bases,
    streams: Interner<Arc<Labels>>,
    names: Names,
    key: Vec<u8>,
    fields: Vec<Field>,
}

/// The label sets of one resource: without a severity, and with each.
struct Streams<'a> {
    resource: &'a [u8],
    /// The number of the labels that were given.
    base: u64,
    plain: Arc<Labels>,
    by_level: [Option<Arc<Labels>>; LEVELS],
}

impl LogsDecoder {
    /// Appends the records of a payload. Labels are those given, the resource's attributes over them, and `level`.
    pub fn decode(
        &mut self,
        payload: &Bytes,
        given: Given<'_>,
        out: &mut Vec<Log>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        whole(out, drops, |out, _| self.read(payload, given, out))
    }

    fn read(
        &mut self,
        payload: &Bytes,
        given: Given<'_>,
        out: &mut Vec<Log>,
    ) -> Result<(), Malformed> {
        let base = self.bases.number(given.labels);
        let before = out.len();
        let mut reader = Reader::new(payload);
        while let Some((number, value)) = reader.field()? {
            if number != 1 {
                continue;
            }
            let message = value.bytes()?;
            let resource = resource(message)?;
            let plain = self.stream(base, resource, None, given.labels)?;
            let mut streams = Streams { resource, base, plain, by_level: Default::default() };
            let mut scopes = Reader::new(message);
            while let Some((number, value)) = scopes.field()? {
                if number == 2 {
                    self.scope(payload, value.bytes()?, given, &mut streams, out)?;
                }
            }
            check_count(out.len() - before)?;
        }
        Ok(())
    }

    /// The records of a `ScopeLogs`.
    fn scope(
        &mut self,
        payload: &Bytes,
        message: &[u8],
        given: Given<'_>,
        streams: &mut Streams<'_>,
        out: &mut Vec<Log>,
    ) -> Result<(), Malformed> {
        let before = out.len();
        let name = scope_name(message)?;
        let mut reader = Reader::new(message);
        while let Some((number, value)) = reader.field()? {
            if number == 2 {
                let record = value.bytes()?;
                out.push(self.record(payload, record, name, given, streams)?);
                check_count(out.len() - before)?;
            }
        }
        Ok(())
    }

    fn record(
        &mut self,
        payload: &Bytes,
        message: &[u8],
        scope: &[u8],
        given: Given<'_>,
        streams: &mut Streams<'_>,
    ) -> Result<Log, Malformed> {
        let mut reader = Reader::new(message);
        let (mut time, mut observed) = (0, 0);
        let (mut severity, mut severity_text, mut body) = (0, &[][..], Any::Empty);
        let (mut trace, mut span, mut event) = (&[][..], &[][..], &[][..]);
        self.fields.clear();
        while let Some((number, value)) = reader.field()? {
            match number {
                1 => time = value.fixed64()?,
                2 => severity = value.varint()?,
                3 => severity_text = value.bytes()?,
                5 => body = value::any(value.bytes()?)?,
                6 => self.attribute(value.bytes()?)?,
                9 => trace = value.bytes()?,
                10 => span = value.bytes()?,
                11 => observed = value.fixed64()?,
                12 => event = value.bytes()?,
                _ => (),
            }
        }
        self.put_text("scope_name", scope);
        self.put_text("event_name", event);
        self.put_id("trace_id", trace);
        self.put_id("span_id", span);
        let time_ns = match (time, observed) {
            (0, 0) => given.now_ns,
            (0, time) | (time, _) => i64::try_from(time).unwrap_or(i64::MAX),
        };
        let fields: Vec<Field> = self.fields.drain(..).collect();
        let fields = (!fields.is_empty()).then(|| Box::new(Fields(fields)));
        let stream = self.levelled(streams, severity_text, severity, given.labels)?;
        Ok(Log { stream, time_ns, body: slice(payload, body)?, fields })
    }

    /// The labels of a record: those of its resource with its severity, unless that is what they say already.
    fn levelled(
        &mut self,
        streams: &mut Streams<'_>,
        text: &[u8],
        number: u64,
        base: &Labels,
    ) -> Result<Arc<Labels>, Malformed> {
        let said = streams.plain.get(LEVEL).is_some_and(|level| level.as_bytes() == text);
        let level = if said { None } else { Level::of_text(text).or_else(|| level_of(number)) };
        let Some(level) = level else { return Ok(Arc::clone(&streams.plain)) };
        if let Some(known) = &streams.by_level[level as usize] {
            return Ok(Arc::clone(known));
        }
        let stream = self.stream(streams.base, streams.resource, Some(level), base)?;
        Ok(Arc::clone(streams.by_level[level as usize].insert(stream)))
    }

    fn stream(
        &mut self,
        number: u64,
        resource: &[u8],
        level: Option<Level>,
        base: &Labels,
    ) -> Result<Arc<Labels>, Malformed> {
        self.key.clear();
        self.key.extend_from_slice(&number.to_le_bytes());
        self.key.push(level.map_or(0, |level| level as u8 + 1));
        self.key.extend_from_slice(resource);
        self.streams.find(&self.key, || {
            let labels = labels(base, resource, 1)?;
            let level = level.map(|level| (LEVEL, level.as_str()));
            Ok(Arc::new(if level.is_some() { labels.with(level) } else { labels }))
        })
    }

    #[inline]
    fn attribute(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let (name, value) = value::attribute(message)?;
        let value = match value {
            Any::Empty => return Ok(()),
            Any::Double(number) => Value::Number(number),
            Any::Int(number) if number.unsigned_abs() <= EXACT => Value::Number(number as f64),
            several => Value::Text(value::text(several)?.into()),
        };
        if !name.is_empty() {
            self.fields.push(Field { name: self.names.name(name), value });
        }
        Ok(())
    }

    fn put_text(&mut self, name: &'static str, text: &[u8]) {
        if !text.is_empty() {
            let value = Value::Text(String::from_utf8_lossy(text).into());
            self.fields.push(Field { name: Name::Static(name), value });
        }
    }

    fn put_id(&mut self, name: &'static str, id: &[u8]) {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digits = id.iter().flat_map(|byte| [byte >> 4, byte & 15]);
        let text: String = digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect();
        if id.iter().any(|byte| *byte != 0) {
            self.fields.push(Field { name: Name::Static(name), value: Value::Text(text.into()) });
        }
    }
}

/// The name of the scope of a `ScopeLogs`: often that of the logger.
fn scope_name(message: &[u8]) -> Result<&[u8], Malformed> {
    let (mut reader, mut name) = (Reader::new(message), &[][..]);
    while let Some((number, value)) = reader.field()? {
        if number == 1 {
            let mut scope = Reader::new(value.bytes()?);
            while let Some((number, value)) = scope.field()? {
                if number == 1 {
                    name = value.bytes()?;
                }
            }
        }
    }
    Ok(name)
}

/// A body: of the payload where it stands there.
fn slice(payload: &Bytes, body: Any<'_>) -> Result<Bytes, Malformed> {
    Ok(match body {
        Any::Text(bytes) | Any::Bytes(bytes) if !bytes.is_empty() => payload.slice_ref(bytes),
        Any::Text(_) | Any::Bytes(_) | Any::Empty => Bytes::new(),
        other => Bytes::from(value::text(other)?.into_owned()),
    })
}
