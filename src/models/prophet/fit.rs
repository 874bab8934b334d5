//! From rows to a [`Curve`]: scaling, the rounds of reweighting, and the linearisation of multiplicative mode.
//!
//! Additive without `robust` is one pass over the rows and one [`solve`]. `robust` repeats both with Huber's weights
//! `min(1, 1.345 s / |r|)`, s the normalised median of |r|. Multiplicative mode is `y = g (1 + x)`: around the last
//! `g0`, `x0` it is `y + g0 x0 = g (1 + x0) + g0 x`, linear in both (Gauss and Newton's step); it repeats until the curve
//! stands still.

use super::curve::{Columns, Curve};
use super::gram::{Normal, Row};
use super::recent::Rhythm;
use super::settings::{Growth, Mode, Scaling, Settings};
use super::solve::{Priors, Solution, solve};
use crate::ModelError;
use crate::robust::{MAD_TO_SIGMA, quantile_of_sorted};

/// Huber's constant: 95 % of the efficiency of least squares under normal noise.
const HUBER: f64 = 1.345;
/// Rounds of reweighting alone: the weights settle to about 1 %.
const ROBUST_ROUNDS: usize = 6;
/// Rounds of Gauss and Newton.
const MULTIPLICATIVE_ROUNDS: usize = 50;

/// Rows above which a fit that adapts averages neighbours: a week of 5 minutes stays as it is.
const MOST_ROWS: usize = 2048;
/// Rows of the shortest season that averaging leaves: half hours of a day, and never two days of a week.
const LEAST_A_SEASON: f64 = 48.0;

/// [`curve`] of means of as many neighbouring rows as it takes to have at most [`MOST_ROWS`]: the noise of a finer step
/// would only make the trend more nimble, at more cost.
pub(super) fn thinned(
    settings: &Settings,
    seconds: &[f64],
    values: &[f64],
    rhythm: Rhythm,
) -> Result<Curve, ModelError> {
    let most = rhythm.season / LEAST_A_SEASON / rhythm.step.max(1e-9);
    let group = seconds.len().div_ceil(MOST_ROWS).min(most as usize);
    if group < 2 {
        return curve(settings, seconds, values);
    }
    let means = |values: &[f64]| -> Vec<f64> {
        let groups = values.chunks(group);
        groups.map(|group| group.iter().sum::<f64>() / group.len() as f64).collect()
    };
    let mut curve = curve(settings, &means(seconds), &means(values))?;
    curve.sigma *= (group as f64).sqrt();
    Ok(curve)
}

/// Fits to finite values at ascending seconds.
///
/// # Errors
/// [`ModelError::NotEnoughRows`] below two distinct times; [`ModelError::Shape`] if the numbers are too extreme.
pub(super) fn curve(
    settings: &Settings,
    seconds: &[f64],
    values: &[f64],
) -> Result<Curve, ModelError> {
    enough(seconds)?;
    let (start, span) = (seconds[0], seconds[seconds.len() - 1] - seconds[0]);
    let Some((center, scale)) = scaling(settings, values) else {
        return Ok(Curve::level(start, span, values[0]));
    };
    let mut curve = Curve::level(start, span, center);
    (curve.scale, curve.mode) = (scale, settings.mode);

    let columns = Columns::new(settings, seconds);
    let scaled: Vec<f64> = values.iter().map(|value| (value - center) / scale).collect();
    let fitted = rounds(settings, &columns, &scaled, &priors(settings, &columns))
        .ok_or_else(|| ModelError::Shape("numbers too extreme to fit".to_owned()))?;
    curve.sigma = fitted.variance.sqrt();
    curve.set(&columns, &settings.calendars, &fitted.theta);
    Ok(curve)
}

/// A line needs two distinct times.
pub(super) fn enough(seconds: &[f64]) -> Result<(), ModelError> {
    match seconds {
        [first, .., last] if first < last => Ok(()),
        _ => Err(ModelError::NotEnoughRows { needed: 2, got: seconds.len().min(1) }),
    }
}

/// Center and scale; `None` if all values are the same.
fn scaling(settings: &Settings, values: &[f64]) -> Option<(f64, f64)> {
    let (least, most) =
        values.iter().fold((f64::MAX, f64::MIN), |(a, b), v| (a.min(*v), b.max(*v)));
    if least >= most {
        return None;
    }
    let absolute = least.abs().max(most.abs());
    if settings.scaling == Scaling::AbsMax {
        return Some((0.0, absolute));
    }
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let at = |q| quantile_of_sorted(&sorted, q).unwrap_or(0.0);
    let (low, middle, high) = (at(0.01), at(0.5), at(0.99));
    if settings.mode == Mode::Multiplicative {
        let scale = low.abs().max(high.abs());
        return Some((0.0, if scale > 0.0 { scale } else { absolute }));
    }
    let scale = (high - middle).max(middle - low);
    Some((middle, if scale > 0.0 { scale } else { (most - middle).max(middle - least) }))
}

fn priors(settings: &Settings, columns: &Columns) -> Priors {
    let seasons = columns.effects - settings.calendars.len();
    let mut effects = vec![settings.seasonality_prior.powi(-2); seasons];
    effects.resize(columns.effects, settings.calendar_prior.powi(-2));
    // Level and slope have a standard deviation of 5 in the paper's code.
    let slope = if settings.growth == Growth::Flat { f64::INFINITY } else { 1.0 / 25.0 };
    // Between rounds of reweighting more digits than the weights have would be wasted: 30 % of a fit.
    let tolerance = if settings.robust { 1e-4 } else { 1e-9 };
    Priors { slope, offset: 1.0 / 25.0, effects, change: settings.changepoint_prior, tolerance }
}

fn rounds(
    settings: &Settings,
    columns: &Columns,
    values: &[f64],
    priors: &Priors,
) -> Option<Solution> {
    let multiplicative = settings.mode == Mode::Multiplicative;
    let rows = values.len() as f64;
    let mut weights = vec![1.0; values.len()];
    let mut parts = vec![(0.0, 0.0); values.len()];
    let row = |weight: f64, (trend, effect): (f64, f64), value: f64| {
        if multiplicative {
            return Row {
                weight,
                trend: 1.0 + effect,
                effect: trend,
                target: value + trend * effect,
            };
        }
        Row { weight, trend: 1.0, effect: 1.0, target: value }
    };
    let mut solution: Option<Solution> = None;
    let most = match (multiplicative, settings.robust) {
        (true, _) => MULTIPLICATIVE_ROUNDS,
        (false, true) => ROBUST_ROUNDS,
        (false, false) => 1,
    };
    for round in 0..most {
        let normal = Normal::build(columns, |i| row(weights[i], parts[i], values[i]));
        let next = solve(&normal, priors, rows, solution.as_ref())?;
        let before = parts.clone();
        evaluate(columns, &next.theta, &mut parts);
        solution = Some(next);
        let moved =
            parts.iter().zip(&before).map(|(a, b)| (a.0 - b.0).abs().max((a.1 - b.1).abs()));
        let moved = moved.fold(0.0, f64::max);
        if settings.robust && round + 1 < most {
            let whole = |(trend, effect): (f64, f64)| {
                if multiplicative { trend * (1.0 + effect) } else { trend + effect }
            };
            let residuals: Vec<f64> =
                values.iter().zip(&parts).map(|(v, part)| v - whole(*part)).collect();
            reweight(&residuals, &mut weights);
        }
        if round > 0 && moved < if settings.robust { 1e-3 } else { 1e-9 } {
            break;
        }
    }
    solution
}

/// Trend and sum of effects of each row.
fn evaluate(columns: &Columns, theta: &[f64], parts: &mut [(f64, f64)]) {
    let (trend, effects) = theta.split_at(2 + columns.changepoints.len());
    let (mut slope, mut offset, mut at) = (trend[0], trend[1], 0);
    for (i, (&t, part)) in columns.t.iter().zip(parts).enumerate() {
        while at < columns.changepoints.len() && columns.changepoints[at] <= t {
            slope += trend[2 + at];
            offset -= trend[2 + at] * columns.changepoints[at];
            at += 1;
        }
        let sum: f64 =
            columns.row(i).iter().zip(effects).map(|(value, effect)| value * effect).sum();
        *part = (slope * t + offset, sum);
    }
}

fn reweight(residuals: &[f64], weights: &mut [f64]) {
    let mut sizes: Vec<f64> = residuals.iter().map(|residual| residual.abs()).collect();
    let middle = sizes.len() / 2;
    let (_, median, _) = sizes.select_nth_unstable_by(middle, f64::total_cmp);
    let bound = HUBER * MAD_TO_SIGMA * *median;
    if bound > 0.0 {
        weights
            .iter_mut()
            .zip(residuals)
            .for_each(|(weight, r)| *weight = (bound / r.abs()).min(1.0));
    }
}
