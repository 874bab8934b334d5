//! On the host that runs the tests: our readers against the procfs crate's.

use procfs::{Current as _, CurrentSI as _};

use super::super::roots::Roots;
use super::super::{Config, Name, collectors};
use super::{context, gather, values};

/// What a moment between two reads may change.
fn near(name: &str, ours: f64, theirs: f64) {
    let most = (theirs.abs() * 0.05).max(64.0 * 1024.0 * 1024.0);
    assert!((ours - theirs).abs() <= most, "{name}: ours {ours}, procfs {theirs}");
}

fn here(name: Name) -> std::collections::BTreeMap<String, f64> {
    let mut config = Config { collectors: vec![name], ..Config::default() };
    config.cpu.collect_cpu_time = true;
    let mut collector = collectors(config, &context(), Roots::from(|_| None)).unwrap().remove(0);
    values(&gather(&mut *collector.gather, 0))
}

#[test]
fn memory_agrees_with_procfs() {
    let ours = here(Name::Mem);
    let theirs = procfs::Meminfo::current().unwrap();
    assert_eq!(ours["mem_total"], theirs.mem_total as f64);
    near("free", ours["mem_free"], theirs.mem_free as f64);
    near("available", ours["mem_available"], theirs.mem_available.unwrap() as f64);
    let cached = theirs.cached + theirs.s_reclaimable.unwrap();
    near("cached", ours["mem_cached"], cached as f64);
    near("slab", ours["mem_slab"], theirs.slab as f64);
    near("committed", ours["mem_committed_as"], theirs.committed_as as f64);
    assert_eq!(ours["mem_vmalloc_total"], theirs.vmalloc_total as f64);
}

#[test]
fn processor_time_agrees_with_procfs() {
    let ours = here(Name::Cpu);
    let theirs = procfs::KernelStats::current().unwrap();
    let near = |name: &str, theirs: u64| {
        let ours = ours[&format!("cpu_time_{name}{{cpu-total}}")];
        assert!((ours - theirs as f64 / 100.0).abs() < 5.0, "{name}: {ours} {theirs}");
    };
    near("user", theirs.total.user);
    near("nice", theirs.total.nice);
    near("system", theirs.total.system);
    near("idle", theirs.total.idle);
    near("iowait", theirs.total.iowait.unwrap());
    near("steal", theirs.total.steal.unwrap());
    let processors = ours.keys().filter(|key| key.starts_with("cpu_time_user{cpu")).count();
    assert_eq!(processors, theirs.cpu_time.len() + 1);
}

#[test]
fn disks_agree_with_procfs() {
    let ours = here(Name::Diskio);
    for disk in procfs::diskstats().unwrap() {
        let Some(reads) = ours.get(&format!("diskio_reads{{{}}}", disk.name)) else {
            assert_eq!(disk.reads + disk.writes, 0, "{} is missing", disk.name);
            continue;
        };
        let bytes = ours[&format!("diskio_write_bytes{{{}}}", disk.name)];
        near("reads", *reads, disk.reads as f64);
        near("write_bytes", bytes, disk.sectors_written as f64 * 512.0);
    }
}

#[test]
fn interfaces_agree_with_procfs() {
    let ours = here(Name::Net);
    let theirs = procfs::net::dev_status().unwrap();
    for (name, status) in theirs {
        if let Some(bytes) = ours.get(&format!("net_bytes_recv{{{name}}}")) {
            near("recv_bytes", *bytes, status.recv_bytes as f64);
            let drops = ours[&format!("net_drop_out{{{name}}}")];
            near("sent_drop", drops, status.sent_drop as f64);
        }
    }
}

#[test]
fn the_kernel_and_the_load_agree_with_procfs() {
    let ours = here(Name::Kernel);
    let theirs = procfs::KernelStats::current().unwrap();
    assert_eq!(ours["kernel_boot_time"], theirs.btime as f64);
    near("ctxt", ours["kernel_context_switches"], theirs.ctxt as f64);
    near("forks", ours["kernel_processes_forked"], theirs.processes as f64);
    let load = procfs::LoadAverage::current().unwrap();
    let ours = here(Name::System);
    assert!((ours["system_load15"] - f64::from(load.fifteen)).abs() < 0.5);
}

#[test]
fn processes_agree_with_procfs() {
    let ours = here(Name::Processes);
    let theirs = procfs::process::all_processes().unwrap().count() as f64;
    assert!((ours["processes_total"] - theirs).abs() <= theirs.mul_add(0.2, 20.0));
    assert!(ours["processes_total_threads"] >= ours["processes_total"]);
}
