//! Location, scale and quantiles that a few wild values cannot move, of a slice and of a sliding window.
//!
//! NaN means "missing" and is left out everywhere; infinities count as the largest finite numbers.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

/// Makes the MAD of a normal distribution equal its standard deviation: 1 over the normal quantile of 3/4.
pub const MAD_TO_SIGMA: f64 = 1.482_602_218_505_602;

/// The middle value, or the mean of the two middle ones; `None` if `values` holds no number. O(n log n).
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Median of the absolute distances from the median, in the unit of `values`, not scaled by [`MAD_TO_SIGMA`];
/// `None` if `values` holds no number.
pub fn mad(values: &[f64]) -> Option<f64> {
    let center = median(values)?;
    let distances: Vec<f64> = values.iter().map(|value| (value - center).abs()).collect();
    median(&distances)
}

/// The `q`-quantile, linear between neighbours (type 7 of Hyndman and Fan 1996, the default of numpy and R); `q` is
/// clamped to 0..=1, a NaN `q` counts as 0; `None` if `values` holds no number. O(n log n).
pub fn quantile(values: &[f64], q: f64) -> Option<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter_map(number).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    quantile_of_sorted(&sorted, q)
}

/// As [`quantile`], of finite values already in ascending order. O(1).
pub fn quantile_of_sorted(sorted: &[f64], q: f64) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position as usize; // NaN becomes 0
    let (low, high) = (sorted[below], sorted[(below + 1).min(last)]);
    let share = position.fract();
    Some(if share > 0.0 { low * (1.0 - share) + high * share } else { low })
}

/// Median and scale of a signal, to turn its values into robust z.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RobustScale {
    /// The median, in the signal's unit.
    pub center: f64,
    /// [`MAD_TO_SIGMA`] times the MAD, or the floor if that is larger, in the signal's unit.
    pub scale: f64,
}

impl RobustScale {
    /// Measures `values`. `floor`, in the signal's unit, is the least deviation worth one sigma: without it a signal
    /// that stands still for half of the time would have scale 0. A floor that is not positive counts as the smallest
    /// positive number. `None` if `values` holds no number.
    pub fn fit(values: &[f64], floor: f64) -> Option<Self> {
        let scale = MAD_TO_SIGMA * mad(values)?;
        Some(Self {
            center: median(values)?,
            scale: scale.min(f64::MAX).max(floor).max(f64::MIN_POSITIVE),
        })
    }

    /// How many robust standard deviations `value` lies above the center; NaN stays NaN.
    pub fn z(&self, value: f64) -> f64 {
        (value - self.center) / self.scale
    }
}

/// The last `capacity` numbers, and any quantile of them at any time: the boundary of anomaly scores.
///
/// Exact: a sorted copy is kept beside the order of arrival, 16 bytes per value. A push finds two places by binary search
/// and moves the values between them (a week of minutes, 10,080 values, is at most 80 KB to move, a third of it in the mean).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "WindowState", into = "WindowState")]
pub struct TrailingQuantile {
    capacity: usize,
    arrivals: VecDeque<f64>,
    sorted: Vec<f64>,
}

/// What is saved of a window: the sorted copy is made again.
#[derive(Serialize, Deserialize)]
struct WindowState {
    capacity: usize,
    values: Vec<f64>,
}

impl TrailingQuantile {
    /// An empty window over at most `capacity` values; 0 counts as 1. Memory grows with the values, not ahead of them.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), arrivals: VecDeque::new(), sorted: Vec::new() }
    }

    /// Adds a value and drops the oldest when full; NaN is left out, infinities count as the largest numbers.
    pub fn push(&mut self, value: f64) {
        let Some(value) = number(value) else { return };
        let place = |of: f64| self.sorted.partition_point(|kept| kept.total_cmp(&of).is_lt());
        let to = place(value);
        if self.arrivals.len() < self.capacity {
            self.grow();
            self.sorted.insert(to, value);
        } else if let Some(oldest) = self.arrivals.pop_front() {
            // Only what lies between the two places moves.
            let from = place(oldest);
            if to > from {
                self.sorted.copy_within(from + 1..to, from);
                self.sorted[to - 1] = value;
            } else {
                self.sorted.copy_within(to..from, to + 1);
                self.sorted[to] = value;
            }
        }
        self.arrivals.push_back(value);
    }

    /// Makes room for a value: half as much again, and never more than the window will hold (doubling ends at 32,768 places for
    /// a window of 20,160).
    fn grow(&mut self) {
        let held = self.arrivals.len();
        let more = (held / 2).max(16).min(self.capacity - held);
        if self.sorted.len() == self.sorted.capacity() {
            self.sorted.reserve_exact(more);
        }
        if held == self.arrivals.capacity() {
            self.arrivals.reserve_exact(more);
        }
    }

    /// The `q`-quantile of the window, as [`quantile`]; `None` while it is empty. O(1).
    pub fn quantile(&self, q: f64) -> Option<f64> {
        quantile_of_sorted(&self.sorted, q)
    }

    /// Number of values held.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// Whether no value has come yet.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// The most values it can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The values held, oldest first.
    pub fn values(&self) -> impl Iterator<Item = f64> + '_ {
        self.arrivals.iter().copied()
    }
}

impl Extend<f64> for TrailingQuantile {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, values: I) {
        values.into_iter().for_each(|value| self.push(value));
    }
}

impl From<WindowState> for TrailingQuantile {
    fn from(state: WindowState) -> Self {
        let mut window = Self::new(state.capacity);
        window.extend(state.values);
        window
    }
}

impl From<TrailingQuantile> for WindowState {
    fn from(window: TrailingQuantile) -> Self {
        Self { capacity: window.capacity, values: window.arrivals.into() }
    }
}

/// The median of the last `capacity` numbers: the recent level of a signal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RollingMedian(TrailingQuantile);

impl RollingMedian {
    /// An empty window over at most `capacity` values; 0 counts as 1.
    pub fn new(capacity: usize) -> Self {
        Self(TrailingQuantile::new(capacity))
    }

    /// Adds a value (NaN is left out) and returns the median of the window with it; `None` while it is empty.
    pub fn push(&mut self, value: f64) -> Option<f64> {
        self.0.push(value);
        self.median()
    }

    /// The median of the window; `None` while it is empty. O(1).
    pub fn median(&self) -> Option<f64> {
        self.0.quantile(0.5)
    }

    /// The window itself: its length, its values, its other quantiles.
    pub fn window(&self) -> &TrailingQuantile {
        &self.0
    }
}

/// `value` as a finite number; `None` if it is missing. Negative zero becomes zero, so that equal means equal bits.
fn number(value: f64) -> Option<f64> {
    (!value.is_nan()).then(|| value.clamp(f64::MIN, f64::MAX) + 0.0)
}
