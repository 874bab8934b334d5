//! What the hot paths of the outputs cost: `cargo run --release -p sentinel-outputs --example encode_cost [FILE]`.
//!
//! Prints samples and lines per CPU-second of this thread, and bytes a sample. FILE holds metrics of a host in
//! Prometheus' text format, for example of `sentinelops once`; without it a host is made up from Telegraf's names.
#![allow(clippy::print_stdout, reason = "it prints its figures")]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use sentinel_contract::{Batch, Events, Kind, Labels, Log, Metric, Piece, Series};
use sentinel_outputs::victoriametrics::encode::Form;
use sentinel_outputs::{loki, victoriametrics};
use sentinel_transport::Body;

const NOW_MS: i64 = 1_795_400_000_000;

fn main() {
    let file = std::env::args().nth(1);
    let host = match &file {
        Some(file) => parse(&std::fs::read_to_string(file).expect("the file can be read")),
        None => made_up(2),
    };
    for (form, zstd) in [("snappy", false), ("zstd", true)] {
        let (rate, bytes) = metrics(&host, zstd, 20_000);
        let count = host.len();
        println!(
            "host, {count} series, one gather a request, {form}: {bytes:.2} bytes a sample, {rate:.2} M samples/CPU-s"
        );
        let (rate, bytes) = metrics(&many(2000), zstd, 500);
        println!(
            "2000 series, one sample each, {form}: {bytes:.2} bytes a sample, {rate:.2} M samples/CPU-s"
        );
    }
    for (what, random) in [("repetitive", false), ("random", true)] {
        let (rate, bytes) = lines(random, 200);
        println!(
            "loki, 5000 {what} lines of 200 B, snappy: {bytes:.1} bytes a line, {rate:.2} M lines/CPU-s"
        );
    }
}

fn piece(events: Events) -> Piece {
    Piece::whole(Arc::new(Batch::new(Arc::from("host"), events)))
}

/// Millions of samples per CPU-second, and bytes a sample.
fn metrics(series: &[(Arc<Series>, f64)], zstd: bool, times: u32) -> (f64, f64) {
    let mut encoder = victoriametrics::encode::Encoder::new(std::time::Duration::from_mins(5));
    let mut body = Body::new();
    let requests = (0..16_u8).map(|nth| {
        let time_ms = NOW_MS + i64::from(nth) * 10_000;
        let sample = |(at, (series, value)): (usize, &(Arc<Series>, f64))| {
            let series = Arc::clone(series);
            let moves = at % 3 == 0 && *value != 0.0;
            let value = if moves { value + f64::from(nth) } else { *value };
            Metric { series, time_ms, value }
        };
        [piece(Events::Metrics(series.iter().enumerate().map(sample).collect()))]
    });
    let requests = requests.collect::<Vec<_>>();
    let mut bytes = 0;
    let begun = cpu();
    for nth in 0..times as usize {
        encoder.encode(&requests[nth % requests.len()]);
        let compressed = if zstd {
            body.zstd(encoder.raw(Form::Zstd))
        } else {
            body.snappy(encoder.raw(Form::Snappy))
        };
        compressed.expect("a request is small");
        encoder.acknowledged(Instant::now());
        bytes += body.as_slice().len();
    }
    let samples = f64::from(times) * series.len() as f64;
    (samples / (cpu() - begun) / 1e6, bytes as f64 / samples)
}

/// Millions of lines per CPU-second, and bytes a line.
fn lines(random: bool, times: u32) -> (f64, f64) {
    let labels = Labels::new([
        ("host", "web-1"),
        ("job", "nginx"),
        ("filename", "/var/log/nginx/access.log"),
    ]);
    let stream = Arc::new(labels);
    let mut seed = 1_u64;
    let mut next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        seed >> 33
    };
    let mut line = |nth: i64| {
        let text = if random {
            (0..200).map(|_| char::from(b'0' + (next() % 75) as u8)).collect::<String>()
        } else {
            let (id, bytes) = (next() % 100_000, next() % 9_999);
            format!(
                "{:<200}",
                format!(
                    "10.0.0.7 - - [23/Nov/2026:03:00:00 +0000] \"GET /shop/item/{id} HTTP/1.1\" 200 {bytes} \"-\" \"Mozilla/5.0 (X11; Linux x86_64)\" id={nth}"
                )
            )
        };
        Log {
            stream: Arc::clone(&stream),
            time_ns: NOW_MS * 1_000_000 + nth,
            body: Bytes::from(text),
            fields: None,
        }
    };
    let pieces = [piece(Events::Logs((0..5000).map(&mut line).collect()))];
    let keep = ["host", "job", "filename"].map(String::from).to_vec();
    let mut encoder = loki::encode::Encoder::new(keep, &[], Arc::from("web-1"));
    let mut body = Body::new();
    let mut bytes = 0;
    let begun = cpu();
    for _ in 0..times {
        encoder.begin(&pieces);
        while encoder.next(&pieces).expect("lines can be encoded") {
            body.snappy(encoder.raw()).expect("a request is small");
        }
        encoder.settled(true, Instant::now());
        bytes += body.as_slice().len();
    }
    let lines = f64::from(times) * 5000.0;
    (lines / (cpu() - begun) / 1e6, bytes as f64 / lines)
}

/// CPU seconds of this process, from the kernel's clock ticks.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").expect("/proc is mounted");
    let nanos = stat.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    nanos.expect("schedstat begins with nanoseconds on the CPU") / 1e9
}

fn many(count: usize) -> Vec<(Arc<Series>, f64)> {
    let series = |nth: usize| {
        let (cpu, name) = (format!("cpu{}", nth / 10), format!("cpu_usage_{}", nth % 10));
        let labels = [("cpu", cpu.as_str()), ("host", "web-1.example.org"), ("env", "prod")];
        (Series::new(name, Kind::Gauge, labels), (nth as f64).sqrt())
    };
    (0..count).map(series).collect()
}

fn parse(text: &str) -> Vec<(Arc<Series>, f64)> {
    let line = |line: &str| {
        let (head, value) = line.rsplit_once(' ')?;
        let (name, labels) = head.split_once('{').unwrap_or((head, ""));
        let labels = labels.trim_end_matches('}').split("\",").filter_map(|pair| {
            let (name, value) = pair.split_once("=\"")?;
            Some((name, value.trim_end_matches('"')))
        });
        Some((Series::new(name, Kind::Gauge, labels), value.parse().ok()?))
    };
    text.lines().filter(|line| !line.starts_with('#')).filter_map(line).collect()
}

/// A host of Telegraf's names: percentages with all their digits, counters, gauges, and the zeros that most are.
fn made_up(cpus: usize) -> Vec<(Arc<Series>, f64)> {
    let host = ("host", "web-1");
    let mut all = Vec::new();
    let mut seed = 7_u64;
    let mut next = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 11) as f64 / (1_u64 << 53) as f64
    };
    let mut add = |measurement: &str, fields: &str, labels: &[(&str, &str)]| {
        for field in fields.split(' ') {
            let (field, kind) = field.split_once(':').expect("a field has a kind");
            let value = match kind {
                "0" => 0.0,
                "%" => next() * 100.0,
                "n" => (next() * 1e6).floor(),
                _ => (next() * 8e9).floor(),
            };
            let labels = labels.iter().copied().chain([host]);
            all.push((Series::new(format!("{measurement}_{field}"), Kind::Gauge, labels), value));
        }
    };
    let cpu = "usage_guest:0 usage_guest_nice:0 usage_idle:% usage_iowait:% usage_irq:0 usage_nice:0 usage_softirq:% usage_steal:% usage_system:% usage_user:%";
    for nth in 0..cpus {
        add("cpu", cpu, &[("cpu", &format!("cpu{nth}"))]);
    }
    add("cpu", cpu, &[("cpu", "cpu-total")]);
    add(
        "mem",
        "active:b available:b available_percent:% buffered:b cached:b commit_limit:b committed_as:b dirty:n free:b high_free:0 high_total:0 huge_page_size:n huge_pages_free:0 huge_pages_total:0 inactive:b low_free:0 low_total:0 mapped:b page_tables:n shared:n slab:b sreclaimable:b sunreclaim:b swap_cached:0 swap_free:0 swap_total:0 total:b used:b used_percent:% vmalloc_chunk:0 vmalloc_total:b vmalloc_used:n write_back:0 write_back_tmp:0",
        &[],
    );
    add("swap", "free:0 in:0 out:0 total:0 used:0 used_percent:0", &[]);
    for (device, path) in [("vda1", "/"), ("vda15", "/boot/efi"), ("vdb", "/var/lib")] {
        add(
            "disk",
            "free:b inodes_free:n inodes_total:n inodes_used:n inodes_used_percent:% total:b used:b used_percent:%",
            &[("device", device), ("fstype", "ext4"), ("mode", "rw"), ("path", path)],
        );
    }
    for name in ["vda", "vda1", "vda15", "vdb"] {
        add(
            "diskio",
            "io_await:% io_svctm:% io_time:n io_util:% iops_in_progress:0 merged_reads:n merged_writes:n read_bytes:b read_time:n reads:n weighted_io_time:n write_bytes:b write_time:n writes:n",
            &[("name", name)],
        );
    }
    for interface in ["eth0", "lo"] {
        add(
            "net",
            "bytes_recv:b bytes_sent:b drop_in:0 drop_out:0 err_in:0 err_out:0 packets_recv:n packets_sent:n speed:n",
            &[("interface", interface)],
        );
    }
    add(
        "netstat",
        "tcp_close:0 tcp_close_wait:0 tcp_closing:0 tcp_established:n tcp_fin_wait1:0 tcp_fin_wait2:0 tcp_last_ack:0 tcp_listen:n tcp_none:n tcp_syn_recv:0 tcp_syn_sent:0 tcp_time_wait:n udp_socket:n",
        &[],
    );
    add(
        "system",
        "load1:% load15:% load5:% n_cpus:n n_physical_cpus:n n_unique_users:0 n_users:0 uptime:n",
        &[],
    );
    add(
        "processes",
        "blocked:0 dead:0 idle:n paging:0 running:n sleeping:n stopped:0 total:n total_threads:n unknown:0 zombies:0",
        &[],
    );
    add(
        "kernel",
        "boot_time:b context_switches:b entropy_avail:n interrupts:b processes_forked:n",
        &[],
    );
    all
}
