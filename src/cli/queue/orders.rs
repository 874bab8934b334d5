//! `queue retry` and `queue purge`: orders to the running agent; a purge also without one.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sentinel_engine::control::Request;
use sentinel_engine::dead_letters::{self, Order, Purged, Told, Which};
use serde_json::json;

use super::super::agent::Agent;
use super::super::control::{Heard, ask};
use super::super::layout::plain;
use super::super::{Output, complain, print, run};
use super::{counted, json, letters, readable};

/// Gives an order; `Err`: no agent runs, and why that is known.
fn order(agent: &Agent, order: Order) -> anyhow::Result<Result<Told, String>> {
    match ask(&agent.state_dir(), &Request::Letters { letters: order })? {
        Heard::Nobody(why) => Ok(Err(why)),
        Heard::Answer(answer) => {
            let told = answer
                .letters
                .context("the agent does not know this command: is it older than this one?")?;
            Ok(Ok(told))
        }
    }
}

/// Asks the agent to send letters again, part by part, as long as they are taken.
pub(super) fn retry(agent: &Agent, which: &Which, format: Output) -> anyhow::Result<ExitCode> {
    let mut all = Told::default();
    let mut until = None;
    loop {
        let told = match order(agent, Order::Retry { which: which.clone(), until })? {
            Ok(told) => told,
            Err(why) => bail!("{why}; letters are sent again by a running agent"),
        };
        let is_first = until.is_none();
        let goes_on = told.left > 0 && told.delivered + told.refused > 0;
        until = told.until;
        all = Told {
            sent: all.sent + told.sent,
            delivered: all.delivered + told.delivered,
            refused: all.refused + told.refused,
            kept: all.kept + told.kept,
            // What an earlier part has not heard of is what the next finds on its way.
            already: if is_first { told.already } else { all.already },
            missing: if is_first { told.missing } else { all.missing },
            ..told
        };
        if !goes_on {
            break;
        }
        if std::io::stderr().is_terminal() {
            complain(&format!("{} delivered, {} to go", all.delivered, all.left));
        }
    }
    let done = all.sent == all.delivered
        && all.already + all.left + all.unreadable == 0
        && all.missing.is_empty()
        && all.homeless.is_empty();
    match format {
        Output::Json => print(&json(&json!({ "done": done, "retry": all }))),
        Output::Text => report(&all, which),
    }
    Ok(if done { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What became of the letters: what is done to standard output, what is not to standard error.
fn report(all: &Told, which: &Which) {
    if all.delivered > 0 {
        print(&format!("{} delivered\n", counted(all.delivered)));
    }
    let nothing = Told { until: None, outputs: Vec::new(), ..all.clone() } == Told::default();
    if nothing {
        let of = match which {
            Which::Output(alias) => format!(" of {}", plain(alias, 80)),
            Which::All | Which::Ids(_) => String::new(),
        };
        print(&format!("no dead letters{of}\n"));
    }
    if all.refused > 0 {
        complain(&format!(
            "{} refused again: `sentinelops queue inspect` shows the answers",
            counted(all.refused)
        ));
    }
    let on_way = all.sent - all.delivered - all.refused - all.kept;
    for (letters, what) in [
        (on_way, "on the way and not answered yet; they stay until they are delivered"),
        (all.already, "on the way already, by an earlier retry"),
        (all.left, "not sent yet, as enough is on the way: retry again later"),
        (all.kept, "given back by the output, and kept"),
        (all.unreadable, "not readable by this agent, and kept"),
    ] {
        if letters > 0 {
            complain(&format!("{} {what}", counted(letters)));
        }
    }
    for (alias, state) in &all.waiting {
        complain(&format!("  {} is {}", plain(alias, 80), plain(state, 400)));
    }
    for (alias, letters) in &all.homeless {
        let known = if all.outputs.is_empty() { "none".to_owned() } else { all.outputs.join(", ") };
        complain(&format!(
            "error: {} of {}: no output of that name that takes them is running (running are: {known}); kept",
            counted(*letters),
            plain(alias, 80)
        ));
    }
    for id in &all.missing {
        complain(&format!("error: there is no letter {}", plain(id, 80)));
    }
}

/// Removes letters, after asking.
pub(super) fn purge(
    agent: &Agent,
    which: &Which,
    yes: bool,
    format: Output,
) -> anyhow::Result<ExitCode> {
    let state_dir = agent.state_dir();
    let mut found = Vec::new();
    let mut meant = 0;
    let (newer, unreadable) = letters(&state_dir, |letter, _| {
        if which.contains(&letter) {
            meant += 1;
            if let Which::Ids(_) = which {
                found.push(letter.id.to_string());
            }
        }
    })?;
    let all = *which == Which::All;
    let (rest, lines) = if all { (newer, unreadable) } else { (0, 0) };
    if let (Which::Ids(ids), 0) = (which, newer) {
        let missing: Vec<&str> =
            ids.iter().filter(|id| !found.contains(id)).map(String::as_str).collect();
        if !missing.is_empty() {
            bail!("there is no letter {}; nothing was removed", plain(&missing.join(", "), 400));
        }
    }
    if meant + rest + lines == 0 && !matches!(which, Which::Ids(_)) {
        tell(Purged::default(), format);
        return Ok(ExitCode::SUCCESS);
    }
    if !yes && !confirmed(meant + rest)? {
        complain("nothing was removed");
        return Ok(ExitCode::FAILURE);
    }
    let purged = match order(agent, Order::Purge { which: which.clone() })? {
        Ok(told) => told.purged.context("the agent does not say what it removed")?,
        Err(_nobody) => {
            let _lock = run::lock(&state_dir)?;
            readable(&state_dir, dead_letters::purge(&state_dir, which))?
        }
    };
    tell(purged, format);
    Ok(ExitCode::SUCCESS)
}

fn confirmed(letters: u64) -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        bail!("this removes {} for good: say --yes, as there is nobody to ask", counted(letters));
    }
    let mut err = std::io::stderr().lock();
    write!(err, "remove {} for good? [y/N] ", counted(letters))?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

fn tell(purged: Purged, format: Output) {
    match format {
        Output::Json => print(&json(&json!({ "purged": purged }))),
        Output::Text if purged == Purged::default() => print("no dead letters\n"),
        Output::Text => {
            print(&format!("{} removed\n", counted(purged.letters)));
            if purged.unreadable > 0 {
                print(&format!("{} lines that were no letters removed\n", purged.unreadable));
            }
        }
    }
}
