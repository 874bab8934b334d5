//! Loki's rules on the times of entries: not more than an hour behind the newest of the stream, not more than ten minutes in
//! the future. With its texts, from Loki 3.7 `pkg/ingester/stream.go` and `pkg/validation/validate.go`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::live::tap::{Entry, PushRequest};

/// Half of Loki's default `max_chunk_age`.
const BEHIND_NS: i64 = 3_600_000_000_000;
/// Loki's default `creation_grace_period`.
const AHEAD_NS: i64 = 600_000_000_000;
/// Loki lists no more entries of a stream than this.
const LISTED: usize = 10;

/// What is known of the streams.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    newest_ns: BTreeMap<String, i64>,
    /// Entries refused because they were too far behind.
    pub(crate) behind: u64,
    /// Entries refused because they were in the future.
    pub(crate) ahead: u64,
    /// Entries older than the one before them in their stream.
    pub(crate) backwards: u64,
    oldest_ns: Option<i64>,
}

impl Streams {
    /// These entries were taken.
    pub(crate) fn follow(&mut self, push: &PushRequest) {
        for stream in &push.streams {
            let newest = self.newest_ns.entry(stream.labels.clone()).or_insert(i64::MIN);
            for entry in &stream.entries {
                let time = nanos(entry);
                self.backwards += u64::from(time < *newest);
                *newest = time.max(*newest);
                self.oldest_ns = Some(self.oldest_ns.map_or(time, |oldest| oldest.min(time)));
            }
        }
    }

    /// From the oldest entry to the newest.
    pub(crate) fn span_ns(&self) -> i64 {
        let newest = self.newest_ns.values().max().copied();
        newest.zip(self.oldest_ns).map_or(0, |(newest, oldest)| newest - oldest)
    }
}

/// Takes the entries out that a Loki whose clock is `ahead_s` ahead of ours would refuse, and says what it would say of them.
pub(crate) fn refuse(
    push: &mut PushRequest,
    streams: &mut Streams,
    ahead_s: i64,
) -> Option<String> {
    let now = Timestamp::now().as_nanosecond() as i64 + ahead_s * 1_000_000_000;
    let (mut ahead, mut behind) = (BTreeMap::<(String, i64), usize>::new(), String::new());
    for stream in &mut push.streams {
        let entries = stream.entries.len();
        let mut newest = streams.newest_ns.get(&stream.labels).copied().unwrap_or(i64::MIN);
        let (mut refused, mut listed) = (0, String::new());
        stream.entries.retain(|entry| {
            let time = nanos(entry);
            if time > now + AHEAD_NS {
                let told = (stream.labels.clone(), time.div_euclid(1_000_000_000));
                *ahead.entry(told).or_default() += 1;
                return false;
            }
            if time < newest.saturating_sub(BEHIND_NS) {
                refused += 1;
                if refused <= LISTED {
                    let when = shown(time).replacen('T', " ", 1).replace('Z', " +0000 UTC");
                    let limit = shown(newest - BEHIND_NS);
                    writeln!(listed, "entry with timestamp {when} ignored, reason: 'entry too far behind, entry timestamp is: {}, oldest acceptable timestamp is: {limit}',", shown(time)).unwrap();
                }
                return false;
            }
            newest = newest.max(time);
            true
        });
        if refused > 0 {
            streams.behind += refused as u64;
            write!(
                behind,
                "{listed}user 'fake', total ignored: {refused} out of {entries} for stream: {}",
                stream.labels
            )
            .unwrap();
        }
    }
    streams.ahead += ahead.values().sum::<usize>() as u64;
    let mut said: Vec<String> = ahead
        .iter()
        .map(|((stream, second), count)| {
            let when = shown(second * 1_000_000_000);
            format!(
                "{count} errors like: entry for stream '{stream}' has timestamp too new: {when}"
            )
        })
        .collect();
    if !behind.is_empty() {
        said.push(if said.is_empty() { behind } else { format!("1 errors like: {behind}") });
    }
    (!said.is_empty()).then(|| said.join("; "))
}

fn nanos(entry: &Entry) -> i64 {
    let time = entry.timestamp.unwrap_or_default();
    time.seconds * 1_000_000_000 + i64::from(time.nanos)
}

fn shown(nanos: i64) -> String {
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap().to_string()
}
