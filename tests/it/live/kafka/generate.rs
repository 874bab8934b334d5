//! `generate --kafka`: every line and sample is a message of its host's, in order, and what is not acknowledged is an error.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use sentinel_transport::kafka::rdkafka::message::Message as _;

use super::broker::{Broker, text};
use crate::live::stack::{Agent, asked, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// How soon a person must be told.
const SOON: Duration = Duration::from_secs(10);

fn generate(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(crate::cli::binary());
    command.current_dir(folder).arg("generate").args(arguments).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_line_is_a_message_of_its_host_in_order_and_samples_can_be_read() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    for topic in ["logs-web", "logs-app", "logs-host"] {
        broker.topic(topic, 4, &[]);
    }
    let what = "--kind web --kind app --kind host --hosts 5 --host shop --rate 1000 --start 2026-01-31T08:00:00Z --duration 20s";
    let what: Vec<&str> = what.split(' ').collect();
    let output = generate(
        folder.path(),
        &[&what[..], &["--kafka", broker.address(), "--topic", "logs-{kind}"]].concat(),
    );
    let words = said(&output);
    assert!(output.status.success(), "{words}");
    let samples = 5 * 13 * 2; // five hosts, thirteen metrics, twice
    assert!(words.starts_with(&format!("20000 lines and {samples} samples, ")), "{words}");
    assert!(words.ends_with(&format!("; {} acknowledged\n", 20_000 + samples)), "{words}");
    // The same into files: what must have come.
    let output = generate(folder.path(), &[&what[..], &["--output", "{kind}-{host}.log"]].concat());
    assert!(output.status.success(), "{output:?}");
    for kind in ["web", "app"] {
        let mut found: BTreeMap<(String, i32), Vec<String>> = BTreeMap::new();
        for message in broker.messages(&format!("logs-{kind}")) {
            let key = String::from_utf8_lossy(message.key().unwrap()).into_owned();
            let lines = found.entry((key, message.partition())).or_default();
            let offset_ms = message.timestamp().to_millis().unwrap() - 1_769_846_400_000;
            assert_eq!(offset_ms, lines.len() as i64 * 10, "the time of the line, 100 a second");
            lines.push(text(&message).to_owned());
        }
        let hosts: Vec<&str> = found.keys().map(|(host, _)| host.as_str()).collect();
        assert_eq!(hosts, ["shop-1", "shop-2", "shop-3", "shop-4", "shop-5"], "one partition each");
        for ((host, _), lines) in &found {
            let file = folder.path().join(format!("{kind}-{host}.log"));
            let expected = std::fs::read_to_string(file).unwrap();
            assert!(expected.lines().eq(lines), "{kind} of {host}");
        }
    }
    let agent = Agent::start(
        &folder.path().join("agent"),
        &format!(
            "[[inputs.kafka]]\nbrokers = [{:?}]\ntopics = [\"logs-host\"]\nformat = \"json\"\n\
             [[outputs.file]]\npath = \"{}/samples.jsonl\"\n",
            broker.address(),
            folder.path().display()
        ),
    );
    until("all samples", PATIENCE, || agent.plugin("file")["delivered"] == samples);
    assert_eq!(agent.plugin("kafka")["drops"], serde_json::json!({}));
    let read = std::fs::read_to_string(folder.path().join("samples.jsonl")).unwrap();
    assert_eq!(read.matches("\"host\":\"shop-3\"").count(), 26);
}

#[test]
fn what_is_not_acknowledged_is_an_error_that_says_why_within_ten_seconds() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    // Smaller than a line.
    broker.topic("small", 1, &[("max.message.bytes", "100")]);
    for (brokers, topic, words) in [
        (broker.address(), "nowhere", "error: nowhere: UnknownTopicOrPartition"),
        (broker.address(), "a topic", "error: a topic: InvalidTopic"),
        (broker.address(), "small", "error: small: MessageSizeTooLarge"),
        ("127.0.0.1:1", "small", "error: 127.0.0.1:1: no broker has answered within 8s"),
    ] {
        let started = Instant::now();
        let output = generate(
            folder.path(),
            &["--kafka", brokers, "--topic", topic, "--rate", "max", "--lines", "100"],
        );
        let (told, took) = (said(&output), started.elapsed());
        eprintln!("{topic} of {brokers}: {took:.1?}\n{told}");
        assert_eq!(output.status.code(), Some(1));
        assert!(told.contains(words), "{words} in\n{told}");
        assert!(took < SOON, "{took:?}");
        let counted = told.contains("; 0 acknowledged\n");
        assert_eq!(counted, brokers != "127.0.0.1:1", "{told}");
    }
}

#[test]
fn brokers_that_go_away_are_waited_for_as_long_as_was_said() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path());
    broker.topic("logs", 1, &[]);
    let start = |timeout: &str| {
        let mut command = Command::new(crate::cli::binary());
        command.args(["generate", "--kafka", broker.address(), "--topic", "logs"]);
        command.args(["--rate", "200", "--lines", "1500", "--timeout", timeout]);
        command.stderr(Stdio::piped()).spawn().unwrap()
    };
    // Several: librdkafka by itself is late at times, by ten seconds.
    let (short, long) = ([(); 6].map(|()| start("2s")), start("1m"));
    std::thread::sleep(Duration::from_secs(1));
    broker.server.kill();
    let killed = Instant::now();
    for short in short {
        let output = short.wait_with_output().unwrap();
        let (told, took) = (said(&output), killed.elapsed());
        eprintln!("{took:.1?}\n{told}");
        assert_eq!(output.status.code(), Some(1));
        assert!(told.contains("error: messages were not acknowledged within 2s"), "{told}");
        assert!(took < Duration::from_secs(6), "{took:?}");
        assert_eq!(told.matches("(check brokers").count(), 1, "said once: {told}");
    }
    broker.server.restart();
    let output = long.wait_with_output().unwrap();
    let told = said(&output);
    eprintln!("{told}");
    assert!(output.status.success(), "{told}");
    assert!(told.contains("1500 lines and 0 samples, "), "{told}");
    assert!(told.ends_with("; 1500 acknowledged\n"), "{told}");
}
