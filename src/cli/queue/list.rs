//! `queue list`: one table of what waits, one of the letters.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::super::agent::Agent;
use super::super::layout::{moment, plain, table};
use super::super::{Output, complain, print};
use super::{counted, letters};

/// Reasons that are shown of each output.
const REASONS: usize = 3;
/// Different reasons that are counted of each output; others are one.
const MOST: usize = 1000;
/// Reasons alike up to here are one: what follows is mostly the event itself.
const ALIKE: usize = 160;

/// The letters of one output.
#[derive(Default)]
struct Heap {
    role: String,
    letters: u64,
    oldest_ms: i64,
    newest_ms: i64,
    reasons: HashMap<String, u64>,
}

impl Heap {
    fn add(&mut self, time_ms: i64, reason: &str) {
        self.oldest_ms = if self.letters == 0 { time_ms } else { self.oldest_ms.min(time_ms) };
        self.newest_ms = self.newest_ms.max(time_ms);
        self.letters += 1;
        let reason = plain(reason, ALIKE);
        let is_new = !self.reasons.contains_key(&reason);
        let reason =
            if is_new && self.reasons.len() >= MOST { "others".to_owned() } else { reason };
        *self.reasons.entry(reason).or_insert(0) += 1;
    }

    fn frequent(&self) -> Vec<(&str, u64)> {
        let mut all: Vec<(&str, u64)> =
            self.reasons.iter().map(|(reason, count)| (&**reason, *count)).collect();
        all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        all.truncate(REASONS);
        all
    }
}

/// Prints what waits and what was refused.
pub(super) fn list(agent: &Agent, format: Output) -> anyhow::Result<ExitCode> {
    let mut heaps: BTreeMap<String, Heap> = BTreeMap::new();
    let (newer, unreadable) = letters(&agent.state_dir(), |letter, _| {
        let heap = heaps.entry(letter.plugin.to_string()).or_default();
        if heap.letters == 0 {
            heap.role = letter.role.to_string();
        }
        heap.add(letter.time_ms, &letter.reason);
    })?;
    let queues: Option<Vec<Value>> = agent.status.as_ref().ok().map(queues);
    match format {
        Output::Json => {
            let letters: Vec<Value> =
                heaps.iter().map(|(plugin, heap)| summary(plugin, heap)).collect();
            let all = json!({ "queues": queues, "dead_letters": letters,
                "newer": newer, "unreadable": unreadable });
            print(&super::json(&all));
        }
        Output::Text => {
            if let Err(error) = &agent.status {
                complain(&format!("note: what waits in queues is not known: {error:#}"));
            }
            print(&text(queues.as_deref(), &heaps, newer, unreadable));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The outputs of the agent's status.
fn queues(status: &Value) -> Vec<Value> {
    let plugins = status["plugins"].as_array().map_or(&[][..], Vec::as_slice);
    let outputs = plugins.iter().filter(|plugin| plugin["kind"] == "output");
    let queue = |plugin: &Value| {
        json!({ "output": plugin["alias"], "state": plugin["state"], "events": plugin["queued"],
            "memory_bytes": plugin["queued_bytes"], "disk_bytes": plugin["disk_bytes"] })
    };
    outputs.map(queue).collect()
}

fn summary(plugin: &str, heap: &Heap) -> Value {
    let reasons: Vec<Value> = heap
        .frequent()
        .into_iter()
        .map(|(reason, letters)| json!({ "reason": reason, "letters": letters }))
        .collect();
    json!({ "plugin": plugin, "role": heap.role, "letters": heap.letters,
        "oldest_ms": heap.oldest_ms, "newest_ms": heap.newest_ms, "reasons": reasons })
}

fn text(
    queues: Option<&[Value]>,
    heaps: &BTreeMap<String, Heap>,
    newer: u64,
    unreadable: u64,
) -> String {
    let heads = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut out = String::new();
    if let Some(queues) = queues.filter(|queues| !queues.is_empty()) {
        let cell = |queue: &Value, name: &str| match &queue[name] {
            Value::String(text) => plain(text, 40),
            other => other.to_string(),
        };
        let names = ["output", "state", "events", "memory_bytes", "disk_bytes"];
        let row = |queue: &Value| names.iter().map(|name| cell(queue, name)).collect();
        let rows: Vec<Vec<String>> = queues.iter().map(row).collect();
        out.push_str("waiting:\n");
        table(
            &mut out,
            &heads(&["OUTPUT", "STATE", "EVENTS", "BYTES IN MEMORY", "BYTES ON DISK"]),
            &rows,
        );
        out.push('\n');
    }
    if heaps.is_empty() {
        out.push_str("no dead letters\n");
    } else {
        out.push_str("dead letters:\n");
    }
    for (plugin, heap) in heaps {
        let role = if heap.role == "output" { "" } else { " (a processor)" };
        let _infallible = writeln!(
            out,
            "  {}{role}: {} from {} to {}",
            plain(plugin, 80),
            counted(heap.letters),
            moment(heap.oldest_ms),
            moment(heap.newest_ms)
        );
        for (reason, count) in heap.frequent() {
            let _infallible = writeln!(out, "  {count:>8} x {}", plain(reason, 400));
        }
    }
    if newer > 0 {
        let _infallible =
            writeln!(out, "{} of a newer agent, which this one cannot read", counted(newer));
    }
    if unreadable > 0 {
        let _infallible = writeln!(
            out,
            "{unreadable} lines are no letters (`queue purge --all` removes them too)"
        );
    }
    out
}
