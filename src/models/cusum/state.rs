//! The saved form of a CUSUM.

use serde::{Deserialize, Serialize};

use super::{Cusum, CusumParams, Side};
use crate::ModelError;

/// A CUSUM to save or to restore. `Cusum` itself serialises as this, too; restore through [`Cusum::from_state`] to get
/// the typed error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CusumState {
    /// [`CusumState::VERSION`] of the build that saved it.
    pub version: u32,
    /// As in [`CusumParams`].
    pub reference: f64,
    /// As in [`CusumParams`].
    pub decision: f64,
    /// As in [`CusumParams`].
    pub clip: f64,
    /// As in [`CusumParams`].
    pub ceiling: f64,
    /// As in [`CusumParams`].
    pub decay: f64,
    /// Samples so far.
    pub seen: u64,
    /// Sum and onset of the upper side.
    pub upper: (f64, u64),
    /// Sum and onset of the lower side.
    pub lower: (f64, u64),
}

const MODEL: &str = "CUSUM";

impl CusumState {
    /// The version written and the only one read.
    pub const VERSION: u32 = 1;
}

impl Cusum {
    /// What to save.
    pub fn to_state(&self) -> CusumState {
        let CusumParams { reference, decision, clip, ceiling, decay } = self.params;
        CusumState {
            version: CusumState::VERSION,
            reference,
            decision,
            clip,
            ceiling,
            decay,
            seen: self.seen,
            upper: (self.upper.sum, self.upper.onset),
            lower: (self.lower.sum, self.lower.onset),
        }
    }

    /// Restores a saved CUSUM. Any state is safe to try, also one made up.
    ///
    /// # Errors
    /// [`ModelError::UnknownVersion`] if another version wrote it, [`ModelError::OutOfRange`] for its parameters, and
    /// [`ModelError::CorruptState`] if it contradicts itself.
    pub fn from_state(state: &CusumState) -> Result<Self, ModelError> {
        let CusumState { version, reference, decision, clip, ceiling, decay, seen, .. } = *state;
        if version != CusumState::VERSION {
            return Err(ModelError::UnknownVersion {
                model: MODEL,
                found: version,
                supported: CusumState::VERSION,
            });
        }
        let mut cusum = Self::new(CusumParams { reference, decision, clip, ceiling, decay })?;
        cusum.seen = seen;
        for (side, (sum, onset)) in
            [(&mut cusum.upper, state.upper), (&mut cusum.lower, state.lower)]
        {
            if !(0.0..=ceiling).contains(&sum) {
                return Err(corrupt("a sum is out of range"));
            }
            if onset > seen {
                return Err(corrupt("a shift begins in the future"));
            }
            *side = Side { sum, onset };
        }
        Ok(cusum)
    }
}

fn corrupt(reason: &'static str) -> ModelError {
    ModelError::CorruptState { model: MODEL, reason }
}

impl TryFrom<CusumState> for Cusum {
    type Error = ModelError;

    fn try_from(state: CusumState) -> Result<Self, ModelError> {
        Self::from_state(&state)
    }
}

impl From<Cusum> for CusumState {
    fn from(cusum: Cusum) -> Self {
        cusum.to_state()
    }
}
