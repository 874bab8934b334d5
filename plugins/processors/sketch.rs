//! The most frequent values of a stream in a fixed number of counters (Misra and Gries 1982, "Finding repeated elements").
//!
//! A count is never too high, and too low by at most `total / (COUNTERS + 1)`: a value that has more than that share is in the
//! list. Two lists are merged within the same bound (Agarwal et al. 2012, "Mergeable summaries"). A value that is met again costs
//! a search through 24 numbers; its text is copied only when it takes a counter.

use serde::{Deserialize, Serialize};

/// Counters of one sketch: every value with a twenty-fifth of the events or more is listed.
pub(crate) const COUNTERS: usize = 24;
/// Bytes of a value that are kept.
pub(crate) const LONGEST: usize = 160;

/// A sketch.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Frequent {
    total: u64,
    /// Parts of the values' hashes: two values that share one are counted as one, once in 180 million lists.
    tags: Vec<u32>,
    counts: Vec<u64>,
    values: Vec<String>,
    /// Counters that stand at zero.
    free: usize,
}

impl Frequent {
    /// Counts a value, known by its hash; `write` writes its text when a counter is given to it.
    pub(crate) fn insert(&mut self, hash: u64, write: impl FnOnce(&mut String)) {
        self.total += 1;
        let tag = hash as u32;
        if let Some(at) = self.tags.iter().position(|known| *known == tag) {
            self.free -= usize::from(self.counts[at] == 0);
            self.counts[at] += 1;
        } else if self.tags.len() < COUNTERS {
            let mut value = String::new();
            write(&mut value);
            self.tags.push(tag);
            self.counts.push(1);
            self.values.push(value);
        } else if self.free > 0 {
            let Some(at) = self.counts.iter().position(|count| *count == 0) else { return };
            self.free -= 1;
            (self.tags[at], self.counts[at]) = (tag, 1);
            self.values[at].clear();
            write(&mut self.values[at]);
        } else {
            self.free = 0;
            for count in &mut self.counts {
                *count -= 1;
                self.free += usize::from(*count == 0);
            }
        }
    }

    /// All events that were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The values and at least how often they came, the most frequent first.
    pub(crate) fn rows(&self) -> Vec<(String, u64)> {
        let rows = self.values.iter().cloned().zip(self.counts.iter().copied());
        let mut rows: Vec<(String, u64)> = rows.filter(|(_, count)| *count > 0).collect();
        sort(&mut rows);
        rows
    }

    /// A snapshot that somebody changed by hand must not make a later insert fail.
    pub(crate) fn is_sound(&self) -> bool {
        let len = self.tags.len();
        let free = self.counts.iter().filter(|count| **count == 0).count();
        len <= COUNTERS && self.counts.len() == len && self.values.len() == len && self.free == free
    }
}

/// Adds the rows of another list to one, and keeps [`COUNTERS`] of them.
pub(crate) fn merge(rows: &mut Vec<(String, u64)>, more: &[(String, u64)]) {
    for (value, count) in more {
        match rows.iter_mut().find(|(known, _)| known == value) {
            Some((_, sum)) => *sum += count,
            None => rows.push((value.clone(), *count)),
        }
    }
    sort(rows);
    if let Some(least) = rows.get(COUNTERS).map(|(_, count)| *count) {
        rows.truncate(COUNTERS);
        rows.iter_mut().for_each(|(_, count)| *count -= least);
        rows.retain(|(_, count)| *count > 0);
    }
}

/// The most frequent first; equal ones by name, so that the same data give the same list.
fn sort(rows: &mut [(String, u64)]) {
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
}

/// Writes bytes of others as a value: what is not printable is left out, and it is cut.
pub(crate) fn write_plain(bytes: &[u8], value: &mut String) {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains(char::is_control) => value.push_str(text),
        _ => {
            value.extend(String::from_utf8_lossy(bytes).chars().filter(|one| !one.is_control()));
        }
    }
}

#[cfg(test)]
mod tests {
    //! The sketch's bounds, against exact counts.

    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn sketch(values: &[u16]) -> Frequent {
        let mut it = Frequent::default();
        for value in values {
            let hash = u64::from(*value).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8;
            it.insert(hash, |text| text.push_str(&value.to_string()));
            assert!(it.is_sound());
        }
        it
    }

    fn within_bounds(values: &[u16], rows: &[(String, u64)]) {
        let mut exact: HashMap<String, u64> = HashMap::new();
        values.iter().for_each(|value| *exact.entry(value.to_string()).or_default() += 1);
        let slack = values.len() as u64 / (COUNTERS as u64 + 1);
        let shown: HashMap<&str, u64> =
            rows.iter().map(|(value, count)| (value.as_str(), *count)).collect();
        assert!(rows.len() <= COUNTERS);
        for (value, count) in &exact {
            let told = shown.get(value.as_str()).copied().unwrap_or(0);
            assert!(told <= *count && told + slack >= *count, "{value}: {told} of {count}");
        }
        assert!(rows.is_sorted_by(|a, b| a.1 >= b.1));
    }

    fn streams() -> impl Strategy<Value = Vec<u16>> {
        // A few heavy values among many light ones.
        prop::collection::vec(prop_oneof![0..4_u16, 0..4_u16, 0..400_u16], 0..2000)
    }

    proptest! {
        #[test]
        fn a_count_is_never_too_high_and_too_low_by_a_twenty_fifth_at_most(values in streams()) {
            let it = sketch(&values);
            prop_assert_eq!(it.total(), values.len() as u64);
            within_bounds(&values, &it.rows());
        }

        #[test]
        fn merged_lists_keep_the_bound(first in streams(), second in streams()) {
            let mut rows = sketch(&first).rows();
            merge(&mut rows, &sketch(&second).rows());
            let both: Vec<u16> = first.into_iter().chain(second).collect();
            within_bounds(&both, &rows);
        }
    }

    #[test]
    fn few_values_are_counted_exactly() {
        let it = sketch(&[7, 7, 7, 9, 8, 9]);
        let rows = [("7".to_owned(), 3), ("9".to_owned(), 2), ("8".to_owned(), 1)];
        assert_eq!(it.rows(), rows);
    }

    #[test]
    fn a_value_is_cut_and_made_printable() {
        let mut text = String::new();
        write_plain(b"\x1b[31m\xff/a\n", &mut text);
        assert_eq!(text, "[31m\u{fffd}/a");
        text.clear();
        write_plain(&[b'a'; 1000], &mut text);
        assert_eq!(text.len(), LONGEST);
    }
}
