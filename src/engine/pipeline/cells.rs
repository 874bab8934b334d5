//! What runs of each plugin, and by what it is stopped, rewired and recognised.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use sentinel_contract::{Batch, Kinds, Stop};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::identity::Identity;
use crate::config::Role;
use crate::filter::Filter;
use crate::lane::Rewire;
use crate::queue::Queue;
use crate::router::{ObserverPort, OutputPort, RouterHandle};
use crate::telemetry::Plugin;

/// An input with its lane.
pub(super) struct InputCell {
    pub(super) identity: Identity,
    pub(super) state: Arc<Plugin>,
    /// It hears what becomes of what it reads.
    pub(super) takes_receipts: bool,
    /// Of this input alone; the agent's own stop stops it too.
    pub(super) stop: Stop,
    pub(super) task: JoinHandle<()>,
    pub(super) lane: JoinHandle<()>,
    pub(super) router: RouterHandle,
    pub(super) rewire: mpsc::Sender<Rewire>,
    /// The transforms in its lane.
    pub(super) stages: Vec<Arc<str>>,
}

/// A transform; it runs in the lanes.
pub(super) struct TransformCell {
    pub(super) identity: Identity,
    pub(super) state: Arc<Plugin>,
}

/// An observer.
pub(super) struct ObserverCell {
    pub(super) identity: Identity,
    pub(super) state: Arc<Plugin>,
    pub(super) task: JoinHandle<()>,
    /// Weak: only lanes and observers hold an inbox open, and it ends when they do.
    pub(super) inbox: mpsc::WeakSender<Arc<Batch>>,
    /// Holds the inbox open until the routes are set for the first time.
    pub(super) opener: Option<mpsc::Sender<Arc<Batch>>>,
    pub(super) unseen: Arc<AtomicU64>,
    pub(super) router: RouterHandle,
    /// The origins it admits.
    pub(super) from: Vec<String>,
}

/// An output with its queue.
pub(super) struct OutputCell {
    pub(super) identity: Identity,
    pub(super) state: Arc<Plugin>,
    pub(super) task: JoinHandle<()>,
    pub(super) queue: Arc<Queue>,
    pub(super) accepts: Kinds,
    pub(super) filter: Option<Arc<Filter>>,
    pub(super) from: Vec<String>,
    /// Cancelled: hand the queue on to another task.
    pub(super) retire: CancellationToken,
    /// Cancelled: deliver what is there, and end.
    pub(super) drain: CancellationToken,
    /// Cancelled: end.
    pub(super) deadline: CancellationToken,
}

impl ObserverCell {
    /// As lanes see it; `None` when it has ended.
    pub(super) fn port(&self) -> Option<ObserverPort> {
        let inbox = self.inbox.upgrade()?;
        Some(ObserverPort {
            inbox,
            unseen: Arc::clone(&self.unseen),
            state: Arc::clone(&self.state),
        })
    }
}

impl OutputCell {
    /// As lanes see it.
    pub(super) fn port(&self) -> OutputPort {
        OutputPort {
            queue: Arc::clone(&self.queue),
            accepts: self.accepts,
            filter: self.filter.clone(),
        }
    }
}

/// Starts a task whose log lines carry the plugin's name.
pub(super) fn spawn(
    role: Role,
    name: &str,
    alias: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()> {
    let plugin = format!("{}.{name}", role.table());
    let span = if name == alias {
        tracing::info_span!("plugin", plugin)
    } else {
        tracing::info_span!("plugin", plugin, alias)
    };
    tokio::spawn(work.instrument(span))
}
