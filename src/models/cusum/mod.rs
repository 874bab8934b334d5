//! Two-sided tabular CUSUM (Page 1954, "Continuous inspection schemes"; Montgomery, "Introduction to statistical quality
//! control", chapter 9): adds up how far standardised residuals are off, beyond a slack, and so finds small shifts that
//! last. One number of state per side, one addition per sample.
//!
//! `upper = max(0, upper + z - k)` and `lower = max(0, lower - z - k)`, a shift being announced above `h`. Beyond the
//! textbook: z is clipped, so that one spike alone never reaches `h`; the sums are capped, so that the end of a long shift
//! is seen; and they may decay, so that what is long ago counts less. With clipping and cap out of the way it is
//! Page's, and the run lengths of its tables hold (`tests.rs`).
//!
//! It does not standardise: give it residuals with mean 0 and standard deviation 1. Autocorrelated ones need a larger
//! `h` than the tables say.

mod state;
#[cfg(test)]
mod tests;

pub use state::CusumState;

use crate::ModelError;

/// How a [`Cusum`] decides; all but `decay` in standard deviations of the residuals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CusumParams {
    /// k, the slack: half the shift that should be found soonest. At least 0.
    pub reference: f64,
    /// h, the sum above which a shift is announced. Above 0.
    pub decision: f64,
    /// Residuals beyond it count as this much. Above `reference`, and below `reference + decision`: a single one then
    /// never announces a shift.
    pub clip: f64,
    /// Where the sums stop growing, at least `decision`: after a shift has ended it takes `(ceiling - decision) /
    /// reference` ordinary samples until it is no longer announced.
    pub ceiling: f64,
    /// What a sum is multiplied with before each sample, above 0 and at most 1, which is Page's. Below 1 a shift of d
    /// ends at `(d - reference) / (1 - decay)`, so one too small is never announced.
    pub decay: f64,
}

impl Default for CusumParams {
    /// Finds a shift of 1 standard deviation after 20 samples, one of 3 or more after 5.
    fn default() -> Self {
        Self { reference: 0.5, decision: 10.0, clip: 3.0, ceiling: 20.0, decay: 1.0 }
    }
}

/// Which way the residuals have shifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// They are too large.
    Up,
    /// They are too small.
    Down,
}

/// A shift that is announced, or how far the larger sum is towards one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// Which sum is larger.
    pub direction: Direction,
    /// The larger sum over the decision limit: above 1 is a shift.
    pub score: f64,
    /// Number of the sample with which it began, counted from 0 at the first sample: the one after the sum's last zero
    /// (Page's estimate). The next sample's, while both sums are zero.
    pub onset: u64,
}

/// The sums of one series of residuals.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "CusumState", into = "CusumState")]
pub struct Cusum {
    params: CusumParams,
    /// Samples so far, missing ones included.
    seen: u64,
    upper: Side,
    lower: Side,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Side {
    sum: f64,
    /// Number of the sample after the last zero.
    onset: u64,
}

impl Cusum {
    /// Starts at zero.
    ///
    /// # Errors
    /// [`ModelError::OutOfRange`] names the parameter that is.
    pub fn new(params: CusumParams) -> Result<Self, ModelError> {
        params.check()?;
        Ok(Self { params, seen: 0, upper: Side::default(), lower: Side::default() })
    }

    /// Takes the next residual, and says whether there is a shift now. A missing one (NaN) is counted and changes nothing.
    pub fn update(&mut self, residual: f64) -> Option<Shift> {
        self.seen += 1;
        if !residual.is_nan() {
            let clipped = residual.clamp(-self.params.clip, self.params.clip);
            self.upper.add(clipped, self.seen, &self.params);
            self.lower.add(-clipped, self.seen, &self.params);
        }
        Some(self.current()).filter(|shift| shift.score > 1.0)
    }

    /// The larger of the sums, whether it is a shift or not.
    pub fn current(&self) -> Shift {
        let (direction, side) = if self.lower.sum > self.upper.sum {
            (Direction::Down, self.lower)
        } else {
            (Direction::Up, self.upper)
        };
        Shift { direction, score: side.sum / self.params.decision, onset: side.onset }
    }

    /// Samples so far, missing ones included; the next one's number.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Sets both sums to zero, as after a shift has been dealt with; the numbers of samples go on.
    pub fn reset(&mut self) {
        self.upper = Side { sum: 0.0, onset: self.seen };
        self.lower = self.upper;
    }

    /// What it decides by.
    pub fn params(&self) -> &CusumParams {
        &self.params
    }
}

impl Side {
    /// `seen` includes this sample, so it is the number of the next one.
    fn add(&mut self, residual: f64, seen: u64, params: &CusumParams) {
        let sum = self.sum * params.decay + residual - params.reference;
        self.sum = sum.clamp(0.0, params.ceiling);
        if self.sum == 0.0 {
            self.onset = seen;
        }
    }
}

impl CusumParams {
    fn check(&self) -> Result<(), ModelError> {
        let Self { reference, decision, clip, ceiling, decay } = *self;
        let checks = [
            ("reference", reference, (0.0..=LIMIT).contains(&reference), "0 or more"),
            ("decision", decision, decision > 0.0 && decision <= LIMIT, "above 0"),
            (
                "clip",
                clip,
                clip > reference && clip < reference + decision,
                "above reference and below reference + decision",
            ),
            ("ceiling", ceiling, (decision..=LIMIT).contains(&ceiling), "decision or more"),
            ("decay", decay, decay > 0.0 && decay <= 1.0, "above 0 and at most 1"),
        ];
        match checks.into_iter().find(|(_, _, holds, _)| !holds) {
            Some((name, value, _, must_be)) => Err(ModelError::OutOfRange { name, value, must_be }),
            None => Ok(()),
        }
    }
}

/// Nobody means more standard deviations than this.
const LIMIT: f64 = 1e9;
