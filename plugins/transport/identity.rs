//! What was worked out for a shared value (an encoded label set), found again by the value's address.
//!
//! The entry holds the `Arc`, so its address cannot be taken by another value. A value that comes with a new address
//! but equal content finds its old entry by hash, and takes it over: whoever rebuilds its labels makes nothing grow.
//! Entries that were not used for a while are removed by their owner ([`ByIdentity::retain`]).

use std::collections::HashMap;
use std::sync::Arc;

/// Keys are addresses and hashes: one multiplication is enough.
type Map<K> = HashMap<K, u32, foldhash::fast::FixedState>;

/// One value and what was worked out for it.
pub struct Entry<K, V> {
    /// The value, held so that its address stays its own.
    pub key: Arc<K>,
    hash: u64,
    /// What was worked out.
    pub value: V,
}

/// Entries by the address of their key, then by its content.
pub struct ByIdentity<K, V> {
    entries: Vec<Entry<K, V>>,
    by_address: Map<usize>,
    by_hash: Map<u64>,
}

impl<K, V> Default for ByIdentity<K, V> {
    fn default() -> Self {
        ByIdentity { entries: Vec::new(), by_address: Map::default(), by_hash: Map::default() }
    }
}

impl<K: PartialEq, V> ByIdentity<K, V> {
    /// The index of the entry of exactly this `Arc`.
    #[inline]
    pub fn find(&self, key: &Arc<K>) -> Option<usize> {
        self.by_address.get(&address(key)).map(|at| *at as usize)
    }

    /// Whether entry `at` is the one of exactly this `Arc`: cheaper than [`ByIdentity::find`] when it can be guessed.
    #[inline]
    pub fn is(&self, at: usize, key: &Arc<K>) -> bool {
        self.entries.get(at).is_some_and(|entry| Arc::ptr_eq(&entry.key, key))
    }

    /// The index of the entry of this value, made if there is none with equal content. `hash` is of the content.
    /// True when it was made.
    pub fn adopt(&mut self, key: &Arc<K>, hash: u64, make: impl FnOnce() -> V) -> (usize, bool) {
        if let Some(at) = self.find(key) {
            return (at, false);
        }
        let known = self.by_hash.get(&hash).map(|at| *at as usize);
        let known = known.filter(|at| *self.entries[*at].key == **key);
        let at = known.unwrap_or(self.entries.len());
        match known {
            Some(at) => {
                let entry = &mut self.entries[at];
                self.by_address.remove(&address(&entry.key));
                entry.key = Arc::clone(key);
            }
            None => self.entries.push(Entry { key: Arc::clone(key), hash, value: make() }),
        }
        self.by_address.insert(address(key), at as u32);
        self.by_hash.insert(hash, at as u32);
        (at, known.is_none())
    }

    /// Removes entries; the indices of those that stay may change, which true announces.
    pub fn retain(&mut self, keep: impl FnMut(&Entry<K, V>) -> bool) -> bool {
        let before = self.entries.len();
        self.entries.retain(keep);
        if self.entries.len() == before {
            return false;
        }
        self.by_address.clear();
        self.by_hash.clear();
        for (at, entry) in self.entries.iter().enumerate() {
            self.by_address.insert(address(&entry.key), at as u32);
            self.by_hash.insert(entry.hash, at as u32);
        }
        true
    }

    /// All entries, by index.
    pub fn entries(&self) -> &[Entry<K, V>] {
        &self.entries
    }

    /// What was worked out for all entries, by index.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.entries.iter_mut().map(|entry| &mut entry.value)
    }

    /// What was worked out for entry `at`.
    #[inline]
    pub fn value(&self, at: usize) -> &V {
        &self.entries[at].value
    }

    /// What was worked out for entry `at`.
    #[inline]
    pub fn value_mut(&mut self, at: usize) -> &mut V {
        &mut self.entries[at].value
    }
}

fn address<K>(key: &Arc<K>) -> usize {
    Arc::as_ptr(key).addr()
}
