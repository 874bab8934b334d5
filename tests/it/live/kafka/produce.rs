//! A file into Kafka, and through it into Loki: what is in the topic, what is refused, and what a dead broker does.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::broker::{Broker, text};
use crate::live::load::{Writer, count};
use crate::live::stack::{Agent, Server, asked, loki_lines, until};

const PATIENCE: Duration = Duration::from_secs(60);

fn config(file: &Path, broker: &Broker, more: &str) -> String {
    format!(
        "[[inputs.tail]]\nfiles = [\"{}\"]\nstart = \"beginning\"\nlabels = {{ job = \"shop\" }}\n\
         [[outputs.kafka]]\nbrokers = [{:?}]\ntopic = \"logs-%{{job}}\"\n{more}\n",
        file.display(),
        broker.address()
    )
}

fn messages(broker: &Broker, topic: &str) -> u64 {
    broker.ends(topic).iter().map(|(_, end)| *end as u64).sum()
}

#[test]
fn each_line_is_a_message_of_its_hosts_partition_in_order() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.topic("logs-shop", 4, &[]);
    let file = folder.path().join("app.log");
    let lines = (0..5000).fold(String::new(), |mut lines, number| {
        let _infallible = writeln!(lines, "line {number}");
        lines
    });
    std::fs::write(&file, lines).unwrap();
    let agent =
        Agent::start(&folder.path().join("agent"), &config(&file, &broker, "format = \"raw\""));
    until("all messages", PATIENCE, || messages(&broker, "logs-shop") == 5000);
    let found = broker.messages("logs-shop");
    let used = broker.ends("logs-shop").iter().filter(|(_, end)| *end > 0).count();
    assert_eq!(used, 1, "one host, one key, one partition");
    let expected: Vec<String> = (0..5000).map(|number| format!("line {number}")).collect();
    assert_eq!(found.iter().map(text).collect::<Vec<_>>(), expected);
    until("the agent knows", PATIENCE, || agent.plugin("kafka")["delivered"] == 5000);
}

#[test]
fn what_a_broker_will_not_take_goes_to_the_dead_letters_and_the_rest_arrives() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    // The topic takes less than the agent is told it does: the broker refuses whole record batches.
    broker.topic("logs-shop", 1, &[("max.message.bytes", "2000")]);
    let file = folder.path().join("app.log");
    let lines = format!("first\n{}\nmiddle\n{}\nlast\n", "x".repeat(5000), "y".repeat(60_000));
    std::fs::write(&file, lines).unwrap();
    let more = "format = \"raw\"\ncompression = \"none\"\nmax_message_bytes = \"50KB\"";
    let agent = Agent::start(&folder.path().join("agent"), &config(&file, &broker, more));
    until("two are refused", PATIENCE, || agent.plugin("kafka")["drops"]["rejected"] == 2);
    let mut found: Vec<String> =
        broker.messages("logs-shop").iter().map(|message| text(message).to_owned()).collect();
    found.dedup(); // what was in a batch with a refused one may come twice
    assert_eq!(found, ["first", "middle", "last"]);
    let letters =
        std::fs::read_to_string(folder.path().join("agent/state/dead-letters.jsonl")).unwrap();
    assert_eq!(letters.lines().filter(|line| line.contains("\"reason\"")).count(), 2);
    assert!(letters.contains("max_message_bytes") && letters.contains("too large"), "{letters}");
}

/// Two lines of a file whose topic is there and two of one whose labels lead nowhere: the first arrive, and why the others are
/// dead letters is told.
fn two_arrive_and_two_are_refused(labels: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.topic("logs-shop", 1, &[]);
    let files = ["a.log", "b.log"].map(|name| folder.path().join(name));
    for file in &files {
        std::fs::write(file, "one\ntwo\n").unwrap();
    }
    let config = format!(
        "{}\n[[inputs.tail]]\nfiles = [\"{}\"]\nstart = \"beginning\"\n{labels}\n",
        config(&files[0], &broker, "format = \"raw\""),
        files[1].display()
    );
    let agent = Agent::start(&folder.path().join("agent"), &config);
    until("two are refused", PATIENCE, || agent.plugin("kafka")["drops"]["rejected"] == 2);
    until("two arrive", PATIENCE, || agent.plugin("kafka")["delivered"] == 2);
    assert_eq!(messages(&broker, "logs-shop"), 2);
    std::fs::read_to_string(folder.path().join("agent/state/dead-letters.jsonl")).unwrap()
}

#[test]
fn an_event_without_the_label_of_its_topic_goes_to_the_dead_letters() {
    if asked() {
        let letters = two_arrive_and_two_are_refused("");
        assert!(letters.contains("need the label job"), "{letters}");
    }
}

#[test]
fn one_topic_of_many_that_is_not_there_does_not_stop_the_others() {
    if asked() {
        let letters = two_arrive_and_two_are_refused("labels = { job = \"nobody\" }");
        assert!(letters.contains("logs-nobody: UnknownTopic"), "{letters}");
    }
}

/// The edge, the topic and the aggregator, while the broker is killed and comes back.
#[test]
fn lines_go_through_kafka_into_loki_with_all_they_have_while_the_broker_dies_and_comes_back() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (mut broker, loki) = (Broker::start(folder.path()), Server::start("loki", folder.path()));
    broker.topic("logs-shop", 4, &[]);
    let file = folder.path().join("app.log");
    let writer = Writer::start(&file, 3000);
    let edge =
        Agent::start(&folder.path().join("edge"), &config(&file, &broker, "format = \"otlp\""));
    let aggregator = Agent::start(
        &folder.path().join("aggregator"),
        &format!(
            "[[inputs.kafka]]\nbrokers = [{:?}]\ntopics = [\"^logs-.*\"]\nformat = \"otlp_logs\"\n\
             [[outputs.loki]]\nurl = \"{}\"\n",
            broker.address(),
            loki.url
        ),
    );
    std::thread::sleep(Duration::from_secs(4));
    broker.server.kill();
    until("the edge says so", Duration::from_secs(15), || {
        edge.plugin("kafka")["state"] == "retrying"
    });
    until("the aggregator says so", Duration::from_secs(15), || {
        aggregator.plugin("kafka")["notes"]["brokers"].is_string()
    });
    std::thread::sleep(Duration::from_secs(2));
    broker.server.restart();
    std::thread::sleep(Duration::from_secs(4));
    let (written, _) = writer.finish();
    let name = file.display().to_string();
    let selector = format!("{{job=\"shop\",filename={name:?}}}");
    let kept = || {
        let lines = loki_lines(&loki, &selector);
        count(lines.iter().map(|line| line.text.as_str()), written)
    };
    until("all lines", Duration::from_secs(90), || kept().holds_all(written));
    let found = kept();
    eprintln!("wrote {written:?}; Loki {found:?}");
    until("nobody complains any more", PATIENCE, || {
        edge.plugin("kafka")["state"] == "active"
            && aggregator.plugin("kafka")["notes"] == serde_json::json!({})
    });
}

#[test]
fn an_agent_ends_in_time_with_a_dead_broker() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.topic("logs-shop", 1, &[]);
    let file = folder.path().join("app.log");
    std::fs::write(&file, "one\n").unwrap();
    let config = format!(
        "{}\n[[inputs.kafka]]\nbrokers = [{:?}]\ntopics = [\"logs-shop\"]\n[[outputs.file]]\npath = \"/dev/null\"\n",
        config(&file, &broker, "from = [\"tail\"]"),
        broker.address()
    );
    let mut agent = Agent::start(&folder.path().join("agent"), &config);
    until("it reads", PATIENCE, || agent.plugin("kafka")["received"].as_u64() >= Some(1));
    broker.server.kill();
    std::fs::write(&file, "one\ntwo\n").unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let took = agent.stop();
    eprintln!("ended after {took:.1?}");
    assert!(took < Duration::from_secs(12), "{took:?}");
}
