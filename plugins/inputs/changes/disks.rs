//! File systems that become nearly full, or are mounted anew for reading only (what ext4 does after an error).
//!
//! From /proc/1/mounts and statvfs(3); only file systems on a device of this host are asked, which always answer.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News, bytes};
use super::proc;
use super::roots::Roots;

/// File systems kept.
const MAX_DISKS: usize = 256;
/// A full one is told again when it was this many points below the limit.
const REST: f64 = 5.0;
/// Types that live on a device here.
const TYPES: [&str; 9] =
    ["ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "vfat", "bcachefs"];

/// What a file system says: total bytes, bytes that are free for users.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usage {
    pub(super) total: u64,
    pub(super) free: u64,
    /// Of what users can have, percent.
    pub(super) used_percent: f64,
}

/// Asks a mounted file system.
pub(super) type Ask = fn(&Path) -> io::Result<Usage>;

/// The system's answer.
pub(super) fn ask(path: &Path) -> io::Result<Usage> {
    let stat = rustix::fs::statvfs(path)?;
    let used = stat.f_blocks.saturating_sub(stat.f_bfree);
    let usable = used.saturating_add(stat.f_bavail);
    let used_percent = if usable == 0 { 0.0 } else { used as f64 * 100.0 / usable as f64 };
    let block = stat.f_frsize;
    Ok(Usage {
        total: stat.f_blocks.saturating_mul(block),
        free: stat.f_bavail.saturating_mul(block),
        used_percent,
    })
}

/// A file system as it was seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    is_read_only: bool,
    is_full: bool,
}

/// The watcher.
pub(super) struct Disks {
    roots: Roots,
    ask: Ask,
    limit: f64,
    seen: BTreeMap<String, Seen>,
}

impl Disks {
    pub(super) fn new(roots: &Roots, ask: Ask, limit: f64) -> Self {
        Disks { roots: roots.clone(), ask, limit, seen: BTreeMap::new() }
    }

    /// Whether it is full now; told when it has become so. One that was full before the agent came is told too.
    fn full(&self, place: &str, was: Option<Seen>, news: &mut News) -> bool {
        let path = format!("{}{place}", self.roots.mount_prefix);
        let was_full = was.is_some_and(|was| was.is_full);
        let Ok(usage) = (self.ask)(Path::new(&path)) else { return was_full };
        let limit = if was_full { self.limit - REST } else { self.limit };
        let is_full = usage.used_percent >= limit;
        if is_full && !was_full {
            news.tell_always(Change {
                subject: place.to_owned(),
                detail: "nearly full".to_owned(),
                sentence: format!(
                    "the file system {place} is {:.0} % full: {} of {} are free",
                    usage.used_percent.floor(),
                    bytes(usage.free),
                    bytes(usage.total),
                ),
                time_ms: None,
            });
        }
        is_full
    }
}

impl Watch for Disks {
    fn look(&mut self, _now_ms: i64, news: &mut News) -> Result<(), Cause> {
        let own = proc::read(&self.roots.proc.join("1/mounts"));
        let mounts =
            own.or_else(|| proc::read(&self.roots.proc.join("mounts"))).unwrap_or_default();
        let mut found = BTreeMap::new();
        let mut devices = Vec::new();
        for line in mounts.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [device, place, kind, options, ..] = words[..] else { continue };
            // A device that is mounted at many places (bind mounts) is asked at the first.
            if !TYPES.contains(&kind) || devices.contains(&device) || found.len() >= MAX_DISKS {
                continue;
            }
            devices.push(device);
            let place = unescape(place);
            let is_read_only = options.split(',').any(|option| option == "ro");
            let was = self.seen.get(&place).copied();
            if is_read_only && was.is_some_and(|was| !was.is_read_only) {
                news.tell(Change {
                    subject: place.clone(),
                    detail: "read-only".to_owned(),
                    sentence: format!(
                        "the file system {place} ({device}) is now mounted read-only"
                    ),
                    time_ms: None,
                });
            }
            let is_full = !is_read_only && self.full(&place, was, news);
            found.insert(place, Seen { is_read_only, is_full });
        }
        self.seen = found;
        Ok(())
    }
}

/// `\040` is a space (fstab(5)).
pub(super) fn unescape(place: &str) -> String {
    let mut out = String::with_capacity(place.len());
    let mut rest = place;
    while let Some((before, after)) = rest.split_once('\\') {
        out.push_str(before);
        let code = after.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                out.push('\\');
                rest = after;
            }
        }
    }
    out + rest
}
