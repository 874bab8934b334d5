//! Where each origin's batches go, and who is shown to run.

use std::sync::Arc;

use super::Running;
use super::cells::{ObserverCell, Runs};
use super::prepare::admits;
use crate::router::Routes;
use crate::telemetry::Plugin;

impl Running {
    /// Where an origin's batches go, among all outputs and these observers.
    pub(super) fn routes(&self, origin: &str, observers: &[ObserverCell]) -> Routes {
        let outputs = self.outputs.iter().filter(|cell| admits(&cell.from, origin));
        let observers = observers.iter().filter(|cell| admits(&cell.from, origin));
        Routes {
            outputs: outputs.map(super::cells::OutputCell::port).collect(),
            observers: observers.filter_map(ObserverCell::port).collect(),
        }
    }

    /// Tells every lane and observer what there is now.
    pub(super) fn route(&mut self) {
        for cell in &self.inputs {
            let _its_lane_has_ended =
                cell.router.set(self.routes(&cell.identity.alias, &self.observers));
        }
        for (index, cell) in self.observers.iter().enumerate() {
            // An observer emits to those below it.
            let below = &self.observers[index + 1..];
            cell.set_routes(self.routes(&cell.identity.alias, below));
        }
        for cell in &mut self.observers {
            if let Runs::Once(once) = &mut cell.runs {
                once.opener = None;
            }
        }
    }

    /// The plugins in the order of the file, for `status`.
    pub(super) fn show(&self) {
        let inputs = self.inputs.iter().map(|cell| &cell.state);
        let transforms = self.transforms.iter().map(|cell| &cell.state);
        let processors: Vec<&Arc<Plugin>> =
            transforms.chain(self.observers.iter().map(|cell| &cell.state)).collect();
        let of_plan = self.plan.processors.iter();
        let processors = of_plan.filter_map(|(spec, _)| {
            processors.iter().find(|state| state.alias == spec.alias).copied()
        });
        let outputs = self.outputs.iter().map(|cell| &cell.state);
        self.telemetry.set_plugins(inputs.chain(processors).chain(outputs).cloned().collect());
    }
}
