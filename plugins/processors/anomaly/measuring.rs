//! A group's signals in one frame: their distances from what is usual, by the model in use.

use super::group::{Group, Shared};
use super::signals::Signal;
use super::train::{doubt, youth};
use super::treat::{Measure, Sample, measure, off_usual};
use super::treatment::Unit;
use super::views::{Deviations, VIEWS};

impl Group {
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

    /// How long each signal has been off, with this frame.
    pub(super) fn drift(&mut self, time_ms: i64, values: &[f64], shared: &Shared) {
        // What is usual to a model from before a new normal, is not any more: how long it is off says nothing until the next one.
        let Some(used) = self.used.as_ref().filter(|used| used.model.upto_ms >= self.accepted_ms)
        else {
            return;
        };
        let youth = youth(used.model.from_ms, used.model.upto_ms);
        let samples = self.samples(time_ms, values, shared).zip(&used.model.learned);
        let off: Vec<f64> = samples
            .map(|((signal, sample), learned)| {
                let learned = learned.as_ref().filter(|learned| learned.drift.is_some());
                learned.map_or(f64::NAN, |learned| off_usual(signal, learned, &sample, youth))
            })
            .collect();
        for (drift, off) in self.drifts.iter_mut().zip(off) {
            drift.push(off);
        }
    }

    /// How far each signal is off, in each view.
    pub(super) fn deviations(
        &self,
        time_ms: i64,
        values: &[f64],
        shared: &Shared,
    ) -> Vec<Deviations> {
        let Some(used) = &self.used else { return vec![[0.0; VIEWS]; values.len()] };
        let youth = youth(used.model.from_ms, used.model.upto_ms);
        let wider = (youth, doubt(used.model.frames));
        let deviations = self.samples(time_ms, values, shared).zip(&used.model.learned);
        let deviations = deviations.map(|((signal, sample), learned)| match learned {
            Some(learned) => {
                let unit = Unit::of(signal, learned.center, sample.volume);
                learned.usual.deviations(signal, unit, &sample, wider)
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
        let memory = self.levels.iter().zip(&self.drifts);
        let each = shared.signals.signals.iter().zip(memory).zip(values);
        each.map(move |((signal, (levels, drift)), value)| {
            let volume = signal.volume.map_or(f64::NAN, |volume| values[volume]);
            let seconds = time_ms as f64 / 1000.0;
            let (now, shift) = (levels.now(), drift.shift());
            (signal, Sample { seconds, value: *value, volume, now, shift })
        })
    }
}
