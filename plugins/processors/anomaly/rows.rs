//! Which frames of a training become rows of the joint models: a reservoir, stratified by the hour of the week.
//!
//! Every hour of the week that was seen has its share; what a rare hour does not use goes to the others, so that a Sunday
//! night survives beside five days of office hours. Within an hour it is a uniform sample: the frames whose seeded hash of
//! their time is smallest (bottom-k sampling; Cohen and Kaplan 2007). The same frames give the same rows, whatever the order
//! they came in, and a frame that was chosen stays likely to be chosen the next day.

use sentinel_models::rng::SplitMix64;

/// Hours of a week. They begin on Thursday, 1970-01-01, in UTC: only that they are told apart matters.
const HOURS: usize = 168;
const HOUR_MS: i64 = 3_600_000;

/// The places of at most `most` frames, in order, chosen by their times.
pub(super) fn chosen(times: &[i64], most: usize, seed: u64) -> Vec<usize> {
    if times.len() <= most {
        return (0..times.len()).collect();
    }
    let mut strata: Vec<Vec<(u64, usize)>> = vec![Vec::new(); HOURS];
    for (at, time_ms) in times.iter().enumerate() {
        let hour = time_ms.div_euclid(HOUR_MS).rem_euclid(HOURS as i64) as usize;
        let hash = SplitMix64::new(seed ^ time_ms.cast_unsigned()).next_u64();
        strata[hour].push((hash, at));
    }
    strata.retain(|stratum| !stratum.is_empty());
    strata.sort_by_key(Vec::len); // stable: hours of one size stay in the order of the week
    let (mut left, mut hours) = (most, strata.len());
    let mut places = Vec::with_capacity(most);
    for mut stratum in strata {
        let share = (left / hours).min(stratum.len());
        stratum.sort_unstable();
        places.extend(stratum[..share].iter().map(|(_, at)| *at));
        (left, hours) = (left - share, hours - 1);
    }
    places.sort_unstable();
    places
}
