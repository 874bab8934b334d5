//! Copies: copytruncate copies a file and truncates it, so that what was there before lives on in the copy.
//!
//! The copy of a truncated file takes its place, and is read to its end before the file itself begins again. A new file that
//! looks like such a copy is held back until it is known whether it is one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio::time::Instant;

use super::appear::Origin;
use super::discover::may_be_copy;
use super::files::{Found, Life, Refusal};
use super::identity::{self, Digest, Mark};
use super::ledger::Ledger;
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
        let originals: Vec<u64> = self
            .files
            .iter()
            .filter(|file| file.read.offset > 0 && may_be_copy(&found.path, &file.path))
            .map(|file| file.id)
            .collect();
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
        found.size <= file.size
            && identity::same_start(open, &found.file, len).unwrap_or(false)
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
        let (path, name, inode) = (file.path.clone(), file.name.clone(), file.inode);
        let (prefix, mark, deleted) =
            (file.prefix, file.read, matches!(file.life, Life::Deleted { .. }));
        if deleted {
            file.rewind(Mark::default()); // nobody but its writer knows it: no copy, no path
            file.ledger = Ledger::new(Mark::default());
            return self.enqueue(id);
        }
        tracing::info!(path = %path.display(), "the file was truncated");
        let copy = self.find_copy(&path, prefix, mark);
        let before = copy.map(|copy| {
            let copied = copy.path.clone();
            self.held.retain(|held| held.path != copied);
            let life = self.life_at(&copied);
            self.files.retarget(id, copy);
            if let Some(file) = self.files.get_mut(id) {
                file.life = life;
            }
            self.record(id);
            self.watch_file(&copied, id);
            self.enqueue(id);
            id
        });
        if before.is_none() {
            self.files.remove(id);
        }
        self.positions.forget(inode);
        match Found::open(&path, &name) {
            Ok(found) => {
                self.follow(found, Mark::default(), before);
            }
            Err(Refusal::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {}
            Err(refusal) => self.refuse(&path, &refusal),
        }
    }

    /// The copy of a truncated file: beside it, beginning with the same bytes, with the same bytes before the position,
    /// and followed by nobody. The newest, if there are several.
    pub(super) fn find_copy(&self, original: &Path, prefix: Digest, mark: Mark) -> Option<Found> {
        if prefix.len == 0 {
            return None;
        }
        let mut best: Option<Found> = None;
        for entry in fs::read_dir(original.parent()?).ok()?.flatten() {
            let path = entry.path();
            if !may_be_copy(&path, original) {
                continue;
            }
            let Ok(found) = Found::open(&path, original) else { continue };
            let record = self.positions.get(found.inode);
            let known = record.is_some_and(|record| record.is_in(&found.file));
            let fits = self.files.by_inode(found.inode).is_none()
                && !known
                && found.size >= mark.offset
                && identity::has_prefix(&found.file, prefix)
                && mark.is_in(&found.file);
            if fits && best.as_ref().is_none_or(|best| best.modified < found.modified) {
                best = Some(found);
            }
        }
        best
    }
}
