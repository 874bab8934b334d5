//! What observers know of our partitions: taken back when they come, kept when they go and in between.
//!
//! Who gets a partition reads on from where its observers stand: what the outputs have already is for the observers only, and
//! the other way round.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Cause, Observers, Part};
use sentinel_transport::kafka::rdkafka::producer::Producer as _;
use tokio::runtime::Handle;

use super::store::{Store, Topic, WRITE, head};

/// How long all that is kept of the partitions that come at once may take to be read.
const RESTORE: Duration = Duration::from_secs(60);

/// What observers know of our partitions, and where it is kept.
pub(super) struct Keep {
    pub(super) observers: Observers,
    pub(super) runtime: Handle,
    /// `None`: nowhere; they begin anew with each partition.
    store: Option<Store>,
    /// Partitions of which what is kept could not be read: it is not written over.
    unread: Mutex<HashSet<u64>>,
}

/// A partition's name, its number among batches, and the message after the last one that observers know.
pub(super) struct Known {
    pub(super) name: Arc<str>,
    pub(super) order: u64,
    pub(super) upto: i64,
}

impl Keep {
    pub(super) fn new(
        observers: Observers,
        topic: Option<Topic>,
        counters: &Arc<Counters>,
    ) -> Result<Keep, Cause> {
        let store = topic.map(|topic| Store::new(topic, counters)).transpose()?;
        Ok(Keep { observers, runtime: Handle::current(), store, unread: Mutex::default() })
    }

    /// There is a place for it.
    pub(super) fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    fn unread(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These partitions are ours: their observers begin with what is kept. Of each the message after the last one that they
    /// know, if anything is kept.
    ///
    /// Errors: it cannot be read; the observers begin anew.
    pub(super) fn begin(&self, partitions: &[(Arc<str>, u64)]) -> Result<Vec<Option<i64>>, Cause> {
        let mut read = match &self.store {
            Some(store) => store.read_again(partitions, &self.runtime, Instant::now() + RESTORE),
            None => Ok(BTreeMap::new()),
        };
        for (_, order) in partitions {
            if read.is_ok() {
                self.unread().remove(order)
            } else {
                self.unread().insert(*order)
            };
        }
        let mut upto = Vec::with_capacity(partitions.len());
        for (name, order) in partitions {
            let kept = read.as_mut().ok().and_then(|read| read.remove(name)).unwrap_or_default();
            // Parts without a head are of a first write that did not come to its end.
            let parts = if kept.upto.is_some() { kept.parts } else { Vec::new() };
            upto.push(kept.upto);
            let begun = self.observers.begin(*order, Arc::clone(name), parts);
            if !self.runtime.block_on(begun) {
                tracing::warn!(partition = &**name, "its observers take long to begin");
            }
        }
        read.map(|_| upto)
    }

    /// Writes what changed of these partitions, and waits until it is written; with `last` their observers end.
    ///
    /// Errors: not all of it was.
    pub(super) fn save(&self, known: &[Known], last: bool) -> Result<(), Cause> {
        let failed = self.store.as_ref().map(Store::failed);
        let mut outcome = Ok(());
        for known in known {
            if let Err(error) = self.save_one(known, last) {
                outcome = Err(error); // the others are written all the same
            }
        }
        let (Some(store), Some(failed)) = (&self.store, failed) else { return outcome };
        let flushed = store.producer.flush(WRITE).context("what observers know is not written yet");
        let outcome = outcome.and(flushed).and_then(|()| match store.failed() {
            now if now > failed => Err(anyhow!("{}", store.producer.context().words())),
            _ => Ok(()),
        });
        if outcome.is_err() && !last {
            for known in known {
                self.runtime.block_on(self.observers.unsaved(known.order));
            }
        }
        outcome
    }

    fn save_one(&self, known: &Known, last: bool) -> Result<(), Cause> {
        let Known { name, order, upto } = known;
        let is_unread = self.unread().contains(order);
        let store = self.store.as_ref().filter(|_| !is_unread);
        let mut outcome = Ok(());
        let take = |part: Part| {
            if let (Some(store), Ok(())) = (store, &outcome) {
                let key = store.key(name, &part.observer, &part.name);
                outcome = store.write(*order, &key, part.bytes.as_deref());
            }
        };
        if !self.runtime.block_on(self.observers.save(*order, last, take)) {
            bail!("{name}: its observers do not say what they know");
        }
        outcome?;
        if is_unread {
            bail!("{name}: what was kept could not be read when it came, and is not written over");
        }
        let Some(store) = store.filter(|_| *upto > i64::MIN) else { return Ok(()) };
        store.write(*order, &store.key(name, "", ""), Some(head(*upto).as_bytes()))
    }
}
