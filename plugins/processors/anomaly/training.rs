//! A group's next model: when it is asked for, handed to the training thread, taken, or refused.
//!
//! A model trained on frames up to T is used from a fixed frame after T. One that failed or is worse than the one in use is
//! not taken: that is logged, shown in status, and tried again when the next would have been due.

use std::sync::Arc;

use sentinel_contract::history::Frame;
use sentinel_contract::incident::Tier;
use sentinel_contract::trainer::{Place, Polled};

use super::course::time_of;
use super::due;
use super::group::{EFFECT_FRAMES, Group, InUse, Shared, Training};
use super::incident::Owner;
use super::signals::LIMIT_FRAMES;
use super::train::{Job, Refusal, Trained};
use super::worse::Against;

impl Group {
    /// What the model in use has seen.
    pub(super) fn tier(&self) -> Option<Tier> {
        self.used.as_ref().map(|used| used.model.tier)
    }

    /// When the next training is due, if that is known.
    pub(super) fn due_ms(&self) -> Option<i64> {
        match self.training {
            Training::Due { at_ms } if at_ms > i64::MIN => Some(at_ms),
            _ => None,
        }
    }

    /// Asks for a model when one is due.
    pub(super) fn ask(&mut self, time_ms: i64, shared: &Shared) {
        self.turned_away_ms = None;
        let Training::Due { at_ms } = self.training else { return };
        let first_look = at_ms == i64::MIN; // history may know this group from before
        // A model that came from history says that there is enough.
        let enough = self.used.is_some() || self.learnt_frames >= shared.options.min_frames as u64;
        if self.incident.is_some() || !first_look && (!enough || time_ms < at_ms) {
            return;
        }
        match shared.trainer.place() {
            Some(place) => self.submit_at(place, time_ms, shared),
            None => self.turned_away_ms = Some(time_ms), // one of thousands of groups
        }
    }

    /// Asks once more, as of the frame at which there was no place: frames of all groups come at once, and a minute apart.
    pub(super) fn ask_again(&mut self, shared: &Shared) {
        if let Some(time_ms) = self.turned_away_ms {
            self.ask(time_ms, shared);
        }
    }

    /// Hands a job to the training thread, as soon as there is a place: frames up to `upto_ms`.
    pub(super) fn submit(&mut self, upto_ms: i64, shared: &Shared) {
        if let Some(place) = shared.trainer.place() {
            self.submit_at(place, upto_ms, shared);
        } else {
            (self.training, self.turned_away_ms) =
                (Training::Due { at_ms: upto_ms }, Some(upto_ms));
        }
    }

    fn submit_at(&mut self, place: Place, upto_ms: i64, shared: &Shared) {
        let mut excluded = self.excluded.clone();
        // By command a training may come in the middle of one.
        let then = self.incident.as_ref().filter(|open| open.started_ms <= upto_ms);
        excluded.extend(then.map(|open| time_of(open, upto_ms + 1, shared)));
        let outside = |frame: &&Frame| !excluded.iter().any(|times| times.contains(&frame.time_ms));
        let until = |frame: &&Frame| frame.time_ms <= upto_ms; // begun again, it has newer ones
        let recent = self.recent.iter().filter(until).filter(outside).cloned().collect();
        let against = self.used.as_ref().map(|used| Against {
            model: used.model.clone(),
            boundaries: used.boundaries.clone(),
            other_world: self.accepted_ms > used.model.upto_ms,
        });
        let job = Job {
            signals: Arc::clone(&shared.signals),
            history: Arc::clone(&shared.history),
            name: self.history_name.clone(),
            upto_ms,
            excluded,
            recent,
            options: shared.options.clone(),
            against,
        };
        let job = shared.trainer.submit_at(place, move || job.run());
        self.training = Training::Running { upto_ms, job };
    }

    /// Takes a model that is due to be used.
    pub(super) fn fetch(&mut self, time_ms: i64, shared: &Shared) {
        let Training::Running { upto_ms, job } = &self.training else { return };
        let upto_ms = *upto_ms;
        if time_ms < upto_ms + EFFECT_FRAMES * shared.options.interval_ms {
            return;
        }
        match job.poll() {
            Polled::Working => (),
            Polled::Ready(Ok(trained)) => {
                self.training = self.due_after(upto_ms, trained.model.frames, shared);
                self.use_model(trained, time_ms);
            }
            Polled::Ready(Err(refusal)) => self.refuse(upto_ms, refusal, shared),
            Polled::Failed => {
                let words = "it ended without a result (its panic, or a full queue)".to_owned();
                self.refuse(upto_ms, Refusal::Failed(words), shared);
            }
        }
    }

    fn due_after(&self, upto_ms: i64, frames: usize, shared: &Shared) -> Training {
        let Owner { host, detector, group, .. } = &self.owner;
        let retrain_ms = shared.retrain_ms;
        let own = (retrain_ms, due::phase(host, detector, group, retrain_ms));
        Training::Due { at_ms: due::next(upto_ms, frames, shared.options.interval_ms, own) }
    }

    /// Goes on with the model in use, or without one.
    fn refuse(&mut self, upto_ms: i64, refusal: Refusal, shared: &Shared) {
        let (reason, loud) = match refusal {
            Refusal::TooFew(words) => (words, false),
            Refusal::Failed(words) => (format!("the training failed: {words}"), true),
            Refusal::Worse(words) => (format!("the new model is worse: {words}"), true),
        };
        if loud {
            let group = self.owner.place();
            tracing::warn!(%group, "no new model: {reason}");
        }
        self.refused = Some(reason);
        self.training = if let Some(used) = &self.used {
            self.due_after(upto_ms, used.model.frames, shared)
        } else {
            let missing = shared.options.min_frames as i64 - self.learnt_frames as i64;
            let frames = missing.max(LIMIT_FRAMES as i64);
            Training::Due { at_ms: upto_ms + frames * shared.options.interval_ms }
        };
    }

    fn use_model(&mut self, trained: Trained, time_ms: i64) {
        let Trained { model, boundaries } = trained;
        let (frames, tier) = (model.frames, model.tier.word());
        let (boundary, group) = (boundaries.frame.bound(), self.owner.place());
        match self.tier() {
            None => tracing::info!(%group, frames, tier, boundary, "ready"),
            Some(before) if before != model.tier => {
                tracing::info!(%group, frames, tier, "the model has seen more of time");
            }
            Some(_) => tracing::debug!(%group, frames, tier, boundary, "a new model"),
        }
        self.refused = None;
        self.used = Some(InUse { model, boundaries, since_ms: time_ms });
    }
}
