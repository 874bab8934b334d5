//! `pressure_*` from /proc/pressure (pressure stall information, Documentation/accounting/psi.rst), named as Telegraf's
//! kernel input does: the averages in percent, the total in microseconds. The `full` line of cpu means nothing for the
//! whole host and is left out, as there. A kernel without PSI makes this collector quiet.

use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};

use super::reader::{KeptFile, decimal, lines, words};
use super::series::{Common, push_all};

const FIELDS: [(&str, Kind); 4] = [
    ("pressure_avg10", Kind::Gauge),
    ("pressure_avg60", Kind::Gauge),
    ("pressure_avg300", Kind::Gauge),
    ("pressure_total", Kind::Counter),
];

/// The collector.
pub(super) struct Pressure {
    common: Common,
    resources: [Resource; 3],
}

struct Resource {
    file: KeptFile,
    some: [Arc<Series>; FIELDS.len()],
    full: Option<[Arc<Series>; FIELDS.len()]>,
}

impl Pressure {
    pub(super) fn new(common: Common) -> Self {
        let resources = ["cpu", "memory", "io"].map(|resource| {
            let series = |kind| common.group(&FIELDS, &[("resource", resource), ("type", kind)]);
            Resource {
                file: KeptFile::new(common.roots.proc.join("pressure").join(resource)),
                some: series("some"),
                full: (resource != "cpu").then(|| series("full")),
            }
        });
        Pressure { common, resources }
    }
}

impl Gather for Pressure {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            for resource in &mut self.resources {
                let Some(text) = resource.file.read_optional(buffer) else { continue };
                for line in lines(text) {
                    match (parse(line), &resource.full) {
                        (Some((b"some", values)), _) => {
                            push_all(out, &resource.some, now.time_ms, values);
                        }
                        (Some((b"full", values)), Some(full)) => {
                            push_all(out, full, now.time_ms, values);
                        }
                        _ => {}
                    }
                }
            }
            Ok(())
        })
    }
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`
pub(super) fn parse(line: &[u8]) -> Option<(&[u8], [f64; FIELDS.len()])> {
    let mut words = words(line);
    let kind = words.next()?;
    let mut values = [0.0; FIELDS.len()];
    for (slot, key) in values.iter_mut().zip([&b"avg10="[..], b"avg60=", b"avg300=", b"total="]) {
        *slot = decimal(words.next()?.strip_prefix(key)?)?;
    }
    Some((kind, values))
}
