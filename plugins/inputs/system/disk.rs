//! `disk_*` by mounted file system, with Telegraf 1.37's options, labels and arithmetic (plugins/inputs/disk and
//! plugins/common/psutil). File systems without blocks (proc, cgroup) are left out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;

use super::mounts::{self, Mount};
use super::reader::{KeptFile, lines, read_once, word_of};
use super::roots::Roots;
use super::series::{Common, push_all};
use super::usage::{self, Ask, PATIENCE, Slow, Usage};

const FIELDS: [(&str, Kind); 8] = [
    ("disk_total", Kind::Gauge),
    ("disk_free", Kind::Gauge),
    ("disk_used", Kind::Gauge),
    ("disk_used_percent", Kind::Gauge),
    ("disk_inodes_total", Kind::Gauge),
    ("disk_inodes_free", Kind::Gauge),
    ("disk_inodes_used", Kind::Gauge),
    ("disk_inodes_used_percent", Kind::Gauge),
];

/// They never have blocks; asking them is a system call each for nothing.
const WITHOUT_BLOCKS: [&str; 16] = [
    "proc",
    "sysfs",
    "cgroup",
    "cgroup2",
    "devpts",
    "mqueue",
    "debugfs",
    "tracefs",
    "securityfs",
    "pstore",
    "bpf",
    "configfs",
    "fusectl",
    "binfmt_misc",
    "rpc_pipefs",
    "nsfs",
];

/// `[inputs.system.disk]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Only these mount points; empty for all.
    pub mount_points: Vec<String>,
    /// File system types to leave out.
    pub ignore_fs: Vec<String>,
    /// Mount options whose mounts are left out; `bind` for bind mounts.
    pub ignore_mount_opts: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        let ignored = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs"];
        Options {
            mount_points: Vec::new(),
            ignore_fs: ignored.map(str::to_owned).to_vec(),
            ignore_mount_opts: Vec::new(),
        }
    }
}

/// The collector.
pub(super) struct Disk {
    common: Common,
    options: Options,
    init: KeptFile,
    own: KeptFile,
    ask: Ask,
    patience: Duration,
    /// The mountinfo that `places` were made of: nearly always the same as the last time.
    mountinfo: Vec<u8>,
    places: Vec<Place>,
}

struct Place {
    mount: Mount,
    /// Where the agent reaches it.
    path: PathBuf,
    series: [Arc<Series>; FIELDS.len()],
    /// `None` when it answers at once.
    slow: Option<Slow>,
}

impl Disk {
    pub(super) fn new(common: Common, options: Options) -> Self {
        Disk::asking(common, options, Arc::new(usage::statvfs), PATIENCE)
    }

    /// With another way to ask a file system.
    pub(super) fn asking(common: Common, options: Options, ask: Ask, patience: Duration) -> Self {
        Disk {
            init: KeptFile::new(common.roots.proc.join("1/mountinfo")),
            own: KeptFile::new(common.roots.proc.join("self/mountinfo")),
            common,
            options,
            ask,
            patience,
            mountinfo: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The mounts may have changed: makes the list anew, and keeps what belongs to those that are still there.
    fn renew(&mut self, mountinfo: &[u8]) -> io::Result<()> {
        let mut before = std::mem::take(&mut self.places);
        let mounts = mounts::parse(mountinfo);
        for mount in &mounts {
            let Some(path) = self.reached_at(mount, &mounts) else { continue };
            let mut mount = mount.clone();
            mount.resolve(&self.common.roots);
            if self.places.iter().any(|place| same_labels(&place.mount, &mount)) {
                continue; // mounted over itself: one series
            }
            match before.iter().position(|place| place.mount == mount && place.path == path) {
                Some(at) => self.places.push(before.swap_remove(at)),
                None => self.places.push(self.place(mount, path)?),
            }
        }
        self.mountinfo.clear();
        self.mountinfo.extend_from_slice(mountinfo);
        Ok(())
    }

    /// Where the agent finds the mount, if it is wanted.
    fn reached_at(&self, mount: &Mount, all: &[Mount]) -> Option<PathBuf> {
        let Options { mount_points, ignore_fs, ignore_mount_opts } = &self.options;
        let wanted = (mount_points.is_empty() || mount_points.contains(&mount.path))
            && !ignore_fs.contains(&mount.fstype)
            && !mount.options.iter().any(|option| ignore_mount_opts.contains(option))
            && mount.fstype != "autofs" // to ask it would mount what it stands for
            && !WITHOUT_BLOCKS.contains(&&*mount.fstype);
        if !wanted {
            return None;
        }
        let prefix = &self.common.roots.mount_prefix;
        if prefix.is_empty() || mount.path.starts_with(&**prefix) {
            return Some(PathBuf::from(&mount.path));
        }
        let path = Path::new(prefix).join(mount.path.trim_start_matches('/'));
        // Listed under its prefix too: that one is reported.
        (!all.iter().any(|other| Path::new(&other.path) == path)).then_some(path)
    }

    fn place(&self, mount: Mount, path: PathBuf) -> io::Result<Place> {
        let Common { roots, scratch, .. } = &self.common;
        let shown = mount.path.strip_prefix(&*roots.mount_prefix).unwrap_or(&mount.path);
        let shown = format!("/{}", shown.trim_start_matches('/'));
        let device = mount.device.replace("/dev/", "");
        // A device outside /dev is another file system's path, which may hang.
        let node = mount.device.strip_prefix("/dev/").filter(|name| !name.starts_with('/'));
        let label = node.and_then(|name| scratch.with(|buffer| label(name, roots, buffer)));
        let label = label.unwrap_or_default();
        let labels = [
            ("device", &*device),
            ("fstype", &mount.fstype),
            ("label", &label),
            ("mode", mount.mode()),
            ("path", &shown),
        ];
        let series = self.common.group(&FIELDS, &labels);
        let slow = usage::may_hang(&mount.fstype)
            .then(|| Slow::new(path.clone(), Arc::clone(&self.ask)))
            .transpose()?;
        Ok(Place { mount, path, series, slow })
    }

    fn sample(&mut self, now: Now, out: &mut Vec<Metric>) {
        for slow in self.places.iter_mut().filter_map(|place| place.slow.as_mut()) {
            slow.ask();
        }
        for place in self.places.iter().filter(|place| place.slow.is_none()) {
            place.push((self.ask)(&place.path), now.time_ms, out);
        }
        let until = Instant::now() + self.patience;
        for place in &mut self.places {
            match place.slow.as_mut().map(|slow| slow.answer(until)) {
                Some(Some(answer)) => place.push(answer, now.time_ms, out),
                Some(None) => tracing::debug!(path = %place.path.display(), "no answer yet"),
                None => {}
            }
        }
    }
}

impl Gather for Disk {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| -> Result<(), Cause> {
            let text = match self.init.read_optional(buffer) {
                Some(_) => &buffer[..],
                None => self.own.read(buffer)?,
            };
            if text != self.mountinfo {
                let text = text.to_vec(); // the buffer is needed to read the labels
                self.renew(&text)?;
            }
            Ok(())
        })?;
        self.sample(now, out);
        Ok(())
    }
}

impl Place {
    fn push(&self, answer: io::Result<Usage>, time_ms: i64, out: &mut Vec<Metric>) {
        match answer {
            Ok(Usage { total: 0, .. }) => {}
            Ok(usage) => push_all(out, &self.series, time_ms, values(&usage)),
            Err(error) => tracing::debug!(path = %self.path.display(), %error, "no usage"),
        }
    }
}

/// In the order of `FIELDS`. Percentages are of what a user without privileges can have.
pub(super) fn values(usage: &Usage) -> [f64; FIELDS.len()] {
    let percent = |used: f64, free: f64| {
        if used + free > 0.0 { 100.0 * used / (used + free) } else { 0.0 }
    };
    let (used, free) = (usage.used as f64, usage.free as f64);
    let inodes_free = usage.inodes_free as f64;
    let inodes_used = usage.inodes_total.saturating_sub(usage.inodes_free) as f64;
    [
        usage.total as f64,
        free,
        used,
        percent(used, free),
        usage.inodes_total as f64,
        inodes_free,
        inodes_used,
        percent(inodes_used, inodes_free),
    ]
}

fn same_labels(one: &Mount, other: &Mount) -> bool {
    one.path == other.path
        && one.device == other.device
        && one.fstype == other.fstype
        && one.mode() == other.mode()
}

/// The file system's label: the device mapper's name, else udev's.
fn label(device: &str, roots: &Roots, buffer: &mut Vec<u8>) -> Option<String> {
    let mapped = roots.sys.join("block").join(device).join("dm/name");
    if let Some(name) = word_of(&mapped, buffer) {
        return Some(name);
    }
    let node = rustix::fs::stat(roots.dev.join(device)).ok()?;
    let (major, minor) = (rustix::fs::major(node.st_rdev), rustix::fs::minor(node.st_rdev));
    let data = roots.run.join(format!("udev/data/b{major}:{minor}"));
    let text = read_once(&data, buffer).ok()?;
    let value = lines(text).find_map(|line| line.strip_prefix(b"E:ID_FS_LABEL="))?;
    Some(String::from_utf8_lossy(value).into_owned())
}
