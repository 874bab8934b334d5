//! The course of a group's incident: what a frame's verdict does to it, what silence does, what ends it unseen; and what of
//! its time is not learnt from. The states themselves are in `incident`.

use std::ops::Range;

use sentinel_contract::{Events, Incident};

use super::Silence;
use super::boundaries::Raw;
use super::drift::Drift;
use super::group::{
    Before, Group, Last, MAX_EXCLUDED, SILENT_FRAMES, SPOKEN_FRAMES, STILL_MS, Shared,
};
use super::incident::{self, End, Owner, Place, Verdict};
use super::joint::Votes;
use super::limits;
use super::open::Open;
use super::signals::LIMIT_FRAMES;
use super::suspects::Tracker;
use super::treat::Measure;
use super::verdict::{Judgement, Own};

fn place<'a>(owner: &'a Owner, shared: &'a Shared) -> Place<'a> {
    Place { owner, rules: shared.rules, desk: &shared.desk }
}

impl Group {
    /// A frame without a sample of the group.
    pub(super) fn silent(&mut self, time_ms: i64, blind: bool, shared: &Shared) -> Vec<Events> {
        let ended = self.expire(time_ms, shared);
        if !ended.is_empty() {
            return ended;
        }
        if blind || shared.silence == Silence::Ignore {
            return Vec::new();
        }
        self.missing = self.missing.saturating_add(1);
        // Zeros came before: its windows ended with its traffic, which was judged then.
        let zero = self.zeros > 0;
        let steady = self.spoken.count_ones() >= SPOKEN_FRAMES && self.used.is_some() && !zero;
        if !steady || self.missing < SILENT_FRAMES {
            return Vec::new();
        }
        let verdict = limits::silence(time_ms, self.missing, SILENT_FRAMES);
        self.incidents += u64::from(self.incident.is_none());
        let place = place(&self.owner, shared);
        let (mut changes, end) =
            incident::step(&mut self.incident, &mut self.past, &verdict, &place);
        let values = vec![f64::NAN; shared.names.len()];
        let measures: Vec<Measure> = values.iter().copied().map(Measure::unknown).collect();
        self.tell(&verdict, &values, &measures, (&mut changes, end), shared);
        announce(changes, shared)
    }

    /// Moves the incident on.
    pub(super) fn step(
        &mut self,
        judgement: &mut Judgement,
        measures: &[Measure],
        shared: &Shared,
    ) -> (Vec<Incident>, Option<End>) {
        self.look_for(&mut judgement.verdict, measures, shared);
        if let Some(accepted) = self.accepted.take()
            && !judgement.verdict.calm
            && !accepted.is_other(&judgement.verdict)
        {
            self.accepted = Some(accepted);
            return (Vec::new(), None);
        }
        let was_open = self.incident.clone();
        let revived = self.past.is_some();
        let was_sure = was_open.iter().chain(&self.past).any(Open::is_confirmed);
        let place = place(&self.owner, shared);
        let verdict = &judgement.verdict;
        let (mut changes, end) =
            incident::step(&mut self.incident, &mut self.past, verdict, &place);
        if let Some(raw) = &judgement.raw {
            let worst = if was_open.is_some() { self.worst } else { Raw::default() };
            self.worst = worst.max(raw);
        }
        self.track(&mut changes, shared);
        if self.incident.is_some() || end.is_some() {
            let values: Vec<f64> = measures.iter().map(|one| one.value).collect();
            self.tell(&judgement.verdict, &values, measures, (&mut changes, end), shared);
        }
        let opened = was_open.is_none() && self.incident.is_some();
        let again =
            revived && self.incident.as_ref().is_some_and(|open| open.since_ms != open.started_ms);
        self.incidents += u64::from(opened && !again);
        let known = was_sure && (was_open.is_some() || again);
        if self.incident.as_ref().is_some_and(Open::is_confirmed) && !known {
            self.memory.rate.raise();
        }
        match (end, was_open) {
            // Its worst frame counts once more, and for the evidence's boundary for the first time while that is young: a blip must
            // count against the boundaries, or blips would never become fewer.
            (Some(End::Unconfirmed), _) => {
                if let Some(used) = &mut self.used {
                    used.boundaries.push(&self.worst, false);
                    used.boundaries.settle(&self.worst);
                }
                self.memory.bars.raise();
            }
            (Some(end), Some(open)) => {
                if end == End::Accepted {
                    self.accepted = Some(self.accept_of(&open, shared));
                    self.accepted_ms = judgement.verdict.time_ms;
                    self.keep_before(judgement.verdict.time_ms);
                }
                if end == End::Over && !open.lasted {
                    self.memory.bars.raise();
                }
                self.exclude_incident(&open, judgement.verdict.time_ms, shared);
            }
            _ => (),
        }
        (changes, end)
    }

    /// When the signals that lead the open incident are missing, and no other is unusual, a frame says nothing of it.
    fn look_for(&self, verdict: &mut Verdict, measures: &[Measure], shared: &Shared) {
        let Some(open) = self.incident.as_ref().filter(|_| !verdict.above) else { return };
        let value = |feature: &str| {
            let at = shared.names.iter().position(|name| name == feature);
            at.map_or(0.0, |at| measures[at].value) // silence is no signal, and is over when there is a frame
        };
        verdict.unseen = open.is_out_of_sight(|feature| value(feature).is_nan());
    }

    /// Trains on nothing of an incident that has ended, but for what came after its first hours.
    fn exclude_incident(&mut self, open: &Open, end_ms: i64, shared: &Shared) {
        self.exclude(time_of(open, end_ms, shared));
    }

    /// Ends the open incident if nothing more can be known of it; for frames that are not judged.
    fn expire(&mut self, time_ms: i64, shared: &Shared) -> Vec<Events> {
        let was_open = self.incident.clone();
        let Some(mut change) = incident::expire(&mut self.incident, time_ms, &self.owner) else {
            return Vec::new();
        };
        let lead = self.describe(&mut change, shared);
        self.remember_end(&change, lead);
        if let Some(open) = was_open {
            self.exclude_incident(&open, time_ms, shared);
        }
        (self.past, self.tracker) = (None, None);
        self.spoken = 0; // it has to speak steadily again before it can fall silent
        announce(vec![change], shared)
    }

    /// Ranks the suspects anew, into every change of state.
    fn track(&mut self, changes: &mut [Incident], shared: &Shared) {
        let signals = &shared.signals.signals;
        if self.incident.is_none() && changes.is_empty() {
            return;
        }
        let Some(used) = &self.used else { return };
        let Some(current) = self.recent.pop_back() else { return };
        let tracker =
            self.tracker.get_or_insert_with(|| Tracker::new(signals, &used.model, &self.recent));
        tracker.push(signals, &used.model, &current.values);
        self.recent.push_back(current);
        if !changes.is_empty() {
            let suspects = tracker.ranked(signals);
            for change in changes.iter_mut() {
                change.suspects.clone_from(&suspects);
            }
        }
        if self.incident.is_none() {
            self.tracker = None;
        }
    }

    /// Keeps what is about to move to a new normal; what has drifted to it begins anew.
    pub(super) fn keep_before(&mut self, at_ms: i64) {
        self.drifts.fill(Drift::new());
        let before = Before { at_ms, levels: self.levels.clone(), used: self.used.clone() };
        self.before = Some(Box::new(before));
    }

    /// A frame of a maintenance window: seen, and neither judged nor learnt from.
    pub(super) fn maintained(
        &mut self,
        time_ms: i64,
        columns: &[f64],
        shared: &Shared,
    ) -> Vec<Events> {
        let signals = &shared.signals.signals;
        let values: Vec<f64> = signals.iter().map(|signal| signal.value(columns)).collect();
        let measures = self.measure(time_ms, &values, shared);
        let (joint, own) = (Votes::default(), Own::default());
        self.last = Some(Last { measures, score: None, joint, own, blind: true });
        self.last_ms = time_ms;
        self.missing = 0;
        self.exclude(time_ms - shared.options.interval_ms..time_ms + 1);
        self.expire(time_ms, shared)
    }

    /// Trains on nothing of this time; what touches the last one is joined to it.
    pub(super) fn exclude(&mut self, times: Range<i64>) {
        match self.excluded.last_mut() {
            Some(last) if times.start <= last.end => last.end = last.end.max(times.end),
            _ => {
                if self.excluded.len() == MAX_EXCLUDED {
                    self.excluded.remove(0);
                }
                self.excluded.push(times);
            }
        }
    }
}

/// The time of an incident that is not learnt from.
pub(super) fn time_of(open: &Open, end_ms: i64, shared: &Shared) -> Range<i64> {
    let onset = open.since_ms - LIMIT_FRAMES as i64 * shared.options.interval_ms;
    onset..end_ms.min(open.since_ms + STILL_MS)
}

/// Changes of state go to history and out.
pub(super) fn announce(changes: Vec<Incident>, shared: &Shared) -> Vec<Events> {
    for change in &changes {
        shared.history.record_incident(change);
        shared.desk.note(change);
    }
    if changes.is_empty() { Vec::new() } else { vec![Events::Incidents(changes)] }
}
