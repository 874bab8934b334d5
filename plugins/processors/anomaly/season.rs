//! What a signal usually is at this hour of this day: Prophet's seasons around a flat level (`sentinel_models::prophet`), in the
//! treated unit, once two days are known (the week's after two weeks). Trends are left to the recent levels: a slope that is
//! carried on for a day is worse than none.

use sentinel_models::prophet::{Growth, Prophet, Scaling, Season as Terms, Settings};
use serde::{Deserialize, Serialize};

/// Means that a season is fitted to: of a fortnight, one for ten minutes.
const MOST_ROWS: usize = 2048;
/// Seconds that must be known.
const LEAST_SPAN: f64 = 2.0 * 86_400.0 - 3600.0;
/// A season that leaves more than this share of the variance is none: it is learnt again each day, also from faults that nobody
/// noticed, and a weak one is mostly those.
const WORTH: f64 = 0.5;

/// The season of one signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Season(Prophet);

impl Season {
    /// Learns from treated values at `seconds`, in time order; what is missing is NaN. `None` when it is too early, or when
    /// the hour says little.
    pub(super) fn learn(seconds: &[f64], treated: &[f64]) -> Option<Season> {
        let span = seconds.last()? - seconds.first()?;
        if span < LEAST_SPAN {
            return None;
        }
        let (times, means) = thinned(seconds, treated);
        let settings = Settings {
            growth: Growth::Flat,
            scaling: Scaling::Spread,
            yearly: Terms::Off,
            robust: true,
            ..Settings::prophet()
        };
        let season = Season(Prophet::fit(&settings, &times, &means).ok()?);
        let residuals: Vec<f64> =
            times.iter().zip(&means).map(|(time, mean)| mean - season.at(*time)).collect();
        (variance(&residuals) < WORTH * variance(&means)).then_some(season)
    }

    /// What is usual at this time, seconds since 1970; treated unit.
    pub(super) fn at(&self, seconds: f64) -> f64 {
        self.0.predict_one(seconds).yhat
    }
}

/// Means of neighbours, at most [`MOST_ROWS`].
fn thinned(seconds: &[f64], treated: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let width = seconds.len().div_ceil(MOST_ROWS).max(1);
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (sum, count) = values.fold((0.0, 0.0), |(sum, count), one| (sum + one, count + 1.0));
        sum / count
    };
    let chunks = seconds.chunks(width).zip(treated.chunks(width));
    let means = chunks.map(|(times, values)| {
        let finite = values.iter().copied().filter(|value| value.is_finite());
        (mean(&mut times.iter().copied()), mean(&mut { finite }))
    });
    means.filter(|(_, value)| value.is_finite()).unzip()
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count
}
