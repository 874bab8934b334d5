//! Decisions and scores of rows.

use linfa::traits::PredictInplace;
use ndarray::{Array1, ArrayBase, Data, Ix2};

use super::OneClassSvm;
use super::kernel::LANES;

/// Rows of up to so many features are scored without an allocation.
const ON_STACK: usize = 128;

impl OneClassSvm {
    /// scikit-learn's `decision_function` for one row of [`Self::n_features`] values: above 0 inside the boundary, below 0
    /// outside, never below `-rho`. Within 1e-6 of `rho` plus itself of what double precision gives.
    ///
    /// # Panics
    /// If the row has another length.
    pub fn decision_row(&self, row: &[f64]) -> f64 {
        assert_eq!(row.len(), self.n_features(), "the row's number of features");
        self.with_scaled(row, |row| self.decision_of(row))
    }

    /// The anomaly score of one row: the decision turned round, in units of `rho`. Below 0 inside the boundary, 0 on it,
    /// and up to 1 for a row that no training row is anywhere near.
    ///
    /// # Panics
    /// If the row has another length than [`Self::n_features`].
    pub fn score_row(&self, row: &[f64]) -> f64 {
        self.score_of(self.decision_row(row))
    }

    /// The score of a decision: `-decision / rho`.
    pub fn score_of(&self, decision: f64) -> f64 {
        -decision / self.rho
    }

    /// Decisions of many rows, row-major; the same numbers as [`Self::decision_row`].
    ///
    /// # Panics
    /// If `n_features` is not [`Self::n_features`], or `rows` is not `out.len()` rows long.
    pub fn decision_rows(&self, rows: &[f64], n_features: usize, out: &mut [f64]) {
        assert_eq!(n_features, self.n_features(), "the rows' number of features");
        assert_eq!(rows.len(), out.len() * n_features, "one row per decision");
        for (row, decision) in rows.chunks_exact(n_features).zip(out) {
            *decision = self.decision_row(row);
        }
    }

    /// Scores of many rows, row-major; the same numbers as [`Self::score_row`].
    ///
    /// # Panics
    /// As [`Self::decision_rows`].
    pub fn score_rows(&self, rows: &[f64], n_features: usize, out: &mut [f64]) {
        self.decision_rows(rows, n_features, out);
        for score in out {
            *score = self.score_of(*score);
        }
    }

    /// Calls `work` with the row in the units of support vectors.
    pub(super) fn with_scaled<T>(&self, row: &[f64], work: impl FnOnce(&[f32]) -> T) -> T {
        let scaled = row.iter().enumerate().map(|(feature, value)| self.scaled(feature, *value));
        if row.len() <= ON_STACK {
            let mut values = [0.0; ON_STACK];
            values.iter_mut().zip(scaled).for_each(|(value, scaled)| *value = scaled);
            work(&values[..row.len()])
        } else {
            work(&scaled.collect::<Vec<_>>())
        }
    }

    fn decision_of(&self, row: &[f32]) -> f64 {
        let mut sums = [0.0_f64; LANES];
        for (kernels, alphas) in self.vectors.kernels(row).zip(self.alphas.chunks_exact(LANES)) {
            for ((sum, kernel), alpha) in sums.iter_mut().zip(kernels).zip(alphas) {
                *sum += f64::from(alpha * kernel);
            }
        }
        sums.iter().sum::<f64>() - self.rho
    }
}

/// `x` is rows by features, `y` gets one score per row, larger being more anomalous.
///
/// # Panics
/// As linfa's own estimators, if the shapes do not fit the model or each other.
impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for OneClassSvm {
    fn predict_inplace<'a>(&'a self, x: &'a ArrayBase<D, Ix2>, y: &mut Array1<f64>) {
        assert_eq!(x.nrows(), y.len(), "one target per row");
        let mut values = Vec::with_capacity(x.ncols());
        for (row, target) in x.rows().into_iter().zip(y) {
            values.clear();
            values.extend(row.iter().copied());
            *target = self.score_row(&values);
        }
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(x.nrows())
    }
}
