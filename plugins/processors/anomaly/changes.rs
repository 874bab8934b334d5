//! What changed on the host: the records of `inputs.changes` and the new templates of `processors.log_patterns`, joined with
//! the incidents of about that time. They stand beside the suspects; nothing says that they are the cause.

use std::collections::VecDeque;

use sentinel_contract::incident::HostChange;
use sentinel_contract::{Incident, Log};

/// Changes remembered.
const MOST: usize = 64;
/// Changes told with an incident.
const TOLD: usize = 8;
/// How long before an incident's start a change is told with it.
const BEFORE_MS: i64 = 10 * 60_000;
/// Bytes of a sentence that are kept.
const LONGEST: usize = 300;

/// The last changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Changes(VecDeque<HostChange>);

impl Changes {
    /// Takes a record, if it tells of a change.
    pub(super) fn take(&mut self, log: &Log) {
        let Some(kind) = kind(log) else { return };
        let text = String::from_utf8_lossy(&log.body);
        let text: String = sentence(&text).chars().take(LONGEST).collect();
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(HostChange { time_ms: log.time_ns / 1_000_000, kind, text });
    }

    /// Adds to an incident what changed shortly before it and since.
    pub(super) fn join(&self, incident: &mut Incident) {
        let (from_ms, start_ms) = (incident.started_ms - BEFORE_MS, incident.started_ms);
        let told = |since_ms, upto_ms, most: usize| {
            let times = since_ms..=upto_ms;
            self.0.iter().rev().filter(move |one| times.contains(&one.time_ms)).take(most).cloned()
        };
        // What follows an outage is much, and must not take the place of what came before it.
        let mut changes: Vec<_> = told(start_ms + 1, incident.time_ms, TOLD / 2).collect();
        changes.extend(told(from_ms, start_ms, TOLD - changes.len()));
        incident.changes = changes;
    }
}

fn kind(log: &Log) -> Option<String> {
    let label = |name: &str| log.stream.get(name);
    match (label("job"), label("source")) {
        (Some("changes"), _) => Some(label("kind").unwrap_or("change").to_owned()),
        (_, Some("log_patterns")) => Some("new_pattern".to_owned()),
        _ => None,
    }
}

/// The human sentence of a record: the `message` of a JSON line, else the line.
fn sentence(body: &str) -> String {
    let json: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let message = json.as_ref().and_then(|json| json["message"].as_str());
    message.unwrap_or(body).to_owned()
}
