//! A real Kafka broker for the tests, and what is seen of it from outside: topics, messages, committed offsets.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use sentinel_transport::kafka::rdkafka::admin::{
    AdminClient, AdminOptions, NewTopic, TopicReplication,
};
use sentinel_transport::kafka::rdkafka::client::DefaultClientContext;
use sentinel_transport::kafka::rdkafka::config::RDKafkaLogLevel;
use sentinel_transport::kafka::rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use sentinel_transport::kafka::rdkafka::error::RDKafkaErrorCode;
use sentinel_transport::kafka::rdkafka::message::{Message as _, OwnedMessage};
use sentinel_transport::kafka::rdkafka::metadata::MetadataPartition;
use sentinel_transport::kafka::rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use sentinel_transport::kafka::rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::live::stack::Server;

/// How long the broker may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The broker.
pub(crate) struct Broker {
    pub(crate) server: Server,
}

impl Broker {
    /// Starts one in a folder of its own below `dir`.
    pub(crate) fn start(dir: &Path) -> Broker {
        Broker { server: Server::start("kafka", dir) }
    }

    /// Its address.
    pub(crate) fn address(&self) -> &str {
        &self.server.url
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", self.address()).set_log_level(RDKafkaLogLevel::Critical);
        config
    }

    /// Makes a topic, with settings such as ("max.message.bytes", "1000").
    pub(crate) fn topic(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().unwrap();
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        for (name, value) in settings {
            topic = topic.set(name, value);
        }
        let options = AdminOptions::new().operation_timeout(Some(PATIENCE));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = runtime.block_on(admin.create_topics([&topic], &options)).unwrap();
        assert_eq!(made.len(), 1);
        made.into_iter().next().unwrap().unwrap();
    }

    /// Puts messages into a topic, each by its number: a key, and a text.
    pub(crate) fn produce(&self, topic: &str, numbers: Range<u64>, text: impl Fn(u64) -> String) {
        let producer = self.producer();
        producer.send(topic, numbers, |number, line| line.push_str(&text(number)));
        producer.flush();
    }

    /// Somebody who puts messages into topics.
    pub(crate) fn producer(&self) -> Producer {
        Producer(
            self.config().set("linger.ms", "5").set("enable.idempotence", "true").create().unwrap(),
        )
    }

    /// The messages of a topic, from its beginning to its end as it is now.
    pub(crate) fn messages(&self, topic: &str) -> Vec<OwnedMessage> {
        let consumer: BaseConsumer = self.config().set("group.id", "tests").create().unwrap();
        let ends = ends(&consumer, topic);
        let mut all = TopicPartitionList::new();
        for (partition, _) in &ends {
            all.add_partition_offset(topic, *partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let wanted: i64 = ends.iter().map(|(_, end)| end).sum();
        let (mut messages, until) = (Vec::new(), Instant::now() + PATIENCE);
        while (messages.len() as i64) < wanted {
            assert!(Instant::now() < until, "{} of {wanted} messages of {topic}", messages.len());
            if let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) {
                messages.push(message.detach());
            }
        }
        messages
    }

    /// Each partition's end: the offset of the next message.
    pub(crate) fn ends(&self, topic: &str) -> Vec<(i32, i64)> {
        ends(&self.config().create().unwrap(), topic)
    }

    /// A group that nobody is in has these offsets.
    pub(crate) fn commit(&self, group: &str, topic: &str, offsets: &[(i32, i64)]) {
        let consumer: BaseConsumer = self.config().set("group.id", group).create().unwrap();
        let mut all = TopicPartitionList::new();
        for (partition, offset) in offsets {
            all.add_partition_offset(topic, *partition, Offset::Offset(*offset)).unwrap();
        }
        consumer.commit(&all, CommitMode::Sync).unwrap();
    }

    /// Appends messages to the partitions from which they came, under the keys that `key` makes of theirs, if it makes one.
    pub(crate) fn copy(
        &self,
        topic: &str,
        messages: &[OwnedMessage],
        key: impl Fn(&str) -> Option<String>,
    ) {
        let producer: BaseProducer = self.config().create().unwrap();
        for message in messages {
            let Some(key) = key(message.key_view::<str>().unwrap().unwrap()) else { continue };
            let mut record: BaseRecord<'_, str, [u8]> =
                BaseRecord::to(topic).key(&*key).partition(message.partition());
            record.payload = message.payload();
            assert!(producer.send(record).is_ok(), "the queue is never that long");
        }
        producer.flush(PATIENCE).unwrap();
    }

    /// What a group has committed; -1 for nothing.
    pub(crate) fn committed(&self, group: &str, topic: &str) -> Vec<(i32, i64)> {
        let partitions = self.ends(topic).len() as i32;
        let watcher = Watcher::new(self.address(), group);
        let until = Instant::now() + PATIENCE;
        loop {
            match watcher.committed(topic, partitions) {
                Some(committed) => return committed,
                None => assert!(
                    Instant::now() < until,
                    "the broker does not say what {group} has committed"
                ),
            }
        }
    }
}

fn ends(consumer: &BaseConsumer, topic: &str) -> Vec<(i32, i64)> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE).unwrap();
    let partitions = metadata.topics()[0].partitions().iter().map(MetadataPartition::id);
    let partitions: BTreeSet<i32> = partitions.collect(); // brokers name them in any order
    partitions
        .into_iter()
        .map(|partition| {
            (partition, consumer.fetch_watermarks(topic, partition, PATIENCE).unwrap().1)
        })
        .collect()
}

/// Puts messages into topics, none twice.
pub(crate) struct Producer(BaseProducer);

impl Producer {
    /// Each number's text, under a key of its own. Waits while the broker does not keep up.
    pub(crate) fn send(&self, topic: &str, numbers: Range<u64>, put: impl Fn(u64, &mut String)) {
        let mut text = String::new();
        for number in numbers {
            text.clear();
            put(number, &mut text);
            let key = format!("key-{number}");
            let mut record = BaseRecord::to(topic).key(&key).payload(&text);
            while let Err((error, back)) = self.0.send(record) {
                assert_eq!(
                    error.rdkafka_error_code(),
                    Some(RDKafkaErrorCode::QueueFull),
                    "{error}"
                );
                self.0.poll(Duration::from_millis(10));
                record = back;
            }
        }
        self.0.poll(Duration::ZERO);
    }

    /// One message of this key and time.
    pub(crate) fn keyed(&self, topic: &str, key: &str, text: &str, time_ms: i64) {
        let record = BaseRecord::to(topic).key(key).payload(text).timestamp(time_ms);
        assert!(self.0.send(record).is_ok(), "the queue is never that long");
    }

    /// Waits until the broker has all of them.
    pub(crate) fn flush(&self) {
        self.0.flush(Duration::from_secs(120)).unwrap();
    }
}

/// Reads a group's committed offsets again and again.
pub(crate) struct Watcher(BaseConsumer);

impl Watcher {
    pub(crate) fn new(address: &str, group: &str) -> Watcher {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", address)
            .set("group.id", group)
            .set_log_level(RDKafkaLogLevel::Critical);
        Watcher(config.create().unwrap())
    }

    /// Of each partition; -1 for nothing. `None`: the broker does not answer.
    pub(crate) fn committed(&self, topic: &str, partitions: i32) -> Option<Vec<(i32, i64)>> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition_range(topic, 0, partitions - 1);
        let found = self.0.committed_offsets(asked, Duration::from_secs(2)).ok()?;
        let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { -1 };
        Some(found.elements().iter().map(|one| (one.partition(), offset(one.offset()))).collect())
    }
}

/// The text of a message.
pub(crate) fn text(message: &OwnedMessage) -> &str {
    std::str::from_utf8(message.payload().unwrap()).unwrap()
}
