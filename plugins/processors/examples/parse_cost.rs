//! What parsing `combined` and making features costs: lines per CPU-second over 300,000 generated lines of a web log.
//!
//! `cargo run --profile quick -p sentinel-processors --example parse_cost`. CPU time is this thread's, from
//! /proc/thread-self/schedstat; making the lines and the batches is not counted, dropping the parsed lines is.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sentinel_contract::history::NoHistory;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Batch, Context, Emit, Events, Labels, Log, Processor};

const LINES: usize = 300_000;
const BATCH: usize = 1000;
const START: i64 = 1_767_225_600; // 2026-01-01

fn corpus() -> Vec<(i64, Bytes)> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut buffer = BytesMut::new();
    let lines = (0..LINES).map(|line| {
        let second = line as i64 / 2000;
        let (address, path, agent) = (random(5000), random(400), random(40));
        let status = [200, 200, 200, 200, 304, 404, 500][random(7) as usize];
        let text = format!(
            "10.{}.{}.7 - - [01/Jan/2026:00:{:02}:{:02} +0000] \"GET /shop/item/{path}?q=search HTTP/1.1\" {status} {} \"https://shop.example.test/list/{path}\" \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.{agent} (KHTML, like Gecko) Chrome/120.0 Safari/537.{agent}\" 0.{:03}",
            address / 250, address % 250, second / 60, second % 60, random(50_000), random(1000),
        );
        buffer.extend_from_slice(text.as_bytes());
        ((START + second) * 1_000_000_000, buffer.split().freeze())
    });
    lines.collect()
}

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

#[expect(clippy::print_stdout, reason = "it prints what it measured")]
fn main() -> Result<(), anyhow::Error> {
    let corpus = corpus();
    let stream = Arc::new(Labels::new([("job", "nginx"), ("host", "here")]));
    let origin: Arc<str> = "nginx".into();
    for _ in 0..3 {
        let Processor::Transform(mut parse) = build("parse", "format = \"combined\"")? else {
            continue;
        };
        let Processor::Observer(mut features) = build("log_features", "window = \"10s\"")? else {
            continue;
        };
        let counters = Counters::default();
        let mut emit = Emit::default();
        let (mut parsing, mut counting, mut dropping, mut bytes) = (0.0, 0.0, 0.0, 0);
        for lines in corpus.chunks(BATCH) {
            bytes += lines.iter().map(|(_, body)| body.len()).sum::<usize>();
            let logs = lines.iter().map(|(time_ns, body)| Log {
                stream: Arc::clone(&stream),
                time_ns: *time_ns,
                body: body.clone(),
                fields: None,
            });
            let mut batch = Batch::new(Arc::clone(&origin), Events::Logs(logs.collect()));
            let start = cpu_seconds();
            parse.apply(&mut batch.events, &counters);
            let parsed = cpu_seconds();
            features.observe(&batch, &mut emit);
            let counted = cpu_seconds();
            drop(batch);
            dropping += cpu_seconds() - counted;
            counting += counted - parsed;
            parsing += parsed - start;
        }
        let rows: usize = emit.0.iter().map(Events::len).sum();
        let per_line = |seconds: f64| seconds / LINES as f64 * 1e9;
        println!(
            "{} B a line: parse {:.0} ns, log_features {:.0} ns, drop {:.0} ns a line; {:.0} lines per CPU-second; {rows} samples, unparsed {:?}",
            bytes / LINES,
            per_line(parsing),
            per_line(counting),
            per_line(dropping),
            LINES as f64 / (parsing + counting + dropping),
            counters.counts(),
        );
    }
    Ok(())
}
