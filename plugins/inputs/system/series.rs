//! Series built once and reused: a sample then costs a reference count. Devices come and go; theirs with them.

use std::sync::Arc;

use sentinel_contract::{Kind, Labels, Metric, Series};

use super::reader::Scratch;
use super::roots::Roots;

/// What every collector is given.
#[derive(Clone, Debug)]
pub(super) struct Common {
    /// On every series.
    pub(super) tags: Arc<Labels>,
    /// Where to read.
    pub(super) roots: Arc<Roots>,
    /// What to read into.
    pub(super) scratch: Scratch,
}

impl Common {
    /// One series; `more` are its own labels.
    pub(super) fn series(&self, name: &str, kind: Kind, more: &[(&str, &str)]) -> Arc<Series> {
        Series::new(name, kind, self.tags.iter().chain(more.iter().copied()))
    }

    /// Several series with the same labels.
    pub(super) fn group<const N: usize>(
        &self,
        names: &[(&str, Kind); N],
        more: &[(&str, &str)],
    ) -> [Arc<Series>; N] {
        names.map(|(name, kind)| self.series(name, kind, more))
    }
}

/// Appends one sample.
pub(super) fn push(out: &mut Vec<Metric>, series: &Arc<Series>, time_ms: i64, value: f64) {
    out.push(Metric { series: Arc::clone(series), time_ms, value });
}

/// Appends one sample a series.
pub(super) fn push_all<const N: usize>(
    out: &mut Vec<Metric>,
    series: &[Arc<Series>; N],
    time_ms: i64,
    values: [f64; N],
) {
    for (series, value) in series.iter().zip(values) {
        push(out, series, time_ms, value);
    }
}

/// What is kept of each device. The kernel lists devices in a stable order, so the next one asked for is nearly always
/// the next one kept, and a lookup is one comparison.
#[derive(Debug)]
pub(super) struct Devices<T> {
    kept: Vec<(Box<[u8]>, T)>,
    /// `kept[..seen]` were listed in this gather.
    seen: usize,
}

impl<T> Default for Devices<T> {
    fn default() -> Self {
        Devices { kept: Vec::new(), seen: 0 }
    }
}

impl<T> Devices<T> {
    /// A gather begins.
    pub(super) fn begin(&mut self) {
        self.seen = 0;
    }

    /// What is kept of `key`, made when it is new. `None` when it was listed before in this gather: two samples of one
    /// series at one time would contradict each other.
    pub(super) fn entry(&mut self, key: &[u8], make: impl FnOnce() -> T) -> Option<&mut T> {
        let at = match self.kept[self.seen..].iter().position(|(kept, _)| **kept == *key) {
            Some(ahead) => self.seen + ahead,
            None if self.kept[..self.seen].iter().any(|(kept, _)| **kept == *key) => return None,
            None => {
                self.kept.push((key.into(), make()));
                self.kept.len() - 1
            }
        };
        self.kept.swap(self.seen, at);
        self.seen += 1;
        Some(&mut self.kept[self.seen - 1].1)
    }

    /// The gather ended: what was not listed is gone.
    pub(super) fn end(&mut self) {
        self.kept.truncate(self.seen);
    }

    /// How many are kept.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }
}
