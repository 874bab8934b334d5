//! Reading: what is read from which file next, with memory taken first, and what becomes of it.

use std::io;
use std::sync::Arc;

use sentinel_contract::{Batch, Events, Log, Permit, Receipt};
use tokio::time::Instant;

use super::chunk::{Ask, Lines, MIN_EVENTS, Taken};
use super::files::{Life, Refusal};
use super::identity::{self, PREFIX};
use super::lines::Ending;
use super::service::Loop;

impl Loop {
    /// Reads one chunk of a file and sends it.
    pub(super) async fn read(&mut self, id: u64) {
        let Some((bytes, memory)) = self.prepare(id) else { return };
        let Some(permit) = self.reserve(memory).await else { return };
        if let Some(batch) = self.take(id, bytes, permit) {
            self.send(batch).await;
        }
    }

    /// Opens the file and looks how much there is: how much to ask for, and the memory it takes.
    fn prepare(&mut self, id: u64) -> Option<(usize, usize)> {
        let file = self.files.get_mut(id)?;
        file.queued = false;
        if file.pause.is_some_and(|until| Instant::now() < until) {
            return None; // the poll brings it back
        }
        file.pause = None;
        if let Some(before) = file.after {
            if !self.files.is_at_end(before) {
                return None; // woken by it
            }
            self.files.get_mut(id)?.after = None;
        }
        let known = self.files.get(id)?.size;
        if let Err(refusal) = self.look(id)? {
            self.cannot_read(id, &refusal);
            return None;
        }
        let file = self.files.get_mut(id)?;
        let shorter = file.size < file.read.offset || (file.read.offset == 0 && file.size < known);
        let rested = file.stride == 0; // it was at its end: it may have been rewritten since, to any size
        if shorter || (rested && !self.is_still(id)) {
            self.truncated(id);
            return None;
        }
        if let Some(what) = self.compressed(id) {
            self.books.forget(self.files.get(id)?);
            let file = self.remove(id)?;
            self.refuse(&file.path, &Refusal::Kind(what));
            return None;
        }
        let file = self.files.get_mut(id)?;
        if file.unread() == 0 {
            self.at_end(id);
            return None;
        }
        let bytes = file.wants(&self.settings);
        let events = file.events(bytes);
        Some((bytes, file.read.tail.len as usize + bytes + events * size_of::<Log>()))
    }

    /// What compressed a file that was empty when it was found.
    fn compressed(&self, id: u64) -> Option<&'static str> {
        let file = self.files.get(id).filter(|file| file.read.offset == 0)?;
        identity::compression(file.file.as_ref()?).ok()?
    }

    /// Opens the file if it is not, and takes its size. `None`: it is not where it was.
    fn look(&mut self, id: u64) -> Option<Result<(), Refusal>> {
        match self.files.open(id, self.settings.max_open_files) {
            Ok(true) => {}
            Ok(false) => {
                self.displaced(id);
                return None;
            }
            Err(refusal) => return Some(Err(refusal)),
        }
        let file = self.files.get_mut(id)?;
        match file.file.as_ref()?.metadata() {
            Ok(meta) => {
                (file.size, file.modified) = (meta.len(), meta.modified().ok());
                if !self.refused.is_empty() {
                    let path = file.path.clone();
                    self.accept(&path);
                }
                Some(Ok(()))
            }
            Err(error) => Some(Err(Refusal::Failed(error))),
        }
    }

    fn cannot_read(&mut self, id: u64, refusal: &Refusal) {
        if let Refusal::Failed(error) = refusal
            && error.kind() == io::ErrorKind::NotFound
        {
            return self.displaced(id);
        }
        self.files.close(id); // a stale handle (NFS) is opened anew
        if let Some(file) = self.files.get_mut(id) {
            file.pause = Some(Instant::now() + self.settings.discover_interval);
            let path = file.path.clone();
            self.refuse(&path, refusal);
        }
    }

    /// Reads the chunk and makes the batch, unless there is no whole line.
    fn take(&mut self, id: u64, bytes: usize, permit: Permit) -> Option<Batch> {
        let ending = self.ending(id).unwrap_or(Ending::Open);
        let time_ns = self.time_ns();
        let settings = Arc::clone(&self.settings);
        let file = self.files.get_mut(id)?;
        let memory = permit.bytes().saturating_sub(file.read.tail.len as usize + bytes);
        let events = (memory / size_of::<Log>()).max(MIN_EVENTS);
        match file.take(Ask { bytes, events, ending, time_ns }, &settings) {
            Ok(Taken::Lines(lines)) => return self.batch(id, lines, permit),
            Ok(Taken::Nothing { at_end: false }) => self.enqueue(id),
            Ok(Taken::Nothing { at_end: true }) => {
                file.unfinished.get_or_insert_with(Instant::now);
                self.at_end(id);
            }
            Ok(Taken::Hole(end)) => {
                file.rewind(end);
                self.out.counters.count("hole_skipped", 1);
                self.enqueue(id);
            }
            Ok(Taken::Another) => self.truncated(id),
            Err(error) => self.cannot_read(id, &Refusal::Failed(error)),
        }
        None
    }

    /// Moves the file's position and makes the batch that, acknowledged, moves the saved one.
    fn batch(&mut self, id: u64, lines: Lines, mut permit: Permit) -> Option<Batch> {
        let Lines { mut split, mark, capacity, at_end, next_ns } = lines;
        charge(&mut permit, capacity, &mut split.logs);
        self.clock_ns = next_ns;
        self.out.counters.count("line_cut", split.cut);
        let file = self.files.get_mut(id)?;
        file.read = mark;
        file.scanned = 0;
        file.unfinished = (at_end && file.unread() > 0).then(Instant::now);
        if (file.prefix.len as usize) < PREFIX
            && let Some(Ok(prefix)) = file.file.as_ref().map(identity::prefix)
        {
            file.prefix = prefix;
        }
        let order = file.stream.hash();
        let number = self.books.sent(file);
        let events = split.logs.len() as u64;
        let books = Arc::clone(&self.books);
        let receipt = Receipt::new(move |fate| books.resolve(id, number, events, fate));
        if at_end || file.unread() == 0 {
            self.at_end(id);
        } else {
            self.enqueue(id);
        }
        let mut batch = Batch::new(Arc::clone(&self.out.origin), Events::Logs(split.logs));
        (batch.source, batch.order) = (id, order);
        batch.permit = Some(permit);
        batch.receipt = Some(receipt);
        Some(batch)
    }

    /// The file is read to its end, as far as it goes now.
    fn at_end(&mut self, id: u64) {
        let Some(file) = self.files.get_mut(id) else { return };
        (file.stride, file.average) = (0, 0);
        if file.unread() == 0 {
            file.unfinished = None;
        }
        if let Some(successor) = file.before.take() {
            self.enqueue(successor);
        }
    }

    /// What is to be done with an unfinished end of the file, when its time has come.
    pub(super) fn ending(&self, id: u64) -> Option<Ending> {
        let file = self.files.get(id)?;
        let still = file.grown.elapsed();
        // The writer of a file that left has gone on to the next one, if there is one.
        let timing = self.settings.timing;
        let succeeded = self.files.by_name(&file.name) != Some(id);
        let quiet = if succeeded { timing.quiet } else { timing.deleted_quiet };
        if (file.life != Life::Live && still >= quiet)
            || self.settings.idle_flush.is_some_and(|wait| still >= wait)
        {
            Some(Ending::All)
        } else if self.settings.rules.grouping.is_some() && still >= self.settings.group_timeout {
            Some(Ending::Lines)
        } else {
            None
        }
    }
}

/// Charges what a batch pins: its chunk of `capacity` bytes, and the room for its events. That grows by doubling, beyond
/// what was reserved when lines are shorter than those before: what cannot be had goes back.
pub(super) fn charge(permit: &mut Permit, capacity: usize, logs: &mut Vec<Log>) {
    let pinned = |logs: &Vec<Log>| capacity + logs.capacity() * size_of::<Log>();
    let missing = pinned(logs).saturating_sub(permit.bytes());
    if missing > 0 && !permit.try_grow(missing) {
        logs.shrink_to_fit();
    }
    permit.shrink(pinned(logs));
}
