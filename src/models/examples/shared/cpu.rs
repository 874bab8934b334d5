//! CPU time of a piece of code, which other load on the machine distorts less than wall time.

use std::{fs, hint::black_box, thread, time::Instant};

/// CPU seconds one call of `work` takes, averaged over `times` calls.
pub(crate) fn seconds<T>(times: u32, mut work: impl FnMut() -> T) -> f64 {
    let (cpu, wall) = (spent(), Instant::now());
    for _ in 0..times {
        black_box(work());
    }
    let used = match (cpu, spent()) {
        (Some(before), Some(after)) => after - before,
        _ => wall.elapsed().as_secs_f64(),
    };
    used / f64::from(times)
}

/// CPU seconds of this thread so far; `None` where the kernel does not count them.
fn spent() -> Option<f64> {
    thread::yield_now(); // brings the kernel's count up to date, it lags by up to a tick otherwise
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: f64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds / 1e9)
}
