//! A JSON object a line. Nested names are joined by `_`, as Loki and Promtail do; arrays stay text; null is absent.
//!
//! serde_json does the reading, into fields directly: a string without escapes is a slice of the line.

use std::fmt;

use sentinel_contract::{Field, Value};
use serde::de::{self, DeserializeSeed, Deserializer as _, MapAccess, SeqAccess, Visitor};

use super::names::Names;

/// Fields of one line; the rest is left in the line.
const MAX_FIELDS: usize = 256;

/// Reads a line; `None` when it is not one whole object.
pub(super) fn parse(line: &[u8], names: &mut Names) -> Option<Vec<Field>> {
    let trimmed = line.trim_ascii();
    if trimmed.first() != Some(&b'{') {
        return None;
    }
    let mut fields = Vec::with_capacity(12);
    let mut reader = serde_json::Deserializer::from_slice(line);
    let sink = Sink { line, names, fields: &mut fields, prefix: Vec::new() };
    reader.deserialize_map(Object(sink)).ok()?;
    reader.end().ok()?;
    Some(fields)
}

struct Sink<'a> {
    line: &'a [u8],
    names: &'a mut Names,
    fields: &'a mut Vec<Field>,
    prefix: Vec<u8>,
}

impl Sink<'_> {
    fn push(&mut self, value: Value) {
        if self.fields.len() < MAX_FIELDS {
            let name = self.names.get(&self.prefix);
            self.fields.push(Field { name, value });
        }
    }
}

struct Object<'a>(Sink<'a>);

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        members(&mut self.0, map)
    }
}

fn members<'de, A: MapAccess<'de>>(sink: &mut Sink<'_>, mut map: A) -> Result<(), A::Error> {
    let outer = sink.prefix.len();
    while map.next_key_seed(Key(sink))?.is_some() {
        map.next_value_seed(Member(sink))?;
        sink.prefix.truncate(outer);
    }
    Ok(())
}

struct Key<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Key<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<(), E> {
        if !self.0.prefix.is_empty() {
            self.0.prefix.push(b'_');
        }
        self.0.prefix.extend_from_slice(name.as_bytes());
        Ok(())
    }
}

struct Member<'s, 'a>(&'s mut Sink<'a>);

impl<'de> DeserializeSeed<'de> for Member<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Member<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<(), E> {
        let start = (text.as_ptr() as usize).wrapping_sub(self.0.line.as_ptr() as usize);
        let end = start.wrapping_add(text.len());
        let value = if start <= end && end <= self.0.line.len() {
            Value::Slice(start as u32, end as u32)
        } else {
            Value::Text(text.into())
        };
        self.0.push(value);
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        self.0.push(Value::Text(text.into()));
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<(), E> {
        self.0.push(exact(number as f64, number < 1 << 53, &number));
        Ok(())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<(), E> {
        self.0.push(exact(number as f64, number.unsigned_abs() < 1 << 53, &number));
        Ok(())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<(), E> {
        self.0.push(Value::Number(number));
        Ok(())
    }

    fn visit_bool<E: de::Error>(self, flag: bool) -> Result<(), E> {
        self.0.push(Value::Text(if flag { "true" } else { "false" }.into()));
        Ok(())
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        members(self.0, map)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element::<serde_json::Value>()? {
            array.push(item);
        }
        self.0.push(Value::Text(serde_json::Value::Array(array).to_string().into()));
        Ok(())
    }
}

/// A whole number that a float cannot hold (an id) stays text.
fn exact(number: f64, fits: bool, text: &dyn fmt::Display) -> Value {
    if fits { Value::Number(number) } else { Value::Text(text.to_string().into()) }
}
