//! What the agent says: the lines of its incident file, each with the moment at which it was there to be read.
//!
//! Lines are taken as JSON of any shape with `key` and `state`, so that a field more does no harm.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One change of an incident.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Arrival {
    /// Wall clock, milliseconds since 1970.
    pub(crate) arrived_ms: i64,
    pub(crate) incident: Value,
}

/// States after which nothing follows.
const OVER: [&str; 4] = ["resolved", "accepted", "expired", "joined"];

/// Follows the file.
pub(crate) struct Follower {
    path: PathBuf,
    file: Option<File>,
    partial: Vec<u8>,
    /// Where every line goes, with its arrival.
    copy: File,
    /// The state of each incident that has more than been detected and is not over.
    open: BTreeMap<String, String>,
    /// When the last of them was over.
    over: Option<Instant>,
}

impl Follower {
    pub(crate) fn new(path: &Path, copy: &Path) -> Result<Self> {
        let copy = File::create(copy).with_context(|| copy.display().to_string())?;
        let (path, open) = (path.to_path_buf(), BTreeMap::new());
        Ok(Follower { path, file: None, partial: Vec::new(), copy, open, over: None })
    }

    /// Takes what has come; hands back how many notifications were in it.
    pub(crate) fn poll(&mut self) -> Result<usize> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok(); // made with the first incident
        }
        let Some(file) = &mut self.file else { return Ok(0) };
        file.read_to_end(&mut self.partial).context("reading the incidents")?;
        let Some(end) = self.partial.iter().rposition(|byte| *byte == b'\n') else { return Ok(0) };
        let whole: Vec<u8> = self.partial.drain(..=end).collect();
        let arrived_ms = Timestamp::now().as_millisecond();
        let mut notified = 0;
        for line in whole.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let incident: Value = serde_json::from_slice(line).context("an incident is no JSON")?;
            let text = |name| incident.get(name).and_then(Value::as_str).map(str::to_owned);
            let (key, state) = (text("key"), text("state"));
            ensure!(key.is_some() && state.is_some(), "no incident: {incident}");
            let (key, state) = (key.unwrap_or_default(), state.unwrap_or_default());
            notified += usize::from(state == "notified");
            if OVER.contains(&&*state) {
                if self.open.remove(&key).is_some() {
                    self.over = Some(Instant::now());
                }
            } else if state != "detected" {
                self.open.insert(key, state);
            }
            serde_json::to_writer(&mut self.copy, &Arrival { arrived_ms, incident })?;
            self.copy.write_all(b"\n")?;
        }
        Ok(notified)
    }

    /// Nothing is open, and the last that was has been over for so long.
    pub(crate) fn is_settled(&self, settle: Duration) -> bool {
        self.open.is_empty() && self.over.is_none_or(|over| over.elapsed() >= settle)
    }

    /// Keys of the incidents that are confirmed or more, and not over.
    pub(crate) fn open(&self) -> Vec<String> {
        self.open.keys().cloned().collect()
    }
}
