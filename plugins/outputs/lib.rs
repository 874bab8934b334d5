//! The outputs, one folder each, and the list of them.

use sentinel_contract::{Entry, Output};

pub mod file;

pub mod kafka;

pub mod loki;

pub mod victoriametrics;

#[cfg(test)]
mod answers;

#[cfg(test)]
#[path = "../transport/fake.rs"]
mod fake;

#[cfg(test)]
mod testing;

/// Every output, in alphabetical order.
pub const ALL: &[Entry<Box<dyn Output>>] = &[
    Entry::of::<file::File>(),
    Entry::of::<kafka::Kafka>(),
    Entry::of::<loki::Loki>(),
    Entry::of::<victoriametrics::VictoriaMetrics>(),
];
