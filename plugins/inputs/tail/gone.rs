//! A followed file leaves: deleted, or renamed and read to its end. It is let go of when there is no more to read, or when
//! it pins too much of the disk; what is not read is counted.

use std::os::unix::fs::FileExt as _;
use std::path::Path;

use tokio::time::Instant;

use super::files::{Life, Tailed, open_regular};
use super::identity;
use super::service::Loop;

/// Lines are counted in so much of what is given up, and estimated from it: other files wait meanwhile.
const COUNTED_BYTES: u64 = 64 << 20;

impl Loop {
    /// Nothing leads to a file but our descriptor, if that.
    pub(super) fn deleted(&mut self, id: u64) {
        let Some(file) = self.files.get_mut(id) else { return };
        self.books.forget(file);
        if file.file.is_some() {
            if !matches!(file.life, Life::Deleted { .. }) {
                file.life = Life::Deleted { since: Instant::now() };
            }
            self.enqueue(id);
            return;
        }
        self.forget_file(id);
    }

    /// A file is not followed any more.
    pub(super) fn remove(&mut self, id: u64) -> Option<Tailed> {
        self.books.close(id);
        self.files.remove(id)
    }

    /// A file is gone with what was not read of it.
    pub(super) fn forget_file(&mut self, id: u64) {
        if let Some(file) = self.remove(id) {
            self.lose(&file.path, file.unread());
        }
    }

    /// Counts what was seen and is gone: one event at least, nobody can count them now.
    pub(super) fn lose(&self, path: &Path, bytes: u64) {
        if bytes > 0 {
            tracing::warn!(path = %path.display(), bytes, "deleted or cut off before it was read");
            self.out.counters.drop_events("source_gone", 1);
        }
    }

    /// Lets go of a file that has left and is read to its end.
    pub(super) fn finish(&mut self, id: u64) {
        let now = Instant::now();
        let timing = self.settings.timing;
        let Some(file) = self.files.get(id) else { return };
        let done = file.unread() == 0 && !file.queued && self.books.is_settled(id);
        match file.life {
            Life::Renamed { .. } if done && now > file.grown + timing.quiet => {
                self.files.close(id);
            }
            Life::Deleted { .. } if done && now > file.grown + timing.deleted_quiet => {
                self.remove(id);
            }
            _ => {}
        }
        if let Some(file) = self.files.get(id)
            && let Life::Renamed { since } = file.life
            && file.file.is_none()
            && now > since + timing.renamed_keep
        {
            self.remove(id);
        }
    }

    /// Lets go of deleted files that are kept for too long, or that pin too much of the disk; counts what is not read.
    pub(super) fn limit_deleted(&mut self) {
        let now = Instant::now();
        let mut deleted: Vec<(Instant, u64, u64)> = Vec::new();
        for file in self.files.iter() {
            if let Life::Deleted { since } = file.life {
                deleted.push((since, file.id, file.size));
            }
        }
        deleted.sort_unstable();
        let mut pinned: u64 = deleted.iter().map(|(_, _, size)| size).sum();
        for (since, id, size) in deleted {
            let old = now > since + self.settings.deleted_max_age;
            if old || pinned > self.settings.deleted_max_bytes {
                pinned -= size;
                self.give_up(id);
            }
        }
    }

    fn give_up(&mut self, id: u64) {
        let Some(file) = self.remove(id) else { return };
        let Some(open) = &file.file else { return };
        let mut lines = 0;
        let mut offset = file.read.offset;
        let stop = offset + COUNTED_BYTES;
        let mut bytes = vec![0; 64 << 10];
        while offset < stop
            && let Ok(len) = open.read_at(&mut bytes, offset)
            && len > 0
        {
            lines += memchr::memchr_iter(b'\n', &bytes[..len]).count() as u64;
            offset += len as u64;
        }
        let counted = offset - file.read.offset;
        if counted > 0 {
            let share = file.unread().max(counted) as f64 / counted as f64;
            let lines = (lines as f64 * share).round() as u64;
            let path = file.path.display();
            tracing::warn!(%path, lines, "gave up a deleted file before it was read");
            self.out.counters.drop_events("source_gone", lines.max(1));
        }
    }
}

/// How much more than `offset` is in a file compressed by gzip, which says so in its last four bytes, modulo 4 GiB.
pub(super) fn unread_in_gzip(path: &Path, offset: u64) -> Option<u64> {
    let (file, meta) = open_regular(path).ok()?;
    let (mut magic, mut length) = ([0; 3], [0; 4]);
    file.read_exact_at(&mut magic, 0).ok()?;
    file.read_exact_at(&mut length, meta.len().checked_sub(4)?).ok()?;
    let unread = u32::from_le_bytes(length).wrapping_sub(offset as u32);
    let longer = unread > 0 && unread < u32::MAX / 2;
    (magic == identity::GZIP && longer).then_some(u64::from(unread))
}
