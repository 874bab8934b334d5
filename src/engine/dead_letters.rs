//! What a backend refused for good: one JSON line an event, with the answer and the time, in a bounded file.
//!
//! `dead-letters.jsonl` grows to its limit, becomes `dead-letters.1.jsonl`, and starts again; the older one goes.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use sentinel_contract::{Cause, Events, Piece};
use serde_json::{Value, json};

use crate::clock::now_ms;
use crate::telemetry::Telemetry;

/// Each of the two files.
const LIMIT: u64 = 32 << 20;

/// The file; opened at the first letter.
pub(crate) struct DeadLetters {
    path: PathBuf,
    file: Mutex<Option<(File, u64)>>,
    telemetry: Arc<Telemetry>,
}

impl DeadLetters {
    /// Letters of this agent go below `state_dir`.
    pub(crate) fn new(state_dir: &Path, telemetry: Arc<Telemetry>) -> Self {
        DeadLetters {
            path: state_dir.join("dead-letters.jsonl"),
            file: Mutex::new(None),
            telemetry,
        }
    }

    /// Writes the events of `piece` whose index within it is in `events`. On return they are on disk.
    pub(crate) fn write(
        &self,
        who: &str,
        piece: &Piece,
        events: &[usize],
        why: &str,
    ) -> Result<(), Cause> {
        let mut text = String::new();
        for &event in events {
            let letter = json!({
                "time_ms": now_ms(), "plugin": who, "origin": &*piece.batch.origin,
                "reason": why, "event": describe(&piece.batch.events, piece.range.start + event),
            });
            text.push_str(&letter.to_string());
            text.push('\n');
        }
        let mut guard = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if guard.as_ref().is_some_and(|(_, size)| *size > LIMIT) {
            *guard = None;
            std::fs::rename(&self.path, self.path.with_extension("1.jsonl"))?;
        }
        let (file, size) = match guard.as_mut() {
            Some(open) => open,
            None => guard.insert(open(&self.path)?),
        };
        if let Err(error) = file.write_all(text.as_bytes()).and_then(|()| file.sync_data()) {
            // Half a line (a full disk) would spoil the next one; what is taken back is read and refused again.
            let _left_as_it_is = file.set_len(*size);
            return Err(error.into());
        }
        *size += text.len() as u64;
        self.telemetry.count_dead_letters(events.len() as u64);
        Ok(())
    }
}

fn open(path: &Path) -> Result<(File, u64), Cause> {
    // They hold log lines, which not everybody may read.
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

fn describe(events: &Events, index: usize) -> Value {
    let labels = |labels: &sentinel_contract::Labels| {
        labels
            .iter()
            .map(|(k, v)| (k.to_owned(), Value::from(v)))
            .collect::<serde_json::Map<_, _>>()
    };
    match events {
        Events::Metrics(metrics) => metrics.get(index).map_or(Value::Null, |metric| {
            json!({"name": metric.series.name(), "labels": labels(metric.series.labels()),
                   "time_ms": metric.time_ms, "value": metric.value.to_string()})
        }),
        Events::Logs(logs) => logs.get(index).map_or(Value::Null, |log| {
            json!({"labels": labels(&log.stream), "time_ns": log.time_ns.to_string(),
                   "line": String::from_utf8_lossy(&log.body)})
        }),
        Events::Incidents(incidents) => {
            serde_json::to_value(incidents.get(index)).unwrap_or(Value::Null)
        }
        Events::Evidence(_) => Value::Null, // no output takes it, so none can refuse it
    }
}
