//! What needs no model: absolute limits, traffic that stopped, and sources that fell silent.

use sentinel_contract::incident::{Contribution, Direction, SILENCE};

use super::incident::Verdict;
use super::severity::Extent;
use super::signals::{LIMIT_FRAMES, Watch};
use super::verdict::Judged;

/// Absolute limits.
pub(super) const LIMIT: &str = "limit";
/// Traffic that stopped, and sources that fell silent.
pub(super) const STOP: &str = "stop";
/// A limit or a stop is at least this bad, and at most that.
pub(super) const BEYOND: std::ops::RangeInclusive<f64> = 1.0..=5.0;
/// What stopped is as bad as what is so many times its limit.
pub(super) const STOP_SIZE: f64 = 4.0;
/// A source that usually sends at least this much, and in its quietest hundredth this, does not stop by chance.
const STEADY: (f64, f64) = (3.0, 1.0);

/// The first signal beyond its absolute limit: which, its score, and the words.
pub(super) fn beyond_limit(frame: &Judged<'_>) -> Option<(usize, f64, String)> {
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
