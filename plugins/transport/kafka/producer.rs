//! librdkafka's configuration of a producer: what it writes is on all in-sync replicas, once and in order, or is told to have failed.
//!
//! From librdkafka's INTRODUCTION.md ("Idempotent Producer") and CONFIGURATION.md (2.12).

use std::time::Duration;

use rdkafka::ClientConfig;
use sentinel_contract::ConfigError;
use serde::Deserialize;

use super::KafkaOptions;

/// librdkafka's `compression.codec`.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// Zstandard: the smallest.
    Zstd,
    /// The fastest.
    Lz4,
    /// For consumers that know nothing newer.
    Snappy,
    /// Likewise.
    Gzip,
}

/// What a producer is told beside its connection.
#[derive(Clone, Copy, Debug)]
pub struct Producing {
    /// How messages are compressed.
    pub compression: Compression,
    /// The largest message.
    pub max_message_bytes: u64,
    /// After this long a message that is not acknowledged has failed.
    pub timeout: Duration,
}

impl KafkaOptions {
    /// librdkafka's configuration of a producer. Touches no file and no socket.
    ///
    /// Errors: all that is wrong with the options.
    pub fn producer(&self, producing: &Producing) -> Result<ClientConfig, Vec<ConfigError>> {
        let mut client = self.client()?;
        client
            .set("enable.idempotence", "true") // acks=all, and at most five requests in flight
            .set("compression.codec", producing.compression.word())
            .set("message.max.bytes", producing.max_message_bytes.to_string())
            .set("message.timeout.ms", producing.timeout.as_millis().to_string());
        for (name, value) in [
            ("queue.buffering.max.ms", "2"), // what comes at once is a batch already
            ("queue.buffering.max.kbytes", "16384"),
            ("queue.buffering.max.messages", "1000000"),
            ("batch.num.messages", "100000"),
            ("partitioner", "murmur2_random"), // a key's partition is the same as for clients in Java
            ("topic.metadata.propagation.max.ms", "5000"), // a topic that is not there is said soon
        ] {
            if client.get(name).is_none() {
                client.set(name, value); // a property may say otherwise
            }
        }
        Ok(client)
    }
}

impl Compression {
    fn word(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Zstd => "zstd",
            Compression::Lz4 => "lz4",
            Compression::Snappy => "snappy",
            Compression::Gzip => "gzip",
        }
    }
}
