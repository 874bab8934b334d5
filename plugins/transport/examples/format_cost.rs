//! What the payload formats cost: `cargo run --release -p sentinel-transport --example format_cost`.
//!
//! Prints nanoseconds an event of this thread, over payloads of 1000 events: lines of 200 bytes, without fields and with
//! four (three texts, one number); samples of 100 series with four labels.
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sentinel_contract::{Field, Fields, Kind, Labels, Log, Metric, Name, Series, Value};
use sentinel_transport::formats::influx::{self, InfluxDecoder};
use sentinel_transport::formats::json::{self, JsonDecoder};
use sentinel_transport::formats::otlp::{LogsDecoder, MetricsDecoder, encode_logs, encode_metrics};
use sentinel_transport::formats::{Drops, Given, logfmt};

const NOW_NS: i64 = 1_795_400_000_000_000_000;
const EVENTS: usize = 1000;

fn main() {
    let base = Arc::new(Labels::new([("topic", "logs")]));
    let given = Given { labels: &base, now_ns: NOW_NS };
    let mut drops = Drops::default();
    for (what, with_fields) in [("lines", false), ("lines with four fields", true)] {
        let logs = logs(with_fields);
        let (mut out, mut read, mut none) = (Vec::new(), Vec::with_capacity(EVENTS), Vec::new());
        time(&format!("otlp, {what}, encode"), || {
            out.clear();
            encode_logs(&mut out, &logs);
        });
        let payload = Bytes::from(out.clone());
        let mut decoder = LogsDecoder::default();
        time(&format!("otlp, {what}, decode"), || {
            read.clear();
            let _measured = decoder.decode(&payload, given, &mut read, &mut drops);
        });
        time(&format!("json, {what}, encode"), || {
            out.clear();
            for log in &logs {
                let _measured = json::log(&mut out, log);
                out.push(b'\n');
            }
        });
        let payload = Bytes::from(out.clone());
        let mut decoder = JsonDecoder::default();
        time(&format!("json, {what}, decode"), || {
            read.clear();
            let _measured = decoder.decode(&payload, given, &mut read, &mut none, &mut drops);
        });
        time(&format!("logfmt, {what}, encode"), || {
            out.clear();
            for log in &logs {
                logfmt::log(&mut out, log);
            }
        });
    }
    let (samples, mut out, mut read) = (samples(), Vec::new(), Vec::with_capacity(EVENTS));
    time("otlp, samples, encode", || {
        out.clear();
        encode_metrics(&mut out, &samples);
    });
    let payload = out.clone();
    let mut decoder = MetricsDecoder::default();
    time("otlp, samples, decode", || {
        read.clear();
        let _measured = decoder.decode(&payload, given, &mut read, &mut drops);
    });
    time("influx, samples, encode", || {
        out.clear();
        for sample in &samples {
            influx::metric(&mut out, sample);
            out.push(b'\n');
        }
    });
    let payload = out.clone();
    let mut decoder = InfluxDecoder::default();
    time("influx, samples, decode", || {
        read.clear();
        let _measured = decoder.decode(&payload, given, &mut read, &mut drops);
    });
    assert_eq!((read.len(), drops), (EVENTS, Drops::default()), "all came back");
}

/// The least of 400 turns, each shorter than what the kernel gives to others between two of them.
fn time(what: &str, mut work: impl FnMut()) {
    let turn = |_| {
        let began = Instant::now();
        black_box(&mut work)();
        began.elapsed()
    };
    let least = (0..400).map(turn).min().unwrap_or_default();
    println!("{what}: {:.0} ns an event", least.as_nanos() as f64 / EVENTS as f64);
}

fn logs(with_fields: bool) -> Vec<Log> {
    let labels = [("filename", "/var/log/nginx/access.log"), ("host", "web-1"), ("job", "nginx")];
    let stream = Arc::new(Labels::new(labels));
    let line = |nth: usize| {
        let mut body = format!("192.168.1.7 - - GET /shop/{nth:06} 200 ");
        body.push_str(&"x".repeat(200 - body.len()));
        let field = |name, value| Field { name: Name::Static(name), value };
        let fields = vec![
            field("client", Value::Slice(0, 11)),
            field("method", Value::Slice(16, 19)),
            field("path", Value::Slice(20, 32)),
            field("status", Value::Number(200.0)),
        ];
        let fields = with_fields.then(|| Box::new(Fields(fields)));
        let time_ns = NOW_NS + nth as i64;
        Log { stream: Arc::clone(&stream), time_ns, body: body.into(), fields }
    };
    (0..EVENTS).map(line).collect()
}

fn samples() -> Vec<Metric> {
    let series: Vec<_> = (0..100)
        .map(|nth| {
            let cpu = format!("cpu{nth}");
            let labels = [("cpu", &*cpu), ("env", "prod"), ("host", "web-1"), ("zone", "a")];
            Series::new("cpu_usage_idle", Kind::Gauge, labels)
        })
        .collect();
    let sample = |nth: usize| Metric {
        series: Arc::clone(&series[nth % 100]),
        time_ms: NOW_NS / 1_000_000 + nth as i64,
        value: 97.25 + nth as f64,
    };
    (0..EVENTS).map(sample).collect()
}
