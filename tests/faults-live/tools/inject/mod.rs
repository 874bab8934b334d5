//! Trouble for the host, each by a process of its own: it dies with whoever started it, and is bounded in time, memory and bytes.
//!
//! Nothing here opens a socket. What a log says is `traffic.rs` and `application.rs`.

mod cpu;
mod disk;
mod forks;
mod memory;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::kinds::Kind;

/// No injector lasts longer, whatever it is told.
const LONGEST: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    kind: Kind,
    /// In the unit of the kind
    #[arg(long)]
    strength: f64,
    #[arg(long)]
    seconds: f64,
    /// The folder that is filled or written to
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Most MiB that a leak takes
    #[arg(long, default_value_t = 1536)]
    leak_max: u64,
    /// Whose child it must be
    #[arg(long)]
    parent: u32,
}

/// Does it until the time is over, or until the parent ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    die_with(options.parent)?;
    ensure!(options.strength >= 0.0 && options.seconds > 0.0, "strength and seconds: no sense");
    let length = Duration::from_secs_f64(options.seconds).min(LONGEST);
    let folder = || options.folder.as_deref().ok_or_else(|| anyhow::anyhow!("--folder is needed"));
    match options.kind {
        Kind::CpuHog => {
            cpu::hog(options.strength, length);
            Ok(())
        }
        Kind::MemoryLeak => memory::leak(options.strength, length, options.leak_max << 20),
        Kind::DiskFill => disk::fill(folder()?, options.strength, length),
        Kind::WriteStorm => disk::storm(folder()?, options.strength, length),
        Kind::ForkStorm => forks::storm(options.strength, length),
        other => bail!("{} is not done by a process", other.name()),
    }
}

/// So that nothing is left behind when the parent is killed.
pub(crate) fn die_with(parent: u32) -> Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let now = getppid().map(|parent| parent.as_raw_nonzero().get().cast_unsigned());
    ensure!(now == Some(parent), "process {parent} is not the parent, or has ended");
    Ok(())
}

/// Sleeps until then, never longer than `end`.
fn sleep_until(then: Instant, end: Instant) {
    std::thread::sleep(then.min(end).saturating_duration_since(Instant::now()));
}
