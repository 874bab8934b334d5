//! The joint models: an isolation forest, a one-class SVM and principal components over the same rows, the signals'
//! residuals. They vote: a person is called only when one of them agrees with a signal's own test.
//!
//! The scores that place a model's first boundary come from two models, each fitted on one half and asked about the other: a
//! model knows its own rows too well. A touch of noise is added to the rows, because a tree cannot cut along a signal that
//! never moved, and would be blind to it when it does.

use linfa::ParamGuard;
use ndarray::Array2;
use sentinel_models::rng::SplitMix64;
use sentinel_models::{IsolationForest, ModelError, OneClassSvm, Pca};
use serde::{Deserialize, Serialize};

use super::treat::CLIP;

/// Noise added to a row's values, in robust standard deviations.
const JITTER: f64 = 0.25;
/// Fewer rows are repeated, each time with other noise, so that every tree has its 256.
const FOREST_ROWS: usize = 512;
/// Background rows for each row, and the most signals that are off in one.
const BACKGROUND: f64 = 0.2;
const BACKGROUND_SIGNALS: usize = 3;
/// Share of the variance that the principal components explain.
const EXPLAINED: f64 = 0.9;
/// Share of the rows that the one-class SVM leaves outside.
const NU: f64 = 0.01;
/// Bytes that the SVM may keep of its kernel while it is fitted: a quarter of its default; the model is the same.
const CACHE: usize = 2 << 20;

/// The models, fitted on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Joint {
    pub forest: IsolationForest,
    pub svm: OneClassSvm,
    pub pca: Pca,
}

/// One number a joint model, in the order of [`NAMES`]: raw scores, or scores with 1.0 at the boundary.
pub(super) type Votes = [f64; JOINT];

/// How many.
pub(super) const JOINT: usize = 3;
/// The place of the principal components among them: whether the signals go together as they usually do.
pub(super) const PCA: usize = 2;
/// Their names in scores and explanations.
pub(super) const NAMES: [&str; JOINT] = ["isolation_forest", "one_class_svm", "pca"];

impl Joint {
    /// Fits on rows in time order; also the scores of each row by models that did not know it.
    pub(super) fn fit(rows: &[Vec<f64>], seed: u64) -> Result<(Joint, Vec<Votes>), ModelError> {
        let (early, late) = rows.split_at(rows.len() / 2);
        let mut scores = Vec::with_capacity(rows.len());
        // One after the other: memory.
        for (others, own) in [(late, early), (early, late)] {
            let model = Joint::of(others, seed)?;
            scores.extend(own.iter().map(|row| model.raw(row)));
        }
        Ok((Joint::of(rows, seed)?, scores))
    }

    fn of(rows: &[Vec<f64>], seed: u64) -> Result<Joint, ModelError> {
        let width = rows.first().map_or(0, Vec::len);
        if width == 0 {
            return Err(ModelError::NotEnoughRows { needed: 2, got: 0 });
        }
        // Made twice: as much again as the rows, and PCA uses up its own.
        let noisy = || -> Vec<f64> {
            let mut rng = SplitMix64::new(seed);
            let mut values = Vec::with_capacity(rows.len() * width);
            values.extend(rows.iter().flatten().map(|z| z + JITTER * rng.normal()));
            values
        };
        let records = Array2::from_shape_vec((rows.len(), width), noisy())
            .map_err(|error| ModelError::Shape(error.to_string()))?;
        let pca = Pca::params().variance(EXPLAINED).check()?.fit_owned(records)?;
        let svm = OneClassSvm::params().nu(NU).seed(seed).cache_bytes(CACHE);
        let svm = svm.fit_rows(&noisy(), width)?;
        Ok(Joint { forest: forest(rows, seed)?, svm, pca })
    }

    /// Signals in a row.
    pub(super) fn n_features(&self) -> usize {
        self.forest.n_features()
    }

    /// Raw scores of a row.
    pub(super) fn raw(&self, row: &[f64]) -> Votes {
        let narrow: Vec<f32> = row.iter().map(|z| *z as f32).collect();
        let svm = self.svm.score_row(row);
        [self.forest.score_row(&narrow), svm, self.pca.score_row(row).ln_1p()]
    }

    /// Each signal's part in one model's score.
    pub(super) fn explain(&self, model: usize, row: &[f64], parts: &mut [f64]) {
        match model {
            0 => {
                let narrow: Vec<f32> = row.iter().map(|z| *z as f32).collect();
                self.forest.explain_row(&narrow, parts);
            }
            1 => {
                self.svm.explain_row(row, parts);
            }
            _ => {
                self.pca.explain_row(row, parts);
            }
        }
    }
}

/// A forest on these rows, with noise, and with background rows among them: ordinary rows in which a few signals are
/// anywhere within the clip. Without those, cuts end at the largest value seen, and a value far beyond is no easier to
/// isolate than that one (measured on the web preset, 60 frames: half of all requests failing scored 0.3 to 0.7 of the
/// boundary without them, 0.7 to 2.8 with).
fn forest(rows: &[Vec<f64>], seed: u64) -> Result<IsolationForest, ModelError> {
    let width = rows[0].len();
    let mut rng = SplitMix64::new(seed);
    let mut values = Vec::with_capacity(rows.len().max(FOREST_ROWS) * width * 5 / 4);
    for at in 0..rows.len().max(FOREST_ROWS) {
        let row = &rows[at % rows.len()];
        values.extend(row.iter().map(|z| (z + JITTER * rng.normal()) as f32));
        if rng.uniform() < BACKGROUND {
            let start = values.len();
            values.extend(row.iter().map(|z| *z as f32));
            for _ in 0..=rng.below(BACKGROUND_SIGNALS) {
                values[start + rng.below(width)] = ((2.0 * rng.uniform() - 1.0) * CLIP) as f32;
            }
        }
    }
    let params = IsolationForest::params().n_trees(100).max_samples(256).seed(seed);
    params.check()?.fit_rows(&values, width)
}
