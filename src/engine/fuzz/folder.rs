//! A folder in memory that holds what a fuzzer made of a queue's files. It never fails and forgets nothing: what crashes do
//! is tried in `disk/tests`.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Folder, Overwrite, RECORD_HEAD};

const MARK: usize = 28;
const SEGMENT_HEAD: usize = 36;
type Files = BTreeMap<String, Vec<u8>>;

/// Clones see the same files.
#[derive(Clone, Default)]
pub(super) struct InMemory(Arc<Mutex<Files>>);

impl InMemory {
    /// The files that `data` lists; sealed: with checksums that are right.
    pub(super) fn of(mut data: &[u8], sealed: bool) -> Self {
        let folder = InMemory::default();
        while let [kind, low, high, rest @ ..] = data {
            let length = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
            let (content, behind) = rest.split_at(length);
            let (mut content, mut name) = (content.to_vec(), "position".to_owned());
            match kind {
                0 => seal_head(&mut content, *b"SOQP", MARK, sealed),
                1 => {
                    seal_head(&mut content, *b"SOQP", MARK, sealed);
                    "recent".clone_into(&mut name);
                }
                _ => {
                    seal_head(&mut content, *b"SOQS", SEGMENT_HEAD, sealed);
                    name = segment_name(&content);
                    if sealed {
                        seal_records(&mut content);
                    }
                }
            }
            folder.files().insert(name, content);
            data = behind;
        }
        folder
    }

    pub(super) fn everything(&self) -> Files {
        self.files().clone()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, name: &str, work: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        self.files().get_mut(name).map(work).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

/// Magic, version and checksum of a head.
fn seal_head(content: &mut [u8], magic: [u8; 4], length: usize, sealed: bool) {
    if let Some(head) = content.get_mut(..length).filter(|_| sealed) {
        head[..4].copy_from_slice(&magic);
        head[4..8].copy_from_slice(&[1, 0, 0, 0]);
        let crc = crc32c::crc32c(&head[12..]);
        head[8..12].copy_from_slice(&crc.to_le_bytes());
    }
}

/// By the number in its head.
fn segment_name(content: &[u8]) -> String {
    let number = content.get(12..20).and_then(|bytes| bytes.first_chunk());
    format!("{:016x}.seg", number.map_or(0, |bytes| u64::from_le_bytes(*bytes)))
}

/// Length and checksum of one record after the other; a length is two bytes of what stands there.
fn seal_records(content: &mut [u8]) {
    let mut rest = content.get_mut(SEGMENT_HEAD..).unwrap_or_default();
    while rest.len() >= RECORD_HEAD {
        let room = rest.len() - RECORD_HEAD;
        let length = usize::from(u16::from_le_bytes([rest[0], rest[1]])).min(room);
        let (record, behind) = rest.split_at_mut(RECORD_HEAD + length);
        record[..4].copy_from_slice(&(length as u32).to_le_bytes());
        let crc = crc32c::crc32c(&record[8..]);
        record[4..8].copy_from_slice(&crc.to_le_bytes());
        rest = behind;
    }
}

impl Folder for InMemory {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.with(name, |content| content.len() as u64)
    }

    fn read(&mut self, name: &str, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        self.with(name, |content| {
            let there = content.get(offset as usize..).unwrap_or_default();
            let length = there.len().min(room.len());
            room[..length].copy_from_slice(&there[..length]);
            length
        })
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.files().insert(name.to_owned(), Vec::new());
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.with(name, |content| {
            let end = offset as usize + bytes.len();
            content.resize(content.len().max(end), 0);
            content[offset as usize..end].copy_from_slice(bytes);
        })
    }

    fn overwrites(&mut self, name: &str) -> io::Result<Overwrite> {
        let (mut folder, name) = (self.clone(), name.to_owned());
        Ok(Box::new(move |bytes| folder.write(&name, 0, bytes)))
    }

    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.with(name, |content| content.resize(size as usize, 0))
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.with(name, |_| ())
    }

    fn sync_names(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let content = self.files().remove(from);
        let content = content.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        self.files().insert(to.to_owned(), content);
        Ok(())
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let content = self.files().remove(name);
        content.map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}
