//! What the last rows say beyond the curve: forecasters that are as plain as they are hard to beat, and their blend.
//!
//! Seven forecasters, each a line of [`Experts::forecast`]: the curve; the curve moved by the median residual of the last
//! season; the curve moved by the last residuals, fading fast, and fading slowly; the last season again (seasonal naive); the
//! median of up to five seasons moved to the last one's level; and both again for the week where the season is the day.
//! A blend is a convex combination of them: it is folded into one factor for the curve, three numbers and two tables, so
//! a forecast costs two look-ups and two exponentials more than the curve.

use super::curve::Curve;
use crate::robust::median;

const DAY: f64 = 86_400.0;
/// Bins of a season: 5 minutes of a day, a week in quarter hours.
const MOST_BINS: usize = 672;
/// Seasons looked back at.
const SEASONS_BACK: usize = 5;
/// Most forecasters there are.
pub(super) const EXPERTS: usize = 8;

/// The season that short memory works with, and the length of the forecasts it is judged by; both follow from the step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Rhythm {
    /// Median distance of rows, seconds.
    pub(super) step: f64,
    /// Shortest season: a day for steps below 20 hours, a week below 20 days, else a year.
    pub(super) season: f64,
    /// A day, 30 days, 366 days.
    pub(super) horizon: f64,
}

impl Rhythm {
    pub(super) fn of(seconds: &[f64]) -> Self {
        let steps: Vec<f64> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let step = median(&steps).unwrap_or(0.0);
        let (season, horizon) = match step {
            step if step < 72_000.0 => (DAY, DAY),
            step if step < 20.0 * DAY => (7.0 * DAY, 30.0 * DAY),
            _ => (365.25 * DAY, 366.0 * DAY),
        };
        Self { step, season, horizon }
    }
}

/// Values by phase, bins centred on multiples of their width away from `at`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    pub(super) period: f64,
    pub(super) values: Vec<f64>,
}

impl Table {
    fn bin(period: f64, bins: usize, away: f64) -> usize {
        let turns = away / period;
        ((turns - turns.floor()) * bins as f64 + 0.5) as usize % bins
    }

    fn at(&self, away: f64) -> f64 {
        self.values[Self::bin(self.period, self.values.len(), away)]
    }
}

/// The forecasters, as of the end of a history.
#[derive(Debug, Clone)]
pub(super) struct Experts {
    at: f64,
    level: f64,
    short: f64,
    decays: [f64; 2],
    profiles: Vec<Table>,
}

impl Experts {
    /// `weekly` asks for the profiles of the week beside those of the day.
    pub(super) fn new(
        curve: &Curve,
        seconds: &[f64],
        values: &[f64],
        rhythm: Rhythm,
        weekly: bool,
    ) -> Self {
        let at = seconds[seconds.len() - 1];
        let residual = |from: f64| -> f64 {
            let first =
                seconds.partition_point(|second| *second <= at - from).min(seconds.len() - 1);
            let pairs = seconds[first..].iter().zip(&values[first..]);
            let residuals: Vec<f64> = pairs.map(|(t, y)| y - curve.terms(*t).sum()).collect();
            median(&residuals).unwrap_or(0.0)
        };
        let mut profiles = Vec::new();
        profiles.extend(profile(seconds, values, rhythm.season, rhythm.step));
        if weekly {
            profiles.extend(profile(seconds, values, 7.0 * DAY, rhythm.step));
        }
        Self {
            at,
            level: residual(rhythm.season),
            short: residual((rhythm.season / 24.0).max(rhythm.step * 1.5)),
            decays: [rhythm.season / 6.0, rhythm.season],
            profiles: profiles.into_iter().flatten().collect(),
        }
    }

    pub(super) fn count(&self) -> usize {
        4 + self.profiles.len()
    }

    /// Every forecaster's value at `second`, where the curve says `curve`.
    pub(super) fn forecast(&self, curve: f64, second: f64) -> [f64; EXPERTS] {
        let away = second - self.at;
        let mut all = [0.0; EXPERTS];
        all[0] = curve;
        all[1] = curve + self.level;
        all[2] = curve + self.short * (-away / self.decays[0]).exp();
        all[3] = curve + self.short * (-away / self.decays[1]).exp();
        all[4..].iter_mut().zip(&self.profiles).for_each(|(value, table)| *value = table.at(away));
        all
    }

    /// The forecasters in these shares as one.
    pub(super) fn blend(&self, weights: &[f64; EXPERTS]) -> Recent {
        let mut tables: Vec<Table> = Vec::new();
        for (profile, weight) in self.profiles.iter().zip(&weights[4..]) {
            match tables.iter_mut().find(|table| table.period == profile.period) {
                Some(table) => {
                    let pairs = table.values.iter_mut().zip(&profile.values);
                    pairs.for_each(|(sum, value)| *sum += weight * value);
                }
                None => tables.push(Table {
                    period: profile.period,
                    values: profile.values.iter().map(|value| weight * value).collect(),
                }),
            }
        }
        Recent {
            at: self.at,
            curve: weights[..4].iter().sum(),
            level: weights[1] * self.level,
            short: [weights[2] * self.short, weights[3] * self.short],
            decays: self.decays,
            tables,
        }
    }
}

/// A blend, ready to forecast.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Recent {
    /// Last row.
    pub(super) at: f64,
    /// Share of the curve.
    pub(super) curve: f64,
    pub(super) level: f64,
    pub(super) short: [f64; 2],
    pub(super) decays: [f64; 2],
    pub(super) tables: Vec<Table>,
}

impl Recent {
    /// The forecast at `second`, where the curve says `curve`; the curve itself up to the last row.
    pub(super) fn forecast(&self, curve: f64, second: f64) -> f64 {
        let away = second - self.at;
        if away <= 0.0 {
            return curve;
        }
        let mut sum = self.curve * curve + self.level;
        for (short, decay) in self.short.iter().zip(self.decays) {
            if *short != 0.0 {
                sum += short * (-away / decay).exp();
            }
        }
        sum + self.tables.iter().map(|table| table.at(away)).sum::<f64>()
    }
}

/// Last season, and the typical one at its level; `None` if the step leaves no two bins or there is not a
/// season and a half of history.
fn profile(seconds: &[f64], values: &[f64], period: f64, step: f64) -> Option<[Table; 2]> {
    let bins = ((period / step.max(1e-9)).round() as usize).min(MOST_BINS);
    let at = seconds[seconds.len() - 1];
    if bins < 2 || at - seconds[0] < 1.5 * period {
        return None;
    }
    let mut sums = vec![(0.0, 0_u32); SEASONS_BACK * bins];
    for (second, value) in seconds.iter().zip(values).rev() {
        let back = at - second;
        let season = (back / period + 0.5 / bins as f64) as usize;
        if season >= SEASONS_BACK {
            break;
        }
        let cell = &mut sums[season * bins + Table::bin(period, bins, -back)];
        *cell = (cell.0 + value, cell.1 + 1);
    }
    let cell = |season: usize, bin: usize| {
        let (sum, count) = sums[season * bins + bin];
        (count > 0).then(|| sum / f64::from(count))
    };
    let newest =
        |bin: usize| (0..SEASONS_BACK).find_map(|season| cell(season, bin)).unwrap_or(f64::NAN);
    let mut last: Vec<f64> = (0..bins).map(newest).collect();
    let typical = |bin: usize| {
        let here: Vec<f64> = (0..SEASONS_BACK).filter_map(|season| cell(season, bin)).collect();
        median(&here).unwrap_or(f64::NAN)
    };
    let mut usual: Vec<f64> = (0..bins).map(typical).collect();
    fill(&mut last);
    fill(&mut usual);
    let shift = last.iter().zip(&usual).map(|(a, b)| a - b).sum::<f64>() / bins as f64;
    for value in &mut usual {
        *value += shift;
    }
    Some([Table { period, values: last }, Table { period, values: usual }])
}

/// Empty bins get the line between their neighbours, around the circle.
fn fill(values: &mut [f64]) {
    let n = values.len();
    let Some(first) = values.iter().position(|value| !value.is_nan()) else { return };
    let (mut before, mut gap) = (values[first], 0);
    for i in 1..=n {
        let at = (first + i) % n;
        if values[at].is_nan() {
            gap += 1;
            continue;
        }
        for k in 1..=gap {
            let share = k as f64 / (gap + 1) as f64;
            values[(first + i - gap + k - 1) % n] = before + share * (values[at] - before);
        }
        (before, gap) = (values[at], 0);
    }
}
