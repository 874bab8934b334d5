//! Saved positions: an append-only log of lines ([`super::record`]), newest last.
//!
//! A torn last line is cut off, a bad line is skipped and counted; nothing that is in the file can keep the agent from
//! starting. Written at every acknowledgement, synced each second by the caller, and rewritten (temporary file, sync,
//! rename, sync of the folder) when most of it is old; the log before stays as `.old` and fills in for what is damaged. A log
//! of a newer version is not read: it is kept under another name.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::appear::inodes_in;
use super::identity::Inode;
use super::record::{Entry, Record, append_forget, append_position, parse};

const HEADER: &str = "sentinelops positions 1\n";
const VERSION: u32 = 1;
/// There is no log.
const ABSENT: [io::ErrorKind; 2] = [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
/// The ending of the log before this one.
const PREVIOUS: &str = "old";
/// Rewritten when it is this long and most of it is old.
const COMPACT_BYTES: u64 = 1 << 20;
/// A file that nobody has seen for this long is forgotten.
const KEEP_SECONDS: i64 = 7 * 24 * 3600;

/// The log, and what it says.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    file: Option<File>,
    known: HashMap<Inode, Record>,
    /// What stands in its place is not ours to change: before anything is written it is renamed.
    aside: Option<Aside>,
    pub(super) pending: String,
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
            length: 0,
            unsynced: false,
        };
        let started = positions.compact(); // cuts off the torn tail and the damaged lines
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
        if self.file.is_some() {
            append_position(&mut self.pending, &record); // else the log is written anew, from what is known
        }
        self.known.insert(record.inode, record);
    }

    /// The file is gone.
    pub(super) fn forget(&mut self, inode: Inode) {
        if self.known.remove(&inode).is_some() && self.file.is_some() {
            append_forget(&mut self.pending, inode);
        }
    }

    /// Hands what is new to the kernel: it survives the agent, not yet the host.
    pub(super) fn write(&mut self) -> io::Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let Some(file) = &mut self.file else { return Ok(()) }; // `sync` opens it again
        match file.write_all(self.pending.as_bytes()) {
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

    /// Hands what is new to the disk.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.write()?;
        let useful = self.known.len() as u64 * 256;
        if self.file.is_none() || self.length > COMPACT_BYTES.max(4 * useful) {
            return self.compact();
        }
        if self.unsynced
            && let Some(file) = &self.file
        {
            file.sync_data()?;
            self.unsynced = false;
        }
        Ok(())
    }

    /// Whether the log can be written.
    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Whether [`Positions::sync`] has work.
    pub(super) fn needs_sync(&self) -> bool {
        self.unsynced || self.file.is_none() || !self.pending.is_empty()
    }

    /// Writes the log anew.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        let oldest = unix_seconds() - KEEP_SECONDS;
        let mut listed: HashMap<PathBuf, HashMap<Inode, PathBuf>> = HashMap::new();
        self.known.retain(|inode, record| {
            let folder = record.path.parent().unwrap_or(Path::new("/"));
            let mut beside = || {
                let inodes = listed.entry(folder.to_owned()).or_insert_with(|| inodes_in(folder));
                inodes.contains_key(inode)
            };
            record.seconds >= oldest || is_there(record) || beside()
        });
        let mut text = String::from(HEADER);
        for record in self.known.values() {
            append_position(&mut text, record);
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        if let Some(aside) = self.aside {
            set_aside(&self.path, aside.ending())?;
            self.aside = None;
        }
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        let previous = self.path.with_extension(PREVIOUS);
        let _absent = fs::remove_file(&previous);
        let _not_on_this_file_system = fs::hard_link(&self.path, &previous);
        fs::rename(&temporary, &self.path)?;
        File::open(folder)?.sync_all()?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.length = text.len() as u64;
        self.pending.clear();
        self.unsynced = false;
        Ok(())
    }
}

/// Renames what may not be overwritten, and overwrites nothing.
fn set_aside(path: &Path, ending: &str) -> io::Result<()> {
    let mut aside = path.with_extension(ending);
    let mut number = 0;
    while fs::symlink_metadata(&aside).is_ok() {
        number += 1;
        aside = path.with_extension(format!("{ending}.{number}"));
    }
    match fs::rename(path, aside) {
        Err(error) if ABSENT.contains(&error.kind()) => Ok(()),
        renamed => renamed,
    }
}

/// The version of a log, or of the line that says it.
fn version(bytes: &[u8]) -> Option<u32> {
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    std::str::from_utf8(line).ok()?.strip_prefix("sentinelops positions ")?.parse().ok()
}

/// A record does not grow old while its file is at its path, or beside it, whatever the clock says.
fn is_there(record: &Record) -> bool {
    fs::metadata(&record.path).is_ok_and(|meta| Inode::of(&meta) == record.inode)
}

/// Now, in seconds since 1970 UTC.
pub(super) fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
