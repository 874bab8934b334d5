//! The error logs of nginx and Apache.
//!
//! nginx: `2025/12/17 09:03:01 [error] 10025#10025: *3 message, client: ..., server: ..., request: "..."`
//! (ngx_log.c, ngx_http_request.c). Apache 2.4: `[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 4328636]
//! [client 72.15.99.187:53432] message`; 2.2 has neither module nor pid (ErrorLogFormat in the manual).

use memchr::{memchr, memmem};
use sentinel_contract::{Field, Level, Name, Value};

use super::Found;
use super::time::{Civil, CivilClock, SECOND, Stamp, clock, digits, fraction_unit, month};

/// What nginx appends to a message, in its order.
const NGINX_PARTS: [(&str, &str); 7] = [
    (", client: ", "client"),
    (", server: ", "server"),
    (", request: ", "request"),
    (", subrequest: ", "subrequest"),
    (", upstream: ", "upstream"),
    (", host: ", "host"),
    (", referrer: ", "referrer"),
];

fn slice(name: &'static str, start: usize, end: usize) -> Field {
    Field { name: Name::Static(name), value: Value::Slice(start as u32, end as u32) }
}

fn number(name: &'static str, value: i64) -> Field {
    Field { name: Name::Static(name), value: Value::Number(value as f64) }
}

/// Reads a line of nginx's error log.
pub(super) fn nginx(line: &[u8], zone: &mut CivilClock, now_ns: i64) -> Option<Found> {
    let time = nginx_time(line.get(..19)?, zone, now_ns)?;
    if line.get(19..21)? != b" [" {
        return None;
    }
    let close = 21 + memchr(b']', &line[21..])?;
    let level = &line[21..close];
    let mut fields = Vec::with_capacity(12);
    fields.push(slice("level", 21, close));
    let mut at = close + 2;
    // `pid#tid: ` and, within a connection, `*number `.
    if let Some(colon) = memmem::find(line.get(at..)?, b": ") {
        let (pid, tid) = split_at_byte(&line[at..at + colon], b'#');
        if let (Some(pid), Some(tid)) = (digits(pid), tid.and_then(digits)) {
            fields.push(number("pid", pid));
            fields.push(number("tid", tid));
            at += colon + 2;
        }
    }
    if line.get(at) == Some(&b'*')
        && let Some(space) = memchr(b' ', &line[at..])
        && let Some(connection) = digits(&line[at + 1..at + space])
    {
        fields.push(number("connection", connection));
        at += space + 1;
    }
    nginx_parts(line, at.min(line.len()), &mut fields);
    Some(Found { fields, time: Some(time), level: Level::of_text(level) })
}

fn nginx_time(text: &[u8], zone: &mut CivilClock, now_ns: i64) -> Option<Stamp> {
    if [text[4], text[7], text[10]] != *b"// " {
        return None;
    }
    let (hour, minute, second) = clock(&text[11..])?;
    let (year, month, day) = (digits(&text[..4])?, digits(&text[5..7])?, digits(&text[8..10])?);
    Stamp::second(zone.seconds(Civil { year, month, day, hour, minute, second }, now_ns)?)
}

/// The message up to the first part that nginx appends, then the parts.
fn nginx_parts(line: &[u8], message: usize, fields: &mut Vec<Field>) {
    let mut starts = [None; NGINX_PARTS.len()];
    let mut from = message;
    for (start, (mark, _)) in starts.iter_mut().zip(NGINX_PARTS) {
        if let Some(found) = memmem::find(&line[from..], mark.as_bytes()) {
            *start = Some(from + found);
            from += found + mark.len();
        }
    }
    let end_after = |index: usize| starts[index..].iter().flatten().next().copied();
    fields.push(slice("message", message, end_after(0).unwrap_or(line.len())));
    for (index, (mark, name)) in NGINX_PARTS.into_iter().enumerate() {
        let Some(start) = starts[index] else { continue };
        let (mut start, mut end) = (start + mark.len(), end_after(index + 1).unwrap_or(line.len()));
        if end > start + 1 && line[start] == b'"' && line[end - 1] == b'"' {
            (start, end) = (start + 1, end - 1);
        }
        fields.push(slice(name, start, end));
    }
}

fn split_at_byte(text: &[u8], byte: u8) -> (&[u8], Option<&[u8]>) {
    match memchr(byte, text) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Reads a line of Apache's error log.
pub(super) fn apache(line: &[u8], zone: &mut CivilClock, now_ns: i64) -> Option<Found> {
    if *line.first()? != b'[' {
        return None;
    }
    let close = memchr(b']', line)?;
    let time = apache_time(&line[1..close], zone, now_ns)?;
    let mut fields = Vec::with_capacity(8);
    let mut level = None;
    let mut at = close + 1;
    while line.get(at..at + 2) == Some(b" [") {
        let start = at + 2;
        let Some(length) = memchr(b']', &line[start..]) else { break };
        let end = start + length;
        let bracket = &line[start..end];
        if let Some(process) = bracket.strip_prefix(b"pid ") {
            let (pid, tid) = split_at_byte(process, b':');
            fields.extend(digits(pid).map(|pid| number("pid", pid)));
            let tid = tid.and_then(|tid| tid.strip_prefix(b"tid ")).and_then(digits);
            fields.extend(tid.map(|tid| number("tid", tid)));
        } else if bracket.starts_with(b"client ") {
            fields.push(slice("client", start + 7, end));
        } else if level.is_none() && !bracket.contains(&b' ') {
            let word = memchr(b':', bracket).map_or(start, |colon| start + colon + 1);
            if word > start + 1 {
                fields.push(slice("module", start, word - 1));
            }
            fields.push(slice("level", word, end));
            level = Level::of_text(&line[word..end]);
        } else {
            break; // the message itself begins with a bracket
        }
        at = end + 1;
    }
    let message = if line.get(at) == Some(&b' ') { at + 1 } else { at };
    fields.push(slice("message", message, line.len()));
    Some(Found { fields, time: Some(time), level })
}

/// `Fri Sep 09 10:42:29.902022 2011`; the fraction is there from 2.4 on.
fn apache_time(text: &[u8], zone: &mut CivilClock, now_ns: i64) -> Option<Stamp> {
    let mut words = text.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let (_weekday, month_name, day, time, year) =
        (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let (hour, minute, second) = clock(time.get(..8)?)?;
    let (year, month, day) = (digits(year)?, month(month_name)?, digits(day)?);
    let civil = Civil { year, month, day, hour, minute, second };
    let ns = zone.seconds(civil, now_ns)?.checked_mul(SECOND)?;
    match &time[8..] {
        [] => Some(Stamp { ns, unit: SECOND }),
        [b'.', fraction @ ..] if fraction.len() <= 9 => {
            let unit = fraction_unit(time);
            Some(Stamp { ns: ns + digits(fraction)? * unit, unit })
        }
        _ => None,
    }
}
