//! One group: its levels, its model and boundaries, its incident. Takes closed frames in order.
//!
//! While an incident is confirmed the levels and the models' boundaries stand still, for at most two hours; then they move again, and
//! after six the incident ends as the new normal. Frames of an incident train nothing. A model trained on frames up to
//! T is used from a fixed frame after T, so that a replay that waits for it gets the same scores.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::Silence;
use super::accepted::Accepted;
use super::boundaries::{Boundaries, Raw};
use super::changes::Changes;
use super::course::announce;
use super::drift::Drift;
use super::emit::Output;
use super::evidence;
use super::impact::Impact;
use super::incident::{End, Owner, Rules};
use super::joint::Votes;
use super::moved::Blocks;
use super::open::Open;
use super::series::GroupKey;
use super::signals::Signals;
use super::suspects::Tracker;
use super::tell::Ended;
use super::train::{Model, Options, Refusal, Trained};
use super::treat::Measure;
use super::verdict::{self, Judged, Judgement, Memory, Own, Ready};
use super::views::{Deviations, Levels};
use sentinel_contract::history::{Frame, History};
use sentinel_contract::trainer::{Pending, Trainer};
use sentinel_contract::{Desk, Events, Incident};

/// A boundary stands still for an open incident, this long.
pub(super) const STILL_MS: i64 = 2 * 3_600_000;
/// Frames after the last one trained on until the model is used.
pub(super) const EFFECT_FRAMES: i64 = 3;
/// Frames of an unconfirmed incident that wait; of one that lasts longer they count.
const MAX_WAITING: usize = 120;
/// Incident times remembered.
pub(super) const MAX_EXCLUDED: usize = 256;
/// A source is silent after this many frames without a sample ...
pub(super) const SILENT_FRAMES: u32 = 5;
/// ... if it spoke in so many of the 64 before them.
pub(super) const SPOKEN_FRAMES: u32 = 58;

/// What all groups of a detector share.
pub(super) struct Shared {
    pub signals: Arc<Signals>,
    pub names: Vec<String>,
    pub history: Arc<dyn History>,
    pub trainer: Trainer,
    pub desk: Desk,
    pub options: Options,
    pub rules: Rules,
    pub retrain_ms: i64,
    /// Incidents that are welcome, a frame of a group.
    pub welcome: f64,
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
    /// How long each signal has been off.
    pub drifts: Vec<Drift>,
    pub recent: VecDeque<Frame>,
    pub used: Option<InUse>,
    pub training: Training,
    /// There was no place for a training that was due at this frame.
    pub turned_away_ms: Option<i64>,
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
    /// Those of its frames, until it is confirmed or over.
    pub waiting: Vec<Raw>,
    pub incidents: u64,
    /// What was taken as the new normal, until it was quiet once: it opens nothing new.
    pub accepted: Option<Accepted>,
    /// When that was last.
    pub accepted_ms: i64,
    /// What it was before the last new normal, for `undo`.
    pub before: Option<Box<Before>>,
    pub excluded: Vec<Range<i64>>,
    /// The newest frames of history, for a member that takes over.
    pub blocks: Blocks,
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

/// Levels, model and boundaries as they were before a new normal.
pub(super) struct Before {
    /// When it became that.
    pub at_ms: i64,
    pub levels: Vec<Levels>,
    pub used: Option<InUse>,
}

/// What came of a frame.
pub(super) struct Taken {
    pub changes: Vec<Incident>,
    pub measures: Vec<Measure>,
    pub judgement: Judgement,
    /// `None` while learning.
    pub score: Option<f64>,
}

/// The last frame, for status.
pub(super) struct Last {
    pub measures: Vec<Measure>,
    pub score: Option<f64>,
    pub joint: Votes,
    pub own: Own,
    pub blind: bool,
}

impl Group {
    pub(super) fn new(
        owner: Owner,
        labels: Vec<(String, String)>,
        shared: &Shared,
        output: Output,
    ) -> Self {
        let name = GroupKey::of(&labels).name;
        let history_name = if name.is_empty() {
            owner.detector.clone()
        } else {
            format!("{}/{name}", owner.detector)
        };
        let levels =
            vec![Levels::new(shared.options.level_frames, shared.options.size); shared.names.len()];
        Group {
            owner,
            history_name,
            labels,
            levels,
            drifts: vec![Drift::new(); shared.names.len()],
            recent: VecDeque::new(),
            used: None,
            training: Training::Due { at_ms: i64::MIN },
            turned_away_ms: None,
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
            waiting: Vec::new(),
            incidents: 0,
            accepted: None,
            accepted_ms: i64::MIN,
            before: None,
            excluded: Vec::new(),
            blocks: Blocks::default(),
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
        // The frames without samples before it count only now: the silence itself is measured by what came before it.
        let passed = self.missing.saturating_add(1);
        self.spoken = self.spoken.checked_shl(passed).unwrap_or(0) | 1;
        self.missing = 0;
        if blind {
            let measures = self.measure(time_ms, &values, shared);
            let (joint, own) = (Votes::default(), Own::default());
            self.last = Some(Last { measures, score: None, joint, own, blind });
            return Vec::new();
        }
        self.awake = true;
        let Taken { changes, measures, judgement, score } =
            self.take(Frame { time_ms, values, score: f64::NAN }, shared);
        let open = self.incident.is_some() || shared.explain;
        let mut events = vec![self.output.metrics(time_ms, &measures, score, &judgement, open)];
        let frame = self.recent.back().expect("it was remembered above");
        shared.history.append_frame(&self.history_name, &shared.names, frame);
        self.blocks.add(time_ms, shared.options.interval_ms);
        self.ask(time_ms, shared); // a training reads history: not before it holds this frame
        let (joint, own) = (judgement.joint, judgement.own);
        self.last = Some(Last { measures, score, joint, own, blind });
        events.extend(announce(changes, shared));
        events
    }

    /// Judges a frame, moves the incident on and learns. The same for a frame that is new and for one of history after a
    /// restart.
    pub(super) fn take(&mut self, frame: Frame, shared: &Shared) -> Taken {
        let time_ms = frame.time_ms;
        self.fetch(time_ms, shared);
        self.drift(time_ms, &frame.values, shared);
        let measures = self.measure(time_ms, &frame.values, shared);
        let deviations = self.deviations(time_ms, &frame.values, shared);
        self.remember(frame, shared);
        let mut judgement = self.judge(time_ms, &measures, &deviations, shared);
        let (changes, end) = self.step(&mut judgement, &measures, shared);
        let score = self.used.is_some().then_some(judgement.verdict.score);
        self.scored_frames += u64::from(score.is_some());
        let frame = self.recent.back_mut().expect("it was remembered above");
        frame.score = score.unwrap_or(f64::NAN);
        self.learn(time_ms, &judgement, end);
        Taken { changes, measures, judgement, score }
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
            share: shared.options.share,
            welcome: shared.welcome,
        };
        verdict::judge(&judged, &mut self.memory, self.incident.is_some())
    }

    pub(super) fn remember(&mut self, frame: Frame, shared: &Shared) {
        if self.recent.len() >= shared.options.size.recent(shared.options.min_frames) {
            self.recent.pop_front();
        }
        self.recent.push_back(frame);
    }

    /// The levels and boundaries move on, unless an incident holds them.
    fn learn(&mut self, time_ms: i64, judgement: &Judgement, end: Option<End>) {
        // From its start, not from a relapse: one that comes and goes must not keep the boundary from moving.
        let still = |open: &Open| time_ms - open.confirmed_ms.unwrap_or(open.started_ms) < STILL_MS;
        let held = self.incident.as_ref().is_some_and(|open| open.is_confirmed() && still(open));
        if let (Some(used), Some(raw)) = (&mut self.used, &judgement.raw) {
            used.boundaries.push(raw, self.incident.is_some());
            match end {
                Some(End::Unconfirmed) => (),
                None if !held => self.waiting.push(*raw),
                _ => self.waiting.clear(),
            }
            // What may still be confirmed must not move the boundaries that are to confirm it, and hide the next fault.
            let may = self.incident.as_ref().is_some_and(|open| !open.is_confirmed());
            if !may || self.waiting.len() > MAX_WAITING {
                for raw in self.waiting.drain(..) {
                    used.boundaries.settle(&raw);
                }
            }
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
}
