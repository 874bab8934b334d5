//! The past of a host in a real VictoriaMetrics, at the first start of its agent: learnt from, once, and not written again.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::stack::{Agent, Server, asked, get, metrics, now_ms, request, until};

/// A sample a minute for so long.
const MINUTES: i64 = 3 * 1440;

/// Idle percent: a wave and noise, and 5 for half an hour in the middle.
fn idle(minute: i64) -> f64 {
    let noise = (minute * 7919 % 101) as f64 / 50.0;
    let wave = 10.0 * (minute as f64 / 240.0 * std::f64::consts::TAU).sin();
    if (2000..2030).contains(&minute) { 5.0 } else { 70.0 - wave - noise }
}

fn config(url: &str) -> String {
    format!(
        "[agent]\nhost = \"db07\"\ninterval = \"1s\"\n[[inputs.system]]\n[[processors.anomaly]]\n\
         alias = \"host\"\npreset = \"none\"\nframe_interval = \"10s\"\nmin_training_frames = 120\n\
         [[processors.anomaly.signals]]\nname = \"idle\"\nmetric = \"cpu_usage_idle\"\n\
         labels = {{ cpu = \"cpu-total\" }}\nmin_change = 20.0\ndirection = \"down\"\n\
         [[outputs.victoriametrics]]\nurl = \"{url}\"\n"
    )
}

fn import(server: &Server, start_s: i64) {
    let mut lines = String::new();
    for minute in 0..MINUTES {
        let time_ms = (start_s + minute * 60) * 1000;
        let value = idle(minute);
        writeln!(
            lines,
            "cpu_usage_idle{{host=\"db07\",cpu=\"cpu-total\"}} {value} {time_ms}\n\
             cpu_usage_idle{{host=\"db08\",cpu=\"cpu-total\"}} 1 {time_ms}"
        )
        .unwrap();
    }
    request("POST", &format!("{}/api/v1/import/prometheus", server.url), "text/plain", &lines)
        .unwrap();
    let _visible = get(&format!("{}/internal/force_flush", server.url));
}

fn past(agent: &Agent) -> Value {
    agent.status()["backfill"].clone()
}

fn group(agent: &Agent) -> Value {
    agent.status()["detectors"]["host"]["groups"][0].clone()
}

#[test]
fn an_agents_first_start_learns_from_the_past_that_victoriametrics_has() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start("victoriametrics", folder.path());
    let start_s = (now_ms() / 1000 - MINUTES * 60) / 60 * 60;
    import(&server, start_s);
    let mut agent = Agent::start(&folder.path().join("agent"), &config(&server.url));
    let begun_ms = now_ms();
    until("the past is read", Duration::from_mins(3), || past(&agent)["state"] == "done");
    let read = past(&agent);
    assert!(read["frames"].as_i64().unwrap() > MINUTES - 20, "{read}");
    until("it is ready", Duration::from_mins(3), || group(&agent)["state"] == "ready");
    let model = group(&agent)["model"].clone();
    assert_eq!(model["tier"], "daily", "{model}");
    assert!(model["frames"].as_i64().unwrap() > 2500, "{model}");
    assert_eq!(agent.plugin("host")["errors"], 0);

    let written = metrics(
        &server,
        &format!(
            "count_over_time({{__name__=~\"anomaly_score|y|yhat\"}}[3d] offset {}s)",
            (now_ms() - begun_ms) / 1000 + 5
        ),
    );
    assert!(written.is_empty(), "scores of the past were written: {written:?}");
    let incidents: Value =
        serde_json::from_str(&get(&format!("{}/api/incidents", agent.page)).unwrap()).unwrap();
    let old = |one: &Value| one["started_ms"].as_i64().is_some_and(|at| at < begun_ms);
    assert!(!incidents["incidents"].as_array().unwrap().iter().any(old), "{incidents}");

    agent.stop();
    agent.again();
    assert_eq!(past(&agent), Value::Null, "it is read once");
    until("it knows", Duration::from_secs(30), || group(&agent)["model"]["tier"] == "daily");
}

#[test]
fn a_server_that_is_down_delays_nothing_and_its_past_comes_with_a_later_start() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start("victoriametrics", folder.path());
    server.kill();
    let mut agent = Agent::start(&folder.path().join("agent"), &config(&server.url));
    until("it is said", Duration::from_mins(1), || past(&agent)["state"] == "waiting");
    assert_eq!(agent.log().matches("the past cannot be read now").count(), 1, "{}", agent.log());
    until("it learns live", Duration::from_mins(2), || group(&agent)["time_ms"].is_i64());
    let upto_ms = past(&agent)["upto_ms"].clone();
    agent.stop();
    server.restart();
    import(&server, (now_ms() / 1000 - MINUTES * 60) / 60 * 60);
    agent.again();
    until("the past is read", Duration::from_mins(3), || past(&agent)["state"] == "done");
    assert_eq!(past(&agent)["upto_ms"], upto_ms, "what came since the first start was seen live");
    until("it is ready", Duration::from_mins(3), || group(&agent)["state"] == "ready");
}
