//! From Kafka into a real Loki: every message, labels and fields, where it begins, what is committed.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::broker::Broker;
use crate::live::stack::{Agent, Server, asked, encode, get, loki_lines, loki_pages, until};
use crate::live::tap::{Mode, Tap};

const PATIENCE: Duration = Duration::from_secs(60);

fn config(broker: &Broker, more: &str, loki: &str) -> String {
    format!(
        "[[inputs.kafka]]\nbrokers = [{:?}]\ntopics = [\"logs-topic\"]\n{more}\n\
         [[outputs.loki]]\nurl = \"{loki}\"\nstructured_metadata = [\"offset\"]\n",
        broker.address()
    )
}

/// Everything is committed, up to the ends of all partitions.
fn all_committed(broker: &Broker, group: &str) -> bool {
    let ends = broker.ends("logs-topic");
    broker.committed(group, "logs-topic").iter().zip(&ends).all(|(is, end)| is == end || end.1 == 0)
}

#[test]
fn two_members_share_the_partitions_and_every_message_comes_into_loki_once() {
    if !asked() {
        return;
    }
    const MESSAGES: u64 = 100_000;
    let folder = tempfile::tempdir().unwrap();
    let (broker, loki) = (Broker::start(folder.path()), Server::start("loki", folder.path()));
    broker.topic("logs-topic", 4, &[]);
    let labels = "labels = { job = \"kafka\", filename = \"%{topic}/%{partition}\" }";
    let config = config(&broker, labels, &loki.url);
    let agents = ["a", "b"].map(|name| Agent::start(&folder.path().join(name), &config));
    let partitions =
        |agent: &Agent| agent.plugin("kafka")["gauges"]["assigned_partitions"].as_f64();
    until("each has two partitions", PATIENCE, || {
        agents.iter().all(|agent| partitions(agent) == Some(2.0))
    });
    broker.produce("logs-topic", 0..MESSAGES, |number| format!("message {number}"));
    until("all is committed", PATIENCE, || all_committed(&broker, "sentinelops"));
    let (mut seen, mut lines) = (vec![0_u32; MESSAGES as usize], 0);
    loki_pages(&loki, "{job=\"kafka\"}", |page| {
        for line in page {
            lines += 1;
            seen[line.text.strip_prefix("message ").unwrap().parse::<usize>().unwrap()] += 1;
        }
    });
    let missing = seen.iter().filter(|times| **times == 0).count();
    eprintln!("{MESSAGES} messages: {lines} lines in Loki, {missing} missing");
    assert_eq!((missing, lines), (0, MESSAGES));
    let received =
        agents.each_ref().map(|agent| agent.plugin("kafka")["received"].as_u64().unwrap());
    assert!(received.iter().all(|received| *received > MESSAGES / 10), "{received:?}");
}

#[test]
fn inputs_of_idle_topics_leave_the_memory_to_the_one_that_has_messages() {
    if !asked() {
        return;
    }
    const MESSAGES: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let (broker, loki) = (Broker::start(folder.path()), Server::start("loki", folder.path()));
    // The last that begins would be the one without.
    let topics = ["idle-1", "idle-2", "idle-3", "logs-topic"];
    for topic in topics {
        broker.topic(topic, 1, &[]);
    }
    let input = |topic: &&str| {
        format!(
            "[[inputs.kafka]]\nalias = {topic:?}\nbrokers = [{:?}]\ntopics = [{topic:?}]\nlabels = {{ job = {topic:?} }}\n\
             fields = {{ offset = \"%{{offset}}\", partition = \"%{{partition}}\" }}\n",
            broker.address()
        )
    };
    let inputs: String = topics.iter().map(input).collect();
    let config =
        format!("[agent]\nmemory = \"8MiB\"\n{inputs}[[outputs.loki]]\nurl = \"{}\"\n", loki.url);
    broker.produce("logs-topic", 0..MESSAGES, |number| format!("message {number:0200}"));
    broker.produce("idle-3", 0..1, |_| "not quite".to_owned());
    let agent = Agent::start(&folder.path().join("agent"), &config);
    until("all is committed", PATIENCE, || all_committed(&broker, "sentinelops"));
    until("the one message of another", PATIENCE, || {
        loki_lines(&loki, "{job=\"idle-3\"}").len() == 1
    });
    let mut lines = 0;
    loki_pages(&loki, "{job=\"logs-topic\"}", |page| lines += page.len() as u64);
    assert_eq!(lines, MESSAGES);
    assert_eq!(agent.plugin("logs-topic")["drops"], serde_json::json!({}));
}

#[test]
fn labels_and_fields_are_made_of_the_message_and_its_time_is_the_lines() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (broker, loki) = (Broker::start(folder.path()), Server::start("loki", folder.path()));
    broker.topic("logs-topic", 1, &[]);
    let before = crate::live::stack::now_ms();
    broker.produce("logs-topic", 0..3, |number| format!("line {number}"));
    let labels = "labels = { job = \"kafka\", unit = \"%{topic}/%{partition}/%{key}\" }\nfields = { offset = \"%{offset}\" }";
    let _agent = Agent::start(&folder.path().join("agent"), &config(&broker, labels, &loki.url));
    until("all lines", PATIENCE, || loki_lines(&loki, "{job=\"kafka\"}").len() == 3);
    let lines = loki_lines(&loki, "{unit=\"logs-topic/0/key-1\"}");
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].text, "line 1");
    let age = lines[0].time_ns / 1_000_000 - before;
    assert!((0..10_000).contains(&age), "{age} ms after the first was made");
    assert_eq!(lines[0].time_ns % 1_000_000, 1, "the offset, within its millisecond");
    let url = format!(
        "{}/loki/api/v1/query_range?query={}&limit=10",
        loki.url,
        encode("{job=\"kafka\"}")
    );
    let answer: Value = serde_json::from_str(&get(&url).unwrap()).unwrap();
    let offsets: BTreeMap<&str, &str> = answer["data"]["result"]
        .as_array()
        .unwrap()
        .iter()
        .map(|stream| {
            (
                stream["stream"]["unit"].as_str().unwrap(),
                stream["stream"]["offset"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(offsets["logs-topic/0/key-2"], "2");
}

/// Lines in Loki once the agent has had time for those that it must not read.
fn started(folder: &Path, broker: &Broker, loki: &Server, start: &str, group: &str) -> Agent {
    let more = format!("start = {start:?}\ngroup = {group:?}\nlabels = {{ job = {group:?} }}");
    let agent = Agent::start(&folder.join(group), &config(broker, &more, &loki.url));
    until("it has its partitions", PATIENCE, || {
        agent.plugin("kafka")["gauges"]["assigned_partitions"].as_f64() == Some(1.0)
    });
    agent
}

fn texts(loki: &Server, group: &str) -> Vec<String> {
    loki_lines(loki, &format!("{{job={group:?}}}")).into_iter().map(|line| line.text).collect()
}

#[test]
fn it_begins_at_the_oldest_or_the_newest_message_or_at_a_time_and_goes_on_where_it_left_off() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (broker, loki) = (Broker::start(folder.path()), Server::start("loki", folder.path()));
    broker.topic("logs-topic", 1, &[]);
    broker.produce("logs-topic", 0..1, |_| "old".to_owned());
    std::thread::sleep(Duration::from_millis(1500));
    let now = crate::live::stack::now_ms() / 1000;
    let time = std::process::Command::new("date")
        .args(["-u", &format!("-d@{now}"), "+%FT%TZ"])
        .output()
        .unwrap();
    let time = String::from_utf8(time.stdout).unwrap();
    broker.produce("logs-topic", 1..2, |_| "middle".to_owned());
    let earliest = started(folder.path(), &broker, &loki, "earliest", "first");
    let at = started(folder.path(), &broker, &loki, time.trim(), "timed");
    let mut latest = started(folder.path(), &broker, &loki, "latest", "last");
    // Nothing has come for it yet; what comes while it is away must not be passed over.
    latest.stop();
    broker.produce("logs-topic", 2..3, |_| "new".to_owned());
    latest.again();
    until("all three have the newest", PATIENCE, || {
        ["first", "timed", "last"]
            .iter()
            .all(|group| texts(&loki, group).contains(&"new".to_owned()))
    });
    assert_eq!(texts(&loki, "first"), ["old", "middle", "new"]);
    assert_eq!(texts(&loki, "timed"), ["middle", "new"]);
    assert_eq!(texts(&loki, "last"), ["new"]);
    drop((earliest, at));
}

#[test]
fn nothing_is_committed_that_loki_has_not_acknowledged() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (broker, loki) = (Broker::start(folder.path()), Server::start("loki", folder.path()));
    let tap = Tap::start(Mode::Forward(loki.url.clone()));
    broker.topic("logs-topic", 1, &[]);
    broker.produce("logs-topic", 0..100, |number| format!("line {number}"));
    let labels = "labels = { job = \"kafka\" }";
    let mut agent = Agent::start(&folder.path().join("agent"), &config(&broker, labels, &tap.url));
    until("the first are committed", PATIENCE, || all_committed(&broker, "sentinelops"));
    tap.set(Mode::Answer(401));
    broker.produce("logs-topic", 100..200, |number| format!("line {number}"));
    until("the output is held", PATIENCE, || agent.plugin("loki")["state"] == "held");
    std::thread::sleep(Duration::from_secs(3)); // longer than the commit interval
    assert_eq!(broker.committed("sentinelops", "logs-topic"), [(0, 100)]);
    agent.crash();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(broker.committed("sentinelops", "logs-topic"), [(0, 100)]);
    tap.set(Mode::Forward(loki.url.clone()));
    until("all is committed", PATIENCE, || all_committed(&broker, "sentinelops"));
    assert_eq!(loki_lines(&loki, "{job=\"kafka\"}").len(), 200);
}

/// librdkafka remembers that a partition was paused, also while it is another member's.
#[test]
fn a_partition_that_went_while_it_was_paused_is_read_when_it_is_back() {
    if !asked() {
        return;
    }
    const MESSAGES: u64 = 40_000;
    let folder = tempfile::tempdir().unwrap();
    let (broker, loki) = (Broker::start(folder.path()), Server::start("loki", folder.path()));
    let tap = Tap::start(Mode::Answer(503));
    broker.topic("logs-topic", 4, &[]);
    broker.produce("logs-topic", 0..MESSAGES, |number| {
        format!("message {number} {}", "x".repeat(200))
    });
    let more = "labels = { job = \"kafka\", filename = \"%{partition}\" }\ndrain_timeout = \"1s\"";
    let config =
        format!("[agent]\nmemory = \"8MiB\"\n{}queue_bytes = 0\n", config(&broker, more, &tap.url));
    let a = Agent::start(&folder.path().join("a"), &config);
    let partitions =
        |agent: &Agent| agent.plugin("kafka")["gauges"]["assigned_partitions"].as_f64();
    until("it has all of them", PATIENCE, || partitions(&a) == Some(4.0));
    std::thread::sleep(Duration::from_secs(3)); // memory is full, and it pauses
    let mut b = Agent::start(&folder.path().join("b"), &config);
    until("two have gone", PATIENCE, || partitions(&a) == Some(2.0) && partitions(&b) == Some(2.0));
    tap.set(Mode::Forward(loki.url.clone()));
    until("it reads on", PATIENCE, || all_committed(&broker, "sentinelops"));
    b.stop();
    until("they are back", PATIENCE, || partitions(&a) == Some(4.0));
    broker.produce("logs-topic", MESSAGES..MESSAGES + 100, |number| format!("message {number}"));
    until("all is committed", PATIENCE, || all_committed(&broker, "sentinelops"));
    let mut lines = 0;
    loki_pages(&loki, "{job=\"kafka\"}", |page| lines += page.len() as u64);
    assert_eq!(lines, MESSAGES + 100);
}
