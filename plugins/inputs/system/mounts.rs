//! The mounted file systems, from mountinfo (proc_pid_mountinfo(5)). Reads init's view first, as gopsutil does: our own
//! may be that of a sandbox. Does not ask a file system anything.

use std::path::Path;

use super::reader::{lines, words};
use super::roots::Roots;

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// `major:minor` of the file system's device.
    pub(super) device_id: String,
    /// For example `/dev/sda1`.
    pub(super) device: String,
    /// Where, unescaped.
    pub(super) path: String,
    /// For example `ext4`.
    pub(super) fstype: String,
    /// The mount's options; `bind` is added when it shows only a part of its file system.
    pub(super) options: Vec<String>,
}

impl Mount {
    /// `rw`, `ro`, or `unknown`.
    pub(super) fn mode(&self) -> &'static str {
        let has = |wanted: &str| self.options.iter().any(|option| option == wanted);
        if has("rw") {
            "rw"
        } else if has("ro") {
            "ro"
        } else {
            "unknown"
        }
    }

    /// The device's own name instead of an alias of it: what a /dev/mapper link points to, what /dev/root stands for.
    pub(super) fn resolve(&mut self, roots: &Roots) {
        if self.device == "/dev/root" {
            let link = roots.sys.join("dev/block").join(&self.device_id);
            if let Some(name) = std::fs::read_link(link).ok().as_deref().and_then(Path::file_name) {
                self.device = format!("/dev/{}", name.to_string_lossy());
            }
        } else if let Some(name) = self.device.strip_prefix("/dev/mapper/")
            && let Ok(path) = roots.dev.join("mapper").join(name).canonicalize()
        {
            let path = match path.strip_prefix(&roots.dev) {
                Ok(node) => Path::new("/dev").join(node),
                Err(_) => path,
            };
            self.device = path.to_string_lossy().into_owned();
        }
    }
}

/// All mounts, in their order. A line that is none is left out.
pub(super) fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    lines(mountinfo).filter_map(mount).collect()
}

/// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue`
fn mount(line: &[u8]) -> Option<Mount> {
    let split = memchr::memmem::find(line, b" - ")?;
    let mut left = words(&line[..split]).skip(2);
    let (device_id, root, path, options) = (left.next()?, left.next()?, left.next()?, left.next()?);
    let mut right = words(&line[split + 3..]);
    let (fstype, device) = (right.next()?, right.next()?);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut options: Vec<String> = options.split(|byte| *byte == b',').map(text).collect();
    if root != b"/" {
        options.push("bind".to_owned());
    }
    Some(Mount {
        device_id: text(device_id),
        device: text(&unescape(device)),
        path: text(&unescape(path)),
        fstype: text(fstype),
        options,
    })
}

/// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
fn unescape(word: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((first, tail)) = rest.split_first() {
        let code = match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if *first == b'\\' => {
                Some(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'))
            }
            _ => None,
        };
        plain.push(code.unwrap_or(*first));
        rest = if code.is_some() { &tail[3..] } else { tail };
    }
    plain
}
