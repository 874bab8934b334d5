//! `cpu_usage_*` and `cpu_time_*` from /proc/stat, computed as Telegraf 1.37 does (plugins/inputs/cpu): percent of the
//! ticks since the gather before, guest time taken out of user time. The first gather gives no percentages.

use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;

use super::reader::{KeptFile, lines, number, words};
use super::series::{Common, Devices, push};

/// Fields of a cpu line, in the kernel's order (Documentation/filesystems/proc.rst, 1.7).
const FIELDS: [&str; 10] =
    ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice"];
const USER: usize = 0;
const NICE: usize = 1;
const IDLE: usize = 3;
const GUEST: usize = 8;
const GUEST_NICE: usize = 9;
/// The fields that make up the total: guest time is counted in user time already.
const TOTAL: std::ops::Range<usize> = 0..8;

/// USER_HZ: 100 on every architecture that Rust's std runs on.
const TICKS_PER_SECOND: f64 = 100.0;

type Ticks = [u64; FIELDS.len()];

/// `[inputs.system.cpu]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// One set of series a processor.
    pub percpu: bool,
    /// The set `cpu-total`.
    pub totalcpu: bool,
    /// Seconds as counters too.
    pub collect_cpu_time: bool,
    /// The sum of all that is not idle.
    pub report_active: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { percpu: true, totalcpu: true, collect_cpu_time: false, report_active: false }
    }
}

/// The collector.
pub(super) struct Cpu {
    common: Common,
    options: Options,
    stat: KeptFile,
    processors: Devices<Processor>,
}

struct Processor {
    usage: Vec<Arc<Series>>,
    time: Vec<Arc<Series>>,
    last: Option<Ticks>,
}

impl Cpu {
    pub(super) fn new(common: Common, options: Options) -> Self {
        let stat = KeptFile::new(common.roots.proc.join("stat"));
        Cpu { common, options, stat, processors: Devices::default() }
    }

    fn sample(&mut self, text: &[u8], now: Now, out: &mut Vec<Metric>) {
        let Cpu { common, options, processors, .. } = self;
        processors.begin();
        for line in lines(text).take_while(|line| line.starts_with(b"cpu")) {
            let Some((name, ticks)) = parse(line) else { continue };
            let wanted = if name == b"cpu" { options.totalcpu } else { options.percpu };
            if !wanted {
                continue;
            }
            let entry = processors.entry(name, || Processor::new(common, options, name));
            let Some(processor) = entry else { continue };
            processor.push_time(&ticks, now.time_ms, out);
            if let Some(last) = processor.last.replace(ticks) {
                processor.push_usage(&ticks, &last, now.time_ms, out);
            }
        }
        processors.end();
    }
}

impl Gather for Cpu {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let text = self.stat.read(buffer)?;
            self.sample(text, now, out);
            Ok(())
        })
    }
}

impl Processor {
    fn new(common: &Common, options: &Options, name: &[u8]) -> Self {
        let name = String::from_utf8_lossy(name);
        let label = if name == "cpu" { "cpu-total" } else { &*name };
        let series = |prefix: &str, kind| -> Vec<Arc<Series>> {
            let active = options.report_active.then_some("active");
            let fields = FIELDS.into_iter().chain(active);
            fields
                .map(|field| common.series(&format!("{prefix}{field}"), kind, &[("cpu", label)]))
                .collect()
        };
        let time =
            if options.collect_cpu_time { series("cpu_time_", Kind::Counter) } else { Vec::new() };
        Processor { usage: series("cpu_usage_", Kind::Gauge), time, last: None }
    }

    fn push_time(&self, ticks: &Ticks, time_ms: i64, out: &mut Vec<Metric>) {
        let active = total(ticks) - ticks[IDLE];
        for (series, ticks) in self.time.iter().zip(ticks.iter().chain([&active])) {
            push(out, series, time_ms, *ticks as f64 / TICKS_PER_SECOND);
        }
    }

    /// Nothing when no tick has passed or the counters began anew (a processor that was off, a restored VM).
    fn push_usage(&self, ticks: &Ticks, last: &Ticks, time_ms: i64, out: &mut Vec<Metric>) {
        let Some(all @ 1..) = total(ticks).checked_sub(total(last)) else { return };
        let mut spent: Ticks = [0; FIELDS.len()];
        for (spent, (ticks, last)) in spent.iter_mut().zip(ticks.iter().zip(last)) {
            *spent = ticks.saturating_sub(*last); // the kernel lets iowait and idle step back a little
        }
        spent[USER] = spent[USER].saturating_sub(spent[GUEST]);
        spent[NICE] = spent[NICE].saturating_sub(spent[GUEST_NICE]);
        let active = all.saturating_sub(spent[IDLE]);
        for (series, spent) in self.usage.iter().zip(spent.iter().chain([&active])) {
            push(out, series, time_ms, 100.0 * *spent as f64 / all as f64);
        }
    }
}

fn total(ticks: &Ticks) -> u64 {
    ticks[TOTAL].iter().fold(0, |total, ticks| total.saturating_add(*ticks))
}

/// Name and ticks of a cpu line; the last three fields came with later kernels and are 0 before. `None` for a line that
/// has a word that is no number, or too few.
pub(super) fn parse(line: &[u8]) -> Option<(&[u8], Ticks)> {
    let mut words = words(line);
    let name = words.next().filter(|name| name.starts_with(b"cpu"))?;
    let mut ticks = [0; FIELDS.len()];
    let mut found = 0;
    for (slot, word) in ticks.iter_mut().zip(words) {
        *slot = number(word)?;
        found += 1;
    }
    (found >= 7).then_some((name, ticks))
}
