//! Units of systemd that start, stop or restart, from their control groups: no D-Bus.
//!
//! A unit's cgroup directory is made when it starts and removed when it has stopped, so a new inode is a new start; a
//! main process that was replaced inside it shows as an oldest process that is younger than before. The layout is
//! systemd's (CONTROL GROUP APIS AND DELEGATION): `system.slice/NAME.service`, instances one slice deeper.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News};
use super::proc;
use super::roots::Roots;

/// Units kept.
const MAX_UNITS: usize = 2000;
/// Processes of a unit that are asked when they started.
const MAX_PROCESSES: usize = 16;
/// Ticks a second of /proc: fixed in the kernel's ABI on all architectures of today.
pub(super) const TICKS: u64 = 100;
/// Endings of what is told.
const KINDS: [&str; 2] = [".service", ".scope"];

/// A unit as it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    inode: u64,
    /// Of its oldest process, in ticks since boot; `None` while it has none.
    oldest: Option<u64>,
}

/// The watcher.
pub(super) struct Units {
    roots: Roots,
    seen: BTreeMap<String, Seen>,
}

impl Units {
    pub(super) fn new(roots: &Roots) -> Self {
        Units { roots: roots.clone(), seen: BTreeMap::new() }
    }

    fn scan(&self) -> BTreeMap<String, Seen> {
        let mut found = BTreeMap::new();
        if let Some(slice) = system_slice(&self.roots.sys) {
            each_unit(&slice, 1, &mut |name, path| {
                let Ok(data) = fs::metadata(path) else { return };
                let oldest = oldest(&self.roots.proc, path);
                found.insert(name.to_owned(), Seen { inode: data.ino(), oldest });
            });
        }
        found
    }

    /// When a process started, in milliseconds since 1970.
    fn time_ms(&self, seen: &Seen) -> Option<i64> {
        let since_boot = i64::try_from(seen.oldest?.checked_mul(1000 / TICKS)?).ok()?;
        proc::boot_ms(&self.roots.proc)?.checked_add(since_boot)
    }
}

impl Watch for Units {
    fn look(&mut self, _now_ms: i64, news: &mut News) -> Result<(), Cause> {
        let found = self.scan();
        let change = |name: &str, detail: &str, time_ms: Option<i64>| Change {
            subject: name.to_owned(),
            detail: detail.to_owned(),
            sentence: format!("{name} {detail}"),
            time_ms,
        };
        for (name, is) in &found {
            match self.seen.get(name) {
                None => news.tell(change(name, "started", self.time_ms(is))),
                Some(was) if was.inode != is.inode || is_younger(was, is) => {
                    news.tell(change(name, "restarted", self.time_ms(is)));
                }
                Some(_) => {}
            }
        }
        for name in self.seen.keys().filter(|name| !found.contains_key(*name)) {
            news.tell(change(name, "stopped", None));
        }
        self.seen = found;
        Ok(())
    }
}

fn is_younger(was: &Seen, is: &Seen) -> bool {
    matches!((was.oldest, is.oldest), (Some(was), Some(is)) if is > was)
}

/// The system's slice: of cgroup version 2, else of version 1 with systemd's own hierarchy.
pub(super) fn system_slice(sys: &Path) -> Option<PathBuf> {
    let group = sys.join("fs/cgroup");
    let places = [group.clone(), group.join("unified"), group.join("systemd")];
    places.into_iter().map(|place| place.join("system.slice")).find(|place| place.is_dir())
}

/// Calls `visit` with the name and folder of each unit of a slice and of the slices in it.
pub(super) fn each_unit(slice: &Path, depth: u32, visit: &mut impl FnMut(&str, &Path)) {
    let Ok(entries) = fs::read_dir(slice) else { return };
    let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    for entry in entries.flatten().filter(is_folder).take(MAX_UNITS) {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if KINDS.iter().any(|kind| name.ends_with(kind)) {
            visit(name, &entry.path());
        } else if depth > 0 && name.strip_suffix(".slice").is_some() {
            each_unit(&entry.path(), depth - 1, visit);
        }
    }
}

fn oldest(proc: &Path, unit: &Path) -> Option<u64> {
    let pids = proc::read(&unit.join("cgroup.procs"))?;
    let pids = pids.lines().filter_map(|pid| pid.trim().parse::<u32>().ok()).take(MAX_PROCESSES);
    pids.filter_map(|pid| Some(proc::stat_of(proc, pid)?.start_ticks)).min()
}
