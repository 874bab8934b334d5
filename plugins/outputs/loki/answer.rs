//! What a 400 of Loki says: which entries it refused. The others of the request were taken.
//!
//! From Loki 3.7 `pkg/validation/validate.go` (the texts), `pkg/util/errors.go` (how they are joined and counted) and
//! `pkg/ingester/stream.go` (entries too far behind). Each entry is found by its time or its length; when the text
//! does not say enough, nothing is claimed and the caller searches by halves: Loki keeps one of two equal entries.

use jiff::Timestamp;

use super::encode::Sent;

const SECOND: i64 = 1_000_000_000;

/// What one text says of some entries.
#[derive(Debug, PartialEq)]
enum Fault {
    /// Older than Loki takes: this second.
    Old(i64),
    /// Newer than Loki takes: this second.
    New(i64),
    /// Longer than Loki takes: this length.
    Long(u32),
    /// Too far behind the newest of its stream: this nanosecond.
    Behind(i64),
}

/// Indices of the refused entries, ascending; `None` when the text does not say.
pub(super) fn refused(text: &str, sent: &[Sent]) -> Option<Vec<usize>> {
    let mut faults = Vec::<(Fault, usize)>::new();
    for (count, message) in messages(text.trim()) {
        let found = match message.split_once("total ignored: ") {
            Some((listed, total)) => behind(listed, total)?,
            None => vec![(fault(message)?, count)],
        };
        for (fault, count) in found {
            match faults.iter_mut().find(|(known, _)| *known == fault) {
                Some((_, total)) => *total += count,
                None => faults.push((fault, count)),
            }
        }
    }
    let mut events = Vec::new();
    for (fault, count) in faults {
        events.extend(entries(&fault, count, sent)?);
    }
    events.sort_unstable();
    events.dedup();
    (!events.is_empty()).then_some(events)
}

/// The texts with their counts: `A`, or `2 errors like: A; 1 errors like: B`.
fn messages(text: &str) -> Vec<(usize, &str)> {
    let parts = text.split(" errors like: ").collect::<Vec<_>>();
    if parts.len() == 1 {
        return vec![(1, text)];
    }
    let mut messages = Vec::new();
    let mut count = parts[0].parse().unwrap_or(0);
    for (nth, part) in parts.iter().enumerate().skip(1) {
        let next = (nth + 1 < parts.len()).then(|| part.rsplit_once("; ")).flatten();
        let (message, next) = next.unwrap_or((part, ""));
        messages.push((count, message));
        count = next.parse().unwrap_or(0);
    }
    messages
}

fn fault(message: &str) -> Option<Fault> {
    if let Some((_, rest)) = message.split_once("' has timestamp too old: ") {
        return Some(Fault::Old(second(rest.split_once(',')?.0)?));
    }
    if let Some((_, rest)) = message.split_once("' has timestamp too new: ") {
        return Some(Fault::New(second(rest)?));
    }
    let (_, rest) = message.split_once("' while adding an entry with length '")?;
    let length = rest.split_once('\'')?.0.parse().ok()?;
    message.contains("Max entry size").then_some(Fault::Long(length))
}

/// Lines of `entry with timestamp 2026-11-23 03:00:00.1 +0000 UTC ignored, reason: 'entry too far behind, ...`, at most
/// ten of them; then how many there were. `None` when some are not listed.
fn behind(listed: &str, total: &str) -> Option<Vec<(Fault, usize)>> {
    let total = total.split(' ').next()?.parse::<usize>().ok()?;
    let times = listed.split("entry with timestamp ").skip(1).map(|line| {
        let (time, reason) = line.split_once(" ignored, reason: '")?;
        reason.starts_with("entry too far behind").then_some(())?;
        let time = time.strip_suffix(" +0000 UTC")?.replacen(' ', "T", 1) + "Z";
        Some((Fault::Behind(nanosecond(&time)?), 1))
    });
    let times = times.collect::<Option<Vec<_>>>()?;
    (times.len() == total).then_some(times)
}

/// The entries that a fault means; `None` when there are fewer than it says.
fn entries(fault: &Fault, count: usize, sent: &[Sent]) -> Option<Vec<usize>> {
    let meant = |entry: &&Sent| match *fault {
        Fault::Old(second) | Fault::New(second) => entry.time_ns.div_euclid(SECOND) == second,
        Fault::Long(length) => entry.len == length,
        Fault::Behind(time) => entry.time_ns == time,
    };
    let mut found = sent.iter().filter(meant).collect::<Vec<_>>();
    if found.len() < count || count == 0 {
        return None;
    }
    match fault {
        // The limit lies within this second: the oldest are too old, the newest too new.
        Fault::Old(_) => found.sort_by_key(|entry| entry.time_ns),
        Fault::New(_) => found.sort_by_key(|entry| std::cmp::Reverse(entry.time_ns)),
        Fault::Long(_) | Fault::Behind(_) => {}
    }
    if !matches!(fault, Fault::Behind(_)) {
        found.truncate(count);
    }
    Some(found.into_iter().map(|entry| entry.index as usize).collect())
}

fn second(text: &str) -> Option<i64> {
    Some(nanosecond(text)?.div_euclid(SECOND))
}

fn nanosecond(text: &str) -> Option<i64> {
    i64::try_from(text.trim().parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}
