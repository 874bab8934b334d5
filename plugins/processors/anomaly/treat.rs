//! How far a signal is from what is usual: in robust standard deviations, and as a band for people.
//!
//! Two residuals, because one alone hides either slow or long faults (DESIGN section 6): against the recent level
//! (a rolling median) and against the median of the training. Each is divided by its robust scale in training, with a
//! floor that knows the noise of counting (Poisson: a count of m has a standard deviation of sqrt(m)), and clipped.
//! The larger one speaks. Missing is NaN, not zero. Once two days are known, its season stands for the median of the training, and
//! a small shift that lasts is unusual as well (`drift`).

use sentinel_contract::incident::Direction;
use sentinel_models::change_rank::Baseline;
use sentinel_models::robust::{MAD_TO_SIGMA, mad};
use serde::{Deserialize, Serialize};

use super::drift;
use super::season::Season;
use super::signals::{Signal, Treatment};
use super::suspects::LEVEL_FRAMES;
use super::treatment::{Unit, is_watched, matters};
use super::views::{Now, Usual};

/// Residuals are cut off here in the rows of the joint models, and grow slowly beyond it in a signal's own test.
pub(super) const CLIP: f64 = 20.0;
const FURTHEST: f64 = 1e12;

/// What was learnt of one signal. Serialised with the model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Learned {
    /// Median in training, or the pooled share of a rate; the signal's unit.
    pub center: f64,
    /// Robust scale of the residual against the recent level; treated unit.
    pub level_scale: f64,
    /// Robust scale of the residual against the season, or `center`; treated unit.
    pub base_scale: f64,
    /// What is usual at an hour, once that is known.
    #[serde(default)]
    pub season: Option<Season>,
    /// How many scales make the edge of the band.
    pub bound: f64,
    /// The longest shift that is usual (`drift`), once that is known.
    #[serde(default)]
    pub drift: Option<f64>,
    /// No value in training was negative: neither is its band.
    pub non_negative: bool,
    /// The 1 % quantile in training; the signal's unit.
    pub low: f64,
    /// For the three views of the frame.
    pub usual: Usual,
    /// For the ranking of suspects; `None` when it speaks too rarely.
    pub baseline: Option<Baseline>,
}

/// One signal in one frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Measure {
    /// The signal's unit; NaN when it is missing.
    pub value: f64,
    pub expected: f64,
    pub lower: f64,
    pub upper: f64,
    /// Robust standard deviations from the expected, clipped; positive is above. 0 when it is missing.
    pub z: f64,
    /// 1.0 at the edge of the band, counted only in the direction that is watched.
    pub score: f64,
    /// The least deviation is met, in the direction that is watched.
    pub counts: bool,
    /// A small shift that lasts, 1.0 where it is unusual; from there on it is the score, unless that is larger.
    pub drift: f64,
}

impl Measure {
    /// A signal of which nothing can be said.
    pub(super) fn unknown(value: f64) -> Self {
        let nan = f64::NAN;
        Measure {
            value,
            expected: nan,
            lower: nan,
            upper: nan,
            z: 0.0,
            score: 0.0,
            counts: false,
            drift: 0.0,
        }
    }

    /// It is the lasting shift that is unusual, more than the value.
    pub(super) fn has_drifted(&self) -> bool {
        self.drift >= 1.0 && self.drift >= self.score
    }

    /// Which way it lies from the expected.
    pub(super) fn direction(&self) -> Direction {
        if self.value < self.expected { Direction::Down } else { Direction::Up }
    }
}

/// A residual: robust standard deviations, and what it is measured against.
#[derive(Clone, Copy)]
struct Residual {
    z: f64,
    expected: f64,
    scale: f64,
}

fn residual(
    unit: Unit,
    signal: &Signal,
    value: f64,
    expected: f64,
    scale: f64,
) -> Option<Residual> {
    let scale = scale.max(unit.floor(signal, value, expected));
    let z = (unit.treat(value) - unit.treat(expected)) / scale;
    (!z.is_nan()).then(|| Residual { z: damped(z), expected, scale })
}

/// Beyond the clip a deviation's logarithm counts on: what is far beyond all bands can still be further than ever.
fn damped(z: f64) -> f64 {
    let over = (z.abs().min(FURTHEST) / CLIP).max(1.0);
    z.clamp(-CLIP, CLIP) * (1.0 + over.ln())
}

/// Measures a sample. `youth` (1.0 and more) widens the scale against the training as long as that has not seen a whole day.
pub(super) fn measure(signal: &Signal, learned: &Learned, sample: &Sample, youth: f64) -> Measure {
    let Sample { value, volume, .. } = *sample;
    let unit = Unit::of(signal, learned.center, volume);
    let recent = sample
        .now
        .short()
        .and_then(|level| residual(unit, signal, value, level, learned.level_scale));
    let base = against_usual(signal, learned, sample, youth);
    let chosen = match (recent, base) {
        (Some(recent), Some(base)) if base.z.abs() > recent.z.abs() => base,
        (Some(recent), _) => recent,
        (None, Some(base)) => base,
        (None, None) => return Measure::unknown(value),
    };
    let drift = base.map_or(0.0, |base| drift::score(sample.shift, base.z, learned.drift));
    // What has been off for long is outside a band that is as much narrower.
    let (chosen, bound) = match base {
        Some(base) if drift >= 1.0 && drift > chosen.z.abs() / learned.bound => {
            (base, base.z.abs() / drift)
        }
        _ => (chosen, learned.bound),
    };
    let edge = bound * chosen.scale;
    let middle = unit.treat(chosen.expected);
    let lower = unit.undo(middle - edge);
    let lower = if learned.non_negative { lower.max(0.0) } else { lower };
    let counts = matters(signal, value, chosen.expected, volume);
    Measure {
        value,
        expected: chosen.expected,
        lower,
        upper: unit.undo(middle + edge),
        z: chosen.z.clamp(-CLIP, CLIP),
        score: if is_watched(signal, value - chosen.expected) {
            chosen.z.abs() / bound
        } else {
            0.0
        },
        counts,
        drift,
    }
}

/// Against the season, or the median of the training.
fn against_usual(
    signal: &Signal,
    learned: &Learned,
    sample: &Sample,
    youth: f64,
) -> Option<Residual> {
    let unit = Unit::of(signal, learned.center, sample.volume);
    let usual = learned.usual_at(sample.seconds).map_or(learned.center, |usual| unit.undo(usual));
    residual(unit, signal, sample.value, usual, learned.base_scale * youth)
}

/// How far a sample is from what is usual at its time, in robust standard deviations; NaN when that is unknown.
pub(super) fn off_usual(signal: &Signal, learned: &Learned, sample: &Sample, youth: f64) -> f64 {
    against_usual(signal, learned, sample, youth).map_or(f64::NAN, |residual| residual.z)
}

impl Learned {
    /// What the season says of a time (seconds since 1970), in the treated unit.
    pub(super) fn usual_at(&self, seconds: f64) -> Option<f64> {
        self.season.as_ref().map(|season| season.at(seconds))
    }
}

/// One value of a signal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    /// Seconds since 1970.
    pub seconds: f64,
    /// The signal's unit; NaN when it is missing.
    pub value: f64,
    /// What a rate is a share of; NaN when it is none.
    pub volume: f64,
    /// The recent levels before it.
    pub now: Now,
    /// How long it has been off, with it (`drift`).
    pub shift: f64,
}

impl Sample {
    /// Of this time (in ms), value and volume, with nothing before it.
    pub(super) fn alone((time_ms, value, volume): (i64, f64, f64)) -> Self {
        let seconds = time_ms as f64 / 1000.0;
        Sample { seconds, value, volume, now: Now::UNKNOWN, shift: 0.0 }
    }

    /// The same moment, without the value.
    pub(super) fn missing(self) -> Self {
        Sample { value: f64::NAN, ..self }
    }
}

/// Learns a signal's center and scales; `None` when it was missing in most of the samples. Those before them, `older`, are for
/// the season only. The bound is set afterwards.
pub(super) fn learn(
    signal: &Signal,
    samples: &[Sample],
    older: impl DoubleEndedIterator<Item = Sample> + Clone,
) -> Option<Learned> {
    let values: Vec<f64> =
        samples.iter().map(|sample| sample.value).filter(|v| v.is_finite()).collect();
    if values.len() * 2 < samples.len() || values.len() < 2 {
        return None;
    }
    let mut sorted = values;
    sorted.sort_unstable_by(f64::total_cmp);
    let quantile = |q| sentinel_models::robust::quantile_of_sorted(&sorted, q).unwrap_or(f64::NAN);
    let center = match signal.treatment {
        Treatment::Rate => pooled(samples).unwrap_or_else(|| quantile(0.5)),
        Treatment::Level | Treatment::Count => quantile(0.5),
    };
    let distances = |against: &dyn Fn(&Sample) -> Option<f64>| -> f64 {
        let residuals: Vec<f64> = (samples.iter())
            .filter_map(|sample| {
                let unit = Unit::of(signal, center, sample.volume);
                Some(unit.treat(sample.value) - unit.treat(against(sample)?))
            })
            .collect();
        MAD_TO_SIGMA * mad(&residuals).unwrap_or(0.0)
    };
    let treat = |sample: &Sample, x: Option<f64>| {
        x.map_or(f64::NAN, |x| Unit::of(signal, center, sample.volume).treat(x))
    };
    let series = |of: &dyn Fn(&Sample) -> Option<f64>| -> Vec<f64> {
        samples.iter().map(|sample| treat(sample, of(sample))).collect()
    };
    let treated = series(&|sample| Some(sample.value));
    let seconds: Vec<f64> = samples.iter().map(|sample| sample.seconds).collect();
    let before = older.map(|sample| (sample.seconds, treat(&sample, Some(sample.value))));
    let season = Season::learn(before.chain(seconds.iter().copied().zip(treated.iter().copied())));
    let usual: Option<Vec<f64>> =
        season.as_ref().map(|season| seconds.iter().map(|time| season.at(*time)).collect());
    let base_scale = match &usual {
        Some(usual) => {
            let off: Vec<f64> = treated.iter().zip(usual).map(|(t, usual)| t - usual).collect();
            MAD_TO_SIGMA * mad(&off).unwrap_or(0.0)
        }
        None => distances(&|_| Some(center)),
    };
    let (middle, long) =
        (series(&|sample| sample.now.middle()), series(&|sample| sample.now.long()));
    Some(Learned {
        center,
        level_scale: distances(&|sample| sample.now.short()),
        base_scale,
        bound: 1.0,
        drift: None,
        non_negative: sorted[0] >= 0.0,
        low: quantile(0.01),
        usual: Usual::learn(&treated, usual.as_deref(), &middle, &long)?,
        season,
        baseline: Baseline::fit(&treated, LEVEL_FRAMES),
    })
}

/// The share of all of them: the median of many small shares is zero.
fn pooled(samples: &[Sample]) -> Option<f64> {
    let both = samples.iter().filter(|sample| (sample.value * sample.volume).is_finite());
    let (part, whole) = both.fold((0.0, 0.0), |(part, whole), sample| {
        (part + sample.value * sample.volume, whole + sample.volume)
    });
    (whole > 0.0).then(|| part / whole)
}
