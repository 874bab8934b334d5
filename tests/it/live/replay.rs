//! History in a real VictoriaMetrics, replayed: the same incidents as from the same samples in a table.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::stack::{Server, asked, get, request};

/// 2 days before now, at a whole minute.
fn start() -> i64 {
    (super::stack::now_ms() / 1000 - 2 * 86_400) / 60 * 60
}

/// Busy percent of the minute: a wave and noise, and 95 from minute 600 to 630.
fn busy(minute: i64) -> f64 {
    let noise = (minute * 7919 % 101) as f64 / 50.0;
    let wave = 10.0 * (minute as f64 / 240.0 * std::f64::consts::TAU).sin();
    if (600..630).contains(&minute) { 95.0 } else { 30.0 + wave + noise }
}

const CONFIG: &str = r#"
[agent]
host = "db07"
[[inputs.system]]
[[processors.anomaly]]
alias = "host"
preset = "none"
frame_interval = "1m"
min_training_frames = 120
[[processors.anomaly.signals]]
name = "busy"
metric = "cpu_usage_idle"
labels = { cpu = "cpu-total" }
min_change = 20.0
direction = "down"
"#;

fn replay(folder: &Path, more: &[&str]) -> (Value, String) {
    let config = folder.join("agent.toml");
    let incidents = folder.join("incidents.jsonl");
    let output = Command::new(crate::cli::binary())
        .args(["replay", "--format", "json", "--log-level", "warn", "--config"])
        .arg(&config)
        .arg("--incidents")
        .arg(&incidents)
        .args(more)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let report = serde_json::from_slice(&output.stdout).unwrap();
    (report, std::fs::read_to_string(incidents).unwrap())
}

#[test]
fn history_in_victoriametrics_gives_the_incident_of_its_time_and_twice_the_same() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("agent.toml"), CONFIG).unwrap();
    let server = Server::start("victoriametrics", folder.path());
    let start = start();
    let mut lines = String::new();
    for minute in 0..900 {
        let time_ms = (start + minute * 60) * 1000;
        for (host, value) in [("db07", 100.0 - busy(minute)), ("db08", 1.0)] {
            writeln!(
                lines,
                "cpu_usage_idle{{host=\"{host}\",cpu=\"cpu-total\"}} {value} {time_ms}\n\
                 cpu_usage_idle{{host=\"{host}\",cpu=\"cpu0\"}} 0 {time_ms}\n\
                 mem_used{{host=\"{host}\"}} 5 {time_ms}"
            )
            .unwrap();
        }
    }
    request("POST", &format!("{}/api/v1/import/prometheus", server.url), "text/plain", &lines)
        .unwrap();
    let _visible = get(&format!("{}/internal/force_flush", server.url));

    let from = start.to_string();
    let more = ["--from-url", server.url.as_str(), "--start", from.as_str()];
    let (report, changes) = replay(folder.path(), &more);
    assert!(report["frames"].as_u64().unwrap() > 700, "{report:#}");
    let notes = report["notes"].to_string();
    assert!(notes.contains("900 samples"), "one series of this host, nothing else: {notes}");
    let incidents = report["incidents"].as_array().unwrap();
    let hit = (start + 595 * 60) * 1000..(start + 640 * 60) * 1000;
    let found = incidents.iter().find(|one| hit.contains(&one["started_ms"].as_i64().unwrap()));
    assert_eq!(found.unwrap_or_else(|| panic!("{report:#}"))["features"][0], "busy");
    assert!(changes.lines().all(|line| line.starts_with("{\"message\":")), "{changes}");
    assert_eq!(replay(folder.path(), &more).1, changes, "twice the same bytes");
}

#[test]
fn a_server_without_this_hosts_history_is_told() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    std::fs::write(&config, CONFIG).unwrap();
    let server = Server::start("victoriametrics", folder.path());
    let output = Command::new(crate::cli::binary())
        .args(["replay", "--from-url", &server.url, "--config"])
        .arg(&config)
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(words.contains("no sample of the detectors' metrics with host=\"db07\""), "{words}");
}

const WEB: &str = r#"
[agent]
host = "web01"
[[inputs.tail]]
alias = "access"
files = ["ACCESS"]
start = "beginning"
labels = { job = "shop" }
[[processors.parse]]
from = ["access"]
format = "combined"
[[processors.log_features]]
window = "1s"
lateness = "1s"
[[processors.anomaly]]
alias = "web"
from = ["log_features"]
preset = "web"
frame_interval = "1s"
min_training_frames = 30
lateness = "1s"
series = "scores"
[[outputs.file]]
path = "OUT"
from = ["web"]
"#;

/// Requests as a server writes them, about 20 a second; nine of ten fail in the seconds of `failing`.
fn write_requests(path: &Path, seconds: u64, failing: std::ops::Range<u64>) {
    use std::io::Write as _;
    let mut log = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    let started = std::time::Instant::now();
    for request in 0_u64.. {
        let elapsed = started.elapsed();
        if elapsed.as_secs() >= seconds {
            return;
        }
        let fails = failing.contains(&elapsed.as_secs()) && request % 10 != 0;
        let now = jiff::Timestamp::now().strftime("%d/%b/%Y:%H:%M:%S +0000");
        let (client, status) = (request % 9, if fails { 502 } else { 200 });
        writeln!(
            log,
            "10.0.0.{client} - - [{now}] \"GET /shop HTTP/1.1\" {status} 512 \"-\" \"t\""
        )
        .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(40 + request * 7 % 20));
    }
}

#[test]
fn what_the_agent_found_live_is_what_a_replay_of_its_log_finds() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (access, out) = (folder.path().join("access.log"), folder.path().join("out.jsonl"));
    std::fs::write(&access, "").unwrap();
    let config =
        WEB.replace("ACCESS", access.to_str().unwrap()).replace("OUT", out.to_str().unwrap());
    let mut agent = super::stack::Agent::start(folder.path(), &config);
    write_requests(&access, 75, 50..60);
    let live = || -> Vec<Value> {
        let text = std::fs::read_to_string(&out).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    agent.stop();
    let (report, changes) = replay(
        folder.path(),
        &[
            "--file",
            access.to_str().unwrap(),
            "--scores",
            folder.path().join("s").to_str().unwrap(),
        ],
    );
    assert!(report["notified"].as_u64().unwrap() >= 1, "{report:#}");
    let replayed: Vec<Value> =
        changes.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let incidents: Vec<Value> = live().into_iter().filter(|one| one["state"].is_string()).collect();
    let untrained = incidents.iter().any(|one| one["coverage"]["trained_frames"] == 0);
    assert!(
        !untrained,
        "the live agent put its training off: this host is pressed (/proc/pressure)"
    );
    assert_eq!(incidents, replayed);

    let overall =
        |one: &&Value| one["name"] == "anomaly_score" && one["labels"]["model_alias"] == "overall";
    let scores: Vec<Value> = live().iter().filter(overall).cloned().collect();
    let table = std::fs::read_to_string(folder.path().join("s")).unwrap();
    let mut compared = 0;
    for row in table.lines().skip(1) {
        let cells: Vec<&str> = row.split(',').collect();
        let Ok(score) = cells[3].parse::<f64>() else { continue };
        let time = jiff::Timestamp::from_second(cells[0].parse().unwrap()).unwrap().to_string();
        let same = scores.iter().find(|one| one["time"] == time.as_str());
        let same = same.unwrap_or_else(|| panic!("no live score at {time}"));
        assert_eq!(same["value"].as_f64().unwrap(), score, "at {time}, to the last bit");
        compared += 1;
    }
    assert!(compared > 25, "{compared} scores");
}
