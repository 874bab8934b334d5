//! Quantiles with a bounded relative error of 1 %: counts in buckets that grow by a constant factor.
//!
//! The idea is DDSketch's (Masson, Rim, Lee 2019, section 2). Its range here is 1 us to 100,000 s: at most 1,268 buckets of 4
//! bytes; below it counts as 0, above it as the top. It keeps no minimum or maximum.

use serde::{Deserialize, Serialize};

const ERROR: f64 = 0.01;
const GAMMA: f64 = (1.0 + ERROR) / (1.0 - ERROR);
const SMALLEST: f64 = 1e-6;
/// Of the smallest value and of 1e5: `ceil(ln(value) / ln(GAMMA))`.
const FIRST: i32 = -691;
const LAST: i32 = 576;

/// Values seen, in buckets.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub(super) struct Histogram {
    /// Values below the range.
    zeros: u64,
    total: u64,
    /// The index of `counts[0]`.
    low: i32,
    counts: Vec<u32>,
}

impl Histogram {
    /// Adds a value in seconds; what is negative or not finite is passed over.
    pub(super) fn insert(&mut self, value: f64) {
        if !(value >= 0.0 && value.is_finite()) {
            return;
        }
        self.total += 1;
        if value < SMALLEST {
            self.zeros += 1;
            return;
        }
        let index = ((value.ln() / GAMMA.ln()).ceil() as i32).clamp(FIRST, LAST);
        let slot = self.slot(index);
        self.counts[slot] = self.counts[slot].saturating_add(1);
    }

    fn slot(&mut self, index: i32) -> usize {
        if self.counts.is_empty() {
            self.low = index;
        }
        if index < self.low {
            let missing = (self.low - index) as usize;
            self.counts.splice(0..0, std::iter::repeat_n(0, missing));
            self.low = index;
        }
        let slot = (index - self.low) as usize;
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, 0);
        }
        slot
    }

    /// The value below which a share `quantile` of the values lies; `None` when there are none.
    pub(super) fn quantile(&self, quantile: f64) -> Option<f64> {
        let last = self.total.checked_sub(1)?;
        let rank = (quantile * last as f64).floor() as u64;
        if rank < self.zeros {
            return Some(0.0);
        }
        let mut seen = self.zeros;
        for (index, count) in (self.low..).zip(&self.counts) {
            seen += u64::from(*count);
            if seen > rank {
                return Some(2.0 * GAMMA.powi(index) / (GAMMA + 1.0)); // the middle of the bucket, in relative terms
            }
        }
        None
    }
}

#[derive(Serialize, Deserialize)]
struct Saved {
    zeros: u64,
    low: i32,
    counts: Vec<u32>,
}

impl From<Histogram> for Saved {
    fn from(it: Histogram) -> Self {
        Saved { zeros: it.zeros, low: it.low, counts: it.counts }
    }
}

impl TryFrom<Saved> for Histogram {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        let Saved { zeros, low, counts } = saved;
        let is_sane = (FIRST..=LAST).contains(&low) && counts.len() <= (LAST - low) as usize + 1;
        let is_empty = counts.is_empty();
        if !is_sane && !is_empty {
            return Err("buckets out of range".to_owned());
        }
        let total = zeros.saturating_add(counts.iter().map(|count| u64::from(*count)).sum());
        Ok(Histogram { zeros, total, low, counts })
    }
}
