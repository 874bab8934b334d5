//! TCP ports that are listened on, or no longer, from /proc/1/net/tcp and tcp6 (proc_pid_net(5)).

use std::collections::BTreeSet;

use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News};
use super::proc;
use super::roots::Roots;

/// The state LISTEN.
const LISTEN: &str = "0A";
/// Ports are not told beyond this: a host that listens on more changes all the time.
const MAX_PORTS: usize = 1000;

/// The watcher.
pub(super) struct Ports {
    roots: Roots,
    seen: BTreeSet<u16>,
}

impl Ports {
    pub(super) fn new(roots: &Roots) -> Self {
        Ports { roots: roots.clone(), seen: BTreeSet::new() }
    }
}

impl Watch for Ports {
    fn look(&mut self, _now_ms: i64, news: &mut News) -> Result<(), Cause> {
        let mut found = BTreeSet::new();
        for file in ["tcp", "tcp6"] {
            let own = proc::read(&self.roots.proc.join("1/net").join(file));
            let text = own.or_else(|| proc::read(&self.roots.proc.join("net").join(file)));
            found.extend(text.unwrap_or_default().lines().filter_map(listening));
        }
        let tell = |news: &mut News, port: u16, detail: &str, sentence: String| {
            news.tell(Change {
                subject: format!("{port}/tcp"),
                detail: detail.to_owned(),
                sentence,
                time_ms: None,
            });
        };
        if found.len() <= MAX_PORTS {
            for port in found.difference(&self.seen) {
                tell(news, *port, "opened", format!("something listens on port {port}/tcp"));
            }
            for port in self.seen.difference(&found) {
                tell(news, *port, "closed", format!("nothing listens on port {port}/tcp any more"));
            }
        }
        self.seen = found;
        Ok(())
    }
}

/// `0: 0100007F:1F90 00000000:0000 0A ...`: the port, when it is listened on.
pub(super) fn listening(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (local, _remote, state) = (words.next()?, words.next()?, words.next()?);
    let (_, port) = local.rsplit_once(':')?;
    (state == LISTEN).then(|| u16::from_str_radix(port, 16).ok()).flatten()
}
