//! The helper of `tests/run faults-live`: writes the logs, injects trouble on a schedule, scores what the agent said.
//!
//! `tests/faults-live/run` calls it. It knows the agent only by the incidents that it writes, and opens no socket.

mod application;
mod drive;
mod incidents;
mod inject;
mod kinds;
mod random;
mod report;
mod score;
#[cfg(test)]
mod tests;
mod timeline;
mod traffic;
mod truth;

use std::fs;
use std::io::{Write as _, stdout};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "helper of tests/faults-live/run")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// One kind of trouble for the host, until its time is over
    Inject(inject::Options),
    /// A whole run
    Drive(drive::Options),
    /// Compares what the agent said with what was done
    Score {
        /// Where `drive` left the truth and the arrivals; while it runs, this tells the results so far
        folder: PathBuf,
        /// Also as JSON
        #[arg(long)]
        json: Option<PathBuf>,
    },
    /// Prints the kinds: their ranges, and the features that name them
    Kinds,
}

fn main() -> Result<()> {
    match Arguments::parse().command {
        Command::Inject(options) => inject::run(&options),
        Command::Drive(options) => drive::run(&options),
        Command::Score { folder, json } => {
            let report = score::score_folder(&folder)?;
            if let Some(json) = json {
                fs::write(json, serde_json::to_vec_pretty(&report)?)?;
            }
            Ok(write!(stdout(), "{report}")?)
        }
        Command::Kinds => Ok(stdout().write_all(kinds::table().as_bytes())?),
    }
}
