//! Fan-out: a batch is frozen once and shared by every output and observer that wants its origin.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sentinel_contract::{Audience, Batch, Fate, Kinds, Part, Piece, Receipt};
use tokio::sync::{mpsc, oneshot};

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
    /// Where batches go.
    pub inbox: Inbox,
    /// Events that did not fit, until the observer is told.
    pub unseen: Arc<AtomicU64>,
    /// Its counters.
    pub state: Arc<Plugin>,
}

/// An observer's inbox.
#[derive(Clone)]
pub(crate) enum Inbox {
    /// Of all its origins; bounded, and what does not fit it does not see.
    One(mpsc::Sender<Arc<Batch>>),
    /// Of one that is kept one a partition: of each partition another. Nothing is lost here: who sends waits for room.
    Partitions(Arc<Inboxes>),
}

/// The inboxes of the partitions that are ours.
pub(crate) type Inboxes = Mutex<HashMap<u64, mpsc::Sender<Seen>>>;

/// What comes into the inbox of an observer of a partition.
pub(crate) enum Seen {
    /// Events.
    Batch(Arc<Batch>),
    /// The partition has come so far: milliseconds since 1970 UTC.
    Reached(i64),
    /// At this time there were no more messages than were shown.
    Calm(i64),
    /// Give what changed since this was last asked; with `last`, and end.
    Save {
        /// Where it goes.
        parts: mpsc::Sender<Part>,
        /// Nothing comes after it.
        last: bool,
        /// Told at the end.
        done: oneshot::Sender<()>,
    },
    /// What was given last is not kept.
    Unsaved,
    /// Everything before is seen.
    Ping(oneshot::Sender<()>),
}

/// Where the batches of one origin go.
#[derive(Clone, Default)]
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
    /// From the next batch on. Whether there is somebody who routes by it.
    pub(crate) fn set(&self, routes: Routes) -> bool {
        let Some(current) = self.routes.upgrade() else { return false };
        *current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
        true
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

    /// Tells the observers how far a partition has come.
    pub(crate) fn reached(&self, order: u64, now_ms: i64) {
        self.routes().observers.iter().for_each(|observer| observer.reached(order, now_ms));
    }

    /// Hands a batch on, first to the observers of its partition: what is acknowledged was shown to them. Waits for room in their
    /// inboxes, and for nothing else. Returns the events that no output wanted.
    pub(crate) async fn route_to_all(&self, mut batch: Batch) -> usize {
        let routes = self.routes();
        let receipt = batch.receipt.take();
        let batch = Arc::new(batch);
        if batch.audience != Audience::Outputs {
            for observer in &routes.observers {
                observer.show_to_its_partition(&batch).await;
            }
        }
        Router::hand_on(&routes, &batch, receipt)
    }

    /// The same where there are no observers of partitions: nothing waits here.
    pub(crate) fn route(&self, mut batch: Batch) -> usize {
        let receipt = batch.receipt.take();
        Router::hand_on(&self.routes(), &Arc::new(batch), receipt)
    }

    fn hand_on(routes: &Routes, batch: &Arc<Batch>, receipt: Option<Receipt>) -> usize {
        let events = batch.events.len();
        if batch.audience != Audience::Outputs {
            routes.observers.iter().for_each(|observer| observer.show(batch));
        }
        let mut wanted = batch.audience == Audience::Observers;
        let for_outputs = !wanted;
        let takes = |port: &&OutputPort| for_outputs && port.accepts.contains(batch.events.kind());
        for port in routes.outputs.iter().filter(takes) {
            let Some(piece) = port.select(batch) else { continue };
            wanted = true;
            let mut entry = Entry::new(piece, receipt.clone());
            if entry.receipt.is_some() && !Arc::ptr_eq(&entry.piece.batch, batch) {
                entry.whole = Some(Arc::clone(batch));
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

impl ObserverPort {
    fn show(&self, batch: &Arc<Batch>) {
        let Inbox::One(inbox) = &self.inbox else { return };
        if let Err(full) = inbox.try_send(Arc::clone(batch)) {
            let missed = full.into_inner().events.len() as u64;
            self.unseen.fetch_add(missed, Relaxed);
            self.state.counters.drop_events("unseen", missed);
        }
    }

    async fn show_to_its_partition(&self, batch: &Arc<Batch>) {
        let Inbox::Partitions(inboxes) = &self.inbox else { return };
        let shown = match inbox_of(inboxes, batch.order) {
            Some(inbox) => inbox.send(Seen::Batch(Arc::clone(batch))).await.is_ok(),
            None => false,
        };
        if !shown {
            // Whose it is now sees it: what is not acknowledged here is read again there.
            self.state.counters.count("not_ours", batch.events.len() as u64);
        }
    }

    fn reached(&self, order: u64, now_ms: i64) {
        let Inbox::Partitions(inboxes) = &self.inbox else { return };
        let inbox = inbox_of(inboxes, order);
        let _full_or_gone = inbox.map(|inbox| inbox.try_send(Seen::Reached(now_ms)));
    }
}

/// The inbox of a partition, if that is ours.
fn inbox_of(inboxes: &Inboxes, order: u64) -> Option<mpsc::Sender<Seen>> {
    inboxes.lock().unwrap_or_else(PoisonError::into_inner).get(&order).cloned()
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
