//! What waits for the disk: syncing the positions log, and writing it anew.
//!
//! Both are done on what [`Positions`](super::positions) gave out, so that nobody who writes a position meanwhile has to
//! wait. Written anew, the log is a temporary file that is synced, and then takes the log's place; what was added meanwhile is
//! added to it there.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::appear::inodes_in;
use super::identity::Inode;
use super::positions::{HEADER, unix_seconds};
use super::record::{Record, append_position};

/// There is no log.
pub(super) const ABSENT: [io::ErrorKind; 2] =
    [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory];
/// A file that nobody has seen for this long is forgotten.
const KEEP_SECONDS: i64 = 7 * 24 * 3600;

/// What is to be done.
#[derive(Debug)]
pub(super) enum Due {
    Nothing,
    /// The log is synced.
    Sync(Arc<File>),
    /// A log of these positions is written.
    Rewrite {
        path: PathBuf,
        known: HashMap<Inode, Record>,
    },
}

/// What was done.
#[derive(Debug)]
pub(super) enum Done {
    Nothing,
    Rewritten(Fresh),
}

/// A new log, which is not yet in its place.
#[derive(Debug)]
pub(super) struct Fresh {
    pub(super) file: File,
    pub(super) path: PathBuf,
    pub(super) length: u64,
    /// Positions that are not in it: nobody has seen their files for too long.
    pub(super) old: Vec<Record>,
}

impl Due {
    /// Does it. Takes as long as the disk does.
    pub(super) fn carry_out(self) -> io::Result<Done> {
        match self {
            Due::Nothing => Ok(Done::Nothing),
            Due::Sync(file) => file.sync_data().map(|()| Done::Nothing),
            Due::Rewrite { path, known } => rewrite(&path, known).map(Done::Rewritten),
        }
    }
}

fn rewrite(path: &Path, known: HashMap<Inode, Record>) -> io::Result<Fresh> {
    let oldest = unix_seconds() - KEEP_SECONDS;
    let mut listed: HashMap<PathBuf, HashMap<Inode, PathBuf>> = HashMap::new();
    let keeps = |record: &Record| {
        let folder = record.path.parent().unwrap_or(Path::new("/"));
        let mut beside = || {
            let inodes = listed.entry(folder.to_owned()).or_insert_with(|| inodes_in(folder));
            inodes.contains_key(&record.inode)
        };
        record.seconds >= oldest || is_there(record) || beside()
    };
    let (kept, old): (Vec<Record>, Vec<Record>) = known.into_values().partition(keeps);
    let mut text = String::from(HEADER);
    for record in &kept {
        append_position(&mut text, record);
    }
    fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
    let temporary = path.with_extension("tmp");
    let mut file = File::create(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    Ok(Fresh { file, path: temporary, length: text.len() as u64, old })
}

/// A record does not grow old while its file is at its path, or beside it, whatever the clock says.
fn is_there(record: &Record) -> bool {
    fs::metadata(&record.path).is_ok_and(|meta| Inode::of(&meta) == record.inode)
}

/// Renames what may not be overwritten, and overwrites nothing.
pub(super) fn set_aside(path: &Path, ending: &str) -> io::Result<()> {
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

/// A new log stays in its place.
pub(super) fn sync_folder(folder: Option<PathBuf>) -> io::Result<()> {
    folder.map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
