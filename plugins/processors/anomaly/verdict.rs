//! One frame judged: what the models say, which gates hold, and whether a person should be called.
//!
//! The overall score is the largest of: the guard over the signals that moved far enough the way that hurts; the forest, if at
//! least one of its top signals did, and if the guard is with it or it lasts; an absolute limit; a stop. A person is called when the forest and the guard agree on
//! more than traffic, when a limit is passed, or when traffic stops. One model's lone vote never calls.

use std::collections::VecDeque;

use sentinel_contract::history::Frame;
use sentinel_contract::incident::{Contribution, Direction};

use super::explain;
use super::incident::Verdict;
use super::score::Boundary;
use super::signals::{LIMIT_FRAMES, Role, Signal, Watch};
use super::train::{Model, alarm};
use super::treat::Measure;

/// The names under which the models' scores are written.
pub(super) const FOREST: &str = "isolation_forest";
/// The guard.
pub(super) const GUARD: &str = "robust_z";
/// Absolute limits.
const LIMIT: &str = "limit";
/// Traffic that stopped, and sources that fell silent.
const STOP: &str = "stop";

/// A limit or a stop is at least this bad, and at most that.
const BEYOND: std::ops::RangeInclusive<f64> = 1.0..=5.0;
/// Signals asked for the gate of the forest.
const TOP: usize = 3;
/// A source that usually sends at least this much, and in its quietest hundredth this, does not stop by chance.
const STEADY: (f64, f64) = (3.0, 1.0);

/// What is judged.
pub(super) struct Judged<'a> {
    pub time_ms: i64,
    pub signals: &'a [Signal],
    pub measures: &'a [Measure],
    /// The model with its boundaries, once there is one.
    pub ready: Option<Ready<'a>>,
    /// The last frames, the current one last.
    pub recent: &'a VecDeque<Frame>,
    /// Frames in a row in which a signal that `stops` was zero.
    pub zeros: u32,
    /// Frames in a row, before this one, that the forest found beyond its boundary.
    pub forest_run: u32,
    pub confirm_frames: u32,
}

/// A model in use.
#[derive(Clone, Copy)]
pub(super) struct Ready<'a> {
    pub model: &'a Model,
    pub forest: &'a Boundary,
    pub robust_z: &'a Boundary,
}

/// Raw scores of a frame, for the boundaries; and what the state machine is told.
#[derive(Debug)]
pub(super) struct Judgement {
    pub verdict: Verdict,
    /// Of the forest and of the guard.
    pub raw: Option<(f64, f64)>,
    /// The forest passed its boundary, and one of its top signals its gate.
    pub forest_counts: bool,
    /// 1.0 at the boundary.
    pub forest: f64,
    pub robust_z: f64,
}

/// Judges a frame. The explanation is made only when it is needed: beyond the boundary, or with an incident `open`.
pub(super) fn judge(frame: &Judged<'_>, open: bool) -> Judgement {
    let row = frame.ready.map(|ready| ready.model.row(frame.measures));
    let raw = frame.ready.zip(row.as_ref()).map(|(ready, row)| {
        (ready.model.forest.score_row(row), alarm(frame.measures.iter().copied()))
    });
    let (forest, robust_z) = match (frame.ready, raw) {
        (Some(ready), Some((forest, z))) => (ready.forest.score(forest), ready.robust_z.score(z)),
        _ => (0.0, 0.0),
    };
    let limit = beyond_limit(frame);
    let limit_score = limit.as_ref().map_or(0.0, |(_, score, _)| *score);
    let stopped = stopped(frame);

    let mut forest_shares = None;
    let forest_counts = forest >= 1.0 && {
        let shares = forest_shares_of(frame, row.as_deref());
        let counts = top(&shares).any(|at| frame.measures[at].counts);
        forest_shares = Some(shares);
        counts
    };
    // Alone it has to last: a forest that has seen little finds something in every hundredth frame.
    let lasts = robust_z >= 1.0 || open || frame.forest_run + 1 >= frame.confirm_frames;
    let gated = if forest_counts && lasts { forest } else { forest.min(0.99) };
    let stop_score = if stopped.is_some() { BEYOND.start() * 1.5 } else { 0.0 };
    let score = gated.max(robust_z).max(limit_score).max(stop_score);

    let mut verdict = Verdict { time_ms: frame.time_ms, score, ..Verdict::default() };
    if frame.ready.is_some() {
        verdict.models = vec![(FOREST.to_owned(), forest), (GUARD.to_owned(), robust_z)];
    }
    if limit.is_some() {
        verdict.models.push((LIMIT.to_owned(), limit_score));
    }
    if stopped.is_some() {
        verdict.models.push((STOP.to_owned(), stop_score));
    }
    if score >= 1.0 || open {
        let mut shares = Vec::new();
        if forest_counts {
            shares.extend(forest_shares);
        }
        let guard = explain::shares_of_guard(frame.measures);
        if robust_z >= 1.0 || shares.is_empty() && guard.iter().any(|share| *share > 0.0) {
            shares.push(guard);
        }
        explain_into(&mut verdict, frame, &shares, limit.as_ref().map(|(at, ..)| *at));
        let reason = limit.map(|(.., reason)| reason).or(stopped);
        (verdict.page, verdict.why_not) = page(frame, forest, robust_z, reason);
    }
    Judgement { verdict, raw, forest_counts, forest, robust_z }
}

fn forest_shares_of(frame: &Judged<'_>, row: Option<&[f32]>) -> Vec<f64> {
    match (frame.ready, row) {
        (Some(ready), Some(row)) => explain::shares_of_forest(ready.model, row, frame.measures),
        _ => vec![0.0; frame.signals.len()],
    }
}

/// The largest few.
fn top(shares: &[f64]) -> impl Iterator<Item = usize> {
    let mut order: Vec<usize> = (0..shares.len()).filter(|at| shares[*at] > 0.0).collect();
    order.sort_by(|a, b| shares[*b].total_cmp(&shares[*a]));
    order.into_iter().take(TOP)
}

/// The first signal beyond its absolute limit: which, its score, and the words.
fn beyond_limit(frame: &Judged<'_>) -> Option<(usize, f64, String)> {
    frame.signals.iter().enumerate().find_map(|(at, signal)| {
        let limit = signal.limit?;
        let value = frame.measures[at].value;
        let over = |value: f64| match signal.direction {
            Watch::Down => limit.value / value.max(f64::MIN_POSITIVE),
            Watch::Up | Watch::Both => value / limit.value,
        };
        let mut ratio = over(value);
        if let Some((counter, least)) = limit.least {
            let sum = |of: usize| -> f64 {
                let frames = frame.recent.iter().rev().take(LIMIT_FRAMES);
                frames.map(|frame| frame.values[of]).filter(|value| value.is_finite()).sum()
            };
            let volume = signal.volume.map_or(f64::NAN, sum);
            if sum(counter) < least {
                return None;
            }
            ratio = ratio.min(over(sum(counter) / volume));
        }
        let shown = |value| signal.unit.shown(value);
        (ratio >= 1.0).then(|| {
            let reason = format!(
                "{} {} is beyond its limit of {}",
                signal.name,
                shown(value),
                shown(limit.value)
            );
            (at, ratio.clamp(*BEYOND.start(), *BEYOND.end()), reason)
        })
    })
}

/// Steady traffic that is zero for longer than a confirmation takes.
fn stopped(frame: &Judged<'_>) -> Option<String> {
    let ready = frame.ready.filter(|_| frame.zeros > frame.confirm_frames)?;
    frame.signals.iter().enumerate().find_map(|(at, signal)| {
        let learned = ready.model.learned[at].as_ref().filter(|_| signal.stops)?;
        let expected = frame.measures[at].expected;
        let steady = expected >= STEADY.0 && learned.low >= STEADY.1;
        (steady && frame.measures[at].value == 0.0).then(|| {
            let usual = signal.unit.shown(expected);
            format!(
                "{} stopped: none in {} frames, usually {usual} a frame",
                signal.name, frame.zeros
            )
        })
    })
}

fn explain_into(
    verdict: &mut Verdict,
    frame: &Judged<'_>,
    shares: &[Vec<f64>],
    limit: Option<usize>,
) {
    let (signals, measures) = (frame.signals, frame.measures);
    let listed = explain::contributions(signals, measures, shares);
    verdict.normal = explain::normal(signals, measures);
    // Within the bands of all signals it is the combination that is unusual, and no single one is to blame.
    let outside = measures.iter().any(|one| one.score >= 1.0);
    verdict.contributions = match limit {
        Some(at) if listed.is_empty() => {
            let mut alone = vec![0.0; signals.len()];
            alone[at] = 1.0;
            explain::contributions(signals, measures, &[alone])
        }
        _ => listed,
    };
    verdict.what = explain::what(signals, &verdict.contributions);
    if !outside && limit.is_none() {
        let names: Vec<&str> =
            verdict.contributions.iter().take(TOP).map(|one| one.feature.as_str()).collect();
        verdict.what = format!("unusual combination of {}", names.join(", "));
        verdict.contributions = Vec::new();
    }
}

/// Whether a person is called, and why or why not.
fn page(
    frame: &Judged<'_>,
    forest: f64,
    robust_z: f64,
    beyond: Option<String>,
) -> (Option<String>, String) {
    if beyond.is_some() {
        return (beyond, String::new());
    }
    let serious = frame
        .signals
        .iter()
        .zip(frame.measures)
        .filter(|(signal, one)| signal.role != Role::Traffic && one.counts && one.score >= 1.0);
    let worst = serious.max_by(|a, b| a.1.score.total_cmp(&b.1.score));
    match worst {
        Some((signal, _)) if forest >= 1.0 && robust_z >= 1.0 => {
            (Some(format!("isolation forest and robust z agree on {}", signal.name)), String::new())
        }
        Some(_) => (None, "one model alone does not call anyone".to_owned()),
        None => (None, "traffic alone does not call anyone".to_owned()),
    }
}

/// The verdict on a source that has said nothing for `missing` frames and usually speaks in every one.
pub(super) fn silence(time_ms: i64, missing: u32, patience: u32) -> Verdict {
    let score = (f64::from(missing) / f64::from(patience)).clamp(*BEYOND.start(), *BEYOND.end());
    Verdict {
        time_ms,
        score,
        models: vec![(STOP.to_owned(), score)],
        contributions: vec![Contribution {
            feature: "silence".to_owned(),
            share: 1.0,
            direction: Direction::Up,
            value: f64::from(missing),
            expected: 0.0,
            lower: 0.0,
            upper: f64::from(patience),
        }],
        normal: Vec::new(),
        what: format!("silent for {missing} frames"),
        page: Some("a source that speaks in every frame is silent".to_owned()),
        why_not: String::new(),
    }
}
