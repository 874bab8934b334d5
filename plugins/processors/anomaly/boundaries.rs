//! The boundaries of every score of a group, and the raw scores that move them.

use serde::{Deserialize, Serialize};

use super::joint::{JOINT, Votes};
use super::score::{Boundary, Scale, Trailing};
use super::train::Options;

/// The boundaries of every score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Boundaries {
    /// Of the frame's number, over a day of minutes: what the written score is measured in.
    pub frame: Trailing,
    /// The same over two days: what the evidence for an incident is measured in.
    pub days: Trailing,
    /// The same over a fortnight: what one frame alone must be beyond to be enough.
    pub fortnight: Trailing,
    /// Of the joint models.
    pub joint: Vec<Boundary>,
    /// Of the signals' own tests.
    pub robust_z: Boundary,
}

/// Raw scores of one frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Raw {
    pub frame: f64,
    pub joint: Votes,
    pub robust_z: f64,
}

impl Raw {
    /// The larger of each.
    pub(super) fn max(&self, other: &Raw) -> Raw {
        Raw {
            frame: self.frame.max(other.frame),
            joint: std::array::from_fn(|model| self.joint[model].max(other.joint[model])),
            robust_z: self.robust_z.max(other.robust_z),
        }
    }
}

impl Boundaries {
    /// From the training's frames, oldest first: their numbers, the joint models' votes, and the signals' own tests.
    pub(super) fn learn(
        options: &Options,
        raw: &[f64],
        votes: &[Votes],
        alarms: impl Iterator<Item = f64>,
    ) -> Self {
        let of_joint = |model: usize| {
            let raw = votes.iter().map(|votes| votes[model]);
            Boundary::of_size(options.size, Scale::Tail, options.share, raw)
        };
        Boundaries {
            frame: Trailing::day(options.welcome, options.size, raw.iter().copied()),
            days: Trailing::days(options.size, raw.iter().copied()),
            fortnight: Trailing::fortnight(options.welcome, options.size, raw.iter().copied()),
            joint: (0..JOINT).map(of_joint).collect(),
            robust_z: Boundary::of_size(options.size, Scale::Ratio, options.share, alarms),
        }
    }

    /// Takes a frame's number into account; `open` while there is an incident.
    ///
    /// These boundaries move on even then, that of evidence once it looks back on two whole days: what
    /// is usual today is not to call all day. A shorter one would learn the incident. An incident goes on as long as
    /// there is evidence, whatever the score's boundary has learnt of it.
    pub(super) fn push(&mut self, raw: &Raw, open: bool) {
        if !open || self.days.is_whole() {
            self.days.push(raw.frame);
        }
        self.frame.push(raw.frame);
        self.fortnight.push(raw.frame);
    }

    /// Takes a frame's other scores into account, once it is known not to be of a confirmed incident that is young.
    pub(super) fn settle(&mut self, raw: &Raw) {
        for (boundary, raw) in self.joint.iter_mut().zip(raw.joint) {
            boundary.push(raw);
        }
        self.robust_z.push(raw.robust_z);
    }
}
