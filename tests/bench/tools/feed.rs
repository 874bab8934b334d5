//! Appends one file to another at a given rate: a writer of logs that does not look at who reads them.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Writes so often a second.
const STEPS: u32 = 20;

pub(crate) fn run(from: &Path, to: &Path, megabytes_per_second: f64) -> Result<()> {
    let mut from = std::fs::File::open(from).context("the file to read")?;
    let to = std::fs::OpenOptions::new().create(true).append(true).open(to);
    let mut to = to.context("the file to append to")?;
    let mut part = vec![0; (megabytes_per_second * 1e6 / f64::from(STEPS)) as usize];
    let (began, mut steps, mut bytes) = (Instant::now(), 0, 0);
    loop {
        let len = from.read(&mut part).context("reading")?;
        if len == 0 {
            break;
        }
        to.write_all(&part[..len]).context("writing")?;
        (steps, bytes) = (steps + 1, bytes + len);
        let due = Duration::from_secs(1) / STEPS * steps;
        thread::sleep(due.saturating_sub(began.elapsed()));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "bytes={bytes} wall_seconds={:.3}", began.elapsed().as_secs_f64())?;
    Ok(())
}
