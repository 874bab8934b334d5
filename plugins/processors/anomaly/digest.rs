//! What a detector tells for others: the digest of calls that were held back, and the end of incidents that an earlier run
//! left open and that nobody watches any more.

use std::fmt::Write as _;

use sentinel_contract::Emit;
use sentinel_contract::desk::Digest;
use sentinel_contract::incident::{Incident, Severity, State};

use super::Anomaly;
use super::course::announce;

/// Incidents named in a digest's sentence.
const NAMED: usize = 10;

impl Anomaly {
    /// Once after a start: tells what could not be told before it, and ends what nobody knows any more.
    pub(super) fn settle(&mut self, now_ms: i64, emit: &mut Emit) {
        if std::mem::replace(&mut self.settled, true) {
            return;
        }
        if self.of_a_partition {
            return; // what it does not know of, another member of its group does
        }
        let mut changes = std::mem::take(&mut self.untold);
        for change in &changes {
            self.shared.desk.note(change);
        }
        let open = self.groups.iter().filter_map(|group| group.incident.as_ref());
        let known: Vec<&str> = open.map(|open| open.key.as_str()).collect();
        let is_lost =
            |one: &Incident| *one.detector == *self.alias && !known.contains(&one.key.as_str());
        for lost in self.shared.desk.lost(is_lost, now_ms) {
            let reason = "the state of the detector that watched it is lost".to_owned();
            changes.push(Incident { reason, ..lost });
        }
        for events in announce(changes, &self.shared) {
            emit.push(events);
        }
    }

    /// The digest, when one is due: a call of its own, that is over at once.
    pub(super) fn tell_digest(&mut self, now_ms: i64, emit: &mut Emit) {
        let host = &self.context.host;
        let Some((key, digest)) = self.shared.desk.digest(host, now_ms) else { return };
        let called = Incident {
            message: sentence(&digest, host),
            key,
            detector: self.alias.to_string(),
            host: host.to_string(),
            state: State::Notified,
            time_ms: now_ms,
            started_ms: now_ms,
            score: 1.0,
            reason: format!(
                "over the notification budget of {} an hour and {} a day",
                digest.budget.per_hour, digest.budget.per_day
            ),
            severity: digest.held.iter().map(|held| held.severity).max().unwrap_or_default(),
            ..Incident::default()
        };
        let over = Incident {
            state: State::Resolved,
            reason: "a digest is over when it is told".to_owned(),
            ..called.clone()
        };
        let changes = vec![called, over];
        for events in announce(changes, &self.shared) {
            emit.push(events);
        }
    }
}

/// "5 incidents of box called nobody: 2 critical, 3 warning: key (what); ... and 2 more".
fn sentence(digest: &Digest, host: &str) -> String {
    let plural = if digest.count == 1 { "" } else { "s" };
    let mut text = format!("{} incident{plural} of {host} called nobody", digest.count);
    for severity in [Severity::Critical, Severity::Warning, Severity::Info] {
        let count = digest.held.iter().filter(|held| held.severity == severity).count();
        if count > 0 {
            let _infallible = write!(text, ", {count} {}", severity.word());
        }
    }
    for (at, held) in digest.held.iter().take(NAMED).enumerate() {
        let gap = if at == 0 { ": " } else { "; " };
        let _infallible = write!(text, "{gap}{} ({})", held.key, held.what);
    }
    let more = digest.count.saturating_sub(NAMED.min(digest.held.len()));
    if more > 0 {
        let _infallible = write!(text, "; and {more} more");
    }
    text
}
