//! Saved positions: an append-only log of lines, each with a CRC of its own, newest last.
//!
//! ```text
//! <crc32> p <dev> <ino> <offset> <tail length> <tail hash> <prefix length> <prefix hash> <seconds> <path>
//! <crc32> f <dev> <ino>
//! ```
//! `p` is a position, `f` forgets one. A torn last line is cut off, a bad line is skipped and counted; nothing that is
//! in the file can keep the agent from starting. Written at every acknowledgement, synced each second by the caller,
//! and rewritten (temporary file, sync, rename, sync of the folder) when most of it is old.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::identity::{Digest, Inode, Mark, has_prefix};

const HEADER: &str = "sentinelops positions 1\n";
/// Rewritten when it is this long and most of it is old.
const COMPACT_BYTES: u64 = 1 << 20;
/// A file that nobody has seen for this long is forgotten.
const KEEP_SECONDS: i64 = 7 * 24 * 3600;

/// How far a file has been read and acknowledged, and how to know the file again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) inode: Inode,
    pub(super) mark: Mark,
    pub(super) prefix: Digest,
    /// When it was written, seconds since 1970 UTC.
    pub(super) seconds: i64,
    /// The path it was found at: its stream's name.
    pub(super) path: PathBuf,
}

impl Record {
    /// Whether the file has these bytes. Without any of the beginning, every file has.
    pub(super) fn is_in(&self, file: &File) -> bool {
        has_prefix(file, self.prefix) && self.mark.is_in(file)
    }
}

/// The log, and what it says.
#[derive(Debug)]
pub(super) struct Positions {
    path: PathBuf,
    file: Option<File>,
    known: HashMap<Inode, Record>,
    pending: String,
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
}

impl Positions {
    /// Reads the log. What it cannot read it counts; an error means that the log cannot be written.
    pub(super) fn open(path: PathBuf) -> (Self, Found, io::Result<()>) {
        let mut found = Found::default();
        let bytes = fs::read(&path).unwrap_or_else(|error| {
            if error.kind() != io::ErrorKind::NotFound {
                found.damaged += 1; // kept aside, not overwritten: somebody may want to look at it
                let _not_even_that = fs::rename(&path, path.with_extension("bad"));
            }
            Vec::new()
        });
        if let Ok(meta) = fs::metadata(&path) {
            found.existed = meta.len() > 0;
            found.written = meta.modified().ok();
        }
        let mut known = HashMap::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if line == HEADER.as_bytes() {
                continue;
            }
            match parse(line) {
                Some(Entry::Position(record)) => {
                    known.insert(record.inode, record);
                }
                Some(Entry::Forget(inode)) => {
                    known.remove(&inode);
                }
                None => found.damaged += 1,
            }
        }
        let mut positions = Positions {
            path,
            file: None,
            known,
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
        append_position(&mut self.pending, &record);
        self.known.insert(record.inode, record);
    }

    /// The file is gone.
    pub(super) fn forget(&mut self, inode: Inode) {
        if self.known.remove(&inode).is_some() {
            append(&mut self.pending, |line| {
                let _infallible = write!(line, "f {} {}", inode.dev, inode.ino);
            });
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
        self.known.retain(|_, record| record.seconds >= oldest || is_there(record));
        let mut text = String::from(HEADER);
        for record in self.known.values() {
            append_position(&mut text, record);
        }
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(folder)?;
        let temporary = self.path.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()?;
        fs::rename(&temporary, &self.path)?;
        File::open(folder)?.sync_all()?;
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        self.length = text.len() as u64;
        self.pending.clear();
        self.unsynced = false;
        Ok(())
    }
}

/// A record does not grow old while its file is at its path.
fn is_there(record: &Record) -> bool {
    fs::metadata(&record.path).is_ok_and(|meta| Inode::of(&meta) == record.inode)
}

enum Entry {
    Position(Record),
    Forget(Inode),
}

fn append(text: &mut String, body: impl FnOnce(&mut String)) {
    let start = text.len();
    text.push_str("00000000 ");
    body(text);
    let crc = crc32fast::hash(&text.as_bytes()[start + 9..]);
    text.replace_range(start..start + 8, &format!("{crc:08x}"));
    text.push('\n');
}

fn append_position(text: &mut String, record: &Record) {
    let Record { inode, mark, prefix, seconds, path } = record;
    append(text, |line| {
        let _infallible = write!(
            line,
            "p {} {} {} {} {:x} {} {:x} {seconds} ",
            inode.dev,
            inode.ino,
            mark.offset,
            mark.tail.len,
            mark.tail.hash,
            prefix.len,
            prefix.hash
        );
        for &byte in path.as_os_str().as_bytes() {
            match byte {
                b'!'..=b'~' if byte != b'%' => line.push(char::from(byte)),
                _ => {
                    let _infallible = write!(line, "%{byte:02x}");
                }
            }
        }
    });
}

fn parse(line: &[u8]) -> Option<Entry> {
    let line = std::str::from_utf8(line.strip_suffix(b"\n")?).ok()?;
    let (crc, body) = line.split_at_checked(8)?;
    let body = body.strip_prefix(' ')?;
    if u32::from_str_radix(crc, 16).ok()? != crc32fast::hash(body.as_bytes()) {
        return None;
    }
    let mut words = body.split(' ');
    let kind = words.next()?;
    let inode = Inode { dev: words.next()?.parse().ok()?, ino: words.next()?.parse().ok()? };
    if kind == "f" {
        return Some(Entry::Forget(inode));
    }
    let offset = words.next()?.parse().ok()?;
    let tail = digest(&mut words)?;
    let prefix = digest(&mut words)?;
    let seconds = words.next()?.parse().ok()?;
    let path = PathBuf::from(OsStr::from_bytes(&unescape(words.next()?)?));
    let record = Record { inode, mark: Mark { offset, tail }, prefix, seconds, path };
    (kind == "p" && words.next().is_none()).then_some(Entry::Position(record))
}

fn digest<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<Digest> {
    let len = words.next()?.parse().ok()?;
    Some(Digest { len, hash: u64::from_str_radix(words.next()?, 16).ok()? })
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    Some(bytes)
}

/// Now, in seconds since 1970 UTC.
pub(super) fn unix_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}
