//! Files of the configuration that were changed, made or removed: by their stamps (inode, size, mtime, ctime), never by
//! their contents. A walk is bounded in files and in time; links are not followed.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use foldhash::fast::FixedState;
use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News, list};

/// More changes than this at one look are one record.
const ONE_BY_ONE: usize = 5;
/// Folders in folders.
const MAX_DEPTH: usize = 16;
/// A walk ends after this.
const MAX_TIME: Duration = Duration::from_secs(2);

/// The watcher.
pub(super) struct Files {
    roots: Vec<PathBuf>,
    max: usize,
    seen: HashMap<Box<Path>, u64, FixedState>,
    /// The walk before saw all.
    was_whole: bool,
}

impl Files {
    pub(super) fn new(roots: Vec<PathBuf>, max: usize) -> Self {
        Files { roots, max, seen: HashMap::default(), was_whole: true }
    }
}

/// One walk.
struct Walk {
    found: HashMap<Box<Path>, u64, FixedState>,
    max: usize,
    until: Instant,
    is_whole: bool,
}

impl Walk {
    fn enter(&mut self, folder: &Path, depth: usize) {
        let Ok(entries) = fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            if self.found.len() >= self.max || Instant::now() >= self.until {
                self.is_whole = false;
                return;
            }
            let path = entry.path();
            let Ok(data) = entry.metadata() else { continue }; // of a link itself
            if data.is_dir() {
                if depth < MAX_DEPTH {
                    self.enter(&path, depth + 1);
                }
            } else if !is_passing(&path) {
                self.found.insert(path.into(), stamp(&data));
            }
        }
    }
}

/// What editors and package managers leave for a moment.
fn is_passing(path: &Path) -> bool {
    let Some(name) = path.file_name().and_then(|name| name.to_str()) else { return false };
    let endings = [".swp", ".swx", "~", ".tmp", ".dpkg-new", ".dpkg-tmp", ".lock"];
    endings.iter().any(|ending| name.ends_with(ending)) || name.starts_with(".#") || name == "4913"
}

fn stamp(data: &fs::Metadata) -> u64 {
    use std::hash::BuildHasher as _;
    let stamp =
        (data.ino(), data.size(), data.mtime(), data.mtime_nsec(), data.ctime(), data.ctime_nsec());
    FixedState::default().hash_one(stamp)
}

impl Watch for Files {
    fn look(&mut self, _now_ms: i64, news: &mut News) -> Result<(), Cause> {
        let until = Instant::now() + MAX_TIME;
        let mut walk = Walk { found: HashMap::default(), max: self.max, until, is_whole: true };
        for root in &self.roots {
            match fs::symlink_metadata(root) {
                Ok(data) if data.is_dir() => walk.enter(root, 0),
                Ok(data) => drop(walk.found.insert(root.as_path().into(), stamp(&data))),
                Err(_) => {}
            }
        }
        // Of a walk that was not whole, what is missing is not removed, nor what is more made.
        let is_sure = walk.is_whole && self.was_whole;
        let mut changes: Vec<(String, &'static str)> = Vec::new();
        for (path, stamp) in &walk.found {
            match self.seen.get(path) {
                Some(before) if before != stamp => {
                    changes.push((path.display().to_string(), "changed"));
                }
                None if is_sure => changes.push((path.display().to_string(), "made")),
                _ => {}
            }
        }
        if is_sure {
            let gone = self.seen.keys().filter(|path| !walk.found.contains_key(*path));
            changes.extend(gone.map(|path| (path.display().to_string(), "removed")));
        }
        (self.seen, self.was_whole) = (walk.found, walk.is_whole);
        changes.sort();
        tell(&changes, news);
        Ok(())
    }
}

fn tell(changes: &[(String, &'static str)], news: &mut News) {
    if changes.len() <= ONE_BY_ONE {
        for (path, detail) in changes {
            news.tell(Change {
                subject: path.clone(),
                detail: (*detail).to_owned(),
                sentence: format!("{path} was {detail}"),
                time_ms: None,
            });
        }
        return;
    }
    let paths: Vec<&str> = changes.iter().map(|(path, _)| path.as_str()).collect();
    news.tell(Change {
        subject: changes[0].0.clone(),
        detail: "changed".to_owned(),
        sentence: format!("{} files were changed: {}", changes.len(), list(&paths, ONE_BY_ONE)),
        time_ms: None,
    });
}
