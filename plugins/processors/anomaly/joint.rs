//! The joint models: an isolation forest, a one-class SVM and principal components over the same rows, the signals'
//! residuals. They vote: a person is called only when one of them agrees with a signal's own test.
//!
//! The scores that place a model's first boundary come from two models, each fitted on one half and asked about the other: a
//! model knows its own rows too well. A touch of noise is added to the rows, because a tree cannot cut along a signal that
//! never moved, and would be blind to it when it does.
//!
//! A signal that is far off time and again (a disk that is idle, and busy when something is flushed) sets a model's boundary, and
//! hides what one other signal does. So a model is asked twice: about the row, and about the row in which no signal counts for
//! more than its most usual hundredth ([`Even`]). It agrees when either is beyond its boundary.

use linfa::ParamGuard;
use ndarray::Array2;
use sentinel_models::rng::SplitMix64;
use sentinel_models::robust::quantile;
use sentinel_models::{IsolationForest, ModelError, OneClassSvm, Pca};
use serde::{Deserialize, Serialize};

use super::score::{Boundary, Edge, Scale};
use super::size::Size;
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
/// A signal whose 99 % quantile is beyond this is made smaller in the second question.
const EVEN: f64 = 3.0;
const EVEN_SHARE: f64 = 0.99;
/// Bytes that the SVM may keep of its kernel while it is fitted: a quarter of its default; the model is the same.
const CACHE: usize = 2 << 20;

/// The models, fitted on the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Joint {
    pub forest: IsolationForest,
    pub svm: OneClassSvm,
    pub pca: Pca,
    /// `None` of a model that an older agent has stored.
    #[serde(default)]
    even: Option<Even>,
}

/// Rows in which all signals are about as large, and what the models say of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Even {
    /// What each signal is multiplied by, at most 1.
    by: Vec<f64>,
    /// They do not move, as those of the rows do: they are asked about only when there is an incident.
    edges: [Edge; JOINT],
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
    /// Fits on rows in time order, of which `share` may pass a boundary; also the scores of each row by models that did not know it.
    pub(super) fn fit(
        rows: &[Vec<f64>],
        share: f64,
        seed: u64,
        size: Size,
    ) -> Result<(Joint, Vec<Votes>), ModelError> {
        let (early, late) = rows.split_at(rows.len() / 2);
        let by = evening(rows);
        let mut scores = Vec::with_capacity(rows.len());
        let mut even: Vec<Votes> = Vec::with_capacity(rows.len());
        // One after the other: memory.
        for (others, own) in [(late, early), (early, late)] {
            let model = Joint::of(others, seed, size)?;
            scores.extend(own.iter().map(|row| model.raw(row)));
            even.extend(own.iter().map(|row| model.raw(&evened(row, &by))));
        }
        let edge = |model: usize| {
            Boundary::new(Scale::Tail, share, even.iter().map(|raw| raw[model])).edge()
        };
        let even = Even { by, edges: std::array::from_fn(edge) };
        Ok((Joint { even: Some(even), ..Joint::of(rows, seed, size)? }, scores))
    }

    fn of(rows: &[Vec<f64>], seed: u64, size: Size) -> Result<Joint, ModelError> {
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
        Ok(Joint { forest: forest(rows, seed, size)?, svm, pca, even: None })
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

    /// Whether each model agrees that a row is unusual, 1.0 at the boundary; `scores` is what it says of the row as it is.
    pub(super) fn agree(&self, row: &[f64], scores: &Votes) -> Votes {
        let Some(even) = &self.even else { return *scores };
        let raw = self.raw(&evened(row, &even.by));
        std::array::from_fn(|model| scores[model].max(even.edges[model].score(raw[model])))
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

/// What each signal of the rows is multiplied by.
fn evening(rows: &[Vec<f64>]) -> Vec<f64> {
    let by = |signal: usize| {
        let sizes: Vec<f64> = rows.iter().map(|row| row[signal].abs()).collect();
        EVEN / quantile(&sizes, EVEN_SHARE).unwrap_or(0.0).max(EVEN)
    };
    (0..rows.first().map_or(0, Vec::len)).map(by).collect()
}

fn evened(row: &[f64], by: &[f64]) -> Vec<f64> {
    row.iter().zip(by).map(|(z, by)| z * by).collect()
}

/// A forest on these rows, with noise, and with background rows among them: ordinary rows in which a few signals are
/// anywhere within the clip. Without those, cuts end at the largest value seen, and a value far beyond is no easier to
/// isolate than that one (measured on the web preset, 60 frames: half of all requests failing scored 0.3 to 0.7 of the
/// boundary without them, 0.7 to 2.8 with).
fn forest(rows: &[Vec<f64>], seed: u64, size: Size) -> Result<IsolationForest, ModelError> {
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
    let (trees, samples) = size.forest();
    let params = IsolationForest::params().n_trees(trees).max_samples(samples).seed(seed);
    params.check()?.fit_rows(&values, width)
}
