//! `kernel_*` from /proc/stat and the entropy pool, as Telegraf 1.37. `disk_pages_*` only where the kernel still has a
//! `page` line. Not here: KSM counters; pressure is a collector of its own.

use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};

use super::reader::{KeptFile, lines, number, words};
use super::series::{Common, push};

const FIELDS: [(&str, Kind); 7] = [
    ("kernel_interrupts", Kind::Counter),
    ("kernel_context_switches", Kind::Counter),
    ("kernel_processes_forked", Kind::Counter),
    ("kernel_boot_time", Kind::Gauge),
    ("kernel_disk_pages_in", Kind::Counter),
    ("kernel_disk_pages_out", Kind::Counter),
    ("kernel_entropy_avail", Kind::Gauge),
];
const INTERRUPTS: usize = 0;
const CONTEXT_SWITCHES: usize = 1;
const PROCESSES_FORKED: usize = 2;
const BOOT_TIME: usize = 3;
const DISK_PAGES_IN: usize = 4;
const DISK_PAGES_OUT: usize = 5;
const ENTROPY: usize = 6;

/// The collector.
pub(super) struct Kernel {
    common: Common,
    stat: KeptFile,
    entropy: KeptFile,
    series: [Arc<Series>; FIELDS.len()],
}

impl Kernel {
    pub(super) fn new(common: Common) -> Self {
        Kernel {
            stat: KeptFile::new(common.roots.proc.join("stat")),
            entropy: KeptFile::new(common.roots.proc.join("sys/kernel/random/entropy_avail")),
            series: common.group(&FIELDS, &[]),
            common,
        }
    }
}

impl Gather for Kernel {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let mut values = values(self.stat.read(buffer)?);
            let entropy = self.entropy.read_optional(buffer);
            values[ENTROPY] = entropy.and_then(|text| number(text.trim_ascii()));
            for (series, value) in self.series.iter().zip(values) {
                if let Some(value) = value {
                    push(out, series, now.time_ms, value as f64);
                }
            }
            Ok(())
        })
    }
}

/// What /proc/stat has of the fields, in their order.
pub(super) fn values(stat: &[u8]) -> [Option<u64>; FIELDS.len()] {
    let mut values = [None; FIELDS.len()];
    for line in lines(stat) {
        let mut words = words(line); // the line of interrupts is long; only its first number is read
        let at = match words.next() {
            Some(b"intr") => INTERRUPTS,
            Some(b"ctxt") => CONTEXT_SWITCHES,
            Some(b"processes") => PROCESSES_FORKED,
            Some(b"btime") => BOOT_TIME,
            Some(b"page") => DISK_PAGES_IN,
            _ => continue,
        };
        values[at] = words.next().and_then(number);
        if at == DISK_PAGES_IN {
            values[DISK_PAGES_OUT] = words.next().and_then(number);
        }
    }
    values
}
