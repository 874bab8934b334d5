//! The thread that reads: librdkafka wants to be asked again and again, from one place, by calls that block.
//!
//! When a message is there it asks for a grant of memory; the round of messages that fit into it becomes batches, one of each
//! partition. Without a grant for a while it pauses the partitions and goes on asking, for events alone: so the member
//! stays in its group however long the outputs take. A topic that is idle holds no grant, which others may need.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Batch, Cause, Permit, Stop};
use sentinel_transport::kafka::rdkafka::Offset;
use sentinel_transport::kafka::rdkafka::consumer::Consumer as _;
use sentinel_transport::kafka::rdkafka::error::KafkaError;
use sentinel_transport::kafka::rdkafka::message::{BorrowedMessage, Message as _};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Settings;
use super::books::Books;
use super::commit::Commits;
use super::group::Consumer;
use super::message::{Maker, Run, cost};

/// How long one call waits for a message when there is none.
const IDLE: Duration = Duration::from_millis(250);
/// A round waits this long for more messages than it has.
const LINGER: Duration = Duration::from_millis(10);
/// After a pause it is so long until librdkafka has asked the broker again; without it each grant would buy one message.
const RESUMED: Duration = Duration::from_millis(1100);
/// Without memory for this long the partitions are paused.
const STALLED: Duration = Duration::from_secs(1);
/// How long one wait for memory lasts, and one call for events while paused.
const STEP: Duration = Duration::from_millis(100);
/// Pauses before what was lost on its way is read again.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// What observers know is kept so soon when it could not be when it was due.
const KEEP_AGAIN: Duration = Duration::from_secs(10);
/// A message larger than a grant waits this long for more memory.
const GROWTH: Duration = Duration::from_secs(10);

/// Memory for a round, and the right to send one.
pub(super) struct Grant {
    pub(super) permit: Permit,
    pub(super) turn: OwnedSemaphorePermit,
}

/// The batches of a round.
pub(super) struct Round {
    pub(super) batches: Vec<Batch>,
    pub(super) _turn: OwnedSemaphorePermit,
}

/// The reader.
pub(super) struct Reader {
    pub(super) settings: Arc<Settings>,
    pub(super) consumer: Consumer,
    pub(super) maker: Maker,
    pub(super) asks: mpsc::Sender<()>,
    pub(super) grants: mpsc::Receiver<Grant>,
    pub(super) rounds: Option<mpsc::Sender<Round>>,
    pub(super) stop: Stop,
    pub(super) runtime: Handle,
}

/// A message, and the assignment by which its partition was ours when it came.
struct Held<'c> {
    assignment: u64,
    message: BorrowedMessage<'c>,
}

/// What the loop keeps from round to round.
#[derive(Default)]
struct State<'c> {
    /// Came, and has no place in a round yet.
    aside: VecDeque<Held<'c>>,
    /// The topic's address, the partition, the rebalances so far, and the assignment that they mean.
    latest: Option<(usize, i32, u64, u64)>,
    paused: bool,
    kept: Option<Instant>,
    lost: Lost,
}

/// A pause after messages were lost on their way: from a second to a minute while that goes on.
#[derive(Default)]
pub(super) struct Lost {
    pub(super) until: Option<Instant>,
    pub(super) pause: Duration,
}

impl Lost {
    pub(super) fn again(&mut self, now: Instant) {
        let calm = self.until.is_none_or(|until| now > until + 2 * LONGEST_PAUSE);
        let longer = if calm { FIRST_PAUSE } else { self.pause * 2 };
        self.pause = longer.min(LONGEST_PAUSE);
        self.until = Some(now + self.pause);
    }
}

impl Reader {
    /// Reads until told to stop, and takes receipts until no more come.
    ///
    /// Errors: what librdkafka cannot recover from; the input is then started again.
    pub(super) fn run(self) -> Result<(), Cause> {
        let Reader { settings, consumer, mut maker, asks, mut grants, mut rounds, stop, runtime } =
            self;
        let shared = Arc::new(consumer);
        let consumer = &*shared;
        let commits = Commits::start(&shared, settings.commit_interval)?;
        let group = Arc::clone(consumer.context());
        let mut state = State::default();
        let mut awaits_grant = false;
        let mut polled = Instant::now();
        let mut handed_over = false;
        while !stop.finished.is_cancelled() {
            if stop.reading.is_cancelled() {
                rounds = None; // the lane ends when nobody can send any more
                while grants.try_recv().is_ok() {}
                if !handed_over && group.books.are_settled() {
                    handed_over = group.keep(|_| true, true); // while outputs flush what is left
                }
                state.serve(consumer, STEP)?;
                continue;
            }
            state.rewind(consumer)?;
            state.keep(consumer, &settings);
            if state.lost.until.is_some_and(|until| Instant::now() < until) {
                state.serve(consumer, STEP)?; // what lost it may lose it again at once
                continue;
            }
            let Some(sink) = &rounds else { break };
            if !awaits_grant {
                if state.aside.is_empty() {
                    state.resume(consumer)?;
                    let first = state.poll(consumer, IDLE)?;
                    polled = Instant::now();
                    let Some(first) = first else { continue };
                    state.aside.push_back(first);
                }
                awaits_grant = asks.try_send(()).is_ok();
            }
            let step = if state.paused { Duration::ZERO } else { STEP };
            let wait = async { tokio::time::timeout(step, grants.recv()).await };
            let Some(mut grant) = runtime.block_on(wait).ok().flatten() else {
                if polled.elapsed() > STALLED {
                    state.serve(consumer, STEP)?;
                }
                continue;
            };
            let linger = if state.paused { RESUMED } else { LINGER };
            state.resume(consumer)?;
            let messages = state.round(consumer, grant.permit.bytes(), linger)?;
            polled = Instant::now();
            // The next grant may come while this round is made into batches.
            awaits_grant = !state.aside.is_empty() && asks.try_send(()).is_ok();
            if messages.is_empty() {
                continue; // what was there is another member's by now
            }
            let bytes = messages.iter().map(|held| cost(&held.message)).sum();
            charge(&mut grant.permit, bytes, &group.counters);
            let batches = batches(&mut maker, messages, grant.permit, &group.books);
            let round = Round { batches, _turn: grant.turn };
            if sink.try_send(round).is_err() && !stop.reading.is_cancelled() {
                anyhow::bail!("the lane does not take messages any more");
            }
        }
        if !handed_over {
            group.keep(|_| true, true);
        }
        commits.finish(consumer);
        group.books.revoke(|_| true); // nothing is waited for when the consumer leaves its group
        Ok(())
    }
}

impl<'c> State<'c> {
    /// The messages that are there, for so many bytes; one at least when there is one. For the second it waits this long.
    fn round(
        &mut self,
        consumer: &'c Consumer,
        bytes: usize,
        linger: Duration,
    ) -> Result<Vec<Held<'c>>, Cause> {
        let mut held: Vec<Held<'c>> = Vec::new();
        let mut taken = 0;
        let mut until = None;
        loop {
            let next = match self.aside.pop_front() {
                Some(next) => next,
                None => match self.next(consumer, until)? {
                    Some(next) => next,
                    None => return Ok(held),
                },
            };
            taken += cost(&next.message);
            if taken > bytes && !held.is_empty() {
                self.aside.push_front(next);
                return Ok(held);
            }
            held.push(next);
            match held.len() {
                1 => until = Some(Instant::now() + linger),
                2 => until = until.min(Some(Instant::now() + LINGER)),
                _ => (),
            }
        }
    }

    /// One message, when it comes until then. Most are there already, and are not waited for: that would ask the clock thrice.
    fn next(
        &mut self,
        consumer: &'c Consumer,
        until: Option<Instant>,
    ) -> Result<Option<Held<'c>>, Cause> {
        let Some(until) = until else { return self.poll(consumer, IDLE) };
        match self.poll(consumer, Duration::ZERO)? {
            None => self.poll(consumer, until.saturating_duration_since(Instant::now())),
            there => Ok(there),
        }
    }

    /// One message, when it comes in time. What is wrong with brokers and topics is told to the group by librdkafka.
    fn poll(&mut self, consumer: &'c Consumer, wait: Duration) -> Result<Option<Held<'c>>, Cause> {
        match consumer.poll(wait) {
            None | Some(Err(KafkaError::MessageConsumption(_) | KafkaError::PartitionEOF(_))) => {
                Ok(None)
            }
            Some(Err(error)) => Err(fatal(consumer, error)),
            Some(Ok(message)) => {
                let assignment = self.assignment(consumer, &message);
                Ok(assignment.map(|assignment| Held { assignment, message }))
            }
        }
    }

    /// By which assignment the message's partition is ours. Messages come in runs: the books are seldom asked.
    fn assignment(&mut self, consumer: &Consumer, message: &BorrowedMessage<'_>) -> Option<u64> {
        let group = consumer.context();
        let (topic, partition) = (message.topic_ptr() as usize, message.partition());
        let rebalances = group.rebalances.load(Relaxed);
        if let Some((t, p, r, assignment)) = self.latest
            && (t, p, r) == (topic, partition, rebalances)
        {
            return Some(assignment);
        }
        let (assignment, _) = group.books.find(message.topic(), partition)?;
        self.latest = Some((topic, partition, rebalances, assignment));
        Some(assignment)
    }

    /// Pauses all partitions and asks for events. A message that comes all the same is put aside.
    fn serve(&mut self, consumer: &'c Consumer, wait: Duration) -> Result<(), Cause> {
        if !self.paused {
            consumer.pause(&consumer.assignment()?)?;
            self.paused = true;
            consumer.context().paused.store(true, Relaxed);
        }
        if let Some(held) = self.poll(consumer, wait)? {
            self.aside.push_back(held);
            consumer.pause(&consumer.assignment()?)?; // a partition that came while the others were paused
        }
        Ok(())
    }

    fn resume(&mut self, consumer: &Consumer) -> Result<(), Cause> {
        if std::mem::take(&mut self.paused) {
            consumer.context().paused.store(false, Relaxed);
            consumer.resume(&consumer.assignment()?)?;
        }
        Ok(())
    }

    /// Reads again what was lost on its way.
    fn rewind(&mut self, consumer: &Consumer) -> Result<(), Cause> {
        let group = consumer.context();
        for ((topic, partition), offset) in group.books.take_lost() {
            let words = format!(
                "{topic}/{partition}: messages were lost on their way, and are read again from offset {offset}"
            );
            group.complain("lost", &words);
            group.counters.clear_note("lost"); // nobody has to mend it
            self.lost.again(Instant::now());
            self.aside.retain(|held| {
                held.message.topic() != &*topic || held.message.partition() != partition
            });
            consumer.seek(&topic, partition, Offset::Offset(offset), GROWTH)?;
        }
        Ok(())
    }

    /// Keeps what observers know by now, when that is due.
    fn keep(&mut self, consumer: &Consumer, settings: &Settings) {
        let now = Instant::now();
        if now - *self.kept.get_or_insert(now) >= settings.state_interval {
            let kept = consumer.context().keep(|_| true, false);
            // Soon again when it could not be.
            let again = settings.state_interval.saturating_sub(KEEP_AGAIN);
            self.kept = if kept { Some(now) } else { now.checked_sub(again).or(Some(now)) };
        }
    }
}

/// Takes what the messages are more than the grant, or gives back what they are less. Goes on uncharged after a while: they
/// are in memory already.
fn charge(permit: &mut Permit, bytes: usize, counters: &Counters) {
    permit.shrink(bytes);
    let until = Instant::now() + GROWTH;
    while permit.bytes() < bytes && !permit.try_grow(bytes - permit.bytes()) {
        if Instant::now() > until {
            counters.count("uncharged", 1);
            return;
        }
        std::thread::sleep(STEP / 5);
    }
}

/// The batches of a round: those of one partition together, in their order.
fn batches(
    maker: &mut Maker,
    mut messages: Vec<Held<'_>>,
    mut permit: Permit,
    books: &Arc<Books>,
) -> Vec<Batch> {
    messages.sort_by_key(|held| held.assignment); // stable
    let mut batches = Vec::new();
    for run in messages.chunk_by(|a, b| a.assignment == b.assignment) {
        let assignment = run[0].assignment;
        let bounds = books.bounds(assignment);
        let audience = |held: &Held<'_>| bounds.audience(held.message.offset());
        for run in run.chunk_by(|a, b| audience(a) == audience(b)) {
            let (audience, messages) = (audience(&run[0]), run.iter().map(|held| &held.message));
            let run = Run { assignment, audience, messages };
            maker.make(run, books, &mut permit, &mut batches);
        }
    }
    batches
}

/// An error after which librdkafka does nothing more, with its own words.
fn fatal(consumer: &Consumer, error: KafkaError) -> Cause {
    match consumer.client().fatal_error() {
        Some((_, words)) => anyhow::anyhow!("{words}"),
        None => error.into(),
    }
}
