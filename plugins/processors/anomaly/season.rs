//! What a signal usually is at this hour of this day: Prophet's seasons around a flat level (`sentinel_models::prophet`), in the
//! treated unit, once two days are known (the week's after two weeks). Trends are left to the recent levels: a slope that is
//! carried on for a day is worse than none.

use sentinel_models::prophet::{Growth, Prophet, Scaling, Season as Terms, Settings};
use serde::{Deserialize, Serialize};

/// Means that a season is fitted to: of a fortnight, one for ten minutes.
const MOST_ROWS: f64 = 2048.0;
const DAY: f64 = 86_400.0;
/// Seconds that must be known of a season, and its harmonics (Prophet's). A window that is just as long holds a frame less at
/// each end, which Prophet's own rule does not forgive.
const DAILY: (f64, usize) = (2.0 * DAY - SLACK, 4);
const WEEKLY: (f64, usize) = (14.0 * DAY - SLACK, 3);
const SLACK: f64 = 3600.0;
/// A season that leaves more than this share of the variance is none, the week's of what the day's leaves: it is learnt again each
/// day, also from faults that nobody noticed, and a weak one is mostly those (two weeks are two samples of a week: on the development
/// machines the week's everywhere cost .007 of PR-AUC).
const WORTH: f64 = 0.5;

/// The season of one signal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Season(Prophet);

impl Season {
    /// Learns from treated values at seconds since 1970, in time order; what is missing is NaN. `None` when it is too early, or when
    /// the hour says little.
    pub(super) fn learn(
        treated: impl DoubleEndedIterator<Item = (f64, f64)> + Clone,
    ) -> Option<Season> {
        let (first, last) = (treated.clone().next()?.0, treated.clone().next_back()?.0);
        let span = last - first;
        if span < DAILY.0 {
            return None;
        }
        let (times, means) = thinned(treated, span / MOST_ROWS);
        let mut season = Fitted::of(&times, &means, Terms::Off)?;
        if span >= WEEKLY.0 {
            let weekly = Fitted::of(&times, &means, Terms::Order(WEEKLY.1))?;
            if weekly.left < WORTH * season.left {
                season = weekly;
            }
        }
        (season.left < WORTH * variance(&means)).then_some(season.season)
    }

    /// What is usual at this time, seconds since 1970; treated unit.
    pub(super) fn at(&self, seconds: f64) -> f64 {
        self.0.predict_one(seconds).yhat
    }
}

/// A season, and the variance that it leaves.
struct Fitted {
    season: Season,
    left: f64,
}

impl Fitted {
    fn of(times: &[f64], means: &[f64], weekly: Terms) -> Option<Fitted> {
        let settings = Settings {
            growth: Growth::Flat,
            scaling: Scaling::Spread,
            daily: Terms::Order(DAILY.1),
            weekly,
            yearly: Terms::Off,
            robust: true,
            ..Settings::prophet()
        };
        let season = Season(Prophet::fit(&settings, times, means).ok()?);
        let each = times.iter().zip(means);
        let residuals: Vec<f64> = each.map(|(time, mean)| mean - season.at(*time)).collect();
        Some(Fitted { season, left: variance(&residuals) })
    }
}

/// The means of so many seconds each: time and value.
fn thinned(treated: impl Iterator<Item = (f64, f64)>, width: f64) -> (Vec<f64>, Vec<f64>) {
    let mut means: Vec<Mean> = Vec::new();
    for (seconds, value) in treated.filter(|(_, value)| value.is_finite()) {
        match means.last_mut() {
            Some(mean) if seconds - mean.begins < width => mean.add(seconds, value),
            _ => means.push(Mean { begins: seconds, seconds, value, count: 1.0 }),
        }
    }
    means.into_iter().map(|mean| (mean.seconds / mean.count, mean.value / mean.count)).unzip()
}

/// Sums on their way to a mean.
struct Mean {
    begins: f64,
    seconds: f64,
    value: f64,
    count: f64,
}

impl Mean {
    fn add(&mut self, seconds: f64, value: f64) {
        self.seconds += seconds;
        self.value += value;
        self.count += 1.0;
    }
}

fn variance(values: &[f64]) -> f64 {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / count
}
