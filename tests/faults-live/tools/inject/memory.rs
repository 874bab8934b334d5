//! A memory leak: grows evenly over its whole length, and is gone when the process ends.
//!
//! Stops at the bound that it is given, and fails when the host has less than `SPARE` available.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// Bytes taken at a time.
const PIECE: usize = 4 << 20;
/// Left to all others in any case.
const SPARE: u64 = 4 << 30;
const PAGE: usize = 4096;

/// Grows to `share` of the host's memory, but to `most` bytes at most.
pub(super) fn leak(share: f64, length: Duration, most: u64) -> Result<()> {
    let target = (share * meminfo("MemTotal:")? as f64).min(most as f64);
    let (start, mut held) = (Instant::now(), Vec::new());
    let end = start + length;
    let pieces = (target / PIECE as f64) as u32;
    for nth in 1..=pieces {
        ensure!(meminfo("MemAvailable:")? >= SPARE, "the host has too little memory to spare");
        let mut piece = vec![0_u8; PIECE];
        piece.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1); // so that the pages are there
        held.push(std::hint::black_box(piece));
        super::sleep_until(start + length * nth / pieces, end);
    }
    super::sleep_until(end, end);
    Ok(())
}

/// A line of /proc/meminfo, in bytes.
fn meminfo(name: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo").context("reading /proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    Ok(kib.with_context(|| format!("/proc/meminfo has no {name}"))? << 10)
}
