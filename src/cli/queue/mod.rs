//! `queue`: what waits for each output, and its dead letters: list, inspect, retry, purge.
//!
//! Listing and inspecting read the letters' files, whether an agent runs or not; what waits in queues only the running
//! agent knows. Retrying and purging go through it, as there is one writer of the files.

mod inspect;
mod list;
mod orders;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use anyhow::bail;
use clap::{Args, Subcommand};
use sentinel_engine::dead_letters::{self, Line, Position, Summary, Which};

use super::agent::Agent;
use super::{Options, Output, control};

/// What to do.
#[derive(Subcommand)]
pub(crate) enum What {
    /// Each output's letters, their most frequent reasons, and what waits in its queue
    List {
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Output,
    },
    /// Letters with the event and the backend's answer, newest first
    Inspect {
        /// Only this one, by the name that `list` and `inspect` show
        #[arg(value_name = "ID")]
        id: Option<String>,
        /// Only those of this output
        #[arg(long, value_name = "ALIAS", conflicts_with = "id")]
        output: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 10)]
        limit: usize,
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Output,
    },
    /// Send letters to their outputs again; each stays until it is delivered
    Retry {
        #[command(flatten)]
        which: Chosen,
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Output,
    },
    /// Remove letters for good
    Purge {
        #[command(flatten)]
        which: Chosen,
        /// Without asking
        #[arg(long)]
        yes: bool,
        /// How to print
        #[arg(long, value_enum, default_value = "text")]
        format: Output,
    },
}

/// Which letters; one of the three must be said.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Chosen {
    /// These, by name
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Those of this output
    #[arg(long, value_name = "ALIAS")]
    output: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
}

impl Chosen {
    fn which(self) -> Which {
        match self.output {
            Some(alias) => Which::Output(alias),
            None if self.all => Which::All,
            None => Which::Ids(self.ids),
        }
    }
}

/// Runs one of them.
pub(crate) fn queue(options: &Options, what: What) -> anyhow::Result<ExitCode> {
    let agent = Agent::find(options);
    match what {
        What::List { format } => list::list(&agent, format),
        What::Inspect { id, output, limit, format } => {
            let which = match (id, output) {
                (Some(id), _) => Which::Ids(vec![id]),
                (None, Some(alias)) => Which::Output(alias),
                (None, None) => Which::All,
            };
            inspect::inspect(&agent, &which, limit, format)
        }
        What::Retry { which, format } => orders::retry(&agent, &which.which(), format),
        What::Purge { which, yes, format } => orders::purge(&agent, &which.which(), yes, format),
    }
}

/// Letters that wait, oldest first; how many lines are of a newer agent, or no letters.
fn letters(
    state_dir: &Path,
    mut each: impl FnMut(Summary<'_>, &[u8]),
) -> anyhow::Result<(u64, u64)> {
    let latest = readable(state_dir, dead_letters::latest(state_dir))?;
    let is_old = |summary: &Summary<'_>, position: Position| {
        latest.get(&*summary.id).is_some_and(|latest| *latest > position)
    };
    let (mut newer, mut unreadable) = (0, 0);
    let walked = dead_letters::walk(state_dir, |position, line| {
        match line {
            Line::Letter(summary, text) if !is_old(&summary, position) => each(summary, text),
            Line::Letter(..) => {}
            Line::Newer(_) => newer += 1,
            Line::Unreadable => unreadable += 1,
        }
        ControlFlow::Continue(())
    });
    readable(state_dir, walked)?;
    Ok((newer, unreadable))
}

/// What is in the way of reading, in words.
fn readable<T>(state_dir: &Path, read: io::Result<T>) -> anyhow::Result<T> {
    match read {
        Ok(value) => Ok(value),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let user = control::owner(&state_dir.join("dead-letters.jsonl"));
            let user = user.unwrap_or_else(|| "the agent's user".to_owned());
            bail!(
                "only {user} (and root) may read the dead letters in {}: sudo -u {user} sentinelops ...",
                state_dir.display()
            )
        }
        Err(error) => bail!("the dead letters in {} cannot be read: {error}", state_dir.display()),
    }
}

/// "1 letter", "3 letters".
fn counted(letters: u64) -> String {
    if letters == 1 { "1 letter".to_owned() } else { format!("{letters} letters") }
}

/// JSON in which nothing can speak to a terminal: what serde leaves as it is (DEL, the C1 codes, marks of direction) is
/// escaped, which JSON allows within texts, where alone it can be.
fn json(value: &serde_json::Value) -> String {
    let mut out = String::new();
    for c in format!("{value:#}").chars() {
        if speaks(c) && c != '\n' {
            let _infallible = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

/// Whether a terminal would do something else than show it.
fn speaks(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The bytes of others on one line: what would speak to the terminal, and what is no UTF-8, as escapes.
fn shown(bytes: &[u8], most: usize) -> String {
    let mut out = String::new();
    let mut count = 0;
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid().chars().map(|c| {
            if speaks(c) || c == '\\' { c.escape_default().to_string() } else { c.to_string() }
        });
        let invalid = chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}"));
        for piece in valid.chain(invalid) {
            if count == most {
                out.push_str(" ...");
                return out;
            }
            out.push_str(&piece);
            count += 1;
        }
    }
    out
}
