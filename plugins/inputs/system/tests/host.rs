//! cpu, mem, swap, kernel, pressure, processes, netstat, system, nstat, temp, procstat: values, resets, absent files.

use super::super::{Config, CpuOptions, MemOptions, Name, netstat, nstat};
use super::{Host, STAT, gather, try_gather, values};

fn close(values: &std::collections::BTreeMap<String, f64>, name: &str, expected: f64) {
    let value = values.get(name).unwrap_or_else(|| panic!("no {name} in {values:?}"));
    assert!((value - expected).abs() < 1e-9, "{name} is {value}, not {expected}");
}

#[test]
fn cpu_use_is_the_share_of_the_ticks_since_the_gather_before_without_guests() {
    let host = Host::whole();
    let mut cpu = host.collector(Name::Cpu);
    assert!(gather(&mut *cpu.gather, 0).is_empty(), "a percentage needs two samples");
    host.write("proc/stat", "cpu  150 20 60 810 30 10 5 10 60 6\ncpu0 50 5 25 400 10 5 5 0 20 4\n");
    let metrics = gather(&mut *cpu.gather, 1);
    assert_eq!(metrics.len(), 10, "cpu0 did not tick, cpu1 is gone");
    let values = values(&metrics);
    // 95 ticks: user 50 of which guest 20, nice 10 of which guest 2, system 10, idle 10, iowait 10, irq 5
    for (field, ticks) in [
        ("user", 30.0),
        ("nice", 8.0),
        ("system", 10.0),
        ("idle", 10.0),
        ("iowait", 10.0),
        ("irq", 5.0),
        ("softirq", 0.0),
        ("steal", 0.0),
        ("guest", 20.0),
        ("guest_nice", 2.0),
    ] {
        close(&values, &format!("cpu_usage_{field}{{cpu-total}}"), 100.0 * ticks / 95.0);
    }
}

#[test]
fn cpu_counters_that_begin_anew_give_no_percentage_and_the_next_gather_does() {
    let host = Host::whole();
    let mut cpu = host.collector(Name::Cpu);
    gather(&mut *cpu.gather, 0);
    host.write("proc/stat", "cpu  1 0 0 1 0 0 0 0 0 0\n");
    assert!(gather(&mut *cpu.gather, 1).is_empty());
    host.write("proc/stat", "cpu  2 0 0 2 0 0 0 0 0 0\n");
    let values = values(&gather(&mut *cpu.gather, 2));
    close(&values, "cpu_usage_user{cpu-total}", 50.0);
}

#[test]
fn iowait_that_steps_back_is_nought_not_negative() {
    let host = Host::whole();
    let mut cpu = host.collector(Name::Cpu);
    gather(&mut *cpu.gather, 0);
    host.write("proc/stat", "cpu  200 10 50 800 19 5 5 10 40 4\n");
    close(&values(&gather(&mut *cpu.gather, 1)), "cpu_usage_iowait{cpu-total}", 0.0);
}

#[test]
fn cpu_time_and_active_are_there_when_asked_for() {
    let host = Host::whole();
    let cpu =
        CpuOptions { percpu: false, totalcpu: true, collect_cpu_time: true, report_active: true };
    let config = Config { collectors: vec![Name::Cpu], cpu, ..Config::default() };
    let mut cpu = host.build(config).remove(0);
    let first = gather(&mut *cpu.gather, 0);
    assert_eq!(first.len(), 11);
    let first = values(&first);
    close(&first, "cpu_time_user{cpu-total}", 1.0);
    close(&first, "cpu_time_active{cpu-total}", 2.0);
    host.write("proc/stat", STAT.replace("cpu  100", "cpu  150").replace(" 800", " 850"));
    close(&values(&gather(&mut *cpu.gather, 1)), "cpu_usage_active{cpu-total}", 50.0);
}

#[test]
fn memory_used_is_what_is_not_available_and_cached_includes_reclaimable_slab() {
    let host = Host::whole();
    let mut mem = host.collector(Name::Mem);
    let values = values(&gather(&mut *mem.gather, 0));
    close(&values, "mem_used", 400.0 * 1024.0);
    close(&values, "mem_used_percent", 40.0);
    close(&values, "mem_available_percent", 60.0);
    close(&values, "mem_cached", 325.0 * 1024.0);
    close(&values, "mem_huge_pages_total", 3.0);
    close(&values, "mem_huge_page_size", 2048.0 * 1024.0);
    close(&values, "mem_high_total", 0.0);
    assert!(!values.contains_key("mem_active_anon"));
}

#[test]
fn extended_memory_is_there_when_asked_for() {
    let host = Host::whole();
    let mem = MemOptions { collect_extended: true };
    let config = Config { collectors: vec![Name::Mem], mem, ..Config::default() };
    let mut mem = host.build(config).remove(0);
    close(&values(&gather(&mut *mem.gather, 0)), "mem_active_anon", 4096.0);
}

#[test]
fn memory_of_a_kernel_without_available_is_free_and_cached() {
    let host = Host::empty();
    host.write("proc/meminfo", "MemTotal: 100 kB\nMemFree: 20 kB\nCached: 30 kB\n");
    let mut mem = host.collector(Name::Mem);
    close(&values(&gather(&mut *mem.gather, 0)), "mem_available", 50.0 * 1024.0);
}

#[test]
fn swap_traffic_is_in_bytes() {
    let host = Host::whole();
    let values = values(&gather(&mut *host.collector(Name::Swap).gather, 0));
    close(&values, "swap_in", 3.0 * 4096.0);
    close(&values, "swap_out", 4.0 * 4096.0);
    assert_eq!(values.len(), 6);
}

#[test]
fn kernel_reads_stat_and_entropy_and_pages_only_where_they_are() {
    let host = Host::whole();
    let mut kernel = host.collector(Name::Kernel);
    let first = values(&gather(&mut *kernel.gather, 0));
    close(&first, "kernel_interrupts", 1500.0);
    close(&first, "kernel_boot_time", 1_795_403_248.0);
    close(&first, "kernel_processes_forked", 700.0);
    close(&first, "kernel_context_switches", 2500.0);
    close(&first, "kernel_entropy_avail", 256.0);
    assert_eq!(first.len(), 5);
    host.write("proc/stat", format!("{STAT}page 5 6\n"));
    close(&values(&gather(&mut *kernel.gather, 1)), "kernel_disk_pages_out", 6.0);
}

#[test]
fn without_pressure_or_entropy_the_collectors_are_quiet() {
    let host = Host::whole();
    let mut pressure = host.collector(Name::Pressure);
    assert!(gather(&mut *pressure.gather, 0).is_empty());
    host.remove("proc/sys/kernel/random/entropy_avail");
    let mut kernel = host.collector(Name::Kernel);
    assert_eq!(gather(&mut *kernel.gather, 0).len(), 4);
}

#[test]
fn pressure_has_some_and_full_but_no_full_of_cpu() {
    let host = Host::empty();
    let text = "some avg10=1.50 avg60=2.00 avg300=3.00 total=400\n\
                full avg10=0.50 avg60=0.25 avg300=0.12 total=40\n";
    for resource in ["cpu", "memory", "io"] {
        host.write(&format!("proc/pressure/{resource}"), text);
    }
    let values = values(&gather(&mut *host.collector(Name::Pressure).gather, 0));
    assert_eq!(values.len(), 20);
    close(&values, "pressure_avg10{cpu,some}", 1.5);
    close(&values, "pressure_total{io,full}", 40.0);
}

#[test]
fn an_essential_file_that_is_missing_is_an_error_that_names_it() {
    let host = Host::empty();
    for (name, file) in [
        (Name::Cpu, "stat"),
        (Name::Mem, "meminfo"),
        (Name::Swap, "vmstat"),
        (Name::Disk, "mountinfo"),
        (Name::Diskio, "diskstats"),
        (Name::Net, "net/dev"),
        (Name::System, "loadavg"),
        (Name::Processes, "proc"),
        (Name::Kernel, "stat"),
        (Name::Nstat, "netstat"),
    ] {
        let error = try_gather(&mut *host.collector(name).gather, 0).unwrap_err();
        assert!(format!("{error:#}").contains(file), "{name:?}: {error:#}");
    }
}

#[test]
fn a_file_that_comes_back_is_read_again() {
    let host = Host::whole();
    let mut mem = host.collector(Name::Mem);
    let text = std::fs::read(host.0.path().join("proc/meminfo")).unwrap();
    host.remove("proc/meminfo");
    assert!(try_gather(&mut *mem.gather, 0).is_err());
    host.write("proc/meminfo", text);
    assert!(try_gather(&mut *mem.gather, 1).is_ok());
}

#[test]
fn processes_are_counted_by_state_with_their_threads() {
    let host = Host::whole();
    for (pid, state) in "RDZTtXWIP?".chars().enumerate() {
        // A name may hold parentheses, spaces and a state of its own.
        let fields = "0 1 1 0 -1 4 1 0 0 0 0 0 0 0 20 0 3 0 5 0";
        host.write(&format!("proc/{}/stat", pid + 2), format!("9 (a) R (b) {state} {fields}\n"));
    }
    host.write("proc/77/other", "a process without a stat ended just now");
    host.write("proc/uptime", "not a process");
    let values = values(&gather(&mut *host.collector(Name::Processes).gather, 0));
    for (field, count) in [
        ("running", 1),
        ("sleeping", 1),
        ("blocked", 1),
        ("zombies", 1),
        ("stopped", 2),
        ("dead", 1),
        ("paging", 1),
        ("idle", 1),
        ("parked", 1),
        ("unknown", 1),
        ("total", 11),
        ("total_threads", 32),
    ] {
        close(&values, &format!("processes_{field}"), f64::from(count));
    }
}

#[test]
fn processes_that_come_and_go_are_seen_by_the_next_gather() {
    let host = Host::whole();
    let mut processes = host.collector(Name::Processes);
    close(&values(&gather(&mut *processes.gather, 0)), "processes_total", 1.0);
    host.write("proc/5/stat", "5 (x) S 0\n");
    close(&values(&gather(&mut *processes.gather, 1)), "processes_total", 2.0);
}

#[test]
fn the_system_has_load_processors_and_uptime_and_users_only_with_utmp() {
    let host = Host::whole();
    let mut system = host.collector(Name::System);
    let first = values(&gather(&mut *system.gather, 0));
    close(&first, "system_load5", 0.25);
    close(&first, "system_n_cpus", 2.0);
    close(&first, "system_n_physical_cpus", 1.0);
    assert!(first["system_uptime"] > 0.0);
    assert!(!first.contains_key("system_n_users"));
    let mut utmp = vec![0_u8; 4 * 384];
    for (at, (kind, name)) in [(7, "ann"), (7, "bob"), (7, "ann"), (6, "LOGIN")].iter().enumerate()
    {
        utmp[at * 384] = *kind;
        utmp[at * 384 + 44..][..name.len()].copy_from_slice(name.as_bytes());
    }
    host.write("var/run/utmp", utmp);
    host.write("sys/devices/system/cpu/online", "0\n");
    let second = values(&gather(&mut *system.gather, 1));
    close(&second, "system_n_users", 3.0);
    close(&second, "system_n_unique_users", 2.0);
    close(&second, "system_n_cpus", 1.0);
}

#[test]
fn without_sys_processors_are_counted_in_cpuinfo() {
    let host = Host::empty();
    host.write("proc/loadavg", "0 0 0 1/1 1\n");
    let package = |id| format!("processor : 0\nphysical id : {id}\ncpu cores : 4\n\n");
    host.write("proc/cpuinfo", package(0) + &package(0) + &package(1));
    let values = values(&gather(&mut *host.collector(Name::System).gather, 0));
    close(&values, "system_n_cpus", 3.0);
    close(&values, "system_n_physical_cpus", 8.0);
}

#[test]
fn sockets_come_from_the_tables_when_netlink_is_refused() {
    let host = Host::whole();
    let socket = |state: &str| format!("  0: 0100007F:1F90 00000000:0000 {state} 00000000 0 0 7\n");
    let head = "  sl  local_address rem_address st\n".to_owned();
    host.write("proc/net/tcp", head.clone() + &socket("0A") + &socket("01") + &socket("01"));
    host.write("proc/net/tcp6", head + &socket("06"));
    host.write("proc/net/sockstat6", "UDP6: inuse 2\n");
    let mut netstat = netstat::Netstat::refused(host.common());
    let values = values(&gather(&mut netstat, 0));
    close(&values, "netstat_tcp_established", 2.0);
    close(&values, "netstat_tcp_listen", 1.0);
    close(&values, "netstat_tcp_time_wait", 1.0);
    close(&values, "netstat_udp_socket", 5.0);
    close(&values, "netstat_tcp_none", 0.0);
}

#[test]
fn the_kernel_counts_a_listener_and_both_ends_of_a_connection() {
    let host = Host::whole();
    let mut netstat = host.collector(Name::Netstat);
    let before = values(&gather(&mut *netstat.gather, 0));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let _ends: Vec<_> = (0..200)
        .map(|_| (std::net::TcpStream::connect(address).unwrap(), listener.accept().unwrap()))
        .collect();
    let after = values(&gather(&mut *netstat.gather, 1));
    let grown = |name: &str| after[name] - before[name];
    // Other programs' connections come and go meanwhile, but not by the hundred.
    assert!((grown("netstat_tcp_established") - 400.0).abs() < 100.0, "{after:?}");
    assert!(after["netstat_tcp_listen"] >= 1.0);
}

#[test]
fn unix_sockets_are_counted_once_a_kind_and_path() {
    let text = "Num       RefCount Protocol Flags    Type St Inode Path\n\
        0: 2 0 00010000 0001 01 11 /run/a\n\
        0: 2 0 00010000 0001 01 12 /run/a\n\
        0: 2 0 00000000 0001 03 13\n\
        0: 2 0 00000000 0001 03 14\n\
        0: 2 0 00000000 0002 03 15 /run/log\n\
        0: 2 0 00000000 0005 03 16 /run/a\n";
    assert_eq!(netstat::unix_sockets(text.as_bytes()), (3, 1));
}

#[test]
fn protocol_counters_have_the_files_name_as_label() {
    let host = Host::empty();
    host.write("proc/net/netstat", "TcpExt: A B\nTcpExt: 0 7\nIpExt: C\nIpExt: 9\n");
    host.write("proc/net/snmp", "Tcp: MaxConn X\nTcp: -1 5\nUdp: Y\nIcmp: 4\n");
    host.write("proc/net/snmp6", "Ip6InReceives   \t12\nbroken\n");
    let first = values(&gather(&mut *host.collector(Name::Nstat).gather, 0));
    let expected = [
        ("nstat_IpExtC{netstat}", 9.0),
        ("nstat_Ip6InReceives{snmp6}", 12.0),
        ("nstat_TcpExtA{netstat}", 0.0),
        ("nstat_TcpExtB{netstat}", 7.0),
        ("nstat_TcpMaxConn{snmp}", -1.0),
        ("nstat_TcpX{snmp}", 5.0),
    ];
    assert_eq!(first, expected.map(|(name, value)| (name.to_owned(), value)).into());
    let options = nstat::Options { dump_zeros: false };
    let mut nstat = nstat::Nstat::new(host.common(), options);
    assert!(!values(&gather(&mut nstat, 0)).contains_key("nstat_TcpExtA{netstat}"));
}

#[test]
fn temperatures_have_the_chips_name_and_the_sensors_label() {
    let host = Host::empty();
    let mut temp = host.collector(Name::Temp);
    assert!(gather(&mut *temp.gather, 0).is_empty());
    host.write("sys/class/thermal/thermal_zone0/type", "x86_pkg_temp\n");
    host.write("sys/class/thermal/thermal_zone0/temp", "30000\n");
    close(&values(&gather(&mut *temp.gather, 1)), "temp_temp{x86_pkg_temp}", 30.0);
    host.write("sys/class/hwmon/hwmon0/name", "coretemp\n");
    host.write("sys/class/hwmon/hwmon0/temp1_input", "41500\n");
    host.write("sys/class/hwmon/hwmon0/temp2_input", "42000\n");
    host.write("sys/class/hwmon/hwmon0/temp2_label", "Core 0\n");
    host.write("sys/class/hwmon/hwmon0/temp3_input", "broken\n");
    let values = values(&gather(&mut *temp.gather, 2));
    assert_eq!(values.len(), 2, "zones only where there is no chip");
    close(&values, "temp_temp{coretemp}", 41.5);
    close(&values, "temp_temp{coretemp_core_0}", 42.0);
}

#[test]
fn the_processes_that_use_most_have_name_and_number() {
    let host = Host::empty();
    let mut procstat = host.collector(Name::Procstat);
    gather(&mut *procstat.gather, 0);
    let metrics = gather(&mut *procstat.gather, 1);
    assert!(!metrics.is_empty() && metrics.len() <= 30 * 8, "{}", metrics.len());
    for metric in &metrics {
        assert!(metric.series.labels().get("pid").is_some());
        assert!(metric.series.labels().get("process_name").is_some());
        assert!(metric.series.name().starts_with("procstat_"));
    }
}
