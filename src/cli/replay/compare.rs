//! Two configurations over the same data: which incidents both find, and which only one of them.
//!
//! Two incidents are the same trouble when they overlap in time, of the same detector (whatever its alias, when each
//! configuration replayed one only).

use std::collections::BTreeSet;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::report::{DAY_MS, Reach, Report, Story, date};

/// One replay under two configurations.
pub(crate) struct Comparison<'r> {
    names: [&'r str; 2],
    reports: [&'r Report; 2],
}

impl<'r> Comparison<'r> {
    /// Of a report under each configuration; `names` are the configurations'.
    pub(crate) fn new(names: [&'r str; 2], reports: [&'r Report; 2]) -> Self {
        Comparison { names, reports }
    }

    /// Incidents of one side, each with those of the other side that it overlaps.
    fn pairs(&self, side: usize) -> Vec<(&'r Story, Vec<&'r Story>)> {
        let (own, other) = (self.reports[side], self.reports[1 - side]);
        let one_each = self.reports.iter().all(|report| detectors(report).len() <= 1);
        let pair = |story: &'r Story| {
            let same = |one: &&Story| {
                (one_each || one.detector == story.detector) && overlap(story, own, one, other)
            };
            (story, other.stories.iter().filter(same).collect())
        };
        own.stories.iter().map(pair).collect()
    }

    pub(crate) fn json(&self) -> Value {
        let side = |side: usize| {
            let mut report = self.reports[side].json();
            report["config"] = self.names[side].into();
            report
        };
        let alone = |side: usize| -> Vec<&str> {
            let pairs = self.pairs(side).into_iter().filter(|(_, others)| others.is_empty());
            pairs.map(|(story, _)| story.key.as_str()).collect()
        };
        let both: Vec<Value> = (self.pairs(0).into_iter())
            .filter(|(_, others)| !others.is_empty())
            .map(|(story, others)| {
                let others: Vec<&str> = others.iter().map(|one| one.key.as_str()).collect();
                json!([story.key, others])
            })
            .collect();
        json!({"first": side(0), "second": side(1), "both": both, "only_first": alone(0),
            "only_second": alone(1)})
    }

    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        let mut say = |line: String| {
            let _infallible = writeln!(out, "{line}");
        };
        say(format!("{}: {} frames", self.reports[0].name, self.reports[0].frames));
        for (name, report) in self.names.iter().zip(self.reports) {
            say(format!(
                "{name}: {} opened, {} confirmed, {} notified",
                report.stories.len(),
                report.count(Reach::Confirmed),
                report.count(Reach::Notified)
            ));
        }
        let volumes = self.reports.map(|report| report.volume(1));
        let days: BTreeSet<i64> =
            volumes.iter().flat_map(|volume| volume.keys().copied()).collect();
        for day in days {
            let counts =
                volumes.each_ref().map(|volume| volume.get(&day).copied().unwrap_or_default());
            let [first, second] = counts.map(|[opened, confirmed, notified]| {
                format!("{opened} opened, {confirmed} confirmed, {notified} notified")
            });
            let day = date(day * DAY_MS);
            say(format!("  {day}  {first}  |  {second}"));
        }
        let (both, only): (Vec<_>, Vec<_>) =
            self.pairs(0).into_iter().partition(|(_, others)| !others.is_empty());
        say(format!("in both: {}", both.len()));
        for (story, others) in &both {
            say(format!("  {}", story.line()));
            let reach = others.iter().map(|one| one.reach).max();
            if let Some(reach) = reach.filter(|reach| *reach != story.reach) {
                let (first, second) = (story.reach.word(), reach.word());
                say(format!("    {first} with {}, {second} with {}", self.names[0], self.names[1]));
            }
        }
        let other = self.pairs(1).into_iter().filter(|(_, others)| others.is_empty()).collect();
        for (name, only) in self.names.iter().zip([only, other]) {
            say(format!("only with {name}: {}", only.len()));
            for (story, _) in only {
                say(format!("  {}", story.line()));
            }
        }
        out
    }
}

fn detectors(report: &Report) -> BTreeSet<&str> {
    report.stories.iter().map(|story| story.detector.as_str()).collect()
}

fn overlap(a: &Story, of_a: &Report, b: &Story, of_b: &Report) -> bool {
    let end = |story: &Story, report: &Report| story.ended_ms.unwrap_or(report.to_ms);
    a.started_ms <= end(b, of_b) && b.started_ms <= end(a, of_a)
}
