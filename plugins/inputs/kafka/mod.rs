//! Messages from Apache Kafka, as a member of a consumer group, by librdkafka.
//!
//! From librdkafka's INTRODUCTION.md and CONFIGURATION.md (2.12) and KIP-429 (cooperative rebalancing), KIP-345 (static
//! membership). The group is told an offset when everything before it is acknowledged by the outputs, and nothing else is
//! ever committed. A thread reads ([`reader`]), librdkafka calls back ([`group`]), the books say what is acknowledged ([`books`]).

mod books;
mod commit;
mod group;
mod keep;
mod labels;
mod message;
mod payload;
mod probe;
mod reader;
mod service;
mod start;
mod store;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{ConfigError, Context, Input, Plugin};
use sentinel_transport::Tls;
use sentinel_transport::kafka::rdkafka::ClientConfig;
use sentinel_transport::kafka::{KafkaOptions, Sasl, Security, Template};
use serde::Deserialize;

pub use payload::Format;
use start::Start;

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Brokers to begin with.
    pub brokers: Vec<String>,
    /// Topics, or regular expressions that begin with `^`.
    pub topics: Vec<String>,
    /// The consumer group.
    pub group: String,
    /// The name of this member, for static membership; empty: none.
    pub instance: String,
    /// After this long without a sign of life the group takes the member for dead.
    pub session_timeout: Period,
    /// Where to begin: "earliest", "latest" or a time.
    pub start: String,
    /// What a message is.
    pub format: Format,
    /// Labels: a name, and a text with `%{...}` in it.
    pub labels: BTreeMap<String, String>,
    /// Fields: the same.
    pub fields: BTreeMap<String, String>,
    /// How often offsets are committed.
    pub commit_interval: Period,
    /// How long a partition that is to go to another member is waited for.
    pub drain_timeout: Period,
    /// The observers that take what this input reads are kept one a partition.
    pub by_partition: bool,
    /// The compacted topic in which what they know is kept, so that it moves with its partition; empty: none. Not empty
    /// means `by_partition`.
    pub state_topic: String,
    /// How old what is kept there may be.
    pub state_interval: Period,
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
            topics: Vec::new(),
            group: "sentinelops".to_owned(),
            instance: String::new(),
            session_timeout: Period::secs(45),
            start: "earliest".to_owned(),
            format: Format::Raw,
            labels: BTreeMap::new(),
            fields: BTreeMap::new(),
            commit_interval: Period::secs(1),
            drain_timeout: Period::secs(10),
            by_partition: false,
            state_topic: String::new(),
            state_interval: Period::secs(300),
            client_id: "sentinelops".to_owned(),
            security: Security::default(),
            sasl: Sasl::default(),
            tls: Tls::default(),
            properties: BTreeMap::new(),
        }
    }
}

/// The options, checked.
struct Settings {
    client: ClientConfig,
    tls: Tls,
    topics: Vec<String>,
    start: Start,
    format: Format,
    labels: Vec<(Box<str>, Template)>,
    fields: Vec<(Arc<str>, Template)>,
    commit_interval: Duration,
    drain_timeout: Duration,
    by_partition: bool,
    /// Where the state of observers is kept, and how brokers are spoken to there.
    state: Option<(String, String, ClientConfig)>,
    state_interval: Duration,
}

/// The plugin.
pub struct Kafka;

impl Plugin for Kafka {
    type Kind = Input;
    type Config = Config;
    const NAME: &'static str = "kafka";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Input, Vec<ConfigError>> {
        let settings = Arc::new(settings(config)?);
        Ok(Input::Service(Box::new(service::Kafka { settings, tags: Arc::clone(&context.tags) })))
    }
}

fn settings(config: Config) -> Result<Settings, Vec<ConfigError>> {
    let mut errors = Vec::new();
    let mut wrong = |option: &str, reason: String| errors.push(ConfigError::value(option, reason));
    if config.topics.is_empty() {
        wrong("topics", "must name at least one, for example [\"logs-topic\"]".to_owned());
    }
    if config.topics.iter().any(String::is_empty) {
        wrong("topics", "must not be empty".to_owned());
    }
    if config.group.is_empty() {
        wrong("group", "must not be empty: offsets are kept under it".to_owned());
    }
    for (option, period, least) in [
        ("session_timeout", &config.session_timeout, 6), // brokers' group.min.session.timeout.ms
        ("commit_interval", &config.commit_interval, 0),
        ("drain_timeout", &config.drain_timeout, 0),
    ] {
        if period.0 > Duration::from_secs(240) || period.0 < Duration::from_secs(least) {
            wrong(option, format!("must be from {least}s to 4m")); // max.poll.interval.ms is five minutes
        }
    }
    if config.state_interval.0 < Duration::from_secs(1) {
        wrong("state_interval", "must be at least 1s".to_owned());
    }
    if config.topics.contains(&config.state_topic) {
        wrong("state_topic", "must not be one that is read".to_owned());
    }
    let start = start(&config.start).map_err(|reason| wrong("start", reason)).ok();
    let labels = templates(config.labels, "labels", &mut wrong);
    let fields = templates(config.fields, "fields", &mut wrong);
    let client = KafkaOptions {
        brokers: config.brokers,
        client_id: config.client_id,
        security: config.security,
        sasl: config.sasl,
        tls: config.tls.clone(),
        properties: config.properties,
    }
    .client();
    let (mut client, Some(start), true) = (
        match client {
            Ok(client) => client,
            Err(more) => return Err(more.into_iter().chain(errors).collect()),
        },
        start,
        errors.is_empty(),
    ) else {
        return Err(errors);
    };
    let state = (!config.state_topic.is_empty())
        .then(|| (config.state_topic, config.group.clone(), client.clone()));
    client
        .set("group.id", config.group)
        .set("session.timeout.ms", config.session_timeout.0.as_millis().to_string())
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        // Where to begin is ours to find out; this is for what the broker has deleted meanwhile.
        .set("auto.offset.reset", "earliest")
        .set("topic.metadata.refresh.interval.ms", "30000") // new topics and partitions, and topics that were missing
        .set("statistics.interval.ms", "10000");
    if !config.instance.is_empty() {
        client.set("group.instance.id", config.instance);
    }
    Ok(Settings {
        client,
        tls: config.tls,
        topics: config.topics,
        start,
        format: config.format,
        labels,
        fields: fields.into_iter().map(|(name, template)| (name.into(), template)).collect(),
        commit_interval: config.commit_interval.0,
        drain_timeout: config.drain_timeout.0,
        by_partition: config.by_partition || state.is_some(),
        state,
        state_interval: config.state_interval.0,
    })
}

fn start(text: &str) -> Result<Start, String> {
    match text {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        other => {
            let time = other.parse::<jiff::Timestamp>();
            let reason =
                "must be \"earliest\", \"latest\" or a time such as \"2026-11-30T08:00:00Z\"";
            time.map(|time| Start::At(time.as_millisecond())).map_err(|_| reason.to_owned())
        }
    }
}

fn templates(
    options: BTreeMap<String, String>,
    option: &str,
    wrong: &mut impl FnMut(&str, String),
) -> Vec<(Box<str>, Template)> {
    let mut templates = Vec::new();
    for (name, text) in options {
        match Template::new(&text) {
            Ok(template) => {
                if let Some(unknown) = template.names().find(|name| !labels::is_name(name)) {
                    let known = labels::NAMES.join(", ");
                    wrong(
                        &format!("{option}.{name}"),
                        format!("%{{{unknown}}} is none of {known}, header.NAME"),
                    );
                }
                templates.push((name.into(), template));
            }
            Err(reason) => wrong(&format!("{option}.{name}"), reason),
        }
    }
    templates
}
