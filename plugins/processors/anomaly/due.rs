//! When a group's next model is due.
//!
//! A young model is replaced when its frames have doubled. From the first `retrain_interval` on it is the same time of each
//! such interval (with 24 h: the same time of each day, UTC), within its first quarter, and which one a hash of host,
//! detector and group says: a fleet that was started together does not train in the same minute, and a replay trains when
//! the host did.

/// The part of the interval in which trainings begin.
const SPREAD: i64 = 4;

/// The group's own time within the interval.
pub(super) fn phase(host: &str, detector: &str, group: &str, retrain_ms: i64) -> i64 {
    let hash = crc32fast::hash(format!("{host}\0{detector}\0{group}").as_bytes());
    i64::from(hash) % (retrain_ms / SPREAD).max(1)
}

/// When a model of `frames` frames up to `upto_ms` is to be replaced: between half an interval and one and a half after it
/// the first time, every interval from then on.
pub(super) fn next(
    upto_ms: i64,
    frames: usize,
    interval_ms: i64,
    (retrain_ms, phase): (i64, i64),
) -> i64 {
    let doubled = (frames.max(1) as i64).saturating_mul(interval_ms);
    if doubled < retrain_ms {
        return upto_ms + doubled;
    }
    let least = upto_ms + retrain_ms / 2;
    ((least - phase).div_euclid(retrain_ms) + 1) * retrain_ms + phase
}
