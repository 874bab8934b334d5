//! The one error type of the models: what a caller can act on.

/// Why a model could not be fitted or restored.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// A hyperparameter is outside its range; nothing was fitted.
    #[error("{name} is {value}, must be {must_be}")]
    InvalidParameter {
        /// The parameter's name as in the builder.
        name: &'static str,
        /// What was given.
        value: usize,
        /// The allowed range in words.
        must_be: &'static str,
    },
    /// A setting that is not a count is outside its range, or not a number; nothing was fitted.
    #[error("{name} is {value}, must be {must_be}")]
    InvalidNumber {
        /// The setting's name as in the struct.
        name: &'static str,
        /// What was given.
        value: f64,
        /// The allowed range in words.
        must_be: &'static str,
    },
    /// Too few rows to learn from; worth another try when more data has come.
    #[error("{got} rows are too few to fit, at least {needed} are needed")]
    NotEnoughRows {
        /// Least number of rows.
        needed: usize,
        /// Rows in the data set.
        got: usize,
    },
    /// The data has no columns, more than the model can number, or not the stated number of values.
    #[error("the data has the wrong shape: {0}")]
    Shape(String),
    /// A saved state was written by another version of this code; train again.
    #[error("saved {model} has version {found}, this build reads version {supported}")]
    UnknownVersion {
        /// Which model.
        model: &'static str,
        /// Version in the state.
        found: u32,
        /// The only version read here.
        supported: u32,
    },
    /// A saved state contradicts itself; train again.
    #[error("saved {model} is corrupt: {reason}")]
    CorruptState {
        /// Which model.
        model: &'static str,
        /// What does not fit.
        reason: &'static str,
    },
    /// An error of linfa itself, as its traits ask for.
    #[error(transparent)]
    Linfa(#[from] linfa::Error),
}
