//! `queue inspect`: letters with everything they say.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::process::ExitCode;

use anyhow::bail;
use sentinel_engine::dead_letters::{Event, FieldValue, Letter, Which, letter};
use serde_json::{Value, json};

use super::super::agent::Agent;
use super::super::layout::{moment, number};
use super::super::{Output, complain, print};
use super::{counted, letters, shown};

/// Characters of a line, and of an answer, that are shown.
const MOST: usize = 4000;

/// Prints the newest letters of those that are meant.
pub(super) fn inspect(
    agent: &Agent,
    which: &Which,
    limit: usize,
    format: Output,
) -> anyhow::Result<ExitCode> {
    let (mut found, mut all, mut odd) = (VecDeque::new(), 0, 0);
    letters(&agent.state_dir(), |summary, text| {
        if !which.contains(&summary) {
            return;
        }
        all += 1;
        match letter(text) {
            Some(letter) => found.push_back(letter),
            None => odd += 1,
        }
        if found.len() > limit {
            found.pop_front();
        }
    })?;
    if odd > 0 {
        complain(&format!(
            "note: {} have been changed into something that cannot be read",
            counted(odd)
        ));
    }
    if let (0, Which::Ids(ids)) = (all, which) {
        bail!("there is no letter {} (`sentinelops queue inspect` lists them)", ids.join(", "));
    }
    let found: Vec<Letter> = found.into_iter().rev().collect();
    match format {
        Output::Json => {
            let found: Vec<Value> =
                found.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
            print(&super::json(&json!({ "letters": found, "all": all })));
        }
        Output::Text if found.is_empty() => print("no dead letters\n"),
        Output::Text => {
            let texts: Vec<String> = found.iter().map(text).collect();
            print(&texts.join("\n"));
            let more = (all - odd).saturating_sub(found.len() as u64);
            if more > 0 {
                print(&format!("\n{more} more: --limit\n"));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// One letter for a person.
pub(super) fn text(letter: &Letter) -> String {
    let mut out = String::new();
    let mut line = |name: &str, words: &str| {
        let _infallible = writeln!(out, "  {name:<9} {words}");
    };
    let safe = |text: &str| shown(text.as_bytes(), MOST);
    line("refused", &moment(letter.time_ms));
    if letter.tries > 0 {
        let first = moment(letter.first_ms);
        line("first", &format!("{first}; sent again and refused again {} times", letter.tries));
    }
    line(&safe(&letter.role), &safe(&letter.plugin));
    line("origin", &safe(&letter.origin));
    line("answer", &safe(&letter.reason));
    match &letter.event {
        Event::Log(log) => {
            line("labels", &safe(&labels(log.labels.iter())));
            line("time", &moment(log.time_ns / 1_000_000));
            let body = log.line.bytes().unwrap_or_default();
            for (name, value) in &log.fields {
                let value = match value {
                    FieldValue::Slice(start, end) => {
                        let slice = body.get(*start as usize..*end as usize);
                        shown(slice.unwrap_or(b"(beyond the line)"), 200)
                    }
                    FieldValue::Text(text) => shown(text.as_bytes(), 200),
                    FieldValue::Number(value) => number(value.0),
                };
                line("field", &format!("{} = {value}", safe(name)));
            }
            line("line", &shown(&body, MOST));
        }
        Event::Metric(metric) => {
            line("sample", &safe(&format!("{}{{{}}}", metric.name, labels(metric.labels.iter()))));
            line("time", &moment(metric.time_ms));
            line("value", &metric.value.0.to_string());
        }
        Event::Incident(incident) => {
            line("incident", &safe(&incident.key));
            line("time", &moment(incident.time_ms));
            line("message", &safe(&incident.message));
        }
    }
    format!("letter {}\n{out}", safe(&letter.id))
}

fn labels<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    labels.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(", ")
}
