//! What is read of /proc: small files, and `stat` of a process (proc_pid_stat(5)).

use std::fs;
use std::io::Read as _;
use std::path::Path;

/// No file of /proc that is read here is larger.
const MAX_FILE: u64 = 1 << 20;

/// A file's beginning, at most a mebibyte; `None` when there is none or it is not text.
pub(super) fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MAX_FILE).read_to_string(&mut text).ok()?;
    Some(text)
}

/// What is read of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) comm: String,
    /// Processor time in ticks, in user and in kernel.
    pub(super) cpu_ticks: u64,
    /// Start, in ticks since boot.
    pub(super) start_ticks: u64,
    pub(super) rss_pages: u64,
}

/// A line of /proc/PID/stat. The name may hold anything, also `) S 1`.
pub(super) fn stat(line: &[u8]) -> Option<Stat> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let comm = String::from_utf8_lossy(line.get(open + 1..close)?).into_owned();
    let rest = std::str::from_utf8(line.get(close + 1..)?).ok()?;
    let mut words = rest.split_ascii_whitespace().skip(11); // field 14
    let mut number = |skip: usize| words.nth(skip)?.parse::<u64>().ok();
    let cpu_ticks = number(0)?.saturating_add(number(0)?);
    let start_ticks = number(6)?;
    let rss_pages = number(1)?;
    Some(Stat { comm, cpu_ticks, start_ticks, rss_pages })
}

/// `stat` of a process.
pub(super) fn stat_of(proc: &Path, pid: u32) -> Option<Stat> {
    let mut line = Vec::with_capacity(512);
    fs::File::open(proc.join(pid.to_string()).join("stat"))
        .ok()?
        .take(MAX_FILE)
        .read_to_end(&mut line)
        .ok()?;
    stat(&line)
}

/// A number behind a name at the beginning of a line, as in /proc/vmstat.
pub(super) fn counter(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The time of boot, milliseconds since 1970 UTC.
pub(super) fn boot_ms(proc: &Path) -> Option<i64> {
    let seconds = counter(&read(&proc.join("stat"))?, "btime")?;
    i64::try_from(seconds).ok()?.checked_mul(1000)
}

/// Milliseconds since boot, with the time in suspend (CLOCK_BOOTTIME).
pub(super) fn uptime_ms(proc: &Path) -> Option<i64> {
    let text = read(&proc.join("uptime"))?;
    let seconds: f64 = text.split_ascii_whitespace().next()?.parse().ok()?;
    (0.0..1e12).contains(&seconds).then_some((seconds * 1000.0) as i64)
}
