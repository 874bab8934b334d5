//! One saved position, and its line: a CRC, what kind of line it is, and its words.
//!
//! ```text
//! <crc32> p <dev> <ino> <offset> <tail length> <tail hash> <prefix length> <prefix hash> <seconds> <path>
//! <crc32> f <dev> <ino>
//! ```
//! `p` is a position, `f` forgets one.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use super::identity::{Digest, Inode, Mark, has_prefix};

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

/// One line.
#[derive(Debug)]
pub(super) enum Entry {
    /// `p`.
    Position(Record),
    /// `f`.
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

pub(super) fn append_forget(text: &mut String, inode: Inode) {
    append(text, |line| {
        let _infallible = write!(line, "f {} {}", inode.dev, inode.ino);
    });
}

pub(super) fn append_position(text: &mut String, record: &Record) {
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

/// `None`: it is damaged.
pub(super) fn parse(line: &[u8]) -> Option<Entry> {
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
