//! Reading the two files, oldest letter first, whether the agent runs or not: it only reads.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::letter::{GONE, Head, KEPT, Letter, Summary, VERSION};

/// A longer line is none of ours: it is taken in parts, which cannot be read.
const LONGEST: u64 = 32 << 20;

/// Where a letter lies. Ordered as they were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Position {
    /// The number of its file.
    pub generation: u64,
    /// Where its line begins.
    pub offset: u64,
}

/// A line that is not settled.
pub enum Line<'a> {
    /// A letter: what it is about, and the whole of it.
    Letter(Summary<'a>, &'a [u8]),
    /// A letter that a newer agent wrote.
    Newer(Summary<'a>),
    /// No letter: half a line of an agent that was killed, or a person's.
    Unreadable,
}

/// Which letters are meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// All of them.
    All,
    /// Those of an output.
    Output(String),
    /// Those of these names.
    Ids(Vec<String>),
}

impl Which {
    /// Whether it is meant.
    pub fn contains(&self, letter: &Summary<'_>) -> bool {
        match self {
            Which::All => true,
            Which::Output(alias) => *alias == letter.plugin,
            Which::Ids(ids) => ids.iter().any(|id| *id == letter.id),
        }
    }
}

/// The file that is written.
pub(super) fn current(state_dir: &Path) -> PathBuf {
    state_dir.join("dead-letters.jsonl")
}

/// The file that was written before it.
pub(super) fn older(state_dir: &Path) -> PathBuf {
    state_dir.join("dead-letters.1.jsonl")
}

/// The whole of a letter.
pub fn letter(text: &[u8]) -> Option<Letter> {
    serde_json::from_slice(text).ok()
}

/// Every line that is not settled, oldest first. Errors: a file that is there cannot be read.
pub fn walk(
    state_dir: &Path,
    mut each: impl FnMut(Position, Line<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    // The current one first: should it become the older one meanwhile, it is not missed, and not read twice.
    let newest = Reader::open(&current(state_dir))?;
    let oldest = Reader::open(&older(state_dir))?;
    let is_newest = |oldest: &Reader| newest.as_ref().is_some_and(|it| it.inode == oldest.inode);
    let oldest = oldest.filter(|oldest| !is_newest(oldest));
    for mut reader in oldest.into_iter().chain(newest) {
        if reader.walk(&mut each)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Where each letter lies. An agent that was killed between writing a new answer and settling the old one leaves both:
/// the later one counts.
pub fn latest(state_dir: &Path) -> io::Result<HashMap<String, Position>> {
    let mut latest = HashMap::new();
    walk(state_dir, |position, line| {
        if let Line::Letter(summary, _) = line {
            latest.insert(summary.id.into_owned(), position);
        }
        ControlFlow::Continue(())
    })?;
    Ok(latest)
}

/// One file, line by line.
pub(super) struct Reader {
    from: BufReader<File>,
    /// See [`Position`]; 0 when the file does not say.
    pub(super) generation: u64,
    inode: u64,
    offset: u64,
    line: Vec<u8>,
}

impl Reader {
    /// `None`: there is no such file.
    pub(super) fn open(path: &Path) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let inode = file.metadata()?.ino();
        let from = BufReader::with_capacity(64 << 10, file);
        let mut reader = Reader { from, generation: 0, inode, offset: 0, line: Vec::new() };
        reader.generation = reader.head()?;
        Ok(Some(reader))
    }

    /// The generation; a first line that is no head is read as any other.
    fn head(&mut self) -> io::Result<u64> {
        let start = self.from.fill_buf()?;
        let Some(end) = start.iter().position(|byte| *byte == b'\n') else { return Ok(0) };
        let Ok(head) = serde_json::from_slice::<Head>(&start[..end]) else { return Ok(0) };
        self.from.consume(end + 1);
        self.offset = end as u64 + 1;
        Ok(head.generation)
    }

    pub(super) fn walk(
        &mut self,
        mut each: impl FnMut(Position, Line<'_>) -> ControlFlow<()>,
    ) -> io::Result<ControlFlow<()>> {
        loop {
            let position = Position { generation: self.generation, offset: self.offset };
            self.line.clear();
            let read = (&mut self.from).take(LONGEST).read_until(b'\n', &mut self.line)?;
            self.offset += read as u64;
            if read == 0 || (self.line.last() != Some(&b'\n') && (read as u64) < LONGEST) {
                return Ok(ControlFlow::Continue(())); // half a line: it is being written, or was
            }
            let text = self.line.trim_ascii_end();
            if text.is_empty() || text.starts_with(GONE) {
                continue;
            }
            if each(position, understand(text)).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
}

fn understand(text: &[u8]) -> Line<'_> {
    // Without that beginning it could not be settled.
    let summary = text.starts_with(KEPT).then(|| serde_json::from_slice::<Summary<'_>>(text));
    match summary {
        Some(Ok(summary)) if summary.v == VERSION => Line::Letter(summary, text),
        Some(Ok(summary)) if summary.v > VERSION => Line::Newer(summary),
        _ => Line::Unreadable,
    }
}
