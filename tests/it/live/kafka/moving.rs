//! What detectors know moves with their partitions: against a real broker and a real VictoriaMetrics.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::Value;

use super::broker::Broker;
use crate::live::stack::{Agent, Server, asked, encode, get, now_ms, until};

const PATIENCE: Duration = Duration::from_secs(60);
const HOSTS: u64 = 12;
const SIGNALS: u64 = 8;
/// Frames of a second: so many lie in the past at first. A model is trained on the first hundred and replaced when there are two
/// hundred: what is compared lies between.
const PAST: u64 = 110;
/// The host whose signals are far off, from a time on.
const FAULTY: u64 = 3;

fn config(broker: &Broker, metrics: &str, run: &str, folder: &Path) -> String {
    let signals = (0..SIGNALS).map(|nth| {
        format!("[[processors.anomaly.signals]]\nname = \"s{nth}\"\nmetric = \"app_s{nth}\"\n")
    });
    format!(
        "[agent]\ntags = {{ run = \"{run}\" }}\nbackfill = \"off\"\n\
         [[inputs.kafka]]\nbrokers = [{:?}]\ntopics = [\"metrics\"]\nformat = \"influx\"\ngroup = \"{run}\"\n\
         state_topic = \"sentinelops-state\"\n\
         [[outputs.victoriametrics]]\nurl = \"{metrics}\"\n\
         [[outputs.file]]\npath = \"{}\"\nfrom = [\"anomaly\"]\n\
         [[processors.anomaly]]\npreset = \"none\"\nframe_interval = \"1s\"\nmin_training_frames = 100\nsilence = \"ignore\"\n\
         lateness = \"2s\"\ngroup_by = [\"host\"]\nincidents_per_week = 1000.0\n{}",
        broker.address(),
        folder.join("told.jsonl").display(),
        signals.collect::<String>()
    )
}

/// The next of a row of numbers below 1 (SplitMix64).
fn uniform(seed: &mut u64) -> f64 {
    *seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*seed ^ (*seed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// A host's sample of one second: eight signals around a level, and a fault.
fn line(host: u64, frame: u64, time_ms: i64, fault: u64) -> String {
    let value = |nth: u64| {
        let mut seed = frame * 1000 + host * 10 + nth;
        let noise: f64 = (0..4).map(|_| uniform(&mut seed)).sum();
        let off = if host == FAULTY && frame >= fault { 40.0 } else { 0.0 };
        10.0 + off + noise
    };
    let fields: Vec<String> = (0..SIGNALS).map(|nth| format!("s{nth}={}", value(nth))).collect();
    format!("app,host=h{host} {} {time_ms}000000", fields.join(","))
}

/// The hosts: one message a second each, under the host's key.
struct Hosts {
    start_ms: i64,
    /// Frames that are written.
    frames: AtomicU64,
    fault: AtomicU64,
    stop: AtomicBool,
}

impl Hosts {
    fn new() -> Hosts {
        let start_ms = now_ms() - PAST as i64 * 1000;
        let (frames, fault) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Hosts { start_ms, frames, fault, stop: AtomicBool::new(false) }
    }

    fn time_ms(&self, frame: u64) -> i64 {
        self.start_ms + frame as i64 * 1000
    }

    fn run(&self, broker: &Broker) {
        let producer = broker.producer();
        while !self.stop.load(Relaxed) {
            let frame = self.frames.load(Relaxed);
            let time_ms = self.time_ms(frame);
            if now_ms() < time_ms {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            for host in 0..HOSTS {
                let text = line(host, frame, time_ms, self.fault.load(Relaxed));
                producer.keyed("metrics", &format!("h{host}"), &text, time_ms);
            }
            producer.flush();
            self.frames.fetch_add(1, Relaxed);
        }
    }

    /// Waits for so many more.
    fn more(&self, frames: u64) -> u64 {
        let wanted = self.frames.load(Relaxed) + frames;
        until("more frames", PATIENCE, || self.frames.load(Relaxed) >= wanted);
        wanted
    }
}

/// They end with the test, also when it fails.
struct Ends<'a>(&'a Hosts);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Relaxed);
    }
}

/// Every score of a run, by labels and time.
fn scores(metrics: &Server, run: &str) -> BTreeMap<(String, i64), f64> {
    let selector = format!("anomaly_score{{run=\"{run}\"}}");
    let url =
        format!("{}/api/v1/export?match[]={}&reduce_mem_usage=1", metrics.url, encode(&selector));
    let mut scores = BTreeMap::new();
    for line in get(&url).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let label = |name: &str| line["metric"][name].as_str().unwrap_or_default().to_owned();
        let series = ["host", "for", "model_alias"].map(label).join(" ");
        let (times, values) =
            (line["timestamps"].as_array().unwrap(), line["values"].as_array().unwrap());
        for (time, value) in times.iter().zip(values) {
            let at = (series.clone(), time.as_i64().unwrap());
            let again = scores.insert(at, value.as_f64().unwrap());
            assert_eq!(again, None, "VictoriaMetrics has two samples of one series and time");
        }
    }
    scores
}

/// The changes of incidents that a run has told, each as its key and state.
fn told(folders: &[&Path]) -> Vec<(String, String)> {
    let mut told = Vec::new();
    for folder in folders {
        let text = std::fs::read_to_string(folder.join("told.jsonl")).unwrap_or_default();
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if let (Some(key), Some(state)) = (line["key"].as_str(), line["state"].as_str()) {
                told.push((key.to_owned(), state.to_owned()));
            }
        }
    }
    told.sort();
    told
}

fn partitions(agent: &Agent) -> f64 {
    agent.plugin("kafka")["gauges"]["assigned_partitions"].as_f64().unwrap_or(0.0)
}

/// All groups of all partitions have a model.
fn is_ready(agent: &Agent) -> bool {
    let status = agent.status();
    let detectors = status["detectors"].as_object().into_iter().flatten();
    let groups = detectors.flat_map(|(_, detector)| detector["groups"].as_array().unwrap().clone());
    groups.filter(|group| group["state"] == "ready").count() as u64 == HOSTS
}

/// One agent learns; its group's offsets, and what it knows, become those of two other groups.
fn learn(broker: &Broker, metrics: &str, folder: &Path) {
    let mut teacher = Agent::start(folder, &config(broker, metrics, "teacher", folder));
    until("all groups have a model", 3 * PATIENCE, || is_ready(&teacher));
    teacher.stop();
    let offsets = broker.committed("teacher", "metrics");
    let kept = broker.messages("sentinelops-state");
    for group in ["alone", "moving"] {
        broker.commit(group, "metrics", &offsets);
        broker.copy("sentinelops-state", &kept, |key| {
            key.strip_prefix("teacher").map(|rest| format!("{group}{rest}"))
        });
    }
}

#[test]
fn a_detectors_state_follows_its_partition_and_scores_and_calls_are_those_of_a_run_without_moves() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = |name: &str| {
        let dir = folder.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    };
    let (broker, metrics) =
        (Broker::start(folder.path()), Server::start("victoriametrics", folder.path()));
    broker.topic("metrics", 4, &[]);
    let hosts = Hosts::new();
    std::thread::scope(|scope| {
        let _ends = Ends(&hosts);
        scope.spawn(|| hosts.run(&broker));
        learn(&broker, &metrics.url, &dir("teacher"));
        let [alone, first, other] = ["alone", "first", "other"].map(dir);
        let start =
            |run: &str, dir: &Path| Agent::start(dir, &config(&broker, &metrics.url, run, dir));
        let _alone = start("alone", &alone);
        let mut a = start("moving", &first);
        until("it has all partitions", PATIENCE, || partitions(&a) == 4.0);
        let begun = hosts.more(3);
        hosts.fault.store(begun + 3, Relaxed);
        hosts.more(6);
        let b = start("moving", &other);
        let shared = |a: &Agent| partitions(a) == 2.0 && partitions(&b) == 2.0;
        until("they share the partitions", PATIENCE, || shared(&a));
        hosts.more(3);
        a.stop(); // all that it has goes to the other
        hosts.more(3);
        a.again();
        until("they share them again", PATIENCE, || shared(&a));
        let last = hosts.more(3);
        let times = hosts.time_ms(begun)..=hosts.time_ms(last);
        assert!(last < 195, "the machine is too slow: another model is due");
        compare(&metrics, &times);
        let (still, moved) = (told(&[&alone]), told(&[&first, &other]));
        eprintln!("told without moves {still:?}\nwith moves {moved:?}");
        let calls = |told: &[(String, String)]| -> Vec<String> {
            let calls = told.iter().filter(|(_, state)| state == "notified");
            calls.map(|(key, _)| key.clone()).collect()
        };
        assert_eq!(calls(&still).len(), 1, "the fault calls");
        assert_eq!(calls(&still), calls(&moved), "and calls once, wherever it is");
    });
}

/// Both runs have the same scores of these times.
fn compare(metrics: &Server, times: &RangeInclusive<i64>) {
    let of = |run: &str| -> BTreeMap<(String, i64), f64> {
        let all = scores(metrics, run).into_iter();
        all.filter(|((_, time_ms), _)| times.contains(time_ms)).collect()
    };
    let hosts = (0..HOSTS).map(|host| format!("h{host} all overall"));
    let last = |all: &BTreeMap<(String, i64), f64>, series: &str| {
        let of = all.keys().filter(|(other, _)| other == series);
        of.map(|(_, time_ms)| *time_ms).max() > Some(*times.end() - 1500)
    };
    until("both runs are scored to the end", PATIENCE, || {
        ["alone", "moving"].map(of).iter().all(|all| hosts.clone().all(|series| last(all, &series)))
    });
    let (still, moved) = (of("alone"), of("moving"));
    let apart = |at| moved.get(at).map_or(f64::NAN, |other| (still[at] - other).abs());
    let furthest = still.keys().map(|at| (apart(at), at)).max_by(|a, b| a.0.total_cmp(&b.0));
    let frames = still.keys().filter(|(series, _)| series == "h0 all overall").count();
    eprintln!(
        "{} scores of {HOSTS} hosts in {frames} frames, {} with moves; furthest apart: {furthest:?}",
        still.len(),
        moved.len()
    );
    assert!(frames >= 15, "{frames}");
    assert_eq!(still.len(), moved.len());
    assert!(furthest.unwrap().0 <= 1e-9, "NaN is a score that only one run has");
}
