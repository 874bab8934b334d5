//! `processes_*`: processes by state, and their threads, from /proc/<pid>/stat, as Telegraf 1.37. One open, read and
//! close a process and nothing else, all relative to one kept folder. A process that ends meanwhile is not counted.

use std::ffi::CStr;
use std::fs::File;
use std::mem::MaybeUninit;
use std::sync::Arc;

use anyhow::Context as _;
use rustix::fs::{Mode, OFlags, RawDir, SeekFrom, openat, seek};
use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};

use super::reader::{number, words};
use super::series::{Common, push, push_all};

const FIELDS: [(&str, Kind); 11] = [
    ("processes_blocked", Kind::Gauge),
    ("processes_zombies", Kind::Gauge),
    ("processes_stopped", Kind::Gauge),
    ("processes_running", Kind::Gauge),
    ("processes_sleeping", Kind::Gauge),
    ("processes_total", Kind::Gauge),
    ("processes_unknown", Kind::Gauge),
    ("processes_dead", Kind::Gauge),
    ("processes_paging", Kind::Gauge),
    ("processes_idle", Kind::Gauge),
    ("processes_total_threads", Kind::Gauge),
];
const TOTAL: usize = 5;
const UNKNOWN: usize = 6;
const THREADS: usize = 10;

/// A name is at most 64 bytes and 50 numbers follow; what is needed stands in the first half.
const STAT: usize = 1024;
/// Folder entries fetched at a time.
const ENTRIES: usize = 8 << 10;

/// The collector.
pub(super) struct Processes {
    common: Common,
    proc: Option<File>,
    series: [Arc<Series>; FIELDS.len()],
    parked: Arc<Series>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Tally {
    counts: [u64; FIELDS.len()],
    parked: u64,
}

impl Processes {
    pub(super) fn new(common: Common) -> Self {
        Processes {
            proc: None,
            series: common.group(&FIELDS, &[]),
            parked: common.series("processes_parked", Kind::Gauge, &[]),
            common,
        }
    }

    fn folder(&mut self) -> Result<&File, Cause> {
        let path = &self.common.roots.proc;
        let folder = match self.proc.take() {
            Some(folder) => folder,
            None => File::open(path).with_context(|| format!("cannot open {}", path.display()))?,
        };
        seek(&folder, SeekFrom::Start(0))?;
        Ok(self.proc.insert(folder))
    }
}

impl Gather for Processes {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        let tally = scratch.with(|buffer| -> Result<Tally, Cause> {
            buffer.clear();
            buffer.reserve(ENTRIES);
            let folder = self.folder()?;
            Ok(count(folder, buffer.spare_capacity_mut())?)
        })?;
        push_all(out, &self.series, now.time_ms, tally.counts.map(|count| count as f64));
        if tally.parked > 0 {
            push(out, &self.parked, now.time_ms, tally.parked as f64);
        }
        Ok(())
    }
}

fn count(proc: &File, entries: &mut [MaybeUninit<u8>]) -> rustix::io::Result<Tally> {
    let mut tally = Tally::default();
    let mut stat = [MaybeUninit::uninit(); STAT];
    let mut folder = RawDir::new(proc, entries);
    while let Some(entry) = folder.next() {
        let mut path = [0; 32];
        let Some(path) = path_of(entry?.file_name(), &mut path) else { continue };
        // Gone between the listing and now: not counted.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let Ok(file) = openat(proc, path, flags, Mode::empty()) else { continue };
        let Ok((text, _)) = rustix::io::read(&file, &mut stat) else { continue };
        tally.add(text);
    }
    Ok(tally)
}

/// `<pid>/stat` for the folder of a process.
fn path_of<'a>(name: &CStr, path: &'a mut [u8; 32]) -> Option<&'a CStr> {
    const FILE: &[u8] = b"/stat\0";
    let pid = name.to_bytes();
    if !pid.first()?.is_ascii_digit() {
        return None;
    }
    let end = pid.len() + FILE.len();
    path.get_mut(..pid.len())?.copy_from_slice(pid);
    path.get_mut(pid.len()..end)?.copy_from_slice(FILE);
    CStr::from_bytes_with_nul(&path[..end]).ok()
}

impl Tally {
    /// Adds a process, if `stat` is what it should be: `pid (name) state ...`, the threads in field 20.
    pub(super) fn add(&mut self, stat: &[u8]) {
        let Some(end) = memchr::memrchr(b')', stat) else { return };
        let mut fields = words(&stat[end + 1..]);
        let Some(state) = fields.next() else { return };
        match state[0] {
            b'D' => self.counts[0] += 1,
            b'Z' => self.counts[1] += 1,
            b'T' | b't' => self.counts[2] += 1,
            b'R' => self.counts[3] += 1,
            b'S' => self.counts[4] += 1,
            b'X' | b'x' => self.counts[7] += 1,
            b'W' => self.counts[8] += 1,
            b'I' => self.counts[9] += 1,
            b'P' => self.parked += 1,
            _ => self.counts[UNKNOWN] += 1,
        }
        self.counts[TOTAL] += 1;
        self.counts[THREADS] += fields.nth(16).and_then(number).unwrap_or(0);
    }
}
