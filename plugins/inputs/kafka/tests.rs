//! What is acknowledged and committed, labels and times of messages, options. Against brokers: `tests/it/live/kafka.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::units::Period;
use sentinel_contract::{
    Audience, Batch, ConfigError, Emitter, Events, Fate, Fields, Labels, Log, Memory, Permit,
    Plugin as _, Value,
};
use sentinel_transport::kafka::rdkafka::Timestamp;
use sentinel_transport::kafka::rdkafka::message::{Header, OwnedHeaders, OwnedMessage};

use super::books::{Books, Bounds, Partition};
use super::labels::Labeller;
use super::message::{Maker, Run};
use super::payload::Decoder;
use super::reader::Lost;
use super::service::{Shares, room};
use super::start::Start;
use super::{Config, Format, Kafka, settings, templates};

const TIME_MS: i64 = 1_795_400_000_123;

fn everything(_: &Partition) -> bool {
    true
}

fn message(partition: i32, offset: i64, payload: Option<&str>) -> OwnedMessage {
    let payload = payload.map(|text| text.as_bytes().to_vec());
    let headers = OwnedHeaders::new().insert(Header { key: "tenant", value: Some("shop") });
    let time = Timestamp::CreateTime(TIME_MS);
    OwnedMessage::new(
        payload,
        Some(b"key-1".to_vec()),
        "logs".to_owned(),
        time,
        partition,
        offset,
        Some(headers),
    )
}

fn labeller(labels: &[(&str, &str)], fields: &[(&str, &str)]) -> Labeller {
    let options = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let mut errors = Vec::new();
    let mut wrong = |option: &str, reason: String| errors.push(format!("{option}: {reason}"));
    let labels = templates(options(labels), "labels", &mut wrong);
    let fields = templates(options(fields), "fields", &mut wrong);
    assert_eq!(errors, [""; 0]);
    let fields = fields.into_iter().map(|(name, template)| (name.into(), template)).collect();
    Labeller::new(&Labels::new([("host", "web-1")]), labels, fields)
}

fn maker(labels: &[(&str, &str)]) -> Maker {
    let (labeller, counters) = (labeller(labels, &[]), Arc::new(Counters::default()));
    Maker { origin: "kafka".into(), labeller, decoder: Decoder::new(Format::Raw), counters }
}

async fn permit() -> Permit {
    Memory::new(1 << 20).acquire(1 << 20).await
}

async fn make(
    maker: &mut Maker,
    books: &Arc<Books>,
    assignment: u64,
    messages: &[OwnedMessage],
) -> Vec<Batch> {
    let mut batches = Vec::new();
    maker.make(
        Run { assignment, audience: Audience::All, messages: messages.iter() },
        books,
        &mut permit().await,
        &mut batches,
    );
    batches
}

fn logs(batch: &Batch) -> &[Log] {
    let Events::Logs(logs) = &batch.events else { panic!("not logs") };
    logs
}

fn resolve(batch: &mut Batch, fate: Fate) {
    batch.receipt.take().unwrap().resolve(fate);
}

fn due(books: &Books) -> Vec<(i32, i64)> {
    let mut due: Vec<_> = books
        .take_due(everything)
        .into_iter()
        .map(|((_, partition), offset)| (partition, offset))
        .collect();
    due.sort_unstable();
    due
}

#[tokio::test]
async fn only_the_lowest_offset_without_a_gap_is_committed() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let mut batches = Vec::new();
    for offset in [10, 11, 12] {
        batches.extend(make(&mut maker, &books, ours, &[message(0, offset, Some("a"))]).await);
    }
    assert_eq!(due(&books), [], "nothing is acknowledged");
    resolve(&mut batches[2], Fate::Delivered);
    resolve(&mut batches[1], Fate::Delivered);
    assert_eq!(due(&books), [], "the first is still under way");
    resolve(&mut batches[0], Fate::Rejected);
    assert_eq!(due(&books), [(0, 13)]);
    assert_eq!(due(&books), [], "told once");
    books.untold("logs", 0);
    assert_eq!(due(&books), [(0, 13)], "and again when the group did not take it");
}

#[tokio::test]
async fn outputs_and_observers_are_shown_what_each_does_not_have() {
    let of = |delivered, observed| {
        let bounds = Bounds { delivered, observed: Some(observed) };
        [9, 10, 14, 15].map(|offset| bounds.audience(offset))
    };
    use Audience::{All, Observers, Outputs};
    assert_eq!(of(10, 10), [Outputs, All, All, All], "what both have is for outputs alone");
    assert_eq!(of(10, 15), [Outputs, Outputs, Outputs, All]);
    assert_eq!(of(15, 10), [Outputs, Observers, Observers, All]);
    assert_eq!(Bounds::NONE.audience(0), All);
}

#[test]
fn what_lies_beyond_the_end_of_a_partition_was_of_another_log() {
    let after = |delivered, observed, end| {
        let mut bounds = Bounds { delivered, observed: Some(observed) };
        (bounds.end_at(end), bounds.delivered, bounds.observed.unwrap())
    };
    assert_eq!(after(10, 12, 12), (false, 10, 12));
    assert_eq!(after(10, 900, 12), (true, 10, 10), "made anew, and read from 10 on since");
    assert_eq!(after(i64::MIN, 900, 12), (true, i64::MIN, i64::MIN), "made anew");
    assert_eq!(after(900, 900, 12), (true, i64::MIN, i64::MIN), "cut off: read from its beginning");
}

#[tokio::test]
async fn what_is_read_again_for_observers_moves_no_offset_back() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let bounds = Bounds { delivered: 12, observed: Some(10) };
    let ours = books.assign(("logs".into(), 0), bounds);
    for offset in [10, 11] {
        let mut batch = make(&mut maker, &books, ours, &[message(0, offset, Some("a"))]).await;
        resolve(&mut batch[0], Fate::Delivered);
        assert_eq!(due(&books), [], "the group knows more");
    }
    let mut batch = make(&mut maker, &books, ours, &[message(0, 12, Some("a"))]).await;
    resolve(&mut batch[0], Fate::Delivered);
    assert_eq!(due(&books), [(0, 13)]);
    assert_eq!(books.observed(everything), [((Arc::from("logs"), 0), 13)]);
    assert!(books.has_all("logs", 0, 13) && !books.has_all("logs", 0, 14));
    let _under_way = make(&mut maker, &books, ours, &[message(0, 13, Some("a"))]).await;
    let surely = [((Arc::from("logs"), 0), 13)];
    assert_eq!(books.observed(everything), surely, "what is under way may not have been shown");
    assert!(!books.are_settled() && !books.has_all("logs", 0, 13));
}

#[tokio::test]
async fn a_run_tells_how_far_its_partition_has_come_once_all_of_it_is_seen() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    maker.decoder = Decoder::new(Format::Json);
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let sample = r#"{"name":"up","labels":{},"time_ms":1,"value":1}"#;
    let line = r#"{"time_ns":1,"labels":{"job":"a"},"line":"b"}"#;
    let messages =
        [message(0, 1, Some(sample)), message(0, 2, Some(line)), message(0, 3, Some("?"))];
    let batches = make(&mut maker, &books, ours, &messages).await;
    let of = |batch: &Batch| (batch.events.kind(), batch.refused.is_some(), batch.reached_ms);
    let reached: Vec<_> = batches.iter().map(of).collect();
    assert_eq!(reached.len(), 3, "{reached:?}");
    let told: Vec<_> = reached.iter().filter(|(.., reached)| reached.is_some()).collect();
    assert_eq!(told, [&(sentinel_contract::Kinds::LOGS, false, Some(TIME_MS))], "{reached:?}");
}

#[tokio::test]
async fn what_is_lost_is_read_again_from_there_and_nothing_behind_it_is_committed() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let mut batches = Vec::new();
    for offset in [10, 11, 12] {
        batches.extend(make(&mut maker, &books, ours, &[message(0, offset, Some("a"))]).await);
    }
    resolve(&mut batches[0], Fate::Delivered);
    resolve(&mut batches[2], Fate::Lost);
    resolve(&mut batches[1], Fate::Lost);
    assert_eq!(books.take_lost(), [((Arc::from("logs"), 0), 11)]);
    assert_eq!(due(&books), [(0, 11)]);
    let mut again =
        make(&mut maker, &books, ours, &[message(0, 11, Some("a")), message(0, 12, Some("a"))])
            .await;
    resolve(&mut again[0], Fate::Delivered);
    assert_eq!(due(&books), [(0, 13)]);
}

#[tokio::test]
async fn a_receipt_of_an_assignment_that_ended_changes_nothing() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let old = books.assign(("logs".into(), 3), Bounds::NONE);
    let mut batch = make(&mut maker, &books, old, &[message(3, 10, Some("a"))]).await;
    books.revoke(everything);
    let new = books.assign(("logs".into(), 3), Bounds::NONE);
    resolve(&mut batch[0], Fate::Delivered);
    assert_eq!(due(&books), []);
    let late = make(&mut maker, &books, old, &[message(3, 11, Some("a"))]).await;
    assert!(late.is_empty(), "a message that came before its partition went is another member's");
    let mut batch = make(&mut maker, &books, new, &[message(3, 10, Some("a"))]).await;
    resolve(&mut batch[0], Fate::Delivered);
    assert_eq!(due(&books), [(3, 11)]);
}

#[tokio::test]
async fn a_partition_drains_when_all_of_it_is_acknowledged() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let other = books.assign(("logs".into(), 1), Bounds::NONE);
    let mut batch = make(&mut maker, &books, ours, &[message(0, 1, Some("a"))]).await;
    let open = make(&mut maker, &books, other, &[message(1, 1, Some("a"))]).await;
    let first = |partition: &Partition| partition.1 == 0;
    assert!(!books.drain(first, Duration::from_millis(1), || false));
    let waiting = Arc::clone(&books);
    let drained =
        std::thread::spawn(move || waiting.drain(first, Duration::from_secs(60), || false));
    resolve(&mut batch[0], Fate::Delivered);
    assert!(drained.join().unwrap(), "what is under way of another partition is not waited for");
    let second = |partition: &Partition| partition.1 == 1;
    assert!(
        !books.drain(second, Duration::from_secs(60), || true),
        "who is told to stop does not wait"
    );
    drop(open);
    let started = std::time::Instant::now();
    assert!(!books.drain(second, Duration::from_secs(60), || false));
    assert!(started.elapsed() < Duration::from_secs(30), "what is lost is not waited for");
}

#[tokio::test]
async fn tombstones_are_passed_over_and_their_offsets_committed() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    assert!(
        make(&mut maker, &books, ours, &[message(0, 1, None), message(0, 2, None)])
            .await
            .is_empty()
    );
    assert_eq!(due(&books), [(0, 3)]);
    let mixed = [message(0, 3, Some("a")), message(0, 4, None), message(0, 5, Some("bc"))];
    let mut batch = make(&mut maker, &books, ours, &mixed).await;
    let bodies: Vec<&[u8]> = logs(&batch[0]).iter().map(|log| &log.body[..]).collect();
    assert_eq!(bodies, [&b"a"[..], b"bc"]);
    resolve(&mut batch[0], Fate::Delivered);
    assert_eq!(due(&books), [(0, 6)]);
    assert_eq!(maker.counters.counts()["tombstone"], 3);
}

#[tokio::test]
async fn a_batch_is_charged_by_what_it_holds() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let mut permit = permit().await;
    let before = permit.bytes();
    let messages = [message(0, 1, Some("12345")), message(0, 2, Some("678"))];
    let mut batches = Vec::new();
    maker.make(
        Run { assignment: ours, audience: Audience::All, messages: messages.iter() },
        &books,
        &mut permit,
        &mut batches,
    );
    let charged = batches[0].permit.as_ref().unwrap().bytes();
    assert_eq!(charged, 8 + 2 * size_of::<Log>());
    assert_eq!(permit.bytes(), before - charged);
}

#[tokio::test]
async fn messages_of_one_millisecond_stay_apart_and_keep_their_time_when_they_are_read_again() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let messages = [message(0, 5_000_041, Some("a")), message(0, 5_000_042, Some("a"))];
    for _ in 0..2 {
        let batch = make(&mut maker, &books, ours, &messages).await;
        let times: Vec<i64> = logs(&batch[0]).iter().map(|log| log.time_ns).collect();
        assert_eq!(times, [TIME_MS * 1_000_000 + 41, TIME_MS * 1_000_000 + 42]);
    }
}

#[tokio::test]
async fn a_partition_has_its_own_source_and_order() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let mut seen = Vec::new();
    for partition in [0, 1, 0] {
        let ours = books.assign(("logs".into(), partition), Bounds::NONE);
        let batch = make(&mut maker, &books, ours, &[message(partition, 1, Some("a"))]).await;
        seen.push((batch[0].source, batch[0].order));
    }
    assert_eq!(seen[0], seen[2]);
    assert!(seen[0].0 != seen[1].0 && seen[0].1 != seen[1].1);
}

#[test]
fn labels_are_made_of_what_a_message_has_and_shared() {
    let names = [
        ("job", "shop"),
        ("topic", "%{topic}"),
        ("tenant", "%{header.tenant}"),
        ("none", "%{header.other}"),
        ("part", "p%{partition}"),
        ("host", "%{key}"),
    ];
    let mut labeller =
        labeller(&names, &[("at", "%{offset} %{timestamp}"), ("none", "%{header.other}")]);
    let labels = labeller.labels(&message(7, 9, Some("a")));
    let found: Vec<_> = labels.iter().collect();
    let expected =
        [("host", "key-1"), ("job", "shop"), ("part", "p7"), ("tenant", "shop"), ("topic", "logs")];
    assert_eq!(found, expected);
    assert!(Arc::ptr_eq(&labels, &labeller.labels(&message(7, 10, Some("b")))));
    assert!(!Arc::ptr_eq(&labels, &labeller.labels(&message(8, 10, Some("b")))));
    let fields = Fields(labeller.fields(&message(7, 9, Some("a"))));
    assert_eq!(fields.0.len(), 1);
    assert_eq!(fields.get("at"), Some(&Value::Text(format!("9 {TIME_MS}").into())));
}

#[tokio::test]
async fn each_message_and_each_partition_has_its_own_labels() {
    for (text, expected) in [("%{offset}", ["1", "2", "3"]), ("p%{partition}", ["p0", "p0", "p1"])]
    {
        let (books, mut maker) = (Arc::new(Books::default()), maker(&[("from", text)]));
        let mut found = Vec::new();
        for messages in
            [&[message(0, 1, Some("a")), message(0, 2, Some("b"))][..], &[message(1, 3, Some("c"))]]
        {
            let ours = books.assign(("logs".into(), 0), Bounds::NONE);
            for batch in make(&mut maker, &books, ours, messages).await {
                found.extend(
                    logs(&batch).iter().map(|log| log.stream.get("from").unwrap().to_owned()),
                );
            }
        }
        assert_eq!(found, expected);
    }
}

#[test]
fn label_sets_without_end_are_forgotten_all_at_once() {
    let mut labeller = labeller(&[("offset", "%{offset}")], &[]);
    let first = labeller.labels(&message(0, 0, Some("a")));
    for offset in 1..10_001 {
        labeller.labels(&message(0, offset, Some("a")));
    }
    let again = labeller.labels(&message(0, 0, Some("a")));
    assert!(first == again && !Arc::ptr_eq(&first, &again));
}

fn sample(uncommented: bool) -> Config {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(option) if uncommented => format!("{option}\n"),
        _ => format!("{line}\n"),
    };
    let table: toml::Table = Kafka::SAMPLE.lines().map(line).collect::<String>().parse().unwrap();
    table["inputs"]["kafka"][0].clone().try_into().unwrap()
}

#[test]
fn the_sample_parses_and_its_commented_values_are_the_defaults() {
    let plain = sample(false);
    assert_eq!(plain, sample(true));
    let (brokers, topics) = (plain.brokers.clone(), plain.topics.clone());
    assert_eq!(plain, Config { brokers, topics, ..Config::default() });
}

#[test]
fn every_option_is_in_the_sample() {
    let debug = format!("{:#?}", Config::default());
    let options = debug
        .lines()
        .filter_map(|line| line.strip_prefix("    ")?.split_once(": "))
        .map(|(name, _)| name);
    for option in options.filter(|name| !name.starts_with(' ')) {
        let shown = Kafka::SAMPLE
            .lines()
            .any(|line| line.trim_start_matches("# ").starts_with(&format!("{option} = ")));
        assert!(shown, "{option} is not in the sample");
    }
}

fn refusals(change: impl FnOnce(&mut Config)) -> String {
    let mut config = sample(false);
    change(&mut config);
    let errors = settings(config).err().unwrap_or_default();
    errors.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_cannot_be_used_is_refused_all_at_once() {
    assert_eq!(refusals(|_| ()), "");
    let said = refusals(|config| {
        config.brokers.clear();
        config.topics = vec![String::new()];
        config.group.clear();
        config.start = "yesterday".to_owned();
        config.session_timeout = Period::secs(1);
        config.labels.insert("a".to_owned(), "%{colour}".to_owned());
        config.fields.insert("b".to_owned(), "%{key".to_owned());
    });
    for part in [
        "brokers: must name",
        "topics: must not be empty",
        "group: must not be empty",
        "start: must be \"earliest\", \"latest\" or a time",
        "session_timeout: must be from 6s to 4m",
        "labels.a: %{colour} is none of topic, partition",
        "fields.b: \"%{key\" is not closed",
    ] {
        assert!(said.contains(part), "{part} is not in:\n{said}");
    }
    assert!(refusals(|config| config.topics.clear()).contains("topics: must name at least one"));
}

#[test]
fn where_to_begin_is_a_word_or_a_time() {
    assert_eq!(super::start("earliest"), Ok(Start::Earliest));
    assert_eq!(super::start("latest"), Ok(Start::Latest));
    assert_eq!(super::start("1970-01-01T00:00:01Z"), Ok(Start::At(1000)));
}

#[tokio::test]
async fn a_message_of_another_format_is_a_dead_letter_and_its_neighbours_are_events() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    maker.decoder = Decoder::new(Format::Json);
    let good = r#"{"labels":{"job":"a"},"time":"2026-11-30T00:00:00Z","line":"hello"}"#;
    let messages =
        [message(0, 1, Some(good)), message(0, 2, Some("{oops")), message(0, 3, Some(good))];
    let mut batches = make(&mut maker, &books, ours, &messages).await;
    batches.sort_by_key(|batch| batch.refused.is_some());
    assert_eq!(batches.len(), 2);
    assert_eq!((logs(&batches[0]).len(), &batches[0].refused), (2, &None));
    let why = batches[1].refused.clone().unwrap();
    assert!(why.starts_with("logs/0, offset 2: "), "{why}");
    let letter = &logs(&batches[1])[0];
    assert_eq!((&letter.body[..], letter.text("offset")), (&b"{oops"[..], Some(&b"2"[..])));
    resolve(&mut batches[0], Fate::Delivered);
    assert_eq!(due(&books), [], "the letter is not written yet");
    resolve(&mut batches[1], Fate::Rejected);
    assert_eq!(due(&books), [(0, 4)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_fetched_ahead_takes_less_where_others_have_the_memory_and_waits_for_none() {
    let counters = Arc::new(Counters::default());
    let lane = tokio::sync::mpsc::channel(1).0;
    let out = Emitter::new("kafka".into(), Arc::clone(&counters), Memory::new(16 << 20), lane);
    let mut held = Vec::new();
    for expected in [6 << 20, 6 << 20, 2_097_152, (1 << 20) / 4 + 1_000_000] {
        let (shares, permit) = room(&out).await;
        let permit = permit.unwrap();
        assert_eq!(permit.bytes(), expected);
        assert_eq!(shares.queued + shares.fetch, expected);
        held.push(permit);
    }
    assert_eq!(counters.counts(), [].into());
    assert!(room(&out).await.1.is_none());
    assert_eq!(counters.counts(), [("uncharged", 1)].into());
    let reads = tokio::time::timeout(Duration::from_secs(1), out.reserve(512 << 10)).await;
    assert!(reads.is_ok(), "what is left is for those who read");
}

#[test]
fn memory_is_shared_so_that_something_is_left_to_read_with() {
    for (budget, shares) in [
        (16 << 20, Shares { queued: 4 << 20, fetch: 2 << 20, round: 512 << 10 }),
        (4 << 20, Shares { queued: 1_097_152, fetch: 1_000_000, round: 256 << 10 }),
    ] {
        assert_eq!(Shares::of(budget), shares);
        assert!(shares.queued + shares.fetch + 3 * shares.round < budget);
    }
}

#[tokio::test]
async fn many_samples_of_a_small_message_are_charged_by_what_they_are() {
    let (books, mut maker) = (Arc::new(Books::default()), maker(&[]));
    maker.decoder = Decoder::new(Format::Influx);
    let ours = books.assign(("logs".into(), 0), Bounds::NONE);
    let fields: Vec<String> = (0..100).map(|at| format!("f{at}=1")).collect();
    let line = format!("m {}", fields.join(","));
    let (memory, mut batches) = (Memory::new(1 << 20), Vec::new());
    let mut permit = memory.acquire(1000).await;
    let messages = [message(0, 1, Some(&line))];
    maker.make(
        Run { assignment: ours, audience: Audience::All, messages: messages.iter() },
        &books,
        &mut permit,
        &mut batches,
    );
    assert_eq!(batches[0].events.len(), 100);
    assert_eq!(batches[0].permit.as_ref().unwrap().bytes(), 100 * 24);
    drop((batches, permit));
    assert_eq!(memory.used(), 0);
}

#[test]
fn pauses_after_losses_double_to_a_minute_and_begin_anew_after_a_calm() {
    let (mut lost, mut now) = (Lost::default(), std::time::Instant::now());
    let mut pauses = Vec::new();
    for _ in 0..8 {
        lost.again(now);
        pauses.push(lost.pause.as_secs());
        now = lost.until.unwrap();
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60]);
    lost.again(now + Duration::from_secs(121));
    assert_eq!(lost.pause.as_secs(), 1);
}
