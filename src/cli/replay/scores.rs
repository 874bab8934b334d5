//! What a detector emitted, frame by frame: the score of every model, and the features that raised it most.
//!
//! It knows the names of the series that detectors write (plugins/processors/anomaly/README.md), nothing else of them.

use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use sentinel_contract::{Labels, Metric, Series};

/// The model whose score incidents are made of.
const OVERALL: &str = "overall";
/// Features told a row.
const TOP: usize = 3;
/// Labels that tell the series of one group apart.
const OF_ONE_SERIES: [&str; 3] = ["for", "model_alias", "feature"];
/// Labels that all groups of a detector have.
const OF_EVERY_GROUP: [&str; 2] = ["host", "scheduler_alias"];

/// What a series is for.
#[derive(Clone, Copy)]
enum Role {
    Nothing,
    Overall,
    Model(usize),
    Feature(usize),
}

/// The frames of one group of one detector, in time order.
pub(crate) struct Frames {
    /// The detector's alias.
    pub detector: Arc<str>,
    /// Its labels but the host's, as `name=value`, joined by commas.
    pub group: String,
    labels: Labels,
    times: Vec<i64>,
    overall: Vec<f64>,
    /// By the place of the model's name; shorter than `times` when it has not spoken lately.
    models: Vec<Vec<f64>>,
    top: Vec<[(usize, f64); TOP]>,
}

/// A series, the frames it belongs to, and as what.
struct Known {
    series: Arc<Series>,
    frames: usize,
    role: Role,
}

/// Scores by detector, group and frame.
#[derive(Default)]
pub(crate) struct Scores {
    /// Every series seen, in the order in which detectors write them.
    known: Vec<Known>,
    cursor: usize,
    frames: Vec<Frames>,
    models: Vec<String>,
    features: Vec<String>,
}

impl Scores {
    /// Takes what a detector emitted.
    pub(crate) fn take(&mut self, detector: &Arc<str>, metrics: &[Metric]) {
        for metric in metrics {
            let (frames, role) = self.find(detector, &metric.series);
            if matches!(role, Role::Nothing) {
                continue;
            }
            let frames = &mut self.frames[frames];
            let Some(at) = frames.frame(metric.time_ms) else { continue };
            match role {
                Role::Nothing => (),
                Role::Overall => frames.overall[at] = metric.value,
                Role::Model(model) => {
                    if frames.models.len() <= model {
                        frames.models.resize_with(model + 1, Vec::new);
                    }
                    let scores = &mut frames.models[model];
                    scores.resize(scores.len().max(at + 1), f64::NAN);
                    scores[at] = metric.value;
                }
                Role::Feature(feature) => place(&mut frames.top[at], feature, metric.value),
            }
        }
    }

    /// A detector writes its series in the same order each frame: the next one is mostly the one after the last.
    fn find(&mut self, detector: &Arc<str>, series: &Arc<Series>) -> (usize, Role) {
        let count = self.known.len();
        for step in 0..count {
            let at = (self.cursor + step) % count;
            let known = &self.known[at];
            if Arc::ptr_eq(&known.series, series) {
                self.cursor = at + 1;
                return (known.frames, known.role);
            }
        }
        let role = self.role(series);
        let frames = if matches!(role, Role::Nothing) { 0 } else { self.group(detector, series) };
        self.known.push(Known { series: Arc::clone(series), frames, role });
        self.cursor = self.known.len();
        (frames, role)
    }

    fn role(&mut self, series: &Series) -> Role {
        let label = |name| series.labels().get(name);
        match (series.name(), label("for"), label("model_alias"), label("feature")) {
            ("anomaly_score", Some("all"), Some(OVERALL), _) => Role::Overall,
            ("anomaly_score", Some("all"), Some(model), _) => {
                Role::Model(place_of(&mut self.models, model))
            }
            ("anomaly_contribution", _, _, Some(feature)) => {
                Role::Feature(place_of(&mut self.features, feature))
            }
            _ => Role::Nothing,
        }
    }

    /// The frames of a series' detector and group.
    fn group(&mut self, detector: &Arc<str>, series: &Series) -> usize {
        let own = |(name, _): &(&str, &str)| !OF_ONE_SERIES.contains(name);
        let labels = Labels::new(series.labels().iter().filter(own));
        let same = |frames: &Frames| frames.detector == *detector && frames.labels == labels;
        self.frames.iter().position(same).unwrap_or_else(|| {
            let named = labels.iter().filter(|(name, _)| !OF_EVERY_GROUP.contains(name));
            let named: Vec<String> = named.map(|(name, value)| format!("{name}={value}")).collect();
            let detector = Arc::clone(detector);
            self.frames.push(Frames::new(detector, named.join(","), labels));
            self.frames.len() - 1
        })
    }

    /// Every group's detector, labels and number of frames.
    pub(crate) fn groups(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.frames.iter().map(|one| (&*one.detector, one.group.as_str(), one.times.len()))
    }

    /// The earliest and the latest frame's time, in milliseconds.
    pub(crate) fn span(&self) -> Option<(i64, i64)> {
        let first = self.frames.iter().filter_map(|one| one.times.first()).min()?;
        let last = self.frames.iter().filter_map(|one| one.times.last()).max()?;
        Some((*first, *last))
    }

    /// Writes a row for each time of `rows` (seconds), with the scores of the frame (milliseconds) it lies in: for one
    /// detector of one group.
    pub(crate) fn write(&self, path: &Path, rows: impl Iterator<Item = (i64, i64)>) -> Result<()> {
        to_file(path, |out| {
            let models = self.header(out, "timestamp")?;
            for (time, frame_ms) in rows {
                write!(out, "{time}")?;
                let frames = self.frames.first();
                let at =
                    frames.and_then(|one| Some((one, one.times.binary_search(&frame_ms).ok()?)));
                self.row(out, &models, at)?;
            }
            Ok(())
        })
    }

    /// Writes a row for each frame of each group of each detector, in time order.
    pub(crate) fn write_all(&self, path: &Path) -> Result<()> {
        let all = self.frames.iter().flat_map(|one| (0..one.times.len()).map(move |at| (one, at)));
        let mut all: Vec<(&Frames, usize)> = all.collect();
        all.sort_by_key(|(one, at)| one.times[*at]); // stable: of one time in the order of the detectors
        to_file(path, |out| {
            let models = self.header(out, "timestamp,detector,group")?;
            for (one, at) in all {
                let seconds = one.times[at] as f64 / 1000.0;
                write!(out, "{seconds},{},{}", one.detector, cell(&one.group))?;
                self.row(out, &models, Some((one, at)))?;
            }
            Ok(())
        })
    }

    /// The header; returns the models in the order of their columns.
    fn header(&self, out: &mut dyn Write, first: &str) -> std::io::Result<Vec<usize>> {
        let mut models: Vec<usize> = (0..self.models.len()).collect();
        models.sort_by_key(|model| &self.models[*model]);
        write!(out, "{first},anomaly_score")?;
        for model in &models {
            write!(out, ",{}", cell(&self.models[*model]))?;
        }
        writeln!(out, ",top1,top2,top3")?;
        Ok(models)
    }

    /// The rest of a row; empty cells for what is not known.
    fn row(
        &self,
        out: &mut dyn Write,
        models: &[usize],
        at: Option<(&Frames, usize)>,
    ) -> std::io::Result<()> {
        write!(out, ",{}", number(at.map(|(one, at)| one.overall[at])))?;
        for model in models {
            let score = at.and_then(|(one, at)| one.models.get(*model)?.get(at).copied());
            write!(out, ",{}", number(score))?;
        }
        for (feature, _) in at.map_or([(usize::MAX, 0.0); TOP], |(one, at)| one.top[at]) {
            let name = self.features.get(feature).map_or("", String::as_str);
            write!(out, ",{}", cell(name))?;
        }
        writeln!(out)
    }
}

impl Frames {
    fn new(detector: Arc<str>, group: String, labels: Labels) -> Self {
        let (times, overall, models, top) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Frames { detector, group, labels, times, overall, models, top }
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
}

/// Creates a file and writes it; errors name it.
fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let cannot = || format!("{}: cannot be written", path.display());
    let mut out = BufWriter::new(std::fs::File::create(path).with_context(cannot)?);
    write(&mut out).and_then(|()| out.flush()).with_context(cannot)
}

/// The place of a name in a list; at its end when it is new.
fn place_of(names: &mut Vec<String>, name: &str) -> usize {
    names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    })
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
