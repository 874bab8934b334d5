//! The series a detector writes, in vmanomaly's names (docs.victoriametrics.com/anomaly-detection, output schema).
//!
//! `anomaly_score` is 1.0 at the boundary for every model. `for` is the signal, or `all` for the frame as a whole;
//! `model_alias` the model, or `overall` for what incidents are made of; `scheduler_alias` the detector's alias.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;

use sentinel_contract::{Context, Events, Kind, Labels, Metric, Series};

use super::Written;
use super::incident::Owner;
use super::joint::NAMES;
use super::treat::Measure;
use super::verdict::{DRIFT, GUARD, Judgement};

/// A group's series, built once.
pub(super) struct Output {
    overall: Arc<Series>,
    joint: Vec<Arc<Series>>,
    robust_z: Arc<Series>,
    cusum: Arc<Series>,
    /// None when they are not written.
    signals: Vec<OfSignal>,
    /// Of what contributions are made, by feature: made when the first is written.
    base: Labels,
    contributions: RefCell<HashMap<String, Arc<Series>>>,
}

struct OfSignal {
    y: Arc<Series>,
    yhat: Arc<Series>,
    lower: Arc<Series>,
    upper: Arc<Series>,
    score: Arc<Series>,
}

impl Output {
    pub(super) fn new(
        context: &Context,
        owner: &Owner,
        group: &[(String, String)],
        names: &[String],
        written: Written,
    ) -> Self {
        let base = context.tags.with(group.iter().map(|(name, value)| (&**name, &**value)));
        let base = base.with([("host", owner.host.as_str()), ("scheduler_alias", &*context.alias)]);
        let series = |name: &str, of: &str, model: &str| {
            let labels = base.with([("for", of), ("model_alias", model)]);
            Series::new(name, Kind::Gauge, labels.iter())
        };
        let of_signal = |name: &String| OfSignal {
            y: series("y", name, GUARD),
            yhat: series("yhat", name, GUARD),
            lower: series("yhat_lower", name, GUARD),
            upper: series("yhat_upper", name, GUARD),
            score: series("anomaly_score", name, GUARD),
        };
        let written_signals = if written == Written::Scores { &[] } else { names };
        Output {
            overall: series("anomaly_score", "all", "overall"),
            joint: NAMES.iter().map(|name| series("anomaly_score", "all", name)).collect(),
            robust_z: series("anomaly_score", "all", GUARD),
            cusum: series("anomaly_score", "all", DRIFT),
            signals: written_signals.iter().map(of_signal).collect(),
            base,
            contributions: RefCell::default(),
        }
    }

    fn contribution(&self, feature: &str) -> Arc<Series> {
        let mut made = self.contributions.borrow_mut();
        let make = || {
            let labels = self.base.with([("feature", feature)]);
            Series::new("anomaly_contribution", Kind::Gauge, labels.iter())
        };
        Arc::clone(made.entry(feature.to_owned()).or_insert_with(make))
    }

    /// The samples of one frame; what is unknown is not written.
    pub(super) fn metrics(
        &self,
        time_ms: i64,
        measures: &[Measure],
        score: Option<f64>,
        judgement: &Judgement,
        open: bool,
    ) -> Events {
        let mut samples = Vec::with_capacity(6 + 6 * measures.len());
        let mut write = |series: &Arc<Series>, value: f64| {
            if value.is_finite() {
                samples.push(Metric { series: Arc::clone(series), time_ms, value });
            }
        };
        if let Some(score) = score {
            write(&self.overall, score);
            for (of, score) in self.joint.iter().zip(judgement.joint) {
                write(of, score);
            }
            write(&self.robust_z, judgement.own.robust_z);
            write(&self.cusum, judgement.own.cusum);
        } else if open {
            write(&self.overall, judgement.verdict.score); // an absolute limit needs no model
        }
        for (of, one) in self.signals.iter().zip(measures) {
            write(&of.y, one.value);
            write(&of.yhat, one.expected);
            write(&of.lower, one.lower);
            write(&of.upper, one.upper);
            if one.expected.is_finite() {
                write(&of.score, one.score);
            }
        }
        if open {
            for one in &judgement.verdict.contributions {
                write(&self.contribution(&one.feature), one.share);
            }
        }
        Events::Metrics(samples)
    }
}
