//! The two configurations of packaging/examples, as they are: a web log and a host's metrics through Kafka into Loki and
//! VictoriaMetrics, with the request features and the detectors on the way.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::broker::Broker;
use crate::live::stack::{Agent, Server, asked, loki_lines, metrics, until};

const PATIENCE: Duration = Duration::from_secs(60);
/// Half an hour, at a rate.
const LINES: usize = 36_000;
const A_MINUTE: f64 = 1200.0;

/// Half an hour of a web site that is over, with five minutes of errors in it, into a log that an agent follows.
fn happens(log: &Path) {
    let what = "--kind web --start -30m --duration 30m --rate 20 --anomaly error_burst@20m+5m";
    let mut command = Command::new(crate::cli::binary());
    command.arg("generate").args(what.split(' ')).arg("--output").arg(log);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn the_shipped_edge_and_aggregator_bring_a_log_through_kafka_with_all_that_is_made_of_it() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let broker = Broker::start(dir);
    let (loki, vm) = (Server::start("loki", dir), Server::start("victoriametrics", dir));
    broker.topic("logs-topic", 4, &[]);
    broker.topic("metrics-topic", 4, &[]);
    let log = dir.join("access.log");
    let _edge = Agent::start_shipped(
        &dir.join("edge"),
        "packaging/examples/edge.toml",
        &[
            ("KAFKA", broker.address()),
            ("ACCESS_LOG", log.to_str().unwrap()),
            ("HOST_NAME", "edge-1"),
        ],
    );
    let aggregator = Agent::start_shipped(
        &dir.join("aggregator"),
        "packaging/examples/aggregator.toml",
        &[("KAFKA", broker.address()), ("LOKI", &loki.url), ("VICTORIAMETRICS", &vm.url)],
    );
    // A log that comes later is read from its beginning. With the first metrics, it is later.
    until("both agents are at work", PATIENCE, || {
        aggregator.plugin("samples")["received"].as_u64() > Some(0)
    });
    happens(&log);

    until("all lines are delivered", PATIENCE, || {
        aggregator.plugin("parse")["delivered"].as_u64() == Some(LINES as u64)
            && aggregator.plugin("loki")["delivered"].as_u64() > Some(LINES as u64)
    });
    let stream = format!("{{host=\"edge-1\",job=\"nginx\",filename={log:?}}}");
    let mut kept: Vec<String> =
        loki_lines(&loki, &stream).into_iter().map(|line| line.text).collect();
    let text = std::fs::read_to_string(&log).unwrap();
    let mut written: Vec<&str> = text.lines().collect();
    eprintln!("{} lines written, {} in Loki", written.len(), kept.len());
    assert_eq!(written.len(), LINES);
    written.sort_unstable();
    kept.sort_unstable();
    assert!(kept == written, "the lines in Loki are those that were written");

    // The first minute is not whole, the last one not over.
    let hour = |series: &str, over: &str| -> f64 {
        let found = metrics(&vm, &format!("{over}({series}[1h])"));
        assert!(found.len() <= 1, "{found:?}");
        found.first().map_or(f64::NAN, |(_, value)| *value)
    };
    let of_host = |name: &str| format!("{name}{{host=\"edge-1\",job=\"nginx\"}}");
    until("28 minutes are told", PATIENCE, || {
        hour(&of_host("log_requests"), "count_over_time") >= 28.0
    });
    for over in ["min_over_time", "max_over_time"] {
        assert_eq!(hour(&of_host("log_requests"), over), A_MINUTE, "{over}");
    }
    assert!(hour(&of_host("log_latency_p95"), "min_over_time") > 0.0);
    assert!(hour(&of_host("log_clients"), "min_over_time") > 50.0);
    let (usual, worst) = (
        hour(&of_host("log_error_rate"), "min_over_time"),
        hour(&of_host("log_error_rate"), "max_over_time"),
    );
    assert!(usual < 0.01 && (0.35..0.45).contains(&worst), "{usual} to {worst}");

    let score = "anomaly_score{scheduler_alias=\"web\",for=\"all\",model_alias=\"overall\",host=\"edge-1\",job=\"nginx\"}";
    until("the score", PATIENCE, || hour(score, "max_over_time") > 1.0);
    let incidents = || -> Vec<Value> {
        let lines = loki_lines(&loki, "{kind=\"incident\",detector=\"web\"}");
        lines.iter().map(|line| serde_json::from_str(&line.text).unwrap()).collect()
    };
    until("somebody is called", PATIENCE, || {
        incidents().iter().any(|change| change["state"] == "notified")
    });
    let told = incidents();
    let keys: Vec<&str> = told.iter().map(|change| change["key"].as_str().unwrap()).collect();
    eprintln!("{}", told[0]["message"]);
    assert!(keys.iter().all(|key| *key == keys[0] && key.contains("edge-1")), "{keys:?}");
    assert_eq!(told[0]["contributions"][0]["feature"], "error_rate");

    let busy = "cpu_usage_idle{host=\"edge-1\",cpu=\"cpu-total\"}";
    until("the host's metrics", PATIENCE, || hour(busy, "count_over_time") >= 1.0);
    let is_watched = || {
        let status = aggregator.status();
        let detectors = status["detectors"].as_object().into_iter().flatten();
        let mut hosts = detectors.filter(|(name, _)| name.starts_with("host "));
        hosts.any(|(_, one)| one["groups"][0]["labels"]["host"] == "edge-1")
    };
    until("the host is watched", PATIENCE, is_watched);
    for alias in ["lines", "samples", "parse", "log_features", "web", "host", "loki"] {
        assert_eq!(aggregator.plugin(alias)["drops"], serde_json::json!({}), "{alias}");
    }
}
