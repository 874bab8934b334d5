//! Timestamps: text to nanoseconds, with the unit the text resolves.
//!
//! Calendar arithmetic of the hot formats is done by hand (days from civil, Howard Hinnant, "chrono-Compatible
//! Low-Level Date Algorithms"); zones and everything rare is jiff's.

use std::cell::OnceCell;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

pub(super) const SECOND: i64 = 1_000_000_000;

/// A point in time as a line gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    /// Nanoseconds since 1970 UTC.
    pub(super) ns: i64,
    /// What the text resolves, in nanoseconds: 1 s for web logs, 1 ms, 1 us, or 1.
    pub(super) unit: i64,
}

impl Stamp {
    /// A time with no sub-second part.
    pub(super) fn second(seconds: i64) -> Option<Self> {
        Some(Stamp { ns: seconds.checked_mul(SECOND)?, unit: SECOND })
    }
}

/// The zone of times that do not name one.
#[derive(Debug)]
pub(super) enum Zone {
    Utc,
    Named(TimeZone),
    /// This host's; looked up at the first line, because building touches no file.
    Local(OnceCell<TimeZone>),
}

impl Zone {
    /// `local`, `UTC` or a name of the IANA database.
    pub(super) fn new(name: &str) -> Result<Self, String> {
        match name {
            "local" => Ok(Zone::Local(OnceCell::new())),
            "UTC" | "utc" | "Z" => Ok(Zone::Utc),
            _ => TimeZone::get(name).map(Zone::Named).map_err(|error| error.to_string()),
        }
    }

    /// Seconds since 1970 UTC of a wall clock reading. One that comes twice (the end of summer time) is taken nearest
    /// to `now_ns`; one that never was is moved forward, as clocks are.
    pub(super) fn seconds(&self, civil: Civil, now_ns: i64) -> Option<i64> {
        let zone = match self {
            Zone::Utc => return civil.utc_seconds(),
            Zone::Named(zone) => zone,
            Zone::Local(zone) => zone.get_or_init(TimeZone::system),
        };
        let date = DateTime::new(
            civil.year as i16,
            civil.month as i8,
            civil.day as i8,
            civil.hour as i8,
            civil.minute as i8,
            civil.second.min(59) as i8,
            0,
        )
        .ok()?;
        let reading = zone.to_ambiguous_timestamp(date);
        if reading.is_ambiguous() {
            let (early, late) = (reading.earlier().ok()?, reading.later().ok()?);
            let now = now_ns.div_euclid(SECOND);
            let far = |time: Timestamp| time.as_second().abs_diff(now);
            let in_gap = matches!(reading.offset(), jiff::tz::AmbiguousOffset::Gap { .. });
            let nearest = if !in_gap && far(early) <= far(late) { early } else { late };
            return Some(nearest.as_second());
        }
        Some(reading.compatible().ok()?.as_second())
    }
}

/// A wall clock reading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
}

impl Civil {
    /// Whether the calendar has it; a leap second counts.
    pub(super) fn is_valid(self) -> bool {
        (1..=9999).contains(&self.year)
            && (1..=12).contains(&self.month)
            && self.day >= 1
            && self.day <= days_in_month(self.year, self.month)
            && (0..24).contains(&self.hour)
            && (0..60).contains(&self.minute)
            && (0..=60).contains(&self.second)
    }

    /// Seconds since 1970, the reading taken as UTC.
    pub(super) fn utc_seconds(self) -> Option<i64> {
        if !self.is_valid() {
            return None;
        }
        let days = days_from_civil(self.year, self.month, self.day);
        Some(days * 86_400 + self.hour * 3600 + self.minute * 60 + self.second)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1; // the year begins in March
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The digits of `text` as a number; `None` when there is anything else, or nothing.
pub(super) fn digits(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    let mut number = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + i64::from(digit);
    }
    Some(number)
}

/// 1..=12 for `Jan`..`Dec`.
pub(super) fn month(name: &[u8]) -> Option<i64> {
    let name: &[u8; 3] = name.try_into().ok()?;
    let month = match name {
        b"Jan" => 1,
        b"Feb" => 2,
        b"Mar" => 3,
        b"Apr" => 4,
        b"May" => 5,
        b"Jun" => 6,
        b"Jul" => 7,
        b"Aug" => 8,
        b"Sep" => 9,
        b"Oct" => 10,
        b"Nov" => 11,
        b"Dec" => 12,
        _ => return None,
    };
    Some(month)
}

/// `hh:mm:ss`
pub(super) fn clock(text: &[u8]) -> Option<(i64, i64, i64)> {
    if text.len() != 8 || text[2] != b':' || text[5] != b':' {
        return None;
    }
    Some((digits(&text[..2])?, digits(&text[3..5])?, digits(&text[6..])?))
}

/// The web servers' `10/Oct/2000:13:55:36 -0700`; the last answer is kept, since a busy second has many lines.
#[derive(Debug, Default)]
pub(super) struct WebClock {
    text: [u8; 26],
    seconds: i64,
}

impl WebClock {
    /// Seconds since 1970 UTC.
    pub(super) fn seconds(&mut self, text: &[u8]) -> Option<i64> {
        let text: &[u8; 26] = text.try_into().ok()?;
        if *text != self.text {
            self.seconds = web_seconds(text)?;
            self.text = *text;
        }
        Some(self.seconds)
    }
}

fn web_seconds(text: &[u8; 26]) -> Option<i64> {
    let separators = [text[2], text[6], text[11], text[20]];
    if separators != *b"//: " {
        return None;
    }
    let (hour, minute, second) = clock(&text[12..20])?;
    let (year, month, day) = (digits(&text[7..11])?, month(&text[3..6])?, digits(&text[..2])?);
    let local = Civil { year, month, day, hour, minute, second }.utc_seconds()?;
    let offset = digits(&text[22..24])? * 3600 + digits(&text[24..])? * 60;
    match text[21] {
        b'+' => Some(local - offset),
        b'-' => Some(local + offset),
        _ => None,
    }
}

/// Times without a zone; the last answer is kept, because asking a zone costs more than the rest of the line.
#[derive(Debug)]
pub(super) struct CivilClock {
    zone: Zone,
    last: Option<(Civil, i64)>,
}

impl CivilClock {
    pub(super) fn new(zone: Zone) -> Self {
        CivilClock { zone, last: None }
    }

    /// Seconds since 1970 UTC.
    pub(super) fn seconds(&mut self, civil: Civil, now_ns: i64) -> Option<i64> {
        match self.last {
            Some((same, seconds)) if same == civil => Some(seconds),
            _ => {
                let seconds =
                    if civil.is_valid() { self.zone.seconds(civil, now_ns)? } else { return None };
                self.last = Some((civil, seconds));
                Some(seconds)
            }
        }
    }

    /// As [`CivilClock::seconds`] for a reading without a year: of last, this and next year the one nearest to `now_ns`.
    pub(super) fn nearest(&mut self, reading: Civil, now_ns: i64) -> Option<i64> {
        if let Some((last, seconds)) = self.last
            && (Civil { year: last.year, ..reading }) == last
            && seconds.abs_diff(now_ns.div_euclid(SECOND)) < 90 * 86_400
        {
            return Some(seconds);
        }
        let this_year = i64::from(
            Timestamp::from_nanosecond(i128::from(now_ns)).ok()?.to_zoned(TimeZone::UTC).year(),
        );
        let now = now_ns.div_euclid(SECOND);
        let years = [this_year - 1, this_year, this_year + 1];
        let candidates = years.into_iter().filter_map(|year| {
            let civil = Civil { year, ..reading };
            let seconds = civil.is_valid().then(|| self.zone.seconds(civil, now_ns))??;
            Some((civil, seconds))
        });
        let (civil, seconds) = candidates.min_by_key(|(_, seconds)| seconds.abs_diff(now))?;
        self.last = Some((civil, seconds));
        Some(seconds)
    }

    /// RFC 3339, or ISO 8601 without a zone.
    pub(super) fn rfc3339(&mut self, text: &str, now_ns: i64) -> Option<Stamp> {
        let unit = fraction_unit(text.as_bytes());
        if let Ok(time) = text.parse::<Timestamp>() {
            return Some(Stamp { ns: i64::try_from(time.as_nanosecond()).ok()?, unit });
        }
        let date: DateTime = text.parse().ok()?;
        self.at(date, unit, now_ns)
    }

    /// The moment of a reading.
    pub(super) fn at(&mut self, date: DateTime, unit: i64, now_ns: i64) -> Option<Stamp> {
        let civil = Civil {
            year: i64::from(date.year()),
            month: i64::from(date.month()),
            day: i64::from(date.day()),
            hour: i64::from(date.hour()),
            minute: i64::from(date.minute()),
            second: i64::from(date.second()),
        };
        let ns = self.seconds(civil, now_ns)?.checked_mul(SECOND)?;
        Some(Stamp { ns: ns + i64::from(date.subsec_nanosecond()), unit })
    }
}

/// What the last fraction in `text` resolves: a second when there is none.
pub(super) fn fraction_unit(text: &[u8]) -> i64 {
    let Some(point) = memchr::memrchr2(b'.', b',', text) else { return SECOND };
    let length = text[point + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    10_i64.pow(9 - length.min(9) as u32)
}
