//! The promises of `inputs.generate`.

mod anomalies;
mod harness;
mod lines;
mod metrics;
mod options;
mod serving;
