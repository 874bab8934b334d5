//! Forecasts made inside the history: they choose the curve's form, the blend and the width of the band.
//!
//! Up to five origins, one horizon apart, back from the end, as long as a third of the history lies before them. From each
//! origin every form of curve is fitted to what lies before and compared with what came: no forecast sees its own future.

use super::curve::Curve;
use super::fit;
use super::recent::{EXPERTS, Experts, Rhythm};
use super::settings::{Growth, Mode, Settings};
use crate::robust::quantile;

const ORIGINS: usize = 5;
/// Rows compared per origin.
const COMPARED: usize = 240;
/// Pulls the shares towards equal ones: a few origins are little to judge seven forecasters by.
const EVEN: f64 = 0.03;

/// What was learnt.
#[derive(Debug, Clone)]
pub(super) struct Learnt {
    /// The form that forecast best.
    pub(super) settings: Settings,
    /// See [`Curve::damping`].
    pub(super) damping: f64,
    /// Shares of the forecasters.
    pub(super) weights: [f64; EXPERTS],
    /// Whether the week has profiles of its own.
    pub(super) weekly: bool,
    /// Half the width of the band, over the curve's [`unit`].
    pub(super) width: f64,
    /// Seconds ahead that were judged.
    pub(super) horizon: f64,
}

/// What errors are measured in: growing with the trend in multiplicative mode.
pub(super) fn unit(curve: &Curve, trend: f64) -> f64 {
    match curve.mode {
        Mode::Additive => 1.0,
        Mode::Multiplicative => trend.abs().max(curve.scale * 1e-3),
    }
}

/// One origin: rows before, and rows compared.
struct Fold {
    rows: usize,
    compared: Vec<usize>,
    curves: Vec<Option<Curve>>,
}

/// `None` if the history is too short for a single origin.
pub(super) fn learn(
    settings: &Settings,
    seconds: &[f64],
    values: &[f64],
    rhythm: Rhythm,
) -> Option<Learnt> {
    let forms = forms(settings, values);
    let span = seconds[seconds.len() - 1] - seconds[0];
    let horizon = rhythm.horizon.min(span / 3.0);
    let folds: Vec<Fold> = (1..=ORIGINS)
        .filter_map(|back| {
            fold(&forms, seconds, values, rhythm, span - horizon * back as f64, horizon)
        })
        .collect();
    let weekly = rhythm.season < 86_401.0
        && folds.iter().all(|fold| seconds[fold.rows - 1] - seconds[0] >= 14.0 * 86_400.0);

    let dampings = [f64::INFINITY, horizon, 0.0];
    let mut best: Option<(f64, usize, f64)> = None;
    for form in 0..forms.len() {
        for damping in dampings {
            let Some(error) = error_of(&folds, form, damping, seconds, values) else { continue };
            if best.is_none_or(|(least, ..)| error < least * 0.95) {
                best = Some((error, form, damping));
            }
        }
    }
    let (_, form, damping) = best?;

    let mut rows = Vec::new();
    for fold in &folds {
        let Some(curve) = &fold.curves[form] else { continue };
        let mut curve = curve.clone();
        curve.damping = damping;
        let experts =
            Experts::new(&curve, &seconds[..fold.rows], &values[..fold.rows], rhythm, weekly);
        for &i in &fold.compared {
            let terms = curve.terms(seconds[i]);
            let forecasts = experts.forecast(terms.sum(), seconds[i]);
            let mut errors = [0.0; EXPERTS];
            let unit = unit(&curve, terms.trend);
            for (error, forecast) in errors.iter_mut().zip(forecasts).take(experts.count()) {
                *error = (values[i] - forecast) / unit;
            }
            rows.push((errors, experts.count()));
        }
    }
    let count = rows.iter().map(|row| row.1).min()?;
    let errors: Vec<[f64; EXPERTS]> = rows.into_iter().map(|row| row.0).collect();
    let weights = shares(&errors, count);
    let sizes: Vec<f64> = errors.iter().map(|error| mixed(error, &weights).abs()).collect();
    let width = quantile(&sizes, settings.interval)? * INFLATION;
    Some(Learnt { settings: forms[form].clone(), damping, weights, weekly, width, horizon })
}

/// Errors of few origins resemble each other, and the shares were chosen on them: the band is wider by this. With
/// it a 95 % band holds .951 (data/seasonal) and .958 (NAB) of the values in the median over series.
const INFLATION: f64 = 1.25;

/// The settings as they stand and, where they leave it open, stiffer ones and multiplicative ones.
fn forms(settings: &Settings, values: &[f64]) -> Vec<Settings> {
    let mut plain = settings.clone();
    plain.adapt = false;
    let mut forms = vec![plain.clone()];
    if plain.growth == Growth::Linear {
        forms.push(Settings { changepoint_prior: plain.changepoint_prior / 10.0, ..plain.clone() });
    }
    if plain.mode == Mode::Additive && values.iter().all(|value| *value > 0.0) {
        forms.push(Settings { mode: Mode::Multiplicative, ..plain });
    }
    forms
}

fn fold(
    forms: &[Settings],
    seconds: &[f64],
    values: &[f64],
    rhythm: Rhythm,
    after: f64,
    horizon: f64,
) -> Option<Fold> {
    let span = seconds[seconds.len() - 1] - seconds[0];
    if after < span * 0.3 {
        return None;
    }
    let origin = seconds[0] + after;
    let rows = seconds.partition_point(|second| *second <= origin);
    let end = seconds.partition_point(|second| *second <= origin + horizon);
    if rows < 8 || end == rows {
        return None;
    }
    let stride = (end - rows).div_ceil(COMPARED);
    let compared = (rows..end).step_by(stride).collect();
    let fit = |form| fit::thinned(form, &seconds[..rows], &values[..rows], rhythm).ok();
    Some(Fold { rows, compared, curves: forms.iter().map(fit).collect() })
}

/// Mean absolute error over the origins; `None` if the form could not be fitted at one of them.
fn error_of(
    folds: &[Fold],
    form: usize,
    damping: f64,
    seconds: &[f64],
    values: &[f64],
) -> Option<f64> {
    let mut sum = 0.0;
    for fold in folds {
        let mut curve = fold.curves[form].clone()?;
        curve.damping = damping;
        let errors =
            fold.compared.iter().map(|i| (values[*i] - curve.terms(seconds[*i]).sum()).abs());
        sum += errors.sum::<f64>() / fold.compared.len() as f64;
    }
    (!folds.is_empty()).then_some(sum)
}

fn mixed(errors: &[f64; EXPERTS], weights: &[f64; EXPERTS]) -> f64 {
    errors.iter().zip(weights).map(|(error, weight)| error * weight).sum()
}

/// Convex shares with the least mean absolute error, by reweighted least squares; the first `count` take part.
fn shares(errors: &[[f64; EXPERTS]], count: usize) -> [f64; EXPERTS] {
    let mut weights = [0.0; EXPERTS];
    weights[..count].fill(1.0 / count as f64);
    let sizes: Vec<f64> = errors.iter().map(|error| mixed(error, &weights).abs()).collect();
    let least = quantile(&sizes, 0.5).unwrap_or(0.0) * 0.1;
    if least <= 0.0 {
        return weights;
    }
    for _ in 0..8 {
        let mut matrix = [[0.0; EXPERTS]; EXPERTS];
        for error in errors {
            let weight = 1.0 / mixed(error, &weights).abs().max(least);
            for i in 0..count {
                for j in 0..count {
                    matrix[i][j] += weight * error[i] * error[j];
                }
            }
        }
        let least = (0..count).map(|i| matrix[i][i]).fold(f64::INFINITY, f64::min);
        (0..count).for_each(|i| matrix[i][i] += EVEN * least);
        descend(&matrix, &mut weights, count);
    }
    weights
}

/// Minimises `w'Aw` over the simplex: moves share between the pair that gains most.
fn descend(matrix: &[[f64; EXPERTS]; EXPERTS], weights: &mut [f64; EXPERTS], count: usize) {
    for _ in 0..200 {
        let slopes: Vec<f64> = (0..count).map(|i| mixed(&matrix[i], weights)).collect();
        let by_slope = |a: &usize, b: &usize| slopes[*a].total_cmp(&slopes[*b]);
        let Some(to) = (0..count).min_by(by_slope) else { return };
        let Some(from) = (0..count).filter(|i| weights[*i] > 0.0).max_by(by_slope) else { return };
        let bend = matrix[to][to] + matrix[from][from] - 2.0 * matrix[to][from];
        let gain = slopes[from] - slopes[to];
        if gain <= 1e-9 * slopes[from].abs() || bend <= 0.0 {
            return;
        }
        let moved = (gain / bend).min(weights[from]);
        weights[to] += moved;
        weights[from] -= moved;
    }
}
