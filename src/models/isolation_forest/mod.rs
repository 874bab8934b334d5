//! Isolation forest (Liu, Ting, Zhou 2008, "Isolation Forest", and 2012, "Isolation-based anomaly detection"): rows that
//! few random cuts separate from the rest are anomalous. No linfa crate has one.
//!
//! Hyperparameters as the paper's and scikit-learn's: 100 trees, each grown on 256 rows drawn without replacement until
//! every row is alone or ceil(log2 256) = 8 cuts deep; cuts are uniform between a feature's least and largest value in
//! the node, over features that vary there. The score of a row is `2^(-E[h] / c(n))`, where E\[h\] is its mean path
//! length and c(n) the mean path length of an unsuccessful search in a binary tree of n rows: in 0..1, 0.5 or below
//! for ordinary rows, larger for anomalous ones.
//!
//! In reading order: [`IsolationForestParams`] (`params.rs`), growing a tree (`grow.rs`), scores and contributions
//! (`score.rs`), scores of many rows (`batch.rs`), the saved form (`state.rs`). This file holds the memory layout they share.
//!
//! Values are compared as `f32`: bring features to a common scale first, a counter at 1e12 has no digits left.
//! **Missing and infinite values**: NaN goes to the lower side of every cut, in training and in scoring; infinities
//! count as the largest finite numbers. Nothing panics on them.

mod batch;
mod grow;
mod params;
mod score;
mod state;
#[cfg(test)]
mod tests;

pub use params::{IsolationForestParams, IsolationForestValidParams};
pub use state::IsolationForestState;

/// A fitted isolation forest; 300 KiB at 100 trees of 256 rows, whatever the number of features.
///
/// Every tree is a complete binary tree in heap order (root 1, children of `i` at `2i` and `2i + 1`), so that a descent
/// is `depth` steps without a branch. A branch that ended early continues as cuts at +infinity, which send every row
/// to the lower side, down to one leaf.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "IsolationForestState", into = "IsolationForestState")]
pub struct IsolationForest {
    n_features: usize,
    /// Rows each tree was grown on.
    sample_size: usize,
    /// Cuts on every path, padding included.
    depth: usize,
    /// `n_trees` times `2^depth` nodes; the first of each tree is unused.
    nodes: Vec<Node>,
    /// `n_trees` times `2^depth` path lengths.
    leaves: Vec<f32>,
    /// Mean over the trees of the mean path length of their training rows.
    base_path: f64,
}

/// A cut: rows with `value > threshold` go to the upper side.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Node {
    /// Finite for a cut, +infinity for padding below an early leaf.
    threshold: f32,
    /// Index of the value compared; for padding that of the last real cut above, so that rounding stays with it.
    feature: u16,
    /// Mean path length of the tree's training rows under this node, in units of 1 / [`PATH_UNIT`].
    mean_path: u16,
}

/// Mean paths are kept in 16 bits: 5 for the whole part (the longest possible path is 27.8), 11 for the fraction.
/// Multiples of a power of two add up exactly in `f64`, so contributions telescope without error.
const PATH_UNIT: f64 = 2048.0;

impl Node {
    const PADDING: Self = Self { threshold: f32::INFINITY, feature: 0, mean_path: 0 };

    fn is_cut(self) -> bool {
        self.threshold < f32::INFINITY
    }
}

impl IsolationForest {
    /// The hyperparameters to fit with: 100 trees, 256 rows each, seed 42, until told otherwise.
    pub fn params() -> IsolationForestParams {
        IsolationForestParams::default()
    }

    /// Number of features a row must have.
    pub fn n_features(&self) -> usize {
        self.n_features
    }

    /// Number of trees.
    pub fn n_trees(&self) -> usize {
        self.nodes.len() >> self.depth
    }

    /// Rows each tree was grown on: `max_samples`, or all rows if there were fewer.
    pub fn sample_size(&self) -> usize {
        self.sample_size
    }

    /// Most cuts on any path that some tree really made; 0 means that no tree could cut, because no feature varied, and
    /// that every row scores the same.
    pub fn grown_depth(&self) -> usize {
        let trees = self.nodes.chunks_exact(1 << self.depth);
        let deepest = trees.map(|tree| tree.iter().skip(1).rposition(|node| node.is_cut()));
        deepest.flatten().max().map_or(0, |at| (at + 1).ilog2() as usize + 1)
    }

    /// The path length that contributions are counted from, in cuts: the mean over the trees of what their training
    /// rows have on average.
    pub fn base_path(&self) -> f64 {
        self.base_path
    }

    /// Bytes of heap memory in use.
    pub fn memory(&self) -> usize {
        size_of_val(self.nodes.as_slice()) + size_of_val(self.leaves.as_slice())
    }

    /// A forest of trees that are all padding, to be grown or read into.
    fn blank(n_features: usize, sample_size: usize, n_trees: usize) -> Self {
        let depth = depth_of(sample_size);
        Self {
            n_features,
            sample_size,
            depth,
            nodes: vec![Node::PADDING; n_trees << depth],
            leaves: vec![0.0; n_trees << depth],
            base_path: 0.0,
        }
    }

    /// The places of each tree, to be filled.
    fn trees_mut(&mut self) -> impl Iterator<Item = TreeMut<'_>> {
        let (depth, size) = (self.depth, 1 << self.depth);
        let pairs = self.nodes.chunks_exact_mut(size).zip(self.leaves.chunks_exact_mut(size));
        pairs.map(move |(nodes, leaves)| TreeMut { depth, nodes, leaves })
    }

    /// Measures [`Self::base_path`] once all trees stand.
    fn with_base_path(mut self) -> Self {
        let size = 1 << self.depth;
        let pairs = self.nodes.chunks_exact(size).zip(self.leaves.chunks_exact(size));
        let sum: f64 = pairs.map(|(nodes, leaves)| root_path(nodes, leaves)).sum();
        self.base_path = sum / self.n_trees() as f64;
        self
    }
}

/// One tree while it is being filled, by `grow.rs` from data or by `state.rs` from what was saved.
struct TreeMut<'a> {
    depth: usize,
    nodes: &'a mut [Node],
    leaves: &'a mut [f32],
}

impl TreeMut<'_> {
    /// Writes the cut at heap index `id`; `path_sum` is the sum of the path lengths of the `rows` training rows under it.
    fn set_cut(&mut self, id: usize, feature: u16, threshold: f32, path_sum: f64, rows: usize) {
        self.nodes[id] = Node {
            threshold,
            feature,
            mean_path: (path_sum / rows as f64 * PATH_UNIT).round() as u16,
        };
    }

    /// Ends the branch at heap index `id`, `level` cuts below the root, with `rows` training rows left in it;
    /// `feature` is that of the cut above. Returns the path length, `level + c(rows)`.
    fn set_leaf(&mut self, id: usize, level: usize, rows: usize, feature: u16) -> f64 {
        let path = (level as f64 + average_path(rows)) as f32;
        let mut spine = id;
        for _ in level..self.depth {
            self.nodes[spine] = Node {
                feature,
                mean_path: (f64::from(path) * PATH_UNIT).round() as u16,
                ..Node::PADDING
            };
            spine *= 2;
        }
        self.leaves[spine - self.nodes.len()] = path;
        f64::from(path)
    }
}

/// Mean path length of the training rows of one tree: its root's, or its only leaf's.
fn root_path(nodes: &[Node], leaves: &[f32]) -> f64 {
    if nodes[1].is_cut() { f64::from(nodes[1].mean_path) / PATH_UNIT } else { f64::from(leaves[0]) }
}

/// Cuts allowed on a path: ceil(log2(n)), the mean height of a tree of n rows (Liu et al. 2008, section 2).
fn depth_of(sample_size: usize) -> usize {
    sample_size.max(2).next_power_of_two().ilog2() as usize
}

/// c(n), the mean path length of an unsuccessful search in a binary search tree of n rows (Liu et al. 2008, equation 1),
/// with scikit-learn's values for the smallest n.
fn average_path(rows: usize) -> f64 {
    const EULER_GAMMA: f64 = 0.577_215_664_901_532_9;
    let n = rows as f64;
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => 2.0 * ((n - 1.0).ln() + EULER_GAMMA) - 2.0 * (n - 1.0) / n,
    }
}
