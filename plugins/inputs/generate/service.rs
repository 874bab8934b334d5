//! The loop: what is due becomes batches, and what was lost on its way is made again, byte for byte.
//!
//! A batch is a few numbers until its memory is granted, and after it was sent: that is all that is kept for its receipt.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use bytes::Bytes;
use sentinel_contract::{
    Batch, Cause, Emitter, Events, Fate, Labels, Log, Metric, Permit, Receipt, Service, Stop,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::generator::{Generator, LONGEST_LINE, Made, Moment, Piece, Scene};
use super::truth::Truth;
use super::{Config, host};

/// Lost data is not made again before this.
const LOST_PAUSE: Duration = Duration::from_secs(1);

/// The input, built and not yet running.
#[derive(Debug)]
pub(super) struct Generating {
    pub(super) config: Config,
    pub(super) scene: Scene,
}

/// A batch, before it is made and after.
#[derive(Clone, Copy, Debug)]
enum Work {
    Lines(Piece),
    Samples(Moment),
}

impl Work {
    fn events(self) -> u64 {
        match self {
            Work::Lines(piece) => piece.lines,
            Work::Samples(_) => host::COUNT as u64,
        }
    }
}

/// What receipts say. What is lost is at most what memory holds and a pause adds.
#[derive(Debug, Default)]
struct Books {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    lost: Vec<Work>,
    /// Events under way.
    open: u64,
}

impl Books {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The receipt of a batch that is about to be sent.
    fn receipt(self: &Arc<Self>, work: Work) -> Receipt {
        self.locked().open += work.events();
        let books = Arc::clone(self);
        Receipt::new(move |fate| {
            let mut state = books.locked();
            state.open -= work.events();
            if fate == Fate::Lost {
                state.lost.push(work);
                drop(state);
                books.arrived.notify_one();
            }
        })
    }

    /// What was lost and not made again, and what is under way.
    fn missing(&self) -> u64 {
        let state = self.locked();
        state.open + state.lost.iter().map(|work| work.events()).sum::<u64>()
    }
}

/// The state of the loop.
struct Loop {
    generator: Generator,
    out: Emitter,
    stop: Stop,
    streams: Vec<Arc<Labels>>,
    books: Arc<Books>,
    /// When what was lost is made again.
    again_at: Option<Instant>,
    scratch: Vec<u8>,
    started: Instant,
    start_ns: i64,
}

#[async_trait::async_trait]
impl Service for Generating {
    async fn run(self: Box<Self>, out: Emitter, stop: Stop) -> Result<(), Cause> {
        let Generating { config, mut scene } = *self;
        let mut truth = open_truth(&config.truth).await?;
        scene.start_ns = unix_ns();
        let generator = Generator::new(&config, scene.clone())
            .map_err(|errors| anyhow::anyhow!("{}", errors[0]))?;
        let streams = generator.sources().iter().map(|source| {
            let labels = [("job", source.data.as_str()), ("host", &source.host)];
            Arc::new(scene.labels.with(labels))
        });
        let mut this = Loop {
            streams: streams.collect(),
            generator,
            out,
            stop,
            books: Arc::default(),
            again_at: None,
            scratch: Vec::new(),
            started: Instant::now(),
            start_ns: scene.start_ns,
        };
        while !this.stop.reading.is_cancelled() {
            this.repeat().await;
            match this.generator.next(this.now_ns()) {
                Some(Made::Truth(line)) => {
                    if let Some(open) = truth.take() {
                        truth = Some(tell(open, line).await?);
                    }
                }
                Some(Made::Lines(piece)) => this.send(Work::Lines(piece)).await,
                Some(Made::Samples(moment)) => this.send(Work::Samples(moment)).await,
                None => this.wait().await,
            }
        }
        this.end().await;
        Ok(())
    }
}

impl Loop {
    /// The time, by a clock that never steps.
    fn now_ns(&self) -> i64 {
        self.start_ns + self.started.elapsed().as_nanos() as i64
    }

    /// Makes again what was lost, when it is time.
    async fn repeat(&mut self) {
        if self.again_at.is_none() && !self.books.locked().lost.is_empty() {
            self.again_at = Some(Instant::now() + LOST_PAUSE);
        }
        if self.again_at.is_some_and(|at| at <= Instant::now()) {
            self.again_at = None;
            let lost = std::mem::take(&mut self.books.locked().lost);
            let events: u64 = lost.iter().map(|work| work.events()).sum();
            let message = format!("{events} events were lost on their way, and are made again");
            self.out.counters.error(self.now_ns() / 1_000_000, message);
            for work in lost {
                self.send(work).await;
            }
        }
    }

    /// Waits for the next step, a lost batch, the time to make it again, or the end.
    async fn wait(&self) {
        let due_ns = self.generator.due_ns() - self.start_ns;
        let mut due = self.started + Duration::from_nanos(due_ns.max(0) as u64);
        if self.generator.is_done() {
            due = Instant::now() + Duration::from_secs(3600);
        }
        if let Some(again) = self.again_at {
            due = due.min(again);
        }
        tokio::select! {
            () = self.stop.reading.cancelled() => {}
            () = self.books.arrived.notified() => {}
            () = sleep_until(due) => {}
        }
    }

    /// Makes a batch once there is memory for it, and hands it over.
    async fn send(&mut self, work: Work) {
        let bytes = match work {
            Work::Lines(piece) => piece.lines as usize * (LONGEST_LINE + size_of::<Log>()),
            Work::Samples(_) => host::COUNT * size_of::<Metric>(),
        };
        let permit = tokio::select! {
            permit = self.out.reserve(bytes) => permit,
            () = self.stop.reading.cancelled() => {
                self.books.locked().lost.push(work);
                return;
            }
        };
        let (events, order) = match work {
            Work::Lines(piece) => (Events::Logs(self.lines(&piece)), piece.source),
            Work::Samples(moment) => {
                let order = self.streams.len() + moment.host;
                (Events::Metrics(self.generator.samples(moment)), order)
            }
        };
        let mut permit: Permit = permit;
        permit.shrink(events.bytes());
        let mut batch = Batch::new(Arc::clone(&self.out.origin), events);
        (batch.source, batch.order) = (order as u64, order as u64);
        batch.receipt = Some(self.books.receipt(work));
        batch.permit = Some(permit);
        self.out.send(batch).await;
    }

    /// The lines of a piece, as slices of one buffer.
    fn lines(&mut self, piece: &Piece) -> Vec<Log> {
        self.scratch.clear();
        self.generator.write(piece, &mut self.scratch);
        let bytes = Bytes::copy_from_slice(&self.scratch); // of its exact size, as it is charged
        let stream = &self.streams[piece.source];
        let mut logs = Vec::with_capacity(piece.lines as usize);
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &bytes) {
            let time_ns = piece.time_ns + logs.len() as i64 * piece.gap_ns;
            let body = bytes.slice(from..end);
            logs.push(Log { stream: Arc::clone(stream), time_ns, body, fields: None });
            from = end + 1;
        }
        logs
    }

    /// Takes receipts until none comes any more; what is not delivered then is not made by the next run.
    async fn end(self) {
        let Loop { out, stop, books, .. } = self;
        let counters = Arc::clone(&out.counters);
        drop(out);
        stop.finished.cancelled().await;
        counters.drop_events("stopped", books.missing());
    }
}

async fn open_truth(path: &str) -> Result<Option<Truth>, Cause> {
    if path.is_empty() {
        return Ok(None);
    }
    let path = PathBuf::from(path);
    let open = move || {
        Truth::open(&path)
            .with_context(|| format!("the truth file {} cannot be opened", path.display()))
    };
    Ok(Some(tokio::task::spawn_blocking(open).await??))
}

/// Appends a line; gives the file back.
async fn tell(mut truth: Truth, line: String) -> Result<Truth, Cause> {
    let write =
        move || truth.tell(&line).map(|()| truth).context("the truth file cannot be written");
    tokio::task::spawn_blocking(write).await?
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64
}
