//! Pauses between tries: full jitter over a doubling ceiling (Brooker, "Exponential Backoff And Jitter", AWS 2015).

use std::time::Duration;

/// First ceiling.
pub(crate) const FIRST: Duration = Duration::from_millis(500);
/// Last ceiling.
pub(crate) const LAST: Duration = Duration::from_mins(1);
/// No backend may send us away for longer than this.
pub(crate) const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(5);

/// A row of pauses, until it is reset by a success.
#[derive(Debug)]
pub(crate) struct Backoff {
    ceiling: Duration,
    random: u64,
}

impl Backoff {
    /// Begins at the first ceiling; the seed only spreads hosts and outputs apart.
    pub(crate) fn new(seed: u64) -> Self {
        Backoff { ceiling: FIRST, random: seed }
    }

    /// The next pause: anything up to the ceiling, which doubles; never less than what the backend asked for, and never
    /// less than our own when it asked for less (`Retry-After: 0`, a date that is past): it is no hot loop.
    pub(crate) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let share = self.share();
        let ours = self.ceiling.mul_f64(share);
        self.ceiling = (self.ceiling * 2).min(LAST);
        match retry_after {
            // A little jitter here too, or a whole fleet returns in the same instant.
            Some(after) => ours.max(after.min(LONGEST_RETRY_AFTER) + FIRST.mul_f64(share)),
            None => ours,
        }
    }

    /// After a success.
    pub(crate) fn reset(&mut self) {
        self.ceiling = FIRST;
    }

    /// 0..1 by splitmix64 (Steele et al. 2014).
    fn share(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) as f64 / u64::MAX as f64
    }
}
