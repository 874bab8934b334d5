//! diskio, net: devices that come and go, counters that begin anew, filters; series are built once.

use std::sync::Arc;

use super::super::series::Devices;
use super::super::{Config, DiskioOptions, Name, NetOptions};
use super::{Host, NET_DEV, gather, values};

fn diskstats(lines: &[&str]) -> String {
    lines.iter().fold(String::new(), |text, line| text + " 8 0 " + line + "\n")
}

#[test]
fn disk_traffic_is_in_bytes_and_its_rates_are_since_the_gather_before() {
    let host = Host::whole();
    let mut diskio = host.collector(Name::Diskio);
    let first = values(&gather(&mut *diskio.gather, 0));
    assert_eq!(first["diskio_read_bytes{vda}"], 80.0 * 512.0);
    assert_eq!(first["diskio_merged_writes{vda}"], 2.0);
    assert!(!first.contains_key("diskio_io_util{vda}"));
    // 4 reads and 6 writes, waiting 30 ms, busy 50 ms of 10 s
    host.write("proc/diskstats", diskstats(&["vda 14 1 80 30 36 2 160 60 0 100 60"]));
    let second = values(&gather(&mut *diskio.gather, 1));
    assert_eq!(second["diskio_io_await{vda}"], 3.0);
    assert_eq!(second["diskio_io_svctm{vda}"], 5.0);
    assert!((second["diskio_io_util{vda}"] - 0.5).abs() < 0.01, "{second:?}");
}

#[test]
fn a_disk_counter_that_begins_anew_gives_no_rates() {
    let host = Host::whole();
    let mut diskio = host.collector(Name::Diskio);
    gather(&mut *diskio.gather, 0);
    host.write("proc/diskstats", diskstats(&["vda 1 1 1 1 1 1 1 1 0 1 1"]));
    assert_eq!(gather(&mut *diskio.gather, 1).len(), 11);
    host.write("proc/diskstats", diskstats(&["vda 1 1 1 1 1 1 1 1 0 1 1"]));
    let idle = values(&gather(&mut *diskio.gather, 2));
    assert_eq!(idle["diskio_io_util{vda}"], 0.0);
    assert!(!idle.contains_key("diskio_io_await{vda}"), "nothing was done, nothing waited");
}

#[test]
fn a_disk_that_is_plugged_in_appears_and_one_that_is_pulled_goes() {
    let host = Host::whole();
    let mut diskio = host.collector(Name::Diskio);
    let (a, b) = ("sda 1 1 1 1 1 1 1 1 0 1 1", "sdb 2 1 1 1 1 1 1 1 0 1 1");
    for (lines, disks) in
        [(vec![a], 1), (vec![b, a], 2), (vec![b], 1), (vec![a, b], 2), (vec![], 0)]
    {
        host.write("proc/diskstats", diskstats(&lines));
        let metrics = gather(&mut *diskio.gather, 0);
        let reads = metrics.iter().filter(|metric| metric.series.name() == "diskio_reads");
        assert_eq!(reads.count(), disks, "{lines:?}");
    }
}

#[test]
fn only_wanted_disks_are_reported_and_idle_ones_are_not() {
    let host = Host::whole();
    let lines = [
        "sda 1 1 1 1 1 1 1 1 0 1 1",
        "nvme0n1 1 1 1 1 1 1 1 1 0 1 1",
        "loop0 0 0 0 0 0 0 0 0 0 0 0",
    ];
    host.write("proc/diskstats", diskstats(&lines));
    let reported = |devices: &[&str]| {
        let diskio = DiskioOptions { devices: devices.iter().map(ToString::to_string).collect() };
        let config = Config { collectors: vec![Name::Diskio], diskio, ..Config::default() };
        gather(&mut *host.build(config).remove(0).gather, 0).len() / 11
    };
    assert_eq!(reported(&["*"]), 2);
    assert_eq!(reported(&["sd*", "loop0"]), 1);
    assert_eq!(reported(&["/dev/nvme*", "/dev/disk/by-id/none"]), 1);
}

#[test]
fn a_disk_has_its_world_wide_name_as_label() {
    let host = Host::whole();
    host.write("sys/block/vda/wwid", "naa.5000\n");
    let values = values(&gather(&mut *host.collector(Name::Diskio).gather, 0));
    assert!(values.contains_key("diskio_reads{vda,naa.5000}"), "{values:?}");
}

#[test]
fn interfaces_that_are_up_are_reported_without_loopback() {
    let host = Host::whole();
    let mut net = host.collector(Name::Net);
    let first = values(&gather(&mut *net.gather, 0));
    assert_eq!(first.len(), 9);
    for (name, value) in [
        ("bytes_recv", 1000.0),
        ("packets_recv", 10.0),
        ("err_in", 1.0),
        ("drop_in", 2.0),
        ("bytes_sent", 2000.0),
        ("packets_sent", 20.0),
        ("err_out", 3.0),
        ("drop_out", 4.0),
        ("speed", -1.0),
    ] {
        assert_eq!(first[&format!("net_{name}{{eth0}}")], value);
    }
    host.write("sys/class/net/eth0/speed", "10000\n");
    assert_eq!(values(&gather(&mut *net.gather, 1))["net_speed{eth0}"], 10000.0);
    host.write("sys/class/net/eth0/flags", "0x1002\n");
    assert!(gather(&mut *net.gather, 2).is_empty(), "it went down");
}

#[test]
fn named_interfaces_are_reported_whatever_their_state() {
    let host = Host::whole();
    host.write("proc/net/dev", format!("{NET_DEV} veth1: 1 1 1 1 0 0 0 0 1 1 1 1 0 0 0 0\n"));
    let reported = |interfaces: &[&str], ignore: &[&str]| {
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let net = NetOptions { interfaces: strings(interfaces), ignore: strings(ignore) };
        let config = Config { collectors: vec![Name::Net], net, ..Config::default() };
        gather(&mut *host.build(config).remove(0).gather, 0).len() / 9
    };
    assert_eq!(reported(&["lo", "veth*"], &[]), 2);
    assert_eq!(reported(&["*"], &["veth*"]), 2);
    assert_eq!(reported(&[], &["eth0"]), 0);
}

#[test]
fn a_series_is_built_once_and_shared_by_all_gathers() {
    let host = Host::whole();
    for name in Config::default().collectors {
        let mut collector = host.collector(name);
        gather(&mut *collector.gather, 0);
        let one = gather(&mut *collector.gather, 1);
        let two = gather(&mut *collector.gather, 2);
        for (one, two) in one.iter().zip(&two) {
            assert!(Arc::ptr_eq(&one.series, &two.series), "{}", one.series.name());
        }
    }
}

#[test]
fn devices_are_found_in_any_order_and_forgotten_when_they_are_gone() {
    let mut devices = Devices::default();
    let mut pass = |keys: &[&str]| -> Vec<Option<usize>> {
        devices.begin();
        let made = keys
            .iter()
            .map(|key| {
                let count = devices.entry(key.as_bytes(), || 0)?;
                *count += 1;
                Some(*count)
            })
            .collect();
        devices.end();
        assert!(devices.len() <= keys.len());
        made
    };
    assert_eq!(pass(&["a", "b", "c"]), [Some(1), Some(1), Some(1)]);
    assert_eq!(pass(&["c", "a", "b"]), [Some(2), Some(2), Some(2)]);
    assert_eq!(pass(&["b", "b", "d"]), [Some(3), None, Some(1)]);
    assert_eq!(pass(&["a", "b"]), [Some(1), Some(4)]);
}
