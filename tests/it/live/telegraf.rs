//! `once` beside Telegraf, on this machine and in the same seconds: the same names and labels, and values that agree.
//!
//! Telegraf gathers every second; `once` runs between two of its gathers. A counter must then lie between Telegraf's two
//! readings, a constant must be equal, and what goes up and down must be of the size that Telegraf saw. On a busy machine a
//! value may move far within a second: each series gets some tries, and must agree in one of them. The processors' seconds
//! are asked for beside their usages, because they are counters. How strict this is, is
//! measured at the end: what was compared is compared again a thousand times as large and as small, and must not agree.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::stack::{asked, repository, until};

const TELEGRAF: &str = r#"
[agent]
interval = "1s"
flush_interval = "1s"
precision = "1ms"
omit_hostname = false
[[inputs.cpu]]
collect_cpu_time = true
[[inputs.mem]]
[[inputs.swap]]
[[inputs.disk]]
ignore_fs = ["tmpfs", "devtmpfs", "devfs", "iso9660", "overlay", "aufs", "squashfs"]
[[inputs.diskio]]
[[inputs.net]]
[[inputs.netstat]]
[[inputs.system]]
[[inputs.processes]]
[[inputs.kernel]]
[[outputs.file]]
data_format = "json"
json_timestamp_units = "1ms"
"#;

const OURS: &str = "[[inputs.system]]\ncollectors = [\"cpu\", \"mem\", \"swap\", \"disk\", \"diskio\", \"net\", \"netstat\", \"system\", \"processes\", \"kernel\"]\n\
    [inputs.system.cpu]\ncollect_cpu_time = true\n";

/// Tries that a series has.
const ROUNDS: usize = 4;

/// `name{label="value",...}`.
type Series = String;

/// What Telegraf saw of a series: when (milliseconds), and the value.
type Samples = BTreeMap<Series, Vec<(i64, f64)>>;

fn series(name: &str, labels: &Value) -> Series {
    let labels = labels.as_object().unwrap().iter();
    let labels: BTreeMap<_, _> =
        labels.map(|(name, value)| (name, value.as_str().unwrap())).collect();
    format!("{name}{labels:?}")
}

fn name_of(series: &str) -> &str {
    series.split('{').next().unwrap()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64
}

/// Telegraf, running.
struct Telegraf {
    child: Child,
    out: PathBuf,
}

impl Telegraf {
    fn start(folder: &Path) -> Telegraf {
        let setup = Command::new(repository("tests/stack/setup")).arg("telegraf").output().unwrap();
        let text = String::from_utf8(setup.stdout).unwrap();
        let binary = text.trim().strip_prefix("telegraf=").expect("setup prints where it is");
        let (config, out) = (folder.join("telegraf.conf"), folder.join("telegraf.json"));
        std::fs::write(&config, format!("{TELEGRAF}files = [\"{}\"]\n", out.display())).unwrap();
        let log = std::fs::File::create(folder.join("telegraf.log")).unwrap();
        let mut command = Command::new(binary);
        command.arg("--config").arg(&config).stdin(Stdio::null()).stdout(Stdio::null());
        Telegraf { child: command.stderr(log).spawn().unwrap(), out }
    }

    /// Everything it has written so far. Text (`uptime_format`) is no metric.
    fn samples(&self) -> Samples {
        let text = std::fs::read_to_string(&self.out).unwrap_or_default();
        let mut samples = Samples::new();
        for line in text.lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue }; // the last, half written
            for (field, value) in line["fields"].as_object().unwrap() {
                let name = format!("{}_{field}", line["name"].as_str().unwrap());
                let Some(value) = value.as_f64() else {
                    assert_eq!(name, "system_uptime_format", "{value}");
                    continue;
                };
                let sample = (line["timestamp"].as_i64().unwrap(), value);
                samples.entry(series(&name, &line["tags"])).or_default().push(sample);
            }
        }
        samples
    }

    /// Waits for whole gathers, two rates among them, after `from`.
    fn wait_for_gathers(&self, from: i64) {
        until("Telegraf gathers", Duration::from_secs(30), || {
            let samples = self.samples();
            // the disks' rates and the processors' need two gathers, and come last
            ["cpu_usage_idle", "diskio_io_await", "processes_total", "system_uptime"].iter().all(
                |name| {
                    samples.iter().any(|(series, samples)| {
                        name_of(series) == *name
                            && samples.iter().filter(|(time, _)| *time > from).count() >= 2
                    })
                },
            )
        });
    }
}

impl Drop for Telegraf {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_gone = self.child.wait();
    }
}

/// What `once` prints.
fn once(config: &Path, state: &Path) -> BTreeMap<Series, f64> {
    let mut command = Command::new(crate::cli::binary());
    command.args(["once", "--format", "json", "--config"]).arg(config);
    let output = command.arg("--state-dir").arg(state).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut values = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let key = series(line["name"].as_str().unwrap(), &line["labels"]);
        let again = values.insert(key.clone(), line["value"].as_f64().unwrap());
        assert_eq!(again, None, "{key} is there twice");
    }
    values
}

/// How a series behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Constant,
    Counter,
    /// 0 to 100, of what is taken and what is free.
    Share,
    /// 0 to 100, of one second.
    Usage,
    /// Of the requests of one second.
    Rate,
    /// A number of things.
    Number,
    /// An amount: bytes, inodes, load.
    Amount,
    /// An amount that is written out all of a sudden.
    Fleeting,
}

fn kind(name: &str) -> Kind {
    let is = |names: &[&str]| names.contains(&name);
    if is(&["system_n_cpus", "system_n_physical_cpus", "mem_huge_page_size", "mem_commit_limit"])
        || is(&["kernel_boot_time", "net_speed"])
        || name.ends_with("_total") && !name.starts_with("processes_")
    {
        Kind::Constant
    } else if name.starts_with("cpu_usage_") || name == "diskio_io_util" {
        Kind::Usage
    } else if name.ends_with("_percent") {
        Kind::Share
    } else if is(&["diskio_io_await", "diskio_io_svctm"]) {
        Kind::Rate
    } else if name == "diskio_iops_in_progress"
        || ["netstat_", "processes_"].iter().any(|family| name.starts_with(family))
    {
        Kind::Number
    } else if is(&["kernel_context_switches", "kernel_interrupts", "kernel_processes_forked"])
        || is(&["swap_in", "swap_out", "system_uptime"])
        || name.starts_with("cpu_time_")
        || ["diskio_", "net_"].iter().any(|family| name.starts_with(family))
    {
        Kind::Counter
    } else if is(&["mem_dirty", "mem_write_back", "mem_write_back_tmp"]) {
        Kind::Fleeting
    } else {
        Kind::Amount
    }
}

/// Whether `ours` agrees with Telegraf's readings before and after.
fn agrees(kind: Kind, ours: f64, before: f64, after: f64) -> bool {
    let (low, high) = (before.min(after), before.max(after));
    let within =
        |factor: f64, slack: f64| low / factor - slack <= ours && ours <= high * factor + slack;
    match kind {
        Kind::Constant => ours == before && ours == after,
        Kind::Counter => before - 1e-6 <= ours && ours <= after + 1e-6,
        Kind::Share => within(1.0, 5.0) && within(4.0, 0.001),
        Kind::Usage => (0.0..=100.001).contains(&ours) && within(1.0, 40.0),
        Kind::Rate => within(30.0, 0.0),
        Kind::Number => within(1.5, 10.0),
        Kind::Amount => within(2.0, 0.5),
        Kind::Fleeting => within(30.0, 512.0 * 1024.0),
    }
}

/// The last reading before `start`, and the first that was surely made after `end`.
fn around(samples: &[(i64, f64)], start: i64, end: i64) -> Option<(f64, f64)> {
    let before = samples.iter().rev().find(|(time, _)| *time < start)?;
    let after = samples.iter().find(|(time, _)| *time > end + 1000)?;
    Some((before.1, after.1))
}

/// Sockets and disk traffic, so that there is something to count.
struct Busy {
    stop: Arc<AtomicBool>,
    _tcp: Vec<(TcpStream, TcpStream)>,
    _listener: TcpListener,
    _udp: Vec<UdpSocket>,
}

impl Busy {
    fn start(folder: &Path) -> Busy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let pair = |_| (TcpStream::connect(address).unwrap(), listener.accept().unwrap().0);
        let tcp = (0..60).map(pair).collect();
        let udp = (0..60).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let (stop, file) = (Arc::new(AtomicBool::new(false)), folder.join("traffic"));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            let (mut file, bytes) = (std::fs::File::create(file).unwrap(), vec![7; 128 << 10]);
            while !stopped.load(SeqCst) {
                let _full_disk = file.write_all(&bytes).and_then(|()| file.sync_data());
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        Busy { stop, _tcp: tcp, _listener: listener, _udp: udp }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

/// What was found in all rounds.
#[derive(Default)]
struct Verdict {
    agreed: BTreeMap<Series, (f64, f64, f64)>,
    disagreed: BTreeMap<Series, (f64, f64, f64)>,
    missing: BTreeSet<Series>,
}

fn compare(
    verdict: &mut Verdict,
    ours: &BTreeMap<Series, f64>,
    theirs: &Samples,
    span: (i64, i64),
) {
    for (series, samples) in theirs {
        let Some((before, after)) = around(samples, span.0, span.1) else { continue };
        let Some(&value) = ours.get(series) else {
            verdict.missing.insert(series.clone());
            continue;
        };
        let found = (value, before, after);
        if agrees(kind(name_of(series)), value, before, after) {
            verdict.agreed.insert(series.clone(), found);
        } else {
            verdict.disagreed.insert(series.clone(), found);
        }
    }
    verdict.disagreed.retain(|series, _| !verdict.agreed.contains_key(series));
}

/// The states of a processor add up to 100 %.
fn usages_add_up(ours: &BTreeMap<Series, f64>) {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for (series, value) in ours.iter().filter(|(series, _)| series.starts_with("cpu_usage_")) {
        *sums.entry(series.split_once('{').unwrap().1).or_default() += value;
    }
    assert!(!sums.is_empty());
    for (cpu, sum) in sums {
        assert!((sum - 100.0).abs() < 2.0, "{cpu}: {sum} %");
    }
}

#[test]
fn once_has_every_series_of_telegraf_with_values_that_agree() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("once.toml");
    std::fs::write(&config, OURS).unwrap();
    let _busy = Busy::start(folder.path());
    let telegraf = Telegraf::start(folder.path());
    telegraf.wait_for_gathers(0);
    let mut verdict = Verdict::default();
    let mut rounds = 0;
    while rounds < ROUNDS {
        rounds += 1;
        let start = now_ms();
        let ours = once(&config, folder.path());
        let end = now_ms();
        usages_add_up(&ours);
        telegraf.wait_for_gathers(end + 1000);
        compare(&mut verdict, &ours, &telegraf.samples(), (start, end));
        if verdict.disagreed.is_empty() && verdict.missing.is_empty() {
            break;
        }
    }
    // A mount or a device may have come or gone; what Telegraf has all the time, we have.
    let agreed = &verdict.agreed;
    verdict.missing.retain(|series| !agreed.contains_key(series));
    let names: BTreeSet<&str> = agreed.keys().map(|series| name_of(series)).collect();
    let (strict, moving) = strictness(agreed);
    eprintln!(
        "once beside Telegraf: {} series of {} names agree after {rounds} rounds; of {moving} that are not zero {strict} would \
         not agree if they were 1000 times as large or as small",
        agreed.len(),
        names.len()
    );
    assert!(verdict.missing.is_empty(), "Telegraf has, and we have not: {:#?}", verdict.missing);
    assert!(
        verdict.disagreed.is_empty(),
        "(ours, Telegraf before, after): {:#?}",
        verdict.disagreed
    );
    listed_names_are_there(&names);
    assert!(strict * 10 >= moving * 9, "{strict} of {moving}");
}

/// How many of the values that are not zero would not agree if their unit were wrong; and how many are not zero. Left out:
/// usages, which add up to 100 and whose seconds are counters beside them, and small numbers of things.
fn strictness(agreed: &BTreeMap<Series, (f64, f64, f64)>) -> (usize, usize) {
    let (mut strict, mut moving) = (0, 0);
    for (series, &(ours, before, after)) in agreed {
        let kind = kind(name_of(series));
        if ours == 0.0 || kind == Kind::Usage || kind == Kind::Number && ours < 20.0 {
            continue;
        }
        moving += 1;
        let is = |value| agrees(kind, value, before, after);
        if is(ours * 1000.0) || is(ours / 1000.0) {
            eprintln!("  too loose here: {series} = {ours} between {before} and {after}");
        } else {
            strict += 1;
        }
    }
    (strict, moving)
}

/// Telegraf itself ran with all ten inputs.
fn listed_names_are_there(names: &BTreeSet<&str>) {
    for family in [
        "cpu_",
        "mem_",
        "swap_",
        "disk_",
        "diskio_",
        "net_",
        "netstat_",
        "system_",
        "processes_",
        "kernel_",
    ] {
        assert!(names.iter().any(|name| name.starts_with(family)), "Telegraf has no {family}");
    }
}

#[test]
fn a_wrong_unit_does_not_agree() {
    for (name, value) in [
        ("mem_total", 25e9),
        ("mem_free", 18e9),
        ("mem_dirty", 60e6),
        ("disk_used_percent", 35.0),
        ("disk_free", 6e10),
        ("diskio_read_time", 29e5),
        ("diskio_io_await", 0.8),
        ("net_bytes_recv", 2.6e9),
        ("system_uptime", 4602.0),
        ("system_load1", 12.7),
        ("processes_total", 120.0),
        ("netstat_tcp_established", 120.0),
        ("kernel_boot_time", 1_795_403_248.0),
        ("cpu_usage_idle", 95.0),
    ] {
        let kind = kind(name);
        assert!(agrees(kind, value, value, value), "{name}");
        assert!(!agrees(kind, value * 1000.0, value, value), "{name} times 1000");
        assert!(!agrees(kind, value / 1000.0, value, value), "{name} by 1000");
    }
}
