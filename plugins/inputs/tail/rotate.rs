//! A followed file changes: it grows, it is renamed, another takes its path.
//!
//! An open file stays the same file whatever happens to its name, so it is read to its end under its old name's stream,
//! and the file that takes its path begins at zero after it.

use std::fs::{self, Metadata};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tokio::time::Instant;

use super::appear::{Origin, inodes_in};
use super::files::{Found, Life, Refusal};
use super::identity::{self, Digest, Inode, Mark, PREFIX};
use super::service::Loop;

impl Loop {
    /// Takes what inotify saw.
    pub(super) fn follow_changes(&mut self) {
        let mut modified = Vec::new();
        let mut held = false;
        let changes = self.watch.drain(|path| match self.files.by_path(path) {
            Some(id) => modified.push(id),
            None => held |= self.held.iter().any(|held| held.path == path),
        });
        for (from, to) in changes.renamed {
            self.renamed(&from, &to);
        }
        for path in changes.touched {
            self.examine(&path);
        }
        for id in modified {
            if let Some(file) = self.files.get_mut(id) {
                file.grown = Instant::now();
                self.enqueue(id);
            }
        }
        if held {
            self.retry_held();
        }
        if changes.overflow {
            for id in self.files.ids() {
                self.check(id);
            }
        }
        self.walk_now |= changes.folders || changes.overflow;
    }

    /// Something appeared at a path, or went.
    fn examine(&mut self, path: &Path) {
        let link = self.links.get(path).cloned(); // what happens to a link's target happens to the link
        for path in std::iter::once(path).chain(link.as_deref()) {
            if let Some(id) = self.files.by_path(path) {
                self.check(id);
            }
            if self.leads_nowhere(path) && self.settings.globs.matches(path) {
                self.appear(path, Origin::Later);
            }
        }
    }

    /// Whether a path leads to no followed file. A link that led to one before, or a target, is forgotten.
    pub(super) fn leads_nowhere(&mut self, path: &Path) -> bool {
        let Some(id) = self.files.by_path(path) else { return true };
        let file = self.files.get(id);
        let stale = file.is_some_and(|file| file.path != path && !leads_to(path, file.inode));
        if stale {
            self.files.forget_path(path, id);
        }
        stale
    }

    /// A file was at `from` and is now at `to`. One that came and went between two looks was never seen: it is
    /// followed from its first line, as if it had been found at `from`.
    fn renamed(&mut self, from: &Path, to: &Path) {
        let Ok(found) = Found::open(to, from) else { return };
        if let Some(id) = self.files.by_inode(found.inode) {
            if self.is_same(id, &found.file, from) {
                if let Some(file) = self.files.get_mut(id) {
                    file.size = found.size;
                }
                self.files.forget_path(from, id);
                return self.relocate(id, to);
            }
            self.check(id); // it is gone, and its inode is in use again
        }
        let record = self.books.saved(found.inode);
        if self.settings.globs.matches(from)
            && !self.settings.globs.matches(to)
            && !record.is_some_and(|record| record.is_in(&found.file))
        {
            self.follow(found, Mark::default(), None);
        }
    }

    /// Looks at one file: does its path still lead to it, has it grown, is it finished?
    pub(super) fn check(&mut self, id: u64) {
        let Some(file) = self.files.get_mut(id) else { return };
        let looked = match (&file.file, file.life) {
            (Some(open), Life::Deleted { .. }) => open.metadata(),
            _ => fs::metadata(&file.path),
        };
        match looked {
            Ok(meta) if Inode::of(&meta) == file.inode => {
                if file.pause.is_some_and(|until| until <= Instant::now()) {
                    file.pause = None;
                }
                self.retry_refused(id);
                self.grew(id, &meta);
            }
            Ok(_) => self.displaced(id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.displaced(id),
            Err(error) => {
                let path = file.path.clone();
                self.refuse(&path, &Refusal::Failed(error));
            }
        }
        self.finish(id);
    }

    /// What could not be read may be readable by now.
    fn retry_refused(&mut self, id: u64) {
        let Some(file) = self.files.get(id) else { return };
        if self.refused.contains(&file.path) {
            let path = file.path.clone();
            if matches!(self.files.open(id, self.settings.max_open_files), Ok(true)) {
                self.accept(&path);
            }
        }
    }

    fn grew(&mut self, id: u64, meta: &Metadata) {
        let Some(file) = self.files.get_mut(id) else { return };
        let modified = meta.modified().ok();
        if meta.len() < file.read.offset {
            return self.truncated(id);
        }
        if meta.len() != file.size || modified != file.modified {
            let shrunk_unread = file.read.offset == 0 && meta.len() < file.size;
            file.grown = Instant::now();
            (file.size, file.modified) = (meta.len(), modified);
            if shrunk_unread || !self.is_still(id) {
                return self.truncated(id);
            }
            return self.enqueue(id);
        }
        let (unread, unfinished) = (file.unread() > 0, file.unfinished.is_some());
        if unread && (!unfinished || self.ending(id).is_some()) {
            self.enqueue(id);
        }
    }

    /// Whether a file is still what was followed, as far as its bytes tell. Reading tells too, but only of what is new, and
    /// while it waits for memory a file may be truncated more than once. Learns more of the file's beginning, by which a copy
    /// will be known.
    pub(super) fn is_still(&mut self, id: u64) -> bool {
        if !matches!(self.files.open(id, self.settings.max_open_files), Ok(true)) {
            return true; // reading says why it cannot be opened
        }
        let Some(file) = self.files.get_mut(id) else { return true };
        let Some(open) = &file.file else { return true };
        if file.prefix == Digest::ZEROS && file.read.offset == 0 {
            file.prefix = Digest::default(); // it was made beforehand, and is being filled
            self.books.identify(file);
        }
        if !identity::has_prefix(open, file.prefix) || !file.read.is_in(open) {
            return false;
        }
        file.seen = file.size;
        if (file.prefix.len as usize) < PREFIX
            && let Ok(prefix) = identity::prefix(open)
            && prefix.len > file.prefix.len
        {
            file.prefix = prefix;
            self.record(id);
        }
        true
    }

    /// The path of a file leads elsewhere, or nowhere: finds out where the file is now.
    pub(super) fn displaced(&mut self, id: u64) {
        let Some(file) = self.files.get(id) else { return };
        let (old, name, inode) = (file.path.clone(), file.name.clone(), file.inode);
        let other = self.files.another_path(id, |path| {
            path != old && self.settings.globs.matches(path) && leads_to(path, inode)
        });
        let places = self.places(&old);
        let Some(file) = self.files.get_mut(id) else { return };
        let place = match &file.file {
            Some(open) => match open.metadata() {
                Ok(meta) if meta.nlink() > 0 => {
                    file.size = meta.len();
                    let own = format!("/proc/self/fd/{}", open.as_raw_fd());
                    let own = || fs::read_link(own).ok().filter(|path| leads_to(path, inode));
                    other.or_else(own)
                }
                Ok(meta) => {
                    file.size = meta.len();
                    None
                }
                Err(_) => None,
            },
            None => other
                .or_else(|| {
                    let mut folders = places.iter().filter_map(|place| place.parent());
                    folders.find_map(|folder| inodes_in(folder).remove(&inode))
                })
                .filter(|path| Found::open(path, path).is_ok_and(|found| file.is_in(&found.file))),
        };
        self.files.forget_path(&old, id);
        match place {
            Some(path) => self.relocate(id, &path),
            None => self.deleted(id),
        }
        for path in [&old, &name] {
            if self.files.by_path(path).is_none() && self.settings.globs.matches(path) {
                self.appear(path, Origin::Later);
            }
        }
    }

    /// A file is found at another path.
    fn relocate(&mut self, id: u64, path: &Path) {
        let life = self.life_at(path);
        if let Some(file) = self.files.get_mut(id) {
            let stays = matches!((file.life, life), (Life::Renamed { .. }, Life::Renamed { .. }));
            if !stays {
                file.life = life;
            }
        }
        self.identify(id);
        self.files.moved(id, path.to_owned());
        self.watch_file(path, id);
        let Some(file) = self.files.get_mut(id) else { return };
        // Not one that is closed and read to its end: logrotate moves all its old files on, and they stay closed.
        let is_read = fs::metadata(path).is_ok_and(|meta| {
            let same = Inode::of(&meta) == file.inode;
            if same {
                file.size = meta.len();
            }
            same && meta.len() == file.read.offset
        });
        if file.file.is_some() || !is_read {
            self.enqueue(id);
        }
    }
}

fn leads_to(path: &Path, inode: Inode) -> bool {
    fs::metadata(path).is_ok_and(|meta| Inode::of(&meta) == inode)
}
