//! `mem_*` from /proc/meminfo, with the arithmetic of gopsutil 4.25 that Telegraf 1.37 uses: cached includes the
//! reclaimable slab, used is what is not available. Fields that this kernel lacks are 0, as there.

use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;

use super::reader::{KeptFile, lines, number};
use super::series::{Common, push, push_all};

/// Line of /proc/meminfo and series, in the kernel's order, so that the next line is mostly the next entry.
const FIELDS: [(&[u8], &str); 33] = [
    (b"MemTotal", "mem_total"),
    (b"MemFree", "mem_free"),
    (b"MemAvailable", "mem_available"),
    (b"Buffers", "mem_buffered"),
    (b"Cached", "mem_cached"),
    (b"SwapCached", "mem_swap_cached"),
    (b"Active", "mem_active"),
    (b"Inactive", "mem_inactive"),
    (b"HighTotal", "mem_high_total"),
    (b"HighFree", "mem_high_free"),
    (b"LowTotal", "mem_low_total"),
    (b"LowFree", "mem_low_free"),
    (b"SwapTotal", "mem_swap_total"),
    (b"SwapFree", "mem_swap_free"),
    (b"Dirty", "mem_dirty"),
    (b"Writeback", "mem_write_back"),
    (b"Mapped", "mem_mapped"),
    (b"Shmem", "mem_shared"),
    (b"Slab", "mem_slab"),
    (b"SReclaimable", "mem_sreclaimable"),
    (b"SUnreclaim", "mem_sunreclaim"),
    (b"PageTables", "mem_page_tables"),
    (b"WritebackTmp", "mem_write_back_tmp"),
    (b"CommitLimit", "mem_commit_limit"),
    (b"Committed_AS", "mem_committed_as"),
    (b"VmallocTotal", "mem_vmalloc_total"),
    (b"VmallocUsed", "mem_vmalloc_used"),
    (b"VmallocChunk", "mem_vmalloc_chunk"),
    (b"HugePages_Total", "mem_huge_pages_total"),
    (b"HugePages_Free", "mem_huge_pages_free"),
    (b"Hugepagesize", "mem_huge_page_size"),
    (b"", "mem_used"),
    (b"", "mem_used_percent"),
];
const TOTAL: usize = 0;
const FREE: usize = 1;
const AVAILABLE: usize = 2;
const CACHED: usize = 4;
const SRECLAIMABLE: usize = 19;
const USED: usize = 31;
const USED_PERCENT: usize = 32;

/// Telegraf's `collect_extended`.
const EXTENDED: [(&[u8], &str); 6] = [
    (b"Active(anon)", "mem_active_anon"),
    (b"Inactive(anon)", "mem_inactive_anon"),
    (b"Active(file)", "mem_active_file"),
    (b"Inactive(file)", "mem_inactive_file"),
    (b"Unevictable", "mem_unevictable"),
    (b"Percpu", "mem_percpu"),
];

/// `[inputs.system.mem]`
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Six more fields: anonymous and file pages, unevictable, per-processor memory.
    pub collect_extended: bool,
}

/// The collector.
pub(super) struct Mem {
    common: Common,
    meminfo: KeptFile,
    series: [Arc<Series>; FIELDS.len()],
    available_percent: Arc<Series>,
    extended: Option<[Arc<Series>; EXTENDED.len()]>,
}

impl Mem {
    pub(super) fn new(common: Common, options: &Options) -> Self {
        let gauge = |(_, name): (&[u8], &str)| common.series(name, Kind::Gauge, &[]);
        Mem {
            meminfo: KeptFile::new(common.roots.proc.join("meminfo")),
            series: FIELDS.map(gauge),
            available_percent: common.series("mem_available_percent", Kind::Gauge, &[]),
            extended: options.collect_extended.then(|| EXTENDED.map(gauge)),
            common,
        }
    }
}

impl Gather for Mem {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let text = self.meminfo.read(buffer)?;
            let Some(values) = values(text) else {
                anyhow::bail!("no MemTotal in meminfo");
            };
            push_all(out, &self.series, now.time_ms, values);
            let percent = 100.0 * values[AVAILABLE] / values[TOTAL];
            push(out, &self.available_percent, now.time_ms, percent);
            if let Some(series) = &self.extended {
                push_all(out, series, now.time_ms, extract(text, &EXTENDED).0);
            }
            Ok(())
        })
    }
}

/// All fields in bytes; `None` when there is no total.
pub(super) fn values(text: &[u8]) -> Option<[f64; FIELDS.len()]> {
    let (mut values, available) = extract(text, &FIELDS);
    if values[TOTAL] <= 0.0 {
        return None;
    }
    values[CACHED] += values[SRECLAIMABLE];
    if !available {
        values[AVAILABLE] = values[FREE] + values[CACHED]; // before Linux 3.14
    }
    values[USED] = (values[TOTAL] - values[AVAILABLE]).max(0.0);
    values[USED_PERCENT] = 100.0 * values[USED] / values[TOTAL];
    Some(values)
}

/// The wanted lines' values in bytes, and whether there was a `MemAvailable` among them.
fn extract<const N: usize>(text: &[u8], wanted: &[(&[u8], &str); N]) -> ([f64; N], bool) {
    let mut values = [0.0; N];
    let mut available = false;
    let mut next = 0;
    for line in lines(text) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let (key, rest) = (&line[..colon], line[colon + 1..].trim_ascii());
        let ahead = wanted[next..].iter().position(|(name, _)| *name == key).map(|at| next + at);
        let Some(at) = ahead.or_else(|| wanted[..next].iter().position(|(name, _)| *name == key))
        else {
            continue;
        };
        let (digits, factor) = match rest.strip_suffix(b" kB") {
            Some(digits) => (digits, 1024.0),
            None => (rest, 1.0),
        };
        if let Some(value) = number(digits) {
            values[at] = value as f64 * factor;
            available |= wanted[at].1 == "mem_available";
            next = at + 1;
        }
    }
    (values, available)
}
