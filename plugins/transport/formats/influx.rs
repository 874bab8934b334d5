//! InfluxDB's line protocol: samples to lines and lines to samples.
//!
//! From InfluxData's "Line protocol" reference (elements, data types, special characters). Times are nanoseconds.
//!
//! A name of ours is Telegraf's `<measurement>_<field>`, and where it was put together is not known. It is taken apart at its
//! first `_`: `cpu_usage_idle` is field `usage_idle` of `cpu`, as Telegraf itself writes it; and whoever puts measurement
//! and field together (VictoriaMetrics, Telegraf, the decoder here) has the name again, wherever it was taken apart. A name
//! that cannot be taken apart is a measurement with the field `value`, and such a field comes in as the measurement alone.

use std::borrow::Cow;
use std::io::Write as _;
use std::sync::Arc;

use sentinel_contract::{Labels, Metric, Series};

use super::interner::{Bases, Interner, put_part};
use super::{Drops, Given, Malformed, check_count, names, whole};

/// The field of a measurement that is a name by itself.
const VALUE: &str = "value";

/// Appends a sample, without a line end. Line ends in names and values become spaces. What is not finite cannot be written:
/// the caller leaves it out.
pub fn metric(out: &mut Vec<u8>, metric: &Metric) {
    let name = metric.series.name();
    // InfluxDB has no field `time`, and `value` would not come back.
    let apart = name.split_once('_').filter(|(measurement, field)| {
        !measurement.is_empty() && !matches!(*field, "" | VALUE | "time")
    });
    let (measurement, field) = apart.unwrap_or((name, VALUE));
    put_escaped(out, measurement, b", ");
    for (name, value) in metric.series.labels().iter() {
        out.push(b',');
        put_escaped(out, name, b",= ");
        out.push(b'=');
        put_escaped(out, value, b",= ");
    }
    out.push(b' ');
    put_escaped(out, field, b",= ");
    let time_ns = metric.time_ms.saturating_mul(1_000_000);
    let _infallible = write!(out, "={} {time_ns}", metric.value);
}

fn put_escaped(out: &mut Vec<u8>, text: &str, special: &[u8]) {
    for byte in text.bytes() {
        match byte {
            b'\n' => out.extend_from_slice(b"\\ "),
            b'\\' => out.extend_from_slice(b"\\\\"),
            byte if special.contains(&byte) => out.extend([b'\\', byte]),
            byte => out.push(byte),
        }
    }
}

/// Reads lines; remembers series.
#[derive(Default)]
pub struct InfluxDecoder {
    bases: Bases,
    series: Interner<Arc<Series>>,
    key: Vec<u8>,
}

/// Why a line is none.
struct Bad;

impl InfluxDecoder {
    /// Appends the samples of a payload. Labels are the tags over those given. Texts are counted as `string_field`; a line that
    /// is none is counted as `malformed_line`, and a payload of no other lines is [`Malformed`].
    pub fn decode(
        &mut self,
        payload: &[u8],
        given: Given<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Malformed> {
        let base = self.bases.number(given.labels);
        whole(out, drops, |out, drops| {
            let (before, mut good) = (out.len(), false);
            for line in payload.split(|byte| *byte == b'\n') {
                let line = line.trim_ascii();
                if line.is_empty() || line[0] == b'#' {
                    continue;
                }
                let start = out.len();
                match self.line(line, base, given, out, drops) {
                    Ok(()) => good = true,
                    Err(Bad) => {
                        out.truncate(start);
                        drops.add("malformed_line", 1);
                    }
                }
                check_count(out.len() - before)?;
            }
            if good || drops.get("malformed_line") == 0 {
                return Ok(());
            }
            Err(Malformed::new("not line protocol: no line of it can be read"))
        })
    }

    fn line(
        &mut self,
        line: &[u8],
        base: u64,
        given: Given<'_>,
        out: &mut Vec<Metric>,
        drops: &mut Drops,
    ) -> Result<(), Bad> {
        let line = std::str::from_utf8(line).map_err(|_| Bad)?;
        let (head, rest) = split(line, b" ");
        self.key.clear();
        self.key.extend_from_slice(&base.to_le_bytes());
        put_part(&mut self.key, head.as_bytes());
        let (known, start) = (self.key.len(), out.len());
        let mut texts = 0;
        let mut rest = rest.trim_start_matches(' ');
        loop {
            let (name, after) = split(rest, b"=");
            let value = after.strip_prefix('=').filter(|_| !name.is_empty()).ok_or(Bad)?;
            let number;
            (number, rest) = field_value(value)?;
            if let Some(value) = number {
                self.key.truncate(known);
                self.key.extend_from_slice(name.as_bytes());
                let series = self.series.find(&self.key, || make(head, name, given.labels))?;
                out.push(Metric { series, time_ms: 0, value });
            } else {
                texts += 1;
            }
            match rest.strip_prefix(',') {
                Some(more) => rest = more,
                None => break,
            }
        }
        let time_ms = match rest.trim_matches(' ') {
            "" => given.now_ms(),
            time if rest.starts_with(' ') => {
                time.parse::<i64>().map_err(|_| Bad)?.div_euclid(1_000_000)
            }
            _ => return Err(Bad),
        };
        let infinite = out.extract_if(start.., |sample| !sample.value.is_finite()).count();
        out[start..].iter_mut().for_each(|sample| sample.time_ms = time_ms);
        drops.add("string_field", texts);
        drops.add("not_finite", infinite as u64);
        Ok(())
    }
}

/// What stands before the first of these characters that is not escaped, and the rest from there.
fn split<'a>(text: &'a str, at: &[u8]) -> (&'a str, &'a str) {
    let mut escaped = false;
    let end = text.bytes().position(|byte| {
        let found = !escaped && at.contains(&byte);
        escaped = byte == b'\\' && !escaped;
        found
    });
    text.split_at(end.unwrap_or(text.len()))
}

/// A field's value, `None` for a text, and what stands behind it.
fn field_value(text: &str) -> Result<(Option<f64>, &str), Bad> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (_, rest) = split(quoted, b"\"");
        return Ok((None, rest.strip_prefix('"').ok_or(Bad)?));
    }
    let (value, rest) = text.split_at(text.find([',', ' ']).unwrap_or(text.len()));
    let number = match value {
        "t" | "T" | "true" | "True" | "TRUE" => 1.0,
        "f" | "F" | "false" | "False" | "FALSE" => 0.0,
        _ => number(value).ok_or(Bad)?,
    };
    Ok((Some(number), rest))
}

fn number(text: &str) -> Option<f64> {
    if let Some(integer) = text.strip_suffix('i') {
        return integer.parse::<i64>().ok().map(|number| number as f64);
    }
    if let Some(integer) = text.strip_suffix('u') {
        return integer.parse::<u64>().ok().map(|number| number as f64);
    }
    let digits = |byte: u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    text.bytes().all(digits).then_some(text)?.parse().ok() // else Rust reads "nan" and "inf" too
}

/// The series of a field of a measurement and its tags.
#[cold]
fn make(head: &str, field: &str, base: &Labels) -> Result<Arc<Series>, Bad> {
    let (measurement, mut rest) = split(head, b",");
    if measurement.is_empty() {
        return Err(Bad);
    }
    let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> =
        base.iter().map(|(name, value)| (name.into(), value.into())).collect();
    while let Some(tags) = rest.strip_prefix(',') {
        let tag;
        (tag, rest) = split(tags, b",");
        let (name, value) = split(tag, b"=");
        let value = value.strip_prefix('=').filter(|_| !name.is_empty()).ok_or(Bad)?;
        let name = names::label(&unescape(name)).into_owned();
        pairs.push((name.into(), unescape(value)));
    }
    let (mut name, field) = (unescape(measurement).into_owned(), unescape(field));
    if field != VALUE {
        name.push('_');
        name.push_str(&field);
    }
    let name = names::metric(&name);
    Ok(Series::new(&*name, names::kind(&name), pairs))
}

/// Without the backslashes that escape; one before any other character stands for itself.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text.into();
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let escaped = c == '\\' && matches!(chars.peek(), Some(',' | '=' | ' ' | '\\'));
        plain.push(if escaped { chars.next().unwrap_or(c) } else { c });
    }
    plain.into()
}
