//! Trouble for a disk: a file system that fills up, and a storm of writes that go through to the device.
//!
//! `fill` refuses a file system larger than `LARGEST`: it is made for a small one of its own, never for the host's.

use std::fs::{File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::fs::{OFlags, statvfs};

/// Bytes of the largest file system that is filled.
const LARGEST: u64 = 1 << 30;
/// Bytes of a write of `fill`.
const PIECE: usize = 256 << 10;

/// The storm's files: written over and over, so that they stay small.
const STORM_FILE: u64 = 64 << 20;
const STORM_THREADS: u64 = 2;
const STORM_PIECE: usize = 256 << 10;
/// A storm is over when it has written so much, whatever its length.
const STORM_TOTAL: u64 = 8 << 30;
/// O_DIRECT wants its memory and its places at multiples of the device's block, 4 KiB at most today.
const ALIGNMENT: usize = 4096;

/// Fills the folder's file system to `share` of its bytes, evenly over the first half of the length; then holds.
pub(super) fn fill(folder: &Path, share: f64, length: Duration) -> Result<()> {
    let system = statvfs(folder).with_context(|| folder.display().to_string())?;
    let (size, free) = (system.f_blocks * system.f_frsize, system.f_bfree * system.f_frsize);
    ensure!(size <= LARGEST, "{} is on a file system too large to be filled", folder.display());
    let missing = (share * size as f64 - (size - free) as f64).max(0.0);
    let pieces = (missing / PIECE as f64) as u32;
    let mut file = File::create(folder.join("fill"))?;
    let (start, piece) = (Instant::now(), vec![0xa5_u8; PIECE]);
    let end = start + length;
    for nth in 1..=pieces {
        if file.write_all(&piece).is_err() {
            break; // quite full
        }
        super::sleep_until(start + length / 2 * nth / pieces, end);
    }
    super::sleep_until(end, end);
    Ok(())
}

/// Writes through to the device, from two threads, at most `rate` MB/s together.
pub(super) fn storm(folder: &Path, rate: f64, length: Duration) -> Result<()> {
    let end = Instant::now() + length;
    thread::scope(|scope| {
        let thread = |nth| {
            let file = folder.join(format!("storm.{nth}"));
            scope.spawn(move || write_through(&file, rate * 1e6 / STORM_THREADS as f64, end))
        };
        let threads: Vec<_> = (0..STORM_THREADS).map(thread).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => anyhow::bail!("a thread of the storm panicked"),
        })
    })
}

fn write_through(path: &Path, bytes_per_second: f64, end: Instant) -> Result<()> {
    let flags = (OFlags::DIRECT | OFlags::DSYNC).bits() as i32;
    let open = |flags| OpenOptions::new().write(true).create(true).custom_flags(flags).open(path);
    // Not every file system has O_DIRECT (tmpfs has not); written through it is all the same.
    let mut file = open(flags).or_else(|_| open(OFlags::DSYNC.bits() as i32))?;
    let room = vec![0x5a_u8; STORM_PIECE + ALIGNMENT];
    let shift = room.as_ptr().align_offset(ALIGNMENT);
    let piece = &room[shift..shift + STORM_PIECE];
    let (start, mut written) = (Instant::now(), 0_u64);
    while Instant::now() < end && written < STORM_TOTAL / STORM_THREADS {
        if written % STORM_FILE == 0 {
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(piece).context("the storm cannot write")?;
        written += STORM_PIECE as u64;
        let due = Duration::from_secs_f64(written as f64 / bytes_per_second);
        super::sleep_until(start + due, end);
    }
    super::sleep_until(end, end);
    Ok(())
}
