//! Times of one stream made distinct, a nanosecond apart.
//!
//! Loki keeps one of two entries with equal time and line, and returns entries of equal time in any order. Web logs
//! have times of whole seconds, and a read buffer has one time for all its lines: both would lose lines. The times
//! given depend only on the times before them in the stream, so that a request that is sent again is sent unchanged.

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
