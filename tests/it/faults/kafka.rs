//! Kafka, with a real broker: members that are killed, come and go, a broker that dies, a Loki that is dead or refuses (F17).
//!
//! Beside what holds for all faults: what the group was told is never beyond what Loki has acknowledged. That is seen from
//! outside, by committed offsets as any client may read them, and by the offsets that lines in acknowledged pushes carry.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use super::bed::pause;
use super::case::{Case, Size};
use super::made::Making;
use super::oracle::{Oracle, Verdict, put_line};
use crate::live::kafka::broker::{Broker, Watcher};
use crate::live::stack::{Agent, Server, loki_pages, until};
use crate::live::tap::{Mode, Tap};

const TOPIC: &str = "logs-topic";
const GROUP: &str = "fleet";
const PARTITIONS: i32 = 4;
/// How long a backlog may take to be read once nothing is in the way: a member that was killed is missed for 6 s, and a
/// pause between two tries can have grown to a minute.
const PATIENCE: Duration = Duration::from_secs(150);

/// A generator, a topic, members of one group, and a Loki behind a tap.
struct Fleet {
    broker: Broker,
    loki: Server,
    tap: Tap,
    config: String,
    members: BTreeMap<String, Agent>,
    folder: PathBuf,
    acknowledged: Acknowledged,
}

/// Which offsets were in pushes that Loki took.
#[derive(Default)]
struct Acknowledged {
    partitions: BTreeMap<i32, Vec<bool>>,
    /// Up to where there is no gap.
    whole: BTreeMap<i32, usize>,
    /// Lines that Loki took again; it knows them again, so that they are not there twice.
    again: u64,
}

impl Acknowledged {
    fn take(&mut self, tap: &Tap) {
        for push in tap.drain().iter().filter(|push| push.status == 204) {
            for entry in push.request.streams.iter().flat_map(|stream| &stream.entries) {
                let number = |name: &str| {
                    let pair = entry
                        .metadata
                        .iter()
                        .find(|pair| pair.name == name)
                        .expect("each line has it");
                    pair.value.parse::<usize>().unwrap()
                };
                let (partition, offset) = (number("partition") as i32, number("offset"));
                let seen = self.partitions.entry(partition).or_default();
                if seen.len() <= offset {
                    seen.resize(offset + 1, false);
                }
                self.again += u64::from(std::mem::replace(&mut seen[offset], true));
            }
        }
        for (partition, seen) in &self.partitions {
            let whole = self.whole.entry(*partition).or_default();
            while seen.get(*whole) == Some(&true) {
                *whole += 1;
            }
        }
    }

    fn covers(&self, partition: i32, committed: i64) -> bool {
        committed <= self.whole.get(&partition).map_or(0, |whole| *whole as i64)
    }
}

impl Fleet {
    fn start(folder: PathBuf) -> Fleet {
        let (broker, loki) = (Broker::start(&folder), Server::start("loki", &folder));
        let tap = Tap::start(Mode::Forward(loki.url.clone()));
        broker.topic(TOPIC, PARTITIONS, &[]);
        let config = format!(
            "[agent]\nmemory = \"8MiB\"\n[[inputs.kafka]]\nbrokers = [{:?}]\ntopics = [{TOPIC:?}]\ngroup = {GROUP:?}\n\
             session_timeout = \"6s\"\nlabels = {{ job = \"fleet\", filename = \"%{{partition}}\" }}\n\
             fields = {{ partition = \"%{{partition}}\", offset = \"%{{offset}}\" }}\n\
             [[outputs.loki]]\nurl = \"{}\"\nstructured_metadata = [\"partition\", \"offset\"]\n",
            broker.address(),
            tap.url
        );
        let (members, acknowledged) = (BTreeMap::new(), Acknowledged::default());
        Fleet { broker, loki, tap, config, members, folder, acknowledged }
    }

    fn join(&mut self, name: &str) {
        let agent = Agent::start(&self.folder.join(name), &self.config);
        self.members.insert(name.to_owned(), agent);
    }

    /// SIGTERM.
    fn leave(&mut self, name: &str) -> Duration {
        self.members.remove(name).expect("a member").stop()
    }

    /// Looks whether more was committed than Loki has acknowledged. What is committed is read first: it only grows.
    fn look(&mut self, watcher: &Watcher, case: &Case) -> bool {
        let Some(committed) = watcher.committed(TOPIC, PARTITIONS) else { return false };
        self.acknowledged.take(&self.tap);
        for (partition, offset) in committed {
            if !self.acknowledged.covers(partition, offset) {
                case.saw(format!(
                    "partition {partition}: {offset} is committed, Loki has {:?}",
                    self.acknowledged.whole
                ));
                panic!("an offset is committed that Loki has not acknowledged");
            }
        }
        true
    }

    /// Waits until everything is committed, looking all the time.
    fn settle(&mut self, watcher: &Watcher, case: &Case) {
        let ends = self.broker.ends(TOPIC);
        let until = Instant::now() + PATIENCE;
        loop {
            self.look(watcher, case);
            let committed = watcher.committed(TOPIC, PARTITIONS).unwrap_or_default();
            let mut both = committed.iter().zip(&ends);
            if !committed.is_empty() && both.all(|(is, end)| is.1.max(0) == end.1) {
                return;
            }
            if Instant::now() > until {
                for (name, agent) in &self.members {
                    eprintln!("{name}: {:#}", agent.status()["plugins"]);
                }
                panic!("{committed:?} of {ends:?} is committed");
            }
            pause(0.2);
        }
    }

    /// Each line that Loki has.
    fn read(&self, mut take: impl FnMut(&str)) {
        loki_pages(&self.loki, "{job=\"fleet\"}", |page| {
            for line in &page {
                take(&line.text);
            }
        });
    }

    /// What Loki has of all lines of a [`Load`].
    fn judge(&self, case: &Case, written: u64) -> Verdict {
        let mut oracle = Oracle::default();
        self.read(|line| oracle.take(line));
        let verdict = oracle.verdict("g", written);
        case.saw(format!("Loki has {verdict}"));
        verdict
    }
}

/// Puts numbered lines into the topic, at a rate, until told to stop.
struct Load {
    thread: Option<std::thread::JoinHandle<()>>,
    made: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    fn start(broker: &Broker, rate: u64) -> Load {
        let (made, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (counts, stops) = (Arc::clone(&made), Arc::clone(&stop));
        let producer = broker.producer();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut next = 0;
            while !stops.load(SeqCst) {
                let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
                producer.send(TOPIC, next..due, |number, line| put_line("g", number, line));
                next = due;
                counts.store(next, SeqCst);
                std::thread::sleep(Duration::from_millis(10));
            }
            producer.flush();
        });
        Load { thread: Some(thread), made, stop }
    }

    fn finish(mut self) -> u64 {
        self.stop.store(true, SeqCst);
        self.thread.take().unwrap().join().unwrap();
        self.made.load(SeqCst)
    }
}

/// The product's own generator, and two members, one of which is killed every 10 s, and a third that joins and leaves; the
/// broker dies once; Loki is dead for a while, and refuses for a while. In full first without any of it.
pub(super) fn kafka_fleet(case: &Case) {
    if case.size == Size::Full {
        let (kills, joins, looks) = fleet(case, "calm", Plan::default());
        assert!((kills, joins) == (0, 0) && looks > 10);
    }
    let (kills, joins, looks) = fleet(case, "troubled", Plan::new(case));
    assert!(kills >= case.pick(2, 8) && joins >= 1 && looks > 10);
}

/// Each line that is made is in Loki, whatever happens; how often a member was killed, a third joined, and offsets were looked
/// at.
fn fleet(case: &Case, folder: &str, mut happened: Plan) -> (u64, u64, u64) {
    let mut fleet = Fleet::start(case.folder.join(folder));
    let watcher = Watcher::new(fleet.broker.address(), GROUP);
    for name in ["a", "b"] {
        fleet.join(name);
    }
    let (rate, all) = case.pick((4000, 60_000), (8000, 1_000_000));
    let mut load = Making::start(&fleet.broker, TOPIC, case.seed, rate, all);
    let long = Duration::from_secs(case.pick(3, 20));
    let mut random = case.random();
    let started = Instant::now();
    let (mut looks, mut kills, mut joins) = (0_u64, 0_u64, 0_u64);
    while !load.is_done() {
        looks += u64::from(fleet.look(&watcher, case));
        match happened.next(started.elapsed()) {
            Some(Event::Kill) => {
                let name = ["a", "b"][random.below(2) as usize];
                fleet.members.get_mut(name).expect("a member").crash();
                kills += 1;
            }
            Some(Event::Join) if fleet.members.contains_key("c") => {
                fleet.leave("c");
            }
            Some(Event::Join) => {
                fleet.join("c");
                joins += 1;
            }
            Some(Event::Broker) => {
                fleet.broker.server.kill();
                pause(1.0);
                fleet.broker.server.restart();
            }
            Some(Event::LokiDead) => {
                fleet.loki.kill();
                std::thread::sleep(long);
                fleet.loki.restart();
            }
            Some(Event::LokiRefuses) => fleet.tap.set(Mode::Answer(401)),
            Some(Event::LokiTakes) => fleet.tap.set(Mode::Forward(fleet.loki.url.clone())),
            None => pause(0.2),
        }
    }
    let mut made = load.finish(&fleet.folder);
    fleet.tap.set(Mode::Forward(fleet.loki.url.clone()));
    fleet.settle(&watcher, case);
    let ends = fleet.broker.ends(TOPIC);
    let messages: i64 = ends.iter().map(|(_, end)| end).sum();
    assert!(ends.iter().all(|(_, end)| *end > 0), "each partition has some: {ends:?}");
    fleet.read(|line| made.take(line));
    let verdict = made.verdict();
    case.saw(format!("{folder}: the topic has {messages} messages, Loki {verdict}"));
    let again = fleet.acknowledged.again;
    case.saw(format!(
        "{kills} kills, a third joined {joins} times; committed offsets were looked at {looks} times; Loki took {again} lines again"
    ));
    assert!(verdict.is_whole(), "{verdict}: {:?}", verdict.first_lost);
    assert_eq!((verdict.written, messages), (all, all as i64), "each is one message");
    (kills, joins, looks)
}

/// What happens in [`kafka_fleet`].
enum Event {
    Kill,
    Join,
    Broker,
    LokiDead,
    LokiRefuses,
    LokiTakes,
}

/// When it happens.
#[derive(Default)]
struct Plan {
    at: Vec<(f64, Event)>,
}

impl Plan {
    fn new(case: &Case) -> Plan {
        let mut at: Vec<(f64, Event)> = Vec::new();
        let mut add = |every: [f64; 2], until: f64, event: fn() -> Event| {
            let times = std::iter::successors(Some(every[0]), |at| Some(at + every[1]));
            at.extend(times.take_while(|at| *at < until).map(|at| (at, event())));
        };
        let once = f64::INFINITY;
        if case.size == Size::Short {
            add([4.0, 5.0], 14.0, || Event::Kill);
            add([2.0, 8.0], 14.0, || Event::Join);
            add([6.0, once], 14.0, || Event::Broker);
            add([11.0, once], 14.0, || Event::LokiDead);
            // A refusal is asked about after half a minute: live::kafka::consume has one.
        } else {
            add([7.0, 10.0], 120.0, || Event::Kill);
            add([5.0, 15.0], 120.0, || Event::Join);
            add([33.0, once], 120.0, || Event::Broker);
            add([52.0, once], 120.0, || Event::LokiDead);
            add([85.0, once], 120.0, || Event::LokiRefuses);
            add([105.0, once], 120.0, || Event::LokiTakes);
        }
        at.sort_by(|a, b| b.0.total_cmp(&a.0));
        Plan { at }
    }

    fn next(&mut self, now: Duration) -> Option<Event> {
        self.at.pop_if(|(at, _)| *at <= now.as_secs_f64()).map(|(_, event)| event)
    }
}

/// A member comes or goes every 3 s, while the sink is slow; then the broker is down for a while.
pub(super) fn kafka_rebalance(case: &Case) {
    let mut fleet = Fleet::start(case.folder.clone());
    fleet.tap.set(Mode::Slow(fleet.loki.url.clone(), Duration::from_millis(300)));
    let watcher = Watcher::new(fleet.broker.address(), GROUP);
    for name in ["a", "b"] {
        fleet.join(name);
    }
    let seconds = case.pick(9, 60);
    let load = Load::start(&fleet.broker, 2000);
    let (started, mut moves) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(seconds) {
        if fleet.members.contains_key("c") {
            let took = fleet.leave("c");
            assert!(took < Duration::from_secs(10), "{took:?} to leave");
        } else {
            fleet.join("c");
        }
        moves += 1;
        let next = started + Duration::from_secs(3 * moves);
        while Instant::now() < next {
            fleet.look(&watcher, case);
            pause(0.2);
        }
    }
    let rebalances: f64 = fleet
        .members
        .values()
        .filter_map(|agent| agent.plugin("kafka")["gauges"]["rebalances_total"].as_f64())
        .sum();
    case.saw(format!(
        "{moves} times a member came or went, {rebalances} rebalances of those that stayed"
    ));
    fleet.look(&watcher, case);
    let again = fleet.acknowledged.again;
    case.saw(format!("Loki took {again} lines again"));
    assert_eq!(again, 0, "what goes to another member is drained first");
    let drained = load.made.load(SeqCst);
    fleet.broker.server.kill();
    std::thread::sleep(Duration::from_secs(case.pick(4, 30)));
    for (name, agent) in &fleet.members {
        assert!(
            agent.plugin("kafka")["notes"]["brokers"].is_string(),
            "{name} says nothing of a dead broker"
        );
    }
    fleet.broker.server.restart();
    pause(3.0);
    let written = load.finish();
    assert!(written > drained, "nothing was made after the broker was back");
    fleet.settle(&watcher, case);
    let verdict = fleet.judge(case, written);
    assert!(verdict.is_whole(), "{verdict}: {:?}", verdict.first_lost);
    for agent in fleet.members.values() {
        let kafka = agent.plugin("kafka");
        assert_eq!(
            (&kafka["drops"], &kafka["restarts"]),
            (&serde_json::json!({}), &0.into()),
            "{kafka:#}"
        );
        until("nobody complains any more", Duration::from_secs(30), || {
            agent.plugin("kafka")["notes"] == serde_json::json!({})
        });
    }
}
