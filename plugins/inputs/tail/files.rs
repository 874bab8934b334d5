//! The followed files: one record each, found by number, by inode and by path; and how many are open.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use sentinel_contract::Labels;
use tokio::time::Instant;

use super::identity::{Digest, Inode, Mark, has_prefix};

/// What leads to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// A path that matches the globs.
    Live,
    /// It was renamed to what does not match: read to the end, and watched where it is.
    Renamed { since: Instant },
    /// Nothing but our descriptor: read to the end, then closed.
    Deleted { since: Instant },
}

/// One followed file.
#[derive(Debug)]
pub(super) struct Tailed {
    pub(super) id: u64,
    pub(super) inode: Inode,
    /// Where it is now.
    pub(super) path: PathBuf,
    /// Where it was found: its stream's name, and the name of its saved position.
    pub(super) name: PathBuf,
    pub(super) stream: Arc<Labels>,
    pub(super) prefix: Digest,
    /// Up to where it was read and sent: the beginning of a line.
    pub(super) read: Mark,
    /// As of the last look.
    pub(super) size: u64,
    /// As of the last look that proved it to be the same file.
    pub(super) seen: u64,
    pub(super) modified: Option<SystemTime>,
    /// There is no line end between `read` and here.
    pub(super) scanned: u64,
    /// How much the next read asks for.
    pub(super) stride: usize,
    /// Bytes of a line, as of the last read; 0: not known.
    pub(super) average: usize,
    pub(super) file: Option<File>,
    pub(super) life: Life,
    /// Not read before this one is at its end: the file that was at this path before.
    pub(super) after: Option<u64>,
    /// The file that waits for this one.
    pub(super) before: Option<u64>,
    /// Not read before: after a loss or an error.
    pub(super) pause: Option<Instant>,
    /// When it last grew.
    pub(super) grown: Instant,
    /// It has a last line or group that is not finished, since this long.
    pub(super) unfinished: Option<Instant>,
    /// It waits in the queue of files to read.
    pub(super) queued: bool,
    /// Used since the clock hand passed: not the next to be closed.
    used: bool,
}

impl Tailed {
    /// A file found now.
    pub(super) fn new(found: Found, mark: Mark, stream: Arc<Labels>) -> Self {
        let Found { path, name, inode, prefix, size, modified, file } = found;
        Tailed {
            id: 0,
            inode,
            path,
            name,
            stream,
            prefix,
            read: mark,
            size,
            seen: size,
            modified,
            scanned: 0,
            stride: 0,
            average: 0,
            file: Some(file),
            life: Life::Live,
            after: None,
            before: None,
            pause: None,
            grown: Instant::now(),
            unfinished: None,
            queued: false,
            used: true,
        }
    }

    /// Bytes that are there and not read.
    pub(super) fn unread(&self) -> u64 {
        self.size.saturating_sub(self.read.offset)
    }

    /// Whether these are its bytes. An inode that nobody held open may be in use again; without a byte of the beginning
    /// nothing can be told.
    pub(super) fn is_in(&self, file: &File) -> bool {
        self.prefix.len > 0 && has_prefix(file, self.prefix) && self.read.is_in(file)
    }

    /// Something is to be done about it soon.
    pub(super) fn is_busy(&self) -> bool {
        self.life != Life::Live || self.pause.is_some() || (self.unread() > 0 && !self.queued)
    }

    /// Reads again from here.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.read = mark;
        self.scanned = 0;
        self.unfinished = None;
    }

    fn may_close(&self) -> bool {
        self.file.is_some() && !matches!(self.life, Life::Deleted { .. })
    }
}

/// A file that was opened and looked at.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) name: PathBuf,
    pub(super) inode: Inode,
    pub(super) prefix: Digest,
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
    pub(super) file: File,
}

impl Found {
    /// Opens and looks, without ever waiting for a writer of a FIFO. `Err` with a reason for people.
    pub(super) fn open(path: &Path, name: &Path) -> Result<Self, Refusal> {
        let (file, meta) = open_regular(path)?;
        if let Some(what) = super::identity::compression(&file).map_err(Refusal::Failed)? {
            return Err(Refusal::Kind(what));
        }
        let prefix = super::identity::prefix(&file).map_err(Refusal::Failed)?;
        Ok(Found {
            path: path.to_owned(),
            name: name.to_owned(),
            inode: Inode::of(&meta),
            prefix,
            size: meta.len(),
            modified: meta.modified().ok(),
            file,
        })
    }
}

/// Why a path is not followed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not a file, or not one of lines.
    Kind(&'static str),
    /// The system says no.
    Failed(io::Error),
}

/// Opens a file, and nothing but a file.
pub(super) fn open_regular(path: &Path) -> Result<(File, Metadata), Refusal> {
    let meta = std::fs::metadata(path).map_err(Refusal::Failed)?;
    refuse_special(&meta)?;
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path);
    let file = file.map_err(Refusal::Failed)?;
    let meta = file.metadata().map_err(Refusal::Failed)?;
    refuse_special(&meta)?; // it may have been replaced in between
    Ok((file, meta))
}

fn refuse_special(meta: &Metadata) -> Result<(), Refusal> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = meta.file_type();
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(Refusal::Kind("is a directory, not a file"))
    } else if kind.is_fifo() {
        Err(Refusal::Kind("is a FIFO, not a file"))
    } else if kind.is_socket() {
        Err(Refusal::Kind("is a socket, not a file"))
    } else {
        Err(Refusal::Kind("is a device, not a file"))
    }
}

/// All followed files.
#[derive(Debug, Default)]
pub(super) struct Files {
    by_id: BTreeMap<u64, Tailed>,
    by_inode: HashMap<Inode, u64>,
    /// Every path that leads to a file, links and their targets alike.
    by_path: HashMap<PathBuf, u64>,
    /// The newest file found at a path: what a new file at this path must wait for.
    by_name: HashMap<PathBuf, u64>,
    /// Open files, the next to be closed in front.
    open: VecDeque<u64>,
    next: u64,
}

impl Files {
    pub(super) fn get(&self, id: u64) -> Option<&Tailed> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Tailed> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn by_inode(&self, inode: Inode) -> Option<u64> {
        self.by_inode.get(&inode).copied()
    }

    pub(super) fn by_path(&self, path: &Path) -> Option<u64> {
        self.by_path.get(path).copied()
    }

    pub(super) fn by_name(&self, name: &Path) -> Option<u64> {
        self.by_name.get(name).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Tailed> {
        self.by_id.values()
    }

    pub(super) fn ids(&self) -> Vec<u64> {
        self.by_id.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }

    /// At most `count` files after `cursor`, in the order of their numbers, starting over at the end.
    pub(super) fn some_after(&self, cursor: u64, count: usize) -> Vec<u64> {
        let after = self.by_id.range(cursor + 1..).map(|(id, _)| *id);
        after.chain(self.by_id.range(..=cursor).map(|(id, _)| *id)).take(count).collect()
    }

    /// Adds a file, and gives it its number.
    pub(super) fn add(&mut self, mut file: Tailed) -> u64 {
        self.next += 1;
        let id = self.next;
        file.id = id;
        if file.file.is_some() {
            self.open.push_back(id);
        }
        self.by_inode.insert(file.inode, id);
        self.by_path.insert(file.path.clone(), id);
        self.by_name.insert(file.name.clone(), id);
        self.by_id.insert(id, file);
        id
    }

    /// Another path leads to the file.
    pub(super) fn alias(&mut self, path: PathBuf, id: u64) {
        self.by_path.insert(path, id);
    }

    /// Another path that was seen to lead to the file, and of which that still holds.
    pub(super) fn another_path(&self, id: u64, holds: impl Fn(&Path) -> bool) -> Option<PathBuf> {
        let mut paths = self.by_path.iter().filter(|(_, other)| **other == id);
        paths.find(|(path, _)| holds(path)).map(|(path, _)| path.clone())
    }

    /// The path does not lead to this file any more.
    pub(super) fn forget_path(&mut self, path: &Path, id: u64) {
        if self.by_path.get(path) == Some(&id) {
            self.by_path.remove(path);
        }
    }

    /// Whether a file, and all that it waits for, has been read to what was its end when it was last looked at; a last line
    /// without a line end does not count, and neither does a file that cannot be read.
    pub(super) fn is_at_end(&self, id: u64) -> bool {
        let mut next = Some(id);
        while let Some(file) = next.and_then(|id| self.get(id)) {
            let refused = file.pause.is_some() && file.file.is_none();
            let read = file.unread() == 0 || file.unfinished.is_some();
            if !refused && (!read || file.queued || file.pause.is_some()) {
                return false;
            }
            next = file.after;
        }
        true
    }

    /// The file is at another path now.
    pub(super) fn moved(&mut self, id: u64, path: PathBuf) {
        let Some(file) = self.by_id.get_mut(&id) else { return };
        if self.by_path.get(&file.path) == Some(&id) {
            self.by_path.remove(&file.path);
        }
        file.path.clone_from(&path);
        self.by_path.insert(path, id);
    }

    /// The followed file is found in another inode: the copy of it, at `path`.
    pub(super) fn retarget(&mut self, id: u64, found: Found) {
        let Some(file) = self.by_id.get_mut(&id) else { return };
        if self.by_inode.get(&file.inode) == Some(&id) {
            self.by_inode.remove(&file.inode);
        }
        file.inode = found.inode;
        (file.size, file.seen) = (found.size, found.size);
        (file.modified, file.prefix) = (found.modified, found.prefix);
        if file.file.replace(found.file).is_none() {
            self.open.push_back(id);
        }
        self.by_inode.insert(found.inode, id);
        self.by_path.retain(|_, other| *other != id);
        file.path.clone_from(&found.path);
        self.by_path.insert(found.path, id);
    }

    /// Takes a file out.
    pub(super) fn remove(&mut self, id: u64) -> Option<Tailed> {
        let file = self.by_id.remove(&id)?;
        self.open.retain(|other| *other != id);
        if self.by_name.get(&file.name) == Some(&id) {
            self.by_name.remove(&file.name);
        }
        if self.by_inode.get(&file.inode) == Some(&id) {
            self.by_inode.remove(&file.inode);
        }
        self.by_path.retain(|_, other| *other != id);
        Some(file)
    }

    /// Makes sure that the file is open, or says why it is not. False: there is another file at its path now.
    pub(super) fn open(&mut self, id: u64, limit: usize) -> Result<bool, Refusal> {
        let Some(file) = self.by_id.get_mut(&id) else { return Ok(false) };
        file.used = true;
        if file.file.is_some() {
            return Ok(true);
        }
        let (opened, meta) = open_regular(&file.path)?;
        if Inode::of(&meta) != file.inode {
            return Ok(false);
        }
        file.file = Some(opened);
        self.open.push_back(id);
        self.close_beyond(limit);
        Ok(true)
    }

    /// Closes what was not used for longest until no more than `limit` are open. The newest stays.
    pub(super) fn close_beyond(&mut self, limit: usize) {
        let mut looks = 2 * self.open.len();
        while self.open.len() > limit.max(1) && looks > 0 {
            looks -= 1;
            let Some(id) = self.open.pop_front() else { return };
            let Some(file) = self.by_id.get_mut(&id) else { continue };
            if file.file.is_none() {
                continue;
            }
            let last = self.open.is_empty();
            if file.used || last || !file.may_close() {
                file.used = false;
                self.open.push_back(id);
            } else {
                file.file = None;
            }
        }
    }

    /// Closes one file.
    pub(super) fn close(&mut self, id: u64) {
        if let Some(file) = self.by_id.get_mut(&id)
            && file.file.take().is_some()
        {
            self.open.retain(|other| *other != id);
        }
    }
}
