//! The inputs, one folder each, and the list of them.

use sentinel_contract::{Entry, Input};

/// Every input, in alphabetical order.
pub const ALL: &[Entry<Input>] = &[];
