//! The processors, one folder each, and the list of them.

use sentinel_contract::{Entry, Processor};

/// Every processor, in alphabetical order.
pub const ALL: &[Entry<Processor>] = &[];
