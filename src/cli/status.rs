//! `status`: asks the running agent's page and puts its answer into a table.

use std::fmt::Write as _;
use std::process::ExitCode;

use sentinel_engine::config::Shared;
use serde_json::Value;

use super::layout::{length, plain};
use super::{EXIT_CONFIG, Options, Output, agent, complain, paths, print};

/// Characters of a backend's words.
const WORDS: usize = 300;

/// Prints how the running agent is; exit code 1 when it does not answer or a plugin is not well.
pub(crate) fn status(options: &Options, format: Output) -> anyhow::Result<ExitCode> {
    let shared = Shared::inert(paths::state_dir(options.state_dir.as_deref()));
    let plan = match options.plan(&shared) {
        Ok(plan) => plan,
        Err(problems) => {
            complain(&problems.render());
            return Ok(ExitCode::from(EXIT_CONFIG));
        }
    };
    let status = agent::status(&plan.web.listen)?;
    match format {
        Output::Json => print(&format!("{status:#}\n")),
        Output::Text => print(&table(&status)),
    }
    let well = plugins(&status).iter().all(|plugin| plugin["state"] == "active");
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn plugins(status: &Value) -> &[Value] {
    status["plugins"].as_array().map_or(&[], Vec::as_slice)
}

/// What a group's model has seen, and how old that is.
fn model(model: &Value, now_ms: i64) -> String {
    match (model["tier"].as_str(), model["upto_ms"].as_i64()) {
        (Some(tier), Some(upto_ms)) => format!("{tier}, trained {} ago", length(now_ms - upto_ms)),
        _ => "no model yet".to_owned(),
    }
}

/// A line on the past that is being read; empty when none is, or all is done.
fn past(past: &Value) -> String {
    let time = |name: &str| past[name].as_i64().unwrap_or(0);
    let (from, at, upto) = (time("from_ms"), time("at_ms"), time("upto_ms"));
    let percent = (at - from).max(0) * 100 / (upto - from).max(1);
    let why = plain(past["reason"].as_str().unwrap_or_default(), WORDS);
    match past["state"].as_str() {
        Some("reading") => format!("\nreading the past: {percent} %\n"),
        Some("waiting") => format!("\nthe past cannot be read now ({percent} % is): {why}\n"),
        Some("failed") => format!("\nthe past cannot be read: {why}\n"),
        _ => String::new(),
    }
}

/// The budget; and how short the host is, when it is.
fn memory(status: &Value) -> String {
    let mib = |name: &str| status["memory"][name].as_f64().unwrap_or(0.0) / f64::from(1 << 20);
    let (used, peak, capacity) = (mib("used"), mib("peak"), mib("capacity"));
    let text = format!("queues and buffers {used:.1} of {capacity:.0} MiB (peak {peak:.1})");
    let waiting = status["pressure"]["waiting_trainings"].as_u64().unwrap_or(0) > 0;
    match status["pressure"]["level"].as_str() {
        Some("models") if waiting => text + "\nthe host is short: a training waits",
        Some("models") => text + "\nthe host is short: trainings would wait",
        Some("processes") => {
            text + "\nthe host is very short: trainings wait, metrics of processes pause"
        }
        _ => text,
    }
}

/// Series and log streams of a source; nothing for an output, which has those of its sources.
fn series(plugin: &Value) -> String {
    let number = |name: &str| plugin[name].as_u64().unwrap_or(0);
    match number("series") + number("streams") {
        0 => String::new(),
        sum => sum.to_string(),
    }
}

fn table(status: &Value) -> String {
    let mut out = String::new();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let seconds = (status["now_ms"].as_i64().unwrap_or(0)
        - status["started_ms"].as_i64().unwrap_or(0))
        / 1000;
    let _infallible = writeln!(
        out,
        "{} sentinelops {} up {seconds}s, {}\n\n{:<10} {:<24} {:<9} {:>10} {:>10} {:>7} {:>9} {:>9} {:>7}",
        text(&status["host"]),
        text(&status["version"]),
        memory(status),
        "KIND",
        "ALIAS",
        "STATE",
        "IN/S",
        "OUT/S",
        "SERIES",
        "QUEUED",
        "DROPPED",
        "ERRORS"
    );
    for plugin in plugins(status) {
        let dropped: u64 = plugin["drops"]
            .as_object()
            .map_or(0, |drops| drops.values().filter_map(Value::as_u64).sum());
        let _infallible = writeln!(
            out,
            "{:<10} {:<24} {:<9} {:>10.1} {:>10.1} {:>7} {:>9} {dropped:>9} {:>7}",
            text(&plugin["kind"]),
            text(&plugin["alias"]),
            text(&plugin["state"]),
            plugin["received_rate"].as_f64().unwrap_or(0.0),
            plugin["delivered_rate"].as_f64().unwrap_or(0.0),
            series(plugin),
            plugin["queued"].as_u64().unwrap_or(0),
            plugin["errors"].as_u64().unwrap_or(0)
        );
        if let Some(error) = plugin["last_error"]["message"].as_str() {
            let _infallible = writeln!(out, "{:<10}   last error: {}", "", plain(error, WORDS));
        }
        for (_, note) in plugin["notes"].as_object().into_iter().flatten() {
            let _infallible = writeln!(out, "{:<10}   note: {}", "", plain(&text(note), WORDS));
        }
    }
    out.push_str(&past(&status["backfill"]));
    for (alias, detector) in status["detectors"].as_object().into_iter().flatten() {
        if let Some(state) = detector["state"].as_str() {
            let _infallible = writeln!(out, "\ndetector {alias}: {state}");
        }
        for group in detector["groups"].as_array().into_iter().flatten() {
            let _infallible = writeln!(
                out,
                "  {:<30} {:<8} score {}  {:<24} {}",
                text(&group["group"]),
                text(&group["state"]),
                group["score"].as_f64().map_or("-".to_owned(), |score| format!("{score:.2}")),
                model(&group["model"], status["now_ms"].as_i64().unwrap_or(0)),
                group["incident"]["state"].as_str().unwrap_or("")
            );
            if let Some(reason) = group["training_refused"].as_str() {
                let _infallible =
                    writeln!(out, "  {:<30} no new model: {}", "", plain(reason, WORDS));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    #[test]
    fn the_budget_the_pressure_and_the_series_are_shown() {
        let mut status = json!({
            "memory": {"used": 1_572_864, "peak": 8_388_608, "capacity": 33_554_432},
            "pressure": {"level": "none", "waiting_trainings": 0},
            "plugins": [{"kind": "input", "alias": "system", "series": 187, "streams": 1}],
        });
        let table = super::table(&status);
        assert!(table.contains("queues and buffers 1.5 of 32 MiB (peak 8.0)\n\n"), "{table}");
        let row = table.lines().find(|line| line.starts_with("input")).unwrap();
        assert!(row.contains(" 188 "), "{table}");
        status["pressure"] = json!({"level": "models", "waiting_trainings": 1});
        assert!(super::table(&status).contains("the host is short: a training waits\n"));
        status["pressure"]["level"] = "processes".into();
        assert!(super::table(&status).contains("metrics of processes pause\n"));
    }
}
