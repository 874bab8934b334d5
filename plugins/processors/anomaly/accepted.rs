//! What was taken as the new normal of a group: until it was quiet once it opens nothing new. That must not make the detector deaf
//! to anything else: another limit, traffic that stops, a silence, and what calls by other signals do open an incident.

use sentinel_contract::incident::Contribution;
use serde::{Deserialize, Serialize};

use super::group::{Group, Shared};
use super::incident::Verdict;
use super::limits::{LIMIT, STOP};
use super::open::{Open, leading};

/// See the head of this file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Accepted {
    /// The features that led it. None in a state of an older version, and of a mere combination.
    features: Vec<String>,
}

impl Accepted {
    fn of(contributions: &[Contribution]) -> Self {
        Accepted { features: leading(contributions) }
    }

    /// A verdict is about something else, and sure of it.
    pub(super) fn is_other(&self, verdict: &Verdict) -> bool {
        if !verdict.sure {
            return false;
        }
        let absolute = verdict.models.iter().any(|(name, _)| name == LIMIT || name == STOP);
        let known = leading(&verdict.contributions).iter().any(|one| self.features.contains(one));
        absolute || verdict.page.is_some() && !known && !self.features.is_empty()
    }
}

impl Group {
    /// An open incident becomes the new normal: its limits do not count until they were kept once.
    pub(super) fn accept_of(&mut self, open: &Open, shared: &Shared) -> Accepted {
        if let Some(frame) = self.recent.back() {
            self.memory.accept_limits(&shared.signals.signals, &frame.values);
        }
        Accepted::of(&open.contributions)
    }
}
