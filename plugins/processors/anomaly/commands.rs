//! What people tell a running detector (`sentinelops maintenance | accept | undo | train`), and maintenance windows: by
//! command, or by the calendar of the option `maintenance`. In a window frames are measured and shown; they raise nothing and
//! train nothing.

use std::borrow::Cow;

use sentinel_contract::command::Command;
use sentinel_contract::{Emit, Incident};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Anomaly;
use super::course::announce;
use super::group::{Group, Shared, Training};
use super::state::UNDO_MS;

/// A window that was begun by command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Window {
    pub from_ms: i64,
    pub until_ms: i64,
    pub reason: String,
}

impl Anomaly {
    /// Somebody works on the host at this time.
    pub(super) fn is_maintained(&self, time_ms: i64) -> bool {
        let begun = self.windows.iter().any(|one| (one.from_ms..one.until_ms).contains(&time_ms));
        begun || self.calendar.iter().any(|schedule| schedule.covers(time_ms))
    }

    /// For `status`.
    pub(super) fn maintenance(&self) -> Value {
        let begun = self.windows.iter().map(
            |one| json!({ "from_ms": one.from_ms, "until_ms": one.until_ms, "reason": one.reason }),
        );
        let calendar = self.calendar.iter().map(|one| json!({ "calendar": one.to_string() }));
        begun.chain(calendar).collect()
    }

    /// See [`sentinel_contract::Observer::command`].
    pub(super) fn obey(
        &mut self,
        command: &Command,
        now_ms: i64,
        emit: &mut Emit,
    ) -> Option<Result<String, String>> {
        self.windows.retain(|one| one.until_ms > now_ms);
        match command {
            Command::Maintenance { until_ms: Some(until_ms), reason, .. } => {
                let minutes = (until_ms - now_ms + 59_999).div_euclid(60_000); // rounded up
                let (from_ms, until_ms, reason) = (now_ms, *until_ms, reason.clone());
                self.windows.push(Window { from_ms, until_ms, reason });
                Some(Ok(format!("silent for {minutes} min, and learns nothing meanwhile")))
            }
            Command::Maintenance { until_ms: None, .. } => {
                let ended = !self.windows.is_empty();
                self.windows.clear();
                ended.then(|| Ok("watches again".to_owned()))
            }
            Command::Accept { key } => {
                let group = self.groups.iter_mut().find(|group| group.has_open(key))?;
                let mut change = group.accept(now_ms, &self.shared)?;
                let lead = group.describe(&mut change, &self.shared);
                group.remember_end(&change, lead);
                for events in announce(vec![change], &self.shared) {
                    emit.push(events);
                }
                Some(Ok("its level is the new normal; `undo` takes it back".to_owned()))
            }
            Command::Undo { .. } => {
                let last = |group: &&mut Group| group.before.as_ref().map(|before| before.at_ms);
                let groups = self.groups.iter_mut().filter(|group| group.can_undo());
                let group = groups.max_by_key(last)?;
                group.undo();
                Some(Ok(format!("{} watches as before the last new normal", group.name())))
            }
            Command::Backfilled { incidents, .. } => Some(Ok(self.backfilled(incidents))),
            Command::Train { .. } => Some(self.train(now_ms)),
        }
    }

    /// Trains every group that is not being trained.
    fn train(&mut self, now_ms: i64) -> Result<String, String> {
        let needed = self.shared.options.min_frames as u64;
        let (mut begun, mut why_not) = (0, String::from("nothing was seen yet"));
        for group in &mut self.groups {
            if matches!(group.training, Training::Running { .. }) {
                why_not = String::from("a training is under way");
            } else if group.used.is_none() && group.learnt_frames < needed {
                why_not = format!("{} of {needed} frames were seen", group.learnt_frames);
            } else {
                group.submit(group.last_ms.min(now_ms), &self.shared);
                begun += 1;
            }
        }
        if begun == 0 {
            return Err(why_not);
        }
        Ok(format!("{begun} of {} groups are trained now", self.groups.len()))
    }
}

impl Group {
    fn name(&self) -> Cow<'_, str> {
        self.owner.place()
    }

    fn has_open(&self, key: &str) -> bool {
        self.incident.as_ref().is_some_and(|open| open.key == key)
    }

    /// Ends the open incident as the new normal: its frames count from now on.
    fn accept(&mut self, now_ms: i64, shared: &Shared) -> Option<Incident> {
        let mut open = self.incident.take()?;
        self.keep_before(now_ms);
        self.accepted = Some(self.accept_of(&open, shared));
        self.tracker = None;
        let time_ms = now_ms.max(self.last_ms);
        self.accepted_ms = time_ms;
        let tier = self.tier();
        Some(open.end_as_normal(time_ms, "accepted by command".to_owned(), &self.owner))
            .map(|change| Incident { tier, ..change })
    }

    /// There is a new normal, and it is young enough to be taken back.
    fn can_undo(&self) -> bool {
        self.before.as_ref().is_some_and(|before| self.last_ms - before.at_ms < UNDO_MS)
    }

    /// Takes back the last new normal: levels, model and boundaries as they were before it.
    fn undo(&mut self) {
        if let Some(before) = self.before.take() {
            let before = *before;
            self.levels = before.levels;
            if before.used.is_some() {
                self.used = before.used; // else it was accepted while learning
            }
            self.accepted = None;
            self.accepted_ms = i64::MIN;
        }
    }
}
