//! Reading small kernel files cheaply: files stay open and are read again from their start into one shared buffer.
//! An open and a close cost more than most reads. Does not parse beyond lines, words and numbers.

use std::fs::{File, OpenOptions};
use std::io;
use std::mem;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use sentinel_contract::Cause;

/// A buffer that grew beyond this is not kept.
const KEPT_BUFFER: usize = 256 << 10;

/// A kernel file larger than this is not one that a collector reads.
const MAX_FILE: usize = 16 << 20;

/// The one read buffer of all collectors. They run one after the other; should one hang with the buffer in hand, the
/// next makes a new one.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch(Arc<Mutex<Vec<u8>>>);

impl Scratch {
    /// Lends the buffer.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut buffer = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let result = work(&mut buffer);
        if buffer.capacity() <= KEPT_BUFFER {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = buffer;
        }
        result
    }
}

/// A file that is opened at its first read and stays open.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    file: Option<File>,
    said: bool,
}

impl KeptFile {
    /// Opens nothing yet.
    pub(super) fn new(path: impl Into<PathBuf>) -> Self {
        KeptFile { path: path.into(), file: None, said: false }
    }

    /// The whole file, as it is now. After an error it is opened anew: its device may be another one.
    pub(super) fn read<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Result<&'b [u8], Cause> {
        self.try_read(buffer).with_context(|| format!("cannot read {}", self.path.display()))?;
        Ok(buffer)
    }

    /// The whole file, or `None` when this host does not have it, which is logged once.
    pub(super) fn read_optional<'b>(&mut self, buffer: &'b mut Vec<u8>) -> Option<&'b [u8]> {
        match self.try_read(buffer) {
            Ok(()) => {
                self.said = false;
                Some(buffer)
            }
            Err(error) => {
                if !mem::replace(&mut self.said, true) {
                    tracing::debug!(path = %self.path.display(), %error, "not on this host");
                }
                None
            }
        }
    }

    /// Lets the file go; the next read opens it again.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    fn try_read(&mut self, buffer: &mut Vec<u8>) -> io::Result<()> {
        let file = match self.file.take() {
            Some(file) => file,
            None => open(&self.path)?,
        };
        read_all(&file, buffer)?;
        self.file = Some(file);
        Ok(())
    }
}

/// A file read once, now.
pub(super) fn read_once<'b>(path: &Path, buffer: &'b mut Vec<u8>) -> io::Result<&'b [u8]> {
    read_all(&open(path)?, buffer)?;
    Ok(buffer)
}

/// A small file as trimmed text; `None` when it is absent, empty or not text.
pub(super) fn word_of(path: &Path, buffer: &mut Vec<u8>) -> Option<String> {
    let text = std::str::from_utf8(read_once(path, buffer).ok()?).ok()?.trim();
    (!text.is_empty()).then(|| text.to_owned())
}

/// Not blocking: a sleeping sensor or a FIFO in the place of a file must not hang the gather.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path)
}

fn read_all(file: &File, buffer: &mut Vec<u8>) -> io::Result<()> {
    buffer.clear();
    loop {
        buffer.reserve(4096);
        let offset = buffer.len() as u64;
        match rustix::io::pread(file, spare_capacity(buffer), offset) {
            Ok(0) => return Ok(()),
            Ok(_) if buffer.len() > MAX_FILE => {
                return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 16 MiB"));
            }
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// The lines, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
        let line = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or_default();
        Some(line)
    })
}

/// The words of a line.
pub(super) fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// An unsigned number: digits only, no overflow.
pub(super) fn number(word: &[u8]) -> Option<u64> {
    if word.is_empty() {
        return None;
    }
    word.iter().try_fold(0_u64, |total, byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        total.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A number with sign and fraction.
pub(super) fn decimal(word: &[u8]) -> Option<f64> {
    std::str::from_utf8(word).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The next `N` words as numbers; `None` when one is missing or is none.
pub(super) fn numbers<'a, const N: usize>(
    words: &mut impl Iterator<Item = &'a [u8]>,
) -> Option<[u64; N]> {
    let mut numbers = [0; N];
    for slot in &mut numbers {
        *slot = number(words.next()?)?;
    }
    Some(numbers)
}
