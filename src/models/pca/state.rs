//! The saved form of principal components.

use serde::{Deserialize, Serialize};

use super::{LIMIT, Pca, params::MAX_FEATURES};
use crate::ModelError;

/// Principal components to save or to restore. `Pca` itself serialises as this, too; restore through
/// [`Pca::from_state`] to get the typed error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PcaState {
    /// [`PcaState::VERSION`] of the build that saved it.
    pub version: u32,
    /// Mean of each feature.
    pub mean: Vec<f64>,
    /// Variances along the components, largest first.
    pub variances: Vec<f64>,
    /// The components' unit vectors, one after the other.
    pub components: Vec<f64>,
    /// Variance outside the components, over the number of features.
    pub left_over: f64,
}

const MODEL: &str = "principal components";

/// How far from unit length, or from a right angle, restored components may be; computed ones are within 1e-12.
const SKEW: f64 = 1e-6;

impl PcaState {
    /// The version written and the only one read.
    pub const VERSION: u32 = 1;
}

impl Pca {
    /// What to save.
    pub fn to_state(&self) -> PcaState {
        PcaState {
            version: PcaState::VERSION,
            mean: self.mean.clone(),
            variances: self.variances.clone(),
            components: self.components.clone(),
            left_over: self.left_over,
        }
    }

    /// Restores saved components. Any state is safe to try, also one made up.
    ///
    /// # Errors
    /// [`ModelError::UnknownVersion`] if another version wrote it, [`ModelError::CorruptState`] if it contradicts itself.
    pub fn from_state(state: PcaState) -> Result<Self, ModelError> {
        if state.version != PcaState::VERSION {
            return Err(ModelError::UnknownVersion {
                model: MODEL,
                found: state.version,
                supported: PcaState::VERSION,
            });
        }
        let PcaState { mean, variances, components, left_over, .. } = state;
        let n_features = mean.len();
        ensure((1..=MAX_FEATURES).contains(&n_features), "number of features out of range")?;
        ensure(variances.len() < n_features, "as many components as features")?;
        ensure(components.len() == variances.len() * n_features, "lengths differ")?;
        ensure(mean.iter().all(|mean| mean.abs() <= LIMIT), "a mean is out of range")?;
        ensure(variances.iter().all(|v| v.is_finite() && *v > 0.0), "a variance is out of range")?;
        ensure(variances.is_sorted_by(|a, b| a >= b), "the variances are out of order")?;
        ensure(left_over.is_finite() && left_over >= 0.0, "the residual is out of range")?;

        let pca = Self { mean, variances, components, left_over };
        ensure(pca.is_orthonormal(), "the components are not at right angles")?;
        Ok(pca)
    }

    fn is_orthonormal(&self) -> bool {
        self.components().enumerate().all(|(i, one)| {
            self.components().take(i + 1).enumerate().all(|(j, other)| {
                let product: f64 = one.iter().zip(other).map(|(a, b)| a * b).sum();
                (product - f64::from(u8::from(i == j))).abs() <= SKEW
            })
        })
    }
}

impl TryFrom<PcaState> for Pca {
    type Error = ModelError;

    fn try_from(state: PcaState) -> Result<Self, ModelError> {
        Self::from_state(state)
    }
}

impl From<Pca> for PcaState {
    fn from(pca: Pca) -> Self {
        pca.to_state()
    }
}

fn ensure(holds: bool, reason: &'static str) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(ModelError::CorruptState { model: MODEL, reason }) }
}
