//! `incidents`: what was found, newest first, one line each.

use std::fmt::Write as _;
use std::process::ExitCode;

use sentinel_contract::units::Period;
use sentinel_engine::clock::now_ms;
use serde_json::{Value, json};

use super::agent::Agent;
use super::cases::{Case, MOST, Source, cases, text};
use super::layout::{length, moment, number, plain};
use super::{Options, Output, complain, print};

/// What to list.
#[derive(clap::Args)]
pub(crate) struct Wanted {
    /// How far to look back, for example 90m, 24h or 7d
    #[arg(long, default_value = "24h", value_name = "TIME")]
    since: Period,
    /// Only incidents in these states, for example open, notified,resolved
    #[arg(long, value_delimiter = ',', value_name = "STATE")]
    state: Vec<String>,
    /// At most so many
    #[arg(long, default_value_t = 50)]
    limit: usize,
    /// Also those that passed before they were confirmed
    #[arg(long)]
    all: bool,
    /// How to print
    #[arg(long, value_enum, default_value = "text")]
    format: Output,
}

/// The states there are, for a mistake in `--state`. Accepted is in it whoever accepted it.
const STATES: [&str; 9] = [
    "open",
    "detected",
    "confirmed",
    "notified",
    "updated",
    "recovering",
    "resolved",
    "accepted",
    "expired",
];

/// Lists the incidents with a change since then.
pub(crate) fn incidents(options: &Options, wanted: &Wanted) -> anyhow::Result<ExitCode> {
    for state in &wanted.state {
        let known = STATES.contains(&state.as_str());
        anyhow::ensure!(known, "--state {state}: the states are {}", STATES.join(", "));
    }
    let now = now_ms();
    let agent = Agent::find(options);
    let source = Source::of(&agent)?;
    if matches!(source, Source::File(_)) {
        complain("note: no agent answers; this is its history as it was left");
    }
    let since = i64::try_from(wanted.since.0.as_millis()).unwrap_or(i64::MAX);
    let changes = source.since(now.saturating_sub(since))?;
    if changes.len() >= MOST {
        complain(&format!(
            "note: only the newest {MOST} changes were read; ask for less with --since"
        ));
    }
    let (shown, hidden) = select(cases(changes), wanted);
    match wanted.format {
        Output::Json => {
            let list: Vec<Value> = shown.iter().map(|case| summary(case, now)).collect();
            print(&format!("{:#}\n", json!({ "incidents": list })));
        }
        Output::Text => print(&list(&shown, &hidden, now)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Those to show, and how many more fit but for `--all` and `--limit`.
fn select(mut all: Vec<Case>, wanted: &Wanted) -> (Vec<Case>, Hidden) {
    let is = |case: &Case, state: &str| match state {
        "open" => case.ended_ms().is_none(),
        state => case.state() == state,
    };
    all.retain(|case| wanted.state.is_empty() || wanted.state.iter().any(|state| is(case, state)));
    let fitting = all.len();
    all.retain(|case| wanted.all || !case.is_blip());
    let blips = fitting - all.len();
    all.sort_by_key(|case| std::cmp::Reverse(case.started_ms()));
    let more = all.len().saturating_sub(wanted.limit);
    all.truncate(wanted.limit);
    (all, Hidden { blips, more })
}

/// What is not shown.
struct Hidden {
    blips: usize,
    more: usize,
}

fn list(shown: &[Case], hidden: &Hidden, now: i64) -> String {
    let mut out = String::new();
    if shown.is_empty() {
        out.push_str("no incidents in this time\n");
    } else {
        let _infallible = writeln!(
            out,
            "{:<19}  {:>8}  {:<10}  {:<8}  {:<5}  {:>7}  WHAT AND KEY",
            "START", "LASTED", "STATE", "SEVERITY", "PAGED", "SCORE"
        );
    }
    for case in shown {
        let open = if case.ended_ms().is_none() { "+" } else { "" };
        let _infallible = writeln!(
            out,
            "{:<19}  {:>8}  {:<10}  {:<8}  {:<5}  {:>7}  {}  [{}]",
            moment(case.started_ms()),
            length(case.lasted_ms(now)) + open,
            plain(case.state(), 10),
            plain(case.severity(), 8),
            if case.paged() { "yes" } else { "no" },
            number(case.score()),
            plain(text(case.newest(), "message"), 2000),
            plain(case.key(), 500),
        );
    }
    if hidden.more > 0 {
        let _infallible = writeln!(out, "{} more: --limit", hidden.more);
    }
    if hidden.blips > 0 {
        let _infallible = writeln!(out, "{} more did not last: --all", hidden.blips);
    }
    out
}

fn summary(case: &Case, now: i64) -> Value {
    let newest = case.newest();
    json!({
        "message": newest["message"], "key": case.key(), "detector": newest["detector"],
        "host": newest["host"], "group": newest["group"], "state": case.state(),
        "started_ms": case.started_ms(), "ended_ms": case.ended_ms(),
        "duration_ms": case.lasted_ms(now), "severity": case.severity(), "joined": newest["joined"],
        "held": newest["held"], "score": case.score(), "paged": case.paged(),
        "changes": case.changes.len(), "reason": newest["reason"],
    })
}
