//! The disk queue beside a plain file that is written with the same calls: `tests/bench/run queue`.
//!
//! Arguments: a folder, which is made and removed. 1 GiB in records of 64 KiB, what a full read buffer makes.

#![allow(clippy::print_stdout, reason = "it prints figures")]

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use sentinel_engine::bench;

const PAYLOAD: usize = 64 << 10;
const COUNT: u64 = 16 << 10;
const GROUP: Duration = Duration::from_millis(100);

fn main() -> std::io::Result<()> {
    let folder = std::env::args().nth(1).ok_or(std::io::ErrorKind::InvalidInput)?;
    let folder = Path::new(&folder);
    for (name, group) in [("nosync", None), ("group", Some(GROUP))] {
        let (ours, theirs) = (folder.join(name), folder.join(format!("{name}.plain")));
        std::fs::create_dir_all(&ours)?;
        let took = bench::append(&ours, PAYLOAD, COUNT, group)?;
        let plain = plain(&theirs, group)?;
        println!("{name}_mb_s={:.0} plain_{name}_mb_s={:.0}", rate(took), rate(plain));
        std::fs::remove_file(theirs)?;
    }
    let (ready, records, all) = bench::read(&folder.join("group"))?;
    println!(
        "ready_ms={:.1} records={records} read_mb_s={:.0}",
        ready.as_secs_f64() * 1e3,
        rate(all)
    );
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    println!("hwm_kib={}", peak.trim().trim_end_matches(" kB"));
    std::fs::remove_dir_all(folder)
}

/// MB (10^6 bytes) a second.
fn rate(took: Duration) -> f64 {
    (PAYLOAD as u64 * COUNT) as f64 / 1e6 / took.as_secs_f64()
}

/// The same bytes into one file, with the same syncs.
fn plain(path: &Path, group: Option<Duration>) -> std::io::Result<Duration> {
    let bytes = vec![7_u8; PAYLOAD];
    let mut file = std::fs::File::create(path)?;
    let started = Instant::now();
    let mut synced = started;
    for _ in 0..COUNT {
        file.write_all(&bytes)?;
        if group.is_some_and(|group| synced.elapsed() >= group) {
            file.sync_data()?;
            synced = Instant::now();
        }
    }
    if group.is_some() {
        file.sync_data()?;
    }
    Ok(started.elapsed())
}
