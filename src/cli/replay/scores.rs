//! What a detector emitted, frame by frame: the score of every model, and the features that raised it most.
//!
//! It knows the names of the series that detectors write (plugins/processors/anomaly/README.md), nothing else of them.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use sentinel_contract::{Metric, Series};

/// The model whose score incidents are made of.
const OVERALL: &str = "overall";
/// Features told a row.
const TOP: usize = 3;

/// What a series is for.
#[derive(Clone, Copy)]
enum Role {
    Nothing,
    Overall,
    Model(usize),
    Feature(usize),
}

/// Scores by frame, in time order.
#[derive(Default)]
pub(crate) struct Scores {
    /// Every series seen, in the order in which the detector writes them.
    known: Vec<(Arc<Series>, Role)>,
    cursor: usize,
    times: Vec<i64>,
    overall: Vec<f64>,
    models: Vec<(String, Vec<f64>)>,
    features: Vec<String>,
    top: Vec<[(usize, f64); TOP]>,
}

impl Scores {
    /// Takes what was emitted.
    pub(crate) fn take(&mut self, metrics: &[Metric]) {
        for metric in metrics {
            let role = self.role(&metric.series);
            if matches!(role, Role::Nothing) {
                continue;
            }
            let Some(at) = self.frame(metric.time_ms) else { continue };
            match role {
                Role::Nothing => (),
                Role::Overall => self.overall[at] = metric.value,
                Role::Model(model) => {
                    let scores = &mut self.models[model].1;
                    scores.resize(scores.len().max(at + 1), f64::NAN);
                    scores[at] = metric.value;
                }
                Role::Feature(feature) => place(&mut self.top[at], feature, metric.value),
            }
        }
    }

    /// The frame of a time; a new one when it is the latest. Frames close in order: an older one is known, or nobody's.
    fn frame(&mut self, time_ms: i64) -> Option<usize> {
        if self.times.last().is_some_and(|last| *last >= time_ms) {
            return self.times.binary_search(&time_ms).ok();
        }
        self.times.push(time_ms);
        self.overall.push(f64::NAN);
        self.top.push([(usize::MAX, 0.0); TOP]);
        Some(self.times.len() - 1)
    }

    /// A detector writes its series in the same order each frame: the next one is mostly the one after the last.
    fn role(&mut self, series: &Arc<Series>) -> Role {
        let count = self.known.len();
        for step in 0..count {
            let at = (self.cursor + step) % count;
            if Arc::ptr_eq(&self.known[at].0, series) {
                self.cursor = at + 1;
                return self.known[at].1;
            }
        }
        let role = self.new_role(series);
        self.known.push((Arc::clone(series), role));
        self.cursor = self.known.len();
        role
    }

    fn new_role(&mut self, series: &Series) -> Role {
        let label = |name| series.labels().get(name);
        match (series.name(), label("for"), label("model_alias"), label("feature")) {
            ("anomaly_score", Some("all"), Some(OVERALL), _) => Role::Overall,
            ("anomaly_score", Some("all"), Some(model), _) => {
                let known = self.models.iter().position(|(name, _)| name == model);
                Role::Model(known.unwrap_or_else(|| {
                    self.models.push((model.to_owned(), Vec::new()));
                    self.models.len() - 1
                }))
            }
            ("anomaly_contribution", _, _, Some(feature)) => {
                let known = self.features.iter().position(|name| name == feature);
                Role::Feature(known.unwrap_or_else(|| {
                    self.features.push(feature.to_owned());
                    self.features.len() - 1
                }))
            }
            _ => Role::Nothing,
        }
    }

    /// Writes a row for each time of `rows` (seconds), with the scores of the frame (milliseconds) it lies in.
    pub(crate) fn write(&self, path: &Path, rows: impl Iterator<Item = (i64, i64)>) -> Result<()> {
        let cannot = || format!("{}: cannot be written", path.display());
        let file = std::fs::File::create(path).with_context(cannot)?;
        let mut out = BufWriter::new(file);
        self.write_rows(&mut out, rows).and_then(|()| out.flush()).with_context(cannot)
    }

    fn write_rows(
        &self,
        out: &mut impl Write,
        rows: impl Iterator<Item = (i64, i64)>,
    ) -> std::io::Result<()> {
        let mut models: Vec<&(String, Vec<f64>)> = self.models.iter().collect();
        models.sort_by(|a, b| a.0.cmp(&b.0));
        let names: Vec<&str> = models.iter().map(|(name, _)| name.as_str()).collect();
        write!(out, "timestamp,anomaly_score")?;
        for name in names {
            write!(out, ",{}", cell(name))?;
        }
        writeln!(out, ",top1,top2,top3")?;
        for (time, frame_ms) in rows {
            let at = self.times.binary_search(&frame_ms).ok();
            write!(out, "{time},{}", number(at.map(|at| self.overall[at])))?;
            for (_, scores) in &models {
                write!(out, ",{}", number(at.and_then(|at| scores.get(at).copied())))?;
            }
            for (feature, _) in at.map_or([(usize::MAX, 0.0); TOP], |at| self.top[at]) {
                let name = self.features.get(feature).map_or("", String::as_str);
                write!(out, ",{}", cell(name))?;
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// Puts a feature among the largest; of equal ones the first stays ahead.
fn place(top: &mut [(usize, f64); TOP], feature: usize, share: f64) {
    let better = |(_, known): &(usize, f64)| share > *known;
    if let Some(at) = top.iter().position(better) {
        top[at..].rotate_right(1);
        top[at] = (feature, share);
    }
}

/// A number as short as it can be read back; nothing for what is unknown.
fn number(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map_or_else(String::new, |value| value.to_string())
}

/// A name as a cell: quoted only when it has to be (RFC 4180).
fn cell(name: &str) -> String {
    if name.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}
