//! Whether a share (of requests that failed) is beyond its limit, request by request: the Bernoulli CUSUM (Reynolds and
//! Stoumbos 1999, "A CUSUM chart for monitoring a proportion when inspecting continuously").
//!
//! A window of fixed length asks a site of thirty requests an hour for twenty errors in vain. This asks for evidence, however
//! long it takes to come together, and forgets it with the first requests that succeed in a row.

use serde::{Deserialize, Serialize};

/// Logarithm of the odds for "beyond" against "as usual" that calls: one in 100,000.
const EVIDENCE: f64 = 11.5;
/// ... of so many events in so many frames at least: one client's five tries in a second are no outage.
const LEAST_EVENTS: f64 = 5.0;
const LEAST_FRAMES: u32 = 2;
/// More evidence is not kept: what is over must be seen to be over.
const MOST: f64 = 2.0 * EVIDENCE;
/// As usual is this share of the limit at least, and beyond is so many times the limit, and so many times what is usual, at
/// least: what is near the limit is left to the rule of a few frames, which has the volume to tell.
const USUAL: f64 = 0.4;
const FAR: f64 = 4.0;
const BEYOND: f64 = 3.0;
/// A share that is usually higher than a third of this has no test.
const HIGHEST: f64 = 0.9;
/// So many requests without one event end it; or more, as many as would hold three at the share that was seen (a chance of 5 %).
const CLEAN: f64 = 10.0;
const MISSED: f64 = 3.0;

/// The test of one share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ShareTest {
    evidence: f64,
    /// Events, of how many, since there is evidence.
    part: f64,
    whole: f64,
    /// Frames with an event.
    frames: u32,
    /// Requests since the last event.
    clean: f64,
}

/// What it says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Beyond {
    /// 1.0 where it calls.
    pub score: f64,
    pub part: f64,
    pub whole: f64,
}

impl ShareTest {
    /// Takes a frame: `part` events of `whole`, where `usual` is the share that was learnt (0 when nothing was).
    pub(super) fn push(&mut self, part: f64, whole: f64, usual: f64, limit: f64) {
        if !(part.is_finite() && whole > 0.0 && whole.is_finite()) {
            return; // nothing was asked
        }
        let usual = usual.max(USUAL * limit);
        let beyond = (FAR * limit).max(BEYOND * usual);
        if beyond >= HIGHEST {
            *self = ShareTest::default();
            return;
        }
        let step = part * (beyond / usual).ln()
            + (whole - part).max(0.0) * ((1.0 - beyond) / (1.0 - usual)).ln();
        self.evidence = (self.evidence + step).clamp(0.0, MOST);
        self.part += part;
        self.whole += whole;
        self.frames += u32::from(part > 0.0);
        self.clean = if part > 0.0 { 0.0 } else { self.clean + whole };
        let over = self.clean >= CLEAN && self.clean * self.part >= MISSED * self.whole;
        if self.evidence == 0.0 || over {
            *self = ShareTest::default();
        }
    }

    /// Whether there is evidence enough.
    pub(super) fn beyond(&self) -> Option<Beyond> {
        let enough = self.part >= LEAST_EVENTS && self.frames >= LEAST_FRAMES;
        let score = self.evidence / EVIDENCE;
        (enough && score >= 1.0).then_some(Beyond { score, part: self.part, whole: self.whole })
    }
}
