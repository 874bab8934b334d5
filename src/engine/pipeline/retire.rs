//! Stopping what another plan has differently, or no longer: before its successor starts, and without what others do.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::cells::{InputCell, ObserverCell, OutputCell};
use super::prepare::Parts;
use super::{Running, wait};
use crate::queue::Queue;

/// How long an input may take to stop reading, and its lane to be empty.
const LANE: Duration = Duration::from_secs(3);
/// How long its lines may take to be delivered, so that its successor does not read them again.
const RECEIPTS: Duration = Duration::from_secs(3);
/// How long it may take to save its positions.
const SAVE: Duration = Duration::from_secs(2);
/// The same, when it hands over what observers know of its partitions.
const HAND_OVER: Duration = Duration::from_secs(30);
/// How long an output may take to finish its request before its queue is handed on.
const REQUEST: Duration = Duration::from_secs(5);

impl Running {
    /// Stops what does not run on: inputs and observers that are gone or changed, and the tasks of changed outputs, whose
    /// queues stay. Outputs that are gone are told later, when nothing is routed to them any more.
    pub(super) async fn retire(&mut self, parts: &Parts) {
        let (stay, go) = std::mem::take(&mut self.inputs)
            .into_iter()
            .partition(|cell| parts.inputs.iter().any(|part| part.runs_on(&cell.identity)));
        self.inputs = stay;
        self.end_inputs(go).await;
        let observers = || parts.observers.iter().flatten();
        let (stay, go) = std::mem::take(&mut self.observers)
            .into_iter()
            .partition::<Vec<_>, _>(|cell| observers().any(|part| part.runs_on(&cell.identity)));
        self.observers = stay;
        if !go.is_empty() {
            // An observer ends when nobody can reach it any more; it saves what it knows for its successor.
            self.route();
            for cell in &go {
                self.commands.remove(&cell.identity.alias);
            }
            wait(go.into_iter().filter_map(ObserverCell::end), Instant::now() + SAVE).await;
        }
        self.make_way(parts).await;
        for cell in &mut self.outputs {
            let same = parts.outputs.iter().any(|part| part.identity == cell.identity);
            let succeeded = parts.outputs.iter().any(|part| part.identity.succeeds(&cell.identity));
            if same || !succeeded {
                continue;
            }
            cell.retire.cancel();
            if tokio::time::timeout(REQUEST, &mut cell.task).await.is_err() {
                // Not aborted: its writes would give back what they hold when the successor has gone on already.
                cell.deadline.cancel();
                let _ended = (&mut cell.task).await;
            }
        }
    }

    async fn end_inputs(&self, cells: Vec<InputCell>) {
        if cells.is_empty() {
            return;
        }
        for cell in &cells {
            cell.stop.reading.cancel();
        }
        let waits = cells.iter().any(|cell| cell.takes_receipts);
        let patience =
            if cells.iter().any(|cell| !cell.chain.is_empty()) { HAND_OVER } else { SAVE };
        let (rest, lanes): (Vec<_>, Vec<_>) =
            cells.into_iter().map(|cell| ((cell.stop, cell.task), cell.lane)).unzip();
        wait(lanes, Instant::now() + LANE).await;
        let until = Instant::now() + RECEIPTS;
        while waits
            && Instant::now() < until
            && !self.outputs.iter().all(|cell| cell.queue.is_idle())
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let mut tasks = Vec::new();
        for (stop, task) in rest {
            stop.finished.cancel();
            tasks.push(task);
        }
        wait(tasks, Instant::now() + patience).await;
    }

    /// An output that is no longer configured delivers what it has, for as long as a stop would let it.
    pub(super) fn dismiss(&mut self, cell: OutputCell) {
        let OutputCell { identity, mut task, queue, drain, deadline, .. } = cell;
        tracing::info!(output = %identity.alias, "no longer configured: it delivers what it has");
        queue.dismiss();
        self.dead_letters.dismiss(&identity.alias);
        drain.cancel();
        let (patience, end) = (self.plan.agent.shutdown_timeout.0, deadline.clone());
        let task = tokio::spawn(async move {
            if tokio::time::timeout(patience, &mut task).await.is_err() {
                end.cancel();
                let _ended = task.await;
            }
        });
        self.leaving.retain(|one| !one.task.is_finished());
        self.leaving.push(Leaving {
            alias: identity.alias,
            queue: Arc::downgrade(&queue),
            deadline,
            task,
        });
    }

    /// An alias that another output takes has its folder free: its former owner ends at once.
    async fn make_way(&mut self, parts: &Parts) {
        let takes = |alias: &str| parts.outputs.iter().any(|part| *part.identity.alias == *alias);
        let is_other = |cell: &mut OutputCell| {
            let successor = parts.outputs.iter().any(|part| part.identity.succeeds(&cell.identity));
            takes(&cell.identity.alias) && !successor
        };
        let others: Vec<OutputCell> = self.outputs.extract_if(.., is_other).collect();
        if !others.is_empty() {
            self.route();
        }
        for cell in others {
            self.dismiss(cell);
        }
        let again = |one: &mut Leaving| takes(&one.alias);
        for Leaving { queue, deadline, task, .. } in self.leaving.extract_if(.., again) {
            deadline.cancel();
            wait([task], Instant::now() + SAVE).await;
            let until = Instant::now() + SAVE;
            // The disk thread lets go of it last.
            while queue.strong_count() > 0 && Instant::now() < until {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// An output on its way out.
pub(super) struct Leaving {
    alias: Arc<str>,
    queue: Weak<Queue>,
    deadline: CancellationToken,
    pub(super) task: JoinHandle<()>,
}
