//! One group: its levels, its model and boundaries, its incident. Takes closed frames in order.
//!
//! While an incident is open the levels and boundaries stand still, for at most two hours; then they move again, and
//! after six the incident ends as the new normal. Frames of an incident train nothing. A model trained on frames up to
//! T is used from a fixed frame after T, so that a replay that waits for it gets the same scores.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Silence;
use super::changes::Changes;
use super::emit::Output;
use super::evidence;
use super::impact::Impact;
use super::incident::{self, End, Open, Owner, Rules};
use super::joint::Votes;
use super::signals::{LIMIT_FRAMES, Signal, Signals};
use super::suspects::Tracker;
use super::tell::Ended;
use super::train::{Boundaries, Model, Options, Raw, Refusal, Trained, doubt, youth};
use super::treat::{Measure, Sample, Unit, measure};
use super::verdict::{self, Judged, Judgement, Memory, Ready};
use super::views::{Deviations, Levels, VIEWS};
use sentinel_contract::history::{Frame, History};
use sentinel_contract::trainer::{Pending, Trainer};
use sentinel_contract::{Events, Incident};

/// A boundary stands still for an open incident, this long.
pub(super) const STILL_MS: i64 = 2 * 3_600_000;
/// Frames after the last one trained on until the model is used.
pub(super) const EFFECT_FRAMES: i64 = 3;
/// Frames kept in memory, for when history has none.
const RECENT_FRAMES: usize = 1024;
/// Incident times remembered.
const MAX_EXCLUDED: usize = 256;
/// A source is silent after this many frames without a sample ...
const SILENT_FRAMES: u32 = 5;
/// ... if it spoke in so many of the 64 before them.
const SPOKEN_FRAMES: u32 = 58;

/// What all groups of a detector share.
pub(super) struct Shared {
    pub signals: Arc<Signals>,
    pub names: Vec<String>,
    pub history: Arc<dyn History>,
    pub trainer: Trainer,
    pub options: Options,
    pub rules: Rules,
    pub retrain_ms: i64,
    pub silence: Silence,
    pub changes: Changes,
    pub evidence: evidence::Store,
    /// Contributions are written in every frame.
    pub explain: bool,
}

/// Where the group's next model stands.
pub(super) enum Training {
    /// Asked for once the group has learnt from so many frames, and not before this time.
    Due { at_ms: i64 },
    /// On the training thread, with frames up to this time.
    Running { upto_ms: i64, job: Pending<Result<Trained, Refusal>> },
}

/// A model in use, with its boundaries.
#[derive(Clone, Debug)]
pub(super) struct InUse {
    pub model: Model,
    pub boundaries: Boundaries,
    /// Frame from which it was used.
    pub since_ms: i64,
}

/// One group.
pub(super) struct Group {
    pub owner: Owner,
    /// Its name in history.
    pub history_name: String,
    pub labels: Vec<(String, String)>,
    pub levels: Vec<Levels>,
    pub recent: VecDeque<Frame>,
    pub used: Option<InUse>,
    pub training: Training,
    /// Why the last training came to nothing.
    pub refused: Option<String>,
    /// Frames learnt from since the group was first seen.
    pub learnt_frames: u64,
    pub scored_frames: u64,
    pub incident: Option<Open>,
    /// The last one, as long as it may come back.
    pub past: Option<Open>,
    pub memory: Memory,
    /// What changed since the open incident began.
    pub tracker: Option<Tracker>,
    /// What the open incident has hit, or the last one.
    pub impact: Option<Impact>,
    /// The last incidents that are over.
    pub ended: Vec<Ended>,
    /// Raw scores of the open incident's worst frame.
    pub worst: Raw,
    pub incidents: u64,
    /// Taken as the new normal: nothing new is opened until it was quiet once.
    pub accepted: bool,
    /// When that was last.
    pub accepted_ms: i64,
    /// What it was before the last new normal, for `undo`.
    pub before: Option<Box<Before>>,
    pub excluded: Vec<Range<i64>>,
    /// The last frames, newest in the lowest bit: 1 has samples.
    pub spoken: u64,
    pub missing: u32,
    pub zeros: u32,
    pub last_ms: i64,
    pub last: Option<Last>,
    /// A frame was judged since the start.
    pub awake: bool,
    output: Output,
}

/// Levels, model and boundaries as they were before a new normal. Not kept over a restart.
pub(super) struct Before {
    pub levels: Vec<Levels>,
    pub used: Option<InUse>,
}

/// The last frame, for status.
pub(super) struct Last {
    pub measures: Vec<Measure>,
    pub score: Option<f64>,
    pub joint: Votes,
    pub robust_z: f64,
    pub blind: bool,
}

impl Group {
    pub(super) fn new(
        owner: Owner,
        labels: Vec<(String, String)>,
        shared: &Shared,
        output: Output,
    ) -> Self {
        let history_name = if owner.group.is_empty() {
            owner.detector.clone()
        } else {
            format!("{}/{}", owner.detector, owner.group)
        };
        let levels = vec![Levels::new(shared.options.level_frames); shared.names.len()];
        Group {
            owner,
            history_name,
            labels,
            levels,
            recent: VecDeque::new(),
            used: None,
            training: Training::Due { at_ms: i64::MIN },
            refused: None,
            learnt_frames: 0,
            scored_frames: 0,
            incident: None,
            past: None,
            memory: Memory::default(),
            tracker: None,
            impact: None,
            ended: Vec::new(),
            worst: Raw::default(),
            incidents: 0,
            accepted: false,
            accepted_ms: i64::MIN,
            before: None,
            excluded: Vec::new(),
            spoken: 0,
            missing: 0,
            zeros: 0,
            last_ms: i64::MIN,
            last: None,
            awake: false,
            output,
        }
    }

    /// Takes a frame's columns; emits scores and changes of the incident.
    pub(super) fn frame(
        &mut self,
        time_ms: i64,
        columns: &[f64],
        blind: bool,
        shared: &Shared,
    ) -> Vec<Events> {
        let signals = &shared.signals.signals;
        let values: Vec<f64> = signals.iter().map(|signal| signal.value(columns)).collect();
        let spoke = columns.iter().any(|value| !value.is_nan());
        self.last_ms = time_ms;
        if !spoke {
            return self.silent(time_ms, blind, shared);
        }
        self.spoken = self.spoken << 1 | 1;
        self.missing = 0;
        if blind {
            let measures = self.measure(time_ms, &values, shared);
            let (joint, robust_z) = (Votes::default(), 0.0);
            self.last = Some(Last { measures, score: None, joint, robust_z, blind });
            return Vec::new();
        }
        self.awake = true;
        self.fetch(time_ms, shared);
        let measures = self.measure(time_ms, &values, shared);
        let deviations = self.deviations(time_ms, &values, shared);
        self.remember(Frame { time_ms, values, score: f64::NAN }, shared);
        let judgement = self.judge(time_ms, &measures, &deviations, shared);
        let (changes, end) = self.step(&judgement, &measures, shared);
        let mut events = Vec::new();
        let score = self.used.is_some().then_some(judgement.verdict.score);
        self.scored_frames += u64::from(score.is_some());
        let open = self.incident.is_some() || shared.explain;
        events.push(self.output.metrics(time_ms, &measures, score, &judgement, open));
        let frame = self.recent.back_mut().expect("it was remembered above");
        frame.score = score.unwrap_or(f64::NAN);
        shared.history.append_frame(&self.history_name, &shared.names, frame);
        self.learn(time_ms, &judgement, end);
        self.ask(time_ms, shared);
        self.last = Some(Last {
            measures,
            score,
            joint: judgement.joint,
            robust_z: judgement.robust_z,
            blind,
        });
        events.extend(announce(changes, shared));
        events
    }

    /// A frame without a sample of the group.
    fn silent(&mut self, time_ms: i64, blind: bool, shared: &Shared) -> Vec<Events> {
        if blind || shared.silence == Silence::Ignore {
            return Vec::new();
        }
        self.missing = self.missing.saturating_add(1);
        // Zeros came before: its windows ended with its traffic, which was judged then.
        let zero = self.zeros > 0;
        let steady = self.spoken.count_ones() >= SPOKEN_FRAMES && self.used.is_some() && !zero;
        if !steady || self.missing < SILENT_FRAMES || self.accepted {
            return Vec::new();
        }
        let verdict = verdict::silence(time_ms, self.missing, SILENT_FRAMES);
        self.incidents += u64::from(self.incident.is_none());
        let (mut changes, end) =
            incident::step(&mut self.incident, &mut self.past, &verdict, &self.owner, shared.rules);
        let values = vec![f64::NAN; shared.names.len()];
        let measures: Vec<Measure> = values.iter().copied().map(Measure::unknown).collect();
        self.tell(&verdict, &values, &measures, (&mut changes, end), shared);
        if end == Some(End::Accepted) {
            self.spoken = 0; // it has to speak steadily again before it can fall silent
            self.accepted_ms = time_ms;
        }
        announce(changes, shared)
    }

    pub(super) fn measure(&self, time_ms: i64, values: &[f64], shared: &Shared) -> Vec<Measure> {
        let unknown = || values.iter().map(|value| Measure::unknown(*value)).collect();
        let Some(used) = &self.used else { return unknown() };
        let youth = youth(used.model.from_ms, used.model.upto_ms);
        let measured = self.samples(time_ms, values, shared).zip(&used.model.learned);
        let measured =
            measured.zip(values).map(|(((signal, sample), learned), value)| match learned {
                Some(learned) => measure(signal, learned, &sample, youth),
                None => Measure::unknown(*value),
            });
        measured.collect()
    }

    /// How far each signal is off, in each view.
    fn deviations(&self, time_ms: i64, values: &[f64], shared: &Shared) -> Vec<Deviations> {
        let Some(used) = &self.used else { return vec![[0.0; VIEWS]; values.len()] };
        let youth = youth(used.model.from_ms, used.model.upto_ms);
        let wider = (youth, doubt(used.model.frames));
        let deviations = self.samples(time_ms, values, shared).zip(&used.model.learned);
        let deviations = deviations.map(|((signal, sample), learned)| match learned {
            Some(learned) => {
                let unit = Unit::of(signal, learned.center, sample.volume);
                let season = learned.usual_at(sample.seconds);
                learned.usual.deviations(signal, unit, &sample, season, wider)
            }
            None => [0.0; VIEWS],
        });
        deviations.collect()
    }

    /// Every signal with its value, its volume and its levels.
    fn samples<'a>(
        &'a self,
        time_ms: i64,
        values: &'a [f64],
        shared: &'a Shared,
    ) -> impl Iterator<Item = (&'a Signal, Sample)> {
        let each = shared.signals.signals.iter().zip(&self.levels).zip(values);
        each.map(move |((signal, levels), value)| {
            let volume = signal.volume.map_or(f64::NAN, |volume| values[volume]);
            let seconds = time_ms as f64 / 1000.0;
            (signal, Sample { seconds, value: *value, volume, now: levels.now() })
        })
    }

    fn judge(
        &mut self,
        time_ms: i64,
        measures: &[Measure],
        deviations: &[Deviations],
        shared: &Shared,
    ) -> Judgement {
        let signals = &shared.signals.signals;
        let mut both = signals.iter().zip(measures);
        let zero = both.any(|(signal, one)| signal.stops && one.value == 0.0);
        self.zeros = if zero { self.zeros.saturating_add(1) } else { 0 };
        let ready = self
            .used
            .as_ref()
            .map(|used| Ready { model: &used.model, boundaries: &used.boundaries });
        let judged = Judged {
            time_ms,
            signals,
            measures,
            deviations,
            ready,
            recent: &self.recent,
            zeros: self.zeros,
            confirm_frames: shared.rules.confirm_frames,
            explain: shared.explain,
        };
        verdict::judge(&judged, &mut self.memory, self.incident.is_some())
    }

    /// Moves the incident on.
    fn step(
        &mut self,
        judgement: &Judgement,
        measures: &[Measure],
        shared: &Shared,
    ) -> (Vec<Incident>, Option<End>) {
        if self.accepted {
            self.accepted = !judgement.verdict.calm;
            return (Vec::new(), None);
        }
        let was_open = self.incident.clone();
        let revived = self.past.is_some();
        let (mut changes, end) = incident::step(
            &mut self.incident,
            &mut self.past,
            &judgement.verdict,
            &self.owner,
            shared.rules,
        );
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
        match (end, was_open) {
            // The boundary did not see its frames: a blip must count against it, or blips would never become fewer.
            (Some(End::Unconfirmed), _) => {
                if let Some(used) = &mut self.used {
                    used.boundaries.push(&self.worst, false, false);
                }
            }
            (Some(end), Some(open)) => {
                if let (End::Over, Some(used)) = (end, &mut self.used) {
                    used.boundaries.frame.push_incident(self.worst.frame);
                }
                self.accepted = end == End::Accepted;
                if self.accepted {
                    self.accepted_ms = judgement.verdict.time_ms;
                    self.keep_before();
                }
                let until = judgement.verdict.time_ms.min(open.since_ms + STILL_MS);
                let onset = open.since_ms - LIMIT_FRAMES as i64 * shared.options.interval_ms;
                self.exclude(onset..until);
            }
            _ => (),
        }
        (changes, end)
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

    /// Keeps what is about to move to a new normal.
    pub(super) fn keep_before(&mut self) {
        let before = Before { levels: self.levels.clone(), used: self.used.clone() };
        self.before = Some(Box::new(before));
    }

    /// A frame of a maintenance window: seen, and neither judged nor learnt from.
    pub(super) fn maintained(&mut self, time_ms: i64, columns: &[f64], shared: &Shared) {
        let signals = &shared.signals.signals;
        let values: Vec<f64> = signals.iter().map(|signal| signal.value(columns)).collect();
        let measures = self.measure(time_ms, &values, shared);
        let (joint, robust_z) = (Votes::default(), 0.0);
        self.last = Some(Last { measures, score: None, joint, robust_z, blind: true });
        self.last_ms = time_ms;
        self.missing = 0;
        self.exclude(time_ms - shared.options.interval_ms..time_ms + 1);
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

    fn remember(&mut self, frame: Frame, shared: &Shared) {
        if self.recent.len() >= RECENT_FRAMES.max(shared.options.min_frames) {
            self.recent.pop_front();
        }
        self.recent.push_back(frame);
    }

    /// The levels and boundaries move on, unless an incident holds them.
    fn learn(&mut self, time_ms: i64, judgement: &Judgement, end: Option<End>) {
        // From its start, not from a relapse: one that comes and goes must not keep the boundary from moving.
        let still = |open: &Open| time_ms - open.started_ms < STILL_MS;
        let held = self.incident.as_ref().is_some_and(|open| open.is_confirmed() && still(open));
        if let (Some(used), Some(raw)) = (&mut self.used, &judgement.raw) {
            used.boundaries.push(raw, self.incident.is_some(), held || end.is_some());
        }
        if held || end.is_some() {
            return;
        }
        self.learnt_frames += 1;
        let frame = self.recent.back().expect("it was remembered before");
        for (level, value) in self.levels.iter_mut().zip(&frame.values) {
            level.push(*value);
        }
    }

    /// The frames of history after the last one of a snapshot: what was seen but not saved.
    pub(super) fn catch_up(&mut self, shared: &Shared) {
        let from = self.last_ms.saturating_add(1);
        let to = from
            .saturating_add(shared.options.level_frames as i64 * 60 * shared.options.interval_ms);
        let frames = shared.history.frames(&self.history_name, &shared.names, from, to);
        for frame in frames.unwrap_or_default() {
            if frame.score >= 1.0 {
                continue;
            }
            for (level, value) in self.levels.iter_mut().zip(&frame.values) {
                level.push(*value);
            }
            self.learnt_frames += 1;
            self.last_ms = frame.time_ms;
            self.remember(frame, shared);
        }
    }
}

/// Changes of state go to history and out.
fn announce(changes: Vec<Incident>, shared: &Shared) -> Vec<Events> {
    for change in &changes {
        shared.history.record_incident(change);
    }
    if changes.is_empty() { Vec::new() } else { vec![Events::Incidents(changes)] }
}
