//! `system_*`: load, processors, users, uptime, from /proc/loadavg, /sys/devices/system/cpu, utmp(5) and sysinfo(2), as
//! Telegraf 1.37. Processors are counted in /sys: making /proc/cpuinfo costs the kernel milliseconds on large machines.
//! Without utmp there are no users' series, as there. Not here: the uptime as text.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};

use super::reader::{KeptFile, decimal, lines, number, read_once, word_of, words};
use super::roots::Roots;
use super::series::{Common, push, push_all};

const FIELDS: [(&str, Kind); 6] = [
    ("system_load1", Kind::Gauge),
    ("system_load5", Kind::Gauge),
    ("system_load15", Kind::Gauge),
    ("system_n_cpus", Kind::Gauge),
    ("system_n_physical_cpus", Kind::Gauge),
    ("system_uptime", Kind::Counter),
];
const USERS: [(&str, Kind); 2] =
    [("system_n_users", Kind::Gauge), ("system_n_unique_users", Kind::Gauge)];

/// The collector.
pub(super) struct Host {
    common: Common,
    loadavg: KeptFile,
    online: KeptFile,
    utmp: PathBuf,
    series: [Arc<Series>; FIELDS.len()],
    users: [Arc<Series>; USERS.len()],
    /// The list of processors that `counts` was made of.
    listed: Vec<u8>,
    counts: Counts,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Counts {
    logical: u64,
    physical: u64,
}

impl Host {
    pub(super) fn new(common: Common) -> Self {
        Host {
            loadavg: KeptFile::new(common.roots.proc.join("loadavg")),
            online: KeptFile::new(common.roots.sys.join("devices/system/cpu/online")),
            utmp: common.roots.var.join("run/utmp"),
            series: common.group(&FIELDS, &[]),
            users: common.group(&USERS, &[]),
            listed: Vec::new(),
            counts: Counts::default(),
            common,
        }
    }

    /// Counts again only when a processor went on or off.
    fn counts(&mut self, buffer: &mut Vec<u8>) -> Counts {
        let roots = Arc::clone(&self.common.roots);
        let Some(text) = self.online.read_optional(buffer) else {
            if self.counts.logical == 0 {
                self.counts = from_cpuinfo(&roots, buffer);
            }
            return self.counts;
        };
        if text != self.listed {
            self.listed = text.to_vec();
            let ids = ids(&self.listed);
            let cores = cores(&ids, &roots, buffer);
            let physical = cores.unwrap_or_else(|| from_cpuinfo(&roots, buffer).physical);
            self.counts = Counts { logical: ids.len() as u64, physical };
        }
        self.counts
    }
}

impl Gather for Host {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let load = load(self.loadavg.read(buffer)?);
            let Some([one, five, fifteen]) = load else { anyhow::bail!("loadavg is malformed") };
            let counts = self.counts(buffer);
            let uptime = rustix::system::sysinfo().uptime as f64;
            let values =
                [one, five, fifteen, counts.logical as f64, counts.physical as f64, uptime];
            push_all(out, &self.series, now.time_ms, values);
            if let Ok(utmp) = read_once(&self.utmp, buffer) {
                let (all, unique) = users(utmp);
                push(out, &self.users[0], now.time_ms, all as f64);
                push(out, &self.users[1], now.time_ms, unique as f64);
            }
            Ok(())
        })
    }
}

/// `0.20 0.18 0.12 1/80 11206`
pub(super) fn load(text: &[u8]) -> Option<[f64; 3]> {
    let mut words = words(text).map(decimal);
    Some([words.next()??, words.next()??, words.next()??])
}

/// Far more processors than Linux can have.
const MOST_IDS: usize = 1 << 16;

/// The numbers of a list such as `0-3,8`; a part that is none is left out.
pub(super) fn ids(list: &[u8]) -> Vec<u32> {
    let one = |text: &[u8]| number(text).and_then(|id| u32::try_from(id).ok());
    let mut ids = Vec::new();
    for part in list.trim_ascii().split(|byte| *byte == b',') {
        let (first, last) = match memchr::memchr(b'-', part) {
            Some(dash) => (one(&part[..dash]), one(&part[dash + 1..])),
            None => (one(part), one(part)),
        };
        if let (Some(first), Some(last)) = (first, last) {
            ids.extend((first..=last).take(MOST_IDS.saturating_sub(ids.len())));
        }
    }
    ids
}

/// Processors that share a core have the same list of siblings.
fn cores(ids: &[u32], roots: &Roots, buffer: &mut Vec<u8>) -> Option<u64> {
    let siblings = |file: &str, buffer: &mut Vec<u8>| -> BTreeSet<String> {
        let folder = roots.sys.join("devices/system/cpu");
        ids.iter()
            .filter_map(|id| word_of(&folder.join(format!("cpu{id}/topology/{file}")), buffer))
            .collect()
    };
    let mut cores = siblings("core_cpus_list", buffer);
    if cores.is_empty() {
        cores = siblings("thread_siblings_list", buffer); // its name before Linux 5.3
    }
    (!cores.is_empty()).then_some(cores.len() as u64)
}

fn from_cpuinfo(roots: &Roots, buffer: &mut Vec<u8>) -> Counts {
    read_once(&roots.proc.join("cpuinfo"), buffer).map(cpuinfo).unwrap_or_default()
}

/// Processors, and the cores of each package.
pub(super) fn cpuinfo(text: &[u8]) -> Counts {
    let mut cores_of = BTreeMap::new();
    let (mut logical, mut package) = (0, 0);
    for line in lines(text) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let value = number(line[colon + 1..].trim_ascii());
        match (line[..colon].trim_ascii(), value) {
            (b"processor", Some(_)) => logical += 1,
            (b"physical id", Some(id)) => package = id,
            (b"cpu cores", Some(cores)) => {
                cores_of.insert(package, cores);
            }
            _ => {}
        }
    }
    Counts { logical, physical: cores_of.values().fold(0, |sum, more| sum.saturating_add(*more)) }
}

/// Logged-in users, and how many different ones. A record of utmp has 384 bytes on Linux: the kind at 0, the user's
/// name at 44, padded with zeros to 32.
pub(super) fn users(utmp: &[u8]) -> (usize, usize) {
    const RECORD: usize = 384;
    const USER_PROCESS: i16 = 7;
    let names: Vec<&[u8]> = utmp
        .chunks_exact(RECORD)
        .filter(|record| i16::from_ne_bytes([record[0], record[1]]) == USER_PROCESS)
        .map(|record| record[44..76].split(|byte| *byte == 0).next().unwrap_or_default())
        .collect();
    (names.len(), names.iter().collect::<BTreeSet<_>>().len())
}
