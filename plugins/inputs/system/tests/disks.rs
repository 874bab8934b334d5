//! disk: mounts, filters, prefixes, labels, and file systems that do not answer.

use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::disk::{self, Disk, Options};
use super::super::roots::Roots;
use super::super::usage::{Ask, Usage};
use super::{Host, gather, values};

const LONG: Duration = Duration::from_secs(60);

fn usage() -> Usage {
    Usage { total: 1000, free: 300, used: 600, inodes_total: 50, inodes_free: 40 }
}

/// Answers for every path.
fn full() -> Ask {
    Arc::new(|_: &Path| Ok(usage()))
}

/// Paths and modes that are reported, sorted.
fn reported(host: &Host, options: Options) -> Vec<String> {
    let mut disk = Disk::asking(host.common(), options, full(), LONG);
    let metrics = gather(&mut disk, 0);
    let totals = metrics.iter().filter(|metric| metric.series.name() == "disk_total");
    let label = |metric: &sentinel_contract::Metric, name| {
        metric.series.labels().get(name).unwrap_or("-").to_owned()
    };
    let mut paths: Vec<String> = totals
        .map(|metric| format!("{} {}", label(metric, "path"), label(metric, "device")))
        .collect();
    paths.sort();
    paths
}

const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
28 27 0:25 / /run ro,nosuid - tmpfs tmpfs rw
29 27 8:2 / /my\\040data ro,noatime shared:1 - xfs /dev/sdb rw
30 27 8:1 /srv /bound rw - ext4 /dev/sda1 rw
31 27 0:40 / /auto rw - autofs systemd-1 rw
32 27 8:1 / / rw,noexec - ext4 /dev/sda1 rw
this is no mount
";

#[test]
fn percentages_are_of_what_users_can_have() {
    let values = disk::values(&usage());
    assert_eq!(values[..4], [1000.0, 300.0, 600.0, 600.0 / 9.0]);
    assert_eq!(values[4..], [50.0, 40.0, 10.0, 20.0]);
    let dynamic = Usage { inodes_total: 0, inodes_free: 0, ..usage() };
    assert_eq!(disk::values(&dynamic)[7], 0.0, "btrfs has no fixed number of inodes");
}

#[test]
fn mounts_are_filtered_by_type_options_and_place() {
    let host = Host::empty();
    host.write("proc/self/mountinfo", MOUNTS);
    let all = ["/ sda1", "/bound sda1", "/my data sdb"];
    assert_eq!(reported(&host, Options::default()), all, "a mount over itself is one series");
    let ignore =
        |option: &str| Options { ignore_mount_opts: vec![option.to_owned()], ..Options::default() };
    assert_eq!(reported(&host, ignore("bind")), ["/ sda1", "/my data sdb"]);
    assert_eq!(reported(&host, ignore("ro")), ["/ sda1", "/bound sda1"]);
    let only = Options { mount_points: vec!["/my data".to_owned()], ..Options::default() };
    assert_eq!(reported(&host, only), ["/my data sdb"]);
    let fewer = Options { ignore_fs: vec!["ext4".to_owned()], ..Options::default() };
    assert_eq!(reported(&host, fewer), ["/my data sdb", "/run tmpfs"]);
}

#[test]
fn the_mode_is_the_mounts_own() {
    let host = Host::empty();
    host.write("proc/self/mountinfo", MOUNTS);
    let mut disk = Disk::asking(host.common(), Options::default(), full(), LONG);
    let values = values(&gather(&mut disk, 0));
    assert!(values.contains_key("disk_total{sdb,xfs,ro,/my data}"), "{values:?}");
    assert!(values.contains_key("disk_total{sda1,ext4,rw,/}"));
}

#[test]
fn a_new_mount_appears_and_an_unmounted_one_goes() {
    let host = Host::empty();
    let root = "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n";
    host.write("proc/1/mountinfo", root);
    let mut disk = Disk::asking(host.common(), Options::default(), full(), LONG);
    let first = gather(&mut disk, 0);
    host.write("proc/1/mountinfo", format!("{root}28 1 8:2 / /mnt rw - ext4 /dev/sdb rw\n"));
    let second = gather(&mut disk, 1);
    assert_eq!((first.len(), second.len()), (8, 16));
    assert!(Arc::ptr_eq(&first[0].series, &second[0].series), "what stayed keeps its series");
    host.write("proc/1/mountinfo", root);
    assert_eq!(gather(&mut disk, 2).len(), 8);
}

#[test]
fn below_a_mount_prefix_the_hosts_own_paths_are_reported() {
    let host = Host::empty();
    host.write(
        "proc/1/mountinfo",
        "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n28 1 8:2 / /data rw - ext4 /dev/sdb rw\n\
         29 1 8:2 / /hostfs/data rw - ext4 /dev/sdb rw\n",
    );
    let mut common = host.common();
    let roots = Roots { mount_prefix: "/hostfs".to_owned(), ..host.roots() };
    common.roots = Arc::new(roots);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let ask: Ask = Arc::new(move |path: &Path| {
        seen.lock().unwrap().push(path.to_owned());
        Ok(usage())
    });
    let mut disk = Disk::asking(common, Options::default(), ask, LONG);
    let values = values(&gather(&mut disk, 0));
    assert!(values.contains_key("disk_total{sda1,ext4,rw,/}"), "{values:?}");
    assert!(values.contains_key("disk_total{sdb,ext4,rw,/data}"));
    assert_eq!(values.len(), 16);
    assert_eq!(*asked.lock().unwrap(), [Path::new("/hostfs/"), Path::new("/hostfs/data")]);
}

#[test]
fn device_names_and_labels_are_resolved() {
    let host = Host::empty();
    let link = |path: &str, target: &str| {
        let path = host.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(target, path).unwrap();
    };
    link("sys/dev/block/8:3", "../../block/sda/sda3");
    link("dev/mapper/vg-root", "../dm-1");
    host.write("dev/dm-1", "");
    // Not a node of /dev: what lies there is not asked for a label.
    let elsewhere = host.0.path().join("elsewhere");
    host.write("elsewhere/dm/name", "wrong\n");
    let more = format!("29 1 0:44 / /e rw - ext4 {} rw\n", elsewhere.display());
    host.write("sys/block/sda3/dm/name", "rootlabel\n");
    let mounts = "27 1 8:3 / / rw - ext4 /dev/root rw\n\
        28 1 253:0 / /d rw - ext4 /dev/mapper/vg-lv rw\n\
        30 1 253:1 / /r rw - ext4 /dev/mapper/vg-root rw\n";
    host.write("proc/1/mountinfo", mounts.to_owned() + &more);
    let values = {
        let mut disk = Disk::asking(host.common(), Options::default(), full(), LONG);
        values(&gather(&mut disk, 0))
    };
    assert!(values.contains_key("disk_total{sda3,ext4,rootlabel,rw,/}"), "{values:?}");
    assert!(values.contains_key("disk_total{mapper/vg-lv,ext4,rw,/d}"), "no such link: as it is");
    assert!(values.contains_key("disk_total{dm-1,ext4,rw,/r}"), "{values:?}");
    let outside = format!("disk_total{{{},ext4,rw,/e}}", elsewhere.display());
    assert!(values.contains_key(&outside), "{values:?}");
}

#[test]
fn a_file_system_without_blocks_or_with_an_error_is_left_out_and_the_others_are_not() {
    let host = Host::empty();
    host.write(
        "proc/1/mountinfo",
        "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n28 1 8:2 / /none rw - ext4 /dev/sdb rw\n\
         29 1 8:3 / /bad rw - ext4 /dev/sdc rw\n",
    );
    let ask: Ask = Arc::new(|path: &Path| match path.to_str().unwrap() {
        "/none" => Ok(Usage { total: 0, ..usage() }),
        "/bad" => Err(io::Error::other("as asked")),
        _ => Ok(usage()),
    });
    let mut disk = Disk::asking(host.common(), Options::default(), ask, LONG);
    assert_eq!(gather(&mut disk, 0).len(), 8);
}

#[test]
fn a_hung_network_mount_is_asked_once_and_holds_up_nobody() {
    let host = Host::empty();
    host.write(
        "proc/1/mountinfo",
        "27 1 8:1 / / rw - ext4 /dev/sda1 rw\n28 1 0:50 / /nfs rw - nfs4 server:/x rw\n",
    );
    let (release, hung) = sync_channel::<()>(0);
    let hung = Mutex::new(hung);
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    let ask: Ask = Arc::new(move |path: &Path| {
        if path == Path::new("/nfs") {
            counter.fetch_add(1, Ordering::SeqCst);
            hung.lock().unwrap().recv().unwrap();
        }
        Ok(usage())
    });
    let mut disk = Disk::asking(host.common(), Options::default(), ask, Duration::from_millis(20));
    for number in 0..3 {
        let values = values(&gather(&mut disk, number));
        assert_eq!(values.len(), 8, "only the local one: {values:?}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    release.send(()).unwrap();
    let mut number = 3;
    while gather(&mut disk, number).len() < 16 {
        number += 1; // its answer comes with a later gather
        assert!(number < 1000);
    }
}

#[test]
fn a_healthy_network_mount_is_reported_in_the_same_gather() {
    let host = Host::empty();
    host.write("proc/1/mountinfo", "28 1 0:50 / /nfs rw - nfs4 server:/x rw\n");
    let mut disk = Disk::asking(host.common(), Options::default(), full(), LONG);
    let values = values(&gather(&mut disk, 0));
    assert_eq!(values["disk_used{server:/x,nfs4,rw,/nfs}"], 600.0);
}
