//! What a process has used, from /proc: CPU time, the high-water mark of its memory, and the anonymous part of it.
//!
//! CPU time comes from two counts, both of which can only be too small: /proc/PID/stat counts whole ticks of 10 ms, the
//! sum of /proc/PID/task/*/schedstat counts nanoseconds but forgets threads that have ended. The larger one is taken.
//! There is no high-water mark of anonymous memory in /proc: the largest of samples 100 ms apart stands for it.

use std::{
    fs,
    io::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Linux counts user-visible ticks at 100 Hz on every architecture we run on (USER_HZ).
const TICK_SECONDS: f64 = 0.01;
pub(crate) const SAMPLE_EVERY: Duration = Duration::from_millis(100);

/// CPU seconds, user and system, of a process with all its threads, including those that have ended.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("process {pid} is gone"))?;
    Ok(ticks(&stat).context("unknown form of /proc/PID/stat")?.max(thread_seconds(pid)))
}

/// Fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)), counted from the name's closing parenthesis.
pub(crate) fn ticks(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_SECONDS)
}

fn thread_seconds(pid: u32) -> f64 {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return 0.0 };
    let nanoseconds = tasks.flatten().filter_map(|task| {
        let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_ascii_whitespace().next()?.parse::<f64>().ok()
    });
    nanoseconds.sum::<f64>() / 1e9
}

/// Memory in KiB.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Memory {
    pub(crate) high_water: u64,
    pub(crate) anonymous: u64,
}

impl Memory {
    /// Keeps the larger of what was and what is now; a process that has just ended changes nothing.
    pub(crate) fn sample(&mut self, pid: u32) {
        if let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) {
            self.high_water = self.high_water.max(kib(&status, "VmHWM:"));
            self.anonymous = self.anonymous.max(kib(&status, "RssAnon:"));
        }
    }
}

pub(crate) fn kib(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

/// Prints one line for each process: what it has used from now on, in `seconds` seconds.
pub(crate) fn measure(seconds: u64, pids: &[u32]) -> Result<()> {
    let (start, span) = (Instant::now(), Duration::from_secs(seconds));
    let before = pids.iter().map(|pid| cpu_seconds(*pid)).collect::<Result<Vec<_>>>()?;
    let mut memory = vec![Memory::default(); pids.len()];
    while start.elapsed() < span {
        thread::sleep(SAMPLE_EVERY.min(span.saturating_sub(start.elapsed())));
        pids.iter().zip(&mut memory).for_each(|(pid, memory)| memory.sample(*pid));
    }
    let wall = start.elapsed().as_secs_f64();
    for ((pid, before), memory) in pids.iter().zip(before).zip(memory) {
        report(*pid, cpu_seconds(*pid)? - before, wall, memory)?;
    }
    Ok(())
}

/// One line of `name=value`, which a shell can take in with `declare` or `cut`.
pub(crate) fn report(pid: u32, cpu_seconds: f64, wall: f64, memory: Memory) -> Result<()> {
    writeln!(
        std::io::stdout(),
        "pid={pid} cpu_seconds={cpu_seconds:.4} wall_seconds={wall:.3} hwm_kib={} anon_kib={}",
        memory.high_water,
        memory.anonymous
    )?;
    Ok(())
}
