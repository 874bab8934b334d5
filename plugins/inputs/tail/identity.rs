//! Which file a file is: device and inode, a digest of its first bytes, and a digest of the bytes before a position.
//!
//! One alone is not enough: inodes are used again, files begin with the same header, and a truncated file keeps its
//! inode (reference/reliability-and-performance.md, B2). The digests are written to disk, so their hash never changes:
//! FNV-1a, 64 bit. It is not made to withstand an attacker.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

/// How much of a file's beginning tells it from others; shorter files are known by what they have.
pub(super) const PREFIX: usize = 1024;
/// How many bytes before a position are remembered with it.
pub(super) const TAIL: usize = 256;

/// What a file compressed by gzip begins with.
pub(super) const GZIP: [u8; 3] = [0x1f, 0x8b, 8];

/// Device and inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Inode {
    pub(super) dev: u64,
    pub(super) ino: u64,
}

impl Inode {
    pub(super) fn of(meta: &Metadata) -> Self {
        Inode { dev: meta.dev(), ino: meta.ino() }
    }
}

/// A run of bytes, remembered by length and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Digest {
    pub(super) len: u32,
    pub(super) hash: u64,
}

impl Default for Digest {
    /// Of no bytes.
    fn default() -> Self {
        Digest::of(&[])
    }
}

impl Digest {
    /// Of a beginning that is a hole, or not yet written.
    pub(super) const ZEROS: Digest = Digest::of(&[0; PREFIX]);

    pub(super) const fn of(bytes: &[u8]) -> Self {
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut at = 0;
        while at < bytes.len() {
            hash = (hash ^ bytes[at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        Digest { len: bytes.len() as u32, hash }
    }

    /// Of the last [`TAIL`] bytes.
    pub(super) fn of_tail(bytes: &[u8]) -> Self {
        Digest::of(&bytes[bytes.len().saturating_sub(TAIL)..])
    }
}

/// A position: the offset of the first byte of a line, and what stands before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) offset: u64,
    pub(super) tail: Digest,
}

impl Mark {
    /// The mark at `offset` of this file.
    pub(super) fn at(file: &File, offset: u64) -> io::Result<Self> {
        let len = offset.min(TAIL as u64) as usize;
        let mut bytes = [0; TAIL];
        let tail = &mut bytes[..len];
        file.read_exact_at(tail, offset - len as u64)?;
        Ok(Mark { offset, tail: Digest::of(tail) })
    }

    /// Whether this file has this mark: it is long enough, and the same bytes stand before the offset.
    pub(super) fn is_in(self, file: &File) -> bool {
        let mut bytes = [0; TAIL];
        let len = self.tail.len as usize;
        if len > TAIL || self.offset < len as u64 {
            return false;
        }
        let tail = &mut bytes[..len];
        let start = self.offset - len as u64;
        file.read_exact_at(tail, start).is_ok() && Digest::of(tail) == self.tail
    }
}

/// The digest of a file's first [`PREFIX`] bytes, or of what it has. NUL bytes at their end may be there to be overwritten,
/// and do not count, unless there is nothing else.
pub(super) fn prefix(file: &File) -> io::Result<Digest> {
    let mut bytes = [0; PREFIX];
    let len = read_up_to(file, &mut bytes, 0)?;
    let text = bytes[..len].iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    Ok(if text == 0 && len == PREFIX { Digest::ZEROS } else { Digest::of(&bytes[..text]) })
}

/// Whether the file begins with these bytes.
pub(super) fn has_prefix(file: &File, known: Digest) -> bool {
    let mut bytes = [0; PREFIX];
    let Some(wanted) = bytes.get_mut(..known.len as usize) else { return false };
    file.read_exact_at(wanted, 0).is_ok() && Digest::of(wanted) == known
}

/// Whether both files begin with the same `len` bytes.
pub(super) fn same_start(one: &File, other: &File, len: usize) -> io::Result<bool> {
    let (mut first, mut second) = ([0; PREFIX], [0; PREFIX]);
    let first_len = read_up_to(one, &mut first[..len.min(PREFIX)], 0)?;
    let second_len = read_up_to(other, &mut second[..len.min(PREFIX)], 0)?;
    Ok(first[..first_len] == second[..second_len])
}

/// What compressed the file, as its first bytes say.
pub(super) fn compression(file: &File) -> io::Result<Option<&'static str>> {
    const FORMATS: [(&[u8], &str); 4] = [
        (&GZIP, "is compressed by gzip: lines cannot be read from it"),
        (b"\x28\xb5\x2f\xfd", "is compressed by zstd: lines cannot be read from it"),
        (b"\xfd7zXZ\0", "is compressed by xz: lines cannot be read from it"),
        (b"1AY&SY", "is compressed by bzip2: lines cannot be read from it"), // after "BZh" and a digit
    ];
    let mut bytes = [0; 10];
    let len = read_up_to(file, &mut bytes, 0)?;
    let start = &bytes[..len];
    let start = if start.starts_with(b"BZh") { start.get(4..).unwrap_or_default() } else { start };
    Ok(FORMATS.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, what)| *what))
}

fn read_up_to(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut len = 0;
    while len < bytes.len() {
        match file.read_at(&mut bytes[len..], offset + len as u64) {
            Ok(0) => break,
            Ok(more) => len += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// The start of the last line that is not finished: after the last line end before `size`, searched for in the last
/// `reach` bytes. `size` itself when there is none, or when the file ends with a line end.
pub(super) fn last_line_start(file: &File, size: u64, reach: usize) -> io::Result<u64> {
    let mut bytes = vec![0; size.min(reach as u64) as usize];
    let start = size - bytes.len() as u64;
    let len = read_up_to(file, &mut bytes, start)?;
    match memchr::memrchr(b'\n', &bytes[..len]) {
        Some(at) => Ok(start + at as u64 + 1),
        None if start == 0 => Ok(0),
        None => Ok(size),
    }
}
