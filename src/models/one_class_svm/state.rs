//! The saved form of a one-class SVM: support vectors without filling, and the ordinary rows of explanations.

use serde::{Deserialize, Serialize};

use super::kernel::{Blocks, LIMIT};
use super::params::{GAMMAS, MAX_FEATURES, MAX_ROWS, PROTOTYPES, filled_up};
use super::{FitReport, OneClassSvm};
use crate::ModelError;

/// A one-class SVM to save or to restore. `OneClassSvm` itself serialises as this, too; restore through
/// [`OneClassSvm::from_state`] to get the typed error.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OneClassSvmState {
    /// [`OneClassSvmState::VERSION`] of the build that saved it.
    pub version: u32,
    /// The kernel's gamma.
    pub gamma: f64,
    /// The boundary.
    pub rho: f64,
    /// Taken off each feature first.
    pub offset: Vec<f64>,
    /// Support vectors, one after the other, less `offset` and times `sqrt(gamma * log2 e)`.
    pub vectors: Vec<f32>,
    /// One weight per support vector, above 0 and at most 1.
    pub alphas: Vec<f32>,
    /// Ordinary rows, in the units of support vectors.
    pub prototypes: Vec<f32>,
    /// What the fit came to.
    pub fit: FitReport,
}

const MODEL: &str = "one-class SVM";

impl OneClassSvmState {
    /// The version written and the only one read.
    pub const VERSION: u32 = 1;
}

impl OneClassSvm {
    /// What to save.
    pub fn to_state(&self) -> OneClassSvmState {
        OneClassSvmState {
            version: OneClassSvmState::VERSION,
            gamma: self.gamma,
            rho: self.rho,
            offset: self.offset.clone(),
            vectors: (0..self.n_support()).flat_map(|place| self.vectors.row(place)).collect(),
            alphas: self.alphas[..self.n_support()].to_vec(),
            prototypes: self.prototypes.clone(),
            fit: self.fit,
        }
    }

    /// Restores a saved one-class SVM. Any state is safe to try, also one made up.
    ///
    /// # Errors
    /// [`ModelError::UnknownVersion`] if another version wrote it, [`ModelError::CorruptState`] if it contradicts itself.
    pub fn from_state(state: OneClassSvmState) -> Result<Self, ModelError> {
        if state.version != OneClassSvmState::VERSION {
            return Err(ModelError::UnknownVersion {
                model: MODEL,
                found: state.version,
                supported: OneClassSvmState::VERSION,
            });
        }
        let OneClassSvmState { gamma, rho, offset, vectors, alphas, prototypes, fit, .. } = state;
        let n_features = offset.len();
        ensure((1..=MAX_FEATURES).contains(&n_features), "number of features out of range")?;
        ensure(GAMMAS.contains(&gamma), "gamma out of range")?;
        ensure(rho.is_finite() && rho > 0.0, "rho out of range")?;
        ensure((1..=MAX_ROWS).contains(&alphas.len()), "number of support vectors out of range")?;
        ensure(vectors.len() == alphas.len() * n_features, "lengths differ")?;
        let kept = prototypes.len() / n_features;
        ensure((1..=PROTOTYPES).contains(&kept), "number of ordinary rows out of range")?;
        ensure(prototypes.len() == kept * n_features, "lengths differ")?;
        ensure(offset.iter().all(|value| value.abs() <= LIMIT), "an offset is out of range")?;
        let mut values = vectors.iter().chain(&prototypes);
        ensure(values.all(|value| value.abs() <= 1e18), "a value is out of range")?;
        let weights = alphas.iter().all(|alpha| *alpha > 0.0 && *alpha <= 1.0);
        ensure(weights, "a weight is out of range")?;
        let vectors = Blocks::new(alphas.len(), n_features, |row, feature| {
            vectors[row * n_features + feature]
        });
        Ok(Self { gamma, rho, offset, vectors, alphas: filled_up(alphas), prototypes, fit })
    }
}

impl TryFrom<OneClassSvmState> for OneClassSvm {
    type Error = ModelError;

    fn try_from(state: OneClassSvmState) -> Result<Self, ModelError> {
        Self::from_state(state)
    }
}

impl From<OneClassSvm> for OneClassSvmState {
    fn from(svm: OneClassSvm) -> Self {
        svm.to_state()
    }
}

fn ensure(holds: bool, reason: &'static str) -> Result<(), ModelError> {
    if holds { Ok(()) } else { Err(ModelError::CorruptState { model: MODEL, reason }) }
}
