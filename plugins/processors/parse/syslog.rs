//! Syslog: RFC 3164, RFC 5424, and the forms that rsyslog writes to files. Which one a line is shows in the line.
//!
//! 5424: `<34>1 2003-10-11T22:14:15.003Z host app procid msgid [sd@1 key="value"] message`
//! 3164: `<34>Oct 11 22:14:15 host tag[pid]: message`; in files the priority is left out, and newer rsyslog writes an
//! RFC 3339 time. 3164 has no year: the one that puts the time nearest to when the line was read is taken.

use memchr::memchr;
use sentinel_contract::{Field, Level, Name, Value};

use super::Found;
use super::names::Names;
use super::time::{Civil, CivilClock, Stamp, clock, digits, month};

/// Structured data elements beyond this are left in the line.
const MAX_PARAMETERS: usize = 64;

fn slice(name: &'static str, start: usize, end: usize) -> Field {
    Field { name: Name::Static(name), value: Value::Slice(start as u32, end as u32) }
}

/// Reads a line.
pub(super) fn parse(
    line: &[u8],
    zone: &mut CivilClock,
    names: &mut Names,
    now_ns: i64,
) -> Option<Found> {
    let mut fields = Vec::with_capacity(10);
    let (mut at, mut level) = (0, None);
    if line.first() == Some(&b'<') {
        let close = memchr(b'>', line.get(..5.min(line.len()))?)?;
        let priority = digits(&line[1..close]).filter(|priority| *priority < 192)?;
        let (facility, severity) = (priority / 8, priority % 8);
        fields
            .push(Field { name: Name::Static("facility"), value: Value::Number(facility as f64) });
        fields
            .push(Field { name: Name::Static("severity"), value: Value::Number(severity as f64) });
        level = Level::of_number(severity as f64);
        at = close + 1;
        if line[at..].starts_with(b"1 ") {
            let time = rfc5424(line, at + 2, zone, names, now_ns, &mut fields)?;
            return Some(Found { fields, time, level });
        }
    }
    let time = rfc3164(line, at, zone, now_ns, &mut fields)?;
    Some(Found { fields, time: Some(time), level })
}

/// The word at `at`; moves behind the space after it.
fn word(line: &[u8], at: &mut usize) -> Option<(usize, usize)> {
    let start = *at;
    let rest = line.get(start..)?;
    let end = start + memchr(b' ', rest).unwrap_or(rest.len());
    *at = (end + 1).min(line.len());
    (end > start).then_some((start, end))
}

fn rfc3164(
    line: &[u8],
    mut at: usize,
    zone: &mut CivilClock,
    now_ns: i64,
    fields: &mut Vec<Field>,
) -> Option<Stamp> {
    let time = if line.get(at)?.is_ascii_digit() {
        let (start, end) = word(line, &mut at)?;
        zone.rfc3339(std::str::from_utf8(&line[start..end]).ok()?, now_ns)?
    } else {
        let text = line.get(at..at + 15)?;
        let (hour, minute, second) = clock(&text[7..])?;
        let (month, day) = (month(&text[..3])?, digits(text[4..6].trim_ascii())?);
        let separators = [text[3], text[6]];
        (separators == *b"  ").then_some(())?;
        at = (at + 16).min(line.len());
        Stamp::second(zone.nearest(Civil { year: 0, month, day, hour, minute, second }, now_ns)?)?
    };
    let (start, end) = word(line, &mut at)?;
    if line[end - 1] == b':' {
        at = start; // no host: the tag comes first, as in messages of a local socket
    } else {
        fields.push(slice("hostname", start, end));
    }
    tag(line, at, fields);
    Some(time)
}

/// `tag[pid]: message`, `tag: message`, or only a message.
fn tag(line: &[u8], at: usize, fields: &mut Vec<Field>) {
    let rest = &line[at..];
    let end = rest.iter().position(|byte| matches!(byte, b':' | b'[' | b' ')).unwrap_or(rest.len());
    let mut message = at;
    match rest.get(end) {
        Some(b'[') => {
            if let Some(close) = memchr(b']', rest).filter(|close| *close > end + 1)
                && rest.get(close + 1) == Some(&b':')
            {
                fields.push(slice("appname", at, at + end));
                fields.push(slice("procid", at + end + 1, at + close));
                message = at + close + 2;
            }
        }
        Some(b':') if end > 0 => {
            fields.push(slice("appname", at, at + end));
            message = at + end + 1;
        }
        _ => {}
    }
    if line.get(message) == Some(&b' ') {
        message += 1;
    }
    fields.push(slice("message", message, line.len()));
}

/// The outer option: is it such a line; the inner: has it a time.
#[expect(clippy::option_option, reason = "RFC 5424 lets a line say that it has no time")]
fn rfc5424(
    line: &[u8],
    mut at: usize,
    zone: &mut CivilClock,
    names: &mut Names,
    now_ns: i64,
    fields: &mut Vec<Field>,
) -> Option<Option<Stamp>> {
    let (start, end) = word(line, &mut at)?;
    let time = match &line[start..end] {
        b"-" => None,
        text => Some(zone.rfc3339(std::str::from_utf8(text).ok()?, now_ns)?),
    };
    for name in ["hostname", "appname", "procid", "msgid"] {
        let (start, end) = word(line, &mut at)?;
        if line[start..end] != *b"-" {
            fields.push(slice(name, start, end));
        }
    }
    at = structured_data(line, at, names, fields)?;
    if line.get(at) == Some(&b' ') {
        at += 1;
    }
    if line[at..].starts_with(b"\xEF\xBB\xBF") {
        at += 3; // the mark of UTF-8
    }
    if at < line.len() {
        fields.push(slice("message", at, line.len()));
    }
    Some(time)
}

/// `-` or `[id key="value" ...]...`; returns where it ends. Parameters are named `id.key`.
fn structured_data(
    line: &[u8],
    mut at: usize,
    names: &mut Names,
    fields: &mut Vec<Field>,
) -> Option<usize> {
    match line.get(at) {
        None => return Some(at),
        Some(b'-') => return Some(at + 1),
        Some(b'[') => {}
        Some(_) => return None,
    }
    let mut parameters = 0;
    while line.get(at) == Some(&b'[') {
        let id_end = at + line[at..].iter().position(|byte| matches!(byte, b' ' | b']'))?;
        let id = &line[at + 1..id_end];
        at = id_end;
        while line.get(at) == Some(&b' ') {
            let equals = at + memchr(b'=', &line[at..])?;
            let key = &line[at + 1..equals];
            let (start, end) = parameter_value(line, equals + 1)?;
            parameters += 1;
            if parameters <= MAX_PARAMETERS {
                fields.push(Field {
                    name: names.joined(id, b".", key),
                    value: unescaped(line, start, end),
                });
            }
            at = end + 1;
        }
        (*line.get(at)? == b']').then_some(())?;
        at += 1;
    }
    Some(at)
}

fn parameter_value(line: &[u8], quote: usize) -> Option<(usize, usize)> {
    (*line.get(quote)? == b'"').then_some(())?;
    let mut at = quote + 1;
    loop {
        match *line.get(at)? {
            b'"' => return Some((quote + 1, at)),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// `\"`, `\\` and `\]` stand for themselves.
fn unescaped(line: &[u8], start: usize, end: usize) -> Value {
    let text = &line[start..end];
    if memchr(b'\\', text).is_none() {
        return Value::Slice(start as u32, end as u32);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        let escaped = bytes.next_if(|next| byte == b'\\' && matches!(next, b'"' | b'\\' | b']'));
        plain.push(escaped.unwrap_or(byte));
    }
    Value::Text(String::from_utf8_lossy(&plain).into())
}
