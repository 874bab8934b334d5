//! Options of a connection, templates, and what is made of librdkafka's words.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::statistics::Statistics;
use rdkafka::{Offset, TopicPartitionList};
use sentinel_contract::units::Secret;

use super::{
    HAS_TLS, Heard, KafkaOptions, Mechanism, Refused, Sasl, Security, Template, Trouble, heard,
};
use crate::tls::{Tls, Verify};

fn options() -> KafkaOptions {
    KafkaOptions {
        brokers: vec!["127.0.0.1:9092".to_owned(), "[::1]:9093".to_owned()],
        client_id: "us".to_owned(),
        security: Security::Plaintext,
        sasl: Sasl::default(),
        tls: Tls::default(),
        properties: BTreeMap::new(),
    }
}

fn refusals(options: &KafkaOptions) -> String {
    let errors = options.client().err().unwrap_or_default();
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn with(change: impl FnOnce(&mut KafkaOptions)) -> KafkaOptions {
    let mut options = options();
    change(&mut options);
    options
}

#[test]
fn brokers_are_hosts_with_ports() {
    assert_eq!(refusals(&options()), "");
    for wrong in [
        "localhost",
        "localhost:",
        ":9092",
        "kafka://a:9092",
        "a:9092,b:9092",
        "::1:9092",
        "a:99999",
    ] {
        let said = refusals(&with(|o| o.brokers = vec![wrong.to_owned()]));
        assert!(said.starts_with("brokers: must be \"host:port\""), "{wrong}: {said}");
    }
    assert!(refusals(&with(|o| o.brokers.clear())).starts_with("brokers: must name at least one"));
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let said = refusals(&with(|o| {
        o.brokers.clear();
        o.sasl.username = "agent".to_owned();
        o.tls.ca_file = "ca.pem".to_owned();
        o.tls.server_name = "kafka".to_owned();
        o.properties.insert("group.id".to_owned(), Secret::new("other"));
        o.properties.insert("no.such.thing".to_owned(), Secret::new("1"));
        o.properties.insert("fetch.wait.max.ms".to_owned(), Secret::new("soon"));
    }));
    for part in [
        "brokers: must name",
        "sasl: is set, but security is not",
        "tls: is set, but security is not",
        "tls.server_name: cannot be set for Kafka",
        "properties.\"group.id\": is set by the plugin",
        "properties.\"no.such.thing\": No such configuration property",
        "properties.\"fetch.wait.max.ms\": Invalid value",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
}

#[test]
fn a_secret_property_is_not_repeated() {
    let said = refusals(&with(|o| {
        o.properties.insert("fetch.wait.max.ms".to_owned(), Secret::new("hunter2"));
    }));
    assert!(said.contains("fetch.wait.max.ms") && !said.contains("hunter2"), "{said}");
}

#[test]
fn tls_and_scram_need_the_build_that_has_them() {
    let secure = with(|o| {
        o.security = Security::SaslSsl;
        o.sasl = Sasl {
            mechanism: Mechanism::ScramSha512,
            username: "agent".to_owned(),
            password: Secret::new("secret"),
        };
        o.tls.verify = Verify::None;
    });
    let said = refusals(&secure);
    if HAS_TLS {
        assert_eq!(said, "");
        let config = secure.client().unwrap();
        assert_eq!(config.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(config.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(config.get("enable.ssl.certificate.verification"), Some("false"));
    } else {
        assert!(said.contains("security: needs a build with the feature kafka-tls"), "{said}");
        assert!(said.contains("sasl.mechanism: needs a build"), "{said}");
    }
}

#[test]
fn sasl_needs_a_user_and_a_password() {
    let said = refusals(&with(|o| o.security = Security::SaslPlaintext));
    assert!(said.contains("sasl: must have username and password"), "{said}");
}

#[test]
fn a_template_puts_values_where_names_stand() {
    let render = |text: &str, limit| {
        let mut out = "before ".to_owned();
        let put = |name: &str, out: &mut String| {
            let found = [("job", "shop"), ("host", "web-1")].iter().find(|(n, _)| *n == name);
            found.map(|(_, value)| out.push_str(value)).is_some()
        };
        let result = Template::new(text).unwrap().render(&mut out, limit, put);
        result.map(|()| out.clone()).inspect_err(|_| assert_eq!(out, "before "))
    };
    assert_eq!(render("logs", 9), Ok("before logs".to_owned()));
    assert_eq!(render("logs-%{job}-%{ host }!", 99), Ok("before logs-shop-web-1!".to_owned()));
    assert_eq!(render("100%", 9), Ok("before 100%".to_owned()));
    assert_eq!(render("a-%{none}", 99), Err(Refused::Missing("none".into())));
    assert_eq!(render("%{host}", 4), Err(Refused::TooLong));
}

#[test]
fn a_template_that_is_none_is_refused() {
    assert_eq!(Template::new("a-%{job").unwrap_err(), "\"%{job\" is not closed by }");
    assert_eq!(Template::new("a-%{ }").unwrap_err(), "%{} names nothing");
}

#[test]
fn that_all_brokers_are_down_is_told_with_the_reason_of_the_first() {
    let heard = Heard::default();
    let refused = "127.0.0.1:9093/bootstrap: SASL authentication error: invalid credentials";
    let (kind, words, is_new) = heard.error(&KafkaError::Global(Code::Authentication), refused);
    assert_eq!((kind, is_new), (Trouble::Credentials, true));
    assert!(words.starts_with("127.0.0.1:9093: SASL authentication error"), "{words}");
    assert!(words.ends_with("(check sasl, tls and security)"), "{words}");
    let (kind, again, is_new) =
        heard.error(&KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
    assert_eq!((kind, again, is_new), (Trouble::Credentials, words, false));
    assert_eq!(heard.works(), [Trouble::Credentials]);
    let (kind, words, is_new) =
        heard.error(&KafkaError::Global(Code::AllBrokersDown), "1/1 brokers are down");
    assert_eq!((kind, is_new), (Trouble::Brokers, true));
    assert!(words.starts_with("1/1 brokers are down (check brokers"), "{words}");
}

#[test]
fn a_code_without_words_is_told_by_what_was_said_of_its_kind() {
    let heard = Heard::default();
    assert!(heard.about(Code::UnknownTopicOrPartition).ends_with("or allow this user to use it)"));
    heard.error(&KafkaError::Global(Code::TopicAuthorizationFailed), "topic \"a\": not allowed");
    assert!(heard.about(Code::UnknownTopicOrPartition).starts_with("topic \"a\": not allowed"));
}

#[test]
fn a_setting_of_two_names_is_one_setting() {
    let with_property = |name: &str| {
        with(|o| {
            o.properties.insert(name.to_owned(), Secret::new("50"));
        })
    };
    let config = with_property("linger.ms").client().unwrap();
    assert_eq!(config.get("queue.buffering.max.ms"), Some("50"));
    assert_eq!(config.get("linger.ms"), None);
    let said = refusals(&with_property("delivery.timeout.ms"));
    assert!(said.contains("is set by the plugin"), "{said}");
}

#[test]
fn a_record_that_is_refused_with_others_is_about_messages() {
    for code in [Code::InvalidDifferentRecord, Code::InvalidTimestamp, Code::MessageBatchTooLarge] {
        assert_eq!(super::trouble(code), Trouble::Message, "{code}");
    }
    assert_eq!(
        super::trouble(Code::InvalidMessage),
        Trouble::Other,
        "what the way has spoilt is sent again"
    );
}

/// Messages that a consumer has read, and how often it had guessed too little room for a batch of them.
#[derive(Default)]
struct Read {
    messages: AtomicI64,
    guessed_again: AtomicU64,
}

impl ClientContext for Read {
    fn stats(&self, statistics: Statistics) {
        self.messages.store(statistics.rxmsgs, Relaxed);
        let again = statistics.brokers.values().map(|broker| broker.zbuf_grow);
        self.guessed_again.store(again.sum(), Relaxed);
    }
}

impl ConsumerContext for Read {}

/// Else zstd is unpacked twice wherever it is good: half of what reading costs. It depends on how librdkafka was built
/// (`CPPFLAGS` in .cargo/config.toml).
#[test]
fn a_compressed_batch_says_how_large_it_is() {
    const MESSAGES: i64 = 500;
    let brokers = MockCluster::new(1).unwrap();
    brokers.create_topic("logs", 1, 1).unwrap();
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", brokers.bootstrap_servers());
    let mut sends = client.clone();
    sends.set("compression.codec", "zstd").set("queue.buffering.max.ms", "100");
    let producer: BaseProducer = sends.create().unwrap();
    let line = "a line like the one before; ".repeat(40);
    for _ in 0..MESSAGES {
        producer.send(BaseRecord::<(), str>::to("logs").payload(&line)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
    client.set("group.id", "readers").set("statistics.interval.ms", "100");
    let consumer: BaseConsumer<Read> = client.create_with_context(Read::default()).unwrap();
    let mut from = TopicPartitionList::new();
    from.add_partition_offset("logs", 0, Offset::Beginning).unwrap();
    consumer.assign(&from).unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    let read = consumer.context();
    while read.messages.load(Relaxed) < MESSAGES {
        assert!(Instant::now() < until, "only {} were read", read.messages.load(Relaxed));
        drop(consumer.poll(Duration::from_millis(50)));
    }
    assert_eq!(read.guessed_again.load(Relaxed), 0);
}

#[test]
fn a_broker_that_cannot_be_reached_is_heard_of_by_the_log_too() {
    let line = "[thrd:a:9092/bootstrap]: a:9092/bootstrap: Connect to ipv4#1.2.3.4:9092 failed: Connection refused (after 0ms in state CONNECT)";
    let words = heard::unreachable("FAIL", line).unwrap();
    assert!(words.starts_with("a:9092/bootstrap: Connect to ipv4#1.2.3.4:9092 failed"), "{words}");
    let line = "[thrd:b:9092/bootstrap]: b:9092/bootstrap: Failed to resolve 'b:9092': Name or service not known";
    assert!(heard::unreachable("FAIL", line).is_some());
    let refused = "[thrd:ssl://a:9093/bootstrap]: ssl://a:9093/bootstrap: SSL handshake failed: certificate verify failed";
    assert_eq!(heard::unreachable("FAIL", refused), None); // another kind of trouble, which a session that runs does not get into
    assert_eq!(heard::unreachable("CONNECT", "[thrd:main]: Connect to 1 broker"), None);
}
