//! One-class SVM (Schoelkopf, Platt, Shawe-Taylor, Smola, Williamson 2001, "Estimating the support of a high-dimensional
//! distribution") with the Gaussian kernel `exp(-gamma |x - y|^2)`: a smooth boundary around all but a share `nu` of the
//! rows. Decisions are libsvm's and scikit-learn's `decision_function`: above 0 inside, below 0 outside.
//!
//! No linfa crate fits an agent: linfa-svm keeps the whole kernel matrix (178 MB at 5,000 rows) and takes eleven times
//! scikit-learn's time; it is the oracle of the tests. Here kernel rows are made when needed and kept within a limit.
//!
//! In reading order: [`OneClassSvmParams`] (`params.rs`), the kernel (`kernel.rs`) and its kept rows (`cache.rs`), the
//! optimiser (`solver.rs`), decisions (`score.rs`), what made a row score high (`explain.rs`), the saved form
//! (`state.rs`).
//!
//! **Features need one scale**: bring them to standard deviation 1 first. **Missing values**: NaN counts as 0, the middle
//! of a standardised feature, in training and in scoring; infinities count as +-1e15.

mod cache;
mod explain;
mod kernel;
mod params;
mod score;
mod solver;
mod state;
#[cfg(test)]
mod tests;

pub use explain::SvmExplanation;
pub use params::{Gamma, OneClassSvmParams, OneClassSvmValidParams};
pub use state::OneClassSvmState;

use kernel::Blocks;

/// A fitted one-class SVM; 4 bytes per support vector and feature, and 64 rows of training.
///
/// Support vectors are moved by `offset` and scaled by `sqrt(gamma * log2 e)`, which makes the kernel
/// `2^-|x - y|^2`.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "OneClassSvmState", into = "OneClassSvmState")]
pub struct OneClassSvm {
    gamma: f64,
    /// The boundary: the weighted sum of kernels on it.
    rho: f64,
    /// Taken off each feature first, so that `f32` has digits left for what varies.
    offset: Vec<f64>,
    /// Support vectors.
    vectors: Blocks,
    /// One weight per place in the blocks; 0 where filled up, and only there.
    alphas: Vec<f32>,
    /// Ordinary training rows, moved and scaled as support vectors are, one after the other.
    prototypes: Vec<f32>,
    fit: FitReport,
}

/// What the fit came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct FitReport {
    /// Rows it was fitted to, after drawing.
    pub rows: usize,
    /// Those of them that are outside: about `nu` of all, those on the boundary counting as either.
    pub outside: usize,
    /// Steps of the optimiser.
    pub iterations: usize,
    /// Whether the tolerance was reached before `max_iterations`; if not, decisions are approximate.
    pub converged: bool,
}

impl OneClassSvm {
    /// The hyperparameters to fit with: nu 0.01 and the median heuristic, until told otherwise.
    pub fn params() -> OneClassSvmParams {
        OneClassSvmParams::default()
    }

    /// Number of features a row must have.
    pub fn n_features(&self) -> usize {
        self.offset.len()
    }

    /// Number of support vectors; a decision's cost is proportional.
    pub fn n_support(&self) -> usize {
        self.vectors.n_rows
    }

    /// The kernel's gamma, as given or as found.
    pub fn gamma(&self) -> f64 {
        self.gamma
    }

    /// The boundary, libsvm's rho: a decision is a weighted sum of kernels less this, so never below `-rho`.
    pub fn rho(&self) -> f64 {
        self.rho
    }

    /// What the fit came to.
    pub fn fit_report(&self) -> FitReport {
        self.fit
    }

    /// Bytes of heap memory in use.
    pub fn memory(&self) -> usize {
        size_of_val(self.offset.as_slice())
            + self.vectors.memory()
            + size_of_val(self.alphas.as_slice())
            + size_of_val(self.prototypes.as_slice())
    }

    /// A value of a feature in the units of support vectors.
    fn scaled(&self, feature: usize, value: f64) -> f32 {
        kernel::scaled(value, self.offset[feature], kernel::scale_of(self.gamma))
    }
}
