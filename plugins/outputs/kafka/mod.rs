//! Events to Apache Kafka, by librdkafka's idempotent producer with acks=all: what is delivered is on all in-sync replicas.
//!
//! From librdkafka's INTRODUCTION.md and CONFIGURATION.md (2.12). A write is done when the delivery report of each of its
//! messages is there. librdkafka tries again by itself within one write, without doubling (that is what idempotent means);
//! beyond it the engine does. The producer is made at the first write and anew after one that failed.

mod address;
mod link;
mod payload;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use sentinel_contract::units::{Period, Secret, Size};
use sentinel_contract::{Cause, ConfigError, Context, Kinds, Output, Piece, Plugin, WriteError};
use sentinel_transport::Tls;
use sentinel_transport::kafka::{Compression, KafkaOptions, Producing, Sasl, Security, Template};
use serde::Deserialize;

use address::Addresses;
use link::Link;
use payload::{Format, Message, Payloads};

/// Writes at once that may be asked for.
const MOST_AT_ONCE: usize = 16;
/// What a message's head may take in a batch of librdkafka's, beside key and payload.
const HEAD_BYTES: usize = 512;

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Brokers to begin with.
    pub brokers: Vec<String>,
    /// Where to: a text with `%{label}` in it.
    pub topic: String,
    /// By what the partition is chosen: the same.
    pub key: String,
    /// How a message is written.
    pub format: Format,
    /// How messages are compressed.
    pub compression: Compression,
    /// The largest message.
    pub max_message_bytes: Size,
    /// Most writes at once; one after the other unless there is a backlog.
    pub concurrency: usize,
    /// Of a whole write.
    pub timeout: Period,
    /// As brokers show us.
    pub client_id: String,
    /// How brokers are spoken to.
    pub security: Security,
    /// Credentials.
    pub sasl: Sasl,
    /// TLS.
    pub tls: Tls,
    /// librdkafka's settings that have no option.
    pub properties: BTreeMap<String, Secret>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            brokers: Vec::new(),
            topic: String::new(),
            key: "%{host}".to_owned(),
            format: Format::Json,
            compression: Compression::Zstd,
            max_message_bytes: Size(1_000_000),
            concurrency: 4,
            timeout: Period::secs(30),
            client_id: "sentinelops".to_owned(),
            security: Security::default(),
            sasl: Sasl::default(),
            tls: Tls::default(),
            properties: BTreeMap::new(),
        }
    }
}

/// The output.
pub struct Kafka {
    link: Arc<Link>,
    addresses: Addresses,
    payloads: Payloads,
    max_bytes: usize,
    concurrency: usize,
}

impl Plugin for Kafka {
    type Kind = Box<dyn Output>;
    type Config = Config;
    const NAME: &'static str = "kafka";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Self::Kind, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut wrong =
            |option: &str, reason: &str| errors.push(ConfigError::value(option, reason));
        let topic = Template::new(&config.topic).map_err(|reason| wrong("topic", &reason)).ok();
        let key = Template::new(&config.key).map_err(|reason| wrong("key", &reason)).ok();
        if config.topic.is_empty() {
            wrong("topic", "must be given, for example \"logs-topic\"");
        } else if topic.as_ref().is_some_and(|topic| topic.names().next().is_none())
            && !address::is_topic(&config.topic)
        {
            wrong("topic", "must be of letters, digits, '.', '_' and '-', at most 249 of them");
        }
        if !(1..=MOST_AT_ONCE).contains(&config.concurrency) {
            wrong("concurrency", &format!("must be from 1 to {MOST_AT_ONCE}"));
        }
        if !(1000..=1_000_000_000).contains(&config.max_message_bytes.0) {
            wrong("max_message_bytes", "must be from 1000 bytes to 1 GB"); // librdkafka's own limits
        }
        if config.timeout.0.as_secs() < 1 || config.timeout.0.as_secs() > 600 {
            wrong("timeout", "must be from 1s to 10m");
        }
        let options = KafkaOptions {
            brokers: config.brokers,
            client_id: config.client_id,
            security: config.security,
            sasl: config.sasl,
            tls: config.tls.clone(),
            properties: config.properties,
        };
        let producing = Producing {
            compression: config.compression,
            max_message_bytes: config.max_message_bytes.0,
            timeout: config.timeout.0,
        };
        let client = match options.producer(&producing) {
            Ok(client) if errors.is_empty() => client,
            Ok(_) => return Err(errors),
            Err(more) => return Err(more.into_iter().chain(errors).collect()),
        };
        let (Some(topic), Some(key)) = (topic, key) else { return Err(errors) };
        let addresses = Addresses::new(topic, key, Arc::clone(&context.host));
        let one_topic = addresses.fixed_topic().is_some();
        Ok(Box::new(Kafka {
            link: Arc::new(Link::new(client, config.tls, config.timeout.0, one_topic)),
            addresses,
            payloads: Payloads::new(config.format),
            max_bytes: config.max_message_bytes.0 as usize,
            concurrency: config.concurrency,
        }))
    }
}

/// Whether librdkafka takes a message of this size.
fn fits(message: &Message<'_>, max_bytes: usize) -> Result<(), Cause> {
    let bytes = message.payload.len() + message.address.key.len() + HEAD_BYTES;
    if bytes <= max_bytes {
        return Ok(());
    }
    Err(anyhow::anyhow!("a message of {bytes} bytes is larger than max_message_bytes, {max_bytes}"))
}

#[async_trait::async_trait]
impl Output for Kafka {
    fn accepts(&self) -> Kinds {
        self.payloads.accepts()
    }

    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError> {
        let mut writing = self.link.begin().map_err(|cause| WriteError::Hold { cause })?;
        let (mut refused, mut why) = (Vec::new(), None);
        self.payloads.begin();
        while let Some(message) = self.payloads.next(pieces, &mut self.addresses) {
            let (events, cause) = match message {
                Ok(message) => match fits(&message, self.max_bytes) {
                    Ok(()) => {
                        writing.send(&message).await;
                        continue;
                    }
                    Err(cause) if message.events.len() > 1 => {
                        return Err(WriteError::Split { cause });
                    }
                    Err(cause) => (message.events, cause),
                },
                Err(unfit) => unfit,
            };
            refused.extend(events);
            why = Some(cause);
        }
        let (more, cause) = self.link.done(writing).await?;
        refused.extend(more);
        let Some(cause) = cause.or(why) else { return Ok(()) };
        refused.sort_unstable();
        Err(WriteError::Reject { events: refused, cause })
    }

    fn beside(&self, count: usize) -> Option<Box<dyn Output>> {
        let other = || Kafka {
            link: Arc::clone(&self.link),
            addresses: self.addresses.beside(),
            payloads: self.payloads.beside(),
            max_bytes: self.max_bytes,
            concurrency: self.concurrency,
        };
        (count < self.concurrency).then(|| Box::new(other()) as Box<dyn Output>)
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        self.link.probe(self.addresses.fixed_topic()).await
    }
}
