//! Hyperparameters of the principal components, and fitting in linfa's way or from plain rows.

use linfa::{DatasetBase, ParamGuard, traits::Fit};
use linfa_linalg::eigh::EighInto;
use ndarray::{Array2, ArrayBase, ArrayView2, Axis, Data, Ix2};

use super::{Pca, clean};
use crate::ModelError;

/// Hyperparameters, not yet checked. linfa's `Fit` checks them; [`ParamGuard::check`] does so ahead of time.
///
/// ```ignore
/// let pca = Pca::params().variance(0.9).fit(&dataset)?;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PcaParams(PcaValidParams);

/// Checked hyperparameters.
#[derive(Debug, Clone, PartialEq)]
pub struct PcaValidParams {
    variance: f64,
}

impl Default for PcaParams {
    fn default() -> Self {
        Self(PcaValidParams { variance: 0.9 })
    }
}

impl PcaParams {
    /// Least share of the variance that the components must explain, above 0 and below 1. They are as few as can be,
    /// and always fewer than features.
    pub fn variance(mut self, share: f64) -> Self {
        self.0.variance = share;
        self
    }

    /// Checks, then [`PcaValidParams::fit_rows`].
    pub fn fit_rows(&self, rows: &[f64], n_features: usize) -> Result<Pca, ModelError> {
        self.check_ref()?.fit_rows(rows, n_features)
    }
}

impl ParamGuard for PcaParams {
    type Checked = PcaValidParams;
    type Error = ModelError;

    fn check_ref(&self) -> Result<&Self::Checked, ModelError> {
        let value = self.0.variance;
        if value > 0.0 && value < 1.0 {
            return Ok(&self.0);
        }
        Err(ModelError::OutOfRange { name: "variance", value, must_be: "between 0 and 1" })
    }

    fn check(self) -> Result<Self::Checked, ModelError> {
        self.check_ref()?;
        Ok(self.0)
    }
}

/// Bounds the decomposition: 300 features take 80 ms, 1,000 take 3 s.
pub(super) const MAX_FEATURES: usize = 1000;

/// Records are rows by features; targets and weights are not looked at. Errors as [`PcaValidParams::fit_rows`].
impl<D: Data<Elem = f64>, T> Fit<ArrayBase<D, Ix2>, T, ModelError> for PcaValidParams {
    type Object = Pca;

    fn fit(&self, dataset: &DatasetBase<ArrayBase<D, Ix2>, T>) -> Result<Pca, ModelError> {
        self.fit_view(dataset.records.view())
    }
}

impl PcaValidParams {
    /// Fits to `rows`, row-major, `n_features` values each. The order of the rows does not matter.
    ///
    /// # Errors
    /// [`ModelError::Shape`] if there is no feature, more than 1,000, or an incomplete row;
    /// [`ModelError::NotEnoughRows`] below 2 rows.
    pub fn fit_rows(&self, rows: &[f64], n_features: usize) -> Result<Pca, ModelError> {
        let n_rows = rows.len().checked_div(n_features).unwrap_or(0);
        let view = ArrayView2::from_shape((n_rows, n_features), rows);
        match view {
            Ok(view) if view.len() == rows.len() => self.fit_view(view),
            _ => {
                let reason = format!("{} values are not rows of {n_features}", rows.len());
                Err(ModelError::Shape(reason))
            }
        }
    }

    fn fit_view(&self, rows: ArrayView2<'_, f64>) -> Result<Pca, ModelError> {
        self.fit_owned(rows.to_owned())
    }

    /// As [`PcaValidParams::fit_rows`], in the memory of the rows.
    ///
    /// # Errors
    /// As [`PcaValidParams::fit_rows`].
    pub fn fit_owned(&self, rows: Array2<f64>) -> Result<Pca, ModelError> {
        let (n_rows, n_features) = rows.dim();
        if !(1..=MAX_FEATURES).contains(&n_features) {
            let reason = format!("{n_features} features, must be 1 to {MAX_FEATURES}");
            return Err(ModelError::Shape(reason));
        }
        if n_rows < 2 {
            return Err(ModelError::NotEnoughRows { needed: 2, got: n_rows });
        }

        let mut centred = rows;
        centred.mapv_inplace(clean);
        let mean = centred.sum_axis(Axis(0)) / n_rows as f64;
        centred -= &mean;
        let covariance = centred.t().dot(&centred) / (n_rows - 1) as f64;
        let total: f64 = covariance.diag().sum();
        let (variances, components) = self.main_axes(covariance)?;
        let left_over = (total - variances.iter().sum::<f64>()).max(0.0) / n_features as f64;
        Ok(Pca { mean: mean.to_vec(), variances, components, left_over })
    }

    /// The axes that explain the wanted share, largest first: their variances, and the unit vectors one after the other.
    fn main_axes(&self, covariance: Array2<f64>) -> Result<(Vec<f64>, Vec<f64>), ModelError> {
        let n_features = covariance.nrows();
        let total: f64 = covariance.diag().sum();
        let (values, vectors) =
            covariance.eigh_into().map_err(|error| ModelError::Shape(error.to_string()))?;
        let mut order: Vec<usize> = (0..n_features).collect();
        order.sort_by(|a, b| values[*b].total_cmp(&values[*a]));

        let noise = total * f64::EPSILON * n_features as f64;
        let (mut variances, mut components) = (Vec::new(), Vec::new());
        let mut explained = 0.0;
        for axis in order.into_iter().take(n_features - 1) {
            // Below the rounding of the decomposition an axis may point anywhere.
            if values[axis] <= noise || explained >= self.variance * total {
                break;
            }
            explained += values[axis];
            variances.push(values[axis]);
            components.extend(vectors.column(axis));
        }
        Ok((variances, components))
    }
}
