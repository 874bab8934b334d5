//! What inputs.kafka and outputs.kafka share: the options of a connection, and librdkafka's configuration made of them.
//!
//! Option names follow librdkafka's (CONFIGURATION.md of 2.12) where it has one. TLS here is librdkafka's own, by OpenSSL, and
//! only in builds with the feature `kafka-tls`; the rest of the agent speaks it by rustls.

mod diagnose;
pub mod heard;
mod producer;
mod template;

#[cfg(test)]
mod tests;

pub use heard::{Heard, Trouble, trouble};
pub use producer::{Compression, Producing};
/// The client itself, so that plugins need no dependency of their own.
pub use rdkafka;
pub use template::{Refused, Template};

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use sentinel_contract::ConfigError;
use sentinel_contract::units::Secret;
use serde::Deserialize;

use crate::tls::{Tls, Verify};

/// Whether this build can speak TLS with brokers.
pub const HAS_TLS: bool = cfg!(feature = "kafka-tls");

/// What a build without it says.
const NO_TLS: &str = "needs a build with the feature kafka-tls, which packages have (cargo build --features kafka-tls)";

/// librdkafka's settings that are ours to make; an option of the plugin sets them, or a promise rests on them.
const OURS: [&str; 31] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "client.id",
    "security.protocol",
    "sasl.mechanism",
    "sasl.mechanisms",
    "sasl.username",
    "sasl.password",
    "ssl.ca.location",
    "ssl.certificate.location",
    "ssl.key.location",
    "enable.ssl.certificate.verification",
    "ssl.endpoint.identification.algorithm",
    "group.id",
    "group.instance.id",
    "session.timeout.ms",
    "partition.assignment.strategy",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "compression.codec",
    "compression.type",
    "message.timeout.ms",
    "message.max.bytes",
    "max.poll.interval.ms",
    "statistics.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "transactional.id",
];

/// Names that librdkafka has for settings that go by another name too (`RD_KAFKA_CONF` aliases): of two only one would count.
const ALIASES: [(&str, &str); 4] = [
    ("linger.ms", "queue.buffering.max.ms"),
    ("delivery.timeout.ms", "message.timeout.ms"),
    ("max.partition.fetch.bytes", "fetch.message.max.bytes"),
    ("retries", "message.send.max.retries"),
];

/// librdkafka's `security.protocol`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Neither encrypted nor authenticated.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// A user's name and password, in the clear.
    SaslPlaintext,
    /// The same within TLS.
    SaslSsl,
}

/// librdkafka's `sasl.mechanism`.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Mechanism {
    /// The password itself is sent.
    #[serde(rename = "PLAIN")]
    Plain,
    /// RFC 7677.
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    /// The same with SHA-512.
    #[default]
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

/// The option `sasl` of a plugin.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Sasl {
    /// How the password is shown to be known.
    pub mechanism: Mechanism,
    /// The user.
    pub username: String,
    /// Its password.
    pub password: Secret,
}

impl Default for Sasl {
    fn default() -> Self {
        let password = Secret::new("");
        Sasl { mechanism: Mechanism::default(), username: String::new(), password }
    }
}

/// What both plugins let the user set. They repeat these as options of their own.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Brokers to begin with, "host:port".
    pub brokers: Vec<String>,
    /// As brokers show us in their logs and quotas.
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

impl KafkaOptions {
    /// librdkafka's configuration. Touches no file and no socket.
    ///
    /// Errors: all that is wrong with the options.
    pub fn client(&self) -> Result<ClientConfig, Vec<ConfigError>> {
        let mut errors = self.check();
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", self.brokers.join(","))
            .set("client.id", &self.client_id)
            .set("security.protocol", self.security.word())
            .set("log.connection.close", "false") // idle connections are closed by brokers every ten minutes
            .set_log_level(RDKafkaLogLevel::Warning);
        if self.security.has_sasl() {
            config
                .set("sasl.mechanism", self.sasl.mechanism.word())
                .set("sasl.username", &self.sasl.username)
                .set("sasl.password", self.sasl.password.reveal());
        }
        if self.security.has_tls() && HAS_TLS {
            self.set_tls(&mut config);
        }
        for (name, value) in &self.properties {
            let alias = ALIASES.iter().find(|(alias, _)| alias == name);
            let name = alias.map_or(name.as_str(), |(_, name)| name);
            if OURS.contains(&name) {
                let reason = "is set by the plugin: see its options";
                errors.push(ConfigError::value(format!("properties.\"{name}\""), reason));
                continue;
            }
            let mut alone = ClientConfig::new();
            if let Err(error) = alone.set(name, value.reveal()).create_native_config() {
                let reason = words(&error).replace(value.reveal(), "...");
                errors.push(ConfigError::value(format!("properties.\"{name}\""), reason));
            }
            config.set(name, value.reveal());
        }
        if errors.is_empty() { Ok(config) } else { Err(errors) }
    }

    fn check(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let mut wrong =
            |option: &str, reason: &str| errors.push(ConfigError::value(option, reason));
        if self.brokers.is_empty() {
            wrong("brokers", "must name at least one, for example [\"127.0.0.1:9092\"]");
        }
        if self.brokers.iter().any(|broker| !is_address(broker)) {
            wrong("brokers", "must be \"host:port\", for example \"127.0.0.1:9092\"");
        }
        if self.security.has_tls() && !HAS_TLS {
            wrong("security", NO_TLS);
        }
        if self.security.has_sasl() {
            if self.sasl.mechanism != Mechanism::Plain && !HAS_TLS {
                wrong("sasl.mechanism", NO_TLS);
            }
            if self.sasl.username.is_empty() || self.sasl.password.reveal().is_empty() {
                wrong("sasl", "must have username and password for this security");
            }
        } else if self.sasl != Sasl::default() {
            wrong("sasl", "is set, but security is not \"sasl_plaintext\" or \"sasl_ssl\"");
        }
        if !self.security.has_tls() && self.tls != Tls::default() {
            wrong("tls", "is set, but security is not \"ssl\" or \"sasl_ssl\"");
        }
        if self.tls.cert_file.is_empty() != self.tls.key_file.is_empty() {
            wrong("tls", "cert_file and key_file go together");
        }
        if !self.tls.server_name.is_empty() {
            wrong("tls.server_name", "cannot be set for Kafka: each broker has a name of its own");
        }
        errors
    }

    fn set_tls(&self, config: &mut ClientConfig) {
        let files = [
            ("ssl.ca.location", &self.tls.ca_file),
            ("ssl.certificate.location", &self.tls.cert_file),
            ("ssl.key.location", &self.tls.key_file),
        ];
        for (name, file) in files.into_iter().filter(|(_, file)| !file.is_empty()) {
            config.set(name, file);
        }
        if self.tls.verify == Verify::None {
            config
                .set("enable.ssl.certificate.verification", "false")
                .set("ssl.endpoint.identification.algorithm", "none");
        }
    }
}

impl Security {
    fn has_tls(self) -> bool {
        matches!(self, Security::Ssl | Security::SaslSsl)
    }

    fn has_sasl(self) -> bool {
        matches!(self, Security::SaslPlaintext | Security::SaslSsl)
    }

    fn word(self) -> &'static str {
        match self {
            Security::Plaintext => "plaintext",
            Security::Ssl => "ssl",
            Security::SaslPlaintext => "sasl_plaintext",
            Security::SaslSsl => "sasl_ssl",
        }
    }
}

impl Mechanism {
    fn word(self) -> &'static str {
        match self {
            Mechanism::Plain => "PLAIN",
            Mechanism::ScramSha256 => "SCRAM-SHA-256",
            Mechanism::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// `host:port`, the host a name, an IPv4 address or an IPv6 address in brackets.
fn is_address(broker: &str) -> bool {
    let Some((host, port)) = broker.rsplit_once(':') else { return false };
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let named = !bare.is_empty() && !bare.contains(['/', ',', ' ', '@']);
    named && (bare.len() < host.len() || !bare.contains(':')) && port.parse::<u16>().is_ok()
}

/// What librdkafka has against a setting.
fn words(error: &rdkafka::error::KafkaError) -> String {
    match error {
        rdkafka::error::KafkaError::ClientConfig(_, reason, _, _) => reason.clone(),
        other => other.to_string(),
    }
}
