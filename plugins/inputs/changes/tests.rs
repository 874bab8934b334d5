//! The promises of `inputs.changes`, on a host made of a few files in a temporary folder.

use std::cell::Cell;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sentinel_contract::history::NoHistory;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{Context, Gather, Labels, Log, Now, Plugin};
use tempfile::TempDir;

use super::clock::Clock;
use super::disks::{Disks, Usage};
use super::news::News;
use super::proc;
use super::roots::Roots;
use super::{Changes, Config, Subject, Watch, collectors};

/// Milliseconds of the first look.
const T0: i64 = 1_773_144_000_000;
/// Seconds of boot, by /proc/stat.
const BOOT: i64 = 1_773_000_000;

/// A host with its own trees.
struct Host(TempDir);

impl Host {
    fn new() -> Self {
        let host = Host(tempfile::tempdir().unwrap());
        host.forks(1000);
        host
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    /// A process: its name, its start and its use of the processor in ticks, its pages.
    fn process(&self, pid: u32, comm: &str, start: u64, ticks: u64, pages: u64) {
        let line = format!(
            "{pid} ({comm}) S 1 1 1 0 -1 4 1 0 0 0 {ticks} 0 0 0 20 0 1 0 {start} 1000 {pages} 18446744073709551615\n"
        );
        self.write(&format!("proc/{pid}/stat"), &line);
    }

    fn forks(&self, forks: u64) {
        self.write("proc/stat", &format!("cpu 1 2 3\nbtime {BOOT}\nprocesses {forks}\n"));
    }

    /// A unit with its processes.
    fn unit(&self, path: &str, pids: &[u32]) {
        let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
        self.write(
            &format!("sys/fs/cgroup/system.slice/{path}/cgroup.procs"),
            &(pids.join("\n") + "\n"),
        );
    }

    fn roots(&self) -> Roots {
        let root = self.0.path().to_str().unwrap().to_owned();
        Roots::from(move |name| (name == "HOST_ROOT").then(|| root.clone()))
    }

    fn context(&self) -> Context {
        Context {
            alias: "changes".into(),
            host: "vm".into(),
            tags: Arc::new(Labels::new([("host", "vm")])),
            interval: Duration::from_secs(10),
            state_dir: self.0.path().to_path_buf(),
            history: Arc::new(NoHistory),
            trainer: Trainer::immediate(),
            desk: sentinel_contract::Desk::default(),
        }
    }

    /// The watcher of one subject, with these options.
    fn watch(&self, subject: Subject, options: &str) -> Looker {
        let mut config: Config = toml::from_str(options).unwrap();
        config.watch = vec![subject];
        let mut all = collectors(&config, &self.context(), &self.roots()).unwrap();
        Looker(all.remove(0).gather, Instant::now())
    }
}

/// A watcher, and its beginning.
struct Looker(Box<dyn Gather>, Instant);

impl Looker {
    /// What is told at a second.
    fn logs(&mut self, second: i64) -> Vec<Log> {
        let now = Now {
            time_ms: T0 + second * 1000,
            instant: self.1 + Duration::from_secs(second as u64),
        };
        let (mut metrics, mut logs) = (Vec::new(), Vec::new());
        self.0.gather(now, &mut metrics).unwrap();
        self.0.logs(&mut logs);
        assert!(metrics.is_empty());
        logs
    }

    fn told(&mut self, second: i64) -> Vec<String> {
        self.logs(second).iter().map(|log| String::from_utf8(log.body.to_vec()).unwrap()).collect()
    }
}

#[test]
fn the_sample_is_the_configuration() {
    let uncomment = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n";
    let read = |text: String| -> Config {
        let document: toml::Table = text.parse().unwrap();
        document["inputs"]["changes"][0].clone().try_into().unwrap()
    };
    assert_eq!(read(Changes::SAMPLE.to_owned()), Config::default());
    assert_eq!(read(Changes::SAMPLE.lines().map(uncomment).collect()), Config::default());
    let error = toml::from_str::<Config>("no_such = 1").unwrap_err().to_string();
    for option in error.split('`').skip(3).step_by(2) {
        assert!(Changes::SAMPLE.contains(&format!("# {option} = ")), "{option}");
    }
}

#[test]
fn values_that_cannot_be_used_are_refused() {
    let host = Host::new();
    for (options, option) in [
        ("watch = []", "watch"),
        ("watch = [\"oom\", \"oom\"]", "watch"),
        ("files = [\"etc\"]", "files"),
        ("files_interval = \"1s\"", "files_interval"),
        ("disk_full = 0.0", "disk_full"),
        ("clock_step = \"0s\"", "clock_step"),
        ("max_events = 0", "max_events"),
    ] {
        let config: Config = toml::from_str(options).unwrap();
        let errors = collectors(&config, &host.context(), &host.roots()).err().unwrap();
        assert!(errors[0].to_string().starts_with(option), "{options}: {errors:?}");
    }
}

#[test]
fn a_host_without_anything_to_read_is_no_error_and_says_nothing() {
    let host = Host(tempfile::tempdir().unwrap());
    use Subject::{Clock, Disks, Files, Oom, Packages, Ports, Processes, Units};
    for subject in [Units, Oom, Processes, Packages, Files, Clock, Disks, Ports] {
        let mut watch = host.watch(subject, "");
        for second in [0, 1, 10, 70, 200] {
            assert!(watch.logs(second).is_empty(), "{subject:?}");
        }
    }
}

#[test]
fn units_that_start_stop_and_restart_are_told_with_their_time() {
    let host = Host::new();
    host.process(10, "nginx", 500, 0, 1);
    host.process(11, "worker", 600, 0, 1);
    host.unit("nginx.service", &[10, 11]);
    host.unit("cron.service", &[]);
    host.unit("system-getty.slice/getty@tty1.service", &[]);
    host.write("sys/fs/cgroup/system.slice/not-a-unit/x", "");
    let mut watch = host.watch(Subject::Units, "");
    assert!(watch.told(0).is_empty(), "the first look only learns");
    // A worker comes and goes: nothing. A new unit, with a process of a known start.
    host.process(12, "worker", 90_000, 0, 1);
    host.unit("nginx.service", &[10, 12]);
    host.process(20, "app", 14_400_050, 0, 1);
    host.unit("app.service", &[20]);
    let logs = watch.logs(10);
    assert_eq!(logs.len(), 1);
    let log = &logs[0];
    assert_eq!(log.body, "app.service started");
    assert_eq!(log.time_ns, (BOOT * 1000 + 144_000_500) * 1_000_000);
    let labels: Vec<(&str, &str)> = log.stream.iter().collect();
    assert_eq!(labels, [("host", "vm"), ("job", "changes"), ("kind", "unit")]);
    let fields = ["kind", "subject", "detail"].map(|name| log.text(name).unwrap());
    assert_eq!(fields, [&b"unit"[..], b"app.service", b"started"]);
    // The main process is another one: the oldest is younger than before.
    host.process(30, "nginx", 14_410_000, 0, 1);
    host.unit("nginx.service", &[30]);
    assert_eq!(watch.told(20), ["nginx.service restarted"]);
    // The folder was made anew.
    host.write("sys/fs/cgroup/system.slice/keep.service/cgroup.procs", "");
    watch.told(30);
    host.remove("sys/fs/cgroup/system.slice/cron.service");
    host.unit("other-so-that-the-inode-is-not-used-again", &[]);
    host.unit("cron.service", &[]);
    host.remove("sys/fs/cgroup/system.slice/system-getty.slice");
    assert_eq!(watch.told(40), ["cron.service restarted", "getty@tty1.service stopped"]);
    assert!(watch.told(50).is_empty());
}

#[test]
fn a_unit_that_restarts_all_the_time_is_told_four_times_an_hour() {
    let host = Host::new();
    host.unit("calm.service", &[]);
    let mut watch = host.watch(Subject::Units, "");
    let mut told = Vec::new();
    for turn in 0..30 {
        host.unit("loop.service", &[]);
        told.extend(watch.told(turn * 20));
        host.remove("sys/fs/cgroup/system.slice/loop.service");
        told.extend(watch.told(turn * 20 + 10));
    }
    assert_eq!(told.len(), 4, "{told:?}");
    assert!(told[3].ends_with("is only counted"), "{told:?}");
    host.unit("other.service", &[]);
    assert_eq!(watch.told(700), ["other.service started"]);
    let later = watch.told(4300);
    assert_eq!(later, ["55 more changes (unit) in the last hour were not told one by one"]);
}

#[test]
fn a_kind_is_told_max_events_times_an_hour() {
    let host = Host::new();
    host.unit("first.service", &[]);
    let mut watch = host.watch(Subject::Units, "max_events = 7");
    watch.told(0);
    for unit in 0..50 {
        host.unit(&format!("unit{unit}.service"), &[]);
    }
    assert_eq!(watch.told(10).len(), 7);
}

#[test]
fn a_process_killed_for_lack_of_memory_is_told_with_its_unit() {
    let host = Host::new();
    host.write("proc/vmstat", "nr_free_pages 5\noom_kill 2\n");
    host.write("sys/fs/cgroup/system.slice/db.service/memory.events", "low 0\noom 1\noom_kill 1\n");
    host.write("sys/fs/cgroup/system.slice/web.service/memory.events", "oom_kill 0\n");
    let mut watch = host.watch(Subject::Oom, "");
    assert!(watch.told(0).is_empty());
    assert!(watch.told(10).is_empty());
    host.write("proc/vmstat", "nr_free_pages 5\noom_kill 3\n");
    host.write("sys/fs/cgroup/system.slice/db.service/memory.events", "low 0\noom 1\noom_kill 2\n");
    assert_eq!(watch.told(20), ["the kernel killed 1 process of db.service for lack of memory"]);
    host.write("proc/vmstat", "oom_kill 5\n");
    assert_eq!(watch.told(30), ["the kernel killed 2 processes for lack of memory"]);
    host.write("proc/vmstat", "oom_kill 0\n");
    assert!(watch.told(40).is_empty(), "a counter that was set back is no kill");
}

#[test]
fn processes_that_grow_in_memory_are_told_once_and_again_when_they_grow_on() {
    let host = Host::new();
    let mebibyte = (1 << 20) / 4096;
    host.process(1, "init", 1, 0, 10);
    host.process(2, "big", 2, 0, 3000 * mebibyte);
    host.process(3, "leak", 3, 0, 100 * mebibyte);
    let mut watch = host.watch(Subject::Processes, "memory_growth = \"200MiB\"");
    let mut told = Vec::new();
    for minute in 0..20 {
        told.extend(watch.told(minute * 60));
        host.process(3, "leak", 3, 0, (100 + minute as u64 * 60) * mebibyte);
        host.process(2, "big", 2, 0, (3000 + minute as u64 % 2 * 250) * mebibyte); // a twelfth more is not much
    }
    assert_eq!(told[0], "leak grew by 240 MiB to 340 MiB within 5 minutes");
    assert!((2..=4).contains(&told.len()), "{told:?}");
    assert!(told.iter().all(|told| told.starts_with("leak")), "{told:?}");
}

#[test]
fn a_process_that_begins_to_use_the_processor_is_told_and_one_that_always_did_is_not() {
    let host = Host::new();
    let mut watch = host.watch(Subject::Processes, "");
    let mut told = Vec::new();
    for look in 0..40_i64 {
        host.process(5, "always", 5, look as u64 * 1000, 10);
        host.process(6, "hog", 6, (look as u64).saturating_sub(20) * 1500, 10);
        told.extend(watch.told(look * 10));
    }
    assert_eq!(told, ["hog uses 1.5 processors (usual 0.0)"]);
}

#[test]
fn a_storm_of_new_processes_is_told_with_who_makes_them() {
    let host = Host::new();
    host.process(1, "init", 1, 0, 10);
    let mut watch = host.watch(Subject::Processes, "");
    for look in 0..6_u64 {
        host.forks(1000 + look * 30);
        assert!(watch.told(look as i64 * 10).is_empty());
    }
    host.forks(1150 + 5000);
    for pid in 100..140 {
        host.process(pid, "bomb", 1000 + u64::from(pid), 0, 1);
    }
    assert_eq!(watch.told(60), ["500 new processes a second (usual 3), 40 of them bomb"]);
    host.forks(1150 + 10_000);
    for pid in 140..340 {
        host.process(pid, "bomb", 1000 + u64::from(pid), 0, 400); // which they share
    }
    assert_eq!(watch.told(70), ["there are 240 processes bomb, 240 more than before"]);
    assert!(watch.told(80).is_empty());
}

#[test]
fn the_name_of_a_process_may_hold_anything() {
    let stat =
        proc::stat(b"7 (a) S 1 (b) R 1 1 1 0 -1 4 1 0 0 0 30 12 0 0 20 0 1 0 99 1000 55 1 1\n")
            .unwrap();
    assert_eq!(
        (stat.comm.as_str(), stat.cpu_ticks, stat.start_ticks, stat.rss_pages),
        ("a) S 1 (b", 42, 99, 55)
    );
    for line in [
        &b""[..],
        b"7",
        b"7 (a",
        b"7 )a( S",
        b"7 (a) S 1 2",
        b"7 (\xff) R 1 1 1 0 -1 4 1 0 0 0 x 12",
    ] {
        assert_eq!(proc::stat(line), None);
    }
}

#[test]
fn packages_are_told_from_dpkgs_log_and_its_rotation_is_no_news() {
    let host = Host::new();
    host.write("var/log/dpkg.log", "2026-01-30 12:00:00 install old:amd64 <none> 1\n");
    host.write("var/lib/dpkg/status", "");
    let mut watch = host.watch(Subject::Packages, "");
    assert!(watch.told(0).is_empty());
    let mut log = fs::read_to_string(host.path("var/log/dpkg.log")).unwrap();
    log += "2026-01-31 12:30:05 startup archives unpack\n2026-01-31 12:30:05 upgrade nginx:amd64 1.18 1.20\n";
    log += "2026-01-31 12:30:05 status unpacked nginx:amd64 1.20\n2026-01-31 12:30:06 upgrade libc6:amd64 2.1 2.2\n";
    log += "2026-01-31 12:30:06 install jq:amd64 <none> 1.7\n2026-01-31 12:30:07 rem";
    host.write("var/log/dpkg.log", &log);
    host.write("var/lib/dpkg/status", "changed");
    assert_eq!(
        watch.told(10),
        [
            "packages were upgraded: nginx 1.18 to 1.20, libc6 2.1 to 2.2",
            "a package was installed: jq 1.7"
        ]
    );
    log += "ove vim:amd64 9.0 <none>\n";
    host.write("var/log/dpkg.log", &log);
    assert_eq!(watch.told(20), ["a package was removed: vim"]);
    fs::rename(host.path("var/log/dpkg.log"), host.path("var/log/dpkg.log.1")).unwrap();
    assert!(watch.told(30).is_empty());
    host.write("var/log/dpkg.log", "2026-02-01 00:00:01 purge vim:amd64 9.0 <none>\n");
    assert_eq!(watch.told(40), ["a package was removed: vim"]);
    // Rotated between two looks, and the new log is longer already.
    fs::rename(host.path("var/log/dpkg.log"), host.path("var/log/dpkg.log.2")).unwrap();
    let line = "2026-02-02 00:00:01 remove nano:amd64 9.0 <none>\n";
    host.write("var/log/dpkg.log", &(line.to_owned() + &line.replace("nano", "joe")));
    assert_eq!(watch.told(50), ["packages were removed: nano, joe"]);
}

#[test]
fn a_package_database_that_changed_is_told_where_there_is_no_log() {
    let host = Host::new();
    host.write("var/lib/rpm/rpmdb.sqlite", "a");
    let mut watch = host.watch(Subject::Packages, "");
    assert!(watch.told(0).is_empty());
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    fs::File::options()
        .append(true)
        .open(host.path("var/lib/rpm/rpmdb.sqlite"))
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert_eq!(watch.told(10), ["the package database of rpm has changed"]);
    assert!(watch.told(20).is_empty());
}

#[test]
fn files_that_change_are_told_and_many_at_once_are_one_record() {
    let host = Host::new();
    host.write("etc/nginx/nginx.conf", "a");
    host.write("etc/hosts", "a");
    let mut watch = host.watch(Subject::Files, "");
    let at = |path: &str| host.path(path).display().to_string();
    assert!(watch.told(0).is_empty());
    host.write("etc/nginx/nginx.conf", "abc");
    host.write("etc/new.conf", "x");
    host.write("etc/.new.conf.swp", "x");
    host.remove("etc/hosts");
    assert!(watch.told(10).is_empty(), "it is looked at once a minute");
    let wanted = [
        format!("{} was removed", at("etc/hosts")),
        format!("{} was made", at("etc/new.conf")),
        format!("{} was changed", at("etc/nginx/nginx.conf")),
    ];
    assert_eq!(watch.told(60), wanted);
    for file in 0..30 {
        host.write(&format!("etc/many/{file:02}"), "x");
    }
    let told = watch.told(120);
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("30 files were changed: ") && told[0].ends_with("and 25 more"),
        "{told:?}"
    );
    assert!(watch.told(180).is_empty());
}

#[test]
fn a_walk_that_ends_early_says_nothing_wrong() {
    let host = Host::new();
    for file in 0..30 {
        host.write(&format!("etc/{file:02}"), "x");
    }
    let mut watch = host.watch(Subject::Files, "max_files = 20");
    assert!(watch.told(0).is_empty());
    for file in 0..10 {
        host.remove(&format!("etc/{file:02}"));
    }
    assert!(
        watch.told(60).is_empty(),
        "some were not seen before, so none is told as made or removed"
    );
    host.write("etc/15", "changed");
    assert_eq!(watch.told(120).len(), 1);
}

thread_local! {
    static WALL_MS: Cell<i64> = const { Cell::new(0) };
    static USED: Cell<f64> = const { Cell::new(0.0) };
}

/// Looks by hand, for watchers that are given a clock or an answer.
fn look(watch: &mut impl Watch, news: &mut News) -> Vec<String> {
    watch.look(T0, news).unwrap();
    news.learns = false;
    news.logs.drain(..).map(|log| String::from_utf8(log.body.to_vec()).unwrap()).collect()
}

fn news() -> News {
    News::new("test", &Labels::new([("host", "vm")]), 100)
}

#[test]
fn a_step_of_the_clock_is_told_and_drift_is_not() {
    let host = Host::new();
    let kept = host.path("changes.boot_id");
    let mut clock = Clock::new(&host.roots(), || WALL_MS.get(), 1000, kept);
    let mut news = news();
    let mut at = |wall_ms: i64, uptime: &str| {
        WALL_MS.set(wall_ms);
        host.write("proc/uptime", &format!("{uptime} 1.00\n"));
        look(&mut clock, &mut news)
    };
    assert!(at(T0, "100.00").is_empty());
    assert!(at(T0 + 10_005, "110.00").is_empty());
    assert!(
        at(T0 + 3_620_005, "120.00").contains(&"the clock was set forward by 3600.0 s".to_owned())
    );
    assert!(at(T0 + 3_630_005, "130.00").is_empty());
    assert_eq!(at(T0 + 40_000, "140.00"), ["the clock was set back by 3600.0 s"]);
}

#[test]
fn a_restart_of_the_host_is_told_once_and_the_first_start_of_the_agent_is_none() {
    let host = Host::new();
    host.write("proc/sys/kernel/random/boot_id", "one\n");
    assert!(host.watch(Subject::Clock, "").told(0).is_empty());
    assert!(
        host.watch(Subject::Clock, "").told(0).is_empty(),
        "the agent was restarted, not the host"
    );
    host.write("proc/sys/kernel/random/boot_id", "two\n");
    let mut watch = host.watch(Subject::Clock, "");
    let logs = watch.logs(0);
    assert_eq!(logs.len(), 1);
    assert_eq!(
        (&logs[0].body[..], logs[0].time_ns),
        (&b"the host was restarted"[..], BOOT * 1_000_000_000)
    );
    assert!(watch.told(10).is_empty());
    assert!(host.watch(Subject::Clock, "").told(0).is_empty());
}

#[test]
fn a_state_directory_that_cannot_be_written_is_an_error_once() {
    let host = Host::new();
    host.write("proc/sys/kernel/random/boot_id", "one\n");
    let mut clock = Clock::new(&host.roots(), || 0, 1000, host.path("no/such/folder/boot_id"));
    let mut news = news();
    let error = clock.look(T0, &mut news).unwrap_err().to_string();
    assert!(error.starts_with("cannot write"), "{error}");
    clock.look(T0, &mut news).unwrap();
}

fn answer(path: &Path) -> io::Result<Usage> {
    assert!(path.starts_with("/"), "{}", path.display());
    let used_percent = USED.get();
    if used_percent < 0.0 {
        return Err(io::Error::other("gone"));
    }
    Ok(Usage {
        total: 100 << 30,
        free: ((100.0 - used_percent) * f64::from(1 << 30)) as u64,
        used_percent,
    })
}

#[test]
fn a_file_system_that_becomes_full_or_read_only_is_told_once() {
    let host = Host::new();
    let mounts = "/dev/vda1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n/dev/vda1 /bind ext4 rw 0 0\nnas:/x /nas nfs rw 0 0\n";
    host.write("proc/1/mounts", mounts);
    let mut disks = Disks::new(&host.roots(), answer, 90.0);
    let mut news = news();
    let mut at = |used: f64| {
        USED.set(used);
        look(&mut disks, &mut news)
    };
    assert!(at(50.0).is_empty());
    assert_eq!(at(91.5), ["the file system / is 91 % full: 8.5 GiB of 100 GiB are free"]);
    assert!(at(95.0).is_empty());
    assert!(at(89.0).is_empty() && at(90.5).is_empty(), "it was not clearly below the limit");
    assert!(at(-1.0).is_empty(), "no answer is no change");
    assert!(at(80.0).is_empty());
    assert_eq!(at(90.0).len(), 1);
    host.write("proc/1/mounts", &mounts.replace("ext4 rw,relatime", "ext4 ro,relatime"));
    assert_eq!(at(90.0), ["the file system / (/dev/vda1) is now mounted read-only"]);
    assert!(at(90.0).is_empty());
    host.write("proc/1/mounts", "/dev/vdb /mnt/a\\040b\\ ext4 rw 0 0\n\nx\n");
    assert_eq!(at(99.0), ["the file system /mnt/a b\\ is 99 % full: 1.0 GiB of 100 GiB are free"]);
}

#[test]
fn a_file_system_that_is_full_at_the_first_look_is_told() {
    let host = Host::new();
    host.write("proc/1/mounts", "/dev/vda1 / xfs rw 0 0\n");
    let mut disks = Disks::new(&host.roots(), answer, 90.0);
    USED.set(97.0);
    assert_eq!(look(&mut disks, &mut news()).len(), 1);
}

#[test]
fn ports_that_open_and_close_are_told() {
    let host = Host::new();
    let head = "  sl  local_address rem_address   st tx_queue\n";
    let line =
        |port: u16, state: &str| format!("   0: 0100007F:{port:04X} 00000000:0000 {state} 0:0\n");
    host.write("proc/1/net/tcp", &(head.to_owned() + &line(22, "0A")));
    host.write("proc/1/net/tcp6", head);
    let mut watch = host.watch(Subject::Ports, "");
    assert!(watch.told(0).is_empty());
    host.write("proc/1/net/tcp", &(head.to_owned() + &line(22, "0A") + &line(50_000, "01")));
    host.write(
        "proc/1/net/tcp6",
        &(head.to_owned() + "   0: 00000000000000000000000000000000:1F90 00:0 0A x\nbroken\n"),
    );
    assert_eq!(watch.told(10), ["something listens on port 8080/tcp"]);
    host.write("proc/1/net/tcp", head);
    assert_eq!(watch.told(20), ["nothing listens on port 22/tcp any more"]);
}

#[test]
fn this_host_is_read_within_bounds() {
    let context = Host::new();
    let config = Config { files: vec!["/etc".into()], ..Config::default() };
    let roots = Roots::from(|_| None);
    for mut collector in collectors(&config, &context.context(), &roots).unwrap() {
        for second in 0..2 {
            let now = Now { time_ms: T0 + second * 1000, instant: Instant::now() };
            collector.gather.gather(now, &mut Vec::new()).unwrap();
        }
        let mut logs = Vec::new();
        collector.gather.logs(&mut logs);
        assert!(logs.len() < 100, "{}: {logs:?}", collector.name);
    }
}
