//! A path appears: is it a file, which one, and where does reading begin?
//!
//! A file that the saved positions know goes on where it was acknowledged. One that nobody has seen begins at its first
//! line, unless it was there when the agent first started: then `start` says. One that looks like the copy which
//! copytruncate makes of a followed file is held back until it is known whether it is.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

use super::Start;
use super::access::explain;
use super::discover::{Walk, may_be_copy};
use super::files::{Found, Life, Refusal, Tailed};
use super::gone;
use super::identity::{self, Inode, Mark};
use super::positions::{self, Positions};
use super::record::Record;
use super::service::Loop;
use super::watch::What;

/// When a path was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// It was there when the agent started.
    Start,
    /// It came later.
    Later,
}

/// What the saved positions say about the time before this start.
#[derive(Debug, Default)]
pub(super) struct Before {
    existed: bool,
    written: Option<SystemTime>,
    names: HashSet<PathBuf>,
}

impl Before {
    pub(super) fn new(found: &positions::Found, positions: &Positions) -> Self {
        let names = positions.records().map(|record| record.path.clone()).collect();
        Before { existed: found.existed, written: found.written, names }
    }

    /// Whether a file came to be while the agent was stopped: then nobody has read any of it.
    fn came_meanwhile(&self, path: &Path, found: &Found, slack: Duration) -> bool {
        let born = found.file.metadata().and_then(|meta| meta.created()).ok();
        // A clock that went back since tells nothing: what is read twice is better than what is not read.
        let young = born.zip(self.written).is_some_and(|(born, written)| {
            born + slack > written || written > SystemTime::now() + slack
        });
        self.existed && (self.names.contains(path) || young)
    }
}

impl Loop {
    /// Finds again what the saved positions know and what is no longer at its path: it was rotated meanwhile.
    pub(super) fn resume(&mut self) {
        let mut listed: HashMap<PathBuf, HashMap<Inode, PathBuf>> = HashMap::new();
        let mut moved: Vec<Record> = Vec::new();
        for record in self.books.all_saved() {
            let there =
                fs::metadata(&record.path).is_ok_and(|meta| Inode::of(&meta) == record.inode);
            if !there && self.settings.globs.matches(&record.path) {
                moved.push(record);
            }
        }
        let mut found: Vec<(Found, Mark)> = Vec::new();
        for record in moved {
            let places = self.places(&record.path);
            let path = places.iter().filter_map(|place| place.parent()).find_map(|folder| {
                let inodes = listed.entry(folder.to_owned()).or_insert_with(|| inodes_in(folder));
                inodes.get(&record.inode).cloned()
            });
            let Some(path) = path else {
                self.compressed_meanwhile(&record, &places);
                continue;
            };
            let Ok(file) = Found::open(&path, &record.path) else { continue };
            if record.prefix.len > 0 && record.is_in(&file.file) {
                found.push((file, record.mark));
            }
        }
        // What was written to last comes last, whichever way it was rotated; the new file waits for it.
        found.sort_by_key(|(file, _)| file.modified);
        for (file, mark) in found {
            self.follow(file, mark, None);
        }
    }

    /// Counts what was not read of a file that is gone and compressed since the positions were last written.
    fn compressed_meanwhile(&self, record: &Record, places: &[PathBuf]) {
        let beside = places.iter().flat_map(|place| beside(place));
        let unread = |path: PathBuf| {
            let modified = fs::metadata(&path).and_then(|meta| meta.modified()).ok();
            let since = modified.zip(self.before.written).is_some_and(|(when, saved)| when > saved);
            since.then(|| gone::unread_in_gzip(&path, record.mark.offset)).flatten()
        };
        if let Some(bytes) = beside.filter_map(unread).max() {
            self.lose(&record.path, bytes);
        }
    }

    /// Walks the globs, watches the folders, and looks at what is new.
    pub(super) fn discover(&mut self, origin: Origin) {
        let mut walk = self.settings.globs.walk();
        if self.watch_folders(&walk) {
            walk = self.settings.globs.walk(); // what came between the walk and the watch
        }
        let mut mended = self.refused.clone();
        for (path, error) in &walk.failed {
            mended.remove(path);
            self.refuse(path, &Refusal::Failed(io::Error::new(error.kind(), error.to_string())));
        }
        let mut new: Vec<PathBuf> = Vec::new();
        for path in walk.paths {
            mended.remove(&path);
            if self.leads_nowhere(&path) {
                new.push(path);
            }
        }
        if origin == Origin::Start {
            // Known files first: a truncated one may claim its copy before that is taken for a new file.
            let known = |path: &PathBuf| {
                let inode = fs::metadata(path).ok().map(|meta| Inode::of(&meta));
                inode.is_some_and(|inode| self.books.saved(inode).is_some())
            };
            new.sort_by_cached_key(|path| !known(path));
        }
        for path in new {
            self.appear(&path, origin);
        }
        for path in mended {
            if self.files.by_path(&path).is_none() {
                self.accept(&path); // else reading says when it is mended: the file is followed where the globs do not look
            }
        }
        self.links.retain(|target, link| match fs::canonicalize(&link) {
            Ok(now) => now == *target,
            Err(_) => link.is_symlink(), // its target may come back
        });
        if origin == Origin::Start {
            self.before = Before::default();
        }
    }

    fn watch_folders(&mut self, walk: &Walk) -> bool {
        let crossed = walk.crossed.iter().map(|folder| (folder, What::Names));
        let files = walk.folders.iter().map(|folder| (folder, What::Files));
        let mut new = false;
        for (folder, what) in crossed.chain(files) {
            new |= self.watch_folder(folder, what);
        }
        new
    }

    pub(super) fn watch_folder(&mut self, folder: &Path, what: What) -> bool {
        match self.watch.add(folder, what) {
            Ok(new) => new,
            Err(error) if error.kind() == io::ErrorKind::NotFound => false,
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOSPC.raw_os_error()) => {
                let text = "files are only polled: raise fs.inotify.max_user_watches";
                if self.out.counters.note("inotify", text) {
                    tracing::warn!("{text}");
                }
                false
            }
            Err(_polled) => false,
        }
    }

    /// Looks at a path that matches and leads to no followed file yet.
    pub(super) fn appear(&mut self, path: &Path, origin: Origin) {
        let found = match Found::open(path, path) {
            Ok(found) => found,
            Err(Refusal::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {
                return self.accept(path);
            }
            Err(refusal) => return self.refuse(path, &refusal),
        };
        self.accept(path);
        if let Some(id) = self.files.by_inode(found.inode) {
            if self.is_same(id, &found.file, path) {
                return self.found_again(id, path);
            }
            self.forget_file(id); // gone unseen, and its inode is in use again
        }
        if let Some(record) = self.books.saved(found.inode) {
            return self.resume_at(found, &record);
        }
        if origin == Origin::Later && self.is_held(&found) {
            return;
        }
        let mark = match self.settings.start {
            Start::End if origin == Origin::Start => self.starting_mark(path, &found),
            _ => Mark::default(),
        };
        self.follow(found, mark, None);
    }

    /// Whether a file with the inode of a followed one is that file. An open one keeps its inode; of one that was empty
    /// only the path tells.
    pub(super) fn is_same(&self, id: u64, found: &File, path: &Path) -> bool {
        self.files.get(id).is_some_and(|file| {
            let empty_there = file.prefix.len == 0 && file.path == path;
            file.file.is_some() || empty_there || file.is_in(found)
        })
    }

    /// A matching path leads to a file that is followed already: a link, or a rotated name that matches too.
    fn found_again(&mut self, id: u64, path: &Path) {
        self.files.alias(path.to_owned(), id);
        if let Some(file) = self.files.get_mut(id)
            && file.life != Life::Live
        {
            file.life = Life::Live;
            self.books.identify(file);
            self.files.moved(id, path.to_owned());
        }
    }

    /// The saved positions know this inode.
    fn resume_at(&mut self, mut found: Found, record: &Record) {
        let told = record.prefix.len > 0 || record.path == found.path;
        if told && record.is_in(&found.file) {
            found.name.clone_from(&record.path);
            self.follow(found, record.mark, None);
            return;
        }
        // Truncated while we were away, or the inode is used again: what was not read of it may be in a copy.
        let copy = self.find_copy(&record.path, record.prefix, record.mark);
        if copy.is_none() {
            self.compressed_meanwhile(record, &self.places(&record.path));
        }
        let before = copy.map(|mut copy| {
            copy.name.clone_from(&record.path);
            self.follow(copy, record.mark, None)
        });
        self.follow(found, Mark::default(), before);
    }

    /// Where to begin in a file that was there when the agent started and that no position knows.
    fn starting_mark(&self, path: &Path, found: &Found) -> Mark {
        if self.before.came_meanwhile(path, found, self.settings.discover_interval) {
            return Mark::default();
        }
        let reach = self.settings.rules.max_bytes;
        identity::last_line_start(&found.file, found.size, reach)
            .and_then(|offset| Mark::at(&found.file, offset))
            .unwrap_or_default()
    }

    /// Follows a file from `mark`, after the file that was found at this path before, or after `before`.
    pub(super) fn follow(&mut self, found: Found, mark: Mark, before: Option<u64>) -> u64 {
        let before = before.or_else(|| self.files.by_name(&found.name));
        let stream = before
            .and_then(|id| self.files.get(id))
            .filter(|file| file.name == found.name)
            .map_or_else(|| self.settings.stream(&found.name), |file| Arc::clone(&file.stream));
        let path = found.path.clone();
        let life = self.life_at(&path);
        let mut file = Tailed::new(found, mark, stream);
        file.life = life;
        file.after = before;
        let new = file.unread() > 0 || life != Life::Live;
        let id = self.files.add(file);
        if let Some(before) = before.and_then(|before| self.files.get_mut(before)) {
            before.before = Some(id);
            let before = before.id;
            self.enqueue(before);
        }
        self.record(id);
        self.watch_file(&path, id);
        if new || !path.parent().is_some_and(|folder| self.watch.sees(folder)) {
            self.enqueue(id);
        }
        self.files.close_beyond(self.settings.max_open_files);
        id
    }

    /// Watches the folder of a file, and that of what it links to.
    pub(super) fn watch_file(&mut self, path: &Path, id: u64) {
        if let Some(folder) = path.parent() {
            self.watch_folder(folder, What::Files);
        }
        if let Ok(target) = fs::canonicalize(path)
            && target != path
        {
            if let Some(folder) = target.parent() {
                self.watch_folder(folder, What::Files);
            }
            self.links.insert(target.clone(), path.to_owned());
            self.files.alias(target, id);
        }
    }

    /// A path, and what it links or linked to: rotated files and copies lie beside either.
    pub(super) fn places(&self, path: &Path) -> Vec<PathBuf> {
        let before = self.links.iter().filter(|(_, link)| *link == path).map(|(target, _)| target);
        let mut places: Vec<PathBuf> = before.cloned().chain(fs::canonicalize(path)).collect();
        places.push(path.to_owned());
        places.sort_unstable();
        places.dedup();
        places
    }

    /// What a path makes of the file that it leads to.
    pub(super) fn life_at(&self, path: &Path) -> Life {
        if self.settings.globs.matches(path) {
            Life::Live
        } else {
            Life::Renamed { since: Instant::now() }
        }
    }

    /// Says once what keeps a path from being read.
    pub(super) fn refuse(&mut self, path: &Path, refusal: &Refusal) {
        let text = match refusal {
            Refusal::Kind(what) => (*what).to_owned(),
            Refusal::Failed(error) => explain(path, error),
        };
        self.refused.insert(path.to_owned());
        if self.out.counters.note(&path.to_string_lossy(), text.as_str()) {
            tracing::warn!(path = %path.display(), "{text}");
        }
    }

    /// Nothing keeps the path from being read any more.
    pub(super) fn accept(&mut self, path: &Path) {
        if self.refused.remove(path) {
            self.out.counters.clear_note(&path.to_string_lossy());
        }
    }
}

/// What lies beside a file and may be a copy of it, by name.
pub(super) fn beside(original: &Path) -> impl Iterator<Item = PathBuf> {
    let listed = original.parent().map(fs::read_dir);
    let paths = listed.into_iter().flatten().flatten().flatten().map(|entry| entry.path());
    paths.filter(move |path| may_be_copy(path, original))
}

/// Every regular file of a folder, by inode.
pub(super) fn inodes_in(folder: &Path) -> HashMap<Inode, PathBuf> {
    let mut inodes = HashMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if let Ok(meta) = entry.metadata()
            && meta.is_file()
        {
            inodes.insert(Inode::of(&meta), entry.path());
        }
    }
    inodes
}
