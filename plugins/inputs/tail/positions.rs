//! Saved positions: an append-only log of lines ([`super::record`]), newest last.
//!
//! A torn last line is cut off, a bad line is skipped and counted; nothing that is in the file can keep the agent from
//! starting. Written at every acknowledgement, synced each second by the caller, and rewritten ([`super::disk`]) when most of
//! it is old; the log before stays as `.old` and fills in for what is damaged. A log of a newer version is not read: it is
//! kept under another name.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::disk::{ABSENT, Done, Due, Fresh, set_aside, sync_folder};
use super::identity::Inode;
use super::record::{Entry, Record, append_forget, append_position, parse};

/// The first line.
pub(super) const HEADER: &str = "sentinelops positions 1\n";
const VERSION: u32 = 1;
/// The ending of the log before this one.
const PREVIOUS: &str = "old";
/// Rewritten when it is this long and most of it is old.
const COMPACT_BYTES: u64 = 1 << 20;

/// The log, and what it says.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    file: Option<Arc<File>>,
    known: HashMap<Inode, Record>,
    /// What stands in its place is not ours to change: before anything is written it is renamed.
    aside: Option<Aside>,
    pub(super) pending: String,
    /// What was added since it is being written anew.
    since: Option<String>,
    length: u64,
    unsynced: bool,
}

/// What was found in the log.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// There was a log.
    pub(super) existed: bool,
    /// When it was last written.
    pub(super) written: Option<SystemTime>,
    /// Lines that were damaged, a torn last one included.
    pub(super) damaged: usize,
    /// It is not used, but kept beside.
    pub(super) aside: Option<Aside>,
}

/// Why a log is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Aside {
    /// A newer agent wrote it.
    Newer,
    /// The system does not give it out.
    Unreadable,
}

impl Aside {
    fn ending(self) -> &'static str {
        match self {
            Aside::Newer => "newer",
            Aside::Unreadable => "bad",
        }
    }

    /// For people.
    pub(super) fn explain(self, path: &Path) -> String {
        let what = match self {
            Aside::Newer => "of a newer version",
            Aside::Unreadable => "unreadable",
        };
        let kept = path.with_extension(self.ending());
        format!("the saved positions were {what}: kept as {}, begun anew", kept.display())
    }
}

/// What the lines of a log say.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) records: HashMap<Inode, Record>,
    forgotten: HashSet<Inode>,
}

impl Known {
    /// How many lines were damaged.
    pub(super) fn read(&mut self, bytes: &[u8]) -> usize {
        let mut damaged = 0;
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            match parse(line) {
                Some(Entry::Position(record)) => {
                    self.records.insert(record.inode, record);
                }
                Some(Entry::Forget(inode)) => {
                    self.records.remove(&inode);
                    self.forgotten.insert(inode);
                }
                None => damaged += usize::from(version(line).is_none()),
            }
        }
        damaged
    }

    /// Takes what is not known from the log before this one: read again is better than not read.
    fn fill(&mut self, path: &Path) {
        let bytes = fs::read(path.with_extension(PREVIOUS)).unwrap_or_default();
        if version(&bytes).is_none_or(|version| version > VERSION) {
            return;
        }
        let mut before = Known::default();
        before.read(&bytes);
        before.records.retain(|inode, _| !self.forgotten.contains(inode));
        for (inode, record) in before.records {
            self.records.entry(inode).or_insert(record);
        }
    }
}

impl Positions {
    /// Reads the log. What it cannot read it counts; an error means that the log cannot be written.
    pub(super) fn open(path: PathBuf) -> (Self, Found, io::Result<()>) {
        let mut found = Found::default();
        if let Ok(meta) = fs::metadata(&path) {
            found.existed = true;
            found.written = meta.modified().ok();
        }
        let mut known = Known::default();
        match fs::read(&path) {
            Ok(bytes) if version(&bytes).is_some_and(|version| version > VERSION) => {
                found.aside = Some(Aside::Newer);
            }
            Ok(bytes) => {
                found.damaged = known.read(&bytes);
                if found.damaged > 0 || bytes.is_empty() {
                    known.fill(&path);
                }
            }
            Err(error) if ABSENT.contains(&error.kind()) => {}
            Err(_) => {
                found.aside = Some(Aside::Unreadable);
                known.fill(&path);
            }
        }
        let mut positions = Positions {
            path,
            file: None,
            known: known.records,
            aside: found.aside,
            pending: String::new(),
            since: None,
            length: 0,
            unsynced: false,
        };
        let started = positions.sync(); // cuts off the torn tail and the damaged lines
        (positions, found, started)
    }

    pub(super) fn get(&self, inode: Inode) -> Option<&Record> {
        self.known.get(&inode)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = &Record> {
        self.known.values()
    }

    /// Sets a position; it is on its way to the disk with the next [`Positions::write`].
    pub(super) fn put(&mut self, record: Record) {
        self.add(|text| append_position(text, &record));
        self.known.insert(record.inode, record);
    }

    /// The file is gone.
    pub(super) fn forget(&mut self, inode: Inode) {
        if self.known.remove(&inode).is_some() {
            self.add(|text| append_forget(text, inode));
        }
    }

    /// A line for the log, and for the one that is about to take its place.
    fn add(&mut self, append: impl FnOnce(&mut String)) {
        let from = self.pending.len();
        append(&mut self.pending);
        if let Some(since) = &mut self.since {
            since.push_str(&self.pending[from..]);
        }
        if self.file.is_none() {
            self.pending.truncate(from); // the log is written anew, from what is known
        }
    }

    /// Hands what is new to the kernel: it survives the agent, not yet the host.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Some(file) = &self.file else { return Ok(()) }; // `sync` opens it again
        match file.as_ref().write_all(self.pending.as_bytes()) {
            Ok(()) => {
                self.length += self.pending.len() as u64;
                self.pending.clear();
                self.unsynced = true;
                Ok(())
            }
            Err(error) => {
                self.file = None; // half a line may be in it: the next `sync` writes it anew
                self.pending.clear();
                Err(error)
            }
        }
    }

    /// Hands what is new to the disk, and waits for it.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let done = self.due()?.carry_out();
        sync_folder(self.done(done)?)
    }

    /// What the disk is to do. It may take its time: positions can be put and written until [`Positions::done`].
    pub(super) fn due(&mut self) -> io::Result<Due> {
        self.write()?;
        let useful = self.known.len() as u64 * 256;
        match &self.file {
            Some(file) if self.length <= COMPACT_BYTES.max(4 * useful) => {
                let unsynced = std::mem::take(&mut self.unsynced);
                Ok(if unsynced { Due::Sync(Arc::clone(file)) } else { Due::Nothing })
            }
            _ => Ok(self.rewrite()),
        }
    }

    /// The log is to be written anew.
    pub(super) fn rewrite(&mut self) -> Due {
        self.since = Some(String::new());
        Due::Rewrite { path: self.path.clone(), known: self.known.clone() }
    }

    /// The disk has done what was due, or could not. A folder that is to be synced comes back.
    pub(super) fn done(&mut self, done: io::Result<Done>) -> io::Result<Option<PathBuf>> {
        let since = self.since.take().unwrap_or_default();
        match done {
            Ok(Done::Nothing) => Ok(None),
            Ok(Done::Rewritten(fresh)) => self.replace(fresh, &since).map(Some),
            Err(error) => {
                self.unsynced = true;
                Err(error)
            }
        }
    }

    /// Whether the log can be written.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whether [`Positions::sync`] has work.
    pub(super) fn needs_sync(&self) -> bool {
        self.unsynced || self.file.is_none() || !self.pending.is_empty()
    }

    /// The log is on a disk that is full.
    #[cfg(test)]
    pub(super) fn fill_disk(&mut self) {
        self.file = Some(Arc::new(OpenOptions::new().append(true).open("/dev/full").unwrap()));
    }

    /// Puts a new log in the place of this one.
    fn replace(&mut self, mut fresh: Fresh, since: &str) -> io::Result<PathBuf> {
        fresh.file.write_all(since.as_bytes())?;
        if let Some(aside) = self.aside {
            set_aside(&self.path, aside.ending())?;
            self.aside = None;
        }
        let previous = self.path.with_extension(PREVIOUS);
        let _absent = fs::remove_file(&previous);
        let _not_on_this_file_system = fs::hard_link(&self.path, &previous);
        fs::rename(&fresh.path, &self.path)?;
        self.file = None; // it is the log before now
        self.file = Some(Arc::new(OpenOptions::new().append(true).open(&self.path)?));
        for record in fresh.old {
            if self.known.get(&record.inode) == Some(&record) {
                self.known.remove(&record.inode);
            }
        }
        self.length = fresh.length + since.len() as u64;
        self.pending.clear();
        self.unsynced = !since.is_empty();
        Ok(self.path.parent().unwrap_or(Path::new("/")).to_owned())
    }
}

/// The version of a log, or of the line that says it.
fn version(bytes: &[u8]) -> Option<u32> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.strip_prefix("sentinelops positions ")?.parse().ok()
}

/// Now, in seconds since 1970 UTC.
pub(super) fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
