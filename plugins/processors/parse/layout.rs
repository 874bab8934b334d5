//! How a field that holds a time is written: the options `timestamp` and `timestamp_format`. It does not guess.

use jiff::Timestamp;
use jiff::fmt::strtime;
use jiff::tz::TimeZone;

use super::time::{Civil, CivilClock, SECOND, Stamp, digits, fraction_unit};

/// How the field named by `timestamp` is written.
#[derive(Debug)]
pub(super) enum Layout {
    Rfc3339,
    Unix,
    UnixMillis,
    Strptime(Box<str>),
}

impl Layout {
    /// `rfc3339`, `unix`, `unix_ms`, or a format of strptime.
    pub(super) fn new(format: &str) -> Result<Self, String> {
        match format {
            "rfc3339" => Ok(Layout::Rfc3339),
            "unix" => Ok(Layout::Unix),
            "unix_ms" => Ok(Layout::UnixMillis),
            _ if !format.contains('%') => {
                Err("must be \"rfc3339\", \"unix\", \"unix_ms\" or a strptime format such as \"%Y-%m-%d %H:%M:%S\"".to_owned())
            }
            _ => {
                let noon = Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC);
                strtime::format(format, &noon).map_err(|error| error.to_string())?;
                Ok(Layout::Strptime(format.into()))
            }
        }
    }

    /// The time in `text`.
    pub(super) fn read(&self, text: &[u8], clock: &mut CivilClock, now_ns: i64) -> Option<Stamp> {
        let text = std::str::from_utf8(text).ok()?.trim();
        match self {
            Layout::Rfc3339 => clock.rfc3339(text, now_ns),
            Layout::Unix => unix(text, SECOND),
            Layout::UnixMillis => unix(text, 1_000_000),
            Layout::Strptime(format) => strptime(format, text, clock, now_ns),
        }
    }

    /// As [`Layout::read`], of a number.
    pub(super) fn of_number(&self, number: f64) -> Option<Stamp> {
        let factor = match self {
            Layout::Unix => SECOND,
            Layout::UnixMillis => 1_000_000,
            Layout::Rfc3339 | Layout::Strptime(_) => return None,
        };
        let whole = number.floor();
        if !(-9.0e9..9.2e12).contains(&whole) {
            return None;
        }
        // A float of today's seconds resolves a quarter of a microsecond: whole microseconds are what it can say.
        let part = ((number - whole) * factor as f64 / 1000.0).round() as i64 * 1000;
        let unit = if part == 0 { factor } else { 1000 };
        Some(Stamp { ns: (whole as i64).checked_mul(factor)?.checked_add(part)?, unit })
    }
}

/// A decimal number of units of `factor` nanoseconds, exactly.
fn unix(text: &str, factor: i64) -> Option<Stamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut ns = digits(whole.as_bytes())?.checked_mul(factor)?;
    let mut unit = factor;
    for byte in fraction.bytes() {
        unit /= 10;
        ns = ns.checked_add(digits(&[byte])? * unit)?;
    }
    Some(Stamp { ns, unit: unit.max(1) })
}

fn strptime(format: &str, text: &str, clock: &mut CivilClock, now_ns: i64) -> Option<Stamp> {
    let parsed = strtime::parse(format, text).ok()?;
    let has_fraction =
        ["%f", "%.", "%N", "%3", "%6", "%9"].iter().any(|part| format.contains(part));
    let unit = if has_fraction { fraction_unit(text.as_bytes()) } else { SECOND };
    if let Ok(time) = parsed.to_timestamp() {
        return Some(Stamp { ns: i64::try_from(time.as_nanosecond()).ok()?, unit });
    }
    if parsed.year().is_none() {
        let part = |value: Option<i8>| value.map(i64::from);
        let reading = Civil {
            year: 0,
            month: part(parsed.month())?,
            day: part(parsed.day())?,
            hour: part(parsed.hour())?,
            minute: part(parsed.minute())?,
            second: part(parsed.second()).unwrap_or(0),
        };
        let ns = clock.nearest(reading, now_ns)?.checked_mul(SECOND)?;
        return Some(Stamp { ns: ns + i64::from(parsed.subsec_nanosecond().unwrap_or(0)), unit });
    }
    clock.at(parsed.to_datetime().ok()?, unit, now_ns)
}
