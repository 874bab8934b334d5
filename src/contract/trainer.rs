//! The handle on the training thread: one job at a time, at low priority, the result fetched when it is there.
//! While the host is short, jobs wait: but not for ever, for a model that is never renewed grows wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use crate::pressure::{Level, Pressure};

type Job = Box<dyn FnOnce() + Send>;

/// Jobs that may wait for their turn; more are refused, and their detectors ask again. Each holds what it is to be compared
/// with, tens of kilobytes; so many are done in a minute or less.
const WAITING_JOBS: usize = 512;

/// How long a job waits for a host that is short: a sixth of the day after which models are trained again.
pub const LONGEST_WAIT: Duration = Duration::from_hours(4);

/// Hands jobs to the training thread; shared by cloning.
#[derive(Clone, Debug)]
pub struct Trainer {
    /// `None`: jobs run where they are submitted.
    jobs: Option<SyncSender<(Instant, Place, Job)>>,
    /// Jobs that wait.
    waiting: Arc<AtomicUsize>,
}

/// The right to wait for the training thread; given back when dropped.
#[derive(Debug)]
pub struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A job's result, when it is there.
#[derive(Debug)]
pub struct Pending<T> {
    result: Receiver<T>,
}

/// What [`Pending::poll`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Polled<T> {
    /// Here it is.
    Ready(T),
    /// Not yet.
    Working,
    /// The job panicked or was never run.
    Failed,
}

impl Trainer {
    /// A trainer and the work of its thread, which ends when the last trainer is gone. `prepare` runs first, on that
    /// thread: it lowers the priority. `after` runs after each job: it gives memory back. A job waits before it runs while `pressure` asks for it, at most
    /// [`LONGEST_WAIT`] after it was submitted.
    pub fn new(
        pressure: Pressure,
        prepare: impl FnOnce() + Send + 'static,
        mut after: impl FnMut() + Send + 'static,
    ) -> (Self, impl FnOnce() + Send + 'static) {
        let (jobs, queue) = sync_channel::<(Instant, Place, Job)>(WAITING_JOBS);
        let waiting = Arc::new(AtomicUsize::new(0));
        let work = move || {
            prepare();
            for (submitted, place, job) in queue {
                drop(place);
                pressure.wait_below(Level::Models, submitted + LONGEST_WAIT);
                // A panicking job drops its sender: the detector sees `Failed` and says so.
                let _failed = catch_unwind(AssertUnwindSafe(job));
                after();
            }
        };
        (Trainer { jobs: Some(jobs), waiting }, work)
    }

    /// A trainer without a thread: a job runs inside [`Trainer::submit`], so that [`Pending::poll`] never answers
    /// [`Polled::Working`]. For replay, where the same data must give the same models at the same frames.
    pub fn waiting() -> Self {
        Trainer { jobs: None, waiting: Arc::default() }
    }

    /// A trainer whose thread is started here, at normal priority: for tests and `once`.
    pub fn immediate() -> Self {
        let (trainer, work) = Trainer::new(Pressure::default(), || (), || ());
        std::thread::spawn(work);
        trainer
    }

    /// As many jobs wait as may: another would be refused.
    pub fn is_full(&self) -> bool {
        self.waiting.load(Relaxed) >= WAITING_JOBS
    }

    /// A place for a job that may wait, while there is one.
    pub fn place(&self) -> Option<Place> {
        let one_more = |waiting| (waiting < WAITING_JOBS).then_some(waiting + 1);
        self.waiting.fetch_update(Relaxed, Relaxed, one_more).ok()?;
        Some(Place(Arc::clone(&self.waiting)))
    }

    /// Queues a job, or runs it here and now ([`Trainer::waiting`]). When the queue is full the result is
    /// [`Polled::Failed`] at once.
    pub fn submit<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        match self.place() {
            Some(place) => self.submit_at(place, job),
            None => Pending { result: sync_channel(1).1 },
        }
    }

    /// The same for a job that has its place.
    pub fn submit_at<T: Send + 'static>(
        &self,
        place: Place,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> Pending<T> {
        let (sender, result) = sync_channel(1);
        let job: Job = Box::new(move || {
            let _nobody_waits = sender.send(job());
        });
        if let Some(jobs) = &self.jobs {
            // There is room for all that have a place. After its thread ended: the job is dropped, and has failed.
            let _ended = jobs.try_send((Instant::now(), place, job));
        } else {
            let _failed = catch_unwind(AssertUnwindSafe(job));
        }
        Pending { result }
    }
}

impl<T> Pending<T> {
    /// Looks without waiting.
    pub fn poll(&self) -> Polled<T> {
        match self.result.try_recv() {
            Ok(value) => Polled::Ready(value),
            Err(TryRecvError::Empty) => Polled::Working,
            Err(TryRecvError::Disconnected) => Polled::Failed,
        }
    }

    /// Waits; `None` when the job failed.
    pub fn wait(self) -> Option<T> {
        self.result.recv().ok()
    }
}
