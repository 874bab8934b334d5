//! What processors that group lines have in common: what groups are made by, the key of a line's group, and where a field
//! stands in a line.

use std::hash::{BuildHasher, Hasher};

use foldhash::quality::FixedState;
use sentinel_contract::{Fields, Log, Value};

/// Streams remembered; beyond this all are forgotten and looked up again.
pub(crate) const MAX_STREAMS: usize = 4096;
/// The value of every group label in the group that takes what is too much.
pub(crate) const OTHER: &str = "other";

/// What groups are made by.
#[derive(Debug)]
pub(crate) struct Grouping {
    pub by: Vec<Box<str>>,
    pub max: usize,
    /// `[agent] tags` and `host`.
    pub tags: Vec<(Box<str>, Box<str>)>,
}

impl Grouping {
    /// The hash of a line's values, by labels, else by fields; true when the labels alone decide.
    pub(crate) fn key(&self, log: &Log) -> (u64, bool) {
        let mut hasher = FixedState::default().build_hasher();
        let mut by_labels = true;
        for name in &self.by {
            if let Some(value) = log.stream.get(name) {
                hasher.write(value.as_bytes());
            } else {
                by_labels = false;
                match log.fields.as_ref().and_then(|fields| fields.get(name)) {
                    Some(Value::Number(number)) => hasher.write(number.to_string().as_bytes()),
                    Some(_) => hasher.write(log.text(name).unwrap_or_default()),
                    None => hasher.write(b""),
                }
            }
            hasher.write_u8(0xFF);
        }
        (hasher.finish(), by_labels)
    }

    /// A line's values, one a name of `by`.
    pub(crate) fn values(&self, log: &Log) -> Vec<Box<str>> {
        self.by.iter().map(|name| value(log, name)).collect()
    }

    /// The values of the group that takes what is too much.
    pub(crate) fn of_other(&self) -> Vec<Box<str>> {
        self.by.iter().map(|_| OTHER.into()).collect()
    }
}

/// The hash of values, as [`Grouping::key`] makes it of a line that has them.
pub(crate) fn key_of(values: &[Box<str>]) -> u64 {
    let mut hasher = FixedState::default().build_hasher();
    for value in values {
        hasher.write(value.as_bytes());
        hasher.write_u8(0xFF);
    }
    hasher.finish()
}

fn value(log: &Log, name: &str) -> Box<str> {
    if let Some(value) = log.stream.get(name) {
        return value.into();
    }
    match log.fields.as_ref().and_then(|fields| fields.get(name)) {
        Some(Value::Number(number)) => number.to_string().into(),
        Some(_) => String::from_utf8_lossy(log.text(name).unwrap_or_default()).into(),
        None => "".into(),
    }
}

/// A field that is asked of every line. It usually stands where it stood in the line before.
#[derive(Debug)]
pub(crate) struct Role {
    name: Box<str>,
    at: usize,
}

impl Role {
    pub(crate) fn new(name: &str) -> Self {
        Role { name: name.into(), at: 0 }
    }

    pub(crate) fn find<'f>(&mut self, fields: &'f Fields) -> Option<&'f Value> {
        match fields.0.get(self.at) {
            Some(field) if field.name.as_str() == &*self.name => Some(&field.value),
            _ => {
                self.at = fields.0.iter().position(|field| field.name.as_str() == &*self.name)?;
                Some(&fields.0[self.at].value)
            }
        }
    }
}
