//! One rule: where to look, and what must be there. All that is said must hold.

use std::sync::Arc;

use globset::{Glob, GlobMatcher};
use regex::bytes::Regex;
use sentinel_contract::{Labels, Log, Metric, Value};
use serde::Deserialize;

/// A part of an event that has no name of its own.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The text of a log line.
    Body,
    /// The name of a metric.
    Name,
    /// The value of a metric.
    Value,
}

/// A rule as it is written: one of `label`, `field` and `part`, and at least one test.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// Looks at this label, of logs and metrics.
    pub label: Option<String>,
    /// Looks at this parsed field of logs.
    pub field: Option<String>,
    /// Looks at the text, the name or the value.
    pub part: Option<Part>,
    /// It is one of these.
    pub equals: Vec<String>,
    /// This regular expression matches within it.
    pub pattern: Option<String>,
    /// This glob matches all of it.
    pub glob: Option<String>,
    /// It is a number, and not less than this.
    pub min: Option<f64>,
    /// It is a number, and not more than this.
    pub max: Option<f64>,
}

#[derive(Debug)]
enum Place {
    Label(Box<str>),
    Field(Box<str>),
    Part(Part),
}

/// A rule made ready.
#[derive(Debug)]
pub(super) struct Matcher {
    place: Place,
    equals: Vec<String>,
    pattern: Option<Regex>,
    glob: Option<GlobMatcher>,
    min: Option<f64>,
    max: Option<f64>,
    /// The last stream asked about: a label rule costs one comparison of addresses a line.
    last: Option<(Arc<Labels>, bool)>,
}

impl Matcher {
    pub(super) fn new(rule: Rule) -> Result<Self, String> {
        let place = match (rule.label, rule.field, rule.part) {
            (Some(label), None, None) => Place::Label(label.into()),
            (None, Some(field), None) => Place::Field(field.into()),
            (None, None, Some(part)) => Place::Part(part),
            _ => return Err("needs exactly one of label, field and part".to_owned()),
        };
        let pattern = rule.pattern.map(|pattern| {
            Regex::new(&pattern).map_err(|error| format!("pattern does not compile: {error}"))
        });
        let glob = rule.glob.map(|glob| {
            Glob::new(&glob)
                .map(|glob| glob.compile_matcher())
                .map_err(|error| format!("glob: {error}"))
        });
        let (pattern, glob) = (pattern.transpose()?, glob.transpose()?);
        let has_test = !rule.equals.is_empty() || pattern.is_some() || glob.is_some();
        if !has_test && rule.min.is_none() && rule.max.is_none() {
            return Err("needs a test: equals, pattern, glob, min or max".to_owned());
        }
        if rule.min.zip(rule.max).is_some_and(|(min, max)| min > max) {
            return Err("min is above max".to_owned());
        }
        let (min, max) = (rule.min, rule.max);
        Ok(Matcher { place, equals: rule.equals, pattern, glob, min, max, last: None })
    }

    pub(super) fn is_about_logs(&self) -> bool {
        !matches!(self.place, Place::Part(Part::Name | Part::Value))
    }

    pub(super) fn is_about_metrics(&self) -> bool {
        !matches!(self.place, Place::Field(_) | Place::Part(Part::Body))
    }

    pub(super) fn matches_log(&mut self, log: &Log) -> bool {
        match &self.place {
            Place::Label(label) => match &self.last {
                Some((stream, answer)) if Arc::ptr_eq(stream, &log.stream) => *answer,
                _ => {
                    let answer =
                        log.stream.get(label).is_some_and(|value| self.holds(value.as_bytes()));
                    self.last = Some((Arc::clone(&log.stream), answer));
                    answer
                }
            },
            Place::Field(field) => match log.fields.as_ref().and_then(|fields| fields.get(field)) {
                Some(Value::Number(number)) => self.holds_number(*number),
                Some(_) => log.text(field).is_some_and(|text| self.holds(text)),
                None => false,
            },
            Place::Part(Part::Body) => self.holds(&log.body),
            Place::Part(Part::Name | Part::Value) => false,
        }
    }

    pub(super) fn matches_metric(&self, metric: &Metric) -> bool {
        match &self.place {
            Place::Label(label) => {
                metric.series.labels().get(label).is_some_and(|value| self.holds(value.as_bytes()))
            }
            Place::Part(Part::Name) => self.holds(metric.series.name().as_bytes()),
            Place::Part(Part::Value) => self.holds_number(metric.value),
            Place::Field(_) | Place::Part(Part::Body) => false,
        }
    }

    fn holds(&self, text: &[u8]) -> bool {
        let is_text = |text| std::str::from_utf8(text).ok();
        (self.equals.is_empty() || self.equals.iter().any(|one| one.as_bytes() == text))
            && self.pattern.as_ref().is_none_or(|pattern| pattern.is_match(text))
            && self
                .glob
                .as_ref()
                .is_none_or(|glob| is_text(text).is_some_and(|text| glob.is_match(text)))
            && (!self.has_limits()
                || is_text(text)
                    .and_then(|text| text.trim().parse().ok())
                    .is_some_and(|number| self.is_within(number)))
    }

    /// Text tests see a number as it prints.
    fn holds_number(&self, number: f64) -> bool {
        let is_tested_as_text =
            !self.equals.is_empty() || self.pattern.is_some() || self.glob.is_some();
        if is_tested_as_text {
            self.holds(number.to_string().as_bytes())
        } else {
            self.is_within(number)
        }
    }

    fn has_limits(&self) -> bool {
        self.min.is_some() || self.max.is_some()
    }

    fn is_within(&self, number: f64) -> bool {
        !number.is_nan()
            && self.min.is_none_or(|min| number >= min)
            && self.max.is_none_or(|max| number <= max)
    }
}
