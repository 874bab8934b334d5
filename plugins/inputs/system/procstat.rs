//! `procstat_*` of the processes that use most, through `sysinfo`. Each process has the labels `process_name` and `pid`
//! (Telegraf's `tag_with = ["pid"]`): two processes of one name must not share a series. Only the top ones are sent, so
//! the number of series stays small. Not here: open files, limits, command lines; `sysinfo` always reads /proc.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;
use sysinfo::{Pid, Process, ProcessRefreshKind, ProcessesToUpdate, System};

use super::series::{Common, Devices, push_all};

const FIELDS: [(&str, Kind); 8] = [
    ("procstat_cpu_usage", Kind::Gauge),
    ("procstat_cpu_time", Kind::Counter),
    ("procstat_memory_rss", Kind::Gauge),
    ("procstat_memory_vms", Kind::Gauge),
    ("procstat_memory_usage", Kind::Gauge),
    ("procstat_read_bytes", Kind::Counter),
    ("procstat_write_bytes", Kind::Counter),
    ("procstat_created_at", Kind::Gauge),
];

/// What processes are ranked by.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Rank {
    /// Processor time since the gather before.
    Cpu,
    /// Resident memory.
    Memory,
    /// Bytes read and written since the gather before.
    Io,
}

/// `[inputs.system.procstat]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// How many processes of each ranking.
    pub top: usize,
    /// The rankings.
    pub by: Vec<Rank>,
}

impl Default for Options {
    fn default() -> Self {
        Options { top: 10, by: vec![Rank::Cpu, Rank::Memory, Rank::Io] }
    }
}

/// The collector.
pub(super) struct Procstat {
    common: Common,
    options: Options,
    /// `None` until the first gather.
    system: Option<System>,
    processes: Devices<[Arc<Series>; FIELDS.len()]>,
}

impl Procstat {
    pub(super) fn new(common: Common, options: Options) -> Self {
        Procstat { common, options, system: None, processes: Devices::default() }
    }
}

impl Gather for Procstat {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let first = self.system.is_none();
        let system = match &mut self.system {
            Some(system) => system,
            none => none.insert(System::new()?),
        };
        if first {
            system.refresh_memory();
        }
        let what = ProcessRefreshKind::nothing().with_cpu().with_memory().with_disk_usage();
        let what = what.without_tasks();
        system.refresh_processes_specifics(ProcessesToUpdate::All, true, what);
        let processes: Vec<&Process> = system.processes().values().collect();
        self.processes.begin();
        for pid in top(&processes, &self.options) {
            let Some(process) = system.process(pid) else { continue };
            // A process number that is used again begins new series only if the name differs, as in Telegraf.
            let (name, pid) = (process.name().to_string_lossy(), pid.to_string());
            let key = format!("{pid} {name}");
            let series = self.processes.entry(key.as_bytes(), || {
                self.common.group(&FIELDS, &[("process_name", &name), ("pid", &pid)])
            });
            if let Some(series) = series {
                push_all(out, series, now.time_ms, values(process, system.total_memory()));
            }
        }
        self.processes.end();
        Ok(())
    }
}

/// The first of each ranking, each process once. What used nothing is in no ranking.
fn top(processes: &[&Process], options: &Options) -> BTreeSet<Pid> {
    let mut chosen = BTreeSet::new();
    for rank in &options.by {
        let used = |process: &Process| match rank {
            Rank::Cpu => (f64::from(process.cpu_usage()) * 1000.0) as u64,
            Rank::Memory => process.memory(),
            Rank::Io => {
                let io = process.disk_usage();
                io.read_bytes.saturating_add(io.written_bytes)
            }
        };
        let mut ranked: Vec<(Reverse<u64>, Pid)> =
            processes.iter().map(|process| (Reverse(used(process)), process.pid())).collect();
        ranked.sort_unstable();
        let busy = ranked.iter().take(options.top).filter(|(used, _)| used.0 > 0);
        chosen.extend(busy.map(|(_, pid)| *pid));
    }
    chosen
}

/// In the order of `FIELDS`; processor use in percent of one processor, as Telegraf's mode `irix`.
fn values(process: &Process, total_memory: u64) -> [f64; FIELDS.len()] {
    let io = process.disk_usage();
    let memory = process.memory() as f64;
    [
        f64::from(process.cpu_usage()),
        process.accumulated_cpu_time() as f64 / 1000.0,
        memory,
        process.virtual_memory() as f64,
        if total_memory > 0 { 100.0 * memory / total_memory as f64 } else { 0.0 },
        io.total_read_bytes as f64,
        io.total_written_bytes as f64,
        process.start_time() as f64 * 1e9,
    ]
}
