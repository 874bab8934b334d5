//! The presets: which signals a host, a web server and a log have, which way each hurts, and how far is far.
//!
//! Metric names are Telegraf's (`inputs.system`) and those of `processors.log_features`. Least deviations come from
//! what people alert on (reference/agents.md, the node-exporter and nginx rules in common use) and are chosen to be quiet: traffic must at
//! least double, a percentage move by a fifth of its scale, and of context switches there must be 20,000 more a second: fewer cost nobody
//! anything. A signal whose metric never appears is left out.

use super::signals::{Aggregate, Limit, Role, SignalConfig, Signals, Treatment, Watch};
use serde::Deserialize;

/// A ready-made list of signals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Preset {
    /// The host's own metrics.
    #[default]
    Host,
    /// The request features of a web log.
    Web,
    /// The lines, errors and new templates of `processors.log_patterns`.
    Logs,
    /// None: only `signals`.
    None,
}

impl Preset {
    /// Its signals.
    pub(super) fn signals(self) -> Signals {
        match self {
            Preset::Host => host(),
            Preset::Web => web(),
            Preset::Logs => logs(),
            Preset::None => Signals::default(),
        }
    }

    /// Frames above the boundary that confirm a detection.
    pub(super) fn confirm_frames(self) -> u32 {
        match self {
            Preset::Host | Preset::Web | Preset::Logs => 2,
            Preset::None => 3,
        }
    }
}

fn signal(name: &str, metric: &str) -> SignalConfig {
    SignalConfig { name: name.into(), metric: metric.into(), ..SignalConfig::default() }
}

fn counted(name: &str, metric: &str, direction: Watch, change: f64, relative: f64) -> SignalConfig {
    SignalConfig {
        aggregate: Aggregate::Sum,
        over_time: Aggregate::Sum,
        treatment: Treatment::Count,
        direction,
        min_change: change,
        min_relative: relative,
        ..signal(name, metric)
    }
}

/// A percentage that hurts when it grows.
fn percent(name: &str, metric: &str, aggregate: Aggregate, change: f64) -> SignalConfig {
    SignalConfig { aggregate, direction: Watch::Up, min_change: change, ..signal(name, metric) }
}

/// A percentage of something that runs out: the fuller it is, the smaller is the step to full, whatever share of it that is.
fn filling(name: &str, metric: &str, aggregate: Aggregate, change: f64) -> SignalConfig {
    SignalConfig { min_relative: 0.05, ..percent(name, metric, aggregate, change) }
}

/// A number that hurts when it grows, over the host, averaged over the frame.
fn load(name: &str, metric: &str, change: f64, relative: f64) -> SignalConfig {
    let sum = counted(name, metric, Watch::Up, change, relative);
    SignalConfig { over_time: Aggregate::Mean, ..sum }
}

fn labelled(mut config: SignalConfig, name: &str, glob: &str) -> SignalConfig {
    config.labels.insert(name.into(), glob.into());
    config
}

fn traffic(config: SignalConfig) -> SignalConfig {
    SignalConfig { role: Role::Traffic, ..config }
}

fn user(config: SignalConfig) -> SignalConfig {
    SignalConfig { role: Role::User, ..config }
}

fn web() -> Signals {
    let list = [
        traffic(counted("requests", "log_requests", Watch::Both, 5.0, 1.0)),
        traffic(counted("sessions", "log_sessions", Watch::Both, 5.0, 1.0)),
        traffic(counted("clients", "log_clients", Watch::Both, 5.0, 1.0)),
        user(counted("errors", "log_errors", Watch::Up, 5.0, 1.0)),
        user(SignalConfig {
            divide_by: "log_requests".into(),
            treatment: Treatment::Rate,
            volume: "requests".into(),
            min_change: 0.02,
            ..counted("error_rate", "log_errors", Watch::Up, 0.0, 1.0)
        }),
        traffic(counted("client_errors", "log_client_errors", Watch::Up, 10.0, 1.0)),
        traffic(SignalConfig {
            divide_by: "log_sessions".into(),
            volume: "sessions".into(),
            ..counted("requests_per_session", "log_requests", Watch::Up, 3.0, 1.0)
        }),
        traffic(SignalConfig {
            volume: "requests".into(),
            ..counted("bytes", "log_bytes", Watch::Both, 65_536.0, 1.0)
        }),
        user(SignalConfig {
            aggregate: Aggregate::Max,
            over_time: Aggregate::Mean,
            volume: "requests".into(),
            ..counted("latency_p95", "log_latency_p95", Watch::Up, 0.05, 1.0)
        }),
    ];
    let mut web = resolve(&list);
    let errors = web.index_of("errors");
    for signal in &mut web.signals {
        match signal.name.as_str() {
            // A twentieth of all answers failing is an outage to people, however usual it has become.
            "error_rate" => {
                let least = errors.map(|errors| (errors, 20.0));
                signal.limit = Some(Limit { value: 0.05, least });
            }
            // A quiet site at night is no anomaly; a silent one in its day is `stops`.
            "requests" => signal.stops = true,
            _ => (),
        }
    }
    web
}

fn logs() -> Signals {
    let mut logs = resolve(&[
        traffic(counted("lines", "log_lines", Watch::Both, 10.0, 1.0)),
        counted("error_lines", "log_error_lines", Watch::Up, 5.0, 1.0),
        SignalConfig {
            divide_by: "log_lines".into(),
            treatment: Treatment::Rate,
            volume: "lines".into(),
            min_change: 0.02,
            ..counted("error_share", "log_error_lines", Watch::Up, 0.0, 1.0)
        },
        counted("new_patterns", "log_new_patterns", Watch::Up, 3.0, 1.0),
    ]);
    // A log that is quiet at night is no anomaly; a silent one in its day is.
    if let Some(lines) = logs.signals.iter_mut().find(|signal| signal.name == "lines") {
        lines.stops = true;
    }
    logs
}

fn host() -> Signals {
    use Aggregate::{Max, Mean};
    let total = |config| labelled(config, "cpu", "cpu-total");
    let list = [
        total(percent("cpu_busy", "cpu_usage_idle", Mean, 20.0)),
        total(percent("cpu_iowait", "cpu_usage_iowait", Mean, 10.0)),
        total(percent("cpu_steal", "cpu_usage_steal", Mean, 10.0)),
        SignalConfig {
            divide_by: "system_n_cpus".into(),
            min_relative: 0.5,
            ..percent("load_per_cpu", "system_load1", Mean, 0.5)
        },
        filling("mem_used", "mem_available_percent", Mean, 10.0),
        filling("swap_used", "swap_used_percent", Mean, 10.0),
        // An image mounted read-only is full by nature.
        labelled(filling("disk_used", "disk_used_percent", Max, 2.0), "mode", "rw"),
        labelled(filling("inodes_used", "disk_inodes_used_percent", Max, 5.0), "mode", "rw"),
        percent("io_util", "diskio_io_util", Max, 20.0),
        load("disk_read_bytes", "diskio_read_bytes", 1e6, 2.0),
        load("disk_write_bytes", "diskio_write_bytes", 1e6, 2.0),
        traffic(load("net_in_bytes", "net_bytes_recv", 1e5, 2.0)),
        traffic(load("net_out_bytes", "net_bytes_sent", 1e5, 2.0)),
        load("net_errors", "net_err_*", 1.0, 1.0),
        load("net_drops", "net_drop_*", 5.0, 1.0),
        traffic(load("tcp_established", "netstat_tcp_established", 20.0, 1.0)),
        load("tcp_close_wait", "netstat_tcp_close_wait", 20.0, 1.0),
        load("processes", "processes_total", 30.0, 0.5),
        load("running", "processes_running", 5.0, 1.0),
        load("blocked", "processes_blocked", 3.0, 1.0),
        load("zombies", "processes_zombies", 5.0, 1.0),
        load("context_switches", "kernel_context_switches", 20_000.0, 2.0),
        load("forks", "kernel_processes_forked", 20.0, 2.0),
        pressure("cpu_pressure", "cpu", 20.0),
        pressure("memory_pressure", "memory", 5.0),
        pressure("io_pressure", "io", 20.0),
    ];
    let mut host = resolve(&list);
    for signal in &mut host.signals {
        match signal.name.as_str() {
            "cpu_busy" => signal.complement = Some(100.0),
            "mem_used" => {
                signal.complement = Some(100.0);
                signal.limit = Some(Limit { value: 97.0, least: None });
            }
            "disk_used" => signal.limit = Some(Limit { value: 95.0, least: None }),
            _ => (),
        }
    }
    host
}

/// Share of time that some task stood still for want of a resource (the kernel's pressure stall information).
fn pressure(name: &str, resource: &str, change: f64) -> SignalConfig {
    let some = percent(name, "pressure_avg10", Aggregate::Max, change);
    labelled(labelled(some, "resource", resource), "type", "some")
}

fn resolve(list: &[SignalConfig]) -> Signals {
    let mut signals = Signals::default();
    for config in list {
        let added = signals.add(config);
        debug_assert!(added.is_ok(), "a preset's own signal is right: {added:?}");
    }
    signals
}
