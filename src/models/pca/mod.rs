//! Principal components and what they leave over (Jackson and Mudholkar 1979, "Control procedures for residuals associated
//! with principal component analysis"): signals of a host move together, and a row that breaks with it leaves a residual.
//!
//! The components are eigenvectors of the covariance, as many as explain a share of the variance. The residual is what is
//! left of a row once they are taken out, as sum of squares over the number of features (the Q statistic over n); how
//! unusual the rest is, is the mean square of its standardised coordinates (Hotelling's T2 over the number kept).
//!
//! The decomposition is linfa's (`linfa_linalg::eigh`), not `linfa_reduction::Pca`: that one's iteration can stop short
//! without a word (2,000 x 5 uniform values, 2 components: second variance off by 1 %), took 1 s for 50 of 100
//! components, and gives no variance of what it left out.
//!
//! Rows should be standardised. **Missing values**: NaN counts as 0, the middle of a standardised feature, in training
//! and in scoring; numbers beyond +-1e6 and infinities count as +-1e6.

mod params;
mod score;
mod state;
#[cfg(test)]
mod tests;

pub use params::{PcaParams, PcaValidParams};
pub use score::PcaScore;
pub use state::PcaState;

/// Fitted principal components.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "PcaState", into = "PcaState")]
pub struct Pca {
    /// One per feature.
    mean: Vec<f64>,
    /// Variances along the components, largest first; all above zero, and fewer than there are features.
    variances: Vec<f64>,
    /// The components, unit vectors at right angles, one after the other.
    components: Vec<f64>,
    /// Variance of the training rows outside the components, over the number of features.
    left_over: f64,
}

impl Pca {
    /// The hyperparameters to fit with: 90 % of the variance, until told otherwise.
    pub fn params() -> PcaParams {
        PcaParams::default()
    }

    /// Number of features a row must have.
    pub fn n_features(&self) -> usize {
        self.mean.len()
    }

    /// Components kept: at least one feature fewer, so that there always is a residual; 0 if no feature varied.
    pub fn n_components(&self) -> usize {
        self.variances.len()
    }

    /// Variances along the components, largest first, in the rows' units squared.
    pub fn variances(&self) -> &[f64] {
        &self.variances
    }

    /// What [`Self::score_row`] was on average over the training rows (up to the correction for n - 1).
    pub fn expected_residual(&self) -> f64 {
        self.left_over
    }

    fn components(&self) -> impl Iterator<Item = &[f64]> {
        self.components.chunks_exact(self.n_features())
    }
}

/// Largest number that a value counts as: its square times any number of features is still exact enough.
const LIMIT: f64 = 1e6;

/// A value as it is computed with.
fn clean(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(-LIMIT, LIMIT) }
}
