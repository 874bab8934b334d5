//! What a 400 of Loki says: which entries it refused, and whether the others of the request were taken.
//!
//! From Loki 3.7 `pkg/validation/validate.go` (the texts), `pkg/util/errors.go` (how they are joined and counted),
//! `pkg/distributor/distributor.go` (an ingester's error hides the distributor's) and `pkg/ingester/instance.go` and
//! `stream.go` (of several streams the last one's error, at most ten of its entries). Each entry is found by its stream
//! and its time or length; when the text does not say enough, nothing is claimed and the caller searches by halves: Loki
//! keeps one of two equal entries.

use jiff::Timestamp;

use super::encode::Sent;
use super::labels::{parse, same_stream};

const SECOND: i64 = 1_000_000_000;

/// What was refused.
#[derive(Debug, PartialEq)]
pub(super) struct Refused {
    /// Indices of the entries, ascending.
    pub(super) events: Vec<usize>,
    /// Whether all others were taken: the distributor tells all that it refused, and tells it only when no ingester
    /// refused anything. What an ingester tells hides the distributor's errors and those of other ingesters.
    pub(super) only: bool,
}

/// What one text of the distributor says of some entries of a stream.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Older than Loki takes: this second.
    Old(i64),
    /// Newer than Loki takes: this second.
    New(i64),
    /// Longer than Loki takes: this length.
    Long(u32),
    /// Its labels are not what Loki takes.
    Stream,
}

/// The streams of a request, by place.
struct Streams(Vec<Option<Vec<(String, String)>>>);

impl Streams {
    /// The places of the streams that a text names: more than one when they differ in metadata only.
    fn named(&self, name: &str) -> Option<Vec<u32>> {
        let named = parse(name)?;
        let ours = self.0.iter().zip(0..);
        let same = ours.filter(|(ours, _)| ours.as_ref().is_some_and(|o| same_stream(&named, o)));
        Some(same.map(|(_, place)| place).collect())
    }
}

/// The refused entries; `None` when the text does not say. `names` are those of the streams, by place.
pub(super) fn refused(text: &str, sent: &[Sent], names: &[String]) -> Option<Refused> {
    let text = text.trim();
    let streams = Streams(names.iter().map(|name| parse(name)).collect());
    if text.starts_with("entry with timestamp ") {
        return Some(Refused { events: behind(text, sent, &streams)?, only: false });
    }
    let mut faults = Vec::<(Fault, Vec<u32>, usize)>::new();
    for (count, message) in messages(text) {
        let (fault, name) = fault(message)?;
        let places = streams.named(name)?;
        match faults.iter_mut().find(|(known, at, _)| *known == fault && *at == places) {
            Some((.., total)) => *total += count,
            None => faults.push((fault, places, count)),
        }
    }
    let mut events = Vec::new();
    for (fault, places, count) in faults {
        events.extend(entries(fault, &places, count, sent)?);
    }
    ascending(events).map(|events| Refused { events, only: true })
}

fn ascending(mut events: Vec<usize>) -> Option<Vec<usize>> {
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

/// What is wrong, and the name of the stream.
fn fault(message: &str) -> Option<(Fault, &str)> {
    let entry = message.strip_prefix("entry for stream '");
    if let Some((name, rest)) = entry.and_then(|rest| rest.split_once("' has timestamp too old: "))
    {
        return Some((Fault::Old(second(rest.split_once(',')?.0)?), name));
    }
    if let Some((name, rest)) = entry.and_then(|rest| rest.split_once("' has timestamp too new: "))
    {
        return Some((Fault::New(second(rest)?), name));
    }
    if let Some((name, rest)) = message.split_once("' while adding an entry with length '") {
        let (_, name) = name.split_once("' bytes exceeded for stream '")?;
        let length = rest.split_once('\'')?.0.parse().ok()?;
        return message.starts_with("Max entry size '").then_some((Fault::Long(length), name));
    }
    if let Some((name, rest)) = entry.and_then(|rest| rest.rsplit_once("' has ")) {
        return rest.contains(" label names; limit ").then_some((Fault::Stream, name));
    }
    let stream = message.strip_prefix("stream '")?;
    let labels = ["label name too long", "label value too long", "duplicate label name"];
    let named = labels.iter().find_map(|what| stream.split_once(&format!("' has {what}: '")));
    named.map(|(name, _)| (Fault::Stream, name))
}

/// The entries that a fault means; `None` when there are fewer than it says.
fn entries(fault: Fault, places: &[u32], count: usize, sent: &[Sent]) -> Option<Vec<usize>> {
    let meant = |entry: &&Sent| {
        places.contains(&entry.place)
            && match fault {
                Fault::Old(second) | Fault::New(second) => {
                    entry.time_ns.div_euclid(SECOND) == second
                }
                Fault::Long(length) => entry.len == length,
                Fault::Stream => true,
            }
    };
    let mut found = sent.iter().filter(meant).collect::<Vec<_>>();
    if found.len() < count || count == 0 {
        return None;
    }
    match fault {
        // The limit lies within this second: the oldest are too old, the newest too new.
        Fault::Old(_) => found.sort_by_key(|entry| entry.time_ns),
        Fault::New(_) => found.sort_by_key(|entry| std::cmp::Reverse(entry.time_ns)),
        Fault::Long(_) | Fault::Stream => {}
    }
    if fault != Fault::Stream {
        found.truncate(count);
    }
    Some(found.into_iter().map(|entry| entry.index as usize).collect())
}

/// Entries too far behind the newest of their stream: lines of `entry with timestamp 2026-11-23 03:00:00.1 +0000 UTC
/// ignored, reason: 'entry too far behind, ...`, then `user 'a', total ignored: 12 out of 70 for stream: {...}`. Lines
/// with another reason (a rate limit) are not refused for good and are not returned.
fn behind(text: &str, sent: &[Sent], streams: &Streams) -> Option<Vec<usize>> {
    let (listed, rest) = text.rsplit_once("total ignored: ")?;
    let (total, rest) = rest.split_once(" out of ")?;
    let (of, name) = rest.split_once(" for stream: ")?;
    // Of streams with one name the last one's error is told.
    let place = streams.named(name)?.into_iter().max()?;
    let ours = sent.iter().filter(|entry| entry.place == place).collect::<Vec<_>>();
    let (mut events, mut lines, mut first) = (Vec::new(), 0, None);
    for line in listed.split("entry with timestamp ").skip(1) {
        lines += 1;
        let (time, reason) = line.split_once(" ignored, reason: '")?;
        if !reason.starts_with("entry too far behind") {
            continue;
        }
        let time = time.strip_suffix(" +0000 UTC")?.replacen(' ', "T", 1) + "Z";
        let time = nanosecond(&time)?;
        let Some(at) = ours.iter().position(|entry| entry.time_ns == time) else { continue };
        events.push(ours[at].index as usize);
        let limit = reason.split_once("oldest acceptable timestamp is: ");
        let limit = limit.and_then(|(_, limit)| nanosecond(limit.split_once('\'')?.0));
        first = first.or(limit.map(|limit| (at, limit)));
    }
    // Not all are listed. The limit only rises within a request: what is below it behind the first is refused too.
    if let Some((at, limit)) = first
        && total.parse::<usize>().ok()? > lines
        && of.parse() == Ok(ours.len())
    {
        let below = ours[at..].iter().filter(|entry| entry.time_ns < limit);
        events.extend(below.map(|entry| entry.index as usize));
    }
    ascending(events)
}

fn second(text: &str) -> Option<i64> {
    Some(nanosecond(text)?.div_euclid(SECOND))
}

fn nanosecond(text: &str) -> Option<i64> {
    i64::try_from(text.trim().parse::<Timestamp>().ok()?.as_nanosecond()).ok()
}
