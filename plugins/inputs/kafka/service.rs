//! The asynchronous half: grants memory to the reader's thread, and passes on what it read.

use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::{Cause, Emitter, Labels, Permit, Service, Stop};
use sentinel_transport::kafka::Heard;
use sentinel_transport::kafka::rdkafka::consumer::Consumer as _;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::Settings;
use super::books::Books;
use super::group::{Consumer, Group};
use super::keep::Keep;
use super::labels::Labeller;
use super::message::Maker;
use super::payload::Decoder;
use super::probe;
use super::reader::{Grant, Reader, Round};
use super::store::Topic;

/// Rounds that are granted or on their way to the lane at once.
const ROUNDS: usize = 3;

/// How long memory for what is fetched ahead is waited for, before it is tried with half as much.
const PATIENCE: Duration = Duration::from_secs(1);

/// How memory is shared: what librdkafka holds of messages that nobody has asked for yet (its queue, and one answer of a broker on
/// its way into it), and what a round takes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shares {
    pub(super) queued: usize,
    pub(super) fetch: usize,
    pub(super) round: usize,
}

impl Shares {
    /// Of a budget of so many bytes half at most is for librdkafka.
    pub(super) fn of(budget: usize) -> Shares {
        // Not less than the largest message of a broker with default settings, which librdkafka insists on.
        let fetch = (budget / 8).clamp(1_000_000, 2 << 20);
        let queued = (budget / 2).saturating_sub(fetch).clamp(256 << 10, 4 << 20);
        Shares { queued, fetch, round: (budget / 16).clamp(64 << 10, 512 << 10) }
    }
}

/// What librdkafka may hold of messages before we ask for them, and the memory for it, which it has for as long as the input
/// runs. A share that is not free after a moment (other such inputs have theirs) is tried with half as much: whoever waits in the
/// row for what never comes keeps all others from reading.
pub(super) async fn room(out: &Emitter) -> (Shares, Option<Permit>) {
    let mut budget = out.budget();
    for _half in 0..4 {
        let shares = Shares::of(budget);
        let fetched = (shares.queued + shares.fetch).min(out.budget() / 2);
        // What is fetched ahead is of no use without room to read it.
        let all = out.reserve(fetched + ROUNDS * shares.round);
        if let Ok(mut permit) = tokio::time::timeout(PATIENCE, all).await {
            permit.shrink(fetched);
            return (shares, Some(permit));
        }
        budget /= 2;
    }
    tracing::warn!(
        "there is no memory for what is fetched ahead: it is not counted (raise agent.memory)"
    );
    out.counters.count("uncharged", 1);
    (Shares::of(budget), None)
}

/// Between the reader's thread and us: it asks for memory, is granted some, and sends what it read.
struct Ways {
    asks: mpsc::Sender<()>,
    grants: mpsc::Receiver<Grant>,
    rounds: mpsc::Sender<Round>,
}

/// The input.
pub(super) struct Kafka {
    pub(super) settings: Arc<Settings>,
    pub(super) tags: Arc<Labels>,
}

#[async_trait::async_trait]
impl Service for Kafka {
    async fn run(self: Box<Self>, out: Emitter, stop: Stop) -> Result<(), Cause> {
        let (shares, _fetched) = tokio::select! {
            room = room(&out) => room,
            () = stop.reading.cancelled() => return Ok(()),
        };
        let (asks, mut asked) = mpsc::channel(1);
        let (grants, granted) = mpsc::channel(1);
        let (rounds, mut read) = mpsc::channel::<Round>(ROUNDS);
        let reader =
            self.reader(&out, &shares, Ways { asks, grants: granted, rounds }, stop.clone())?;
        let mut thread = tokio::task::spawn_blocking(move || reader.run());
        let feed = async {
            let turns = Arc::new(Semaphore::new(ROUNDS));
            while let Some(()) = asked.recv().await {
                let turn = Arc::clone(&turns).acquire_owned().await?;
                let permit = out.reserve(shares.round).await;
                if grants.send(Grant { permit, turn }).await.is_err() {
                    break;
                }
            }
            Ok::<(), Cause>(())
        };
        let pass = async {
            while let Some(round) = read.recv().await {
                for batch in round.batches {
                    out.send(batch).await;
                }
            }
        };
        let feed = async {
            tokio::select! {
                _closed = feed => (),
                () = stop.reading.cancelled() => (),
            }
        };
        tokio::select! {
            ended = &mut thread => return ended?, // before it was told to
            ((), ()) = async { tokio::join!(feed, pass) } => (),
        }
        drop(out); // the lane ends
        thread.await?
    }

    fn by_partition(&self) -> bool {
        self.settings.by_partition
    }

    async fn probe(&mut self) -> Option<Result<String, Cause>> {
        Some(probe::probe(Arc::clone(&self.settings)).await)
    }
}

impl Kafka {
    fn reader(
        &self,
        out: &Emitter,
        shares: &Shares,
        ways: Ways,
        stop: Stop,
    ) -> Result<Reader, Cause> {
        let settings = Arc::clone(&self.settings);
        let counters = Arc::clone(&out.counters);
        let keep = match out.observers.clone() {
            Some(observers) => {
                let topic = settings.state.clone();
                let topic = topic.map(|(name, group, client)| Topic { name, group, client });
                Some(Keep::new(observers, topic, &counters)?)
            }
            None => None,
        };
        let group = Group {
            keep,
            settings: Arc::clone(&settings),
            books: Arc::new(Books::default()),
            counters: Arc::clone(&counters),
            heard: Heard::new(settings.tls.clone()),
            rebalances: 0.into(),
            stop: stop.clone(),
            paused: false.into(),
            committing: ().into(),
        };
        let mut client = settings.client.clone();
        for (name, value) in [
            ("queued.max.messages.kbytes", shares.queued >> 10),
            ("fetch.max.bytes", shares.fetch),
            ("fetch.message.max.bytes", shares.fetch / 2),
            ("fetch.queue.backoff.ms", 20), // of so small a queue a second's pause (the default) is most of the time
        ] {
            if client.get(name).is_none() {
                client.set(name, value.to_string()); // a property may say otherwise
            }
        }
        let consumer: Consumer = client.create_with_context(group)?;
        let topics: Vec<&str> = settings.topics.iter().map(String::as_str).collect();
        consumer.subscribe(&topics)?;
        let labels = settings.labels.clone();
        let labeller = Labeller::new(&self.tags, labels, settings.fields.clone());
        let decoder = Decoder::new(settings.format);
        let maker = Maker { origin: Arc::clone(&out.origin), labeller, decoder, counters };
        let Ways { asks, grants, rounds } = ways;
        let (rounds, runtime) = (Some(rounds), Handle::current());
        Ok(Reader { settings, consumer, maker, asks, grants, rounds, stop, runtime })
    }
}
