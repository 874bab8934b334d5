//! What observers know of a partition, kept in a compacted topic, so that it moves with the partition (as Kafka Streams keeps its
//! stores in changelog topics, kafka.apache.org/documentation/streams/architecture).
//!
//! A record is one part of one observer; its key says of which group, partition, observer and part, and a later record of
//! the same key takes its place. The head of a partition, written last, says up to which message its parts know. A member that gets
//! the partition reads on from there: what the outputs have already is for its observers only, and the other way round.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, bail};
use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Cause, Observers, Part};
use sentinel_transport::kafka::heard;
use sentinel_transport::kafka::rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, TopicReplication,
};
use sentinel_transport::kafka::rdkafka::client::{ClientContext, DefaultClientContext};
use sentinel_transport::kafka::rdkafka::config::RDKafkaLogLevel;
use sentinel_transport::kafka::rdkafka::consumer::{BaseConsumer, Consumer as _};
use sentinel_transport::kafka::rdkafka::error::KafkaError;
use sentinel_transport::kafka::rdkafka::message::{DeliveryResult, Message as _};
use sentinel_transport::kafka::rdkafka::producer::{
    BaseRecord, Producer as _, ProducerContext, ThreadedProducer,
};
use sentinel_transport::kafka::rdkafka::types::RDKafkaErrorCode;
use sentinel_transport::kafka::rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokio::runtime::Handle;

/// How long brokers may take for one question, and for all that is kept of the partitions that come at once.
const PATIENCE: Duration = Duration::from_secs(10);
const RESTORE: Duration = Duration::from_secs(60);
/// How long what was given may take to be written.
const WRITE: Duration = Duration::from_secs(20);
/// A full queue is looked at again after so long.
const STEP: Duration = Duration::from_millis(20);
/// Partitions of a topic that is made.
const PARTITIONS: i32 = 12;
/// The largest part: a model of sixty signals is some 400 KB.
const LARGEST: &str = "8388608";
const VERSION: u32 = 1;

/// Where it is kept.
pub(super) struct Topic {
    pub(super) name: String,
    pub(super) group: String,
    /// How brokers are spoken to.
    pub(super) client: ClientConfig,
}

/// What observers know of our partitions, and where it is kept.
pub(super) struct Keep {
    pub(super) observers: Observers,
    pub(super) runtime: Handle,
    /// `None`: nowhere; they begin anew with each partition.
    store: Option<Store>,
    /// Partitions of which what is kept could not be read: it is not written over.
    unread: Mutex<HashSet<u64>>,
}

/// A partition's name, its number among batches, and the message after the last one that observers know.
pub(super) struct Known {
    pub(super) name: Arc<str>,
    pub(super) order: u64,
    pub(super) upto: i64,
}

/// The value of the record that says how far the others go: a version, and the message after the last one they know.
fn head(upto: i64) -> String {
    format!("{VERSION} {upto}")
}

fn upto(head: &[u8]) -> Option<i64> {
    let (version, upto) = std::str::from_utf8(head).ok()?.split_once(' ')?;
    if version.parse() == Ok(VERSION) { upto.parse().ok() } else { None }
}

impl Keep {
    pub(super) fn new(
        observers: Observers,
        topic: Option<Topic>,
        counters: &Arc<Counters>,
    ) -> Result<Keep, Cause> {
        let store = topic.map(|topic| Store::new(topic, counters)).transpose()?;
        Ok(Keep { observers, runtime: Handle::current(), store, unread: Mutex::default() })
    }

    /// There is a place for it.
    pub(super) fn is_kept(&self) -> bool {
        self.store.is_some()
    }

    fn unread(&self) -> MutexGuard<'_, HashSet<u64>> {
        self.unread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These partitions are ours: their observers begin with what is kept. Of each the message after the last one that they
    /// know, if anything is kept.
    ///
    /// Errors: it cannot be read; the observers begin anew.
    pub(super) fn begin(&self, partitions: &[(Arc<str>, u64)]) -> Result<Vec<Option<i64>>, Cause> {
        let mut read = match &self.store {
            Some(store) => store.read_again(partitions, &self.runtime, Instant::now() + RESTORE),
            None => Ok(BTreeMap::new()),
        };
        for (_, order) in partitions {
            if read.is_ok() {
                self.unread().remove(order)
            } else {
                self.unread().insert(*order)
            };
        }
        let mut upto = Vec::with_capacity(partitions.len());
        for (name, order) in partitions {
            let kept = read.as_mut().ok().and_then(|read| read.remove(name)).unwrap_or_default();
            // Parts without a head are of a first write that did not come to its end.
            let parts = if kept.upto.is_some() { kept.parts } else { Vec::new() };
            upto.push(kept.upto);
            let begun = self.observers.begin(*order, Arc::clone(name), parts);
            if !self.runtime.block_on(begun) {
                tracing::warn!(partition = &**name, "its observers take long to begin");
            }
        }
        read.map(|_| upto)
    }

    /// Writes what changed of these partitions, and waits until it is written; with `last` their observers end.
    ///
    /// Errors: not all of it was.
    pub(super) fn save(&self, known: &[Known], last: bool) -> Result<(), Cause> {
        let failed = self.store.as_ref().map(Store::failed);
        let mut outcome = Ok(());
        for known in known {
            if let Err(error) = self.save_one(known, last) {
                outcome = Err(error); // the others are written all the same
            }
        }
        let (Some(store), Some(failed)) = (&self.store, failed) else { return outcome };
        let flushed = store.producer.flush(WRITE).context("what observers know is not written yet");
        let outcome = outcome.and(flushed).and_then(|()| match store.failed() {
            now if now > failed => Err(anyhow!("{}", store.producer.context().words())),
            _ => Ok(()),
        });
        if outcome.is_err() && !last {
            known.iter().for_each(|known| self.observers.unsaved(known.order));
        }
        outcome
    }

    fn save_one(&self, known: &Known, last: bool) -> Result<(), Cause> {
        let Known { name, order, upto } = known;
        let is_unread = self.unread().contains(order);
        let store = self.store.as_ref().filter(|_| !is_unread);
        let mut outcome = Ok(());
        let take = |part: Part| {
            if let (Some(store), Ok(())) = (store, &outcome) {
                let key = store.key(name, &part.observer, &part.name);
                outcome = store.write(*order, &key, part.bytes.as_deref());
            }
        };
        if !self.runtime.block_on(self.observers.save(*order, last, take)) {
            bail!("{name}: its observers do not say what they know");
        }
        outcome?;
        if is_unread {
            bail!("{name}: what was kept could not be read when it came, and is not written over");
        }
        let Some(store) = store.filter(|_| *upto > i64::MIN) else { return Ok(()) };
        store.write(*order, &store.key(name, "", ""), Some(head(*upto).as_bytes()))
    }
}

/// What is kept of one partition.
#[derive(Default)]
struct Kept {
    upto: Option<i64>,
    parts: Vec<Part>,
}

/// The topic.
struct Store {
    topic: Topic,
    producer: ThreadedProducer<Written>,
    /// How many partitions it had when it was last read; 0: not known yet.
    partitions: AtomicUsize,
}

impl Store {
    fn new(topic: Topic, counters: &Arc<Counters>) -> Result<Store, Cause> {
        let mut client = topic.client.clone();
        client
            .set("enable.idempotence", "true")
            .set("compression.type", "zstd")
            .set("linger.ms", "20")
            .set("message.max.bytes", LARGEST)
            .set("message.timeout.ms", WRITE.as_millis().to_string())
            .set("queue.buffering.max.kbytes", "32768");
        let written = Written { counters: Arc::clone(counters), last: Mutex::default() };
        let producer = client.create_with_context(written)?;
        Ok(Store { producer, topic, partitions: AtomicUsize::new(0) })
    }

    fn key(&self, partition: &str, observer: &str, part: &str) -> String {
        format!("{}\n{partition}\n{observer}\n{part}", self.topic.group)
    }

    fn failed(&self) -> usize {
        self.producer.context().last.lock().map_or(0, |last| last.0)
    }

    /// Appends a record; `None`: what was there goes. Waits for room.
    fn write(&self, order: u64, key: &str, value: Option<&[u8]>) -> Result<(), Cause> {
        let count = match self.partitions.load(Relaxed) {
            0 => self.count()?,
            count => count,
        };
        let partition = (order % count as u64) as i32;
        let mut record: BaseRecord<'_, str, [u8]> =
            BaseRecord::to(&self.topic.name).partition(partition).key(key);
        record.payload = value;
        let until = Instant::now() + WRITE;
        loop {
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                    if Instant::now() < until =>
                {
                    record = back;
                    std::thread::sleep(STEP);
                }
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge), _)) => {
                    // The others are of use without it.
                    self.producer.context().counters.count("state_too_large", 1);
                    tracing::warn!(key = key.replace('\n', " "), "too large to be kept");
                    return Ok(());
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
    }

    /// How many partitions the topic has.
    fn count(&self) -> Result<usize, Cause> {
        let metadata = self.producer.client().fetch_metadata(Some(&self.topic.name), PATIENCE)?;
        let found = metadata.topics().iter().find(|found| found.name() == self.topic.name);
        match found {
            Some(found) if !found.partitions().is_empty() => {
                self.partitions.store(found.partitions().len(), Relaxed);
                Ok(found.partitions().len())
            }
            _ => bail!("the topic \"{}\" is not there", self.topic.name),
        }
    }

    /// All that is kept of these partitions. Until then it is tried again.
    fn read_again(
        &self,
        partitions: &[(Arc<str>, u64)],
        runtime: &Handle,
        until: Instant,
    ) -> Result<BTreeMap<Arc<str>, Kept>, Cause> {
        loop {
            match self.read(partitions, runtime, until) {
                Err(error) if Instant::now() < until => {
                    tracing::debug!(%error, "what is kept is read again");
                    std::thread::sleep(STEP * 10);
                }
                read => return read,
            }
        }
    }

    fn read(
        &self,
        partitions: &[(Arc<str>, u64)],
        runtime: &Handle,
        until: Instant,
    ) -> Result<BTreeMap<Arc<str>, Kept>, Cause> {
        let count = match self.count() {
            Ok(count) => count,
            Err(missing) => runtime.block_on(self.make()).map_err(|why| missing.context(why))?,
        };
        let client = self
            .topic
            .client
            .clone()
            .set("group.id", &self.topic.group) // is not joined: a reader must have one
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", "8192")
            .to_owned();
        let consumer: BaseConsumer = client.create()?;
        let wanted: HashSet<i32> =
            partitions.iter().map(|(_, order)| (order % count as u64) as i32).collect();
        let mut from = TopicPartitionList::new();
        for partition in &wanted {
            from.add_partition_offset(&self.topic.name, *partition, Offset::Beginning)?;
        }
        consumer.assign(&from)?;
        let mut latest: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        let mut ended = HashSet::new();
        while ended.len() < wanted.len() {
            match consumer.poll(STEP) {
                Some(Ok(message)) => {
                    let Some(Ok(key)) = message.key_view::<str>() else { continue };
                    let ours = |(name, _): &(Arc<str>, u64)| self.is_of(key, name);
                    if partitions.iter().any(ours) {
                        match message.payload() {
                            Some(value) => _ = latest.insert(key.to_owned(), value.to_owned()),
                            None => _ = latest.remove(key),
                        }
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => _ = ended.insert(partition),
                Some(Err(error)) => tracing::debug!(%error, "while what is kept is read"),
                None => (),
            }
            if Instant::now() > until {
                bail!("{} s were not enough to read what is kept", RESTORE.as_secs());
            }
        }
        Ok(sort(latest))
    }

    fn is_of(&self, key: &str, partition: &str) -> bool {
        let rest = key.strip_prefix(&*self.topic.group).and_then(|rest| rest.strip_prefix('\n'));
        let rest = rest.and_then(|rest| rest.strip_prefix(partition));
        rest.is_some_and(|rest| rest.starts_with('\n'))
    }

    /// Makes the topic. How many partitions it has.
    async fn make(&self) -> Result<usize, Cause> {
        let admin: AdminClient<DefaultClientContext> = self.topic.client.create()?;
        let topic = NewTopic::new(&self.topic.name, PARTITIONS, TopicReplication::Fixed(-1))
            .set("cleanup.policy", "compact")
            .set("max.message.bytes", LARGEST);
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        for made in admin.create_topics([&topic], &options).await? {
            match made {
                Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => (),
                Err((topic, error)) => bail!("cannot make the topic \"{topic}\": {error}"),
            }
        }
        tracing::info!(
            topic = self.topic.name,
            "made, compacted: what observers know is kept there"
        );
        Ok(PARTITIONS as usize)
    }
}

/// Records by partition.
fn sort(latest: BTreeMap<String, Vec<u8>>) -> BTreeMap<Arc<str>, Kept> {
    let mut sorted: BTreeMap<Arc<str>, Kept> = BTreeMap::new();
    for (key, value) in latest {
        let mut words = key.splitn(4, '\n').skip(1);
        let (Some(name), Some(observer), Some(part)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let kept = sorted.entry(name.into()).or_default();
        if observer.is_empty() {
            kept.upto = upto(&value);
        } else {
            let (observer, name) = (observer.into(), part.to_owned());
            kept.parts.push(Part { observer, name, bytes: Some(value) });
        }
    }
    sorted
}

/// Hears what became of what was written.
struct Written {
    counters: Arc<Counters>,
    /// How many were not, and why the last was not.
    last: Mutex<(usize, String)>,
}

impl Written {
    fn words(&self) -> String {
        self.last.lock().map_or_else(|_| String::new(), |last| last.1.clone())
    }
}

impl ClientContext for Written {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        heard::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "where what observers know is kept");
    }
}

impl ProducerContext for Written {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => self.counters.count("state_bytes", message.payload_len() as u64),
            Err((error, _)) => {
                if let Ok(mut last) = self.last.lock() {
                    *last = (last.0 + 1, error.to_string());
                }
            }
        }
    }
}
