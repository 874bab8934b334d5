//! Recurring times in configuration: "Sat 02:00-04:00", "2026-12-24..2026-12-26". Calendar time is jiff's.
//!
//! A schedule says what a clock on the wall would show: an hour that occurs twice when summer time ends is covered both
//! times. A window whose hour does not occur when summer time begins is moved later by what the clock leaps, as systemd
//! and most crons do with the work that it is for, and so keeps its length. Yearly dates are not here: a movable feast
//! has no rule that one line could say.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::de::{self, Deserialize, Deserializer};

/// What to write, for messages.
const EXPECTED: &str = "\"Sat 02:00-04:00\", \"daily 03:00-03:30\", \"Mon-Fri 12:00-13:00 Europe/Berlin\" or \
                        \"2026-12-24..2026-12-26\"";

/// Days, a time of day, a time zone: `[DAYS] [HH:MM-HH:MM] [ZONE]`.
///
/// DAYS are `daily`, weekdays (`Sat`, `Mon-Fri`, `Sat,Sun`; a range may go over the week's end) or dates (`2026-12-25`,
/// `2026-12-24..2026-12-26`, the last one included). Without a time, whole days; a time alone is daily; an end that is
/// not after the start is on the next day (`Sat 22:00-02:00` ends on Sunday). The zone is an IANA name or `UTC`, else
/// the host's.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    text: String,
    days: Days,
    /// `None`: whole days. The end is exclusive, and on the next day when it is not after the start.
    hours: Option<(Time, Time)>,
    zone: TimeZone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Days {
    /// Bit n is the n-th day of a week that begins on Monday.
    Weekdays(u8),
    /// The first and the last.
    Dates(Date, Date),
}

impl Days {
    fn has(self, date: Date) -> bool {
        match self {
            Days::Weekdays(days) => days & bit(date.weekday()) != 0,
            Days::Dates(first, last) => (first..=last).contains(&date),
        }
    }
}

fn bit(day: Weekday) -> u8 {
    1 << day.to_monday_zero_offset()
}

impl Schedule {
    /// Whether this moment, in milliseconds since 1970 UTC, is within it.
    pub fn covers(&self, time_ms: i64) -> bool {
        let Ok(now) = Timestamp::from_millisecond(time_ms) else { return false };
        let shown = self.zone.to_datetime(now);
        let days = [Some(shown.date()), shown.date().yesterday().ok()];
        days.into_iter().flatten().filter(|day| self.days.has(*day)).any(|day| {
            let Some((begin, end)) = self.window(day) else { return false };
            (begin..end).contains(&shown) || self.leaps(now, begin, end)
        })
    }

    /// The window that begins on this day, as the wall's clock shows it.
    fn window(&self, day: Date) -> Option<(DateTime, DateTime)> {
        let (from, to) = self.hours.unwrap_or((Time::midnight(), Time::midnight()));
        let last = if to <= from { day.tomorrow().ok()? } else { day };
        Some((day.to_datetime(from), last.to_datetime(to)))
    }

    /// Whether `now` is within a window whose begin or end the clock leaps over, once it is moved later.
    fn leaps(&self, now: Timestamp, begin: DateTime, end: DateTime) -> bool {
        let (begin, end) =
            (self.zone.to_ambiguous_timestamp(begin), self.zone.to_ambiguous_timestamp(end));
        let gap = |offset| matches!(offset, AmbiguousOffset::Gap { .. });
        if !gap(begin.offset()) && !gap(end.offset()) {
            return false;
        }
        match (begin.compatible(), end.compatible()) {
            (Ok(begin), Ok(end)) => (begin..end).contains(&now),
            _ => false,
        }
    }
}

/// As it was written.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Schedule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).map_err(|why| format!("\"{text}\": {why}; expected such as {EXPECTED}"))
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

fn parse(text: &str) -> Result<Schedule, String> {
    let mut words = text.split_whitespace().peekable();
    let days = match words.next_if(|word| !is_hours(word) && !is_zone(word)) {
        Some(word) => Some(days(word)?),
        None => None,
    };
    let hours = words.next_if(|word| is_hours(word)).map(hours).transpose()?;
    let zone = match words.next() {
        Some(name) => zone(name)?,
        None => TimeZone::system(),
    };
    if let Some(word) = words.next() {
        return Err(format!("`{word}` after its end"));
    }
    let days = match (days, hours) {
        (Some(days), _) => days,
        (None, Some(_)) => Days::Weekdays(u8::MAX),
        (None, None) => return Err("neither a day nor a time".to_owned()),
    };
    Ok(Schedule { text: text.trim().to_owned(), days, hours, zone })
}

/// Only times have colons.
fn is_hours(word: &str) -> bool {
    word.contains(':')
}

fn is_zone(word: &str) -> bool {
    word.contains('/') || word == "UTC"
}

fn days(word: &str) -> Result<Days, String> {
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        let (first, last) = word.split_once("..").unwrap_or((word, word));
        let (first, last) = (date(first)?, date(last)?);
        if last < first {
            return Err(format!("{last} is before {first}"));
        }
        return Ok(Days::Dates(first, last));
    }
    if word.eq_ignore_ascii_case("daily") {
        return Ok(Days::Weekdays(u8::MAX));
    }
    let mut set = 0;
    for part in word.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (mut day, last) = (weekday(first)?, weekday(last)?);
        set |= bit(day);
        while day != last {
            day = day.wrapping_add(1);
            set |= bit(day);
        }
    }
    Ok(Days::Weekdays(set))
}

fn date(text: &str) -> Result<Date, String> {
    let shaped = text.len() == 10 && text.chars().all(|c| c.is_ascii_digit() || c == '-');
    let date = text.parse().ok().filter(|_| shaped);
    date.ok_or_else(|| format!("`{text}` is no date such as 2026-12-24"))
}

/// "Sat" or "Saturday", in any case.
fn weekday(text: &str) -> Result<Weekday, String> {
    const NAMES: [&str; 7] =
        ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
    let name = text.to_ascii_lowercase();
    let day = NAMES.iter().position(|day| *day == name || day[..3] == name);
    let day = day.and_then(|day| Weekday::from_monday_zero_offset(day as i8).ok());
    day.ok_or_else(|| format!("`{text}` is no day such as Mon, Sat or daily"))
}

fn hours(word: &str) -> Result<(Time, Time), String> {
    let (from, to) = word
        .split_once('-')
        .ok_or_else(|| format!("`{word}` is no time of day such as 02:00-04:00"))?;
    let (from, to) = (time(from)?, if to == "24:00" { Time::midnight() } else { time(to)? });
    if from == to && !(from == Time::midnight() && word.ends_with("24:00")) {
        return Err(format!("`{word}` is empty; for whole days leave the time out"));
    }
    Ok((from, to))
}

/// `HH:MM`.
fn time(text: &str) -> Result<Time, String> {
    let parts = text.split_once(':').filter(|(hour, minute)| {
        let digits = |part: &str, most| {
            (most - 1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
        };
        digits(hour, 2) && minute.len() == 2 && digits(minute, 2)
    });
    let parts = parts.and_then(|(hour, minute)| Some((hour.parse().ok()?, minute.parse().ok()?)));
    parts
        .and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok())
        .ok_or_else(|| format!("`{text}` is no time of day such as 02:00"))
}

fn zone(name: &str) -> Result<TimeZone, String> {
    if name == "UTC" {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(name).map_err(|_| {
        format!("the time zone `{name}` is not known here (an IANA name; the package is tzdata)")
    })
}
