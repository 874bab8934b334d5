//! The client of the control socket: one command, the answers, and what is in the way in words.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sentinel_contract::Command;
use sentinel_engine::commands::Reply;
use sentinel_engine::control::{Answer, LONGEST, NAME, Request, reachable};

use super::{complain, print};

/// Longer than the agent waits for its detectors.
const PATIENCE: Duration = Duration::from_secs(10);
/// An answer holds a sentence for each detector.
const LONGEST_ANSWER: u64 = 1 << 20;

/// Brings a command to the agent of this state folder. The replies are of the detectors that it concerned.
pub(crate) fn tell(state_dir: &Path, command: &Command) -> anyhow::Result<Vec<Reply>> {
    match ask(state_dir, &Request::Detectors(command.clone()))? {
        Heard::Answer(answer) => Ok(answer.replies),
        Heard::Nobody(why) => bail!("{why}"),
    }
}

/// What came back.
pub(crate) enum Heard {
    /// The agent did it.
    Answer(Box<Answer>),
    /// No agent runs with that state folder: why that is known.
    Nobody(String),
}

/// Brings a request to the agent of this state folder.
pub(crate) fn ask(state_dir: &Path, request: &Request) -> anyhow::Result<Heard> {
    let path = state_dir.join(NAME);
    let mut request = serde_json::to_string(request)?;
    anyhow::ensure!(request.len() < LONGEST, "the command is longer than {LONGEST} bytes");
    request.push('\n');
    let mut stream = match reachable(&path, |path| UnixStream::connect(path)) {
        Ok(stream) => stream,
        Err(error) => {
            let why = refused(&path, &error);
            let nobody = [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused];
            if nobody.contains(&error.kind()) {
                return Ok(Heard::Nobody(why));
            }
            bail!("{why}")
        }
    };
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    let said = stream
        .write_all(request.as_bytes())
        .and_then(|()| BufReader::new(stream.take(LONGEST_ANSWER)).read_line(&mut line));
    said.context("the agent took the command and did not answer")?;
    let answer: Answer = serde_json::from_str(&line).with_context(|| {
        format!("what listens on {} does not answer as the agent does", path.display())
    })?;
    match answer.error {
        Some(error) => bail!("{error}"),
        None => Ok(Heard::Answer(Box::new(answer))),
    }
}

/// Prints what the detectors said. Done when one did it and none refused; `nobody` says why none was concerned.
pub(crate) fn report(replies: &[Reply], nobody: &str) -> ExitCode {
    for Reply { detector, outcome } in replies {
        match outcome {
            Ok(done) => print(&format!("{detector}: {done}\n")),
            Err(why) => complain(&format!("error: {detector}: {why}")),
        }
    }
    if replies.is_empty() {
        complain(&format!("error: {nobody}"));
    }
    let done = !replies.is_empty() && replies.iter().all(|reply| reply.outcome.is_ok());
    if done { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Why there is no connection, and what to do.
pub(super) fn refused(path: &Path, error: &io::Error) -> String {
    let folder = path.parent().unwrap_or(path).display();
    match error.kind() {
        io::ErrorKind::NotFound => format!(
            "no agent runs with the state folder {folder} (it has no {NAME}); is it started, and is that its folder? \
             --state-dir names another"
        ),
        io::ErrorKind::ConnectionRefused => {
            format!("no agent runs with the state folder {folder} (nobody listens on its {NAME})")
        }
        io::ErrorKind::PermissionDenied => match owner(path) {
            Some(user) => format!(
                "only {user} (and root) may give commands to the agent with the state folder {folder}: \
                 sudo -u {user} sentinelops ..."
            ),
            None => format!("you may not open {}", path.display()),
        },
        _ => format!("cannot open {}: {error}", path.display()),
    }
}

/// Whose a file is; its folder's owner when even that may not be looked into.
pub(super) fn owner(path: &Path) -> Option<String> {
    let uid = path.ancestors().find_map(|path| std::fs::symlink_metadata(path).ok())?.uid();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    Some(user(&users, uid).unwrap_or_else(|| format!("#{uid}")))
}

/// The name of a user in the form of passwd(5).
pub(super) fn user(users: &str, uid: u32) -> Option<String> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    })
}
