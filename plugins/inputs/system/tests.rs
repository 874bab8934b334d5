//! The promises of `inputs.system`, on a host made of a few files in a temporary folder.

mod config;
mod devices;
mod disks;
mod host;
mod oracle;
mod parity;
mod parsers;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::history::NoHistory;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Collector, Context, Gather, Labels, Metric, Now};
use tempfile::TempDir;

use super::reader::Scratch;
use super::roots::Roots;
use super::series::Common;
use super::{Config, Name, collectors};

fn context() -> Context {
    Context {
        alias: "system".into(),
        host: "vm".into(),
        tags: Arc::new(Labels::new([("host", "vm")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::new(NoHistory),
        trainer: Trainer::immediate(),
        desk: sentinel_contract::Desk::default(),
    }
}

/// A host with its own /proc and /sys.
struct Host(TempDir);

impl Host {
    fn empty() -> Self {
        Host(tempfile::tempdir().unwrap())
    }

    /// What every collector of the default set needs.
    fn whole() -> Self {
        let host = Host::empty();
        host.write("proc/stat", STAT);
        host.write("proc/meminfo", MEMINFO);
        host.write("proc/vmstat", "nr_free_pages 5\npswpin 3\npswpout 4\npgfault 9\n");
        host.write("proc/1/mountinfo", "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n");
        host.write("proc/diskstats", " 254 0 vda 10 1 80 20 30 2 160 40 0 50 60 1 2 3 4 5 6\n");
        host.write("proc/net/dev", NET_DEV);
        host.write("proc/net/sockstat", "sockets: used 32\nTCP: inuse 15\nUDP: inuse 3 mem 0\n");
        host.write("proc/net/unix", "Num RefCount Protocol Flags Type St Inode Path\n");
        host.write("proc/loadavg", "0.50 0.25 0.12 1/80 11206\n");
        host.write("proc/1/stat", "1 (init) S 0 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 2 0 5 0\n");
        host.write("proc/sys/kernel/random/entropy_avail", "256\n");
        host.write("sys/devices/system/cpu/online", "0-1\n");
        host.write("sys/devices/system/cpu/cpu0/topology/core_cpus_list", "0-1\n");
        host.write("sys/devices/system/cpu/cpu1/topology/core_cpus_list", "0-1\n");
        host.write("sys/class/net/eth0/flags", "0x1003\n");
        host.write("sys/class/net/lo/flags", "0x9\n");
        host
    }

    fn write(&self, path: &str, text: impl AsRef<[u8]>) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_file(self.0.path().join(path)).unwrap();
    }

    fn roots(&self) -> Roots {
        let root = self.0.path().to_str().unwrap().to_owned();
        Roots::from(|name| (name == "HOST_ROOT").then(|| root.clone()))
    }

    fn common(&self) -> Common {
        Common { tags: context().tags, roots: Arc::new(self.roots()), scratch: Scratch::default() }
    }

    /// The collectors of `config`.
    fn build(&self, config: Config) -> Vec<Collector> {
        collectors(config, &context(), self.roots()).unwrap()
    }

    /// One collector with its default options.
    fn collector(&self, name: Name) -> Collector {
        self.build(Config { collectors: vec![name], ..Config::default() }).remove(0)
    }
}

/// One gather, ten seconds after the one before.
fn gather(gather: &mut dyn Gather, number: u64) -> Vec<Metric> {
    try_gather(gather, number).unwrap()
}

fn try_gather(gather: &mut dyn Gather, number: u64) -> anyhow::Result<Vec<Metric>> {
    let mut out = Vec::new();
    let start = Instant::now();
    let instant = start + Duration::from_secs(10 * number);
    gather.gather(Now { time_ms: 1000, instant }, &mut out)?;
    Ok(out)
}

/// Values by `name` or, with labels beside host, `name{value of each}`.
fn values(metrics: &[Metric]) -> BTreeMap<String, f64> {
    let key = |metric: &Metric| {
        let own = metric.series.labels().iter().filter(|(name, _)| *name != "host");
        let own: Vec<&str> = own.map(|(_, value)| value).collect();
        if own.is_empty() {
            metric.series.name().to_owned()
        } else {
            format!("{}{{{}}}", metric.series.name(), own.join(","))
        }
    };
    metrics.iter().map(|metric| (key(metric), metric.value)).collect()
}

const STAT: &str = "\
cpu  100 10 50 800 20 5 5 10 40 4
cpu0 50 5 25 400 10 5 5 0 20 4
cpu1 50 5 25 400 10 0 0 10 20 0
intr 1500 7 0 0
ctxt 2500
btime 1795403248
processes 700
procs_running 2
";

const MEMINFO: &str = "\
MemTotal:       1000 kB
MemFree:         200 kB
MemAvailable:    600 kB
Buffers:          50 kB
Cached:          300 kB
Active:           10 kB
Active(anon):      4 kB
SReclaimable:     25 kB
HugePages_Total:   3
Hugepagesize:   2048 kB
";

const NET_DEV: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    3193      29    0    0    0     0          0         0     3193      29    0    0    0     0       0          0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
";

#[test]
fn only_the_metrics_of_single_processes_may_be_left_out_when_the_host_is_short() {
    let host = Host::empty();
    let names = [Name::Cpu, Name::Mem, Name::Processes, Name::Pressure, Name::Procstat];
    let collectors = host.build(Config { collectors: names.to_vec(), ..Config::default() });
    let spare: Vec<_> = collectors.iter().filter(|one| one.spare).map(|one| one.name).collect();
    assert_eq!(spare, ["procstat"]);
}
