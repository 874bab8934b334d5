//! The file system as the disk queue sees it: one folder, few calls. The tests put one in its place that forgets and
//! reorders what was not synced.
//!
//! A name is a file's name within the folder; nothing here makes a path of data.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use super::Overwrite;

/// What the queue needs of a folder. Nothing is on disk before [`Folder::sync`] of the file and, for its name,
/// [`Folder::sync_names`].
pub(crate) trait Folder: Send {
    /// The names in it.
    fn names(&self) -> io::Result<Vec<String>>;
    /// The length of a file.
    fn size(&self, name: &str) -> io::Result<u64>;
    /// Reads at most `room.len()` bytes at `offset`; fewer only at the file's end.
    fn read(&mut self, name: &str, offset: u64, room: &mut [u8]) -> io::Result<usize>;
    /// An empty file; what was there under the name goes.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Writes at `offset`; after an error any part of it may have been written.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// What overwrites the beginning of a file beside this folder, from any thread.
    fn overwrites(&mut self, name: &str) -> io::Result<Overwrite>;
    /// Cuts a file off.
    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()>;
    /// The file's content is on disk.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// The folder's names are on disk.
    fn sync_names(&mut self) -> io::Result<()>;
    /// Gives a file another name; a file that has it goes.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
}

/// Files kept open: the one that is written, the one that is read, and what is replaced now and then.
const OPEN: usize = 4;

/// A real folder.
pub(crate) struct RealFolder {
    path: PathBuf,
    names: File,
    open: Vec<(String, File)>,
}

impl RealFolder {
    /// Opens it; makes it, for its owner only, when it is not there. Its own name is on disk on return.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        if !path.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            for parent in path.ancestors().skip(1).take(3) {
                File::open(parent)?.sync_all()?;
            }
        }
        Ok(RealFolder { path: path.to_owned(), names: File::open(path)?, open: Vec::new() })
    }

    /// An open file; opened when it is not.
    fn file(&mut self, name: &str) -> io::Result<&File> {
        let at = match self.open.iter().position(|(open, _)| open == name) {
            Some(at) => at,
            None => {
                let file = self.opened(name)?;
                self.keep(name, file)
            }
        };
        Ok(&self.open[at].1)
    }

    fn opened(&self, name: &str) -> io::Result<File> {
        let path = self.path.join(name);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        // On a folder that cannot be written what is there can still be read and delivered.
        file.or_else(|_| File::open(&path))
    }

    fn keep(&mut self, name: &str, file: File) -> usize {
        if self.open.len() == OPEN {
            self.open.remove(0);
        }
        self.open.push((name.to_owned(), file));
        self.open.len() - 1
    }

    fn forget(&mut self, name: &str) {
        self.open.retain(|(open, _)| open != name);
    }
}

impl Folder for RealFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
        fs::read_dir(&self.path)?.filter_map(|entry| name(entry).transpose()).collect()
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path.join(name))?.len())
    }

    fn read(&mut self, name: &str, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let file = self.file(name)?;
        let mut done = 0;
        while done < room.len() {
            match file.read_at(&mut room[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(more) => done += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        self.forget(name);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(true).mode(0o600);
        let file = options.open(self.path.join(name))?;
        self.keep(name, file);
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name)?.write_all_at(bytes, offset)
    }

    fn overwrites(&mut self, name: &str) -> io::Result<Overwrite> {
        self.forget(name);
        let file = self.opened(name)?;
        Ok(Box::new(move |bytes| file.write_all_at(bytes, 0)))
    }

    fn truncate(&mut self, name: &str, size: u64) -> io::Result<()> {
        self.file(name)?.set_len(size)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name)?.sync_data()
    }

    fn sync_names(&mut self) -> io::Result<()> {
        self.names.sync_all()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.forget(from);
        self.forget(to);
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.forget(name);
        fs::remove_file(self.path.join(name))
    }
}
