//! What detectors know moves with their partitions: against a real broker and a real VictoriaMetrics.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::broker::Broker;
use crate::live::stack::{Agent, Server, asked, encode, get, now_ms, until};

const PATIENCE: Duration = Duration::from_secs(60);
const HOSTS: u64 = 12;
const SIGNALS: u64 = 8;
/// Frames of a second, as they happen. A model is there after 33, and the next one after 63: live it may be in use a frame sooner
/// or later, so what is compared ends before it (`anomaly::tests::moving` has trainings too).
const FRAMES: u64 = 75;
const COMPARED: u64 = 61;
/// From this frame on one host's signals are far off.
const FAULT: u64 = 38;
/// Another member comes; the first one goes, and with it all that it has; it comes back.
const COMES: u64 = 40;
const GOES: u64 = 49;
const RETURNS: u64 = 54;

fn config(broker: &Broker, metrics: &str, run: &str, folder: &Path) -> String {
    let signals = (0..SIGNALS).map(|nth| {
        format!("[[processors.anomaly.signals]]\nname = \"s{nth}\"\nmetric = \"app_s{nth}\"\n")
    });
    format!(
        "[agent]\ntags = {{ run = \"{run}\" }}\nbackfill = \"off\"\n\
         [[inputs.kafka]]\nbrokers = [{:?}]\ntopics = [\"metrics\"]\nformat = \"influx\"\ngroup = \"{run}\"\n\
         state_topic = \"state-{run}\"\n\
         [[outputs.victoriametrics]]\nurl = \"{metrics}\"\n\
         [[outputs.file]]\npath = {:?}\nfrom = [\"anomaly\"]\n\
         [[processors.anomaly]]\npreset = \"none\"\nframe_interval = \"1s\"\nmin_training_frames = 30\nsilence = \"ignore\"\n\
         lateness = \"2s\"\ngroup_by = [\"host\"]\nincidents_per_week = 1000.0\n{}",
        broker.address(),
        folder.join("told.jsonl"),
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
fn line(host: u64, frame: u64, time_ms: i64) -> String {
    let value = |nth: u64| {
        let mut seed = frame * 1000 + host * 10 + nth;
        let noise: f64 = (0..4).map(|_| uniform(&mut seed)).sum();
        let off = if host == 3 && frame >= FAULT { 40.0 } else { 0.0 };
        10.0 + off + noise
    };
    let fields: Vec<String> = (0..SIGNALS).map(|nth| format!("s{nth}={}", value(nth))).collect();
    format!("app,host=h{host} {} {}000000", fields.join(","), time_ms)
}

/// One second of all hosts, each host's message under its key.
fn second(broker: &Broker, frame: u64, start_ms: i64) {
    let producer = broker.producer();
    for host in 0..HOSTS {
        let time_ms = start_ms + frame as i64 * 1000;
        producer.keyed("metrics", &format!("h{host}"), &line(host, frame, time_ms), time_ms);
    }
    producer.flush();
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

#[test]
fn a_detectors_state_follows_its_partition_and_scores_and_calls_are_those_of_a_run_without_moves() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [alone, first, second_one] =
        ["alone", "first", "second"].map(|name| folder.path().join(name));
    [&alone, &first, &second_one].map(|dir| std::fs::create_dir(dir).unwrap());
    let broker = Broker::start(folder.path());
    let metrics = Server::start("victoriametrics", folder.path());
    broker.topic("metrics", 4, &[]);
    let _alone = Agent::start(&alone, &config(&broker, &metrics.url, "alone", &alone));
    let mut a = Agent::start(&first, &config(&broker, &metrics.url, "moving", &first));
    until("it has all partitions", PATIENCE, || partitions(&a) == 4.0);
    let (mut b, start_ms) = (None, now_ms());
    for frame in 0..FRAMES {
        while now_ms() < start_ms + frame as i64 * 1000 {
            std::thread::sleep(Duration::from_millis(20));
        }
        second(&broker, frame, start_ms);
        match frame {
            COMES => {
                let config = config(&broker, &metrics.url, "moving", &second_one);
                b = Some(Agent::start(&second_one, &config));
            }
            GOES => {
                let b = b.as_ref().unwrap();
                assert_eq!(
                    (partitions(&a), partitions(b)),
                    (2.0, 2.0),
                    "they share the partitions"
                );
                a.stop();
            }
            RETURNS => a.again(),
            _ => (),
        }
    }
    let b = b.unwrap();
    until("they share them again", PATIENCE, || partitions(&a) == 2.0 && partitions(&b) == 2.0);
    let wanted = start_ms + COMPARED as i64 * 1000;
    let up_to = |scores: BTreeMap<(String, i64), f64>| -> BTreeMap<(String, i64), f64> {
        scores.into_iter().filter(|((_, time_ms), _)| *time_ms <= wanted).collect()
    };
    until("both runs are scored", PATIENCE, || {
        ["alone", "moving"].iter().all(|run| {
            let all = scores(&metrics, run);
            (0..HOSTS).all(|host| {
                let of = all
                    .keys()
                    .filter(|(series, _)| series.starts_with(&format!("h{host} all overall")));
                of.map(|(_, time_ms)| *time_ms).max() >= Some(wanted - 1000)
            })
        })
    });
    let (still, moved) = (up_to(scores(&metrics, "alone")), up_to(scores(&metrics, "moving")));
    let frames = still.keys().filter(|(series, _)| series.starts_with("h0 all overall")).count();
    let furthest = still
        .iter()
        .map(|(at, score)| (moved.get(at).map_or(f64::NAN, |other| (score - other).abs()), at));
    let furthest = furthest.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    eprintln!(
        "{} scores of {HOSTS} hosts in {frames} frames, {} of them after moves; furthest apart {:e} ({:?})",
        still.len(),
        moved.len(),
        furthest.0,
        furthest.1
    );
    assert!(frames > 25, "{frames}");
    assert_eq!(still.len(), moved.len());
    assert!(furthest.0 <= 1e-9, "NaN is a score that only one run has");
    let (still, moved) = (told(&[&alone]), told(&[&first, &second_one]));
    let notified = |told: &[(String, String)]| {
        told.iter().filter(|(_, state)| state == "notified").cloned().collect::<Vec<_>>()
    };
    eprintln!("told without moves {still:?}\nwith moves {moved:?}");
    assert_eq!(notified(&still).len(), 1, "the fault calls");
    assert_eq!(notified(&still), notified(&moved), "and calls once, wherever it is");
}
