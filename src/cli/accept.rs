//! `accept` and `undo`: the level of an open incident becomes the new normal, and back.

use std::process::ExitCode;

use sentinel_contract::Command;
use sentinel_engine::clock::now_ms;

use super::agent::Agent;
use super::cases::{Source, text};
use super::{Options, control};

/// Accepts the incident of this key, a unique part of it, or `last`.
pub(crate) fn accept(options: &Options, id: &str) -> anyhow::Result<ExitCode> {
    let agent = Agent::find(options);
    let case = Source::of(&agent)?.find(id)?;
    let command = Command::Accept { key: case.key().to_owned() };
    let replies = control::tell(&agent.state_dir(), &command)?;
    let nobody = format!("no detector has {} open: it is {}", case.key(), case.standing(now_ms()));
    Ok(control::report(&replies, &nobody))
}

/// Takes back what was accepted last: the detectors are asked in the order in which they last accepted something.
pub(crate) fn undo(options: &Options, detector: Option<String>) -> anyhow::Result<ExitCode> {
    let agent = Agent::find(options);
    let order = match detector {
        Some(detector) => vec![Some(detector)],
        None => lately(&agent),
    };
    let mut replies = Vec::new();
    for detector in order {
        replies = control::tell(&agent.state_dir(), &Command::Undo { detector })?;
        if !replies.is_empty() {
            break;
        }
    }
    Ok(control::report(&replies, "nothing was accepted that could be undone"))
}

/// The detectors with something accepted in history, the latest first; all at once when there is none.
fn lately(agent: &Agent) -> Vec<Option<String>> {
    let changes = Source::of(agent).and_then(|source| source.since(0)).unwrap_or_default();
    let mut order = Vec::new();
    for change in changes.iter().filter(|change| text(change, "state") == "accepted") {
        let detector = Some(text(change, "detector").to_owned());
        if !order.contains(&detector) {
            order.push(detector);
        }
    }
    if order.is_empty() { vec![None] } else { order }
}
