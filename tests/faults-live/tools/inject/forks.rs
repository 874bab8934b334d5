//! A fork storm: short processes, some hundred a second, a bounded number of them at a time.

use std::collections::VecDeque;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// How long each lives.
const LIFE: &str = "0.2";
/// Alive at once, at most.
const MOST: usize = 300;

/// Starts `rate` processes a second; each sleeps for 200 ms and ends.
pub(super) fn storm(rate: f64, length: Duration) -> Result<()> {
    let start = Instant::now();
    let end = start + length;
    let (mut alive, mut started) = (VecDeque::<Child>::new(), 0_u32);
    while Instant::now() < end {
        if alive.len() >= MOST
            && let Some(mut oldest) = alive.pop_front()
        {
            oldest.wait()?;
        }
        let child = Command::new("sleep").arg(LIFE).stdin(Stdio::null()).spawn();
        alive.push_back(child.context("cannot start a process")?);
        started += 1;
        while let Some(oldest) = alive.front_mut()
            && oldest.try_wait()?.is_some()
        {
            alive.pop_front();
        }
        super::sleep_until(start + Duration::from_secs_f64(f64::from(started) / rate), end);
    }
    alive.iter_mut().try_for_each(|child| child.wait().map(drop))?;
    Ok(())
}
