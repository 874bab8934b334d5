//! The one thread that does the queues' I/O: it sleeps until a queue has something for it, or something is due.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::keeper::Keeper;

/// Lanes on their way to the thread; it takes them at once.
const ARRIVING: usize = 64;

/// What wakes the thread.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<(bool, bool)>,
    changed: Condvar,
}

impl Signal {
    fn state(&self) -> MutexGuard<'_, (bool, bool)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is something to do.
    pub(super) fn wake(&self) {
        let mut state = self.state();
        if !state.0 {
            state.0 = true;
            self.changed.notify_one();
        }
    }

    fn stop(&self) {
        self.state().1 = true;
        self.wake();
    }

    /// Sleeps until woken or until then. True: it is the end.
    fn wait(&self, until: Option<Instant>) -> bool {
        let mut state = self.state();
        while !state.0 {
            let Some(until) = until else {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        state.0 = false;
        state.1
    }
}

/// The thread, running.
pub(crate) struct DiskThread {
    signal: Arc<Signal>,
    new: SyncSender<Keeper>,
    ended: tokio::sync::oneshot::Receiver<()>,
}

impl DiskThread {
    /// Starts it over no lanes.
    pub(crate) fn start(signal: Arc<Signal>) -> std::io::Result<Self> {
        let (end, ended) = tokio::sync::oneshot::channel();
        let (new, arriving) = sync_channel(ARRIVING);
        let woken = Arc::clone(&signal);
        let work = move || {
            let mut keepers: Vec<Keeper> = Vec::new();
            loop {
                keepers.extend(arriving.try_iter());
                keepers.extract_if(.., |keeper| keeper.is_over()).for_each(Keeper::finish);
                let due = keepers.iter_mut().filter_map(|keeper| keeper.turn(Instant::now())).min();
                if woken.wait(due) {
                    keepers.extend(arriving.try_iter());
                    keepers.into_iter().for_each(Keeper::finish);
                    let _nobody_waits_any_more = end.send(());
                    return;
                }
            }
        };
        std::thread::Builder::new().name("disk".to_owned()).spawn(work)?;
        Ok(DiskThread { signal, new, ended })
    }

    /// The lanes of one more output.
    pub(crate) fn add(&self, keepers: Vec<Keeper>) {
        for keeper in keepers {
            self.signal.wake();
            let _it_has_not_ended_yet = self.new.send(keeper);
        }
        self.signal.wake();
    }

    /// After the outputs have ended: writes what is left, syncs, and saves the positions. Waits for it at most until then.
    pub(crate) async fn stop(mut self, until: tokio::time::Instant) {
        self.signal.stop();
        if tokio::time::timeout_at(until, &mut self.ended).await.is_err() {
            tracing::error!("the disk does not answer: the queues' last entries may not be on it");
        }
    }
}

impl Drop for DiskThread {
    fn drop(&mut self) {
        self.signal.stop();
    }
}

/// The earlier of two times, when there is one.
pub(super) fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
