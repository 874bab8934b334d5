//! `swap_*`: the amounts from sysinfo(2), the traffic from /proc/vmstat, as gopsutil does (its pages count 4 KiB).

use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};

use super::reader::{KeptFile, lines, number};
use super::series::{Common, push_all};

/// What Telegraf takes a page for, on every architecture.
const PAGE: f64 = 4096.0;

const FIELDS: [(&str, Kind); 6] = [
    ("swap_total", Kind::Gauge),
    ("swap_used", Kind::Gauge),
    ("swap_free", Kind::Gauge),
    ("swap_used_percent", Kind::Gauge),
    ("swap_in", Kind::Counter),
    ("swap_out", Kind::Counter),
];

/// The collector.
pub(super) struct Swap {
    common: Common,
    vmstat: KeptFile,
    series: [Arc<Series>; FIELDS.len()],
}

impl Swap {
    pub(super) fn new(common: Common) -> Self {
        let vmstat = KeptFile::new(common.roots.proc.join("vmstat"));
        Swap { vmstat, series: common.group(&FIELDS, &[]), common }
    }
}

impl Gather for Swap {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let (pages_in, pages_out) = pages(self.vmstat.read(buffer)?);
            let info = rustix::system::sysinfo();
            let unit = f64::from(info.mem_unit);
            let (total, free) = (info.totalswap as f64 * unit, info.freeswap as f64 * unit);
            let used = total - free;
            let percent = if total > 0.0 { 100.0 * used / total } else { 0.0 };
            let values = [total, used, free, percent, pages_in * PAGE, pages_out * PAGE];
            push_all(out, &self.series, now.time_ms, values);
            Ok(())
        })
    }
}

/// Pages swapped in and out since boot; 0 on a kernel without swap.
pub(super) fn pages(vmstat: &[u8]) -> (f64, f64) {
    let (mut pages_in, mut pages_out) = (0, 0);
    for line in lines(vmstat) {
        if let Some(value) = line.strip_prefix(b"pswpin ") {
            pages_in = number(value).unwrap_or(0);
        } else if let Some(value) = line.strip_prefix(b"pswpout ") {
            pages_out = number(value).unwrap_or(0);
            break; // it follows pswpin
        }
    }
    (pages_in as f64, pages_out as f64)
}
