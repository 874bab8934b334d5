//! Metrics of a host that is not there, under Telegraf's names: processors, memory, a disk, a network interface.
//!
//! Each value is a function of seed and time alone: noise is interpolated between random values at whole minutes, counters are
//! the closed sum of their rate. All that is busy follows the profile. `inputs.system` has the names' meanings.

use std::sync::Arc;

use sentinel_contract::{Kind, Labels, Metric, Series};

use super::Data;
use super::anomaly::Name;
use super::pace::Profile;
use super::random::SplitMix64;
use super::schedule::Schedule;

/// Samples of a host at one time.
pub(super) const COUNT: usize = SERIES.len();

/// Name, kind, and one label more.
const SERIES: [(&str, Kind, (&str, &str)); 13] = [
    ("cpu_usage_user", Kind::Gauge, ("cpu", "cpu-total")),
    ("cpu_usage_system", Kind::Gauge, ("cpu", "cpu-total")),
    ("cpu_usage_iowait", Kind::Gauge, ("cpu", "cpu-total")),
    ("cpu_usage_idle", Kind::Gauge, ("cpu", "cpu-total")),
    ("system_load1", Kind::Gauge, ("", "")),
    ("mem_used_percent", Kind::Gauge, ("", "")),
    ("mem_available", Kind::Gauge, ("", "")),
    ("disk_used_percent", Kind::Gauge, ("path", "/")),
    ("disk_free", Kind::Gauge, ("path", "/")),
    ("diskio_read_bytes", Kind::Counter, ("name", "sda")),
    ("diskio_write_bytes", Kind::Counter, ("name", "sda")),
    ("net_bytes_recv", Kind::Counter, ("interface", "eth0")),
    ("net_bytes_sent", Kind::Counter, ("interface", "eth0")),
];

const MEMORY_BYTES: f64 = 16.0 * (1_u64 << 30) as f64;
const DISK_BYTES: f64 = 200.0 * (1_u64 << 30) as f64;
const PROCESSORS: f64 = 4.0;
/// Bytes a second at the mean of the profile.
const READ: f64 = 90_000.0;
const WRITTEN: f64 = 410_000.0;
const RECEIVED: f64 = 350_000.0;
const SENT: f64 = 2_900_000.0;

/// One host.
#[derive(Debug)]
pub(super) struct Host {
    key: u64,
    at: usize,
    profile: Profile,
    series: [Arc<Series>; COUNT],
}

impl Host {
    /// The host at this place among all; its labels are on every series.
    pub(super) fn new(key: u64, at: usize, profile: Profile, labels: &Labels) -> Self {
        let series =
            SERIES.map(|(name, kind, label)| Series::new(name, kind, labels.with([label]).iter()));
        Host { key, at, profile, series }
    }

    /// Its samples at a time, in a run that started at `start_ns`.
    pub(super) fn samples(&self, time_ms: i64, start_ns: i64, schedule: &Schedule) -> Vec<Metric> {
        let time_ns = time_ms * 1_000_000;
        let offset_ns = time_ns - start_ns;
        let noise = |nth: u64| self.noise(nth, time_ms);
        let busy = self.profile.level(time_ns);
        let (mut saturated, mut leaked, mut filled) = (0.0_f64, 0.0_f64, 0.0_f64);
        for anomaly in schedule.on((Data::Host, self.at), offset_ns) {
            let grown = anomaly.progress(offset_ns) * anomaly.size;
            match anomaly.name {
                Name::CpuSaturation => saturated = (0.9 * anomaly.size).min(1.0),
                Name::MemoryLeak => leaked = 45.0 * grown,
                Name::DiskFill => filled = 40.0 * grown,
                _ => {}
            }
        }
        let mut user = 16.0 * busy + 5.0 * noise(0);
        let system = 5.0 * busy + 1.5 * noise(1);
        let waits = 0.4 + 0.8 * noise(2);
        user += saturated * (99.0 - user - system - waits);
        let idle = 100.0 - user - system - waits;
        let load = PROCESSORS * (100.0 - idle) / 100.0 * (0.9 + 0.3 * noise(3) + 0.8 * saturated);
        let memory = (38.0 + 6.0 * busy + 2.0 * noise(4) + leaked).min(99.0);
        let disk = (52.0 + 0.3 * noise(5) + filled).min(99.9);
        let spike = self.spike_s(offset_ns, schedule);
        let counter = |nth: u64, rate: f64, more_s: f64| {
            // Ten seconds of noise, moving over a minute: less than the least rate, so that it never counts down.
            let seconds = self.profile.sum(start_ns, time_ns) + 10.0 * (1.0 + noise(nth));
            (rate * (seconds + more_s)).max(0.0).floor()
        };
        let values = [
            user,
            system,
            waits,
            idle,
            load,
            memory,
            ((100.0 - memory) / 100.0 * MEMORY_BYTES).floor(),
            disk,
            ((100.0 - disk) / 100.0 * DISK_BYTES).floor(),
            counter(6, READ, 0.0),
            counter(7, WRITTEN, 0.0),
            counter(8, RECEIVED, spike),
            counter(9, SENT, spike),
        ];
        let sample = |(series, value): (&Arc<Series>, f64)| Metric {
            series: Arc::clone(series),
            time_ms,
            value,
        };
        self.series.iter().zip(values).map(sample).collect()
    }

    /// Seconds of usual traffic that spikes have brought on top so far.
    fn spike_s(&self, offset_ns: i64, schedule: &Schedule) -> f64 {
        let spikes = schedule
            .begun(offset_ns)
            .filter(|anomaly| anomaly.name == Name::NetworkSpike && anomaly.host == self.at);
        spikes.map(|spike| 7.0 * spike.size * spike.over_s(offset_ns)).sum()
    }

    /// Noise of one signal, 0 to 1, that moves within a minute.
    fn noise(&self, nth: u64, time_ms: i64) -> f64 {
        let minute = time_ms.div_euclid(60_000);
        let at = |minute: i64| SplitMix64::of(self.key ^ nth << 56, minute as u64).unit();
        let part = time_ms.rem_euclid(60_000) as f64 / 60_000.0;
        at(minute) + (at(minute + 1) - at(minute)) * part
    }
}
