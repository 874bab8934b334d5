//! What a log sink has seen, line by line, against the file that was tailed.
//!
//! A line is known by its `id=NNNNNNNN`; from there to its end it must be the file's line, byte for byte (unless only ids
//! are asked for). Order is counted over all streams together: one file has one order.

use std::io::Read as _;
use std::{fmt, path::Path};

use anyhow::{Context as _, Result};
use memchr::memmem;

const MARK: &[u8] = b"id=";
const DIGITS: usize = 8;

/// The file, where its lines are, and how often each has come.
pub(crate) struct Arrivals {
    file: Vec<u8>,
    starts: Vec<u32>,
    seen: Vec<u8>,
    ids_only: bool,
    newest: Option<usize>,
    first_wrong: Option<Vec<u8>>,
    /// Counted so far.
    pub(crate) counts: Counts,
}

/// What is printed as `name=value` lines.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Counts {
    pub(crate) expected: usize,
    pub(crate) unique: usize,
    pub(crate) doubled: usize,
    pub(crate) wrong: usize,
    pub(crate) disordered: usize,
    pub(crate) malformed: usize,
    pub(crate) requests: usize,
    pub(crate) wire_bytes: usize,
}

impl Arrivals {
    pub(crate) fn of(path: &Path, ids_only: bool) -> Result<Self> {
        let reading = || format!("reading {}", path.display());
        if !ids_only {
            return Self::new(std::fs::read(path).with_context(reading)?);
        }
        let mut file = std::fs::File::open(path).with_context(reading)?;
        let (mut lines, mut part) = (0, vec![0; 1 << 20]);
        loop {
            match file.read(&mut part).with_context(reading)? {
                0 => return Ok(Self::ids(lines)),
                len => lines += memchr::memchr_iter(b'\n', &part[..len]).count(),
            }
        }
    }

    /// Of this many lines whose content does not matter: their file may be of any length.
    pub(crate) fn ids(expected: usize) -> Self {
        let counts = Counts { expected, ..Counts::default() };
        Self {
            file: Vec::new(),
            starts: Vec::new(),
            seen: vec![0; expected],
            ids_only: true,
            newest: None,
            first_wrong: None,
            counts,
        }
    }

    pub(crate) fn new(file: Vec<u8>) -> Result<Self> {
        let mut starts = vec![0];
        for newline in memchr::memchr_iter(b'\n', &file) {
            starts.push(u32::try_from(newline + 1).context("the file is larger than 4 GiB")?);
        }
        let ids = Self::ids(starts.len() - 1);
        Ok(Self { file, starts, ids_only: false, ..ids })
    }

    /// Counts one arrived line.
    pub(crate) fn line(&mut self, line: &[u8]) {
        let Some((id, from)) = find_id(line).filter(|(id, _)| *id < self.seen.len()) else {
            self.wrong(line);
            return;
        };
        if !self.ids_only && !self.is_intact(line, id, from) {
            self.wrong(line);
            return;
        }
        if self.newest.is_some_and(|newest| id < newest) {
            self.counts.disordered += 1;
        }
        self.newest = self.newest.max(Some(id));
        if self.seen[id] == 0 {
            self.counts.unique += 1;
        } else {
            self.counts.doubled += 1;
        }
        self.seen[id] = self.seen[id].saturating_add(1);
    }

    /// Whether the line, whose mark is at `from`, is what the file has as number `id`.
    fn is_intact(&self, line: &[u8], id: usize, from: usize) -> bool {
        let (start, end) = (self.starts[id] as usize, self.starts[id + 1] as usize - 1);
        let original = &self.file[start..end];
        find_id(original)
            .is_some_and(|(_, at)| from >= at && line[from - at..].starts_with(original))
    }

    fn wrong(&mut self, line: &[u8]) {
        self.counts.wrong += 1;
        self.first_wrong.get_or_insert_with(|| line.to_vec());
    }
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { counts, first_wrong, .. } = self;
        write!(f, "{counts}")?;
        first_wrong.iter().try_for_each(|line| writeln!(f, "first_wrong={}", line.escape_ascii()))
    }
}

/// The id in a line and where its mark begins.
fn find_id(line: &[u8]) -> Option<(usize, usize)> {
    let at = memmem::find(line, MARK)?;
    let digits = line.get(at + MARK.len()..at + MARK.len() + DIGITS)?;
    let id = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((id, at))
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "expected={}", self.expected)?;
        writeln!(f, "missing={}", self.expected - self.unique)?;
        writeln!(f, "doubled={}", self.doubled)?;
        writeln!(f, "wrong={}", self.wrong)?;
        writeln!(f, "disordered={}", self.disordered)?;
        writeln!(f, "malformed={}", self.malformed)?;
        writeln!(f, "requests={}", self.requests)?;
        writeln!(f, "wire_bytes={}", self.wire_bytes)
    }
}
