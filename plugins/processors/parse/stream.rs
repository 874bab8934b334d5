//! What is remembered of each stream: the order of its lines within one tick of their clock, and its labels by level.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sentinel_contract::Labels;
use sentinel_contract::level::{LEVELS, Level};

use super::time::Stamp;

/// Streams remembered; beyond this all are forgotten, which costs only a new start of each sequence.
const MAX_STREAMS: usize = 4096;

/// The streams seen. Holding each stream's labels keeps their address from being used again.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Slot>,
    places: HashMap<usize, usize, FixedState>,
    last: usize,
}

/// One stream.
#[derive(Debug)]
pub(super) struct Slot {
    stream: Arc<Labels>,
    sequence: Sequence,
    by_level: [Option<Arc<Labels>>; LEVELS],
}

impl Streams {
    /// The slot of `stream`; found without a look-up while lines come from the same stream.
    pub(super) fn slot(&mut self, stream: &Arc<Labels>) -> &mut Slot {
        let same = self.slots.get(self.last).is_some_and(|slot| Arc::ptr_eq(&slot.stream, stream));
        if !same {
            self.last = self.find(stream);
        }
        &mut self.slots[self.last]
    }

    fn find(&mut self, stream: &Arc<Labels>) -> usize {
        let address = Arc::as_ptr(stream) as usize;
        if let Some(place) = self.places.get(&address) {
            return *place;
        }
        if self.slots.len() >= MAX_STREAMS {
            self.slots.clear();
            self.places.clear();
        }
        self.places.insert(address, self.slots.len());
        self.slots.push(Slot {
            stream: Arc::clone(stream),
            sequence: Sequence::default(),
            by_level: [const { None }; LEVELS],
        });
        self.slots.len() - 1
    }
}

impl Slot {
    /// The stream's labels with the level, built once.
    pub(super) fn with_level(&mut self, label: &str, level: Level) -> Arc<Labels> {
        let stream = &self.stream;
        let labels = self.by_level[level as usize]
            .get_or_insert_with(|| Arc::new(stream.with([(label, level.as_str())])));
        Arc::clone(labels)
    }

    /// See [`Sequence::place`].
    pub(super) fn place(&mut self, stamp: Stamp, read_ns: i64) -> i64 {
        self.sequence.place(stamp, read_ns)
    }
}

/// Keeps the lines of one tick apart and in order.
///
/// A web log resolves one second, and Loki takes two equal lines of equal time for one. So a line's place among those of
/// its stream is added, in nanoseconds, to a time that does not resolve them. The count runs on from one tick to the
/// next: a line that is written late, into a second that had passed, cannot meet its twin there. It begins
/// at the time of reading, so that after a restart within the same second it is not the same count again.
#[derive(Debug, Default)]
struct Sequence {
    next: Option<i64>,
    tick: i64,
}

impl Sequence {
    fn place(&mut self, stamp: Stamp, read_ns: i64) -> i64 {
        if stamp.unit <= 1 {
            return stamp.ns;
        }
        let mut next = self.next.unwrap_or_else(|| read_ns.rem_euclid(stamp.unit / 2));
        if stamp.ns != self.tick {
            self.tick = stamp.ns;
            if next > stamp.unit / 10 * 9 {
                next = 0; // before it could run over within a tick
            }
        }
        self.next = Some(next + 1);
        stamp.ns.saturating_add(next % stamp.unit)
    }
}
