//! Hyperparameters of the isolation forest, and fitting in linfa's way or from plain rows.

use linfa::{DatasetBase, ParamGuard, traits::Fit};
use ndarray::{ArrayBase, Data, Ix2};

use super::{IsolationForest, grow};
use crate::{ModelError, rng::SplitMix64};

/// Hyperparameters, not yet checked. linfa's `Fit` checks them; [`ParamGuard::check`] does so ahead of time.
///
/// ```ignore
/// let forest = IsolationForest::params().n_trees(100).max_samples(256).seed(42).fit(&dataset)?;
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationForestParams(IsolationForestValidParams);

/// Checked hyperparameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsolationForestValidParams {
    n_trees: usize,
    max_samples: usize,
    seed: u64,
}

impl Default for IsolationForestParams {
    fn default() -> Self {
        Self(IsolationForestValidParams { n_trees: 100, max_samples: 256, seed: 42 })
    }
}

impl IsolationForestParams {
    /// Number of trees, 1..=1000. More make scores steadier, at proportional cost.
    pub fn n_trees(mut self, n_trees: usize) -> Self {
        self.0.n_trees = n_trees;
        self
    }

    /// Rows each tree is grown on, 2..=4096; all of them if there are fewer. Memory is proportional.
    pub fn max_samples(mut self, max_samples: usize) -> Self {
        self.0.max_samples = max_samples;
        self
    }

    /// Seed of every random choice: the same seed and data give the same forest on any platform.
    pub fn seed(mut self, seed: u64) -> Self {
        self.0.seed = seed;
        self
    }

    /// Checks, then [`IsolationForestValidParams::fit_rows`].
    pub fn fit_rows(&self, rows: &[f32], n_features: usize) -> Result<IsolationForest, ModelError> {
        self.check_ref()?.fit_rows(rows, n_features)
    }
}

impl ParamGuard for IsolationForestParams {
    type Checked = IsolationForestValidParams;
    type Error = ModelError;

    fn check_ref(&self) -> Result<&Self::Checked, ModelError> {
        in_range("n_trees", self.0.n_trees, 1..=MAX_TREES, "1 to 1000")?;
        in_range("max_samples", self.0.max_samples, 2..=MAX_SAMPLES, "2 to 4096")?;
        Ok(&self.0)
    }

    fn check(self) -> Result<Self::Checked, ModelError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// Limits on what is fitted or restored: they bound a forest's memory, also one from a forged state, to 48 MiB.
pub(super) const MAX_TREES: usize = 1000;
/// See [`MAX_TREES`].
pub(super) const MAX_SAMPLES: usize = 4096;
/// Features are numbered in 16 bits.
pub(super) const MAX_FEATURES: usize = u16::MAX as usize;

fn in_range(
    name: &'static str,
    value: usize,
    range: std::ops::RangeInclusive<usize>,
    must_be: &'static str,
) -> Result<(), ModelError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ModelError::InvalidParameter { name, value, must_be })
}

/// Records are rows by features; targets and weights are not looked at. Errors as
/// [`IsolationForestValidParams::fit_rows`].
impl<D: Data<Elem = f64>, T> Fit<ArrayBase<D, Ix2>, T, ModelError> for IsolationForestValidParams {
    type Object = IsolationForest;

    fn fit(
        &self,
        dataset: &DatasetBase<ArrayBase<D, Ix2>, T>,
    ) -> Result<IsolationForest, ModelError> {
        let records = &dataset.records;
        self.fit_with(records.nrows(), records.ncols(), |row, feature| {
            records[[row, feature]] as f32
        })
    }
}

impl IsolationForestValidParams {
    /// Fits to `rows`, row-major, `n_features` values each. Only the sampled rows are read, at most
    /// `n_trees * max_samples`, so the time hardly depends on how many there are.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if there is no feature, more than 65,535, or an incomplete row;
    /// [`ModelError::NotEnoughRows`] below 2 rows.
    pub fn fit_rows(&self, rows: &[f32], n_features: usize) -> Result<IsolationForest, ModelError> {
        let n_rows = rows.len().checked_div(n_features).unwrap_or(0);
        if n_rows * n_features != rows.len() {
            let reason = format!("{} values are not rows of {n_features}", rows.len());
            return Err(ModelError::Shape(reason));
        }
        self.fit_with(n_rows, n_features, |row, feature| rows[row * n_features + feature])
    }

    fn fit_with(
        &self,
        n_rows: usize,
        n_features: usize,
        value: impl Fn(usize, usize) -> f32,
    ) -> Result<IsolationForest, ModelError> {
        if !(1..=MAX_FEATURES).contains(&n_features) {
            let reason = format!("{n_features} features, must be 1 to {MAX_FEATURES}");
            return Err(ModelError::Shape(reason));
        }
        if n_rows < 2 {
            return Err(ModelError::NotEnoughRows { needed: 2, got: n_rows });
        }

        let sample_size = self.max_samples.min(n_rows);
        let mut forest = IsolationForest::blank(n_features, sample_size, self.n_trees);
        let mut grower =
            grow::Grower::new(n_rows, n_features, sample_size, SplitMix64::new(self.seed));
        for mut tree in forest.trees_mut() {
            grower.draw_sample(&value);
            grower.grow(&mut tree);
        }
        Ok(forest.with_base_path())
    }
}
