//! What was made of bytes that come again and again (the labels of a stream, the name of a field): made once, then shared.
//!
//! The key is the bytes as they came, so that nothing is parsed, cleaned or allocated for what is known. Two spellings of
//! one label set are two entries; whoever compares label sets compares their contents. Bounded by entries and by bytes;
//! what is full is forgotten as a whole, and made anew.

use std::collections::HashMap;
use std::sync::Arc;

use sentinel_contract::{Labels, Name};

/// Entries at most: an aggregator's hosts have a hundred series each. They take memory as they come.
const MOST: usize = 131_072;
/// Bytes of all keys at most.
const MOST_BYTES: usize = 16 << 20;
/// A longer key is not remembered.
const LONGEST: usize = 64 << 10;

/// Values by the bytes they are made of.
pub struct Interner<T> {
    known: HashMap<Box<[u8]>, T, foldhash::fast::RandomState>,
    bytes: usize,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { known: HashMap::default(), bytes: 0 }
    }
}

impl<T: Clone> Interner<T> {
    /// The value of this key, made if it is new. What cannot be made is tried again each time.
    #[inline]
    pub fn find<E>(&mut self, key: &[u8], make: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        match self.known.get(key) {
            Some(known) => Ok(known.clone()),
            None => Ok(self.keep(key, make()?)),
        }
    }

    #[cold]
    fn keep(&mut self, key: &[u8], made: T) -> T {
        if key.len() > LONGEST {
            return made;
        }
        if self.known.len() >= MOST || self.bytes + key.len() > MOST_BYTES {
            *self = Interner::default();
        }
        self.bytes += key.len();
        self.known.insert(key.into(), made.clone());
        made
    }

    /// How many are known.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }
}

/// The names of fields.
#[derive(Default)]
pub(super) struct Names(Interner<Arc<str>>);

impl Names {
    /// A name as it came; what is not UTF-8 is replaced.
    #[inline]
    pub(super) fn name(&mut self, name: &[u8]) -> Name {
        let made = || Ok::<_, std::convert::Infallible>(String::from_utf8_lossy(name).into());
        match self.0.find(name, made) {
            Ok(name) => Name::Shared(name),
            Err(never) => match never {},
        }
    }
}

/// Label sets that were given, by a number that stands for them in keys.
#[derive(Default)]
pub(super) struct Bases {
    known: Vec<(Arc<Labels>, u64)>,
    next: u64,
}

/// A plugin gives a label set for each of its topics or listeners.
const MOST_BASES: usize = 64;

impl Bases {
    /// The number of this label set. It is never that of another one.
    #[inline]
    pub(super) fn number(&mut self, labels: &Arc<Labels>) -> u64 {
        let same = self.known.iter().find(|(known, _)| Arc::ptr_eq(known, labels));
        let same = same.or_else(|| self.known.iter().find(|(known, _)| known == labels));
        if let Some((_, number)) = same {
            return *number;
        }
        if self.known.len() == MOST_BASES {
            self.known.clear(); // numbers go on: keys of the old ones are found no more, and go with their interner
        }
        self.next += 1;
        self.known.push((Arc::clone(labels), self.next));
        self.next
    }
}

/// Appends a part of a key so that no two lists of parts give one key.
#[inline]
pub(super) fn put_part(key: &mut Vec<u8>, part: &[u8]) {
    key.extend_from_slice(&(part.len() as u64).to_le_bytes());
    key.extend_from_slice(part);
}
