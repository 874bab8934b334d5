//! The running agent, as the other commands find it: its page, its state folder, its control socket.
//!
//! The page's address comes from the configuration. The state folder is the one that was given, else the one that the
//! page names (a service has another default than the person who asks), else the default. HTTP is spoken by hand: the
//! binary needs no client library for it.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use sentinel_engine::config::{Problems, Shared};
use serde_json::Value;

use super::{Options, complain, paths};

/// How long the agent may think.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where the agent is, or should be.
pub(crate) struct Agent {
    /// The address of its page; empty when it has none.
    pub listen: String,
    /// Its status, or why there is none.
    pub status: anyhow::Result<Value>,
    /// The state folder that was asked for.
    given: Option<PathBuf>,
}

impl Agent {
    /// Looks for it. A wrong configuration is said and does not stop: it may be why somebody looks.
    pub(crate) fn find(options: &Options) -> Self {
        let shared = Shared::inert(paths::state_dir(options.state_dir.as_deref()));
        let listen = match options.plan(&shared) {
            Ok(plan) => plan.web.listen.clone(),
            Err(problems) => {
                tell_wrong(&problems);
                sentinel_engine::config::Web::default().listen
            }
        };
        let mut agent = Agent {
            status: status(&listen),
            listen,
            given: options.state_dir.as_deref().map(Path::to_owned),
        };
        if let Some(other) = agent.other_folder() {
            agent.status = Err(anyhow::anyhow!(
                "the agent on {} has another state folder: {other}",
                agent.listen
            ));
        }
        agent
    }

    /// The state folder of the answering agent when it is not the one that was asked for.
    fn other_folder(&self) -> Option<String> {
        let given = std::fs::canonicalize(self.given.as_ref()?).ok();
        let named = self.status.as_ref().ok()?["state_dir"].as_str()?;
        (given.is_none() || given != std::fs::canonicalize(named).ok()).then(|| named.to_owned())
    }

    /// Where its state is.
    pub(crate) fn state_dir(&self) -> PathBuf {
        if let Some(given) = &self.given {
            return given.clone();
        }
        let named = self.status.as_ref().ok().and_then(|status| status["state_dir"].as_str());
        named.map_or_else(default_state, PathBuf::from)
    }

    /// A part of its page's JSON.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        get(&self.listen, path)
    }
}

/// The default state folder, or that of the system's service when there is nothing in the first.
fn default_state() -> PathBuf {
    let (own, service) = (paths::state_dir(None), PathBuf::from(paths::SYSTEM_STATE));
    let is_used = |folder: &Path| folder.join("history.db").exists();
    if !is_used(&own) && is_used(&service) { service } else { own }
}

fn tell_wrong(problems: &Problems) {
    let first = problems.render();
    let first = first.lines().next().unwrap_or_default();
    complain(&format!(
        "note: the configuration is wrong ({first}); `sentinelops check` shows it. Going on with the page's default address"
    ));
}

/// The status of the agent whose page is at `listen`.
pub(crate) fn status(listen: &str) -> anyhow::Result<Value> {
    anyhow::ensure!(!listen.is_empty(), "[web] listen is empty: the agent cannot be asked");
    get(listen, "/api/status")
}

/// One HTTP request.
fn get(listen: &str, path: &str) -> anyhow::Result<Value> {
    let answer = ask(listen, path).with_context(|| {
        format!("the agent does not answer on {listen}; is it running, with this configuration?")
    })?;
    parse(&answer).with_context(|| {
        format!("something answers on {listen}, but not as the agent does; does another program use the port?")
    })
}

fn ask(listen: &str, path: &str) -> anyhow::Result<String> {
    let mut address: SocketAddr = listen.parse()?;
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn parse(answer: &str) -> anyhow::Result<Value> {
    let (head, body) = answer.split_once("\r\n\r\n").context("not an HTTP answer")?;
    let first = head.lines().next().unwrap_or_default();
    anyhow::ensure!(first.contains(" 200 "), "answered {first}");
    Ok(serde_json::from_str(body)?)
}

/// A value within a query.
pub(crate) fn encoded(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = fmt::Write::write_fmt(&mut out, format_args!("%{byte:02X}"));
        }
    }
    out
}
