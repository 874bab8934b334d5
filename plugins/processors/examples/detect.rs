//! Runs the detector over a CSV of the development data and prints its incidents:
//! `zcat machine-1-2.test.csv.gz > /tmp/m.csv; cargo run --profile quick --example detect -- /tmp/m.csv [options.toml]`.
//!
//! First column `timestamp` (seconds), last `label`, every other one a signal. It is causal: rows come in time order. With
//! several files the first ones are what it learns from. Figures are for looking at, not for gating.
#![allow(clippy::print_stdout, reason = "an example talks to a terminal")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::State;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Cause, Context, Emit, Events, Incident, Kind, Labels, Metric, Observer, Plugin,
    Processor, Series,
};
use sentinel_processors::anomaly::{Anomaly, Config, Preset, SignalConfig};

/// Keeps frames, so that training has them.
#[derive(Default)]
struct Frames(Mutex<Vec<Frame>>);

impl History for Frames {
    fn append_frame(&self, _: &str, _: &[String], frame: &Frame) {
        if let Ok(mut frames) = self.0.lock() {
            frames.push(frame.clone());
        }
    }
    fn frames(&self, _: &str, _: &[String], from: i64, to: i64) -> Result<Vec<Frame>, Cause> {
        let frames = self.0.lock().map_err(|_| anyhow::anyhow!("a writer panicked"))?;
        let within = frames.iter().filter(|frame| (from..to).contains(&frame.time_ms));
        Ok(within.cloned().collect())
    }
    fn record_incident(&self, _: &Incident) {}
    fn incidents(&self, _: i64, _: usize) -> Result<Vec<Incident>, Cause> {
        Ok(Vec::new())
    }
    fn save_state(&self, _: &str, _: &[u8]) {}
    fn load_state(&self, _: &str) -> Result<Option<Vec<u8>>, Cause> {
        Ok(None)
    }
    fn flush(&self) {}
}

struct Rows {
    names: Vec<String>,
    rows: Vec<(i64, Vec<f64>, bool)>,
}

fn read(path: &str) -> Result<Rows> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().context("the file is empty")?.split(',').collect();
    let [_, names @ .., _] = &header[..] else { bail!("{path} has too few columns") };
    let mut rows = Vec::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let [time, values @ .., label] = &cells[..] else { bail!("a row is too short") };
        let values = values.iter().map(|cell| cell.parse().unwrap_or(f64::NAN)).collect();
        rows.push((time.parse::<f64>()? as i64 * 1000, values, *label == "1"));
    }
    Ok(Rows { names: names.iter().map(|name| (*name).to_owned()).collect(), rows })
}

fn detector(names: &[String], interval_ms: i64) -> Result<Box<dyn Observer>> {
    let signal = |name: &String| SignalConfig {
        name: name.clone(),
        metric: name.clone(),
        min_change: 0.05,
        ..SignalConfig::default()
    };
    let config = Config {
        preset: Preset::None,
        signals: names.iter().map(signal).collect(),
        frame_interval: sentinel_contract::units::Period(Duration::from_millis(interval_ms as u64)),
        ..Config::default()
    };
    let context = Context {
        alias: "detect".into(),
        host: "csv".into(),
        tags: Arc::new(Labels::new([("host", "csv")])),
        interval: Duration::from_secs(60),
        state_dir: "/nonexistent".into(),
        history: Arc::new(Frames::default()),
        trainer: Trainer::immediate(),
    };
    match Anomaly::build(config, &context) {
        Ok(Processor::Observer(observer)) => Ok(observer),
        Ok(Processor::Transform(_)) => bail!("the detector is an observer"),
        Err(errors) => bail!("{errors:?}"),
    }
}

fn main() -> Result<()> {
    let files: Vec<Rows> =
        std::env::args().skip(1).map(|path| read(&path)).collect::<Result<_>>()?;
    let [first, ..] = &files[..] else { bail!("which CSV?") };
    let interval_ms = match &first.rows[..] {
        [(a, ..), (b, ..), ..] => (b - a).max(1000),
        _ => bail!("too few rows"),
    };
    let series: Vec<_> = first
        .names
        .iter()
        .map(|name| Series::new(name.as_str(), Kind::Gauge, [("host", "csv")]))
        .collect();
    let mut observer = detector(&first.names, interval_ms)?;
    let labelled = files.last().map_or(i64::MIN, |file| file.rows[0].0);
    let mut incidents = Vec::new();
    let mut spent = Duration::ZERO;
    let (mut frames, mut was_training) = (0_u32, false);
    for (time_ms, values, _) in files.iter().flat_map(|file| &file.rows) {
        let sample = |(series, value): (&Arc<Series>, &f64)| Metric {
            series: Arc::clone(series),
            time_ms: *time_ms,
            value: *value,
        };
        let metrics = series.iter().zip(values).map(sample).collect();
        let mut emit = Emit::default();
        let began = Instant::now();
        observer.observe(&Batch::new("csv".into(), Events::Metrics(metrics)), &mut emit);
        spent += began.elapsed();
        frames += 1;
        let training = observer.status()["groups"][0]["training"] == true;
        if training && !was_training {
            std::thread::sleep(Duration::from_millis(300)); // live, the next frames are minutes away
        }
        was_training = training;
        for events in emit.0 {
            if let Events::Incidents(changes) = events {
                incidents.extend(changes);
            }
        }
    }
    report(&files, labelled, interval_ms, &incidents);
    println!(
        "{:.1} us a frame of {} signals",
        spent.as_secs_f64() * 1e6 / f64::from(frames),
        series.len()
    );
    Ok(())
}

/// Labelled stretches that an incident touched, and incidents that touch none, in the last file.
fn report(files: &[Rows], labelled: i64, interval_ms: i64, changes: &[Incident]) {
    let mut stretches: Vec<(i64, i64)> = Vec::new();
    for (time_ms, _, label) in
        files.iter().flat_map(|file| &file.rows).filter(|row| row.0 >= labelled)
    {
        match stretches.last_mut() {
            Some((_, end)) if *label && time_ms - *end <= interval_ms => *end = *time_ms,
            _ if *label => stretches.push((*time_ms, *time_ms)),
            _ => (),
        }
    }
    for level in [State::Detected, State::Confirmed, State::Notified] {
        let opened: Vec<&Incident> =
            changes.iter().filter(|one| one.state == level && one.started_ms >= labelled).collect();
        let mut keys: Vec<&str> = opened.iter().map(|one| one.key.as_str()).collect();
        keys.dedup();
        let end = |key: &str| {
            let over = changes.iter().find(|one| one.key == key && one.state == State::Resolved);
            over.map_or(i64::MAX, |one| one.time_ms)
        };
        let spans: Vec<(i64, i64)> =
            opened.iter().map(|one| (one.started_ms, end(&one.key))).collect();
        let slack = 15 * 60_000;
        let touch = |a: &(i64, i64), b: &(i64, i64)| a.0 <= b.1 + slack && b.0 <= a.1 + slack;
        let found = stretches
            .iter()
            .filter(|stretch| spans.iter().any(|span| touch(stretch, span)))
            .count();
        let mut wrong: Vec<i64> = spans
            .iter()
            .filter(|span| !stretches.iter().any(|stretch| touch(stretch, span)))
            .map(|span| span.0)
            .collect();
        wrong.dedup();
        println!(
            "{level:?}: {} incidents, {found} of {} labelled stretches touched, {} incidents touch none",
            keys.len(),
            stretches.len(),
            wrong.len()
        );
    }
    for one in changes.iter().filter(|one| one.state == State::Notified).take(8) {
        println!("  {} {:.1} {}", (one.time_ms - labelled) / 60_000, one.score, one.message);
    }
}
