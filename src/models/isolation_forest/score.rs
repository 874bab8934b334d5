//! Scoring rows, and telling which features made a row score high.
//!
//! Contributions follow a row's path (Saabas 2014, "Interpreting random forests"): each cut is credited with the change
//! of the mean path length it caused among the training rows. They add up exactly. Against exact Shapley values they
//! favour cuts far from the root; single-feature faults are found by either (see `tests.rs` for the hit rate).

use linfa::traits::PredictInplace;
use ndarray::{Array1, ArrayBase, Data, Ix2};

use super::{IsolationForest, Node, PATH_UNIT, average_path, root_path};

/// Descents under way at once: each step waits for memory, so several are taken in turn.
const LANES: usize = 8;

impl IsolationForest {
    /// The anomaly score of one row of [`Self::n_features`] values: in 0..1, higher is more anomalous, 0.5 or below
    /// for ordinary rows, and 0.5 for any row if no tree could cut.
    ///
    /// # Panics
    /// If the row has another length.
    pub fn score_row(&self, row: &[f32]) -> f64 {
        self.score_of_path(self.mean_path(row))
    }

    /// Mean path length of one row over all trees, in cuts.
    ///
    /// # Panics
    /// If the row has another length than [`Self::n_features`].
    pub fn mean_path(&self, row: &[f32]) -> f64 {
        assert_eq!(row.len(), self.n_features, "the row's number of features");
        let size = 1 << self.depth;
        let nodes = self.nodes.chunks_exact(LANES * size);
        let leaves = self.leaves.chunks_exact(LANES * size);
        let last = nodes.remainder().chunks_exact(size).zip(leaves.remainder().chunks_exact(size));

        let mut sum = 0.0;
        for (nodes, leaves) in nodes.zip(leaves) {
            sum += descend_trees::<LANES>(nodes, leaves, self.depth, row);
        }
        for (nodes, leaves) in last {
            sum += descend_trees::<1>(nodes, leaves, self.depth, row);
        }
        sum / self.n_trees() as f64
    }

    /// The score of a mean path length: `2^(-path / c(n))` (Liu et al. 2008, equation 2).
    pub fn score_of_path(&self, path: f64) -> f64 {
        (-path / average_path(self.sample_size)).exp2()
    }

    /// Scores one row and writes what each feature had to do with it, in cuts: **positive shortened the path, that is,
    /// raised the anomaly; negative lowered it.** Exactly additive:
    /// `base_path() - contributions.sum() == mean_path(row)` up to rounding below 1e-9. Returns the score.
    ///
    /// A feature that no cut on the row's paths looked at gets 0.
    ///
    /// # Panics
    /// If `row` or `contributions` has another length than [`Self::n_features`].
    pub fn explain_row(&self, row: &[f32], contributions: &mut [f64]) -> f64 {
        assert_eq!(row.len(), self.n_features, "the row's number of features");
        assert_eq!(contributions.len(), self.n_features, "one contribution per feature");
        contributions.fill(0.0);
        let size = 1 << self.depth;
        let mut sum = 0.0;
        for (nodes, leaves) in self.nodes.chunks_exact(size).zip(self.leaves.chunks_exact(size)) {
            sum += explain_tree(nodes, leaves, row, contributions);
        }
        let n_trees = self.n_trees() as f64;
        for contribution in contributions {
            *contribution /= n_trees;
        }
        self.score_of_path(sum / n_trees)
    }
}

/// Adds the row's contributions in one tree, and returns its path length there.
fn explain_tree(nodes: &[Node], leaves: &[f32], row: &[f32], contributions: &mut [f64]) -> f64 {
    let mut id = 1;
    let mut path = root_path(nodes, leaves);
    let mut feature = 0;
    while id < nodes.len() {
        let node = nodes[id];
        let here = f64::from(node.mean_path) / PATH_UNIT;
        if id > 1 {
            contributions[feature] += path - here;
            path = here;
        }
        feature = usize::from(node.feature);
        id = step(node, id, row);
    }
    let leaf = f64::from(leaves[id - nodes.len()]);
    contributions[feature] += path - leaf;
    leaf
}

/// One row down `N` trees; the sum of its path lengths.
fn descend_trees<const N: usize>(nodes: &[Node], leaves: &[f32], depth: usize, row: &[f32]) -> f64 {
    let size = 1 << depth;
    let mut ids = [1; N];
    for _ in 0..depth {
        for (tree, id) in ids.iter_mut().enumerate() {
            *id = step(nodes[tree * size + *id], *id, row);
        }
    }
    let paths = ids.iter().enumerate().map(|(tree, id)| f64::from(leaves[tree * size + id - size]));
    paths.sum()
}

/// The heap index below `id`. A NaN is not greater than anything, so it takes the lower side.
#[inline]
fn step(node: Node, id: usize, row: &[f32]) -> usize {
    2 * id + usize::from(row[usize::from(node.feature)] > node.threshold)
}

/// `x` is rows by features, `y` gets one score per row.
///
/// # Panics
/// As linfa's own estimators, if the shapes do not fit the model or each other.
impl<D: Data<Elem = f64>> PredictInplace<ArrayBase<D, Ix2>, Array1<f64>> for IsolationForest {
    fn predict_inplace<'a>(&'a self, x: &'a ArrayBase<D, Ix2>, y: &mut Array1<f64>) {
        assert_eq!(x.nrows(), y.len(), "one target per row");
        let rows: Vec<f32> = x.iter().map(|value| *value as f32).collect();
        let mut scores = vec![0.0; y.len()];
        self.score_rows(&rows, x.ncols(), &mut scores);
        y.iter_mut().zip(scores).for_each(|(target, score)| *target = score);
    }

    fn default_target(&self, x: &ArrayBase<D, Ix2>) -> Array1<f64> {
        Array1::zeros(x.nrows())
    }
}
