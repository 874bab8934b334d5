//! Packages that were installed, upgraded or removed: what dpkg writes to its log (dpkg(1)), and for rpm, apk and
//! pacman that their database has changed.

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News, list};
use super::roots::Roots;

/// Of the log so much is read at one look; the rest at the next.
const MAX_READ: u64 = 256 << 10;
/// Packages named in one sentence.
const SHOWN: usize = 5;

/// Where in the log it has read to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    inode: u64,
    offset: u64,
}

/// The watcher.
pub(super) struct Packages {
    log: PathBuf,
    /// `None`: there was no log.
    position: Option<Position>,
    has_looked: bool,
    databases: Vec<(&'static str, PathBuf, Option<i128>)>,
}

impl Packages {
    pub(super) fn new(roots: &Roots) -> Self {
        let (var, root) = (&roots.var, &roots.root);
        let databases = [
            ("dpkg", var.join("lib/dpkg/status")),
            ("rpm", var.join("lib/rpm/rpmdb.sqlite")),
            ("rpm", var.join("lib/rpm/Packages")),
            ("rpm", root.join("usr/lib/sysimage/rpm/rpmdb.sqlite")),
            ("apk", root.join("lib/apk/db/installed")),
            ("pacman", var.join("lib/pacman/local")),
        ];
        Packages {
            log: var.join("log/dpkg.log"),
            position: None,
            has_looked: false,
            databases: databases.into_iter().map(|(name, path)| (name, path, None)).collect(),
        }
    }

    /// The new whole lines of the log.
    fn lines(&mut self) -> Option<String> {
        let has_looked = std::mem::replace(&mut self.has_looked, true);
        let Ok(data) = fs::metadata(&self.log) else {
            self.position = None;
            return None;
        };
        let start = match self.position {
            None if !has_looked => data.len(), // what is there is known
            Some(at) if at.inode == data.ino() && at.offset <= data.len() => at.offset,
            _ => 0, // made, rotated or cut
        };
        self.position = Some(Position { inode: data.ino(), offset: start });
        if start == data.len() {
            return None;
        }
        let mut file = fs::File::open(&self.log).ok()?;
        file.seek(SeekFrom::Start(start)).ok()?;
        let mut new = Vec::new();
        file.take(MAX_READ).read_to_end(&mut new).ok()?;
        let end = match new.iter().rposition(|byte| *byte == b'\n') {
            Some(last) => last + 1,
            None if new.len() as u64 == MAX_READ => new.len(), // no line is that long
            None => 0,
        };
        self.position = Some(Position { inode: data.ino(), offset: start + end as u64 });
        Some(String::from_utf8_lossy(&new[..end]).into_owned())
    }
}

impl Watch for Packages {
    fn look(&mut self, _now_ms: i64, news: &mut News) -> Result<(), Cause> {
        let has_log = self.log.exists();
        let mut done: Vec<(&'static str, Vec<String>)> = Vec::new();
        for line in self.lines().unwrap_or_default().lines() {
            let Some((action, package)) = action(line) else { continue };
            match done.iter_mut().find(|(known, _)| *known == action) {
                Some((_, packages)) => packages.push(package),
                None => done.push((action, vec![package])),
            }
        }
        for (action, packages) in done {
            let count = if packages.len() == 1 { "a package was" } else { "packages were" };
            let name = packages[0].split(' ').next().unwrap_or_default();
            news.tell(Change {
                subject: name.to_owned(),
                detail: action.to_owned(),
                sentence: format!("{count} {action}: {}", list(&packages, SHOWN)),
                time_ms: None,
            });
        }
        for (name, path, seen) in &mut self.databases {
            let changed = modified(path);
            let before = std::mem::replace(seen, changed);
            let is_told = *name == "dpkg" && has_log;
            if changed.is_some() && before != changed && !is_told {
                news.tell(Change {
                    subject: (*name).to_owned(),
                    detail: "changed".to_owned(),
                    sentence: format!("the package database of {name} has changed"),
                    time_ms: None,
                });
            }
        }
        Ok(())
    }
}

fn modified(path: &Path) -> Option<i128> {
    let data = fs::metadata(path).ok()?;
    Some(i128::from(data.mtime()) * 1_000_000_000 + i128::from(data.mtime_nsec()))
}

/// `2026-01-31 12:30:05 upgrade nginx:amd64 1.18 1.20`: what was done, and to what.
pub(super) fn action(line: &str) -> Option<(&'static str, String)> {
    let mut words = line.split(' ').skip(2);
    let (action, package) = (words.next()?, words.next()?);
    let package = package.split(':').next().filter(|name| !name.is_empty())?;
    let (old, new) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    match action {
        "install" => Some(("installed", format!("{package} {new}"))),
        "upgrade" => Some(("upgraded", format!("{package} {old} to {new}"))),
        "remove" | "purge" => Some(("removed", package.to_owned())),
        _ => None,
    }
}
