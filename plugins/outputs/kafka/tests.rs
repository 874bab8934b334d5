//! Addresses, messages, options. Against brokers: `tests/it/live/kafka/produce.rs`.

use std::sync::Arc;

use sentinel_contract::{Events, Kind, Labels, Metric, Piece, Series};
use sentinel_transport::kafka::{Compression, Template};

use super::address::{Addresses, is_topic};
use super::payload::{Format, Payloads};
use super::{Config, Kafka};
use crate::testing::{check_sample, incident, log, piece, refusals};

fn addresses(topic: &str, key: &str) -> Addresses {
    Addresses::new(Template::new(topic).unwrap(), Template::new(key).unwrap(), "us".into())
}

fn labels(pairs: &[(&str, &str)]) -> Arc<Labels> {
    Arc::new(Labels::new(pairs.iter().copied()))
}

fn metric(name: &str, host: &str, value: f64) -> Metric {
    let series = Series::new(name, Kind::Gauge, [("host", host)]);
    Metric { series, time_ms: 1_795_400_000_123, value }
}

/// Each message: topic, key, payload, and the events in it.
type Seen = (String, String, Vec<u8>, std::ops::Range<usize>);

fn messages(
    format: Format,
    pieces: &[Piece],
    addresses: &mut Addresses,
) -> Vec<Result<Seen, String>> {
    let mut payloads = Payloads::new(format);
    payloads.begin();
    let mut seen = Vec::new();
    while let Some(message) = payloads.next(pieces, addresses) {
        seen.push(match message {
            Ok(m) => {
                Ok((m.address.topic.clone(), m.address.key.clone(), m.payload.to_vec(), m.events))
            }
            Err((events, cause)) => Err(format!("{events:?} {cause}")),
        });
    }
    seen
}

#[test]
fn the_sample_shows_every_option_and_its_default() {
    check_sample::<Kafka>();
}

#[test]
fn topics_are_what_kafka_allows() {
    assert!(["a", "logs-topic", "A.b_9", &"x".repeat(249)].into_iter().all(is_topic));
    assert!(!["", ".", "..", "a b", "a/b", "\u{e4}", &"x".repeat(250)].into_iter().any(is_topic));
}

#[test]
fn what_cannot_be_used_is_refused_all_at_once() {
    let said = refusals::<Kafka>(Config {
        brokers: Vec::new(),
        topic: "a b".to_owned(),
        key: "%{host".to_owned(),
        concurrency: 0,
        compression: Compression::None,
        ..Config::default()
    });
    for part in [
        "brokers: must name",
        "topic: must be of letters",
        "key: \"%{host\" is not closed",
        "concurrency: must be from 1 to 16",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert!(refusals::<Kafka>(Config::default()).contains("topic: must be given"));
}

#[test]
fn topic_and_key_are_made_of_labels_and_shared() {
    let mut addresses = addresses("logs-%{job}", "%{host}");
    let shop =
        addresses.of_stream(&labels(&[("job", "shop"), ("host", "web-1"), ("n", "1")])).unwrap();
    assert_eq!((&*shop.topic, &*shop.key), ("logs-shop", "web-1"));
    let same =
        addresses.of_stream(&labels(&[("job", "shop"), ("host", "web-1"), ("n", "2")])).unwrap();
    assert!(Arc::ptr_eq(&shop, &same));
    let bare = addresses.of_stream(&labels(&[("job", "shop")])).unwrap();
    assert_eq!(bare.key, "us", "our own host where the event names none");
    let said = addresses.of_stream(&labels(&[])).unwrap_err().to_string();
    assert!(said.contains("need the label job"), "{said}");
    let said = addresses.of_stream(&labels(&[("job", "a b")])).unwrap_err().to_string();
    assert!(said.contains("no topic that Kafka allows"), "{said}");
}

#[test]
fn label_sets_without_end_are_forgotten_and_made_again() {
    let mut addresses = addresses("logs", "%{n}");
    for n in 0..45_000 {
        let address = addresses.of_stream(&labels(&[("n", &n.to_string())])).unwrap();
        assert_eq!(address.key, n.to_string());
    }
}

#[test]
fn each_format_takes_its_kinds_and_each_event_is_in_one_message() {
    let stream = labels(&[("job", "a"), ("host", "h")]);
    let lines: Vec<_> = ["one", "two", "three"]
        .iter()
        .map(|line| log(&stream, 1_795_400_000_000_000_000, line.as_bytes()))
        .collect();
    let pieces = [
        piece(Events::Logs(lines)),
        piece(Events::Metrics(vec![
            metric("a_b", "h", 1.0),
            metric("a_c", "h", f64::NAN),
            metric("a_d", "i", 2.0),
        ])),
        piece(Events::Incidents(vec![incident()])),
    ];
    let mut addresses = addresses("t", "%{host}");
    let seen = messages(Format::Raw, &pieces[..1], &mut addresses);
    let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen[1], ("t".into(), "h".into(), b"two".to_vec(), 1..2));
    assert_eq!(seen.len(), 3);
    for format in [Format::Json, Format::Logfmt] {
        let seen = messages(format, &pieces, &mut addresses);
        assert_eq!(seen.len(), 7, "{format:?}");
        assert_eq!(seen[4], Err("4..5 the value is not a finite number".to_owned()));
        assert_eq!(seen[6].as_ref().unwrap().3, 6..7);
        assert_eq!(seen[6].as_ref().unwrap().1, "web-1", "an incident goes by its host");
    }
    let seen = messages(Format::Influx, &pieces[1..2], &mut addresses);
    assert!(seen[0].as_ref().unwrap().2.starts_with(b"a,host=h b=1 "), "{seen:?}");
}

#[test]
fn otlp_puts_what_goes_to_one_place_into_one_message() {
    let (a, b) = (labels(&[("host", "h"), ("job", "a")]), labels(&[("host", "h"), ("job", "b")]));
    let other = labels(&[("host", "i")]);
    let lines = [&a, &a, &b, &other, &a].map(|stream| log(stream, 1, b"line"));
    let pieces = [
        piece(Events::Logs(lines.to_vec())),
        piece(Events::Metrics(vec![
            metric("a_b", "h", 1.0),
            metric("a_c", "h", 2.0),
            metric("a_b", "h", f64::NAN),
            metric("a_d", "i", 2.0),
        ])),
    ];
    let seen = messages(Format::Otlp, &pieces, &mut addresses("t", "%{host}"));
    let ranges: Vec<_> =
        seen.iter().map(|seen| seen.as_ref().map(|seen| seen.3.clone()).ok()).collect();
    assert_eq!(ranges, [Some(0..3), Some(3..4), Some(4..5), Some(5..7), None, Some(8..9)]);
    let long = vec![b'x'; 100_000];
    let lines = (0..3).map(|_| log(&a, 1, &long)).collect();
    let seen = messages(Format::Otlp, &[piece(Events::Logs(lines))], &mut addresses("t", ""));
    assert_eq!(seen.len(), 3, "no message of more than 128 KiB that could be two");
}
