//! What is settled, shared with those who settle.
//!
//! An output's acknowledgement notes it in `recent` from the thread that took it, before the next request goes out: were it
//! left to the disk thread, an fsync of a busy disk would be as long a time in which `kill -9` lets everything that was
//! delivered come again. It is 28 bytes for the page cache, without fsync; a file system that hangs hangs the output, as it does
//! the files that are read.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Place;
use super::format::Mark;

/// Overwrites the beginning of a file, from any thread, beside its folder.
pub(crate) type Overwrite = Box<dyn FnMut(&[u8]) -> io::Result<()> + Send>;

/// How far a queue is settled: all before a mark, and what is settled beyond it.
#[derive(Default)]
pub(crate) struct Settled(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    /// All before it is settled.
    until: Mark,
    /// Settled beyond: number and what comes behind.
    ahead: BTreeMap<u64, Mark>,
    /// `recent`; none as long as it cannot be made.
    recent: Option<Overwrite>,
}

impl Inner {
    fn pass(&mut self, from: Mark, to: Mark) {
        if from.number >= self.until.number && to.number > from.number {
            self.ahead.insert(from.number, to);
        }
        while let Some(next) = self.ahead.remove(&self.until.number) {
            self.until = next;
        }
    }

    fn note(&mut self) -> io::Result<()> {
        let until = self.until.encode();
        let recent = self.recent.as_mut().ok_or(io::ErrorKind::NotFound)?;
        recent(&until)
    }
}

impl Settled {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All before it is settled.
    pub(super) fn until(&self) -> Mark {
        self.inner().until
    }

    /// A record was delivered or given up, in any order: it is not read again, nor after `kill -9` when this is `Ok`.
    pub(crate) fn settle(&self, place: &Place) -> io::Result<()> {
        let mut inner = self.inner();
        inner.pass(place.mark, place.next);
        inner.note()
    }

    /// Nothing from `from` up to `to` is left to be settled.
    pub(super) fn pass(&self, from: Mark, to: Mark) {
        self.inner().pass(from, to);
    }

    /// Begins at `mark`, as the files say.
    pub(super) fn begin_at(&self, mark: Mark) {
        self.inner().until = mark;
    }

    /// Nothing before `end` is there any more.
    pub(super) fn forget_until(&self, end: Mark) {
        let mut inner = self.inner();
        if inner.until.number < end.number {
            inner.until = end;
            inner.ahead = inner.ahead.split_off(&end.number);
            inner.pass(end, end); // what is settled behind it may join
        }
    }

    /// Where it is noted from now on.
    pub(super) fn note_in(&self, recent: Overwrite) {
        self.inner().recent = Some(recent);
    }

    /// Notes what is settled for a start after `kill -9`; nothing is removed because of it.
    pub(super) fn note(&self) -> io::Result<()> {
        self.inner().note()
    }
}
