//! The processors, one folder each, and the list of them.

pub mod anomaly;
pub mod filter;
mod grouping;
pub mod log_features;
pub mod log_patterns;
pub mod parse;
mod redact;
#[cfg(test)]
mod samples;
mod sketch;
mod watermark;

use sentinel_contract::{Entry, Processor};

/// Every processor, in alphabetical order.
pub const ALL: &[Entry<Processor>] = &[
    Entry::of::<anomaly::Anomaly>(),
    Entry::of::<filter::Filter>(),
    Entry::of::<log_features::LogFeatures>(),
    Entry::of::<log_patterns::LogPatterns>(),
    Entry::of::<parse::Parse>(),
];
