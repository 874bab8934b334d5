//! How much one group may take. A host's detector has a few groups and room for all that helps; an aggregator has thousands, and each
//! must fit into a tenth of a megabyte: what looks far back is thinned, and the forest is smaller.

use serde::Deserialize;

/// The option.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Size {
    /// About 1.2 MB for eight signals.
    #[default]
    Full,
    /// About a tenth of that.
    Compact,
}

impl Size {
    /// Of full size, or of compact.
    fn pick<T>(self, full: T, compact: T) -> T {
        match self {
            Size::Full => full,
            Size::Compact => compact,
        }
    }

    /// Trees of the forest, and the rows that each is grown on.
    pub(super) fn forest(self) -> (usize, usize) {
        self.pick((100, 256), (32, 64))
    }

    /// Rows that the joint models are fitted on.
    pub(super) fn rows(self) -> usize {
        self.pick(4096, 1024)
    }

    /// Frames kept in memory, for when history has none.
    pub(super) fn recent(self, min_frames: usize) -> usize {
        self.pick(min_frames.max(1024), 64)
    }

    /// The middle and the long level: every so-many-eth frame of their windows.
    pub(super) fn levels(self) -> [usize; 2] {
        self.pick([1, 1], [4, 24])
    }

    /// The frame's boundaries over a day, two days and a fortnight: the largest of so many frames is kept.
    pub(super) fn trailing(self) -> [usize; 3] {
        self.pick([1, 1, 1], [6, 6, 42])
    }

    /// The boundaries of models and signals: every so-many-eth frame of their windows.
    pub(super) fn boundary(self) -> usize {
        self.pick(1, 12)
    }
}
