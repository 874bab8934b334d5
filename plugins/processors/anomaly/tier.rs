//! The tier of a model: how much of time its training has seen, and so what it can tell apart: a level, the hours of a day,
//! the days of a week. No decision is made here.

use sentinel_contract::incident::Tier;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How far a training reaches for a tier.
const DAILY_MS: i64 = 2 * DAY_MS;
const WEEKLY_MS: i64 = 14 * DAY_MS;
/// A window that is just as long holds a frame less at each end.
const SLACK_MS: i64 = HOUR_MS;
/// Share of the hours of that time of which there must be a frame: two days with a month between them are not a month.
const COVERED: f64 = 0.75;

/// The tier of a training on frames of these times, oldest first.
pub(super) fn of(times: impl IntoIterator<Item = i64>) -> Tier {
    let (mut first, mut last, mut hours, mut hour) = (None, 0, 0_i64, i64::MIN);
    for time_ms in times {
        first.get_or_insert(time_ms);
        last = time_ms;
        let this = time_ms.div_euclid(HOUR_MS);
        hours += i64::from(this != hour);
        hour = this;
    }
    let span = last - first.unwrap_or(last) + SLACK_MS;
    let has = |time: i64| span >= time && hours as f64 >= COVERED * (time / HOUR_MS) as f64;
    match () {
        () if has(WEEKLY_MS) => Tier::Weekly,
        () if has(DAILY_MS) => Tier::Daily,
        () => Tier::Level,
    }
}
