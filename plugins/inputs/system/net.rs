//! `net_*` by interface, from /proc/net/dev and /sys/class/net, as Telegraf 1.37: without a list of interfaces, those
//! that are up and not loopback. The protocols' counters are in nstat.

use std::sync::Arc;

use globset::GlobSet;
use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;

use super::reader::{KeptFile, decimal, lines, numbers, words};
use super::series::{Common, Devices, push_all};

/// In the order of the values that `Interface::push` makes.
const FIELDS: [(&str, Kind); 9] = [
    ("net_bytes_recv", Kind::Counter),
    ("net_packets_recv", Kind::Counter),
    ("net_err_in", Kind::Counter),
    ("net_drop_in", Kind::Counter),
    ("net_bytes_sent", Kind::Counter),
    ("net_packets_sent", Kind::Counter),
    ("net_err_out", Kind::Counter),
    ("net_drop_out", Kind::Counter),
    ("net_speed", Kind::Gauge),
];

/// Interface flags (linux/if.h).
const UP: u64 = 0x1;
const LOOPBACK: u64 = 0x8;

/// Interfaces whose files stay open; the pods of a large node have hundreds more.
const KEPT_OPEN: usize = 32;

/// What Telegraf says when an interface has no speed.
const NO_SPEED: f64 = -1.0;

/// `[inputs.system.net]`
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Patterns of interface names, whatever their state; empty for all that are up, without loopback.
    pub interfaces: Vec<String>,
    /// Patterns of interface names to leave out.
    pub ignore: Vec<String>,
}

/// The collector.
pub(super) struct Net {
    common: Common,
    select: Select,
    dev: KeptFile,
    /// `None` for interfaces that are not wanted by name.
    interfaces: Devices<Option<Interface>>,
}

/// Which interfaces are wanted.
#[derive(Clone)]
pub(super) struct Select {
    /// Patterns; `None` for all that are up.
    pub(super) wanted: Option<GlobSet>,
    /// Patterns left out.
    pub(super) ignored: GlobSet,
}

struct Interface {
    series: [Arc<Series>; FIELDS.len()],
    flags: KeptFile,
    speed: KeptFile,
}

impl Net {
    pub(super) fn new(common: Common, select: Select) -> Self {
        let dev = KeptFile::new(common.roots.proc.join("net/dev"));
        Net { common, select, dev, interfaces: Devices::default() }
    }

    fn sample(&mut self, text: &[u8], now: Now, out: &mut Vec<Metric>) {
        let Net { common, select, interfaces, .. } = self;
        let any_state = select.wanted.is_some() || common.roots.foreign_proc;
        let mut small = Vec::new();
        interfaces.begin();
        for (at, line) in lines(text).enumerate() {
            let Some((name, counters)) = parse(line) else { continue };
            let entry = interfaces.entry(name, || {
                let name = String::from_utf8_lossy(name);
                select.takes(&name).then(|| Interface::new(common, &name))
            });
            let Some(Some(interface)) = entry else { continue };
            if any_state || interface.is_up(&mut small) {
                interface.push(&counters, now.time_ms, &mut small, out);
            }
            if at > KEPT_OPEN {
                interface.flags.close();
                interface.speed.close();
            }
        }
        interfaces.end();
    }
}

impl Gather for Net {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let scratch = self.common.scratch.clone();
        scratch.with(|buffer| {
            let text = self.dev.read(buffer)?;
            self.sample(text, now, out);
            Ok(())
        })
    }
}

impl Select {
    fn takes(&self, name: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.is_match(name))
            && !self.ignored.is_match(name)
    }
}

impl Interface {
    fn new(common: &Common, name: &str) -> Self {
        let folder = common.roots.sys.join("class/net").join(name);
        Interface {
            series: common.group(&FIELDS, &[("interface", name)]),
            flags: KeptFile::new(folder.join("flags")),
            speed: KeptFile::new(folder.join("speed")),
        }
    }

    /// Up and not loopback.
    fn is_up(&mut self, buffer: &mut Vec<u8>) -> bool {
        let flags = self.flags.read_optional(buffer).and_then(flags);
        flags.is_some_and(|flags| flags & UP != 0 && flags & LOOPBACK == 0)
    }

    fn push(
        &mut self,
        counters: &[u64; 16],
        time_ms: i64,
        buffer: &mut Vec<u8>,
        out: &mut Vec<Metric>,
    ) {
        let speed = self.speed.read_optional(buffer).and_then(|text| decimal(text.trim_ascii()));
        let mut values = [speed.unwrap_or(NO_SPEED); FIELDS.len()];
        // Receive and transmit both begin with bytes, packets, errors, drops.
        for (value, column) in values.iter_mut().zip([0, 1, 2, 3, 8, 9, 10, 11]) {
            *value = counters[column] as f64;
        }
        push_all(out, &self.series, time_ms, values);
    }
}

/// `0x1003`
pub(super) fn flags(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    u64::from_str_radix(text.strip_prefix("0x")?, 16).ok()
}

/// Name and counters of a line of /proc/net/dev; `None` for its two head lines.
pub(super) fn parse(line: &[u8]) -> Option<(&[u8], [u64; 16])> {
    let colon = memchr::memrchr(b':', line)?;
    let name = line[..colon].trim_ascii();
    let counters = numbers(&mut words(&line[colon + 1..]))?;
    (!name.is_empty()).then_some((name, counters))
}
