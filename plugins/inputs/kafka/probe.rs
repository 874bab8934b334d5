//! `check --online`: whether brokers let us in, the topics are there, and the group is ours to use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::Cause;
use sentinel_transport::kafka::rdkafka::client::ClientContext;
use sentinel_transport::kafka::rdkafka::config::RDKafkaLogLevel;
use sentinel_transport::kafka::rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use sentinel_transport::kafka::rdkafka::error::KafkaError;
use sentinel_transport::kafka::rdkafka::{Offset, TopicPartitionList};
use sentinel_transport::kafka::{Heard, heard};

use super::Settings;

/// How long brokers may take, for all that is asked.
const PATIENCE: Duration = Duration::from_secs(8);

/// Hears what is wrong.
struct Listener(Arc<Heard>);

impl ClientContext for Listener {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        heard::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.error(&error, reason);
    }
}

impl ConsumerContext for Listener {}

/// Asks; on a thread of its own, because librdkafka blocks.
pub(super) async fn probe(settings: Arc<Settings>) -> Result<String, Cause> {
    tokio::task::spawn_blocking(move || ask(&settings)).await?
}

fn ask(settings: &Settings) -> Result<String, Cause> {
    let heard = Arc::new(Heard::new(settings.tls.clone()));
    let consumer: BaseConsumer<Listener> =
        settings.client.create_with_context(Listener(Arc::clone(&heard)))?;
    // What it has said waits among other events, and a call takes one.
    let until = Instant::now() + PATIENCE;
    let left = || until.saturating_duration_since(Instant::now());
    let listen = || (0..100).for_each(|_| drop(consumer.poll(Duration::ZERO)));
    let metadata = heard::ask(&heard, left(), listen, |wait| consumer.fetch_metadata(None, wait))?;
    let mut partitions = TopicPartitionList::new();
    // What an expression matches is seen when it runs.
    for topic in settings.topics.iter().filter(|topic| !topic.starts_with('^')) {
        let about = |wait| consumer.fetch_metadata(Some(topic), wait);
        for found in heard::ask(&heard, left(), listen, about)?.topics() {
            if let Some(error) = found.error() {
                anyhow::bail!("{topic}: {}", heard.about(error.into()));
            }
            for partition in found.partitions() {
                partitions.add_partition_offset(topic, partition.id(), Offset::Invalid)?;
            }
        }
    }
    let (count, topics) = (partitions.count(), settings.topics.len());
    // Asks the group's coordinator.
    let group = |wait| consumer.committed_offsets(partitions.clone(), wait);
    for one in heard::ask(&heard, left(), listen, group)?.elements() {
        one.error()?;
    }
    Ok(format!("{} brokers, {count} partitions of {topics} topics", metadata.brokers().len()))
}
