//! Why: shares, directions, what was expected, and the sentence.
//!
//! Shares are at least 0 and sum to 1 over the signals that raise the score, averaged over the views and the joint models
//! that agree (`IsolationForest::explain_row`, `Pca::explain_row`). Words are "above" and "usually", never "cause".

use std::fmt::Write as _;

use sentinel_contract::incident::{Contribution, Direction};

use super::signals::{Signal, Watch};
use super::train::Model;
use super::treat::Measure;
use super::unit::Unit;
use super::views::{self, Deviations};

/// Contributions shown.
const MOST: usize = 10;
/// A smaller share is not worth a line.
const LEAST_SHARE: f64 = 0.02;

/// The shares of the views of a frame.
pub(super) fn shares_of_views(deviations: &[Deviations]) -> Vec<f64> {
    views::shares(deviations)
}

/// A joint model's shares. A signal within one sigma of what is expected gets none of it: paths credit the signals they
/// happen to pass. Nor does, beside what matters, what has changed too little to matter.
pub(super) fn shares_of_joint(
    model: &Model,
    which: usize,
    row: &[f64],
    measures: &[Measure],
) -> Vec<f64> {
    let mut parts = vec![0.0; row.len()];
    model.joint.explain(which, row, &mut parts);
    let mut parts = parts.into_iter();
    let matters = measures.iter().any(|one| one.counts && one.score >= 0.5);
    let shares = model.learned.iter().zip(measures).map(|(learned, one)| {
        let part = learned.as_ref().and_then(|_| parts.next()).unwrap_or(0.0);
        if one.z.abs() < 1.0 || matters && !one.counts { 0.0 } else { part }
    });
    normalised(shares.collect())
}

/// Negative parts are left out; all zero stays so.
fn normalised(mut parts: Vec<f64>) -> Vec<f64> {
    for part in &mut parts {
        *part = part.max(0.0);
    }
    let sum: f64 = parts.iter().sum();
    if sum > 0.0 {
        for part in &mut parts {
            *part /= sum;
        }
    }
    parts
}

/// The mean of several models' shares, as contributions, largest first.
pub(super) fn contributions(
    signals: &[Signal],
    measures: &[Measure],
    shares: &[Vec<f64>],
) -> Vec<Contribution> {
    let mean = (0..signals.len()).map(|at| shares.iter().map(|of_model| of_model[at]).sum::<f64>());
    let mut order: Vec<(usize, f64)> = normalised(mean.collect()).into_iter().enumerate().collect();
    order.sort_by(|a, b| b.1.total_cmp(&a.1));
    order.truncate(MOST);
    order.retain(|(_, share)| *share >= LEAST_SHARE);
    let sum: f64 = order.iter().map(|(_, share)| share).sum();
    let contribution = |(at, share): &(usize, f64)| {
        let one = &measures[*at];
        Contribution {
            feature: signals[*at].name.clone(),
            share: share / sum,
            direction: one.direction(),
            value: finite(one.value),
            expected: finite(one.expected),
            lower: finite(one.lower),
            upper: finite(within_limit(&signals[*at], one.upper)),
        }
    };
    order.iter().map(contribution).collect()
}

/// What is beyond an absolute limit is not usual, however often it was seen.
fn within_limit(signal: &Signal, upper: f64) -> f64 {
    match (signal.limit, signal.direction) {
        (Some(limit), Watch::Up) => upper.min(limit.value),
        _ => upper,
    }
}

/// JSON has no NaN; what is unknown (while learning) is said as 0.
fn finite(value: f64) -> f64 {
    if value.is_finite() { value } else { 0.0 }
}

/// Signals within their bands.
pub(super) fn normal(signals: &[Signal], measures: &[Measure]) -> Vec<String> {
    let both = signals.iter().zip(measures);
    let normal = both.filter(|(_, one)| one.score < 1.0 && one.expected.is_finite());
    normal.map(|(signal, _)| signal.name.clone()).collect()
}

/// "error_rate 42 % above the usual 0 % to 1.3 %, errors 84 above the usual 0 to 3". Signals within their bands are only
/// named when no signal is outside.
pub(super) fn what(signals: &[Signal], contributions: &[Contribution]) -> String {
    let is_outside = |one: &&Contribution| one.value > one.upper || one.value < one.lower;
    let outside: Vec<&Contribution> = contributions.iter().filter(is_outside).collect();
    let told = if outside.is_empty() { contributions.iter().collect() } else { outside };
    let mut text = String::new();
    for one in told.into_iter().take(3) {
        let unit = signals.iter().find(|signal| signal.name == one.feature);
        let unit = unit.map_or(Unit::Number, |signal| signal.unit);
        let gap = if text.is_empty() { "" } else { ", " };
        let _infallible = write!(text, "{gap}{} {}", one.feature, unit.shown(one.value));
        let (lower, upper) = (unit.shown(one.lower), unit.shown(one.upper));
        let side = match one.direction {
            _ if !is_outside(&one) => "within",
            Direction::Up => "above",
            Direction::Down => "below",
        };
        if one.upper > one.lower {
            let _infallible = write!(text, " {side} the usual {lower} to {upper}");
        }
    }
    text
}
