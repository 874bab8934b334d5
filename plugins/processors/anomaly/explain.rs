//! Why: shares, directions, what was expected, and the sentence.
//!
//! Shares are at least 0 and sum to 1 over the signals that raise the score, averaged over the models that agree. The guard's
//! share of a signal is the square of its own score; the forest's comes from the paths its trees take
//! (`IsolationForest::explain_row`). A signal within one sigma of what is expected gets none of it: paths credit the signals they
//! happen to pass. Words are "above" and "usually", never "cause".

use std::fmt::Write as _;

use sentinel_contract::incident::{Contribution, Direction};

use super::signals::{Signal, Treatment};
use super::train::Model;
use super::treat::Measure;

/// Contributions shown.
const MOST: usize = 10;
/// A smaller share is not worth a line.
const LEAST_SHARE: f64 = 0.02;

/// The guard's shares: squares of the signals' own scores, as far as these are not small.
pub(super) fn shares_of_guard(measures: &[Measure]) -> Vec<f64> {
    let square = |one: &Measure| if one.score >= 0.5 { one.score * one.score } else { 0.0 };
    normalised(measures.iter().map(square).collect())
}

/// The forest's shares.
pub(super) fn shares_of_forest(model: &Model, row: &[f32], measures: &[Measure]) -> Vec<f64> {
    let mut parts = vec![0.0; row.len()];
    model.forest.explain_row(row, &mut parts);
    let mut parts = parts.into_iter();
    let shares = model.learned.iter().zip(measures).map(|(learned, one)| {
        let part = learned.as_ref().and_then(|_| parts.next()).unwrap_or(0.0);
        if one.z.abs() < 1.0 { 0.0 } else { part }
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
            upper: finite(one.upper),
        }
    };
    order.iter().map(contribution).collect()
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

/// "error_rate 42 % (usually 0 to 1.3 %), errors 84 (usually 0 to 3)".
pub(super) fn what(signals: &[Signal], contributions: &[Contribution]) -> String {
    let mut text = String::new();
    for one in contributions.iter().take(3) {
        let treatment =
            signals.iter().find(|signal| signal.name == one.feature).map(|signal| signal.treatment);
        let unit = treatment.unwrap_or_default();
        if !text.is_empty() {
            text.push_str(", ");
        }
        let side = match one.direction {
            Direction::Up => "above",
            Direction::Down => "below",
        };
        let _infallible = if one.upper > one.lower {
            write!(
                text,
                "{} {} {side} the usual {} to {}",
                one.feature,
                shown(unit, one.value),
                shown(unit, one.lower),
                shown(unit, one.upper)
            )
        } else {
            write!(text, "{} {}", one.feature, shown(unit, one.value))
        };
    }
    text
}

/// A number as people write it.
pub(super) fn shown(treatment: Treatment, value: f64) -> String {
    if treatment == Treatment::Rate {
        return format!("{} %", short(value * 100.0));
    }
    short(value)
}

fn short(value: f64) -> String {
    let magnitude = value.abs();
    let (scaled, unit) = match magnitude {
        _ if magnitude >= 1e9 => (value / 1e9, " G"),
        _ if magnitude >= 1e6 => (value / 1e6, " M"),
        _ if magnitude >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let digits = match scaled.abs() {
        scaled if scaled >= 100.0 => 0,
        scaled if scaled >= 10.0 => 1,
        scaled if scaled >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{scaled:.digits$}");
    let text = if digits > 0 { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{}{unit}", if text == "-0" { "0" } else { text })
}
