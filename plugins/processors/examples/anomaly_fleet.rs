//! What an aggregator's detector of many keys costs: eight signals of each of KEYS hosts in frames of a minute, of compact size.
//!
//! `MALLOC_ARENA_MAX=1 cargo run --profile release -p sentinel-processors --example anomaly_fleet -- KEYS FRAMES` (one arena, as the
//! agent has). History is a file, as in the agent; trainings run where they are asked for, so that their time is in the figures.
//! Six samples a minute and signal. Prints CPU of frames with and without trainings as shares of one core in real time,
//! and the memory of the process at the end and at its highest.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sentinel_contract::history::History;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Context, Emit, Events, Kind, Labels, Metric, Observer, Processor, Series,
};
use sentinel_history::Store;
use sentinel_models::rng::SplitMix64;

const SIGNALS: usize = 8;
const FRAME_MS: i64 = 60_000;
const SAMPLES: i64 = 6;
const START_MS: i64 = 1_795_392_000_000;
const RETENTION: Duration = Duration::from_hours(30 * 24);

fn options(keys: usize) -> String {
    let mut text = format!(
        "preset = \"none\"\ngroup_by = [\"host\"]\nmax_groups = {keys}\nsize = \"compact\"\nseries = \"scores\"\nlevel_frames = 30\nlateness = \"20s\"\n"
    );
    for signal in 0..SIGNALS {
        let _infallible =
            writeln!(text, "[[signals]]\nname = \"s{signal}\"\nmetric = \"app_s{signal}\"");
    }
    text
}

/// KiB, of a line of /proc/self/status.
fn memory(name: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0.0)
}

/// CPU seconds of all threads: history has its own.
fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|one| one.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn detector(keys: usize, history: &Arc<dyn History>) -> Result<Box<dyn Observer>> {
    let context = Context {
        alias: "fleet".into(),
        host: "aggregator".into(),
        tags: Arc::new(Labels::new([("host", "aggregator")])),
        interval: Duration::from_mins(1),
        state_dir: PathBuf::new(),
        history: Arc::clone(history),
        desk: sentinel_contract::Desk::default(),
        trainer: Trainer::waiting(),
    };
    let options = options(keys);
    let entry = sentinel_processors::ALL.iter().find(|entry| entry.name == "anomaly");
    let table = toml::de::DeValue::Table(toml::de::DeTable::parse(&options)?.into_inner());
    let table = toml::Spanned::new(0..options.len(), table);
    match (entry.context("no detector")?.build)(table, &context) {
        Ok(Processor::Observer(mut observer)) => {
            observer.of_a_partition();
            Ok(observer)
        }
        Ok(Processor::Transform(_)) => bail!("a detector is an observer"),
        Err(errors) => bail!("{errors:?}"),
    }
}

#[expect(clippy::print_stdout, reason = "it prints what it measured")]
fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1).map(|word| word.parse::<usize>());
    let (Some(Ok(keys)), Some(Ok(frames))) = (arguments.next(), arguments.next()) else {
        bail!("anomaly_fleet KEYS FRAMES");
    };
    let folder = std::env::temp_dir().join(format!("anomaly_fleet.{}", std::process::id()));
    let store: Arc<dyn History> = Store::open(&folder.join("history.db"), RETENTION)?;
    let mut it = detector(keys, &store)?;
    let mut random = SplitMix64::new(1);
    let before = memory("RssAnon:");
    let series: Vec<Arc<Series>> = (0..keys * SIGNALS)
        .map(|at| {
            let host = format!("host-{:05}", at / SIGNALS);
            Series::new(format!("app_s{}", at % SIGNALS), Kind::Gauge, [("host", host)])
        })
        .collect();
    let origin: Arc<str> = "kafka".into();
    let (mut quiet, mut trained, mut scored) = (Vec::new(), Vec::new(), 0);
    let begun = Instant::now();
    for frame in 0..frames as i64 {
        let start = cpu_seconds();
        for sample in 0..SAMPLES {
            let time_ms = START_MS + frame * FRAME_MS + (sample + 1) * FRAME_MS / SAMPLES;
            for series in series.chunks(1000) {
                let metric = |series: &Arc<Series>| Metric {
                    series: Arc::clone(series),
                    time_ms,
                    value: 10.0 + random.normal(),
                };
                let metrics = series.iter().map(metric).collect();
                let mut emit = Emit::default();
                it.observe(&Batch::new(Arc::clone(&origin), Events::Metrics(metrics)), &mut emit);
                scored += emit.0.iter().map(Events::len).sum::<usize>();
            }
            let mut emit = Emit::default();
            it.tick(time_ms, &mut emit);
            scored += emit.0.iter().map(Events::len).sum::<usize>();
        }
        store.flush();
        let used = cpu_seconds() - start;
        // A frame in which models were made takes several times as long as the median one.
        if quiet.len() < 5 || used < 3.0 * median(&quiet) {
            quiet.push(used);
        } else {
            trained.push(used);
        }
    }
    let share = |seconds: f64| seconds * 100_000.0 / FRAME_MS as f64;
    println!(
        "{keys} keys of {SIGNALS} signals, {frames} frames in {:.0} s: {:.2} % of a core without trainings (last frames {:.2} %), {} frames with trainings took {:.1} s together ({:.1} ms a model); {scored} samples made",
        begun.elapsed().as_secs_f64(),
        share(median(&quiet)),
        share(median(&quiet[quiet.len().saturating_sub(5)..])),
        trained.len(),
        trained.iter().sum::<f64>(),
        trained.iter().sum::<f64>() * 1000.0 / keys as f64,
    );
    println!(
        "memory: {:.1} KiB a key at the end (RssAnon), VmRSS {:.0} MiB with the pages of the history's file, VmHWM {:.0} MiB",
        (memory("RssAnon:") - before) / keys as f64,
        memory("VmRSS:") / 1024.0,
        memory("VmHWM:") / 1024.0,
    );
    let start = cpu_seconds();
    let (mut parts, mut bytes) = (0, 0);
    for (name, _) in it.parts() {
        parts += 1;
        bytes += it.part(&name).map_or(0, |part| part.len());
    }
    println!(
        "state: {parts} parts, {:.1} KB a key, {:.2} s to write",
        bytes as f64 / 1000.0 / keys as f64,
        cpu_seconds() - start
    );
    let _left_behind = fs::remove_dir_all(folder);
    Ok(())
}

fn median(all: &[f64]) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(0.0)
}
