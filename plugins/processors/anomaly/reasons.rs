//! Why a frame is judged as it is: what raised the number, in words, and whether a person is called.

use super::bars::Bars;
use super::explain;
use super::incident::Verdict;
use super::joint::{NAMES, Votes};
use super::signals::Role;
use super::train::{doubt, youth};
use super::treatment::Unit;
use super::verdict::Judged;
use super::views::Deviations;

/// Signals named for a combination.
const TOP: usize = 3;

/// A signal with this share has changed alone.
const SINGLE: f64 = 0.5;

/// The shares of the views, and of the joint models that find the frame beyond their boundaries.
pub(super) fn shares(frame: &Judged<'_>, row: Option<&[f64]>, joint: &Votes) -> Vec<Vec<f64>> {
    let mut shares = vec![explain::shares_of_views(&blamed(frame))];
    if let (Some(ready), Some(row)) = (frame.ready, row) {
        for (model, score) in joint.iter().enumerate() {
            if *score >= 1.0 {
                shares.push(explain::shares_of_joint(ready.model, model, row, frame.measures));
            }
        }
    }
    shares
}

/// The deviations of a frame, with the season for what is usual where there is one.
fn blamed(frame: &Judged<'_>) -> Vec<Deviations> {
    let mut all = frame.deviations.to_vec();
    let Some(model) = frame.ready.map(|ready| ready.model) else { return all };
    let wider = (youth(model.from_ms, model.upto_ms), doubt(model.frames));
    for (at, (signal, learned)) in frame.signals.iter().zip(&model.learned).enumerate() {
        let Some(learned) = learned else { continue };
        let Some(usual) = learned.usual_at(frame.time_ms as f64 / 1000.0) else { continue };
        let volume = signal.volume.map_or(f64::NAN, |volume| frame.measures[volume].value);
        let unit = Unit::of(signal, learned.center, volume);
        let both = (frame.measures[at].value, unit.undo(usual));
        if let Some(off) = learned.usual.off_season(signal, unit, both, wider) {
            all[at][0] = off;
        }
    }
    all
}

/// Puts the contributions and the words into the verdict; `limit` is the signal beyond its absolute limit.
pub(super) fn explain_into(
    verdict: &mut Verdict,
    frame: &Judged<'_>,
    shares: &[Vec<f64>],
    limit: Option<usize>,
) {
    let (signals, measures) = (frame.signals, frame.measures);
    let mut listed = explain::contributions(signals, measures, shares);
    verdict.normal = explain::normal(signals, measures);
    // Within the bands of all signals it is the combination that is unusual, unless one has most of the blame.
    let outside = measures.iter().any(|one| one.score >= 1.0);
    let single = listed.first().is_some_and(|one| one.share >= SINGLE);
    verdict.contributions = match limit {
        Some(at) if listed.iter().all(|one| one.feature != signals[at].name) => {
            let mut alone = vec![0.0; signals.len()];
            alone[at] = 1.0;
            let mut all = explain::contributions(signals, measures, &[alone]);
            if !listed.is_empty() {
                all.iter_mut().chain(&mut listed).for_each(|one| one.share /= 2.0);
            }
            all.append(&mut listed);
            all
        }
        _ => listed,
    };
    verdict.what = explain::what(signals, &verdict.contributions);
    if !outside && !single && limit.is_none() {
        let names: Vec<&str> =
            verdict.contributions.iter().take(TOP).map(|one| one.feature.as_str()).collect();
        verdict.what = format!("unusual combination of {}", names.join(", "));
        verdict.contributions = Vec::new();
    }
}

/// Whether a person is called, and why or why not; `lone` is a frame that confirms by itself.
pub(super) fn page(
    frame: &Judged<'_>,
    joint: &Votes,
    bars: &Bars,
    beyond: Option<String>,
    lone: bool,
) -> (Option<String>, String) {
    if beyond.is_some() {
        return (beyond, String::new());
    }
    let serious = frame
        .signals
        .iter()
        .zip(frame.measures)
        .enumerate()
        .filter(|(at, (signal, one))| {
            signal.role != Role::Traffic && one.counts && bars.is_beyond(*at, one)
        })
        .map(|(_, both)| both);
    let worst = serious.max_by(|a, b| a.1.score.total_cmp(&b.1.score));
    let voter = NAMES.iter().zip(joint).find(|(_, score)| **score >= 1.0);
    match (worst, voter) {
        (Some(_), Some(_)) if lone => (None, "one frame alone does not call anyone".to_owned()),
        (Some((signal, one)), Some((name, _))) => {
            let own = if one.has_drifted() { "CUSUM" } else { "robust z" };
            let name = name.replace('_', " ");
            (Some(format!("{name} and {own} agree on {}", signal.name)), String::new())
        }
        (Some(_), None) => (None, "no joint model agrees: nobody is called".to_owned()),
        (None, _) if frame.measures.iter().any(|one| one.counts && one.score >= 1.0) => {
            (None, "traffic alone does not call anyone".to_owned())
        }
        (None, _) => (None, "no signal is outside its own band: nobody is called".to_owned()),
    }
}
