//! Training: from frames of history to a model. Runs on the training thread; everything it needs comes with the job.
//!
//! Levels are replayed in time order as they were live; what was learnt of the signals turns the frames into rows
//! for the forest. The scores that place the first boundary come from two forests, each grown on one half and
//! asked about the other: a forest knows its own rows too well. A touch of noise is added to the rows, because a tree
//! cannot cut along a signal that never moved, and would be blind to it when it does.

use std::ops::Range;
use std::sync::Arc;

use linfa::DatasetBase;
use linfa::ParamGuard;
use linfa::traits::Fit;
use ndarray::Array2;
use sentinel_contract::history::{Frame, History};
use sentinel_models::rng::SplitMix64;
use sentinel_models::robust::{RollingMedian, TrailingQuantile};
use sentinel_models::{IsolationForest, ModelError};
use serde::{Deserialize, Serialize};

use super::score::{Boundary, Scale, WINDOW, tail_bound};
use super::signals::Signals;
use super::treat::{CLIP, Learned, Measure, Sample, learn, measure};

/// Rows the models are fitted on; more are thinned evenly (a forest reads 25,600 values at most anyway).
const MAX_ROWS: usize = 4096;
/// Frames read from history at once, and at all.
const CHUNK_FRAMES: i64 = 2000;
const MAX_FRAMES: i64 = 20_160;
/// Recent values that make a level.
pub(super) const LEAST_LEVEL: usize = 5;
/// Noise added to a row's values, in robust standard deviations.
const JITTER: f64 = 0.25;
/// Fewer rows are repeated, each time with other noise, so that every tree has its 256.
const FOREST_ROWS: usize = 512;
/// Background rows for each row, and the most signals that are off in one.
const BACKGROUND: f64 = 0.2;
const BACKGROUND_SIGNALS: usize = 3;
/// Edges of a band, in robust standard deviations: never so near that counting noise passes, never beyond the clip.
const BOUNDS: std::ops::RangeInclusive<f64> = 4.0..=12.0;
const DAY_MS: i64 = 86_400_000;

/// What was learnt of a group. Replaced as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Model {
    /// One a signal; `None` when it was mostly missing.
    pub learned: Vec<Option<Learned>>,
    pub forest: IsolationForest,
    /// Frames it was trained on.
    pub frames: usize,
    /// Time of the first and the last of them.
    pub from_ms: i64,
    pub upto_ms: i64,
}

/// A model with the boundaries that its training gives.
#[derive(Debug, PartialEq)]
pub(super) struct Trained {
    pub model: Model,
    pub forest: Boundary,
    pub robust_z: Boundary,
}

/// What training is told.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub level_frames: usize,
    pub min_frames: usize,
    pub window_ms: i64,
    pub interval_ms: i64,
    /// Share of frames that may pass a boundary.
    pub share: f64,
    pub seed: u64,
}

impl Model {
    /// A frame's row for the forest: the signals that were learnt, in order. What is missing is as expected.
    pub(super) fn row(&self, measures: &[Measure]) -> Vec<f32> {
        let known = self.learned.iter().zip(measures).filter(|(learned, _)| learned.is_some());
        known.map(|(_, one)| one.z as f32).collect()
    }
}

/// A training job.
pub(super) struct Job {
    pub signals: Arc<Signals>,
    pub history: Arc<dyn History>,
    /// The group's name in history.
    pub name: String,
    /// The newest frame to learn from.
    pub upto_ms: i64,
    /// Times of incidents.
    pub excluded: Vec<Range<i64>>,
    /// Used when history has less.
    pub recent: Vec<Frame>,
    pub options: Options,
}

impl Job {
    /// Reads, learns, fits.
    pub(super) fn run(self) -> Result<Trained, String> {
        let stored = self.stored().map_err(|error| format!("cannot read history: {error:#}"))?;
        let frames = if stored.len() >= self.recent.len() { &stored } else { &self.recent };
        if frames.len() < self.options.min_frames {
            return Err(format!("{} of {} frames", frames.len(), self.options.min_frames));
        }
        fit(&self.signals, frames, &self.options).map_err(|error| error.to_string())
    }

    fn stored(&self) -> anyhow::Result<Vec<Frame>> {
        let options = &self.options;
        let names = self.signals.names();
        let reach = options.window_ms.min(MAX_FRAMES * options.interval_ms);
        let mut from = self.upto_ms.saturating_sub(reach);
        let mut frames = Vec::new();
        while from <= self.upto_ms {
            let to = (from + CHUNK_FRAMES * options.interval_ms).min(self.upto_ms + 1);
            let mut chunk = self.history.frames(&self.name, &names, from, to)?;
            chunk.retain(|frame| !self.excluded.iter().any(|times| times.contains(&frame.time_ms)));
            frames.append(&mut chunk);
            from = to;
        }
        Ok(frames)
    }
}

/// How much wider the scale against the training is, as long as that has seen few days: three times on the first day, when
/// every night is news, and as measured from the third day on.
pub(super) fn youth(from_ms: i64, upto_ms: i64) -> f64 {
    let days = (upto_ms - from_ms) as f64 / DAY_MS as f64;
    3.0 - (days - 1.0).clamp(0.0, 2.0)
}

/// Learns from `frames`, in time order.
pub(super) fn fit(
    signals: &Signals,
    frames: &[Frame],
    options: &Options,
) -> Result<Trained, ModelError> {
    let (from_ms, upto_ms) = match frames {
        [first, .., last] => (first.time_ms, last.time_ms),
        _ => return Err(ModelError::NotEnoughRows { needed: 2, got: frames.len() }),
    };
    let youth = youth(from_ms, upto_ms);
    let stride = frames.len().div_ceil(MAX_ROWS);
    let mut learned = Vec::with_capacity(signals.signals.len());
    let mut rows = vec![Vec::new(); frames.len().div_ceil(stride)];
    let mut alarms = vec![0.0; frames.len()];
    for (index, signal) in signals.signals.iter().enumerate() {
        let samples = replay_level(frames, index, signal.volume, options.level_frames);
        let Some(mut facts) = learn(signal, &samples) else {
            learned.push(None);
            continue;
        };
        let mut measured: Vec<Measure> = (samples.iter())
            .map(|one| measure(signal, &facts, one.value, one.volume, one.level, youth))
            .collect();
        facts.bound = bound_of(measured.iter().step_by(stride), options.share);
        for (worst, one) in alarms.iter_mut().zip(&mut measured) {
            one.score /= facts.bound;
            *worst = alarm([*one].into_iter()).max(*worst);
        }
        for (row, one) in rows.iter_mut().zip(measured.iter().step_by(stride)) {
            row.push(one.z);
        }
        learned.push(Some(facts));
    }
    let robust_z = Boundary::new(Scale::Ratio, options.share, alarms.into_iter().step_by(stride));
    let (forest, scores) = grow(&rows, options.seed)?;
    let forest_boundary = Boundary::new(Scale::Tail, options.share, scores);
    let model = Model { learned, forest, frames: frames.len(), from_ms, upto_ms };
    Ok(Trained { model, forest: forest_boundary, robust_z })
}

/// The guard's raw score: the largest of the signals that are far enough from what is expected, the way that hurts.
pub(super) fn alarm(measures: impl Iterator<Item = Measure>) -> f64 {
    measures.filter(|one| one.counts).map(|one| one.score).fold(0.0, f64::max)
}

/// The values of one signal with the level before each.
fn replay_level(
    frames: &[Frame],
    signal: usize,
    volume: Option<usize>,
    level_frames: usize,
) -> Vec<Sample> {
    let mut recent = RollingMedian::new(level_frames);
    (frames.iter())
        .map(|frame| {
            let value = frame.values[signal];
            let level = level_of(&recent);
            recent.push(value);
            let volume = volume.map_or(f64::NAN, |volume| frame.values[volume]);
            Sample { value, volume, level }
        })
        .collect()
}

/// The recent level, once enough of it is known.
pub(super) fn level_of(recent: &RollingMedian) -> Option<f64> {
    recent.median().filter(|_| recent.window().len() >= LEAST_LEVEL)
}

/// The edge of a signal's band. `measured` was taken with a bound of 1: its scores are sigmas.
fn bound_of<'a>(measured: impl Iterator<Item = &'a Measure>, share: f64) -> f64 {
    let mut scores = TrailingQuantile::new(WINDOW);
    scores.extend(measured.filter(|one| one.expected.is_finite()).map(|one| one.score));
    tail_bound(&scores, share).unwrap_or(*BOUNDS.start()).clamp(*BOUNDS.start(), *BOUNDS.end())
}

/// A forest on all rows, and the scores of each row by a forest that did not know it.
fn grow(rows: &[Vec<f64>], seed: u64) -> Result<(IsolationForest, Vec<f64>), ModelError> {
    let half = rows.len() / 2;
    let (early, late) = (forest(&rows[..half], seed)?, forest(&rows[half..], seed)?);
    let score = |forest: &IsolationForest, row: &Vec<f64>| {
        let row: Vec<f32> = row.iter().map(|z| *z as f32).collect();
        forest.score_row(&row)
    };
    let scores = rows
        .iter()
        .enumerate()
        .map(|(at, row)| if at < half { score(&late, row) } else { score(&early, row) });
    let scores = scores.collect();
    Ok((forest(rows, seed)?, scores))
}

/// A forest on these rows, with noise, and with background rows among them: ordinary rows in which a few signals are
/// anywhere within the clip. Without those, cuts end at the largest value seen, and a value far beyond is no easier to
/// isolate than that one (measured on the web preset, 60 frames: half of all requests failing scored 0.3 to 0.7 of the
/// boundary without them, 0.7 to 2.8 with).
fn forest(rows: &[Vec<f64>], seed: u64) -> Result<IsolationForest, ModelError> {
    let width = rows.first().map_or(0, Vec::len);
    if width == 0 {
        return Err(ModelError::NotEnoughRows { needed: 2, got: 0 });
    }
    let mut rng = SplitMix64::new(seed);
    let mut values = Vec::with_capacity(rows.len().max(FOREST_ROWS) * width * 5 / 4);
    for at in 0..rows.len().max(FOREST_ROWS) {
        let row = &rows[at % rows.len()];
        values.extend(row.iter().map(|z| z + JITTER * rng.normal()));
        if rng.uniform() < BACKGROUND {
            let start = values.len();
            values.extend_from_slice(row);
            for _ in 0..=rng.below(BACKGROUND_SIGNALS) {
                values[start + rng.below(width)] = (2.0 * rng.uniform() - 1.0) * CLIP;
            }
        }
    }
    let records = Array2::from_shape_vec((values.len() / width, width), values)
        .map_err(|error| ModelError::Shape(error.to_string()))?;
    let params = IsolationForest::params().n_trees(100).max_samples(256).seed(seed);
    params.check()?.fit(&DatasetBase::from(records))
}
