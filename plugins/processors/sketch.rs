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
#[serde(into = "Saved", try_from = "Saved")]
pub(crate) struct Frequent {
    total: u64,
    /// Counters in use.
    len: usize,
    /// Parts of the values' hashes: two values that share one are counted as one, once in 180 million lists.
    tags: [u32; COUNTERS],
    counts: [u32; COUNTERS],
    /// As they came: they are made printable when somebody looks.
    values: Vec<Vec<u8>>,
}

impl Frequent {
    /// Counts a value, known by its hash.
    #[inline]
    pub(crate) fn insert(&mut self, hash: u64, value: &[u8]) {
        self.total += 1;
        let tag = hash as u32;
        let mut known = places(&self.tags, tag);
        known &= (1_u32 << self.len).wrapping_sub(1);
        if known != 0 {
            let at = known.trailing_zeros() as usize;
            self.counts[at] = self.counts[at].saturating_add(1);
        } else {
            self.miss(tag, value);
        }
    }

    fn miss(&mut self, tag: u32, value: &[u8]) {
        let value = &value[..value.len().min(LONGEST)];
        if self.len < COUNTERS {
            (self.tags[self.len], self.counts[self.len]) = (tag, 1);
            self.values.push(value.to_vec());
            self.len += 1;
            return;
        }
        let free = places(&self.counts, 0);
        if free == 0 {
            self.counts.iter_mut().for_each(|count| *count -= 1);
            return;
        }
        let at = free.trailing_zeros() as usize;
        (self.tags[at], self.counts[at]) = (tag, 1);
        self.values[at].clear(); // its room is used again: nothing is allocated
        self.values[at].extend_from_slice(value);
    }

    /// All events that were counted.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// The values and at least how often they came, the most frequent first.
    pub(crate) fn rows(&self) -> Vec<(String, u64)> {
        let rows = self.values.iter().zip(&self.counts).filter(|(_, count)| **count > 0);
        let rows = rows.map(|(value, count)| (printable(value), u64::from(*count)));
        let mut rows: Vec<(String, u64)> = rows.collect();
        sort(&mut rows);
        rows
    }
}

/// Where a number stands, a bit a place. Without a branch, so that the compiler compares many at once.
#[inline]
fn places(numbers: &[u32; COUNTERS], wanted: u32) -> u32 {
    let mut mask = 0;
    for (at, number) in numbers.iter().enumerate() {
        mask |= u32::from(*number == wanted) << at;
    }
    mask
}

/// As it is in a snapshot.
#[derive(Serialize, Deserialize)]
struct Saved {
    total: u64,
    rows: Vec<(u32, u32, String)>,
}

impl From<Frequent> for Saved {
    fn from(it: Frequent) -> Self {
        let rows = it.values.iter().enumerate();
        let rows = rows.map(|(at, value)| (it.tags[at], it.counts[at], printable(value)));
        Saved { total: it.total, rows: rows.collect() }
    }
}

impl TryFrom<Saved> for Frequent {
    type Error = String;

    fn try_from(saved: Saved) -> Result<Self, String> {
        if saved.rows.len() > COUNTERS {
            return Err("a sketch with too many counters".to_owned());
        }
        let mut it = Frequent { total: saved.total, len: saved.rows.len(), ..Frequent::default() };
        for (at, (tag, count, value)) in saved.rows.into_iter().enumerate() {
            (it.tags[at], it.counts[at]) = (tag, count);
            it.values.push(value.into_bytes());
        }
        Ok(it)
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
        for (_, count) in rows.iter_mut() {
            *count -= least;
        }
        rows.retain(|(_, count)| *count > 0);
    }
}

/// The most frequent first; equal ones by name, so that the same data give the same list.
fn sort(rows: &mut [(String, u64)]) {
    rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
}

/// What others wrote, without what is not printable.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().filter(|letter| !letter.is_control()).collect()
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
            it.insert(hash, value.to_string().as_bytes());
        }
        it
    }

    fn within_bounds(values: &[u16], rows: &[(String, u64)]) {
        let mut exact: HashMap<String, u64> = HashMap::new();
        for value in values {
            *exact.entry(value.to_string()).or_default() += 1;
        }
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
        let mut it = Frequent::default();
        it.insert(1, b"\x1b[31m\xff/a\n");
        it.insert(1, b"\x1b[31m\xff/a\n");
        it.insert(2, &[b'a'; 1000]);
        assert_eq!(it.rows()[0].0, "[31m\u{fffd}/a");
        assert_eq!(it.rows()[1].0.len(), LONGEST);
    }

    #[test]
    fn a_sketch_comes_back_from_a_snapshot_as_it_was() {
        let it = sketch(&(0..500).map(|at| at % 60).collect::<Vec<_>>());
        let json = serde_json::to_string(&it).unwrap();
        assert_eq!(serde_json::from_str::<Frequent>(&json).unwrap(), it);
        let many = serde_json::json!({"total": 1, "rows": vec![(1, 1, "x"); COUNTERS + 1]});
        assert!(serde_json::from_value::<Frequent>(many).is_err());
    }
}
