//! Name and label filters, with Telegraf's meaning: pass when one matches, drop when one matches, drop wins.

use std::collections::BTreeMap;

use globset::{Glob, GlobSet, GlobSetBuilder};
use sentinel_contract::{Events, Labels};

/// A compiled filter.
#[derive(Clone, Debug)]
pub struct Filter {
    name_pass: Option<GlobSet>,
    name_drop: Option<GlobSet>,
    tag_pass: Vec<(Box<str>, GlobSet)>,
    tag_drop: Vec<(Box<str>, GlobSet)>,
}

/// A glob that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{option}: {glob}: {reason}")]
pub struct FilterError {
    /// The option it stands in.
    pub option: &'static str,
    /// The glob.
    pub glob: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Filter {
    /// `None` when nothing is filtered.
    pub fn new(
        name_pass: &[String],
        name_drop: &[String],
        tag_pass: &BTreeMap<String, Vec<String>>,
        tag_drop: &BTreeMap<String, Vec<String>>,
    ) -> Result<Option<Self>, FilterError> {
        if name_pass.is_empty()
            && name_drop.is_empty()
            && tag_pass.is_empty()
            && tag_drop.is_empty()
        {
            return Ok(None);
        }
        Ok(Some(Filter {
            name_pass: names("namepass", name_pass)?,
            name_drop: names("namedrop", name_drop)?,
            tag_pass: tags("tagpass", tag_pass)?,
            tag_drop: tags("tagdrop", tag_drop)?,
        }))
    }

    /// Whether an event of this name (a metric's) and these labels passes.
    pub fn passes(&self, name: Option<&str>, labels: &Labels) -> bool {
        let matches = |(tag, globs): &(Box<str>, GlobSet)| {
            labels.get(tag).is_some_and(|value| globs.is_match(value))
        };
        if let Some(name) = name {
            if self.name_pass.as_ref().is_some_and(|globs| !globs.is_match(name)) {
                return false;
            }
            if self.name_drop.as_ref().is_some_and(|globs| globs.is_match(name)) {
                return false;
            }
        }
        (self.tag_pass.is_empty() || self.tag_pass.iter().any(matches))
            && !self.tag_drop.iter().any(matches)
    }

    /// Removes what does not pass; returns how many were removed. Incidents always pass.
    pub fn apply(&self, events: &mut Events) -> usize {
        let before = events.len();
        match events {
            Events::Metrics(metrics) => {
                metrics.retain(|m| self.passes(Some(m.series.name()), m.series.labels()));
            }
            Events::Logs(logs) => logs.retain(|log| self.passes(None, &log.stream)),
            Events::Incidents(_) | Events::Evidence(_) => {}
        }
        before - events.len()
    }

    /// The events that pass, in a list of their own; `None` when all do.
    pub fn select(&self, events: &Events) -> Option<Events> {
        match events {
            Events::Metrics(metrics) => {
                let pass: Vec<_> = metrics
                    .iter()
                    .filter(|m| self.passes(Some(m.series.name()), m.series.labels()))
                    .cloned()
                    .collect();
                (pass.len() < metrics.len()).then_some(Events::Metrics(pass))
            }
            Events::Logs(logs) => {
                let pass: Vec<_> =
                    logs.iter().filter(|log| self.passes(None, &log.stream)).cloned().collect();
                (pass.len() < logs.len()).then_some(Events::Logs(pass))
            }
            Events::Incidents(_) | Events::Evidence(_) => None,
        }
    }
}

fn names(option: &'static str, globs: &[String]) -> Result<Option<GlobSet>, FilterError> {
    if globs.is_empty() { Ok(None) } else { set(option, globs).map(Some) }
}

fn tags(
    option: &'static str,
    tags: &BTreeMap<String, Vec<String>>,
) -> Result<Vec<(Box<str>, GlobSet)>, FilterError> {
    tags.iter().map(|(tag, globs)| Ok((tag.as_str().into(), set(option, globs)?))).collect()
}

fn set(option: &'static str, globs: &[String]) -> Result<GlobSet, FilterError> {
    let error = |glob: &str, reason: globset::Error| FilterError {
        option,
        glob: glob.to_owned(),
        reason: reason.kind().to_string(),
    };
    let mut builder = GlobSetBuilder::new();
    for glob in globs {
        builder.add(Glob::new(glob).map_err(|reason| error(glob, reason))?);
    }
    builder.build().map_err(|reason| error(&globs.join(", "), reason))
}
