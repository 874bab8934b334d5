//! The two files on disk: appended to, settled in place, replaced when they are full. One writer: the agent, or a command
//! that holds its lock.
//!
//! A letter is settled by one byte, so that there is no moment at which half of it is settled, and nothing is rewritten.
//! When nothing waits in a file any more it is emptied; its number goes up, as names of letters must not come again.

use std::collections::BTreeMap;
use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::letter::{DIGIT, Head, KEPT, Letter, VERSION};
use super::walk::{Line, Position, Reader, Which, current, older, walk};

/// What is written at once.
const PART: usize = 1 << 20;

/// What a purge removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purged {
    /// Letters.
    pub letters: u64,
    /// Lines that cannot be read.
    pub unreadable: u64,
}

/// The files.
pub(super) struct Store {
    folder: PathBuf,
    /// Of each file; it may be passed by what is written at once.
    limit: u64,
    open: Option<Open>,
}

/// The current file.
struct Open {
    file: File,
    generation: u64,
    size: u64,
}

impl Store {
    /// Touches nothing before it is used.
    pub(super) fn new(folder: &Path, limit: u64) -> Self {
        Store { folder: folder.to_owned(), limit, open: None }
    }

    /// Appends letters; one without a name is given one. On return they are on disk. What went with the file that they
    /// replaced is told by plugin: letters that waited in it.
    pub(super) fn append(
        &mut self,
        letters: impl Iterator<Item = Letter>,
    ) -> io::Result<BTreeMap<String, u64>> {
        let mut gone = BTreeMap::new();
        let mut letters = letters.peekable();
        while letters.peek().is_some() {
            if self.current()?.size > self.limit {
                gone = self.rotate()?;
            }
            let outcome = self.current()?.append(&mut letters);
            if outcome.is_err() {
                self.open = None; // what it looks like now is seen when it is opened again
            }
            outcome?;
        }
        Ok(gone)
    }

    /// The current file, opened, made, or mended.
    fn current(&mut self) -> io::Result<&mut Open> {
        let open = match self.open.take() {
            Some(open) if open.is(&current(&self.folder)) => open,
            _ => self.opened()?,
        };
        Ok(self.open.insert(open))
    }

    fn opened(&self) -> io::Result<Open> {
        let path = current(&self.folder);
        let before = Reader::open(&older(&self.folder))?.map_or(0, |older| older.generation);
        let generation = match Reader::open(&path)? {
            None => 0,
            Some(reader) => reader.generation,
        };
        // They hold log lines, which not everybody may read.
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)?;
        let mut open = Open { size: file.metadata()?.len(), file, generation };
        open.mend()?;
        if open.size == 0 {
            open.begin(before + 1)?;
            File::open(&self.folder)?.sync_all()?;
        }
        Ok(open)
    }

    /// The current file becomes the older one. What waited in that is told by plugin.
    fn rotate(&mut self) -> io::Result<BTreeMap<String, u64>> {
        let mut gone = BTreeMap::new();
        if let Some(mut reader) = Reader::open(&older(&self.folder))? {
            let _to_the_end = reader.walk(|_, line| {
                if let Line::Letter(summary, _) | Line::Newer(summary) = line {
                    *gone.entry(summary.plugin.into_owned()).or_insert(0) += 1;
                }
                ControlFlow::Continue(())
            })?;
        }
        self.open = None;
        std::fs::rename(current(&self.folder), older(&self.folder))?;
        Ok(gone)
    }

    /// Behind the last letter.
    pub(super) fn end(&mut self) -> io::Result<Position> {
        if !current(&self.folder).exists() {
            // A look must not make a file. What is in an older one comes before this.
            return Ok(Position { generation: u64::MAX, offset: 0 });
        }
        let Open { generation, size, .. } = self.current()?;
        Ok(Position { generation: *generation, offset: *size })
    }

    /// These letters wait no more. Returns how many of them did; a file that is gone took its letters with it.
    pub(super) fn settle(&mut self, positions: &[Position]) -> io::Result<u64> {
        let mut settled = 0;
        for place in [current(&self.folder), older(&self.folder)] {
            let Some(here) = Reader::open(&place)?.map(|reader| reader.generation) else {
                continue;
            };
            let mut ours =
                positions.iter().filter(|position| position.generation == here).peekable();
            if ours.peek().is_none() {
                continue;
            }
            let file = OpenOptions::new().read(true).write(true).open(&place)?;
            for position in ours {
                settled += u64::from(settle(&file, position.offset)?);
            }
            file.sync_data()?;
        }
        Ok(settled)
    }

    /// Removes letters for good. With all of them goes what cannot be read.
    pub(super) fn purge(&mut self, which: &Which) -> io::Result<Purged> {
        let (mut purged, mut positions) = (Purged::default(), Vec::new());
        walk(&self.folder, |position, line| {
            match line {
                Line::Letter(summary, _) | Line::Newer(summary) if which.contains(&summary) => {
                    purged.letters += 1;
                    positions.push(position);
                }
                Line::Unreadable if *which == Which::All => purged.unreadable += 1,
                Line::Letter(..) | Line::Newer(_) | Line::Unreadable => {}
            }
            ControlFlow::Continue(())
        })?;
        if *which == Which::All {
            self.empty()?;
        } else if !positions.is_empty() {
            self.settle(&positions)?;
            self.tidy()?;
        }
        Ok(purged)
    }

    /// Gives back the room of a file in which nothing waits.
    pub(super) fn tidy(&mut self) -> io::Result<()> {
        let waits = |path: &Path| -> io::Result<bool> {
            let Some(mut reader) = Reader::open(path)? else { return Ok(false) };
            Ok(reader.walk(|_, _| ControlFlow::Break(()))?.is_break())
        };
        let (newest, oldest) = (current(&self.folder), older(&self.folder));
        if !waits(&oldest)? {
            remove(&oldest)?;
        }
        if newest.exists() && !waits(&newest)? {
            self.current()?.empty()?;
        }
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        if !current(&self.folder).exists() {
            return remove(&older(&self.folder));
        }
        self.current()?;
        remove(&older(&self.folder))?;
        self.current()?.empty()
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Settles the letter at `offset`; false when none waits there.
fn settle(file: &File, offset: u64) -> io::Result<bool> {
    let mut start = [0; KEPT.len()];
    match file.read_exact_at(&mut start, offset) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        read => read?,
    }
    if start != KEPT {
        return Ok(false);
    }
    file.write_all_at(b"1", offset + DIGIT)?;
    Ok(true)
}

impl Open {
    /// Whether it still is the file of that name, as it was left: a person may have removed or edited it.
    fn is(&self, path: &Path) -> bool {
        let inode = |data: &Metadata| (data.dev(), data.ino());
        let (Ok(own), Ok(there)) = (self.file.metadata(), std::fs::metadata(path)) else {
            return false;
        };
        inode(&own) == inode(&there) && there.len() == self.size
    }

    /// Appends at most a part of the letters.
    fn append(&mut self, letters: &mut impl Iterator<Item = Letter>) -> io::Result<()> {
        let mut text = Vec::new();
        while text.len() < PART
            && let Some(mut letter) = letters.next()
        {
            if letter.id.is_empty() {
                letter.id = format!("{}-{:x}", self.generation, self.size + text.len() as u64);
            }
            serde_json::to_writer(&mut text, &letter)?;
            text.push(b'\n');
        }
        let written = self.file.write_all_at(&text, self.size).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // What is taken back is read and refused again.
            let _left_as_it_is = self.file.set_len(self.size);
            return Err(error);
        }
        self.size += text.len() as u64;
        Ok(())
    }

    /// An agent that was killed may have left half a line: nobody was told that it is on record, so it is cut off. A line
    /// that only lacks its end (somebody has edited the file) is given one.
    fn mend(&mut self) -> io::Result<()> {
        let mut tail = Vec::new();
        let (mut start, mut found) = (self.size, false);
        while start > 0 && !found {
            let step = start.min(1 << 20);
            start -= step;
            let mut part = vec![0; step as usize];
            self.file.read_exact_at(&mut part, start)?;
            found = part.contains(&b'\n');
            part.append(&mut tail);
            tail = part;
        }
        let last = tail.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let rest = &tail[last..];
        if rest.is_empty() {
            return Ok(());
        }
        if serde_json::from_slice::<serde_json::Value>(rest).is_ok_and(|value| value.is_object()) {
            self.file.write_all_at(b"\n", self.size)?;
            self.size += 1;
        } else {
            tracing::info!(
                bytes = rest.len(),
                "the last dead letter was not finished when the agent or the machine stopped: cut off"
            );
            self.size -= rest.len() as u64;
            self.file.set_len(self.size)?;
        }
        self.file.sync_data()
    }

    /// Writes the first line.
    fn begin(&mut self, generation: u64) -> io::Result<()> {
        let mut head = serde_json::to_vec(&Head { dead_letters: VERSION, generation })?;
        head.push(b'\n');
        self.file.write_all_at(&head, 0)?;
        self.file.sync_data()?;
        (self.generation, self.size) = (generation, head.len() as u64);
        Ok(())
    }

    fn empty(&mut self) -> io::Result<()> {
        self.file.set_len(0)?;
        self.begin(self.generation + 1)
    }
}
