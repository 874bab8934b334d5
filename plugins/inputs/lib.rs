//! The inputs, one folder each, and the list of them.

pub mod changes;
pub mod generate;
pub mod kafka;
pub mod system;
pub mod tail;

mod ledger;

#[cfg(test)]
#[path = "../../tests/fuzz/corpus.rs"]
mod corpus;

use sentinel_contract::{Entry, Input};

/// Every input, in alphabetical order.
pub const ALL: &[Entry<Input>] = &[
    Entry::of::<changes::Changes>(),
    Entry::of::<generate::Generate>(),
    Entry::of::<kafka::Kafka>(),
    Entry::of::<system::System>(),
    Entry::of::<tail::Tail>(),
];
