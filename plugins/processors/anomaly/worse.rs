//! Whether a new model is worse than the one in use: then it is not swapped in.
//!
//! Both are asked about the same newest frames, none of them of an incident. The new one is worse when it
//!
//! 1. is *broken*: a score or a boundary is no number, or a joint model says the same of every frame and the old one did not;
//! 2. *forgets*: it does not know a signal that the old one knows and that most of these frames have;
//! 3. is *louder*: it puts [`LOUDER`] times as many of these ordinary frames beyond a boundary as the old one does, and
//!    [`SPARE`] of them more.
//!
//! Only the first counts when a new normal was accepted since the old model was trained (the old one knows another
//! world), and when nothing that the old one was trained on lies within the training's window any more (an old model must not
//! stay for ever). A model that sees less than the old one is not refused here: a wider one is right when the host became
//! less steady. That is what leaving out incidents is for.

use sentinel_contract::history::Frame;

use super::bars::Bars;
use super::boundaries::Boundaries;
use super::columns::Columns;
use super::joint::{JOINT, NAMES};
use super::signals::Signals;
use super::train::{Model, Options, Trained, doubt, replay_level, youth};
use super::treat::{Measure, Sample, measure};
use super::treatment::Unit;
use super::verdict::GUARD;
use super::views::{LONG, Largest};

/// The newest frames that both are asked about: a fifth of the training, at most so many, and at least so many or it is not asked.
const SHARE: usize = 5;
const MOST: usize = 512;
const LEAST: usize = 20;
/// See the head of this file.
const LOUDER: f64 = 3.0;
const SPARE: f64 = 0.02;
/// A joint model whose scores lie this close together says nothing.
const SAME: f64 = 1e-9;
/// The frame's own number and the signals' tests, beside the joint models.
const TESTS: usize = JOINT + 2;

/// The model in use, as a training is told of it.
pub(super) struct Against {
    pub model: Model,
    pub boundaries: Boundaries,
    /// A new normal was accepted since it was trained.
    pub other_world: bool,
}

/// What a model says of the frames: of each test the raw scores, and the share beyond its boundary.
struct Said {
    raw: [Vec<f64>; TESTS],
    beyond: [f64; TESTS],
    bounds: [f64; TESTS],
}

/// Why the new model is worse, if it is. `frames` are those it was trained on, in time order.
pub(super) fn than(
    old: &Against,
    new: &Trained,
    signals: &Signals,
    frames: &Columns<'_>,
    options: &Options,
) -> anyhow::Result<Option<String>> {
    let asked = (frames.len() / SHARE).min(MOST);
    if asked < LEAST {
        return Ok(None);
    }
    let told = frames.newest(asked + LONG * options.level_frames)?;
    Ok(than_on(old, new, signals, (&told, asked), options))
}

/// The same, told the last `asked` frames and those before them that make their levels.
fn than_on(
    old: &Against,
    new: &Trained,
    signals: &Signals,
    (told, asked): (&[Frame], usize),
    options: &Options,
) -> Option<String> {
    let samples: Vec<Vec<Sample>> = (signals.signals.iter().enumerate())
        .map(|(at, signal)| {
            let mut all = replay_level(told, at, signal.volume, options);
            all.split_off(told.len() - asked) // which leaves the room of the others behind
        })
        .collect();
    let (was, is) = (
        ask(&old.model, &old.boundaries, signals, &samples),
        ask(&new.model, &new.boundaries, signals, &samples),
    );
    if let Some(reason) = broken(&was, &is) {
        return Some(reason);
    }
    let outdated = old.model.upto_ms <= new.model.upto_ms - options.window_ms;
    if old.other_world || outdated {
        return None;
    }
    forgotten(&old.model, &new.model, signals, &samples).or_else(|| louder(&was, &is, asked))
}

fn name(test: usize) -> &'static str {
    match test {
        0 => "the score",
        1 => GUARD,
        joint => NAMES[joint - 2],
    }
}

fn ask(model: &Model, boundaries: &Boundaries, signals: &Signals, samples: &[Vec<Sample>]) -> Said {
    let youth = youth(model.from_ms, model.upto_ms);
    let wider = (youth, doubt(model.frames));
    let asked = samples.first().map_or(0, Vec::len);
    let mut said = Said {
        raw: std::array::from_fn(|_| Vec::with_capacity(asked)),
        beyond: [0.0; TESTS],
        bounds: std::array::from_fn(|test| match test {
            0 => boundaries.frame.bound(),
            1 => boundaries.robust_z.bound(),
            joint => boundaries.joint[joint - 2].bound(),
        }),
    };
    for at in 0..asked {
        let mut largest = Largest::default();
        let known = signals.signals.iter().zip(&model.learned).zip(samples);
        let measures: Vec<Measure> = known
            .map(|((signal, learned), samples)| {
                let one = &samples[at];
                let Some(learned) = learned else { return Measure::unknown(one.value) };
                let unit = Unit::of(signal, learned.center, one.volume);
                largest.add(&learned.usual.deviations(signal, unit, one, wider));
                measure(signal, learned, one, youth)
            })
            .collect();
        let joint = model.joint.raw(&model.row(&measures));
        let raw = [model.ensemble.raw(&largest), Bars::default().score(&measures, |_| true)];
        let scores = [boundaries.frame.score(raw[0]), boundaries.robust_z.score(raw[1])];
        let votes = boundaries.joint.iter().zip(joint).map(|(bound, raw)| bound.score(raw));
        for (test, raw) in raw.into_iter().chain(joint).enumerate() {
            said.raw[test].push(raw);
        }
        for (test, score) in scores.into_iter().chain(votes).enumerate() {
            said.beyond[test] += f64::from(u8::from(score >= 1.0)) / asked as f64;
        }
    }
    said
}

fn broken(was: &Said, is: &Said) -> Option<String> {
    for test in 0..TESTS {
        let finite = is.bounds[test].is_finite() && is.raw[test].iter().all(|raw| raw.is_finite());
        if !finite {
            return Some(format!("{} is not a number", name(test)));
        }
        let spread = |said: &Said| {
            let all = said.raw[test].iter().copied();
            all.clone().fold(f64::MIN, f64::max) - all.fold(f64::MAX, f64::min)
        };
        if test >= 2 && spread(is) <= SAME && spread(was) > SAME {
            return Some(format!("{} says the same of every frame", name(test)));
        }
    }
    None
}

fn forgotten(
    old: &Model,
    new: &Model,
    signals: &Signals,
    samples: &[Vec<Sample>],
) -> Option<String> {
    let each = signals.signals.iter().zip(samples).zip(old.learned.iter().zip(&new.learned));
    let lost: Vec<&str> = each
        .filter(|((_, samples), (old, new))| {
            let there = samples.iter().filter(|one| one.value.is_finite()).count();
            old.is_some() && new.is_none() && there * 2 >= samples.len()
        })
        .map(|((signal, _), _)| signal.name.as_str())
        .collect();
    (!lost.is_empty()).then(|| format!("it does not know {}", lost.join(", ")))
}

fn louder(was: &Said, is: &Said, asked: usize) -> Option<String> {
    (0..TESTS).find(|test| is.beyond[*test] > LOUDER * was.beyond[*test] + SPARE).map(|test| {
        let percent = |share: f64| (share * 100.0).round();
        format!(
            "{} puts {} % of the newest {asked} frames beyond its boundary, that of the one in use {} %",
            name(test),
            percent(is.beyond[test]),
            percent(was.beyond[test])
        )
    })
}
