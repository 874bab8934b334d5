//! The control socket: how a person's command comes into the running agent.
//!
//! A Unix socket in the state folder, for the agent's own user alone (mode 0600; root may always). A connection carries
//! one line of JSON each way: a [`Request`], an [`Answer`]. Whoever can open it may silence and train detectors, which
//! is why commands do not go over the page: that has no login. Nothing here may wait for long: how many connect, how
//! much they send and how long they take is limited, and a socket that cannot be made is logged and done without.

use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use sentinel_contract::{Cause, Command};
use serde::{Deserialize, Serialize};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::commands::{Commands, Reply};
use crate::dead_letters::{Order, Told};

/// The socket's name in the state folder.
pub const NAME: &str = "control.sock";
/// The longest request: a key or a reason is some hundred bytes.
pub const LONGEST: usize = 16 << 10;
/// Answered at once; more wait in the kernel's queue.
const CONNECTIONS: usize = 4;
/// How long a client may take for its line, or for taking the answer.
const QUIET: Duration = Duration::from_secs(5);
/// After an error of accept (no file descriptors left): it would fail again at once.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// `sun_path` holds 107 bytes and an end.
const LONGEST_PATH: usize = 107;

/// What is asked. As JSON: a detectors' [`Command`] as it is, or `{"letters":{...}}` with an [`Order`] in it.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Request {
    /// For the detectors.
    Detectors(Command),
    /// For the dead letters.
    Letters {
        /// What to do with which.
        letters: Order,
    },
}

/// What the agent answers.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// One for each detector that the command concerned.
    #[serde(default)]
    pub replies: Vec<Reply>,
    /// What was done with dead letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letters: Option<Told>,
    /// Why nobody was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// An open control socket. It is removed when this is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Opens the socket in `state_dir`, in place of what an agent that was killed left there. The caller holds the
    /// folder's lock. Errors: the folder cannot be written, or cannot hold sockets.
    pub fn open(state_dir: &Path) -> Result<Self, Cause> {
        let path = state_dir.join(NAME);
        // Made where nobody else may look, so that there is no moment at which it has the umask's mode.
        let nursery = state_dir.join(".control");
        let made = match std::fs::DirBuilder::new().mode(0o700).create(&nursery) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                std::fs::set_permissions(&nursery, std::fs::Permissions::from_mode(0o700))
            }
            made => made,
        };
        made.with_context(|| format!("cannot make {}", nursery.display()))?;
        let young = nursery.join(NAME);
        let _left_by_a_killed_agent = std::fs::remove_file(&young);
        let opened = reachable(&young, |young| UnixListener::bind(young));
        let listener = opened.with_context(|| format!("cannot make {}", young.display()))?;
        std::fs::set_permissions(&young, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&young, &path)
            .with_context(|| format!("cannot put it to {}", path.display()))?;
        let _empty = std::fs::remove_dir(&nursery);
        Ok(Control { listener, path })
    }

    /// Answers until `stop`.
    pub async fn serve(self, commands: Commands, stop: CancellationToken) {
        let free = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let next = async {
                let permit = Arc::clone(&free).acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                next = next => next,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, _)) => {
                    let commands = commands.clone();
                    tokio::spawn(async move {
                        if let Err(error) = serve_one(&stream, &commands).await {
                            tracing::debug!(error = %format!("{error:#}"), "a command was not taken");
                        }
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.path);
    }
}

/// Opens a socket at `path` even when it is longer than a socket's address may be: then by way of its open folder.
pub fn reachable<T>(path: &Path, open: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST_PATH {
        return open(path);
    }
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return open(path) };
    let folder = std::fs::File::open(folder)?;
    let short = format!("/proc/self/fd/{}", folder.as_raw_fd());
    open(&Path::new(&short).join(name))
}

async fn serve_one(stream: &UnixStream, commands: &Commands) -> Result<(), Cause> {
    let line = timeout(QUIET, read_line(stream)).await.context("no line came")??;
    let answer = match line {
        None => refuse(format!("a command is one line of at most {LONGEST} bytes")),
        Some(line) => match understand(&line) {
            Err(error) => refuse(format!("not a command: {error}")),
            Ok(request) => tell(commands, request).await,
        },
    };
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    timeout(QUIET, write_all(stream, &line)).await.context("nobody took the answer")??;
    Ok(())
}

/// By its outermost name, so that a mistake within is told as what it is.
fn understand(line: &[u8]) -> serde_json::Result<Request> {
    let mut value: serde_json::Value = serde_json::from_slice(line)?;
    match value.as_object_mut().and_then(|request| request.remove("letters")) {
        Some(order) => serde_json::from_value(order).map(|letters| Request::Letters { letters }),
        None => serde_json::from_slice(line).map(Request::Detectors),
    }
}

async fn tell(commands: &Commands, request: Request) -> Answer {
    let answer = match request {
        Request::Detectors(command) => {
            let replies = commands.tell(command).await;
            replies.map(|replies| Answer { replies, ..Answer::default() })
        }
        Request::Letters { letters } => {
            let told = commands.letters(letters).await;
            told.map(|told| Answer { letters: Some(told), ..Answer::default() })
        }
    };
    answer.unwrap_or_else(refuse)
}

fn refuse(words: String) -> Answer {
    Answer { error: Some(words), ..Answer::default() }
}

/// Without its end; `None` when it is too long or has none.
async fn read_line(stream: &UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let mut part = [0; 1024];
    loop {
        stream.readable().await?;
        match stream.try_read(&mut part) {
            Ok(0) => return Ok(None),
            Ok(read) => {
                line.extend_from_slice(&part[..read]);
                if let Some(end) = line.iter().position(|byte| *byte == b'\n') {
                    line.truncate(end);
                    return Ok(Some(line));
                }
                if line.len() > LONGEST {
                    return Ok(None);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

async fn write_all(stream: &UnixStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
