//! Incidents as the commands read them: from the running agent's page, else straight from the history of the state
//! folder; the changes of one key are one case.
//!
//! They are JSON here, not the contract's type: what a newer detector says of an incident is shown, not dropped.

use std::collections::HashMap;

use anyhow::{Context as _, bail};
use sentinel_history::Look;
use serde_json::Value;

use super::agent::{Agent, encoded};
use super::layout::{length, moment, plain};

/// Changes in one answer: the page's limit.
pub(crate) const MOST: usize = 2000;
/// Suggestions for a key that fits several incidents.
const SHOWN: usize = 8;
/// A key this like the one asked for is suggested.
const ALIKE: f64 = 0.6;

/// Where incidents are read.
pub(crate) enum Source<'a> {
    /// The running agent.
    Page(&'a Agent),
    /// The history of an agent that does not run, or has no page.
    File(Look),
}

impl<'a> Source<'a> {
    /// The page if it answers, else the file.
    pub(crate) fn of(agent: &'a Agent) -> anyhow::Result<Self> {
        let Err(error) = &agent.status else { return Ok(Source::Page(agent)) };
        let path = agent.state_dir().join("history.db");
        match Look::open(&path) {
            Ok(look) => Ok(Source::File(look)),
            Err(unread) => bail!(
                "{error:#}. And there is no history to read without it: {unread:#} (--state-dir names another folder)"
            ),
        }
    }

    /// Changes at or after a time, newest first.
    pub(crate) fn since(&self, from_ms: i64) -> anyhow::Result<Vec<Value>> {
        match self {
            Source::Page(agent) => {
                changes(agent.get(&format!("/api/incidents?since_ms={from_ms}&limit={MOST}"))?)
            }
            Source::File(look) => values(look.incidents(from_ms, MOST)?),
        }
    }

    /// Changes of incidents whose key contains this, newest first.
    fn of_key(&self, part: &str) -> anyhow::Result<Vec<Value>> {
        match self {
            Source::Page(agent) => {
                changes(agent.get(&format!("/api/incidents?key={}&limit={MOST}", encoded(part)))?)
            }
            Source::File(look) => values(look.changes(part, MOST)?),
        }
    }

    /// The one incident that a person means by a key, a unique part of one, or `last`.
    pub(crate) fn find(&self, id: &str) -> anyhow::Result<Case> {
        if id == "last" {
            let all = cases(self.since(0)?);
            let last = all.iter().position(|case| !case.is_blip()).unwrap_or(0);
            return all.into_iter().nth(last).context("there has been no incident yet");
        }
        let found = cases(self.of_key(id)?);
        match choose(id, &found) {
            Choice::One(at) => found.into_iter().nth(at).context("the incident is gone"),
            Choice::Many(which) => {
                let more = which.len().saturating_sub(SHOWN);
                let lines: Vec<String> =
                    which.iter().take(SHOWN).map(|at| found[*at].suggestion()).collect();
                let more = if more > 0 { format!("\n  and {more} more") } else { String::new() };
                bail!(
                    "\"{id}\" fits several incidents; write more of the key:\n{}{more}",
                    lines.join("\n")
                )
            }
            Choice::None => {
                let near = nearest(id, &cases(self.since(0)?))
                    .map_or(String::new(), |case| format!("; did you mean\n{}", case.suggestion()));
                bail!("there is no incident \"{id}\" (`sentinelops incidents` lists them){near}")
            }
        }
    }
}

fn changes(answer: Value) -> anyhow::Result<Vec<Value>> {
    match answer {
        Value::Object(mut fields) => match fields.remove("incidents") {
            Some(Value::Array(changes)) => Ok(changes),
            _ => bail!("the agent's answer has no incidents"),
        },
        _ => bail!("the agent's answer has no incidents"),
    }
}

fn values(changes: Vec<sentinel_contract::Incident>) -> anyhow::Result<Vec<Value>> {
    Ok(changes.into_iter().map(serde_json::to_value).collect::<Result<_, _>>()?)
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    One(usize),
    Many(Vec<usize>),
    None,
}

/// The whole key, else the only one that begins or ends like this, else the only one that contains it.
pub(super) fn choose(id: &str, found: &[Case]) -> Choice {
    let fits = |test: &dyn Fn(&str) -> bool| -> Vec<usize> {
        (0..found.len()).filter(|at| test(found[*at].key())).collect()
    };
    let tests: [&dyn Fn(&str) -> bool; 3] =
        [&|key| key == id, &|key| key.starts_with(id) || key.ends_with(id), &|key| {
            key.contains(id)
        }];
    for test in tests {
        match fits(test).as_slice() {
            [] => {}
            [one] => return Choice::One(*one),
            many => return Choice::Many(many.to_vec()),
        }
    }
    Choice::None
}

pub(super) fn nearest<'c>(id: &str, all: &'c [Case]) -> Option<&'c Case> {
    let alike = |case: &&Case| strsim::normalized_damerau_levenshtein(id, case.key());
    let best = all.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(&best) >= ALIKE).then_some(best)
}

/// One incident: its changes, newest first; never empty.
pub(crate) struct Case {
    /// As the page gives them.
    pub changes: Vec<Value>,
}

/// The changes by key; the incident with the newest change first.
pub(crate) fn cases(changes: Vec<Value>) -> Vec<Case> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut cases: Vec<Case> = Vec::new();
    for change in changes {
        let key = text(&change, "key").to_owned();
        let at = *places.entry(key).or_insert_with(|| {
            cases.push(Case { changes: Vec::new() });
            cases.len() - 1
        });
        cases[at].changes.push(change);
    }
    cases
}

/// A field of a change as text; empty when it has none.
pub(crate) fn text<'v>(change: &'v Value, field: &str) -> &'v str {
    change[field].as_str().unwrap_or_default()
}

impl Case {
    pub(crate) fn newest(&self) -> &Value {
        &self.changes[0]
    }

    pub(crate) fn key(&self) -> &str {
        text(self.newest(), "key")
    }

    pub(crate) fn state(&self) -> &str {
        text(self.newest(), "state")
    }

    pub(crate) fn started_ms(&self) -> i64 {
        self.newest()["started_ms"].as_i64().unwrap_or(0)
    }

    /// When it ended; `None` while it is open.
    pub(crate) fn ended_ms(&self) -> Option<i64> {
        let over = ["resolved", "accepted", "expired"].contains(&self.state());
        over.then(|| self.newest()["time_ms"].as_i64()).flatten()
    }

    /// How long it lasted, or has up to now.
    pub(crate) fn lasted_ms(&self, now_ms: i64) -> i64 {
        self.ended_ms().unwrap_or(now_ms) - self.started_ms()
    }

    /// The highest score of its changes; NaN when none has one.
    pub(crate) fn score(&self) -> f64 {
        self.changes.iter().filter_map(|change| change["score"].as_f64()).fold(f64::NAN, f64::max)
    }

    /// How bad it has become: info, warning or critical.
    pub(crate) fn severity(&self) -> &str {
        let rank = |word: &str| ["info", "warning", "critical"].iter().position(|one| *one == word);
        let all = self.changes.iter().map(|change| text(change, "severity"));
        all.max_by_key(|word| rank(word)).unwrap_or_default()
    }

    /// It tells of calls that were held back, and explains nothing itself.
    pub(crate) fn is_digest(&self) -> bool {
        self.key().starts_with("digest/")
    }

    fn was(&self, state: &str) -> bool {
        self.changes.iter().any(|change| text(change, "state") == state)
    }

    /// Whether a person was called.
    pub(crate) fn paged(&self) -> bool {
        self.was("notified")
    }

    /// It is over and never lasted long enough to be taken seriously.
    pub(crate) fn is_blip(&self) -> bool {
        let passing = ["detected", "recovering", "resolved", "expired"];
        self.ended_ms().is_some()
            && self.changes.iter().all(|change| passing.contains(&text(change, "state")))
    }

    fn suggestion(&self) -> String {
        let (started, message) = (moment(self.started_ms()), text(self.newest(), "message"));
        format!("  {}  ({started}, {}: {})", self.key(), self.state(), plain(message, 60))
    }

    /// Its state and how long ago it ended, for a sentence.
    pub(crate) fn standing(&self, now_ms: i64) -> String {
        match self.ended_ms() {
            Some(ended) => format!("{} {} ago", self.state(), length(now_ms - ended)),
            None => format!(
                "{} since {}",
                self.state(),
                moment(self.newest()["time_ms"].as_i64().unwrap_or(0))
            ),
        }
    }
}
