//! Times: zones, the hour that comes twice, years left out, and what a format resolves.

use proptest::prelude::*;

use super::super::layout::Layout;
use super::super::time::{Civil, CivilClock, SECOND, WebClock, Zone};
use super::{apply, one, parse};

fn seconds(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_second()
}

fn berlin(reading: &str, now: &str) -> i64 {
    let text = "format = \"nginx_error\"\ntimezone = \"Europe/Berlin\"";
    let parser = parse(text);
    let mut clock = parser.clock;
    let stamp = clock.rfc3339(reading, seconds(now) * SECOND).unwrap();
    stamp.ns / SECOND
}

#[test]
fn the_hour_that_comes_twice_is_taken_nearest_to_the_reading() {
    // 2025-10-26 in Berlin: 03:00 CEST is 02:00 CET.
    assert_eq!(
        berlin("2025-10-26T02:30:00", "2025-10-26T00:30:05Z"),
        seconds("2025-10-26T00:30:00Z")
    );
    assert_eq!(
        berlin("2025-10-26T02:30:00", "2025-10-26T01:30:05Z"),
        seconds("2025-10-26T01:30:00Z")
    );
}

#[test]
fn an_hour_that_never_was_is_moved_forward() {
    // 2025-03-30 in Berlin: 02:00 CET is 03:00 CEST.
    assert_eq!(
        berlin("2025-03-30T02:30:00", "2025-03-30T01:30:05Z"),
        seconds("2025-03-30T01:30:00Z")
    );
    assert_eq!(
        berlin("2025-07-01T12:00:00", "2025-07-01T10:00:00Z"),
        seconds("2025-07-01T10:00:00Z")
    );
    assert_eq!(
        berlin("2025-01-01T12:00:00", "2025-07-01T10:00:00Z"),
        seconds("2025-01-01T11:00:00Z")
    );
}

#[test]
fn a_missing_year_is_the_one_nearest_to_the_reading() {
    let mut clock = CivilClock::new(Zone::Utc);
    let mut at = |month, day, now: &str| {
        let reading = Civil { month, day, hour: 23, ..Civil::default() };
        let seconds = clock.nearest(reading, seconds(now) * SECOND).unwrap();
        jiff::Timestamp::from_second(seconds).unwrap().to_string()
    };
    assert_eq!(at(12, 31, "2026-01-01T00:00:10Z"), "2025-12-31T23:00:00Z");
    assert_eq!(at(1, 1, "2025-12-31T23:59:50Z"), "2026-01-01T23:00:00Z");
    assert_eq!(at(6, 1, "2026-03-01T00:00:00Z"), "2026-06-01T23:00:00Z");
    assert_eq!(at(2, 29, "2025-01-10T00:00:00Z"), "2024-02-29T23:00:00Z");
    assert_eq!(
        at(12, 31, "2027-01-01T00:00:10Z"),
        "2026-12-31T23:00:00Z",
        "the kept answer is of another year"
    );
}

#[test]
fn a_named_timestamp_is_read_in_its_format() {
    let time = |format: &str, line: &str| {
        let text = format!(
            "format = \"json\"\ntimestamp = \"t\"\ntimestamp_format = \"{format}\"\ntimezone = \"Europe/Berlin\""
        );
        one(&text, line).time_ns
    };
    let noon = seconds("2026-03-10T11:00:00Z") * SECOND;
    let within =
        |time: i64, unit: i64| (noon + 250_000_000..noon + 250_000_000 + unit).contains(&time);
    assert!(within(time("rfc3339", r#"{"t":"2026-03-10T12:00:00.250+01:00"}"#), 1_000_000));
    assert!(within(time("rfc3339", r#"{"t":"2026-03-10 12:00:00.250"}"#), 1_000_000));
    assert!(within(time("unix", &format!(r#"{{"t":{}.25}}"#, noon / SECOND)), 10_000_000));
    assert!(within(
        time("unix_ms", &format!(r#"{{"t":"{}"}}"#, noon / 1_000_000 + 250)),
        1_000_000
    ));
    assert!(within(time("%d.%m.%Y %H:%M:%S%.f", r#"{"t":"10.03.2026 12:00:00.250"}"#), 1_000_000));
    let whole = time("%d.%m.%Y %H:%M:%S", r#"{"t":"10.03.2026 12:00:00"}"#);
    assert_eq!(whole / SECOND * SECOND, noon);
}

#[test]
fn a_timestamp_that_cannot_be_read_is_counted_and_the_time_of_reading_stands() {
    let mut it = parse("format = \"json\"\ntimestamp = \"t\"");
    let (logs, counters) =
        apply(&mut it, &[r#"{"t":"yesterday"}"#, r#"{"u":1}"#, r#"{"t":1e300}"#]);
    assert!(logs.iter().all(|log| log.time_ns == super::READ_NS && log.fields.is_some()));
    assert_eq!(counters.counts()["timestamp_missing"], 3);
}

#[test]
fn a_time_that_resolves_nanoseconds_is_left_as_it_is() {
    let log = one("format = \"cri\"", "2026-03-10T00:17:09.669794202Z stdout F x");
    assert_eq!(log.time_ns, seconds("2026-03-10T00:17:09Z") * SECOND + 669_794_202);
}

#[test]
fn web_times_are_read_with_their_offset_and_refused_when_the_calendar_has_them_not() {
    let mut clock = WebClock::default();
    assert_eq!(clock.seconds(b"10/Oct/2000:13:55:36 -0700"), Some(seconds("2000-10-10T20:55:36Z")));
    assert_eq!(clock.seconds(b"26/Jan/2019:19:45:25 +0330"), Some(seconds("2019-01-26T16:15:25Z")));
    assert_eq!(clock.seconds(b"29/Feb/2024:00:00:00 +0000"), Some(seconds("2024-02-29T00:00:00Z")));
    for bad in [
        b"29/Feb/2023:00:00:00 +0000",
        b"00/Oct/2000:13:55:36 -0700",
        b"10/Okt/2000:13:55:36 -0700",
        b"10/Oct/2000:24:55:36 -0700",
        b"10/Oct/2000:13:55:36 00700",
    ] {
        assert_eq!(clock.seconds(bad), None, "{}", String::from_utf8_lossy(bad));
    }
}

#[test]
fn a_float_of_seconds_says_no_more_than_it_can() {
    let stamp = Layout::Unix.of_number(1_773_144_000.25).unwrap();
    assert_eq!((stamp.ns, stamp.unit), (1_773_144_000_250_000_000, 1000));
    assert_eq!(Layout::Unix.of_number(f64::NAN), None);
    assert_eq!(Layout::UnixMillis.of_number(1e300), None);
}

proptest! {
    #[test]
    fn civil_arithmetic_agrees_with_jiff(second in -62_000_000_000_i64..250_000_000_000) {
        let date = jiff::Timestamp::from_second(second).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
        let civil = Civil {
            year: i64::from(date.year()),
            month: i64::from(date.month()),
            day: i64::from(date.day()),
            hour: i64::from(date.hour()),
            minute: i64::from(date.minute()),
            second: i64::from(date.second()),
        };
        prop_assert_eq!(civil.utc_seconds(), (date.year() >= 1).then_some(second));
    }
}
