//! What needs no model: absolute limits, traffic that stopped, and sources that fell silent.

use sentinel_contract::incident::{Contribution, Direction, SILENCE};
use serde::{Deserialize, Serialize};

use super::incident::Verdict;
use super::severity::Extent;
use super::signals::{LIMIT_FRAMES, Signal, Watch};
use super::verdict::Judged;

/// Absolute limits.
pub(super) const LIMIT: &str = "limit";
/// Traffic that stopped, and sources that fell silent.
pub(super) const STOP: &str = "stop";
/// A limit or a stop is at least this bad, and at most that.
pub(super) const BEYOND: std::ops::RangeInclusive<f64> = 1.0..=5.0;
/// What stopped is as bad as what is so many times its limit.
pub(super) const STOP_SIZE: f64 = 4.0;
/// A limit that was passed as the new normal counts again when it was kept for so many frames in a row.
const KEPT_FRAMES: u32 = 10;
/// A source that usually sends at least this much, and in its quietest hundredth this, does not stop by chance.
const STEADY: (f64, f64) = (3.0, 1.0);

/// How many times its limit a value of a signal is; `None` without a limit, or a value.
fn over(signal: &Signal, value: f64) -> Option<f64> {
    let limit = signal.limit.filter(|_| !value.is_nan())?;
    Some(match signal.direction {
        Watch::Down => limit.value / value.max(f64::MIN_POSITIVE),
        Watch::Up | Watch::Both => value / limit.value,
    })
}

/// The signals beyond their limits, by their values alone.
pub(super) fn passed(signals: &[Signal], values: &[f64]) -> Vec<usize> {
    let both = signals.iter().zip(values).enumerate();
    let passed =
        both.filter(|(_, (signal, value))| over(signal, **value).is_some_and(|by| by >= 1.0));
    passed.map(|(at, _)| at).collect()
}

/// A limit that is passed as the new normal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Passed {
    /// Which signal's.
    at: usize,
    /// For so many frames in a row it was not.
    kept: u32,
}

impl Passed {
    pub(super) fn new(at: usize) -> Self {
        Passed { at, kept: 0 }
    }

    pub(super) fn is_of(all: &[Passed], at: usize) -> bool {
        all.iter().any(|one| one.at == at)
    }
}

/// Those that were kept for a while count again; a value that is missing says nothing. `tested` is beyond by the evidence of many frames.
pub(super) fn still_passed(
    frame: &Judged<'_>,
    accepted: &mut Vec<Passed>,
    tested: impl Fn(usize) -> bool,
) {
    accepted.retain_mut(|one| {
        let value = frame.measures.get(one.at).map_or(f64::NAN, |measure| measure.value);
        match frame.signals.get(one.at).and_then(|signal| over(signal, value)) {
            Some(by) if by >= 1.0 || tested(one.at) => one.kept = 0,
            Some(_) => one.kept += 1,
            None => (),
        }
        one.kept < KEPT_FRAMES
    });
}

/// The first signal beyond its absolute limit, but for those `accepted`: which, its score, and the words.
pub(super) fn beyond_limit(
    frame: &Judged<'_>,
    accepted: &[Passed],
) -> Option<(usize, f64, String)> {
    frame.signals.iter().enumerate().filter(|(at, _)| !Passed::is_of(accepted, *at)).find_map(
        |(at, signal)| {
            let limit = signal.limit?;
            let value = frame.measures[at].value;
            let mut ratio = over(signal, value)?;
            if let Some((counter, least)) = limit.least {
                let sum = |of: usize| -> f64 {
                    let frames = frame.recent.iter().rev().take(LIMIT_FRAMES);
                    frames.map(|frame| frame.values[of]).filter(|value| value.is_finite()).sum()
                };
                let volume = signal.volume.map_or(f64::NAN, sum);
                if sum(counter) < least {
                    return None;
                }
                ratio = ratio.min(over(signal, sum(counter) / volume)?);
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
        },
    )
}

/// Steady traffic that is zero for longer than a confirmation takes.
pub(super) fn stopped(frame: &Judged<'_>) -> Option<String> {
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

/// The verdict on a source that has said nothing for `missing` frames and usually speaks in every one.
pub(super) fn silence(time_ms: i64, missing: u32, patience: u32) -> Verdict {
    let score = (f64::from(missing) / f64::from(patience)).clamp(*BEYOND.start(), *BEYOND.end());
    Verdict {
        time_ms,
        score,
        above: score >= 1.0,
        sure: score >= 1.0,
        lasts: score >= 1.0,
        calm: false,
        unseen: false,
        silence: true,
        extent: Extent { size: 1.0, breadth: 1, user: false }, // whatever is behind it is not known
        models: vec![(STOP.to_owned(), score)],
        contributions: vec![Contribution {
            feature: SILENCE.to_owned(),
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
