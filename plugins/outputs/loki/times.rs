//! Times of one stream made distinct, a nanosecond apart.
//!
//! Loki keeps one of two entries with equal time and line, and returns entries of equal time in any order. Web logs
//! have times of whole seconds, and a read buffer has one time for all its lines: both would lose lines. What was given
//! is remembered until it is settled: an entry that is sent again, in another request or behind a refused one, has the
//! time that it had, or Loki would keep it twice.

use std::sync::{Arc, Weak};

use sentinel_contract::{Batch, Piece};

/// Runs remembered: workers that log around a change of second go back and forth between two or three times.
const RUNS: usize = 4;

/// The times in use, newest run first; a run is `start..end`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Times([(i64, i64); RUNS]);

impl Times {
    /// `time`, or the next free one behind it.
    #[inline]
    pub(super) fn distinct(&mut self, time: i64) -> i64 {
        for (start, end) in &mut self.0 {
            if *start <= time && time <= *end && start != end {
                let free = *end;
                *end = end.saturating_add(1);
                return free;
            }
        }
        self.0.copy_within(..RUNS - 1, 1);
        self.0[0] = (time, time.saturating_add(1));
        time
    }
}

/// The times given to the events of a write, kept over all tries of its parts.
#[derive(Default)]
pub(super) struct Given {
    pieces: Vec<OfPiece>,
    /// Where the pieces of the request under way are in it: entry, first event there, whether they are new.
    found: Vec<(usize, usize, bool)>,
    whole: bool,
}

/// A weak pointer keeps the batch's address from being used again, and nothing of its content.
struct OfPiece {
    batch: Weak<Batch>,
    start: usize,
    times: Vec<i64>,
}

impl OfPiece {
    /// The first event of the piece, when all of them are in here.
    fn first(&self, piece: &Piece) -> Option<usize> {
        let same = std::ptr::eq(self.batch.as_ptr(), Arc::as_ptr(&piece.batch));
        let (start, end) = (piece.range.start, piece.range.end);
        (same && self.start <= start && end <= self.start + self.times.len())
            .then(|| start - self.start)
    }
}

impl Given {
    /// A request of these pieces begins: finds the times that they were given already.
    pub(super) fn begin(&mut self, pieces: &[Piece]) {
        self.found.clear();
        let mut hint = 0; // parts of a write are in its order
        for piece in pieces {
            let order = (hint..self.pieces.len()).chain(0..hint);
            let mut found = order.filter_map(|at| Some((at, self.pieces[at].first(piece)?)));
            let found = found.next().map(|(at, first)| (at, first, false));
            hint = found.map_or(hint, |(at, ..)| at);
            self.found.push(found.unwrap_or((usize::MAX, 0, true)));
        }
        self.whole = self.found.iter().any(|(.., new)| *new);
        if self.whole {
            let of_piece = |(piece, found): (&Piece, &(usize, usize, bool))| {
                let count = piece.range.len();
                let times = match self.pieces.get(found.0) {
                    Some(known) => known.times[found.1..found.1 + count].to_vec(),
                    None => vec![0; count],
                };
                OfPiece { batch: Arc::downgrade(&piece.batch), start: piece.range.start, times }
            };
            self.pieces = pieces.iter().zip(&self.found).map(of_piece).collect();
            for (nth, (at, first, _)) in self.found.iter_mut().enumerate() {
                (*at, *first) = (nth, 0);
            }
        }
    }

    /// The times of a piece of the request.
    pub(super) fn times(&self, piece: usize) -> &[i64] {
        let (at, first, _) = self.found[piece];
        &self.pieces[at].times[first..]
    }

    /// The same, and whether they are still to be given.
    pub(super) fn times_mut(&mut self, piece: usize) -> (&mut [i64], bool) {
        let (at, first, new) = self.found[piece];
        (&mut self.pieces[at].times[first..], new)
    }

    /// The request was answered for: when it was the whole write, nothing of it will come again.
    pub(super) fn settled(&mut self) {
        if self.whole {
            self.pieces.clear();
        }
    }
}
