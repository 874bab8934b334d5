//! The times of the command line.

use super::super::history::{span, time_ms};

#[test]
fn a_time_is_a_clock_reading_a_date_or_how_long_ago() {
    let now = 1_700_000_000_000;
    for (text, expected) in [
        ("now", now),
        ("-1h30m", now - 5_400_000),
        ("-14d", now - 14 * 86_400_000),
        ("1700000000", now),
        ("2023-11-14T22:13:20Z", now),
        ("2023-11-14T23:13:20+01:00", now),
        ("2023-11-14", 1_699_920_000_000),
    ] {
        assert_eq!(time_ms(text, now).unwrap(), expected, "{text}");
    }
    for wrong in ["", "yesterday", "-", "-5 parsecs", "2023-13-01", "1.5"] {
        assert!(time_ms(wrong, now).is_err(), "{wrong}");
    }
}

#[test]
fn a_span_has_a_beginning_before_its_end_and_at_most_six_weeks() {
    let (from, to) = span("-1d", "now").unwrap();
    assert_eq!(to - from, 86_400_000);
    assert!(span("now", "-1d").unwrap_err().to_string().contains("is not before"));
    assert!(span("-43d", "now").unwrap_err().to_string().contains("at most 42 days"));
    let wrong = format!("{:#}", span("soon", "now").unwrap_err());
    assert!(wrong.starts_with("--start soon: `soon` is no time such as"), "{wrong}");
}
