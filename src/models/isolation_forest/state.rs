//! The saved form of an isolation forest: what was drawn and counted, without padding and without anything that can be
//! computed again. About 85 KB of JSON for 100 trees of 256 rows of five features; no infinities, which JSON cannot hold.

use serde::{Deserialize, Serialize};

use super::params::{MAX_FEATURES, MAX_SAMPLES, MAX_TREES};
use super::{IsolationForest, Node, TreeMut, average_path};
use crate::ModelError;

/// A forest to save or to restore. Trees one after another, each in pre-order, lower side first.
///
/// Restoring gives the same forest bit by bit. `IsolationForest` itself serialises as this, too, so it can be a field of
/// a larger saved struct; restore through [`IsolationForest::from_state`] to get the typed error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IsolationForestState {
    /// [`IsolationForestState::VERSION`] of the build that saved it.
    pub version: u32,
    /// Values in a row.
    pub n_features: usize,
    /// Rows each tree was grown on.
    pub sample_size: usize,
    /// Number of trees.
    pub n_trees: usize,
    /// Per node: the feature it cuts, or -1 for a leaf.
    pub features: Vec<i32>,
    /// Per cut: rows with a value above it go to the upper side.
    pub thresholds: Vec<f32>,
    /// Per leaf: the training rows in it.
    pub leaf_rows: Vec<u32>,
}

const MODEL: &str = "isolation forest";
const LEAF: i32 = -1;

impl IsolationForestState {
    /// The version written and the only one read.
    pub const VERSION: u32 = 1;
}

impl IsolationForest {
    /// What to save.
    pub fn to_state(&self) -> IsolationForestState {
        let mut state = IsolationForestState {
            version: IsolationForestState::VERSION,
            n_features: self.n_features,
            sample_size: self.sample_size,
            n_trees: self.n_trees(),
            features: Vec::new(),
            thresholds: Vec::new(),
            leaf_rows: Vec::new(),
        };
        let paths: Vec<f64> = (0..=self.sample_size).map(average_path).collect();
        let size = 1 << self.depth;
        for (nodes, leaves) in self.nodes.chunks_exact(size).zip(self.leaves.chunks_exact(size)) {
            write_branch(&mut state, nodes, leaves, &paths, 1);
        }
        state
    }

    /// Restores a saved forest. Any state is safe to try, also one made up.
    ///
    /// # Errors
    /// [`ModelError::UnknownVersion`] if another version wrote it, [`ModelError::CorruptState`] if it contradicts itself.
    pub fn from_state(state: &IsolationForestState) -> Result<Self, ModelError> {
        check_header(state)?;
        let mut forest = Self::blank(state.n_features, state.sample_size, state.n_trees);
        let mut reader = Reader { state, node: 0, cut: 0, leaf: 0 };
        for mut tree in forest.trees_mut() {
            let (_, rows) = reader.read_branch(&mut tree, 1, 0, 0)?;
            ensure(rows == state.sample_size, "a tree has lost training rows")?;
        }
        reader.finish()?;
        Ok(forest.with_base_path())
    }
}

impl TryFrom<IsolationForestState> for IsolationForest {
    type Error = ModelError;

    fn try_from(state: IsolationForestState) -> Result<Self, ModelError> {
        Self::from_state(&state)
    }
}

impl From<IsolationForest> for IsolationForestState {
    fn from(forest: IsolationForest) -> Self {
        forest.to_state()
    }
}

/// Appends the branch at heap index `id`. A leaf keeps its path length, `level + c(rows)`; c only grows, so the number
/// of rows is found in `paths`, which holds c of every number.
fn write_branch(
    state: &mut IsolationForestState,
    nodes: &[Node],
    leaves: &[f32],
    paths: &[f64],
    id: usize,
) {
    match nodes.get(id) {
        Some(node) if node.is_cut() => {
            state.features.push(i32::from(node.feature));
            state.thresholds.push(node.threshold);
            write_branch(state, nodes, leaves, paths, 2 * id);
            write_branch(state, nodes, leaves, paths, 2 * id + 1);
        }
        _ => {
            let level = id.ilog2();
            let slot = (id << (nodes.len().ilog2() - level)) - nodes.len();
            // Half a step of c at 4096 rows is 2.4e-4, an f32 of this size is off by 1e-6.
            let path = f64::from(leaves[slot]) - f64::from(level) + 1e-5;
            let rows = paths.partition_point(|c| *c <= path) - 1;
            state.features.push(LEAF);
            state.leaf_rows.push(rows.max(1) as u32);
        }
    }
}

fn check_header(state: &IsolationForestState) -> Result<(), ModelError> {
    if state.version != IsolationForestState::VERSION {
        return Err(ModelError::UnknownVersion {
            model: MODEL,
            found: state.version,
            supported: IsolationForestState::VERSION,
        });
    }
    ensure((1..=MAX_FEATURES).contains(&state.n_features), "number of features out of range")?;
    ensure((2..=MAX_SAMPLES).contains(&state.sample_size), "sample size out of range")?;
    ensure((1..=MAX_TREES).contains(&state.n_trees), "number of trees out of range")?;
    // A tree has one leaf more than cuts.
    let nodes = state.thresholds.len() + state.leaf_rows.len();
    ensure(state.features.len() == nodes, "lengths differ")?;
    ensure(state.thresholds.len() + state.n_trees == state.leaf_rows.len(), "lengths differ")
}

/// Where reading has come to in each list.
struct Reader<'a> {
    state: &'a IsolationForestState,
    node: usize,
    cut: usize,
    leaf: usize,
}

impl Reader<'_> {
    /// Reads the branch at heap index `id` into the tree; returns the sum of its path lengths and its training rows.
    fn read_branch(
        &mut self,
        tree: &mut TreeMut<'_>,
        id: usize,
        level: usize,
        above: u16,
    ) -> Result<(f64, usize), ModelError> {
        let feature = *next(&self.state.features, &mut self.node)?;
        if feature == LEAF {
            let rows = *next(&self.state.leaf_rows, &mut self.leaf)? as usize;
            ensure(
                (1..=self.state.sample_size).contains(&rows),
                "a leaf's number of rows is out of range",
            )?;
            return Ok((tree.set_leaf(id, level, rows, above) * rows as f64, rows));
        }

        let threshold = *next(&self.state.thresholds, &mut self.cut)?;
        let known = usize::try_from(feature).is_ok_and(|feature| feature < self.state.n_features);
        ensure(known, "a feature is out of range")?;
        ensure(threshold.is_finite(), "a threshold is not a finite number")?;
        ensure(level < tree.depth, "a tree is too deep")?;
        let feature = feature as u16;
        let (lower, lower_rows) = self.read_branch(tree, 2 * id, level + 1, feature)?;
        let (upper, upper_rows) = self.read_branch(tree, 2 * id + 1, level + 1, feature)?;
        let (sum, rows) = (lower + upper, lower_rows + upper_rows);
        tree.set_cut(id, feature, threshold, sum, rows);
        Ok((sum, rows))
    }

    fn finish(&self) -> Result<(), ModelError> {
        ensure(self.node == self.state.features.len(), "nodes are left over")
    }
}

fn next<'a, T>(list: &'a [T], at: &mut usize) -> Result<&'a T, ModelError> {
    let item = list.get(*at).ok_or(corrupt("a tree ends early"))?;
    *at += 1;
    Ok(item)
}

fn ensure(holds: bool, otherwise: &'static str) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(corrupt(otherwise)) }
}

fn corrupt(reason: &'static str) -> ModelError {
    ModelError::CorruptState { model: MODEL, reason }
}
