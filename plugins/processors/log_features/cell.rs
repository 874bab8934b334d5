//! A cell: what is counted of one group in one window, and the features made of it.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use sentinel_contract::evidence::Of;
use sentinel_contract::{Evidence, Fields, Log, Metric, Value};
use serde::{Deserialize, Serialize};

use super::distinct::Distinct;
use super::failed::{Failed, Scratch, tally};
use super::group::Group;
use super::quantile::Histogram;
use crate::grouping::Role;
use crate::sketch::Frequent;

/// The features, by index.
pub(super) const FEATURES: [&str; 12] = [
    "log_requests",
    "log_sessions",
    "log_clients",
    "log_errors",
    "log_client_errors",
    "log_error_rate",
    "log_requests_per_session",
    "log_bytes",
    "log_latency_p50",
    "log_latency_p95",
    "log_latency_p99",
    "log_unseen",
];

/// The methods told apart; the last stands for all others.
pub(super) const METHODS: [&str; 8] =
    ["GET", "POST", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];

/// What a group's lines have had; a silent group writes zeros only for these.
pub(super) const HAS_STATUS: u16 = 1;
const HAS_SESSION: u16 = 2;
const HAS_CLIENT: u16 = 4;
const HAS_BYTES: u16 = 8;
pub(super) const HAS_LEVEL: u16 = 16;

/// The fields that features are made of.
#[derive(Debug)]
pub(super) struct Roles {
    pub(super) session: Vec<Role>,
    pub(super) client: Role,
    pub(super) status: Role,
    pub(super) bytes: Role,
    pub(super) latency: Role,
    pub(super) method: Role,
    pub(super) path: Role,
    pub(super) scratch: Scratch,
    pub(super) error_status: f64,
    pub(super) max_keys: usize,
}

/// One group in one window.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Cell {
    requests: u64,
    errors: u64,
    client_errors: u64,
    bytes: f64,
    methods: [u32; METHODS.len()],
    sessions: Distinct,
    clients: Distinct,
    latency: Histogram,
    /// The clients of all lines; empty in a snapshot of an older version.
    #[serde(default)]
    callers: Frequent,
    /// What failed, once something has.
    #[serde(default)]
    failed: Option<Box<Failed>>,
}

impl Cell {
    /// Counts a line; returns what it had, and its method's bit.
    pub(super) fn take(&mut self, log: &Log, roles: &mut Roles, level: Option<bool>) -> (u16, u16) {
        self.requests += 1;
        let (mut traits, mut method, mut client) = (0, 0, None);
        let mut is_error = level == Some(true);
        if let Some(fields) = &log.fields {
            if let Some(status) = roles.status.find(fields).and_then(|value| number(log, value)) {
                traits |= HAS_STATUS;
                is_error = status >= roles.error_status;
                self.client_errors += u64::from(!is_error && (400.0..500.0).contains(&status));
            }
            if let Some(bytes) = roles.bytes.find(fields).and_then(|value| number(log, value)) {
                traits |= HAS_BYTES;
                self.bytes += bytes;
            }
            if let Some(latency) = roles.latency.find(fields).and_then(|value| number(log, value)) {
                self.latency.insert(latency);
            }
            if let Some(name) = roles.method.find(fields) {
                let index = method_index(text(log, name));
                self.methods[index] += 1;
                method = 1 << index;
            }
            if let Some(found) = roles.client.find(fields) {
                traits |= HAS_CLIENT;
                let hash = hash(log, [Some(found)].into_iter());
                client = Some(hash);
                self.clients.insert(hash, roles.max_keys);
                self.callers.insert(hash, text(log, found));
            }
            traits |= self.session(log, fields, roles);
        }
        if level.is_some() {
            traits |= HAS_LEVEL;
        }
        if is_error {
            self.errors += 1;
            let mut scratch = std::mem::take(&mut roles.scratch);
            self.failed.get_or_insert_default().take(log, roles, client, &mut scratch);
            roles.scratch = scratch;
        }
        (traits, method)
    }

    fn session(&mut self, log: &Log, fields: &Fields, roles: &mut Roles) -> u16 {
        let mut hasher = FixedState::default().build_hasher();
        let mut has_any = false;
        for role in &mut roles.session {
            let value = role.find(fields);
            has_any |= value.is_some();
            mix(&mut hasher, log, value);
        }
        if !has_any {
            return 0;
        }
        self.sessions.insert(hasher.finish(), roles.max_keys);
        HAS_SESSION
    }

    /// What a window of `group` that ended at `time_ms` was made of; `None` when nothing is known of it.
    pub(super) fn evidence(&self, group: &mut Group, time_ms: i64) -> Option<Evidence> {
        let mut tallies = Vec::new();
        let sample = self.failed.as_ref().map(|failed| failed.evidence(&mut tallies));
        tally("client", Of::All, &self.callers, &mut tallies);
        (!tallies.is_empty() || sample.is_some()).then(|| Evidence {
            labels: group.shared_labels(),
            time_ms,
            tallies,
            sample: sample.unwrap_or_default(),
        })
    }

    /// The features of a window of `group` that ended at `time_ms`, into `out`.
    pub(super) fn features(
        &self,
        group: &mut Group,
        time_ms: i64,
        unseen: u64,
        out: &mut Vec<Metric>,
    ) {
        let mut push = |group: &mut Group, feature: usize, value: f64| {
            out.push(Metric { series: group.series(feature), time_ms, value });
        };
        let has = group.traits;
        let requests = self.requests as f64;
        push(group, 0, requests);
        if has & HAS_SESSION != 0 {
            let sessions = self.sessions.count();
            push(group, 1, sessions);
            if sessions > 0.0 {
                push(group, 6, requests / sessions);
            }
        }
        if has & HAS_CLIENT != 0 {
            push(group, 2, self.clients.count());
        }
        if has & (HAS_STATUS | HAS_LEVEL) != 0 {
            push(group, 3, self.errors as f64);
            if self.requests > 0 {
                push(group, 5, self.errors as f64 / requests);
            }
        }
        if has & HAS_STATUS != 0 {
            push(group, 4, self.client_errors as f64);
        }
        if has & HAS_BYTES != 0 {
            push(group, 7, self.bytes);
        }
        for (feature, quantile) in [(8, 0.5), (9, 0.95), (10, 0.99)] {
            if let Some(seconds) = self.latency.quantile(quantile) {
                push(group, feature, seconds);
            }
        }
        if unseen > 0 {
            push(group, 11, unseen as f64);
        }
        let with_method: u32 = self.methods.iter().sum();
        if with_method > 0 {
            for (index, count) in self.methods.iter().enumerate() {
                if group.methods & (1 << index) != 0 {
                    let value = f64::from(*count) / f64::from(with_method);
                    out.push(Metric { series: group.method_series(index), time_ms, value });
                }
            }
        }
    }
}

fn method_index(method: &[u8]) -> usize {
    let known = &METHODS[..METHODS.len() - 1];
    known.iter().position(|name| name.as_bytes() == method).unwrap_or(known.len())
}

pub(super) fn text<'a>(log: &'a Log, value: &'a Value) -> &'a [u8] {
    match value {
        Value::Slice(start, end) => {
            log.body.get(*start as usize..*end as usize).unwrap_or_default()
        }
        Value::Text(text) => text.as_bytes(),
        Value::Number(_) => &[],
    }
}

/// A finite number, from text when it has to be.
pub(super) fn number(log: &Log, value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => *number,
        value => std::str::from_utf8(text(log, value)).ok()?.trim().parse().ok()?,
    };
    number.is_finite().then_some(number)
}

fn hash<'a>(log: &'a Log, values: impl Iterator<Item = Option<&'a Value>>) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    for value in values {
        mix(&mut hasher, log, value);
    }
    hasher.finish()
}

fn mix(hasher: &mut impl Hasher, log: &Log, value: Option<&Value>) {
    match value {
        Some(Value::Number(number)) => hasher.write_u64(number.to_bits()),
        Some(value) => hasher.write(text(log, value)),
        None => {}
    }
    hasher.write_u8(0xFF);
}
