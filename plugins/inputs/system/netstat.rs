//! `netstat_*`: sockets by state. TCP from the kernel's sock_diag, or, where that is refused, from /proc/net/tcp and tcp6;
//! UDP from the totals in /proc/net/sockstat and sockstat6. Telegraf 1.37 also counts Unix sockets: streams as `tcp_none`, datagrams as `udp_socket`, those without a
//! path once a kind; so do we unless told otherwise.

use std::collections::HashSet;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;
use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;

use super::reader::{KeptFile, lines, number, words};
use super::series::{Common, push_all};
use super::sock_diag::{SockDiag, States};

/// By the kernel's number of the state (net/tcp_states.h), then what has no state.
const FIELDS: [(&str, Kind); 13] = [
    ("netstat_tcp_none", Kind::Gauge),
    ("netstat_tcp_established", Kind::Gauge),
    ("netstat_tcp_syn_sent", Kind::Gauge),
    ("netstat_tcp_syn_recv", Kind::Gauge),
    ("netstat_tcp_fin_wait1", Kind::Gauge),
    ("netstat_tcp_fin_wait2", Kind::Gauge),
    ("netstat_tcp_time_wait", Kind::Gauge),
    ("netstat_tcp_close", Kind::Gauge),
    ("netstat_tcp_close_wait", Kind::Gauge),
    ("netstat_tcp_last_ack", Kind::Gauge),
    ("netstat_tcp_listen", Kind::Gauge),
    ("netstat_tcp_closing", Kind::Gauge),
    ("netstat_udp_socket", Kind::Gauge),
];
const NONE: usize = 0;
const SYN_RECV: usize = 3;
const CLOSING: usize = 11;
/// A request socket; listed as SYN_RECV everywhere else.
const NEW_SYN_RECV: usize = 12;
const UDP_SOCKET: usize = 12;

/// What becomes of Unix sockets.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum UnixSockets {
    /// Counted among `tcp_none` and `udp_socket`.
    #[default]
    AsTelegraf,
    /// Not counted.
    Ignore,
}

/// `[inputs.system.netstat]`
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether Unix sockets are counted as Telegraf counts them.
    pub unix_sockets: UnixSockets,
}

/// The collector.
pub(super) struct Netstat {
    common: Common,
    kernel: Kernel,
    /// tcp, tcp6: the way without netlink.
    tables: [KeptFile; 2],
    /// sockstat, sockstat6.
    totals: [KeptFile; 2],
    unix: Option<KeptFile>,
    series: [Arc<Series>; FIELDS.len()],
}

/// The way to the kernel.
enum Kernel {
    Unopened,
    Open(SockDiag),
    /// Not tried again: a seccomp filter or a kernel without inet_diag stays as it is.
    Refused,
}

impl Netstat {
    pub(super) fn new(common: Common, options: &Options) -> Self {
        let table = |name| KeptFile::new(common.roots.proc.join("net").join(name));
        Netstat {
            kernel: Kernel::Unopened,
            tables: ["tcp", "tcp6"].map(table),
            totals: ["sockstat", "sockstat6"].map(table),
            unix: (options.unix_sockets == UnixSockets::AsTelegraf).then(|| table("unix")),
            series: common.group(&FIELDS, &[]),
            common,
        }
    }

    /// Never asks the kernel.
    #[cfg(test)]
    pub(super) fn refused(common: Common) -> Self {
        Netstat { kernel: Kernel::Refused, ..Netstat::new(common, &Options::default()) }
    }

    /// TCP sockets by state.
    fn tcp(&mut self, buffer: &mut Vec<u8>) -> Result<States, Cause> {
        if let Kernel::Unopened = self.kernel {
            self.kernel = SockDiag::open().map_or_else(|error| refused(&error), Kernel::Open);
        }
        if let Kernel::Open(diag) = &mut self.kernel {
            match diag.count(buffer) {
                Ok(states) => return Ok(states),
                Err(error) if diag.answered => {
                    tracing::debug!(%error, "sock_diag failed once");
                    self.kernel = Kernel::Unopened;
                }
                Err(error) => self.kernel = refused(&error),
            }
        }
        let mut states = States::default();
        let [tcp, tcp6] = &mut self.tables;
        table(tcp.read(buffer)?, &mut states);
        if let Some(text) = tcp6.read_optional(buffer) {
            table(text, &mut states);
        }
        Ok(states)
    }

    fn udp(&mut self, buffer: &mut Vec<u8>) -> u64 {
        let total = |file: &mut KeptFile| file.read_optional(buffer).map_or(0, udp_in_use);
        self.totals.iter_mut().map(total).sum()
    }
}

impl Gather for Netstat {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let states = self.tcp(buffer)?;
            let mut values = [0.0; FIELDS.len()];
            for (value, count) in values.iter_mut().zip(&states[..=CLOSING]) {
                *value = *count as f64;
            }
            values[SYN_RECV] += states[NEW_SYN_RECV] as f64;
            values[UDP_SOCKET] = self.udp(buffer) as f64;
            if let Some(text) = self.unix.as_mut().and_then(|unix| unix.read_optional(buffer)) {
                let (other, datagram) = unix_sockets(text);
                values[NONE] += other as f64;
                values[UDP_SOCKET] += datagram as f64;
            }
            push_all(out, &self.series, now.time_ms, values);
            Ok(())
        })
    }
}

fn refused(error: &std::io::Error) -> Kernel {
    tracing::debug!(%error, "no sock_diag, tcp sockets are read from /proc/net");
    Kernel::Refused
}

/// Adds the sockets of a /proc/net/tcp table, whose fourth column is the state in hex.
pub(super) fn table(text: &[u8], states: &mut States) {
    for line in lines(text).skip(1) {
        let state = words(line).nth(3).and_then(|word| std::str::from_utf8(word).ok());
        let state = state.and_then(|word| usize::from_str_radix(word, 16).ok());
        if let Some(count) = state.and_then(|state| states.get_mut(state)) {
            *count += 1;
        }
    }
}

/// The sockets in `UDP: inuse 3 mem 1` or `UDP6: inuse 2`.
pub(super) fn udp_in_use(sockstat: &[u8]) -> u64 {
    let of = |line: &[u8]| {
        let rest = line.strip_prefix(b"UDP: ").or_else(|| line.strip_prefix(b"UDP6: "))?;
        number(words(rest).nth(1)?)
    };
    lines(sockstat).find_map(of).unwrap_or(0)
}

/// Unix sockets that are no datagram sockets, and those that are; each kind and path once.
pub(super) fn unix_sockets(text: &[u8]) -> (u64, u64) {
    const DATAGRAM: u64 = 2;
    let mut seen = HashSet::with_hasher(FixedState::default());
    let (mut other, mut datagram) = (0, 0);
    for line in lines(text).skip(1) {
        let mut words = words(line).skip(4);
        let Some(kind) = words.next().and_then(number) else { continue };
        let (path, more) = (words.nth(2).unwrap_or_default(), words.next());
        let path = if more.is_some() { b"" } else { path }; // Telegraf does not see paths with spaces
        if seen.insert(FixedState::default().hash_one((kind, path))) {
            *(if kind == DATAGRAM { &mut datagram } else { &mut other }) += 1;
        }
    }
    (other, datagram)
}
