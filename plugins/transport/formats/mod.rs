//! Payload formats that several plugins share: events to bytes and bytes to events. No I/O.
//!
//! Encoders append to a buffer of the caller's. Decoders append to vectors of the caller's; a payload that is broken as a
//! whole is [`Malformed`] and gives nothing, what is left out of a good one is counted in [`Drops`] by its reason. A decoder
//! is kept by its plugin: label sets and names that it has seen are shared, not built again ([`interner`]).

pub mod influx;

pub mod interner;

pub mod json;

pub mod logfmt;

pub mod names;

pub mod otlp;

pub mod prometheus;

pub mod unpack;

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use sentinel_contract::Labels;
use sentinel_contract::telemetry::Counters;

use crate::protobuf::read::Broken;

/// Events of one payload; more are refused. A megabyte of the shortest would otherwise be half a million.
pub const MOST_EVENTS: usize = 200_000;

/// What a payload does not say by itself.
#[derive(Clone, Copy, Debug)]
pub struct Given<'a> {
    /// Labels of every event; what the payload says of the same name comes first. Cheapest when it is the same `Arc` again.
    pub labels: &'a Arc<Labels>,
    /// The time of what has none: nanoseconds since 1970 UTC.
    pub now_ns: i64,
}

impl Given<'_> {
    /// The same in milliseconds.
    fn now_ms(&self) -> i64 {
        self.now_ns.div_euclid(1_000_000)
    }
}

/// A payload that is broken as a whole: nothing of it was taken, and nothing will be when it comes again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub String);

impl Malformed {
    fn new(reason: &str) -> Self {
        Malformed(reason.to_owned())
    }
}

impl From<Broken> for Malformed {
    fn from(broken: Broken) -> Self {
        Malformed(format!("not the protobuf message it should be: {broken}"))
    }
}

/// How many events were left out of payloads that were else taken, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(Vec<(&'static str, u64)>);

impl Drops {
    /// Counts `events`.
    pub fn add(&mut self, reason: &'static str, events: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == reason) {
            _ if events == 0 => (),
            Some((_, count)) => *count += events,
            None => self.0.push((reason, events)),
        }
    }

    /// How many for this reason.
    pub fn get(&self, reason: &str) -> u64 {
        self.iter().find(|(known, _)| *known == reason).map_or(0, |(_, count)| count)
    }

    /// Reasons and counts.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    /// Hands all counts to the plugin's counters.
    pub fn settle(&mut self, counters: &Counters) {
        for (reason, events) in self.0.drain(..) {
            counters.drop_events(reason, events);
        }
    }
}

/// Reads a payload wholly or not at all: of a broken one nothing stays in `out` or `drops`.
fn whole<T>(
    out: &mut Vec<T>,
    drops: &mut Drops,
    read: impl FnOnce(&mut Vec<T>, &mut Drops) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    let (before, mut dropped) = (out.len(), Drops::default());
    let result = read(out, &mut dropped);
    match result {
        Ok(()) => dropped.iter().for_each(|(reason, events)| drops.add(reason, events)),
        Err(_) => out.truncate(before),
    }
    result
}

/// That a payload does not hold too many events.
#[inline]
fn check_count(events: usize) -> Result<(), Malformed> {
    if events <= MOST_EVENTS {
        return Ok(());
    }
    Err(Malformed(format!("more than {MOST_EVENTS} events in one payload")))
}
