//! What schedules cover, on ordinary days and on those on which the clock leaps, and which are refused.

use crate::schedule::Schedule;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|why| panic!("{why}"))
}

/// Whether it covers a moment such as `2026-11-28T02:00:00Z`.
fn covers(text: &str, moment: &str) -> bool {
    let moment: jiff::Timestamp = moment.parse().unwrap();
    schedule(text).covers(moment.as_millisecond())
}

/// The minutes of these days (UTC) that it covers, as first and last minute of each run.
fn runs(text: &str, from: &str, days: i64) -> Vec<String> {
    let schedule = schedule(text);
    let begin: jiff::Timestamp = format!("{from}T00:00:00Z").parse().unwrap();
    let (mut runs, mut open): (Vec<String>, Option<i64>) = (Vec::new(), None);
    let shown = |ms: i64| {
        let text = jiff::Timestamp::from_millisecond(ms).unwrap().to_string();
        text[5..16].to_owned()
    };
    for minute in 0..days * 1440 {
        let ms = begin.as_millisecond() + minute * 60_000;
        match (schedule.covers(ms), open) {
            (true, None) => open = Some(ms),
            (false, Some(since)) => {
                runs.push(format!("{}/{}", shown(since), &shown(ms)));
                open = None;
            }
            _ => {}
        }
    }
    assert_eq!(open, None, "still covered at the end of the test");
    runs
}

#[test]
fn a_weekly_window_covers_its_hours_from_the_first_to_before_the_last() {
    // 2026-11-28 is a Saturday.
    assert_eq!(
        runs("Sat 02:00-04:00 UTC", "2026-11-23", 14),
        ["11-28T02:00/11-28T04:00", "12-05T02:00/12-05T04:00"]
    );
    assert!(covers("Sat 02:00-04:00 UTC", "2026-11-28T03:59:59.999Z"));
    assert!(!covers("Sat 02:00-04:00 UTC", "2026-11-28T04:00:00Z"));
    assert!(!covers("Sat 02:00-04:00 UTC", "2026-11-28T01:59:59.999Z"));
}

#[test]
fn days_may_be_a_range_over_the_weeks_end_a_list_or_written_out() {
    let day = |n: u32| format!("2026-11-{n}T12:30:00Z"); // the 23rd is a Monday
    let covered = |text: &str| {
        (23..30).map(|n| if covers(text, &day(n)) { '1' } else { '0' }).collect::<String>()
    };
    assert_eq!(covered("Mon-Fri 12:00-13:00 UTC"), "1111100");
    assert_eq!(covered("Fri-Mon 12:00-13:00 UTC"), "1000111");
    assert_eq!(covered("sat,SUN,Wednesday 12:00-13:00 UTC"), "0010011");
    assert_eq!(covered("Mon-Tue,Thu UTC"), "1101000");
    assert_eq!(covered("daily UTC"), "1111111");
    assert_eq!(covered("12:00-13:00 UTC"), "1111111");
    assert_eq!(covered("13:00-14:00 UTC"), "0000000");
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    assert_eq!(runs("Sat 22:00-02:00 UTC", "2026-11-23", 7), ["11-28T22:00/11-29T02:00"]);
    assert_eq!(runs("Sat 22:00-24:00 UTC", "2026-11-23", 7), ["11-28T22:00/11-29T00:00"]);
    assert_eq!(runs("Sat 22:00-00:00 UTC", "2026-11-23", 7), ["11-28T22:00/11-29T00:00"]);
    assert_eq!(runs("2026-11-25 23:30-00:30 UTC", "2026-11-23", 7), ["11-25T23:30/11-26T00:30"]);
    assert_eq!(runs("Sat 00:00-24:00 UTC", "2026-11-23", 7), ["11-28T00:00/11-29T00:00"]);
}

#[test]
fn dates_are_whole_days_and_the_last_is_included() {
    assert_eq!(runs("2026-12-24..2026-12-26 UTC", "2026-12-20", 10), ["12-24T00:00/12-27T00:00"]);
    assert_eq!(runs("2026-12-25 UTC", "2026-12-20", 10), ["12-25T00:00/12-26T00:00"]);
    assert_eq!(
        runs("2026-12-24..2026-12-25 08:00-09:00 UTC", "2026-12-20", 10),
        ["12-24T08:00/12-24T09:00", "12-25T08:00/12-25T09:00"]
    );
}

#[test]
fn a_zone_moves_the_window_with_the_clocks_of_its_place() {
    assert!(covers("Mon-Fri 12:00-13:00 Europe/Berlin", "2026-01-15T11:30:00Z"), "winter");
    assert!(covers("Mon-Fri 12:00-13:00 Europe/Berlin", "2026-07-15T10:30:00Z"), "summer");
    assert!(!covers("Mon-Fri 12:00-13:00 Europe/Berlin", "2026-07-15T11:30:00Z"));
    // Saturday begins in Auckland while it is Friday in Greenwich.
    assert_eq!(runs("Sat Pacific/Auckland", "2026-11-23", 7), ["11-27T11:00/11-28T11:00"]);
}

#[test]
fn an_hour_that_does_not_occur_moves_the_window_later_and_keeps_its_length() {
    // Berlin leaps from 02:00 to 03:00 at 01:00 UTC.
    let on = |text: &str| runs(text, "2026-03-29", 1);
    assert_eq!(on("Sun 02:15-02:45 Europe/Berlin"), ["03-29T01:15/03-29T01:45"]);
    assert_eq!(on("Sun 01:30-02:30 Europe/Berlin"), ["03-29T00:30/03-29T01:30"]);
    assert_eq!(on("Sun 01:00-04:00 Europe/Berlin"), ["03-29T00:00/03-29T02:00"]);
    assert_eq!(on("Sun 03:00-04:00 Europe/Berlin"), ["03-29T01:00/03-29T02:00"]);
    // A day without its midnight: Beirut, 2022-03-27, leaps at 00:00 (22:00 UTC the day before).
    assert_eq!(runs("2022-03-27 Asia/Beirut", "2022-03-26", 3), ["03-26T22:00/03-27T21:00"]);
}

#[test]
fn an_hour_that_occurs_twice_is_covered_twice() {
    // Berlin goes back from 03:00 to 02:00 at 01:00 UTC.
    let on = |text: &str| runs(text, "2026-10-25", 1);
    assert_eq!(
        on("daily 02:15-02:45 Europe/Berlin"),
        ["10-25T00:15/10-25T00:45", "10-25T01:15/10-25T01:45"]
    );
    assert_eq!(
        runs("daily 01:00-03:00 Europe/Berlin", "2026-10-24", 2)[1],
        "10-24T23:00/10-25T02:00"
    );
    assert_eq!(runs("2026-10-25 Europe/Berlin", "2026-10-24", 3), ["10-24T22:00/10-25T23:00"]);
}

#[test]
fn without_a_zone_it_is_the_hosts() {
    let here = jiff::Zoned::now().with().hour(12).minute(30).build().unwrap();
    assert!(schedule("daily 12:00-13:00").covers(here.timestamp().as_millisecond()));
}

#[test]
fn moments_beyond_the_calendar_are_not_covered() {
    assert!(!schedule("daily UTC").covers(i64::MAX));
    assert!(!schedule("daily UTC").covers(i64::MIN));
}

#[test]
fn what_is_no_schedule_is_refused_with_what_is_wrong_and_what_was_expected() {
    for (text, why) in [
        ("", "neither a day nor a time"),
        ("UTC", "neither a day nor a time"),
        ("Sut 02:00-04:00", "`Sut` is no day"),
        ("Sat-", "`` is no day"),
        ("Sat 02:00", "`02:00` is no time of day such as 02:00-04:00"),
        ("Sat 2:0-4:00", "`2:0` is no time of day"),
        ("Sat 25:00-26:00", "`25:00` is no time of day"),
        ("Sat 02:60-04:00", "`02:60` is no time of day"),
        ("Sat +2:00-04:00", "`+2:00` is no time of day"),
        ("Sat 24:00-02:00", "`24:00` is no time of day"),
        ("Sat 02:00-02:00", "`02:00-02:00` is empty; for whole days leave the time out"),
        ("2026-02-30", "`2026-02-30` is no date"),
        ("2026-12", "`2026-12` is no date"),
        ("2026-12-26..2026-12-24", "2026-12-24 is before 2026-12-26"),
        ("Sat 02:00-04:00 Mars/Olympus", "the time zone `Mars/Olympus` is not known here"),
        ("Sat 02:00-04:00 UTC please", "`please` after its end"),
        ("02:00-04:00 Sat", "the time zone `Sat` is not known here"),
    ] {
        let told = text.parse::<Schedule>().expect_err(text);
        assert!(told.contains(why), "{text:?}: {told}");
        assert!(told.starts_with(&format!("\"{text}\": ")), "{told}");
        assert!(told.contains("expected such as \"Sat 02:00-04:00\""), "{told}");
    }
}

#[test]
fn it_reads_from_configuration_and_shows_as_it_was_written() {
    #[derive(serde::Deserialize)]
    struct Options {
        maintenance: Vec<Schedule>,
    }
    let text = "maintenance = [\"Sat  02:00-04:00\", \"2026-12-25\"]";
    let options: Options = toml::from_str(text).unwrap();
    assert_eq!(options.maintenance[1].to_string(), "2026-12-25");
    let wrong = toml::from_str::<Options>("maintenance = [\"Sat\", \"Caturday\"]").err().unwrap();
    assert!(wrong.to_string().contains("`Caturday` is no day"), "{wrong}");
}
