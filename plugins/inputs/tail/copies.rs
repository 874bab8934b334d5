//! Copies: copytruncate copies a file and truncates it, so that what was there before lives on in the copy.
//!
//! The copy of a truncated file takes its place, and is read to its end before the file itself begins again. A new file that
//! looks like such a copy is held back until it is known whether it is one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::appear::{Origin, beside};
use super::discover::may_be_copy;
use super::files::{Found, Life, Refusal, Tailed, open_regular};
use super::identity::{self, Digest, Inode, Mark};
use super::service::Loop;

/// A new file that may be the copy of a followed one, made by copytruncate.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) path: PathBuf,
    size: u64,
    grown: Instant,
    since: Instant,
}

/// So many times as long as a copy that does not grow is held one that does: it may be no copy but a second log of the same.
const HOLD_GROWING: u32 = 6;

impl Loop {
    /// Whether a new file is held back, because it may be a copy of a followed file that is about to be truncated.
    pub(super) fn is_held(&mut self, found: &Found) -> bool {
        if self.files.by_name(&found.path).is_some() {
            return false; // it takes the place of a file that left
        }
        let now = Instant::now();
        let linked = self.links.iter().filter(|(target, _)| may_be_copy(&found.path, target));
        let linked: Vec<&PathBuf> = linked.map(|(_, link)| link).collect();
        let is_original = |file: &&Tailed| {
            let named = may_be_copy(&found.path, &file.path) || linked.contains(&&file.path);
            named && file.prefix.len > 0
        };
        let originals = self.files.iter().filter(is_original).map(|file| file.id);
        let originals: Vec<u64> = originals.collect();
        for id in originals {
            self.check(id); // it may be truncated by now, and has then claimed the copy
            if self.files.by_inode(found.inode).is_some() {
                return true;
            }
            if !self.looks_alike(id, found) {
                continue;
            }
            let held = self.held.iter_mut().find(|held| held.path == found.path);
            match held {
                Some(held) if now >= held.since + HOLD_GROWING * self.settings.timing.hold => break,
                Some(held) if held.size != found.size => {
                    (held.size, held.grown) = (found.size, now);
                    return true;
                }
                Some(held) if now < held.grown + self.settings.timing.hold => return true,
                Some(_) => break,
                None => {
                    let path = found.path.clone();
                    self.held.push(Held { path, size: found.size, grown: now, since: now });
                    return true;
                }
            }
        }
        self.held.retain(|held| held.path != found.path);
        false
    }

    /// Whether a new file may be the copy, or a part of it: no longer than the original, with its bytes at both ends.
    fn looks_alike(&mut self, original: u64, found: &Found) -> bool {
        if !matches!(self.files.open(original, self.settings.max_open_files), Ok(true)) {
            return false;
        }
        let Some(file) = self.files.get(original) else { return false };
        let Some(open) = &file.file else { return false };
        let len = found.size.min(identity::PREFIX as u64) as usize;
        identity::same_start(open, &found.file, len).unwrap_or(false)
            && Mark::at(&found.file, found.size).is_ok_and(|end| end.is_in(open))
    }

    /// Looks again at what was held back.
    pub(super) fn retry_held(&mut self) {
        let paths: Vec<PathBuf> = self.held.iter().map(|held| held.path.clone()).collect();
        for path in paths {
            if self.files.by_path(&path).is_some() || fs::metadata(&path).is_err() {
                self.held.retain(|held| held.path != path);
            } else {
                self.appear(&path, Origin::Later);
            }
        }
    }

    /// A file is shorter than what was read of it, or other bytes stand there.
    pub(super) fn truncated(&mut self, id: u64) {
        let Some(file) = self.files.get_mut(id) else { return };
        let (path, name) = (file.path.clone(), file.name.clone());
        if matches!(file.life, Life::Deleted { .. }) {
            let unread = file.seen.saturating_sub(file.read.offset);
            file.rewind(Mark::default()); // nobody but its writer knows it: no copy, no path
            (file.prefix, file.seen) = (Digest::default(), 0);
            self.books.restart(file);
            self.lose(&path, unread);
            return self.enqueue(id);
        }
        tracing::info!(path = %path.display(), "the file was truncated");
        if path == name {
            self.copied_over(&path);
        }
        let before = self.cut_off(id).then_some(id);
        if path != name {
            // It was a copy or a renamed file itself: what is copied over it is no part of its stream.
            if self.leads_nowhere(&path) && self.settings.globs.matches(&path) {
                self.appear(&path, Origin::Later);
            }
            return;
        }
        match Found::open(&path, &name) {
            Ok(found) => {
                self.follow(found, Mark::default(), before);
            }
            Err(Refusal::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(refusal) => self.refuse(&path, &refusal),
        }
    }

    /// What was not read of a truncated file is in its copy, or lost: whether there is one.
    fn cut_off(&mut self, id: u64) -> bool {
        let Some(file) = self.files.get(id) else { return false };
        let (path, mark, seen) = (file.path.clone(), file.read, file.seen);
        let copy = self.find_copy(&path, file.prefix, mark);
        let left = copy.as_ref().map_or(mark.offset, |copy| copy.size);
        self.lose(&path, seen.saturating_sub(left));
        self.books.forget(file);
        match copy {
            Some(copy) => {
                self.finish_in(id, copy);
                true
            }
            None => {
                self.remove(id);
                false
            }
        }
    }

    /// The rest of a truncated file is in its copy.
    fn finish_in(&mut self, id: u64, copy: Found) {
        let path = copy.path.clone();
        self.held.retain(|held| held.path != path);
        let life = self.life_at(&path);
        self.files.retarget(id, copy);
        if let Some(file) = self.files.get_mut(id) {
            file.life = life;
        }
        self.record(id);
        self.watch_file(&path, id);
        self.enqueue(id);
    }

    /// Earlier copies of the file at this path, and renamed files, that are copied over: each may be its copy again.
    fn copied_over(&mut self, original: &Path) {
        let is_over = |file: &&Tailed| {
            let open = open_regular(&file.path).ok();
            open.is_some_and(|(open, meta)| Inode::of(&meta) == file.inode && !file.is_in(&open))
        };
        let copies =
            self.files.iter().filter(|file| file.name == original && file.path != original);
        let over: Vec<u64> = copies.filter(is_over).map(|file| file.id).collect();
        for id in over {
            self.cut_off(id);
        }
    }

    /// The copy of a truncated file: beside it or what it links to, beginning with the same bytes, with the same bytes before
    /// the position, and followed by nobody. The newest, if there are several.
    pub(super) fn find_copy(&self, original: &Path, prefix: Digest, mark: Mark) -> Option<Found> {
        if prefix.len == 0 {
            return None;
        }
        let mut best: Option<Found> = None;
        let places = self.places(original);
        for path in places.iter().flat_map(|place| beside(place)) {
            let Ok(found) = Found::open(&path, original) else { continue };
            let record = self.books.saved(found.inode);
            let known = record.is_some_and(|record| record.is_in(&found.file));
            // The beginning may have been learnt after a short copy was made.
            let short = mark.offset > 0 && found.size < u64::from(prefix.len);
            let fits = self.files.by_inode(found.inode).is_none()
                && !known
                && found.size >= mark.offset
                && (short || identity::has_prefix(&found.file, prefix))
                && mark.is_in(&found.file);
            if fits && best.as_ref().is_none_or(|best| best.modified < found.modified) {
                best = Some(found);
            }
        }
        best
    }
}
