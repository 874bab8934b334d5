//! What the disk queue costs, for `examples/queue_cost.rs`: nothing else uses it.

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Disk, Limits, RECORD_HEAD, RealFolder};

/// Of a default queue's kept lane.
const LIMITS: Limits = Limits { bytes: 3 << 29, segment: 8 << 20 };

fn open(folder: &Path) -> io::Result<Disk> {
    Disk::open(Box::new(RealFolder::open(folder)?), LIMITS, true).map_err(io::Error::other)
}

/// Appends `count` records of `payload` bytes; with a sync at most every `group`, and one at the end. How long it took.
pub fn append(
    folder: &Path,
    payload: usize,
    count: u64,
    group: Option<Duration>,
) -> io::Result<Duration> {
    let mut disk = open(folder)?;
    let mut record: Vec<u8> = (0..RECORD_HEAD + payload).map(|i| (i * 31 % 251) as u8).collect();
    let started = Instant::now();
    let mut synced = started;
    for number in 0..count {
        disk.append(&mut record, 1, number as i64).map_err(io::Error::other)?;
        if group.is_some_and(|group| synced.elapsed() >= group) {
            disk.sync()?;
            synced = Instant::now();
        }
    }
    if group.is_some() {
        disk.sync()?;
    }
    Ok(started.elapsed())
}

/// Opens what is there and reads the first record: how long until then, how many records there are, and how long they take.
pub fn read(folder: &Path) -> io::Result<(Duration, u64, Duration)> {
    let started = Instant::now();
    let mut disk = open(folder)?;
    let first = disk.read()?;
    let ready = started.elapsed();
    let mut records = u64::from(first.is_some());
    while disk.read()?.is_some() {
        records += 1;
    }
    Ok((ready, records, started.elapsed()))
}
