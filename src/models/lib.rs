//! Arithmetic only: arrays in, scores out.
//!
//! No clock, no thread, no file, no configuration: whoever calls decides when to train, what to keep and what a score
//! means. Models follow linfa (`params()`, `fit`, `PredictInplace`) over `ndarray` 0.16, the version
//! linfa is built on, and offer a second, allocation-free way in for one row at a time.
//!
//! In reading order:
//! - [`error`]: the one error type,
//! - [`rng`]: the seeded generator behind every random choice,
//! - [`robust`]: median, MAD, quantiles, and the same over a sliding window,
//! - [`roc`]: how well scores rank labelled rows,
//! - [`isolation_forest`]: which rows are easy to isolate, and by which feature,
//! - [`one_class_svm`]: which rows lie outside the region of most, and what took them there,
//! - [`pca`]: which rows break with how the features move together,
//! - [`cusum`]: whether residuals have shifted for good,
//! - [`change_rank`]: which signals changed most at an incident,
//! - [`prophet`]: what a series is expected to be next: trend, seasons, calendars, and a band.

pub mod error;
pub mod rng;
pub mod robust;
pub mod roc;

pub mod change_rank;
pub mod cusum;
pub mod isolation_forest;
pub mod one_class_svm;
pub mod pca;
pub mod prophet;

pub use cusum::{Cusum, CusumParams, CusumState};
pub use error::ModelError;
pub use isolation_forest::{IsolationForest, IsolationForestParams, IsolationForestState};
pub use one_class_svm::{
    FitReport, Gamma, OneClassSvm, OneClassSvmParams, OneClassSvmState, SvmExplanation,
};
pub use pca::{Pca, PcaParams, PcaScore, PcaState};
pub use prophet::Prophet;
