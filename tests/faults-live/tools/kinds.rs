//! The ten kinds of trouble: how strong each is drawn, how long, and which features name it.
//!
//! Written down before any run, and not adapted to what a detector does. Ranges are meant as trouble that a person would want
//! to hear of, from plain to heavy. The accepted features are those that the trouble moves by itself; what only
//! follows from it (latency under a flood of requests, context switches under a fork storm) does not count as named.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::random::Random;

/// What is done to the host, to its web server or to its application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub(crate) enum Kind {
    CpuHog,
    MemoryLeak,
    DiskFill,
    WriteStorm,
    ErrorFlood,
    TrafficStop,
    ClientFlood,
    SessionCollapse,
    NewError,
    ForkStorm,
}

/// Who can see a fault: two are under way at the same time, one on each, and each is watched by an agent of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timeline {
    /// What burdens the host.
    Host,
    /// What only changes what is in the logs.
    Logs,
}

impl Timeline {
    pub(crate) const ALL: [Timeline; 2] = [Timeline::Host, Timeline::Logs];

    /// The name of its folder, too.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Timeline::Host => "host",
            Timeline::Logs => "logs",
        }
    }
}

/// Names under which a detector may call what is wrong; a leading `log_` is taken off before they are compared.
pub(crate) struct Accepted {
    pub(crate) features: &'static [&'static str],
    /// A suspect that names the process that does it is right as well.
    pub(crate) process: bool,
}

impl Kind {
    pub(crate) const ALL: [Kind; 10] = [
        Kind::CpuHog,
        Kind::MemoryLeak,
        Kind::DiskFill,
        Kind::WriteStorm,
        Kind::ErrorFlood,
        Kind::TrafficStop,
        Kind::ClientFlood,
        Kind::SessionCollapse,
        Kind::NewError,
        Kind::ForkStorm,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::CpuHog => "cpu_hog",
            Kind::MemoryLeak => "memory_leak",
            Kind::DiskFill => "disk_fill",
            Kind::WriteStorm => "write_storm",
            Kind::ErrorFlood => "error_flood",
            Kind::TrafficStop => "traffic_stop",
            Kind::ClientFlood => "client_flood",
            Kind::SessionCollapse => "session_collapse",
            Kind::NewError => "new_error",
            Kind::ForkStorm => "fork_storm",
        }
    }

    pub(crate) fn timeline(self) -> Timeline {
        match self {
            Kind::CpuHog
            | Kind::MemoryLeak
            | Kind::DiskFill
            | Kind::WriteStorm
            | Kind::ForkStorm => Timeline::Host,
            Kind::ErrorFlood
            | Kind::TrafficStop
            | Kind::ClientFlood
            | Kind::SessionCollapse
            | Kind::NewError => Timeline::Logs,
        }
    }

    /// Weakest and strongest, in the unit that [`Kind::unit`] names.
    pub(crate) fn strength(self) -> (f64, f64) {
        match self {
            Kind::CpuHog => (0.5, 2.0),
            Kind::MemoryLeak => (0.15, 0.30),
            Kind::DiskFill => (0.80, 0.995),
            Kind::WriteStorm => (80.0, 300.0),
            Kind::ErrorFlood => (0.15, 0.9),
            Kind::TrafficStop => (0.0, 0.0),
            Kind::ClientFlood => (3.0, 10.0),
            Kind::SessionCollapse => (2.0, 8.0),
            Kind::NewError => (1.0, 20.0),
            Kind::ForkStorm => (150.0, 600.0),
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Kind::CpuHog => "busy threads a processor",
            Kind::MemoryLeak => "of the host's memory",
            Kind::DiskFill => "of the file system full",
            Kind::WriteStorm => "MB/s at most, written through",
            Kind::ErrorFlood => "of all requests answered 5xx",
            Kind::TrafficStop => "of the requests left",
            Kind::ClientFlood => "times all other requests, from one client",
            Kind::SessionCollapse => "sessions for all requests",
            Kind::NewError => "lines/s of an error never seen",
            Kind::ForkStorm => "processes/s",
        }
    }

    /// Shortest and longest in seconds. What grows needs time to become trouble.
    pub(crate) fn seconds(self) -> (f64, f64) {
        match self {
            Kind::MemoryLeak | Kind::DiskFill => (10.0, 25.0),
            _ => (5.0, 25.0),
        }
    }

    /// What a right first suspect or top feature may be called.
    pub(crate) fn accepted(self) -> Accepted {
        let (features, process): (&[&str], bool) = match self {
            Kind::CpuHog => (&["cpu_busy", "load_per_cpu", "running", "cpu_pressure"], true),
            Kind::MemoryLeak => (&["mem_used", "memory_pressure", "swap_used"], true),
            Kind::DiskFill => (&["disk_used", "disk_write_bytes"], true),
            Kind::WriteStorm => {
                (&["disk_write_bytes", "io_util", "io_pressure", "blocked", "cpu_iowait"], true)
            }
            Kind::ErrorFlood => (&["errors", "error_rate"], false),
            Kind::TrafficStop => (&["requests", "sessions", "clients", "bytes", "silence"], false),
            Kind::ClientFlood => {
                (&["requests", "requests_per_session", "bytes", "client_share"], false)
            }
            Kind::SessionCollapse => {
                (&["sessions", "clients", "requests_per_session", "client_share"], false)
            }
            Kind::NewError => (
                &["new_patterns", "error_lines", "errors", "error_rate", "error_share", "patterns"],
                false,
            ),
            Kind::ForkStorm => (&["forks", "processes", "running", "zombies"], true),
        };
        Accepted { features, process }
    }
}

/// A line of text for each kind: what is drawn, and what it may be called.
pub(crate) fn table() -> String {
    let line = |kind: Kind| {
        let ((weakest, strongest), (shortest, longest)) = (kind.strength(), kind.seconds());
        let accepted = kind.accepted();
        format!(
            "{:16} {weakest}..{strongest} {}; {shortest}..{longest} s; {}{}\n",
            kind.name(),
            kind.unit(),
            accepted.features.join(" "),
            if accepted.process { ", or its process" } else { "" }
        )
    };
    Kind::ALL.into_iter().map(line).collect()
}

/// One fault of the schedule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Planned {
    pub(crate) kind: Kind,
    /// Counts the faults of this kind from 0; no two new errors are alike.
    pub(crate) run: usize,
    /// In the kind's unit.
    pub(crate) strength: f64,
    pub(crate) seconds: f64,
    /// Quiet seconds before it, at least.
    pub(crate) gap: f64,
}

/// Quiet seconds between two faults of a timeline; what the agent still has open makes them more (`timeline.rs`).
pub(crate) const GAP: (f64, f64) = (30.0, 60.0);

/// `runs` faults of each kind in a random order, each with its strength, its length and the gap before it. Each timeline takes
/// its own of them, in this order.
pub(crate) fn schedule(kinds: &[Kind], runs: usize, seed: u64) -> Vec<Planned> {
    let mut random = Random::new(seed, 1);
    let mut plan = Vec::with_capacity(kinds.len() * runs);
    for &kind in kinds {
        for run in 0..runs {
            let ((weakest, strongest), (shortest, longest)) = (kind.strength(), kind.seconds());
            plan.push(Planned {
                kind,
                run,
                strength: random.between(weakest, strongest),
                seconds: random.between(shortest, longest),
                gap: random.between(GAP.0, GAP.1),
            });
        }
    }
    random.shuffle(&mut plan);
    plan
}
