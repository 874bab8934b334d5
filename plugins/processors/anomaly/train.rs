//! Training: from frames of history to a model. Runs on the training thread; everything it needs comes with the job.
//!
//! Levels are replayed in time order as they were live; what was learnt of the signals turns the frames into deviations
//! (`views`) and into rows for the joint models (`joint`).

use std::ops::Range;
use std::sync::Arc;

use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::Tier;
use sentinel_models::ModelError;
use sentinel_models::robust::TrailingQuantile;
use serde::{Deserialize, Serialize};

use super::bars::Bars;
use super::boundaries::Boundaries;
use super::columns::{Columns, Stored, is_learnt};
use super::drift;
use super::joint::Joint;
use super::rows;
use super::score::{WINDOW, observed_bound, tail_bound};
use super::signals::{Signal, Signals};
use super::size::Size;
use super::tier;
use super::treat::{Learned, Measure, Sample, learn, measure, off_usual};
use super::treatment::Unit;
use super::views::{Ensemble, Largest, Levels};
use super::worse::{self, Against};

/// Signals whose values are in memory at once.
const AT_ONCE: usize = 6;
/// Frames that are learnt from, each by itself; and those before them that a season is learnt from: a fortnight of ten seconds.
const MAX_FRAMES: i64 = 20_160;
const MAX_OLDER: i64 = 5 * MAX_FRAMES;
/// Edges of a band, in robust standard deviations: never so near that counting noise passes, and never extrapolated to beyond the
/// clip. Only a signal that was at the clip time and again has its edge there, and so no test of its own.
const BOUNDS: std::ops::RangeInclusive<f64> = 4.0..=12.0;
/// See [`doubt`].
const FEW_FRAMES: f64 = 60.0;
const DAY_MS: i64 = 86_400_000;

/// What was learnt of a group. Replaced as a whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Model {
    /// One a signal; `None` when it was mostly missing.
    pub learned: Vec<Option<Learned>>,
    pub ensemble: Ensemble,
    pub joint: Joint,
    /// Frames it was trained on.
    pub frames: usize,
    /// Time of the first and the last of them.
    pub from_ms: i64,
    pub upto_ms: i64,
    /// What that time tells apart.
    #[serde(default)]
    pub tier: Tier,
}

/// A model with the boundaries that its training gives.
#[derive(Debug, PartialEq)]
pub(super) struct Trained {
    pub model: Model,
    pub boundaries: Boundaries,
}

/// What training is told.
#[derive(Clone, Debug)]
pub(super) struct Options {
    pub level_frames: usize,
    pub size: Size,
    pub min_frames: usize,
    pub window_ms: i64,
    pub interval_ms: i64,
    /// Share of frames that may pass a model's boundary.
    pub share: f64,
    /// How much larger that share is of the frame's number; see `score::welcome`.
    pub welcome: f64,
    pub seed: u64,
}

impl Model {
    /// A frame's row for the joint models: the signals that were learnt, in order. What is missing is as expected.
    pub(super) fn row(&self, measures: &[Measure]) -> Vec<f64> {
        let known = self.learned.iter().zip(measures).filter(|(learned, _)| learned.is_some());
        known.map(|(_, one)| one.z).collect()
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
    /// The model in use, which the new one must not be worse than.
    pub against: Option<Against>,
}

/// Why a training came to nothing.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// There is too little to learn from yet.
    TooFew(String),
    /// It failed.
    Failed(String),
    /// The model in use is better.
    Worse(String),
}

impl Job {
    /// Reads, learns, fits, compares.
    pub(super) fn run(mut self) -> Result<Trained, Refusal> {
        let failed = |error: anyhow::Error| Refusal::Failed(format!("{error:#}"));
        let (recent, names) = (std::mem::take(&mut self.recent), self.signals.names());
        let options = &self.options;
        let reach = |most: i64| options.window_ms.min(most * options.interval_ms);
        let stored = Stored {
            history: &*self.history,
            name: &self.name,
            names: &names,
            older_ms: self.upto_ms.saturating_sub(reach(MAX_FRAMES + MAX_OLDER)),
            from_ms: self.upto_ms.saturating_sub(reach(MAX_FRAMES)),
            upto_ms: self.upto_ms,
            interval_ms: options.interval_ms,
            excluded: &self.excluded,
        };
        let stored = Columns::stored(&stored).map_err(failed)?;
        if stored.len() >= recent.len() {
            drop(recent);
            return self.learn(&stored);
        }
        drop(stored);
        self.learn(&Columns::held(&recent))
    }

    fn learn(&self, frames: &Columns<'_>) -> Result<Trained, Refusal> {
        let (signals, options) = (&*self.signals, &self.options);
        let failed = |error: anyhow::Error| Refusal::Failed(format!("{error:#}"));
        if frames.len() < options.min_frames {
            let words = format!("{} of {} frames", frames.len(), options.min_frames);
            return Err(Refusal::TooFew(words));
        }
        let trained = fit(signals, frames, options).map_err(failed)?;
        let worse = match &self.against {
            Some(old) => worse::than(old, &trained, signals, frames, options).map_err(failed)?,
            None => None,
        };
        worse.map_or(Ok(trained), |reason| Err(Refusal::Worse(reason)))
    }
}

/// How much wider the scale against the training is, as long as that has seen few days: three times on the first day, when
/// every night is news, and as measured from the third day on.
pub(super) fn youth(from_ms: i64, upto_ms: i64) -> f64 {
    let days = (upto_ms - from_ms) as f64 / DAY_MS as f64;
    3.0 - (days - 1.0).clamp(0.0, 2.0)
}

/// How much wider every scale of the views is, because it was estimated from few frames: twice as wide after
/// [`FEW_FRAMES`], a twentieth after a day of minutes.
pub(super) fn doubt(frames: usize) -> f64 {
    1.0 + FEW_FRAMES / frames.max(1) as f64
}

/// Learns from `frames`.
pub(super) fn fit(
    signals: &Signals,
    frames: &Columns<'_>,
    options: &Options,
) -> anyhow::Result<Trained> {
    let [from_ms, .., upto_ms] = frames.times[..] else {
        return Err(ModelError::NotEnoughRows { needed: 2, got: frames.len() }.into());
    };
    let chosen = rows::chosen(&frames.times, options.size.rows(), options.seed);
    let n_signals = signals.signals.len();
    let mut seen = Seen {
        youth: youth(from_ms, upto_ms),
        doubt: doubt(frames.len()),
        rows: chosen.iter().map(|_| Vec::with_capacity(n_signals)).collect(),
        chosen: &chosen,
        alarms: vec![0.0; frames.len()],
        largest: vec![Largest::default(); frames.len()],
    };
    let mut learned = Vec::with_capacity(n_signals);
    let all: Vec<usize> = (0..n_signals).collect();
    for some in all.chunks(AT_ONCE) {
        let volumes = some.iter().filter_map(|at| signals.signals[*at].volume);
        let wanted: Vec<usize> = some.iter().copied().chain(volumes).collect();
        let columns = frames.read(&wanted)?;
        let older = frames.read_older(&wanted)?;
        let mut volumes = columns[some.len()..].iter().zip(&older[some.len()..]);
        for ((at, values), older) in some.iter().zip(&columns).zip(&older) {
            let signal = &signals.signals[*at];
            let volumes = signal.volume.and_then(|_| volumes.next());
            let older = Values { own: older, volumes: volumes.map(|(_, older)| older.as_slice()) };
            let values = Values { own: values, volumes: volumes.map(|(all, _)| all.as_slice()) };
            learned.push(seen.learn(signal, &values, &older, frames, options));
        }
    }
    let Seen { rows, alarms, largest, .. } = seen;
    let ensemble = Ensemble::learn(&largest);
    let raw: Vec<f64> = largest.iter().map(|frame| ensemble.raw(frame)).collect();
    drop(largest);
    let (joint, votes) = Joint::fit(&rows, options.share, options.seed, options.size)?;
    let boundaries = Boundaries::learn(options, &raw, &votes, chosen.iter().map(|at| alarms[*at]));
    let tier = tier::of(frames.older.iter().chain(&frames.times).copied());
    let model = Model { learned, ensemble, joint, frames: frames.len(), from_ms, upto_ms, tier };
    Ok(Trained { model, boundaries })
}

/// A signal's values, and those of the signal that counts what it is a share of.
struct Values<'a> {
    own: &'a [f64],
    volumes: Option<&'a [f64]>,
}

impl<'a> Values<'a> {
    /// Time, value and volume of each.
    fn at(&self, times: &'a [i64]) -> impl DoubleEndedIterator<Item = (i64, f64, f64)> + Clone {
        let volumes = self.volumes;
        let volume = move |at: usize| volumes.map_or(f64::NAN, |volumes| volumes[at]);
        let each = times.iter().zip(self.own).enumerate();
        each.map(move |(at, (time_ms, value))| (*time_ms, *value, volume(at)))
    }
}

/// What the signals that were learnt make of the frames.
struct Seen<'a> {
    youth: f64,
    doubt: f64,
    /// The frames that become rows of the joint models, in order, and those rows.
    chosen: &'a [usize],
    rows: Vec<Vec<f64>>,
    /// Of each frame.
    alarms: Vec<f64>,
    largest: Vec<Largest>,
}

impl Seen<'_> {
    /// Learns one signal. Its deviations are made twice rather than kept.
    fn learn(
        &mut self,
        signal: &Signal,
        values: &Values<'_>,
        older: &Values<'_>,
        frames: &Columns<'_>,
        options: &Options,
    ) -> Option<Learned> {
        let older = older.at(&frames.older).map(Sample::alone);
        let mut samples = replay(values.at(&frames.times), options);
        for (one, score) in samples.iter_mut().zip(&frames.scores) {
            if !is_learnt(*score) {
                *one = one.missing();
            }
        }
        let mut facts = learn(signal, &samples, older)?;
        let span = samples.last()?.seconds - samples.first()?.seconds;
        let off = samples.iter().map(|one| off_usual(signal, &facts, one, self.youth));
        facts.drift = drift::usual(span, off);
        for (one, value) in samples.iter_mut().zip(values.own) {
            one.value = *value;
        }
        let youth = self.youth;
        let measured = |facts: &Learned, one: &Sample| measure(signal, facts, one, youth);
        let sigmas = self.chosen.iter().map(|at| measured(&facts, &samples[*at]));
        facts.bound = bound_of(sigmas, options.share);
        let frames = self.alarms.iter_mut().zip(&mut self.largest);
        for ((worst, largest), one) in frames.zip(&samples) {
            *worst = Bars::default().score(&[measured(&facts, one)], |_| true).max(*worst);
            let unit = Unit::of(signal, facts.center, one.volume);
            let wider = (youth, self.doubt);
            largest.add(&facts.usual.deviations(signal, unit, one, wider));
        }
        for (row, at) in self.rows.iter_mut().zip(self.chosen) {
            row.push(measured(&facts, &samples[*at]).z);
        }
        Some(facts)
    }
}

/// The values of one signal with the levels before each.
pub(super) fn replay_level(
    frames: &[Frame],
    signal: usize,
    volume: Option<usize>,
    options: &Options,
) -> Vec<Sample> {
    let volume = |frame: &Frame| volume.map_or(f64::NAN, |volume| frame.values[volume]);
    let each = frames.iter().map(|frame| (frame.time_ms, frame.values[signal], volume(frame)));
    replay(each, options)
}

/// The same from times, values, and volumes.
fn replay(each: impl Iterator<Item = (i64, f64, f64)>, options: &Options) -> Vec<Sample> {
    let mut recent = Levels::new(options.level_frames, options.size);
    each.map(|one| {
        let now = recent.now();
        recent.push(one.1);
        Sample { now, ..Sample::alone(one) }
    })
    .collect()
}

/// The edge of a signal's band. `measured` was taken with a bound of 1: its scores are sigmas. What is mostly zero (errors, say) has
/// few sizes and no tail to extrapolate: never further than twice the largest that was seen.
fn bound_of(measured: impl Iterator<Item = Measure>, share: f64) -> f64 {
    let mut scores = TrailingQuantile::new(WINDOW);
    scores.extend(measured.filter(|one| one.expected.is_finite()).map(|one| one.score));
    let largest = scores.quantile(1.0).unwrap_or(0.0);
    let tail = tail_bound(&scores, share).unwrap_or(0.0).min(2.0 * largest);
    // Beyond it is what was not seen more often than that, were it clipped.
    let seen = observed_bound(&scores, share).unwrap_or(0.0) * (1.0 + 1e-9);
    tail.clamp(*BOUNDS.start(), *BOUNDS.end()).max(seen)
}
