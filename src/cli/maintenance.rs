//! `maintenance`: windows in which the detectors stay quiet and do not learn, by command.

use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use sentinel_contract::Command;
use sentinel_contract::units::Period;
use sentinel_engine::clock::now_ms;
use serde_json::Value;

use super::agent::Agent;
use super::layout::{body, is_empty, moment};
use super::{Options, control, print};

/// A window that is forgotten must end: longer ones belong into `agent.toml`.
const LONGEST: Duration = Duration::from_hours(31 * 24);

/// What to do; without it the windows are listed.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Be quiet from now on, for a while
    Start {
        /// How long, for example 30m, 2h or 1d
        #[arg(long = "for", default_value = "2h", value_name = "TIME", value_parser = duration)]
        period: Period,
        /// Only this detector
        #[arg(long, value_name = "ALIAS")]
        detector: Option<String>,
        /// Why: it is shown with the window
        #[arg(long, default_value = "", value_name = "TEXT", hide_default_value = true)]
        reason: String,
    },
    /// End the windows that were started by command
    End {
        /// Only this detector's
        #[arg(long, value_name = "ALIAS")]
        detector: Option<String>,
    },
}

pub(super) fn duration(text: &str) -> Result<Period, String> {
    let period: Period = text.parse()?;
    if period.0 < Duration::from_secs(1) {
        return Err("must be at least 1s".to_owned());
    }
    if period.0 > LONGEST {
        return Err(
            "must be at most 31d; what comes again belongs into `maintenance` in agent.toml"
                .to_owned(),
        );
    }
    Ok(period)
}

/// Starts, ends or lists.
pub(crate) fn maintenance(options: &Options, what: Option<What>) -> anyhow::Result<ExitCode> {
    let agent = Agent::find(options);
    let command = match what {
        None => {
            let status = agent.status?;
            print(&list(&status));
            return Ok(ExitCode::SUCCESS);
        }
        Some(What::Start { period, detector, reason }) => {
            let length = i64::try_from(period.0.as_millis()).unwrap_or(i64::MAX);
            let until_ms = Some(now_ms().saturating_add(length));
            Command::Maintenance { until_ms, detector, reason }
        }
        Some(What::End { detector }) => {
            Command::Maintenance { until_ms: None, detector, reason: String::new() }
        }
    };
    let replies = control::tell(&agent.state_dir(), &command)?;
    let until = match &command {
        Command::Maintenance { until_ms: Some(until), .. } => format!(" until {}", moment(*until)),
        _ => String::new(),
    };
    Ok(control::report(&replies, &format!("no detector is there to be quiet{until}")))
}

/// The windows of each detector, as its status has them.
pub(super) fn list(status: &Value) -> String {
    let mut out = String::new();
    for (alias, detector) in status["detectors"].as_object().into_iter().flatten() {
        let windows = &detector["maintenance"];
        if !is_empty(windows) {
            out.push_str(alias);
            out.push('\n');
            body(&mut out, "maintenance", windows);
        }
    }
    if out.is_empty() { "no maintenance window\n".to_owned() } else { out }
}
