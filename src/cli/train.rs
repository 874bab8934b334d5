//! `train --now`: trains without waiting until it is due.

use std::process::ExitCode;

use sentinel_contract::Command;

use super::agent::Agent;
use super::{Options, control};

/// Tells every detector, or the named one.
pub(crate) fn train(options: &Options, detector: Option<String>) -> anyhow::Result<ExitCode> {
    let agent = Agent::find(options);
    let replies = control::tell(&agent.state_dir(), &Command::Train { detector })?;
    Ok(control::report(&replies, "no detector learns from what it sees"))
}
