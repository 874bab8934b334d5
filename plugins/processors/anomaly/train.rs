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

use super::columns::{Columns, Stored};
use super::joint::{JOINT, Joint, Votes};
use super::rows;
use super::score::{Boundary, Scale, Trailing, WINDOW, tail_bound};
use super::signals::{Signal, Signals};
use super::tier;
use super::treat::{Learned, Measure, Sample, Unit, learn, measure};
use super::views::{Ensemble, Largest, Levels};
use super::worse::{self, Against};

/// Rows the joint models are fitted on; of more, `rows` chooses (a forest reads 25,600 values at most anyway).
const MAX_ROWS: usize = 4096;
/// Signals whose values are in memory at once.
const AT_ONCE: usize = 6;
/// Frames read from history at all.
const MAX_FRAMES: i64 = 20_160;
/// Edges of a band, in robust standard deviations: never so near that counting noise passes, never beyond the clip.
const BOUNDS: std::ops::RangeInclusive<f64> = 4.0..=12.0;
/// A written score that means beyond the boundary, and for long.
const LONG_BEYOND: f64 = 2.0;
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

/// The boundaries of every score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Boundaries {
    /// Of the frame's number, over a day of minutes: what the written score is measured in.
    pub frame: Trailing,
    /// The same over two days: what the evidence for an incident is measured in.
    pub days: Trailing,
    /// The same over a fortnight: what one frame alone must be beyond to be enough.
    pub fortnight: Trailing,
    /// Of the joint models.
    pub joint: Vec<Boundary>,
    /// Of the signals' own tests.
    pub robust_z: Boundary,
}

/// Raw scores of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Raw {
    pub frame: f64,
    pub joint: Votes,
    pub robust_z: f64,
}

impl Raw {
    /// The larger of each.
    pub(super) fn max(&self, other: &Raw) -> Raw {
        Raw {
            frame: self.frame.max(other.frame),
            joint: std::array::from_fn(|model| self.joint[model].max(other.joint[model])),
            robust_z: self.robust_z.max(other.robust_z),
        }
    }
}

impl Boundaries {
    /// Takes a frame's raw scores into account; `open` while there is an incident, `held` while it is confirmed and young.
    ///
    /// Those of the frame's number move on even then, that of evidence once it looks back on two whole days: what
    /// is usual today is not to call all day. A shorter one would learn the incident. An incident goes on as long as
    /// there is evidence, whatever the score's boundary has learnt of it.
    pub(super) fn push(&mut self, raw: &Raw, open: bool, held: bool) {
        if !open || self.days.is_whole() {
            self.days.push(raw.frame);
        }
        self.frame.push(raw.frame);
        self.fortnight.push(raw.frame);
        if held {
            return;
        }
        for (boundary, raw) in self.joint.iter_mut().zip(raw.joint) {
            boundary.push(raw);
        }
        self.robust_z.push(raw.robust_z);
    }
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
        let reach = options.window_ms.min(MAX_FRAMES * options.interval_ms);
        let stored = Stored {
            history: &*self.history,
            name: &self.name,
            names: &names,
            from_ms: self.upto_ms.saturating_sub(reach),
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
    let chosen = rows::chosen(&frames.times, MAX_ROWS, options.seed);
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
        let mut volumes = columns[some.len()..].iter();
        for (at, values) in some.iter().zip(&columns) {
            let signal = &signals.signals[*at];
            let volumes = signal.volume.and_then(|_| volumes.next()).map(Vec::as_slice);
            learned.push(seen.learn(signal, values, volumes, frames, options));
        }
    }
    let Seen { rows, alarms, largest, .. } = seen;
    let ensemble = Ensemble::learn(&largest);
    let raw: Vec<f64> = largest.iter().map(|frame| ensemble.raw(frame)).collect();
    drop(largest);
    let (joint, votes) = Joint::fit(&rows, options.seed)?;
    let of_joint = |model: usize| {
        Boundary::new(Scale::Tail, options.share, votes.iter().map(|votes| votes[model]))
    };
    let boundaries = Boundaries {
        frame: Trailing::day(options.welcome, raw.iter().copied()),
        days: Trailing::days(raw.iter().copied()),
        fortnight: Trailing::fortnight(options.welcome, raw.iter().copied()),
        joint: (0..JOINT).map(of_joint).collect(),
        robust_z: Boundary::new(Scale::Ratio, options.share, chosen.iter().map(|at| alarms[*at])),
    };
    let tier = tier::of(frames.times.iter().copied());
    let model = Model { learned, ensemble, joint, frames: frames.len(), from_ms, upto_ms, tier };
    Ok(Trained { model, boundaries })
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
        values: &[f64],
        volumes: Option<&[f64]>,
        frames: &Columns<'_>,
        options: &Options,
    ) -> Option<Learned> {
        let volume = |at: usize| volumes.map_or(f64::NAN, |volumes| volumes[at]);
        let each = values.iter().enumerate();
        let each = each.map(|(at, value)| (frames.times[at], *value, volume(at)));
        let mut samples = replay(each, options.level_frames);
        for (one, score) in samples.iter_mut().zip(&frames.scores) {
            if !is_learnt(*score) {
                *one = one.missing();
            }
        }
        let mut facts = learn(signal, &samples)?;
        for (one, value) in samples.iter_mut().zip(values) {
            one.value = *value;
        }
        let youth = self.youth;
        let measured = |facts: &Learned, one: &Sample| measure(signal, facts, one, youth);
        let sigmas = self.chosen.iter().map(|at| measured(&facts, &samples[*at]));
        facts.bound = bound_of(sigmas, options.share);
        let frames = self.alarms.iter_mut().zip(&mut self.largest);
        for ((worst, largest), one) in frames.zip(&samples) {
            *worst = alarm([measured(&facts, one)].into_iter()).max(*worst);
            let unit = Unit::of(signal, facts.center, one.volume);
            let wider = (youth, self.doubt);
            let season = facts.usual_at(one.seconds);
            largest.add(&facts.usual.deviations(signal, unit, one, season, wider));
        }
        for (row, at) in self.rows.iter_mut().zip(self.chosen) {
            row.push(measured(&facts, &samples[*at]).z);
        }
        Some(facts)
    }
}

/// Scales do not learn from frames that were far beyond the boundary for long when they came, or they would stop seeing such
/// faults (measured on the development machines with daily training: PR-AUC .43 with those frames, .48 without). The
/// boundaries do.
fn is_learnt(score: f64) -> bool {
    score.is_nan() || score < LONG_BEYOND
}

/// The guard's raw score: the largest of the signals that are far enough from what is expected, the way that hurts.
pub(super) fn alarm(measures: impl Iterator<Item = Measure>) -> f64 {
    measures.filter(|one| one.counts).map(|one| one.score).fold(0.0, f64::max)
}

/// The values of one signal with the levels before each.
pub(super) fn replay_level(
    frames: &[Frame],
    signal: usize,
    volume: Option<usize>,
    level_frames: usize,
) -> Vec<Sample> {
    let volume = |frame: &Frame| volume.map_or(f64::NAN, |volume| frame.values[volume]);
    let each = frames.iter().map(|frame| (frame.time_ms, frame.values[signal], volume(frame)));
    replay(each, level_frames)
}

/// The same from times, values, and volumes.
fn replay(each: impl Iterator<Item = (i64, f64, f64)>, level_frames: usize) -> Vec<Sample> {
    let mut recent = Levels::new(level_frames);
    each.map(|(time_ms, value, volume)| {
        let now = recent.now();
        recent.push(value);
        Sample { seconds: time_ms as f64 / 1000.0, value, volume, now }
    })
    .collect()
}

/// The edge of a signal's band. `measured` was taken with a bound of 1: its scores are sigmas.
fn bound_of(measured: impl Iterator<Item = Measure>, share: f64) -> f64 {
    let mut scores = TrailingQuantile::new(WINDOW);
    scores.extend(measured.filter(|one| one.expected.is_finite()).map(|one| one.score));
    tail_bound(&scores, share).unwrap_or(*BOUNDS.start()).clamp(*BOUNDS.start(), *BOUNDS.end())
}
