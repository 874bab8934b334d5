//! What following files costs: reads a file through `inputs.tail` into a lane that acknowledges at once, and prints lines
//! per CPU-second of the whole process, positions included; or, given a folder, what its idle files cost.
//!
//! `cargo run --profile quick -p sentinel-inputs --example tail_cost -- FILE|FOLDER [SECONDS]`

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::history::NoHistory;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Context, Emitter, Events, Fate, Input, Labels, Memory, Plugin, Stop,
};
use sentinel_inputs::tail::{Config, Start, Tail};
use tokio::sync::mpsc;

/// CPU seconds of this process so far, and its resident memory in KiB.
fn usage() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: Vec<f64> = stat.split(' ').skip(13).take(2).flat_map(str::parse).collect();
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
    (ticks.iter().sum::<f64>() / 100.0, kib)
}

fn start(files: String, state: &Path) -> Result<(Stop, mpsc::Receiver<Batch>), anyhow::Error> {
    let context = Context {
        alias: "cost".into(),
        host: "host".into(),
        tags: Arc::new(Labels::new([("host", "host"), ("job", "cost")])),
        interval: Duration::from_secs(10),
        state_dir: state.to_owned(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    };
    let config = Config { files: vec![files], start: Start::Beginning, ..Config::default() };
    let Ok(Input::Service(service)) = Tail::build(config, &context) else {
        anyhow::bail!("the configuration is refused");
    };
    let (lane, batches) = mpsc::channel(8);
    let out =
        Emitter::new("cost".into(), Arc::new(Counters::default()), Memory::new(16 << 20), lane);
    let stop = Stop::default();
    tokio::spawn(service.run(out, stop.clone()));
    Ok((stop, batches))
}

async fn read(batches: &mut mpsc::Receiver<Batch>, size: u64) -> (u64, u64) {
    let (mut bytes, mut lines, mut count) = (0, 0, 0);
    while bytes < size {
        let Some(mut batch) = batches.recv().await else { break };
        if let Events::Logs(logs) = &batch.events {
            lines += logs.len() as u64;
            bytes += logs.iter().map(|log| log.body.len() as u64 + 1).sum::<u64>();
        }
        count += 1;
        if let Some(receipt) = batch.receipt.take() {
            receipt.resolve(Fate::Delivered);
        }
    }
    (lines, count)
}

#[expect(clippy::print_stdout, reason = "printing is what it is for")]
fn main() -> Result<(), anyhow::Error> {
    let mut words = std::env::args().skip(1);
    let path = words.next().unwrap_or_default();
    let seconds: u64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(10);
    let state = std::env::temp_dir().join(format!("tail_cost.{}", std::process::id()));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let meta = std::fs::metadata(&path)?;
        if meta.is_dir() {
            let (_stop, mut batches) = start(format!("{path}/*"), &state)?;
            tokio::spawn(async move { read(&mut batches, u64::MAX).await });
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let (before, _) = usage();
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            let (after, kib) = usage();
            println!("start {before:.2} s; idle {:.3} % of a core, {kib} KiB",
                (after - before) / seconds as f64 * 100.0);
        } else {
            let started = Instant::now();
            let (stop, mut batches) = start(path.clone(), &state)?;
            let (lines, count) = read(&mut batches, meta.len()).await;
            let (cpu, kib) = usage();
            println!("{lines} lines, {count} batches, {:.3} s, cpu {cpu:.3} s, {:.0} lines per CPU-second, {kib} KiB",
                started.elapsed().as_secs_f64(), lines as f64 / cpu);
            stop.reading.cancel();
            stop.finished.cancel();
        }
        Ok::<(), anyhow::Error>(())
    })?;
    std::fs::remove_dir_all(&state)?;
    Ok(())
}
