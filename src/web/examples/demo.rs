//! The page with made-up data that changes, for work on its looks: `cargo run -p sentinel-web --example demo`, then
//! <http://127.0.0.1:9601>. One incident is open, one is over; no agent runs.

use std::f64::consts::TAU;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::{
    Contribution, Coverage, Direction, HostChange, Incident, Part, Similar, State, Suspect, Trend,
};
use sentinel_contract::plugin::Cause;
use sentinel_web::App;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

const INTERVAL_MS: i64 = 2000;
const MINUTE_MS: i64 = 60_000;

/// A made-up signal: its level, how much it moves, how much it shakes, and how much the incident multiplies it.
struct Signal {
    name: &'static str,
    unit: &'static str,
    level: f64,
    wave: f64,
    noise: f64,
    fault: f64,
}

const fn signal(
    (name, unit): (&'static str, &'static str),
    level: f64,
    wave: f64,
    noise: f64,
    fault: f64,
) -> Signal {
    Signal { name, unit, level, wave, noise, fault }
}

const HOST: [Signal; 8] = [
    signal(("cpu_usage_active", "%"), 23.0, 3.0, 1.3, 1.35),
    signal(("cpu_usage_iowait", "%"), 1.2, 0.2, 0.3, 1.0),
    signal(("mem_used_percent", "%"), 61.0, 0.6, 0.1, 1.0),
    signal(("system_load1", ""), 1.4, 0.15, 0.12, 1.3),
    signal(("disk_used_percent", "%"), 72.4, 0.1, 0.02, 1.0),
    signal(("diskio_write_bytes", "B"), 3.4e6, 4e5, 5e5, 1.1),
    signal(("net_bytes_sent", "B"), 8.1e6, 8e5, 6e5, 0.7),
    signal(("netstat_tcp_established", ""), 212.0, 12.0, 6.0, 1.2),
];

const WEB: [Signal; 6] = [
    signal(("requests", ""), 842.0, 60.0, 34.0, 1.0),
    signal(("error_rate", "share"), 0.012, 0.002, 0.003, 24.0),
    signal(("errors", ""), 10.0, 2.0, 2.5, 24.0),
    signal(("requests_per_session", ""), 7.1, 0.5, 0.3, 1.45),
    signal(("sessions", ""), 119.0, 9.0, 5.0, 0.7),
    signal(("latency_p95", "s"), 0.182, 0.02, 0.012, 2.6),
];

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Between -1 and 1, the same for the same time and signal.
fn shake(seed: &str, time_ms: i64) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64 ^ time_ms as u64;
    for byte in seed.bytes() {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash ^= hash >> 29;
    hash = hash.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((hash >> 40) as f64 / f64::from(1 << 23)) - 1.0
}

fn expected(signal: &Signal, time_ms: i64) -> f64 {
    let turn = time_ms as f64 / (150.0 * MINUTE_MS as f64) + signal.name.len() as f64;
    signal.level + signal.wave * (turn * TAU).sin()
}

fn value(signal: &Signal, time_ms: i64, fault_ms: i64) -> f64 {
    let since = (time_ms - fault_ms) as f64 / (0.4 * MINUTE_MS as f64);
    let rise = since.clamp(0.0, 1.0);
    let calm = expected(signal, time_ms) + signal.noise * shake(signal.name, time_ms);
    (calm * (1.0 + rise * (signal.fault - 1.0))).max(0.0)
}

fn half_band(signal: &Signal) -> f64 {
    (2.2 * signal.noise).max(signal.level * 0.04)
}

/// Frames are computed when they are asked for.
struct Past {
    fault_ms: i64,
}

impl History for Past {
    fn append_frame(&self, _: &str, _: &[String], _: &Frame) {}
    fn record_incident(&self, _: &Incident) {}
    fn save_state(&self, _: &str, _: &[u8]) {}
    fn flush(&self) {}
    fn load_state(&self, _: &str) -> Result<Option<Vec<u8>>, Cause> {
        Ok(None)
    }

    fn frames(
        &self,
        _: &str,
        signals: &[String],
        from_ms: i64,
        to_ms: i64,
    ) -> Result<Vec<Frame>, Cause> {
        let begin = (from_ms.max(now_ms() - 200 * MINUTE_MS) / INTERVAL_MS + 1) * INTERVAL_MS;
        let times = (begin..to_ms.min(now_ms())).step_by(INTERVAL_MS as usize);
        let known = |name: &String| HOST.iter().chain(&WEB).find(|signal| signal.name == name);
        let value = |name, time_ms| {
            known(name).map_or(f64::NAN, |signal| value(signal, time_ms, self.fault_ms))
        };
        let frame = |time_ms| {
            let values = signals.iter().map(|name| value(name, time_ms)).collect();
            Frame { time_ms, values, score: 0.4 }
        };
        Ok(times.map(frame).collect())
    }

    fn incidents(&self, from_ms: i64, _: usize) -> Result<Vec<Incident>, Cause> {
        let mut changes = incident_open(self.fault_ms);
        changes.extend(incident_over(self.fault_ms - 190 * MINUTE_MS));
        changes.sort_by_key(|change| -change.time_ms);
        changes.retain(|change| change.time_ms >= from_ms);
        Ok(changes)
    }
}

fn contribution(feature: &str, share: f64, figures: [f64; 4]) -> Contribution {
    let [value, expected, lower, upper] = figures;
    let direction = if value < expected { Direction::Down } else { Direction::Up };
    Contribution { feature: feature.to_owned(), share, direction, value, expected, lower, upper }
}

fn part(dimension: &str, value: &str, count: u64) -> Part {
    let share = count as f64 / 412.0;
    Part { dimension: dimension.to_owned(), value: value.to_owned(), share, count }
}

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn incident_open(started_ms: i64) -> Vec<Incident> {
    let change = |state, after_s: i64, score: f64, reason: &str| {
        Incident {
        message: "web01 nginx: 412 of 5,480 requests failed (7.52 %, usual at most 1.3 % on Tuesdays at 14:00), still rising; 96 % are 502 on /api/cart; first suspect: app.service restarted; traffic normal".to_owned(),
        key: "web01/web/job=nginx/1".to_owned(),
        detector: "web".to_owned(),
        host: "web01".to_owned(),
        group: "job=nginx".to_owned(),
        state,
        time_ms: started_ms + after_s * 1000,
        started_ms,
        score,
        models: vec![("isolation_forest".to_owned(), score * 0.62), ("robust_z".to_owned(), score)],
        contributions: vec![
            contribution("error_rate", 0.46, [0.291, 0.012, 0.004, 0.021]),
            contribution("errors", 0.31, [241.0, 10.2, 3.1, 18.4]),
            contribution("latency_p95", 0.15, [0.47, 0.184, 0.151, 0.216]),
            contribution("sessions", 0.08, [83.0, 119.0, 101.0, 138.0]),
        ],
        normal: strings(&["requests", "bytes", "clients", "requests_per_session"]),
        reason: reason.to_owned(),
        suspects: vec![Suspect { feature: "latency_p95".to_owned(), change: 14.2 }],
        changes: vec![HostChange {
            time_ms: started_ms - 19_000,
            kind: "unit".to_owned(),
            text: "app.service restarted".to_owned(),
        }],
        hit: "412 of 5,480 requests failed".to_owned(),
        trend: Some(Trend::Rising),
        usual: "error rate at most 1.3 % on Tuesdays at 14:00".to_owned(),
        breakdown: vec![
            part("status and path", "502 on /api/cart", 396),
            part("status", "502", 401),
            part("client", "203.0.113.7", 61),
        ],
        sample: "<ip> - - [#/Nov/#:#:#:# +#] \"POST /api/cart HTTP/#.#\" 502 # \"-\" \"Mozilla/#.#\"".to_owned(),
        similar: Some(Similar {
            key: "web01/web/job=nginx/0".to_owned(),
            started_ms: started_ms - 26 * 60 * MINUTE_MS,
            lasted_ms: 11 * MINUTE_MS,
            ended: "resolved".to_owned(),
            hit: "1,204 of 9,310 requests failed".to_owned(),
        }),
        next: strings(&[
            "sentinelops explain web01/web/job=nginx/1",
            "sentinelops accept web01/web/job=nginx/1",
            "sentinelops maintenance start --for 1h --detector web",
            "journalctl -u app.service --since '2026-11-24 14:02:00'",
        ]),
        coverage: Some(Coverage { known: 9, signals: 9, trained_frames: 12_240 }),
        ..Incident::default()
    }
    };
    vec![
        change(State::Detected, 12, 1.9, "one frame beyond the boundary"),
        change(State::Confirmed, 24, 3.4, "three frames in a row beyond the boundary"),
        change(
            State::Notified,
            24,
            4.2,
            "the forest and robust z agree, and error_rate is what users see",
        ),
    ]
}

fn incident_over(started_ms: i64) -> Vec<Incident> {
    let change = |state, after_s: i64, score: f64, reason: &str| Incident {
        message: "On web01, a flood of requests from few clients".to_owned(),
        key: "web01/web/job=nginx/0".to_owned(),
        detector: "web".to_owned(),
        host: "web01".to_owned(),
        group: "job=nginx".to_owned(),
        state,
        time_ms: started_ms + after_s * 1000,
        started_ms,
        score,
        models: vec![("isolation_forest".to_owned(), score), ("robust_z".to_owned(), score * 0.9)],
        contributions: vec![
            contribution("requests_per_session", 0.58, [61.0, 7.1, 5.2, 9.0]),
            contribution("requests", 0.42, [3120.0, 840.0, 640.0, 1050.0]),
        ],
        normal: strings(&["error_rate", "latency_p95"]),
        reason: reason.to_owned(),
        ..Incident::default()
    };
    vec![
        change(State::Detected, 6, 1.2, "one frame beyond the boundary"),
        change(State::Confirmed, 18, 2.6, "traffic alone does not page"),
        change(State::Recovering, 310, 0.7, "below the boundary"),
        change(State::Resolved, 430, 0.4, "below the boundary for 2 min"),
    ]
}

fn group(name: &str, signals: &[Signal], fault_ms: i64, models: [f64; 2]) -> Value {
    let time_ms = now_ms() / INTERVAL_MS * INTERVAL_MS;
    let shape = |signal: &Signal| {
        let middle = expected(signal, time_ms);
        json!({
            "name": signal.name, "unit": signal.unit, "value": value(signal, time_ms, fault_ms), "expected": middle,
            "lower": (middle - half_band(signal)).max(0.0), "upper": middle + half_band(signal),
        })
    };
    json!({
        "group": name, "state": "ready", "ready_in_s": null, "time_ms": time_ms,
        "model": { "frames": 12_240 }, "score": models[1],
        "models": [
            { "name": "isolation_forest", "score": models[0], "boundary": 0.58 },
            { "name": "robust_z", "score": models[1], "boundary": 1.0 },
        ],
        "signals": signals.iter().map(shape).collect::<Vec<_>>(),
        "incident": null,
    })
}

fn detector(groups: &[Value]) -> Value {
    json!({ "frame_interval_s": INTERVAL_MS as f64 / 1000.0, "groups": groups })
}

fn plugin(kind: &str, name: &str, alias: &str, rate: f64, bytes_rate: f64) -> Value {
    json!({
        "kind": kind, "name": name, "alias": alias, "state": "active",
        "received": 1_204_113, "delivered": 1_204_113, "received_rate": rate,
        "delivered_rate": rate, "bytes_rate": bytes_rate, "queued": 0, "queued_bytes": 0,
        "errors": 0, "restarts": 0, "drops": {}, "notes": {}, "last_error": null,
        "call_avg_us": 740, "call_max_us": 2900,
    })
}

fn plugins() -> Value {
    let now = now_ms();
    let lines = 846.0 + 30.0 * shake("lines", now / 2000);
    let mut auth = plugin("input", "tail", "auth", 0.2, 24.0);
    auth["notes"] =
        json!({ "/var/log/btmp": "no permission; mend it with: usermod -aG adm sentinelops" });
    let mut loki = plugin("output", "loki", "loki", lines, lines * 96.0);
    loki["errors"] = json!(2);
    loki["queued"] = json!(412);
    loki["queued_bytes"] = json!(81_224);
    loki["last_error"] = json!({ "time_ms": now - 14 * MINUTE_MS, "message": "503 Service Unavailable: <b>ingester</b> not ready" });
    let mut parse = plugin("processor", "parse", "parse", lines, lines * 180.0);
    parse["drops"] = json!({ "late_event": 12 });
    json!([
        plugin("input", "system", "system", 8.4, 201.0),
        plugin("input", "tail", "nginx", lines, lines * 180.0),
        auth,
        parse,
        plugin("processor", "log_features", "log_features", lines, 0.0),
        plugin("processor", "anomaly", "host", 8.4, 0.0),
        plugin("processor", "anomaly", "web", 3.0, 0.0),
        plugin("output", "victoriametrics", "victoriametrics", 14.1, 266.0),
        loki,
    ])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Cause> {
    let started_ms = now_ms();
    let fault_ms = started_ms - 4 * MINUTE_MS;
    let status = move || {
        let now = now_ms();
        let jitter = 0.05 * shake("score", now / INTERVAL_MS);
        json!({
            "host": "web01", "version": "0.1.0", "started_ms": started_ms - 4_211 * MINUTE_MS, "now_ms": now,
            "memory": { "used": 2_311_168, "capacity": 16 << 20 }, "plugins": plugins(),
            "detectors": {
                "host": detector(&[group("", &HOST, fault_ms, [0.71 + jitter, 0.84 - jitter])]),
                "web": detector(&[group("job=nginx", &WEB, fault_ms, [2.6 + jitter, 4.2 - jitter])]),
            },
        })
    };
    let app = App {
        status: Arc::new(status),
        metrics: Arc::new(|| "sentinelops_up 1\n".to_owned()),
        ready: Arc::new(|| Ok(())),
        history: Arc::new(Past { fault_ms }),
        allowed_hosts: Vec::new(),
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 9601)).await?;
    sentinel_web::serve(listener, app, CancellationToken::new()).await
}
