//! A compacted topic in which it is kept what observers know of partitions (as Kafka Streams keeps its stores in changelog topics,
//! kafka.apache.org/documentation/streams/architecture).
//!
//! A record is one part of one observer; its key says of which group, partition, observer and part, and a later record of
//! the same key takes its place. The head of a partition, written last, says up to which message its parts know.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::bail;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Cause, Part};
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

/// How long brokers may take for one question.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long what was given may take to be written.
pub(super) const WRITE: Duration = Duration::from_secs(20);
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

/// The value of the record that says how far the others go: a version, and the message after the last one they know.
pub(super) fn head(upto: i64) -> String {
    format!("{VERSION} {upto}")
}

fn upto(head: &[u8]) -> Option<i64> {
    let (version, upto) = std::str::from_utf8(head).ok()?.split_once(' ')?;
    if version.parse() == Ok(VERSION) { upto.parse().ok() } else { None }
}

/// What is kept of one partition.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) upto: Option<i64>,
    pub(super) parts: Vec<Part>,
}

/// The topic.
pub(super) struct Store {
    topic: Topic,
    pub(super) producer: ThreadedProducer<Written>,
    /// How many partitions it had when it was last read; 0: not known yet.
    partitions: AtomicUsize,
}

impl Store {
    pub(super) fn new(topic: Topic, counters: &Arc<Counters>) -> Result<Store, Cause> {
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

    pub(super) fn key(&self, partition: &str, observer: &str, part: &str) -> String {
        format!("{}\n{partition}\n{observer}\n{part}", self.topic.group)
    }

    pub(super) fn failed(&self) -> usize {
        self.producer.context().last.lock().map_or(0, |last| last.0)
    }

    /// Appends a record; `None`: what was there goes. Waits for room.
    pub(super) fn write(&self, order: u64, key: &str, value: Option<&[u8]>) -> Result<(), Cause> {
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
    pub(super) fn read_again(
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
                bail!("what is kept is too much to be read in time");
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
pub(super) struct Written {
    counters: Arc<Counters>,
    /// How many were not, and why the last was not.
    last: Mutex<(usize, String)>,
}

impl Written {
    pub(super) fn words(&self) -> String {
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
