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
use crate::partitions::Keyed;
use crate::queue::Queue;
use crate::router::{Inbox, ObserverPort, OutputPort, RouterHandle, Routes};
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
    /// The observers that are kept one a partition of it.
    pub(super) chain: Vec<Identity>,
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
    /// The origins it admits.
    pub(super) from: Vec<String>,
    pub(super) runs: Runs,
}

/// How an observer runs.
pub(super) enum Runs {
    /// As one task.
    Once(Once),
    /// As one a partition of an input, which begins and ends them.
    ByPartition(Arc<Keyed>),
}

/// An observer's task.
pub(super) struct Once {
    pub(super) task: JoinHandle<()>,
    /// Weak: only lanes and observers hold an inbox open, and it ends when they do.
    pub(super) inbox: mpsc::WeakSender<Arc<Batch>>,
    /// Holds the inbox open until the routes are set for the first time.
    pub(super) opener: Option<mpsc::Sender<Arc<Batch>>>,
    pub(super) unseen: Arc<AtomicU64>,
    pub(super) router: RouterHandle,
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
        let (inbox, unseen) = match &self.runs {
            Runs::Once(once) => (Inbox::One(once.inbox.upgrade()?), Arc::clone(&once.unseen)),
            Runs::ByPartition(keyed) => {
                (Inbox::Partitions(Arc::clone(&keyed.inboxes)), Arc::default())
            }
        };
        Some(ObserverPort { inbox, unseen, state: Arc::clone(&self.state) })
    }

    /// The tasks, and those that run by partition.
    pub(super) fn apart(cells: Vec<ObserverCell>) -> (Vec<JoinHandle<()>>, Vec<Arc<Keyed>>) {
        let (mut tasks, mut keyed) = (Vec::new(), Vec::new());
        for cell in cells {
            match cell.runs {
                Runs::Once(once) => tasks.push(once.task),
                Runs::ByPartition(one) => keyed.push(one),
            }
        }
        (tasks, keyed)
    }

    /// The task to wait for, once nobody can reach it. Those of partitions were ended by their input.
    pub(super) fn end(self) -> Option<JoinHandle<()>> {
        match self.runs {
            Runs::Once(once) => Some(once.task),
            Runs::ByPartition(keyed) => {
                keyed.end();
                None
            }
        }
    }

    /// Where what it emits goes from now on.
    pub(super) fn set_routes(&self, routes: Routes) {
        match &self.runs {
            Runs::Once(once) => _ = once.router.set(routes),
            Runs::ByPartition(keyed) => keyed.set_routes(routes),
        }
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
