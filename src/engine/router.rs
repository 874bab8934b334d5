//! Fan-out: a batch is frozen once and shared by every output and observer that wants its origin.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

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
#[derive(Default)]
pub(crate) struct Routes {
    /// Outputs that admit this origin.
    pub outputs: Vec<OutputPort>,
    /// Observers that admit it.
    pub observers: Vec<ObserverPort>,
}

/// The routes of one origin, which a reload exchanges while it runs.
pub(crate) struct Router {
    routes: Arc<Mutex<Arc<Routes>>>,
}

/// A router from outside: it holds no inbox open when the router's owner has ended.
pub(crate) struct RouterHandle {
    routes: Weak<Mutex<Arc<Routes>>>,
}

impl RouterHandle {
    /// From the next batch on.
    pub(crate) fn set(&self, routes: Routes) {
        if let Some(current) = self.routes.upgrade() {
            *current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
        }
    }
}

impl Router {
    /// With these routes, until they are exchanged.
    pub(crate) fn new(routes: Routes) -> Self {
        Router { routes: Arc::new(Mutex::new(Arc::new(routes))) }
    }

    /// The way to exchange them.
    pub(crate) fn handle(&self) -> RouterHandle {
        RouterHandle { routes: Arc::downgrade(&self.routes) }
    }

    fn routes(&self) -> Arc<Routes> {
        Arc::clone(&self.routes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nothing is in the outputs' memory that a source could read again.
    pub(crate) fn is_idle(&self) -> bool {
        self.routes().outputs.iter().all(|port| port.queue.is_idle())
    }

    /// Hands a batch on. Nothing waits here. Returns the events that no output wanted.
    pub(crate) fn route(&self, mut batch: Batch) -> usize {
        let routes = self.routes();
        let receipt = batch.receipt.take();
        let events = batch.events.len();
        let batch = Arc::new(batch);
        for observer in &routes.observers {
            if let Err(full) = observer.inbox.try_send(Arc::clone(&batch)) {
                let missed = full.into_inner().events.len() as u64;
                observer.unseen.fetch_add(missed, Relaxed);
                observer.state.counters.drop_events("unseen", missed);
            }
        }
        let mut wanted = false;
        let takes = |port: &&OutputPort| port.accepts.contains(batch.events.kind());
        for port in routes.outputs.iter().filter(takes) {
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
        (part.source, part.order) = (batch.source, batch.order);
        Some(Piece::whole(Arc::new(part)))
    }
}
