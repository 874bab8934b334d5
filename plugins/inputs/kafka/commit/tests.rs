//! Commits that are refused, by librdkafka's mock of a broker.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{Fate, Stop};
use sentinel_transport::kafka::Heard;
use sentinel_transport::kafka::rdkafka::consumer::Consumer as _;
use sentinel_transport::kafka::rdkafka::mocking::MockCluster;
use sentinel_transport::kafka::rdkafka::producer::DefaultProducerContext;
use sentinel_transport::kafka::rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use sentinel_transport::kafka::rdkafka::{Offset, TopicPartitionList};
use sentinel_transport::tls::Tls;

use super::Commits;
use crate::kafka::books::{Books, Bounds};
use crate::kafka::group::{Consumer, Group};
use crate::kafka::{Config, settings};

/// A member with one partition, of which all before message 5 is acknowledged.
fn member(cluster: &MockCluster<'_, DefaultProducerContext>) -> (Arc<Consumer>, Arc<Counters>) {
    let books = Arc::new(Books::default());
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let sent = books.sent(ours, 0, 5).unwrap();
    books.resolve(ours, sent, Fate::Delivered);
    let config = Config {
        brokers: vec![cluster.bootstrap_servers()],
        topics: vec!["logs".to_owned()],
        ..Config::default()
    };
    let settings = Arc::new(settings(config).unwrap());
    let (client, counters) = (settings.client.clone(), Arc::new(Counters::default()));
    let group = Group {
        keep: None,
        settings,
        books,
        counters: Arc::clone(&counters),
        heard: Heard::new(Tls::default()),
        rebalances: 0.into(),
        stop: Stop::default(),
        paused: false.into(),
        committing: ().into(),
    };
    (Arc::new(client.create_with_context(group).unwrap()), counters)
}

fn committed(consumer: &Consumer) -> Offset {
    let mut asked = TopicPartitionList::new();
    asked.add_partition("logs", 0);
    let found = consumer.committed_offsets(asked, Duration::from_secs(10)).unwrap();
    found.elements()[0].offset()
}

#[test]
fn what_a_group_did_not_take_it_is_told_again_without_another_message() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("logs", 1, 1).unwrap();
    let (consumer, counters) = member(&cluster);
    let refusals = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
    ];
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &refusals);
    let group = consumer.context();
    assert!(!group.commit(&consumer, |_| true), "partitions move just now");
    assert!(counters.notes().is_empty(), "which nobody has to mend: {:?}", counters.notes());
    assert!(!group.commit(&consumer, |_| true), "not allowed");
    assert!(counters.notes()["commit"].starts_with("cannot commit offsets"));
    assert!(group.commit(&consumer, |_| true));
    assert_eq!(committed(&consumer), Offset::Offset(5));
    assert!(counters.notes().is_empty(), "{:?}", counters.notes());
}

/// The next three commits are refused: the group makes up its mind.
fn partitions_move(cluster: &MockCluster<'_, DefaultProducerContext>) {
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS; 3];
    cluster.request_errors(RDKafkaApiKey::OffsetCommit, &refusals);
}

#[test]
fn the_thread_tries_until_the_group_knows() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("logs", 1, 1).unwrap();
    let (consumer, _counters) = member(&cluster);
    partitions_move(&cluster);
    let commits = Commits::start(&consumer, Duration::from_millis(50)).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while committed(&consumer) != Offset::Offset(5) {
        assert!(Instant::now() < until, "{:?}", committed(&consumer));
        std::thread::sleep(Duration::from_millis(50));
    }
    commits.finish(&consumer);
}

#[test]
fn the_last_commit_is_tried_again_while_partitions_move() {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("logs", 1, 1).unwrap();
    let (consumer, _counters) = member(&cluster);
    partitions_move(&cluster);
    let commits = Commits::start(&consumer, Duration::from_secs(60)).unwrap();
    commits.finish(&consumer);
    assert_eq!(committed(&consumer), Offset::Offset(5));
}
