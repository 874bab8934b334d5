//! The outputs, one folder each, and the list of them.

use sentinel_contract::{Entry, Output};

/// Every output, in alphabetical order.
pub const ALL: &[Entry<Box<dyn Output>>] = &[];
