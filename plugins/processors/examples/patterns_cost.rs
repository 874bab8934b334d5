//! What finding templates costs and how good they are, on the recorded logs of `SENTINEL_DATA`: lines per CPU-second,
//! templates, the most frequent ones, the share of lines in templates of ten lines or more.
//!
//! `cargo run --profile quick -p sentinel-processors --example patterns_cost`. The files are read over and over until
//! there are 300,000 lines. CPU time is this thread's, from /proc/thread-self/schedstat, which moves in steps of milliseconds: all batches
//! are made before, and measured as one. `patterns_cost top` prints the ten most frequent templates of each file, without numbers and addresses.

use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sentinel_contract::history::NoHistory;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Batch, Context, Emit, Events, Labels, Log, Observer, Processor};

const LINES: usize = 300_000;
const BATCH: usize = 1000;
const START_NS: i64 = 1_767_225_600_000_000_000;

/// The file, and how it is parsed before.
const FILES: [(&str, &str); 8] = [
    ("logs/kafka/kafka0.server.log.gz", ""),
    ("logs/kafka/kafka0.controller.log.gz", ""),
    ("logs/kafka/kafka0.state-change.log.gz", ""),
    ("logs/auth/auth.log.gz", ""),
    ("logs/auth/auth.log.gz", "syslog"),
    ("logs/web/meatlabel.app-nginx.error.log.gz", ""),
    ("logs/web/meatlabel.app-nginx.access.log.gz", ""),
    ("logs/web/meatlabel.app-nginx.access.log.gz", "combined"),
];

fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

fn context() -> Context {
    Context {
        alias: "cost".into(),
        host: "here".into(),
        tags: Arc::new(Labels::new([("host", "here")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    }
}

fn build(name: &str, options: &str) -> Result<Processor, anyhow::Error> {
    let entries = sentinel_processors::ALL;
    let entry = entries.iter().find(|entry| entry.name == name);
    let entry = entry.ok_or_else(|| anyhow::anyhow!("no processor {name}"))?;
    let table = toml::Spanned::new(
        0..options.len(),
        toml::de::DeValue::Table(toml::de::DeTable::parse(options)?.into_inner()),
    );
    (entry.build)(table, &context()).map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

fn observer(options: &str) -> Result<Box<dyn Observer>, anyhow::Error> {
    match build("log_patterns", options)? {
        Processor::Observer(observer) => Ok(observer),
        Processor::Transform(_) => anyhow::bail!("log_patterns is no observer"),
    }
}

/// A batch of lines, parsed when a format is given; a millisecond a line.
fn batch(
    lines: &[Bytes],
    at: usize,
    stream: &Arc<Labels>,
    format: &str,
) -> Result<Batch, anyhow::Error> {
    let logs = lines.iter().enumerate().map(|(n, body)| Log {
        stream: Arc::clone(stream),
        time_ns: START_NS + (at + n) as i64 * 1_000_000,
        body: body.clone(),
        fields: None,
    });
    let mut events = Events::Logs(logs.collect());
    if !format.is_empty()
        && let Processor::Transform(mut parse) = build("parse", &format!("format = \"{format}\""))?
    {
        parse.apply(&mut events, &Counters::default());
        if let Events::Logs(logs) = &mut events {
            for (n, log) in logs.iter_mut().enumerate() {
                log.time_ns = START_NS + (at + n) as i64 * 1_000_000;
            }
        }
    }
    Ok(Batch::new("tail".into(), events))
}

/// How the templates of one pass over the lines are, from the observer's own state.
fn quality(
    lines: &[Bytes],
    stream: &Arc<Labels>,
    format: &str,
) -> Result<(usize, f64, Vec<String>), anyhow::Error> {
    let mut it = observer("max_patterns = 10000\nlearning = \"365d\"")?;
    for (place, chunk) in lines.chunks(BATCH).enumerate() {
        it.observe(&batch(chunk, place * BATCH, stream, format)?, &mut Emit::default());
    }
    let state = it.snapshot().unwrap_or_default();
    let body = state.iter().position(|byte| *byte == b'\n').map_or(&state[..0], |at| &state[at..]);
    let state: serde_json::Value = serde_json::from_slice(body)?;
    let templates: Vec<&serde_json::Value> = state["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|group| group["templates"].as_array().into_iter().flatten())
        .collect();
    let count = |it: &&serde_json::Value| it["count"].as_u64().unwrap_or(0);
    let clustered: u64 = templates.iter().map(count).filter(|count| *count >= 10).sum();
    let status = it.status();
    let top = status["groups"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|group| group["top"].as_array().into_iter().flatten());
    let top = top.map(|it| {
        format!(
            "{:>8} {:<7} {}",
            it["lines"],
            it["level"].as_str().unwrap_or(""),
            it["template"].as_str().unwrap_or("")
        )
    });
    Ok((templates.len(), clustered as f64 / lines.len() as f64, top.collect()))
}

#[expect(clippy::print_stdout, reason = "it prints what it measured")]
fn main() -> Result<(), anyhow::Error> {
    let shows_top = std::env::args().any(|argument| argument == "top");
    let folder = PathBuf::from(std::env::var("SENTINEL_DATA")?);
    for (file, format) in FILES {
        let text = Command::new("zcat").arg(folder.join(file)).output()?.stdout;
        let text = Bytes::from(text);
        let lines: Vec<Bytes> = text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(|line| text.slice_ref(line))
            .collect();
        let name = file.rsplit('/').next().unwrap_or(file);
        let stream = Arc::new(Labels::new([("job", name)]));
        let (templates, clustered, top) = quality(&lines, &stream, format)?;
        let mut it = observer("")?;
        let (mut batches, mut count, mut bytes) = (Vec::new(), 0, 0);
        while count < LINES {
            for chunk in lines.chunks(BATCH) {
                batches.push(batch(chunk, count, &stream, format)?);
                count += chunk.len();
                bytes += chunk.iter().map(Bytes::len).sum::<usize>();
            }
        }
        let mut emit = Emit::default();
        let start = cpu_seconds();
        for batch in &batches {
            it.observe(batch, &mut emit);
        }
        let cpu = cpu_seconds() - start;
        println!(
            "{name}{}: {} lines, {} B a line, {templates} templates, {:.1} % of lines in templates of 10 or more; {:.0} ns a line, {:.2} M lines per CPU-second",
            if format.is_empty() { String::new() } else { format!(" ({format})") },
            lines.len(),
            bytes / count,
            clustered * 100.0,
            cpu / count as f64 * 1e9,
            count as f64 / cpu / 1e6,
        );
        if shows_top {
            for line in &top {
                println!("{line}");
            }
        }
    }
    Ok(())
}
