//! The host's own metrics, under Telegraf's names: one collector a subject, each with its own deadline.
//!
//! Facts come from Telegraf 1.37 and gopsutil 4.25 (names, labels, arithmetic) and from the kernel's documentation of
//! /proc and /sys. Files stay open and are read into one buffer; series are built once. Linux only.

mod cpu;
mod disk;
mod diskio;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod globs;
mod host;
mod kernel;
mod mem;
mod mounts;
mod net;
mod netstat;
mod nstat;
mod pressure;
mod processes;
mod procstat;
mod reader;
mod roots;
mod series;
mod sock_diag;
mod swap;
mod temp;
mod usage;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::{Collector, ConfigError, Context, Gather, Input, Plugin};
use serde::Deserialize;

pub use cpu::Options as CpuOptions;
pub use disk::Options as DiskOptions;
pub use diskio::Options as DiskioOptions;
pub use mem::Options as MemOptions;
pub use net::Options as NetOptions;
pub use netstat::{Options as NetstatOptions, UnixSockets};
pub use nstat::Options as NstatOptions;
pub use procstat::{Options as ProcstatOptions, Rank};

use roots::Roots;
use series::Common;

/// How long one collector may take; all of them together take a millisecond.
const DEADLINE: Duration = Duration::from_secs(5);

/// The collectors.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Name {
    /// Use of the processors.
    Cpu,
    /// Memory.
    Mem,
    /// Swap space and traffic.
    Swap,
    /// File systems.
    Disk,
    /// Block devices.
    Diskio,
    /// Network interfaces.
    Net,
    /// Sockets by state.
    Netstat,
    /// Load, processors, users, uptime.
    System,
    /// Processes by state.
    Processes,
    /// Interrupts, context switches, forks, boot time, entropy.
    Kernel,
    /// Pressure stall information.
    Pressure,
    /// Protocol counters.
    Nstat,
    /// The processes that use most.
    Procstat,
    /// Temperatures.
    Temp,
}

/// `[[inputs.system]]`
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Which collectors run.
    pub collectors: Vec<Name>,
    /// Options of cpu.
    pub cpu: CpuOptions,
    /// Options of mem.
    pub mem: MemOptions,
    /// Options of disk.
    pub disk: DiskOptions,
    /// Options of diskio.
    pub diskio: DiskioOptions,
    /// Options of net.
    pub net: NetOptions,
    /// Options of netstat.
    pub netstat: NetstatOptions,
    /// Options of nstat.
    pub nstat: NstatOptions,
    /// Options of procstat.
    pub procstat: ProcstatOptions,
}

impl Default for Config {
    fn default() -> Self {
        use Name::{
            Cpu, Disk, Diskio, Kernel, Mem, Net, Netstat, Pressure, Processes, Swap, System,
        };
        Config {
            collectors: vec![
                Cpu, Mem, Swap, Disk, Diskio, Net, Netstat, System, Processes, Kernel, Pressure,
            ],
            cpu: CpuOptions::default(),
            mem: MemOptions::default(),
            disk: DiskOptions::default(),
            diskio: DiskioOptions::default(),
            net: NetOptions::default(),
            netstat: NetstatOptions::default(),
            nstat: NstatOptions::default(),
            procstat: ProcstatOptions::default(),
        }
    }
}

/// The input `system`.
#[derive(Debug)]
pub struct System;

impl Plugin for System {
    type Kind = Input;
    type Config = Config;
    const NAME: &'static str = "system";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, context: &Context) -> Result<Input, Vec<ConfigError>> {
        collectors(config, context, Roots::from_env()).map(Input::Gather)
    }
}

/// The collectors of `config`, reading from `roots`.
fn collectors(
    config: Config,
    context: &Context,
    roots: Roots,
) -> Result<Vec<Collector>, Vec<ConfigError>> {
    let mut errors = check(&config);
    let mut patterns = |option, list: &[String]| globs::compile(option, list, &mut errors);
    let devices = patterns("diskio.devices", &config.diskio.devices);
    let wanted = patterns("net.interfaces", &config.net.interfaces);
    let ignored = patterns("net.ignore", &config.net.ignore);
    if !errors.is_empty() {
        return Err(errors);
    }
    let wanted = (!config.net.interfaces.is_empty()).then_some(wanted);
    let mut given = Given { config, devices, select: net::Select { wanted, ignored } };
    let common = Common {
        tags: Arc::clone(&context.tags),
        roots: Arc::new(roots),
        scratch: reader::Scratch::default(),
    };
    let names = std::mem::take(&mut given.config.collectors);
    Ok(names.into_iter().map(|name| given.collector(name, common.clone())).collect())
}

/// What cannot be used although its type is right.
fn check(config: &Config) -> Vec<ConfigError> {
    let mut errors = Vec::new();
    if config.collectors.is_empty() {
        errors.push(ConfigError::value("collectors", "must name at least one"));
    }
    for (at, name) in config.collectors.iter().enumerate() {
        if config.collectors[..at].contains(name) {
            let text = format!("{name:?} is named twice").to_lowercase();
            errors.push(ConfigError::value("collectors", text));
        }
    }
    if config.diskio.devices.is_empty() {
        errors
            .push(ConfigError::value("diskio.devices", "must name at least one, or \"*\" for all"));
    }
    if !config.cpu.percpu && !config.cpu.totalcpu {
        errors.push(ConfigError::value("cpu.totalcpu", "must be true when percpu is false"));
    }
    if config.procstat.top == 0 {
        errors.push(ConfigError::value("procstat.top", "must be at least 1"));
    }
    if config.procstat.by.is_empty() {
        errors.push(ConfigError::value("procstat.by", "must name cpu, memory or io"));
    }
    errors
}

/// The options, each taken by its collector.
struct Given {
    config: Config,
    devices: globset::GlobSet,
    select: net::Select,
}

impl Given {
    fn collector(&mut self, name: Name, common: Common) -> Collector {
        use std::mem::take;
        let config = &mut self.config;
        let (name, gather): (&'static str, Box<dyn Gather>) = match name {
            Name::Cpu => ("cpu", Box::new(cpu::Cpu::new(common, take(&mut config.cpu)))),
            Name::Mem => ("mem", Box::new(mem::Mem::new(common, &config.mem))),
            Name::Swap => ("swap", Box::new(swap::Swap::new(common))),
            Name::Disk => ("disk", Box::new(disk::Disk::new(common, take(&mut config.disk)))),
            Name::Diskio => {
                let (options, devices) = (take(&mut config.diskio), self.devices.clone());
                ("diskio", Box::new(diskio::Diskio::new(common, options, devices)))
            }
            Name::Net => ("net", Box::new(net::Net::new(common, self.select.clone()))),
            Name::Netstat => ("netstat", Box::new(netstat::Netstat::new(common, &config.netstat))),
            Name::System => ("system", Box::new(host::Host::new(common))),
            Name::Processes => ("processes", Box::new(processes::Processes::new(common))),
            Name::Kernel => ("kernel", Box::new(kernel::Kernel::new(common))),
            Name::Pressure => ("pressure", Box::new(pressure::Pressure::new(common))),
            Name::Nstat => ("nstat", Box::new(nstat::Nstat::new(common, take(&mut config.nstat)))),
            Name::Procstat => {
                let options = take(&mut config.procstat);
                ("procstat", Box::new(procstat::Procstat::new(common, options)))
            }
            Name::Temp => ("temp", Box::new(temp::Temp::new(common))),
        };
        Collector { name, deadline: DEADLINE, spare: name == "procstat", gather }
    }
}
