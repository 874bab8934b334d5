//! `diskio_*` from /proc/diskstats (Documentation/admin-guide/iostats.rst), computed as Telegraf 1.37: sectors of 512
//! bytes, times in milliseconds, and utilisation, waiting and service time since the gather before. Devices that never
//! did anything are left out. Not here: udev properties as labels, name templates.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use globset::GlobSet;
use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;

use super::reader::{KeptFile, lines, numbers, word_of, words};
use super::series::{Common, Devices, push, push_all};

const SECTOR: f64 = 512.0;

/// In the order of the kernel's columns.
const FIELDS: [(&str, Kind); 11] = [
    ("diskio_reads", Kind::Counter),
    ("diskio_merged_reads", Kind::Counter),
    ("diskio_read_bytes", Kind::Counter),
    ("diskio_read_time", Kind::Counter),
    ("diskio_writes", Kind::Counter),
    ("diskio_merged_writes", Kind::Counter),
    ("diskio_write_bytes", Kind::Counter),
    ("diskio_write_time", Kind::Counter),
    ("diskio_iops_in_progress", Kind::Gauge),
    ("diskio_io_time", Kind::Counter),
    ("diskio_weighted_io_time", Kind::Counter),
];
const READS: usize = 0;
const READ_SECTORS: usize = 2;
const READ_TIME: usize = 3;
const WRITES: usize = 4;
const WRITE_SECTORS: usize = 6;
const WRITE_TIME: usize = 7;
const IO_TIME: usize = 9;

const DERIVED: [(&str, Kind); 3] = [
    ("diskio_io_await", Kind::Gauge),
    ("diskio_io_svctm", Kind::Gauge),
    ("diskio_io_util", Kind::Gauge),
];

type Columns = [u64; FIELDS.len()];

/// `[inputs.system.diskio]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Patterns of device names, with or without `/dev/`.
    pub devices: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options { devices: vec!["*".to_owned()] }
    }
}

/// The collector.
pub(super) struct Diskio {
    common: Common,
    options: Options,
    wanted: GlobSet,
    diskstats: KeptFile,
    /// `None` for devices that are not wanted.
    devices: Devices<Option<Device>>,
}

struct Device {
    series: [Arc<Series>; FIELDS.len()],
    derived: [Arc<Series>; DERIVED.len()],
    last: Option<(Columns, Instant)>,
}

impl Diskio {
    pub(super) fn new(common: Common, options: Options, wanted: GlobSet) -> Self {
        let diskstats = KeptFile::new(common.roots.proc.join("diskstats"));
        Diskio { common, options, wanted, diskstats, devices: Devices::default() }
    }

    fn sample(&mut self, text: &[u8], now: Now, out: &mut Vec<Metric>) {
        let Diskio { common, options, wanted, devices, .. } = self;
        devices.begin();
        for line in lines(text) {
            let Some((name, columns)) = parse(line) else { continue };
            if columns == [0; FIELDS.len()] {
                continue;
            }
            let entry = devices.entry(name, || {
                let name = String::from_utf8_lossy(name);
                is_wanted(&name, wanted, options).then(|| Device::new(common, &name))
            });
            if let Some(Some(device)) = entry {
                device.push(&columns, now, out);
            }
        }
        devices.end();
    }
}

impl Gather for Diskio {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let text = self.diskstats.read(buffer)?;
            self.sample(text, now, out);
            Ok(())
        })
    }
}

/// By name or pattern, or because a link such as /dev/disk/by-id/... leads to it.
fn is_wanted(name: &str, wanted: &GlobSet, options: &Options) -> bool {
    let node = format!("/dev/{name}");
    wanted.is_match(name)
        || wanted.is_match(&node)
        || options.devices.iter().any(|device| {
            device.starts_with("/dev/")
                && Path::new(device).canonicalize().is_ok_and(|path| path == Path::new(&node))
        })
}

impl Device {
    fn new(common: &Common, name: &str) -> Self {
        let wwid =
            word_of(&common.roots.sys.join("block").join(name).join("wwid"), &mut Vec::new());
        let labels = [("name", name), ("wwid", wwid.as_deref().unwrap_or_default())];
        Device {
            series: common.group(&FIELDS, &labels),
            derived: common.group(&DERIVED, &labels),
            last: None,
        }
    }

    fn push(&mut self, columns: &Columns, now: Now, out: &mut Vec<Metric>) {
        let mut values = columns.map(|column| column as f64);
        values[READ_SECTORS] *= SECTOR;
        values[WRITE_SECTORS] *= SECTOR;
        push_all(out, &self.series, now.time_ms, values);
        let Some((last, then)) = self.last.replace((*columns, now.instant)) else { return };
        let elapsed = now.instant.saturating_duration_since(then).as_secs_f64() * 1000.0;
        for (series, value) in self.derived.iter().zip(derived(columns, &last, elapsed)) {
            if let Some(value) = value {
                push(out, series, now.time_ms, value);
            }
        }
    }
}

/// Wait, service time and utilisation since `last`; none when a counter began anew, no wait when nothing was done.
pub(super) fn derived(columns: &Columns, last: &Columns, elapsed_ms: f64) -> [Option<f64>; 3] {
    let delta = |at: usize| Some(columns[at].checked_sub(last[at])? as f64);
    let all = || {
        let done = delta(READS)? + delta(WRITES)?;
        Some((done, delta(READ_TIME)? + delta(WRITE_TIME)?, delta(IO_TIME)?))
    };
    let Some((done, waited, busy)) = all() else { return [None; 3] };
    let each = |time: f64| (done > 0.0).then(|| time / done);
    [each(waited), each(busy), (elapsed_ms > 0.0).then(|| 100.0 * busy / elapsed_ms)]
}

/// Device name and the first eleven columns; `None` for a line of an older kernel's partition, with fewer.
pub(super) fn parse(line: &[u8]) -> Option<(&[u8], Columns)> {
    let mut words = words(line).skip(2);
    let name = words.next()?;
    Some((name, numbers(&mut words)?))
}
