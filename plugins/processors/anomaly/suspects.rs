//! Suspects: the signals of an open incident ranked by how much they changed (`sentinel_models::change_rank`), ranked again
//! at every change of its state. Contributions say what raised the score of the worst frame; suspects, what moved most
//! since it began. Ranked suspects, never "root cause found".

use std::collections::VecDeque;

use sentinel_contract::history::Frame;
use sentinel_contract::incident::Suspect;
use sentinel_models::change_rank::{Change, Direction, rank};
use serde::{Deserialize, Serialize};

use super::signals::{Signal, Treatment, Watch};
use super::train::Model;
use super::treatment::Unit;

/// Frames before the onset that make the level which is compared with: three hours of minutes.
pub(super) const LEVEL_FRAMES: usize = 180;
/// Suspects named.
const MOST: usize = 5;
/// A signal that changed by less than this many of its usual movements is none.
const LEAST_CHANGE: f64 = 1.0;

/// How much each signal has changed since the onset; `None` for one that has no baseline.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tracker(Vec<Option<Change>>);

fn treated(signal: &Signal, center: f64, value: f64, volume: f64) -> f64 {
    Unit::of(signal, center, volume).treat(value)
}

impl Tracker {
    /// Begins at the onset; `recent` are the frames before it.
    pub(super) fn new(signals: &[Signal], model: &Model, recent: &VecDeque<Frame>) -> Self {
        let before = recent.len().saturating_sub(LEVEL_FRAMES);
        let change = |(at, signal): (usize, &Signal)| {
            let learned = model.learned[at].as_ref()?;
            let baseline = learned.baseline?;
            let values = recent.iter().skip(before).map(|frame| {
                let volume = signal.volume.map_or(f64::NAN, |volume| frame.values[volume]);
                treated(signal, learned.center, frame.values[at], volume)
            });
            let values: Vec<f64> = values.collect();
            let direction = match signal.direction {
                Watch::Up => Direction::Up,
                Watch::Down => Direction::Down,
                Watch::Both => Direction::Both,
            };
            let least = if signal.treatment == Treatment::Level { signal.min_change } else { 0.0 };
            Some(Change::new(&baseline, &values, direction, least))
        };
        Tracker(signals.iter().enumerate().map(change).collect())
    }

    /// Takes a frame of the incident.
    pub(super) fn push(&mut self, signals: &[Signal], model: &Model, values: &[f64]) {
        for (at, (change, signal)) in self.0.iter_mut().zip(signals).enumerate() {
            if let (Some(change), Some(learned)) = (change, &model.learned[at]) {
                let volume = signal.volume.map_or(f64::NAN, |volume| values[volume]);
                change.push(treated(signal, learned.center, values[at], volume));
            }
        }
    }

    /// The signals that changed most, first the most.
    pub(super) fn ranked(&self, signals: &[Signal]) -> Vec<Suspect> {
        let changes: Vec<f64> =
            self.0.iter().map(|change| change.as_ref().map_or(0.0, Change::value)).collect();
        let order = rank(&changes).into_iter().take(MOST);
        order
            .filter(|at| changes[*at] >= LEAST_CHANGE)
            .map(|at| Suspect { feature: signals[at].name.clone(), change: changes[at] })
            .collect()
    }
}
