//! OTLP's `KeyValue` and `AnyValue`: read without copying; as text, or as JSON where they hold more than one value.

use std::borrow::Cow;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::formats::Malformed;
use crate::protobuf::read::Reader;

/// Lists and maps within each other; what is deeper is refused. prost stops at 100 messages, which is 50 of these.
const DEEPEST: usize = 32;

/// One `AnyValue`; a list or a map as the bytes of its message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Any<'a> {
    /// Nothing, which is allowed.
    Empty,
    /// Should be UTF-8, and is not checked.
    Text(&'a [u8]),
    Bool(bool),
    Int(i64),
    Double(f64),
    List(&'a [u8]),
    Map(&'a [u8]),
    Bytes(&'a [u8]),
}

/// Of an `AnyValue`.
#[inline]
pub(super) fn any(message: &[u8]) -> Result<Any<'_>, Malformed> {
    let (mut reader, mut any) = (Reader::new(message), Any::Empty);
    while let Some((number, value)) = reader.field()? {
        any = match number {
            1 => Any::Text(value.bytes()?),
            2 => Any::Bool(value.varint()? != 0),
            3 => Any::Int(value.varint()? as i64),
            4 => Any::Double(value.double()?),
            5 => Any::List(value.bytes()?),
            6 => Any::Map(value.bytes()?),
            7 => Any::Bytes(value.bytes()?),
            _ => any,
        };
    }
    Ok(any)
}

/// Name and value of a `KeyValue`.
#[inline]
pub(super) fn attribute(message: &[u8]) -> Result<(&[u8], Any<'_>), Malformed> {
    let (mut reader, mut name, mut any_value) = (Reader::new(message), &[][..], Any::Empty);
    while let Some((number, value)) = reader.field()? {
        match number {
            1 => name = value.bytes()?,
            2 => any_value = any(value.bytes()?)?,
            _ => (),
        }
    }
    Ok((name, any_value))
}

/// A value as a text: one of several values as JSON, bytes in base 64, as OTLP's own JSON has them.
pub(super) fn text(value: Any<'_>) -> Result<Cow<'_, str>, Malformed> {
    Ok(match value {
        Any::Empty => "".into(),
        Any::Text(text) => String::from_utf8_lossy(text),
        Any::Bool(value) => if value { "true" } else { "false" }.into(),
        Any::Int(value) => value.to_string().into(),
        Any::Double(value) => value.to_string().into(),
        Any::Bytes(bytes) => STANDARD.encode(bytes).into(),
        Any::List(_) | Any::Map(_) => {
            let mut json = Vec::new();
            put_json(&mut json, value, DEEPEST)?;
            String::from_utf8(json).unwrap_or_default().into() // it is: serde_json and base 64 wrote it
        }
    })
}

fn put_json(out: &mut Vec<u8>, value: Any<'_>, deeper: usize) -> Result<(), Malformed> {
    let Some(deeper) = deeper.checked_sub(1) else {
        return Err(Malformed(format!("values within values, more than {DEEPEST} deep")));
    };
    match value {
        Any::Empty => out.extend_from_slice(b"null"),
        Any::Int(value) => put(out, format_args!("{value}")),
        Any::Bool(value) => put(out, format_args!("{value}")),
        Any::Double(value) => put_quoted(out, &value)?,
        Any::Text(text) => put_quoted(out, &String::from_utf8_lossy(text))?,
        Any::Bytes(bytes) => put_quoted(out, &STANDARD.encode(bytes))?,
        Any::List(list) => {
            out.push(b'[');
            let (mut reader, mut comma) = (Reader::new(list), false);
            while let Some((number, value)) = reader.field()? {
                if number == 1 {
                    put_comma(out, &mut comma);
                    put_json(out, any(value.bytes()?)?, deeper)?;
                }
            }
            out.push(b']');
        }
        Any::Map(map) => {
            out.push(b'{');
            let (mut reader, mut comma) = (Reader::new(map), false);
            while let Some((number, value)) = reader.field()? {
                if number == 1 {
                    put_comma(out, &mut comma);
                    let (name, value) = attribute(value.bytes()?)?;
                    put_quoted(out, &String::from_utf8_lossy(name))?;
                    out.push(b':');
                    put_json(out, value, deeper)?;
                }
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn put_comma(out: &mut Vec<u8>, comma: &mut bool) {
    if std::mem::replace(comma, true) {
        out.push(b',');
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _infallible = out.write_fmt(text);
}

fn put_quoted(out: &mut Vec<u8>, value: &impl serde::Serialize) -> Result<(), Malformed> {
    serde_json::to_writer(out, value).map_err(|error| Malformed(error.to_string()))
}
