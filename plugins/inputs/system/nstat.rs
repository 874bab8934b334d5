//! `nstat_*`: the kernel's protocol counters from /proc/net/netstat, snmp and snmp6, with Telegraf 1.37's names:
//! `nstat_<protocol><counter>{name="<file>"}`. Values are counters as far as the kernel has them so; the few that are
//! settings (`TcpMaxConn`) are not told apart, as there.

use std::sync::Arc;

use sentinel_contract::{Cause, Gather, Kind, Metric, Now, Series};
use serde::Deserialize;

use super::reader::{KeptFile, decimal, lines, words};
use super::series::{Common, Devices, push};

/// `[inputs.system.nstat]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Counters that are 0 too.
    pub dump_zeros: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { dump_zeros: true }
    }
}

/// The collector.
pub(super) struct Nstat {
    common: Common,
    options: Options,
    netstat: Table,
    snmp: Table,
    snmp6: Table,
}

struct Table {
    name: &'static str,
    file: KeptFile,
    series: Devices<Arc<Series>>,
    /// The key of the counter at hand: protocol and counter.
    key: Vec<u8>,
}

impl Nstat {
    pub(super) fn new(common: Common, options: Options) -> Self {
        let table = |name: &'static str| Table {
            name,
            file: KeptFile::new(common.roots.proc.join("net").join(name)),
            series: Devices::default(),
            key: Vec::new(),
        };
        let (netstat, snmp, snmp6) = (table("netstat"), table("snmp"), table("snmp6"));
        Nstat { common, options, netstat, snmp, snmp6 }
    }
}

impl Gather for Nstat {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let Nstat { common, options, netstat, snmp, snmp6 } = self;
        let zeros = options.dump_zeros;
        common.scratch.with(|buffer| {
            for table in [netstat, snmp] {
                table.file.read(buffer)?;
                table.series.begin();
                pairs(buffer, |protocol, counter, value| {
                    table.push(common, [protocol, counter], value, zeros, now, out);
                });
                table.series.end();
            }
            if snmp6.file.read_optional(buffer).is_some() {
                snmp6.series.begin();
                for line in lines(buffer) {
                    let mut words = words(line);
                    if let (Some(counter), Some(value)) = (words.next(), words.next()) {
                        snmp6.push(common, [b"", counter], value, zeros, now, out);
                    }
                }
                snmp6.series.end();
            }
            Ok(())
        })
    }
}

impl Table {
    fn push(
        &mut self,
        common: &Common,
        parts: [&[u8]; 2],
        value: &[u8],
        zeros: bool,
        now: Now,
        out: &mut Vec<Metric>,
    ) {
        let Some(value) = decimal(value).filter(|value| zeros || *value != 0.0) else { return };
        self.key.clear();
        self.key.extend(parts.iter().copied().flatten());
        let (name, key) = (self.name, &self.key);
        let series = self.series.entry(key, || {
            let metric = format!("nstat_{}", String::from_utf8_lossy(key));
            common.series(&metric, Kind::Counter, &[("name", name)])
        });
        if let Some(series) = series {
            push(out, series, now.time_ms, value);
        }
    }
}

/// Calls `each` with protocol, counter and value: a line of names is followed by a line of values, both begin with the
/// protocol. Lines that do not belong together are left out.
pub(super) fn pairs<'a>(text: &'a [u8], mut each: impl FnMut(&'a [u8], &'a [u8], &'a [u8])) {
    let mut lines = lines(text);
    while let (Some(names), Some(values)) = (lines.next(), lines.next()) {
        let (mut names, mut values) = (words(names), words(values));
        let (Some(protocol), again) = (names.next(), values.next()) else { continue };
        if again != Some(protocol) {
            continue;
        }
        let protocol = protocol.strip_suffix(b":").unwrap_or(protocol);
        for (counter, value) in names.zip(values) {
            each(protocol, counter, value);
        }
    }
}
