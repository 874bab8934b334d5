//! A CPU hog: threads that compute without end.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

/// Instructions between two looks at the clock: some tens of microseconds.
const ROUND: u64 = 50_000;

/// `strength` threads a processor, at least one, each busy all the time.
pub(super) fn hog(strength: f64, length: Duration) {
    let processors = thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = ((strength * processors as f64).round() as usize).clamp(1, 4 * processors);
    let end = Instant::now() + length;
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(move || {
                let mut state = 1_u64;
                while Instant::now() < end {
                    for _ in 0..ROUND {
                        state = black_box(state.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1);
                    }
                }
            });
        }
    });
}
