//! Field names that the data brings, shared, so that a known name costs a look-up and no allocation.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sentinel_contract::Name;

/// Names kept; data that brings more (keys that are ids) pays an allocation for each.
const MAX_NAMES: usize = 4096;

/// The names seen.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: HashMap<Box<[u8]>, Arc<str>, FixedState>,
    buffer: Vec<u8>,
}

impl Names {
    /// This name.
    pub(super) fn get(&mut self, name: &[u8]) -> Name {
        if let Some(known) = self.known.get(name) {
            return Name::Shared(Arc::clone(known));
        }
        let shared: Arc<str> = String::from_utf8_lossy(name).into();
        if self.known.len() < MAX_NAMES {
            self.known.insert(name.into(), Arc::clone(&shared));
        }
        Name::Shared(shared)
    }

    /// `first`, `between` and `second` as one name.
    pub(super) fn joined(&mut self, first: &[u8], between: &[u8], second: &[u8]) -> Name {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        for part in [first, between, second] {
            buffer.extend_from_slice(part);
        }
        let name = self.get(&buffer);
        self.buffer = buffer;
        name
    }
}
