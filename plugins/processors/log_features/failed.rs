//! What failed in a window: the most frequent statuses, paths and clients of the failed requests, and one line that stands for
//! them. Touched by failed lines only.
//!
//! A path is shown without its query and without what names one thing of many (`path`): `/api/cart/:id`. Clients are shown as
//! they are: who asks is what a person on call wants to know, and the address is in the log anyway. The line is redacted
//! (`crate::redact`); of a window at most [`SAMPLES`] are looked at.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use sentinel_contract::evidence::{Of, Tally};
use sentinel_contract::{Fields, Log};
use serde::{Deserialize, Serialize};

use super::cell::{Roles, number, text};
use super::path;
use crate::redact;
use crate::sketch::Frequent;

/// Lines of a window that are redacted, each the first of its status and path.
const SAMPLES: usize = 8;
/// Bytes of a line that are shown.
const SHOWN: usize = 400;

/// The failed lines of one cell.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Failed {
    status: Frequent,
    path: Frequent,
    /// `502 on /api/cart`.
    both: Frequent,
    client: Frequent,
    /// Of lines that are errors by their level.
    unit: Frequent,
    samples: Vec<Sample>,
}

/// The first line of a status and path.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Sample {
    of: String,
    /// Redacted.
    line: String,
}

impl Failed {
    /// Counts a failed line.
    pub(super) fn take(
        &mut self,
        log: &Log,
        roles: &mut Roles,
        client: Option<u64>,
        scratch: &mut Scratch,
    ) {
        scratch.clear();
        if let Some(fields) = &log.fields {
            self.request(log, fields, roles, client, scratch);
        }
        if let Some(unit) = log.stream.get("unit") {
            self.unit.insert(hash(&[unit.as_bytes()]), unit.as_bytes());
        }
        let is_known = |sample: &Sample| sample.of == scratch.both;
        if self.samples.len() < SAMPLES && !self.samples.iter().any(is_known) {
            let line = redact::keeping(&log.body, SHOWN, scratch.status.as_bytes());
            self.samples.push(Sample { of: scratch.both.clone(), line });
        }
    }

    fn request(
        &mut self,
        log: &Log,
        fields: &Fields,
        roles: &mut Roles,
        client: Option<u64>,
        scratch: &mut Scratch,
    ) {
        if let Some(status) = roles.status.find(fields).and_then(|value| number(log, value)) {
            scratch.status(status);
            self.status.insert(hash(&[scratch.status.as_bytes()]), scratch.status.as_bytes());
        }
        if let Some(found) = roles.path.find(fields) {
            path::mask(text(log, found), &mut scratch.path);
        }
        let path = hash(&[scratch.path.as_bytes()]);
        if !scratch.path.is_empty() {
            self.path.insert(path, scratch.path.as_bytes());
        }
        if !scratch.path.is_empty() && !scratch.status.is_empty() {
            scratch.join();
            self.both.insert(hash(&[scratch.both.as_bytes()]), scratch.both.as_bytes());
        }
        if let (Some(hash), Some(found)) = (client, roles.client.find(fields)) {
            self.client.insert(hash, text(log, found));
        }
    }

    /// The tallies, and the line that stands for the most of them.
    pub(super) fn evidence(&self, tallies: &mut Vec<Tally>) -> String {
        let both = self.both.rows();
        let most = both.first().map(|(value, _)| value.clone()).unwrap_or_default();
        let sketches = [
            ("status and path", &self.both),
            ("status", &self.status),
            ("path", &self.path),
            ("client", &self.client),
            ("unit", &self.unit),
        ];
        for (dimension, sketch) in sketches {
            tally(dimension, Of::Failed, sketch, tallies);
        }
        let standing = self.samples.iter().find(|it| it.of == most).or(self.samples.first());
        standing.map(|it| it.line.clone()).unwrap_or_default()
    }
}

/// A sketch as it is told; nothing when it is empty.
pub(super) fn tally(dimension: &'static str, of: Of, sketch: &Frequent, tallies: &mut Vec<Tally>) {
    if sketch.total() > 0 {
        tallies.push(Tally { dimension, of, total: sketch.total(), rows: sketch.rows() });
    }
}

/// Where values are put together, so that no line allocates.
#[derive(Clone, Debug, Default)]
pub(super) struct Scratch {
    status: String,
    path: String,
    both: String,
}

impl Scratch {
    fn clear(&mut self) {
        for text in [&mut self.status, &mut self.path, &mut self.both] {
            text.clear();
        }
    }

    fn status(&mut self, status: f64) {
        use std::fmt::Write as _;
        let _infallible = write!(self.status, "{}", status as u32);
    }

    fn join(&mut self) {
        for part in [&self.status, " on ", &self.path] {
            self.both.push_str(part);
        }
    }
}

fn hash(parts: &[&[u8]]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    for part in parts {
        hasher.write(part);
        hasher.write_u8(0xFF);
    }
    hasher.finish()
}
