//! One frame judged: what the models say, which gates hold, and whether a person should be called.
//!
//! The frame's number (`views`) over its boundary opens an incident; evidence, its running mean over the last days' boundary,
//! confirms it when more than one signal has a part in it, the signals do not go together as they usually do (`pca`), and it is
//! more than what the last fortnight had often; of few signals the more is asked, the oftener it was (`rate_bar`). So do one frame
//! that stands out of a fortnight, or on which all models and a signal's own test agree, an absolute limit, and a stop (`limits`). A person is called when a joint model and a signal's own test agree on more than traffic, when a limit is passed,
//! or when traffic stops. One model's lone vote never calls.
//!
//! The written score is 1.0 and more exactly when the frame, or a signal's own test, is beyond its boundary. Within each side
//! of it, it grows with the running mean of the logarithms of the number and of the joint models' scores: a long fault ranks
//! above a spike, and above its own first frame (a score that is measured in a boundary that moves would forget a fault as
//! the boundary learns it).

use std::collections::VecDeque;

use sentinel_contract::history::Frame;
use serde::{Deserialize, Serialize};

use super::bars::Bars;
use super::boundaries::{Boundaries, Raw};
use super::explain;
use super::incident::Verdict;
use super::joint::{JOINT, NAMES, PCA, Votes};
use super::limits::{
    BEYOND, LIMIT, Passed, STOP, STOP_SIZE, beyond_limit, passed, still_passed, stopped,
};
use super::rate_bar::RateBar;
use super::reasons::{explain_into, page, shares};
use super::severity::Extent;
use super::share_test::ShareTest;
use super::signals::{Role, Signal, Treatment};
use super::train::Model;
use super::treat::Measure;
use super::unit::Unit;
use super::views::{Deviations, Largest};

/// The name under which the signals' own tests are written.
pub(super) const GUARD: &str = "robust_z";
/// The same of small shifts that last.
pub(super) const DRIFT: &str = "cusum";
/// A frame this far beyond its boundary opens an incident: one beyond it by less is nothing yet.
const OPENS: f64 = 1.4;
/// Evidence that confirms, of at most [`MOST_EVIDENCE`] a frame.
const SURE: f64 = 1.9;
const MOST_EVIDENCE: f64 = 3.0;
/// ... when the residual of the principal components is at least so much of its boundary. Of the false incidents on the
/// development machines it leaves out a third, of the others none (tests/accuracy).
const SURE_RESIDUAL: f64 = 0.5;
/// ... and so many signals are behind it, of detectors with at least [`MANY`]: one alone has a test of its own, and of many
/// one is always off. Counted as the inverse of the sum of the squares of their shares (Simpson 1949).
const BREADTH: f64 = 1.5;
const MANY: usize = 6;
/// ... and one of the last frames reached so much of a fortnight's boundary: what came often in two weeks, and was never larger, is
/// how this host is. It fades by a tenth a frame.
const REACHES: f64 = 0.7;
const FADES: f64 = 0.9;
/// Below these an incident recovers.
const CALM: f64 = 0.8;
const CALM_EVIDENCE: f64 = 0.6 * SURE;
/// One signal alone is enough when it lasts: evidence over some twenty frames.
const LASTING_WEIGHT: f64 = 0.05;
/// One frame this far beyond a fortnight's boundary, and beyond that of the principal components, is enough.
const OUTSTANDING: f64 = 1.5;
/// So is one this far beyond the boundaries of all joint models and of a signal's own test.
const UNANIMOUS: f64 = 1.5;
/// What joint models add to the number's logarithm, in the means that rank: none for the forest, which adds noise.
const RANK_VOTES: Votes = [0.0, 0.5, 0.5];
/// Weights of a new frame in the running means: of evidence, and of the two that rank.
const EVIDENCE_WEIGHT: f64 = 0.5;
const RANK_WEIGHTS: [f64; 2] = [0.3, 0.1];
/// Frames looked back on for confirmation by a signal's own test, beyond those needed.
const SLACK_FRAMES: u32 = 1;
/// A signal's own test, or an absolute limit, passed this far confirms at once.
const FAR: f64 = 3.0;

/// What is judged.
pub(super) struct Judged<'a> {
    pub time_ms: i64,
    pub signals: &'a [Signal],
    pub measures: &'a [Measure],
    pub deviations: &'a [Deviations],
    /// The model with its boundaries, once there is one.
    pub ready: Option<Ready<'a>>,
    /// The last frames, the current one last.
    pub recent: &'a VecDeque<Frame>,
    /// Frames in a row in which a signal that `stops` was zero.
    pub zeros: u32,
    pub confirm_frames: u32,
    /// Contributions are wanted of every frame.
    pub explain: bool,
    /// Share of frames that may pass a signal's own test.
    pub share: f64,
    /// Incidents that are welcome, a frame.
    pub welcome: f64,
}

/// A model in use.
#[derive(Clone, Copy)]
pub(super) struct Ready<'a> {
    pub model: &'a Model,
    pub boundaries: &'a Boundaries,
}

/// What is carried from frame to frame.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Memory {
    evidence: f64,
    /// The same, over more frames.
    #[serde(default)]
    lasting: f64,
    /// The largest of the last frames, in a fortnight's boundaries, fading.
    #[serde(default)]
    reach: f64,
    rank: [f64; 2],
    /// Frames in a row beyond an absolute limit.
    beyond: u32,
    /// Of the last frames, newest in the lowest bit: a signal's own test failed.
    guard: u64,
    /// Signals whose limits count as the new normal, until they were kept once.
    #[serde(default)]
    pub accepted_limits: Vec<Passed>,
    /// How often it has confirmed.
    #[serde(default)]
    pub rate: RateBar,
    /// What each signal's own test is measured in.
    #[serde(default)]
    pub bars: Bars,
    /// One a signal; used by shares that have a limit.
    #[serde(default)]
    shares: Vec<ShareTest>,
}

/// Raw scores of a frame, for the boundaries; and what the state machine is told.
#[derive(Debug)]
pub(super) struct Judgement {
    pub verdict: Verdict,
    pub raw: Option<Raw>,
    /// 1.0 at the boundary: the joint models, and the signals' own tests.
    pub joint: Votes,
    pub own: Own,
}

/// The largest of the signals' own tests, 1.0 at the boundary.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Own {
    pub robust_z: f64,
    /// Of small shifts that last (`drift`).
    pub cusum: f64,
}

/// Judges a frame. The explanation is made only when it is needed: beyond the boundary, with an incident `open`, or when
/// asked for.
pub(super) fn judge(frame: &Judged<'_>, memory: &mut Memory, open: bool) -> Judgement {
    let row = frame.ready.map(|ready| ready.model.row(frame.measures));
    let raw = frame.ready.zip(row.as_ref()).map(|(ready, row)| {
        let joint = ready.model.joint.raw(row);
        Raw {
            frame: ready.model.ensemble.raw(&Largest::of(frame.deviations)),
            joint,
            robust_z: memory.bars.score(frame.measures, |_| true),
        }
    });
    let gated = |at: usize| frame.signals[at].is_gated();
    let (mut ratio, mut guard, mut joint) = (0.0, 0.0, [0.0; JOINT]);
    let mut own = Own { robust_z: 0.0, cusum: drifted(frame, |_| true) };
    let (mut enough, mut stands_out) = (false, false);
    if let (Some(ready), Some(raw)) = (frame.ready, raw) {
        let bounds = ready.boundaries;
        ratio = bounds.frame.score(raw.frame);
        own.robust_z = bounds.robust_z.score(raw.robust_z);
        guard = bounds.robust_z.score(memory.bars.score(frame.measures, gated));
        for ((score, boundary), raw) in joint.iter_mut().zip(&bounds.joint).zip(raw.joint) {
            *score = boundary.score(raw);
        }
        let evidence = bounds.days.score(raw.frame).min(MOST_EVIDENCE);
        memory.evidence += EVIDENCE_WEIGHT * (evidence - memory.evidence);
        memory.lasting += LASTING_WEIGHT * (evidence - memory.lasting);
        let votes = joint.iter().zip(RANK_VOTES).map(|(score, weight)| weight * score.ln_1p());
        let size = raw.frame.ln_1p() + votes.sum::<f64>();
        for (mean, weight) in memory.rank.iter_mut().zip(RANK_WEIGHTS) {
            *mean += weight * (size - *mean);
        }
        let of_fortnight = bounds.fortnight.score(raw.frame);
        memory.reach = of_fortnight.max(FADES * memory.reach);
        let of_many = memory.lasting >= SURE || is_broad(frame, ready.model);
        memory.rate.sink(frame.welcome);
        // Who said what is worth a word needs no bar: ten errors never seen before in an hour are ten incidents (tests/faults-live).
        let asks = !is_wide(ready.model) && !frame.signals.iter().any(Signal::is_gated);
        let bar = if asks { memory.rate.factor() } else { 1.0 };
        enough = memory.evidence >= SURE * bar
            && memory.reach >= REACHES * bar
            && joint[PCA] >= SURE_RESIDUAL
            && of_many;
        let unanimous = joint.iter().chain([&own.robust_z]).all(|score| *score >= UNANIMOUS);
        let unique = of_fortnight >= OUTSTANDING * bar && joint[PCA] >= 1.0;
        stands_out = of_many && (unique || unanimous);
    }
    let guard = guard.max(drifted(frame, gated));
    memory.bars.push(frame.measures, frame.share, open);
    memory.guard = memory.guard << 1 | u64::from(guard >= 1.0);
    memory.test_shares(frame);
    let Memory { accepted_limits, shares: tests, .. } = memory;
    still_passed(frame, accepted_limits, |at| is_tested(tests, at));
    let limit = beyond_limit(frame, &memory.accepted_limits).or_else(|| memory.beyond_share(frame));
    memory.beyond = if limit.is_some() { memory.beyond.saturating_add(1) } else { 0 };
    let limit_score = limit.as_ref().map_or(0.0, |(_, score, _)| *score);
    let stopped = stopped(frame);
    let stop_score = if stopped.is_some() { BEYOND.start() * 1.5 } else { 0.0 };
    let absolute = limit_score.max(stop_score);

    let alone = own.robust_z < 1.0 && own.cusum < 1.0 && joint.iter().all(|score| *score < 1.0);
    let lasts = enough
        || stopped.is_some()
        || limit_score >= FAR
        || memory.beyond >= frame.confirm_frames
        || memory.guard_lasts(frame.confirm_frames);
    let lone = stands_out || guard >= FAR;
    let sure = lasts || lone;
    let above = sure || ratio >= OPENS && !alone || memory.guard & 1 == 1 || absolute >= 1.0;
    let mut verdict = Verdict {
        time_ms: frame.time_ms,
        score: absolute.max(written(ratio.max(guard), memory.rank)),
        above,
        sure,
        lasts,
        calm: !above && ratio < CALM && memory.evidence < CALM_EVIDENCE,
        extent: extent(frame, ratio.max(guard).max(absolute), stopped.is_some()),
        ..Verdict::default()
    };
    if frame.ready.is_some() {
        let names = NAMES.iter().zip(joint);
        verdict.models = names.map(|(name, score)| ((*name).to_owned(), score)).collect();
        verdict.models.push((GUARD.to_owned(), own.robust_z));
        verdict.models.push((DRIFT.to_owned(), own.cusum));
    }
    if limit.is_some() {
        verdict.models.push((LIMIT.to_owned(), limit_score));
    }
    if stopped.is_some() {
        verdict.models.push((STOP.to_owned(), stop_score));
    }
    if above || open || frame.explain {
        let shares = shares(frame, row.as_deref(), &joint);
        explain_into(&mut verdict, frame, &shares, limit.as_ref().map(|(at, ..)| *at));
        let reason = limit.map(|(.., reason)| reason).or(stopped);
        let known = frame.ready.zip(row.as_ref());
        let votes = known.map_or(joint, |(ready, row)| ready.model.joint.agree(row, &joint));
        (verdict.page, verdict.why_not) = page(frame, &votes, &memory.bars, reason, lone && !lasts);
    }
    Judgement { verdict, raw, joint, own }
}

/// Whether it knows many signals.
fn is_wide(model: &Model) -> bool {
    model.learned.iter().flatten().count() >= MANY
}

/// Whether more than one signal has a part in the frame's number, where there are many.
fn is_broad(frame: &Judged<'_>, model: &Model) -> bool {
    let shares = || explain::shares_of_views(frame.deviations).into_iter();
    !is_wide(model) || shares().map(|share| share * share).sum::<f64>() * BREADTH <= 1.0
}

/// How far it reaches. A stop is felt by users, whatever its signal's role.
fn extent(frame: &Judged<'_>, size: f64, stopped: bool) -> Extent {
    let outside = || {
        let both = frame.signals.iter().zip(frame.measures);
        both.filter(|(_, one)| one.counts && one.score >= 1.0)
    };
    let user = stopped || outside().any(|(signal, _)| signal.role == Role::User);
    let size = if stopped { size.max(STOP_SIZE) } else { size };
    Extent { size, breadth: outside().count(), user }
}

/// The longest shift of some signals that are far enough from what is expected, the way that hurts.
fn drifted(frame: &Judged<'_>, of: impl Fn(usize) -> bool) -> f64 {
    let some = frame.measures.iter().enumerate().filter(|(at, one)| of(*at) && one.counts);
    some.fold(0.0, |most, (_, one)| one.drift.max(most))
}

/// Whether a share is beyond its limit by the evidence of many frames.
fn is_tested(shares: &[ShareTest], at: usize) -> bool {
    shares.get(at).is_some_and(|test| test.beyond().is_some())
}

impl Memory {
    /// What is beyond its limit now counts as the new normal.
    pub(super) fn accept_limits(&mut self, signals: &[Signal], values: &[f64]) {
        let tested = (0..signals.len()).filter(|at| is_tested(&self.shares, *at));
        let passed = passed(signals, values).into_iter().chain(tested);
        self.accepted_limits = passed.map(Passed::new).collect();
    }

    /// Tells the test of each share that has a limit what came.
    fn test_shares(&mut self, frame: &Judged<'_>) {
        self.shares.resize(frame.signals.len(), ShareTest::default());
        for (at, (signal, test)) in frame.signals.iter().zip(&mut self.shares).enumerate() {
            if let (Some(limit), Some(volume), Treatment::Rate) =
                (signal.limit, signal.volume, signal.treatment)
            {
                let whole = frame.measures[volume].value;
                let learned = frame.ready.and_then(|ready| ready.model.learned[at].as_ref());
                let usual = learned.map_or(0.0, |learned| learned.center);
                test.push(frame.measures[at].value * whole, whole, usual, limit.value);
            }
        }
    }

    /// The first share beyond its limit by the evidence of many frames: which, its score, and the words.
    fn beyond_share(&self, frame: &Judged<'_>) -> Option<(usize, f64, String)> {
        let both = frame.signals.iter().zip(&self.shares).enumerate();
        let mut both = both.filter(|(at, _)| !Passed::is_of(&self.accepted_limits, *at));
        both.find_map(|(at, (signal, test))| Some((at, signal, test.beyond()?))).map(
            |(at, signal, beyond)| {
                let limit = signal.limit.map_or(f64::NAN, |limit| limit.value);
                let reason = format!(
                    "{}: {} of {}, beyond its limit of {}",
                    signal.name,
                    Unit::Number.shown(beyond.part),
                    Unit::Number.shown(beyond.whole),
                    signal.unit.shown(limit)
                );
                (at, beyond.score, reason)
            },
        )
    }

    /// So many frames failed a signal's own test, one may be missing among them.
    fn guard_lasts(&self, frames: u32) -> bool {
        let seen = 64 - (frames + SLACK_FRAMES).min(64);
        (self.guard & (u64::MAX >> seen)).count_ones() >= frames
    }
}

/// 1.0 at the boundary; see the head of this file.
fn written(ratio: f64, rank: [f64; 2]) -> f64 {
    let size = rank[0].max(rank[1]);
    if ratio >= 1.0 { 1.0 + size } else { size / (1.0 + size) }
}
