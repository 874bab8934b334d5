//! Scoring rows against principal components, and telling which features made the residual. Nothing is allocated per row.

use linfa::traits::PredictInplace;
use ndarray::{Array1, ArrayBase, Data, Ix2};

use super::{Pca, clean};

/// How a row differs from the training rows, in two parts that know nothing of each other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PcaScore {
    /// Squares of what the components do not explain, over the number of features: the features disagree.
    pub residual: f64,
    /// Mean square of the coordinates along the components, each in its standard deviation; about 1 for ordinary rows,
    /// 0 without components: the features agree, on something unusual.
    pub distance: f64,
}

impl Pca {
    /// The residual of one row of [`Self::n_features`] values: the sum of squares of what the components do not explain,
    /// over the number of features. On average [`Self::expected_residual`], larger is more anomalous.
    ///
    /// # Panics
    /// If the row has another length.
    pub fn score_row(&self, row: &[f64]) -> f64 {
        self.score_parts(row).residual
    }

    /// Both parts of the score of one row.
    ///
    /// # Panics
    /// If the row has another length than [`Self::n_features`].
    pub fn score_parts(&self, row: &[f64]) -> PcaScore {
        assert_eq!(row.len(), self.n_features(), "the row's number of features");
        let length: f64 = self.centred(row).map(|value| value * value).sum();
        let (mut explained, mut distance) = (0.0, 0.0);
        for (component, variance) in self.components().zip(&self.variances) {
            let along = self.coordinate(row, component);
            explained += along * along;
            distance += along * along / variance;
        }
        PcaScore {
            // The components are at right angles: the squares of what they explain and of what they leave add up.
            residual: (length - explained).max(0.0) / self.n_features() as f64,
            distance: distance / self.n_components().max(1) as f64,
        }
    }

    /// Scores one row and writes each feature's part of the residual: its square over the number of features, so that
    /// none is negative. They add up to the residual, up to rounding of 1e-12 of the row's own mean square. Returns the
    /// residual.
    ///
    /// A residual is shared out by the components: a fault in one feature shows in those that move with it, too, but
    /// surely most in itself while the squares of its weights in the components add up to less than a half.
    ///
    /// # Panics
    /// If `row` or `contributions` has another length than [`Self::n_features`].
    pub fn explain_row(&self, row: &[f64], contributions: &mut [f64]) -> f64 {
        assert_eq!(row.len(), self.n_features(), "the row's number of features");
        assert_eq!(contributions.len(), self.n_features(), "one contribution per feature");
        contributions.iter_mut().zip(self.centred(row)).for_each(|(left, value)| *left = value);
        for component in self.components() {
            let along = self.coordinate(row, component);
            contributions.iter_mut().zip(component).for_each(|(left, part)| *left -= along * part);
        }
        let n_features = self.n_features() as f64;
        for left in contributions {
            *left = *left * *left / n_features;
        }
        self.score_row(row)
    }

    pub(super) fn centred(&self, row: &[f64]) -> impl Iterator<Item = f64> {
        row.iter().zip(&self.mean).map(|(value, mean)| clean(*value) - mean)
    }

    fn coordinate(&self, row: &[f64], component: &[f64]) -> f64 {
        self.centred(row).zip(component).map(|(value, part)| value * part).sum()
    }
}

/// `x` is rows by features, `y` gets one residual per row.
///
/// # Panics
/// As linfa's own estimators, if the shapes do not fit the model or each other.
impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for Pca {
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
