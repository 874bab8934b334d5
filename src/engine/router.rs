//! Fan-out: a batch is frozen once and shared by every output and observer that wants its origin.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use sentinel_contract::{Batch, Fate, Kinds, Piece};
use tokio::sync::mpsc;

use crate::filter::Filter;
use crate::queue::{Entry, Queue};
use crate::telemetry::Plugin;

/// An output, as a lane sees it.
#[derive(Clone)]
pub(crate) struct OutputPort {
    /// Where entries go.
    pub queue: Arc<Queue>,
    /// The kinds it takes.
    pub accepts: Kinds,
    /// Its name and label filters.
    pub filter: Option<Arc<Filter>>,
}

/// An observer, as a lane sees it.
#[derive(Clone)]
pub(crate) struct ObserverPort {
    /// Its inbox; bounded.
    pub inbox: mpsc::Sender<Arc<Batch>>,
    /// Events that did not fit, until the observer is told.
    pub unseen: Arc<AtomicU64>,
    /// Its counters.
    pub state: Arc<Plugin>,
}

/// Where the batches of one origin go.
#[derive(Clone, Default)]
pub(crate) struct Router {
    /// Outputs that admit this origin.
    pub outputs: Vec<OutputPort>,
    /// Observers that admit it.
    pub observers: Vec<ObserverPort>,
}

impl Router {
    /// Whether every output has acknowledged or given up all that it was handed.
    pub(crate) fn is_idle(&self) -> bool {
        self.outputs.iter().all(|port| port.queue.is_idle())
    }

    /// Hands a batch on. Nothing waits here. Returns the events that no output wanted.
    pub(crate) fn route(&self, mut batch: Batch) -> usize {
        let receipt = batch.receipt.take();
        let events = batch.events.len();
        let batch = Arc::new(batch);
        for observer in &self.observers {
            if let Err(full) = observer.inbox.try_send(Arc::clone(&batch)) {
                let missed = full.into_inner().events.len() as u64;
                observer.unseen.fetch_add(missed, Relaxed);
                observer.state.counters.drop_events("unseen", missed);
            }
        }
        let mut wanted = false;
        for port in self.outputs.iter().filter(|port| port.accepts.contains(batch.events.kind())) {
            let Some(piece) = port.select(&batch) else { continue };
            wanted = true;
            let mut entry = Entry::new(piece, receipt.clone());
            if entry.receipt.is_some() && !Arc::ptr_eq(&entry.piece.batch, &batch) {
                entry.whole = Some(Arc::clone(&batch));
            }
            port.queue.push(entry);
        }
        if let Some(receipt) = receipt {
            receipt.resolve(Fate::Delivered); // the lane's own copy; the outputs hold theirs
        }
        let for_observers = batch.events.kind() == Kinds::EVIDENCE;
        if wanted || for_observers { 0 } else { events }
    }
}

impl OutputPort {
    /// What of the batch passes this output's filter; `None` when nothing does.
    fn select(&self, batch: &Arc<Batch>) -> Option<Piece> {
        if batch.events.is_empty() {
            return None;
        }
        let Some(events) = self.filter.as_ref().and_then(|filter| filter.select(&batch.events))
        else {
            return Some(Piece::whole(Arc::clone(batch)));
        };
        if events.is_empty() {
            return None;
        }
        let mut part = Batch::new(Arc::clone(&batch.origin), events);
        part.source = batch.source;
        Some(Piece::whole(Arc::new(part)))
    }
}
