//! Parsers: what the kernel writes, and that nothing else makes them panic or lie.

use proptest::prelude::*;

use super::super::reader::{KeptFile, Scratch, decimal, lines, number, words};
use super::super::roots::Roots;
use super::super::{
    cpu, diskio, host, kernel, mem, mounts, net, netstat, nstat, pressure, sock_diag, swap,
};

#[test]
fn numbers_are_digits_that_fit() {
    assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
    for bad in [&b""[..], b"18446744073709551616", b"-1", b"+1", b"1.0", b"1 ", b"0x10"] {
        assert_eq!(number(bad), None);
    }
    assert_eq!(decimal(b"-1.5"), Some(-1.5));
    assert_eq!(decimal(b"inf"), None);
    assert_eq!(decimal(b"NaN"), None);
}

#[test]
fn lines_and_words_have_no_ends_and_no_blanks() {
    assert_eq!(lines(b"a\n\nb\n").collect::<Vec<_>>(), [&b"a"[..], b"", b"b"]);
    assert_eq!(lines(b"a").collect::<Vec<_>>(), [b"a"]);
    assert_eq!(words(b" a \t b\n").collect::<Vec<_>>(), [b"a", b"b"]);
}

#[test]
fn old_kernels_have_fewer_columns() {
    let (name, ticks) = cpu::parse(b"cpu3 1 2 3 4 5 6 7").unwrap();
    assert_eq!((name, ticks), (&b"cpu3"[..], [1, 2, 3, 4, 5, 6, 7, 0, 0, 0]));
    assert_eq!(cpu::parse(b"cpu0 1 2 3"), None);
    assert_eq!(cpu::parse(b"cpu0 1 2 3 x 5 6 7"), None);
    assert_eq!(diskio::parse(b" 3 1 hda1 35486 38030 38030 38030"), None);
}

#[test]
fn an_interface_name_may_hold_a_colon() {
    let line = b"eth0:1: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16";
    assert_eq!(net::parse(line).unwrap().0, b"eth0:1");
    assert_eq!(net::parse(b" face |bytes    packets errs|bytes"), None);
}

#[test]
fn mount_points_are_unescaped_once() {
    let line =
        b"36 35 98:0 /root /a\\040b\\134040\\999 rw,noatime master:1 - nfs4 srv:/a\\040b rw\n";
    let mount = mounts::parse(line).remove(0);
    assert_eq!(mount.path, "/a b\\040\\999");
    assert_eq!(mount.device, "srv:/a b");
    assert_eq!(mount.options, ["rw", "noatime", "bind"]);
    assert_eq!(mount.device_id, "98:0");
}

#[test]
fn processor_lists_have_ranges() {
    assert_eq!(host::ids(b"0-2,5\n"), [0, 1, 2, 5]);
    assert!(host::ids(b"3-1,x,7-,\n").is_empty());
    assert!(host::ids(b"0-4294967295").len() <= 1 << 16);
}

#[test]
fn roots_follow_the_environment() {
    let roots = Roots::from(|name| match name {
        "HOST_ROOT" => Some("/host".to_owned()),
        "HOST_PROC" => Some("/p".to_owned()),
        "HOST_MOUNT_PREFIX" => Some("/m".to_owned()),
        _ => None,
    });
    assert_eq!(roots.proc, std::path::Path::new("/p"));
    assert_eq!(roots.sys, std::path::Path::new("/host/sys"));
    assert_eq!(roots.mount_prefix, "/m");
    assert!(roots.foreign_proc);
    let plain = Roots::from(|_| None);
    assert_eq!(plain.proc, std::path::Path::new("/proc"));
    assert!(!plain.foreign_proc);
}

#[test]
fn a_directory_a_fifo_and_a_binary_file_are_errors_or_no_metrics_not_panics() {
    let folder = tempfile::tempdir().unwrap();
    let mut buffer = Vec::new();
    assert!(KeptFile::new(folder.path()).read(&mut buffer).is_err());
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert!(KeptFile::new(fifo).read(&mut buffer).is_err());
    let host = super::Host::whole();
    let binary: Vec<u8> = (0..=255).cycle().take(5000).collect();
    for file in ["stat", "diskstats", "net/dev", "1/mountinfo", "net/unix", "vmstat", "1/stat"] {
        host.write(&format!("proc/{file}"), &binary);
    }
    for mut collector in host.build(super::Config::default()) {
        super::try_gather(&mut *collector.gather, 0).unwrap_or_default();
    }
}

#[test]
fn a_file_longer_than_the_buffer_is_read_whole() {
    let host = super::Host::empty();
    let text = "x".repeat(100_000);
    host.write("long", &text);
    let mut file = KeptFile::new(host.0.path().join("long"));
    Scratch::default().with(|buffer| assert_eq!(file.read(buffer).unwrap(), text.as_bytes()));
}

/// A netlink message with the fields that are looked at.
fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    message.extend(((16 + payload.len()) as u32).to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend([2, 0]);
    message.extend(sequence.to_ne_bytes());
    message.extend([0; 4]);
    message.extend(payload);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

#[test]
fn netlink_messages_are_counted_until_done_and_errors_are_errors() {
    let mut states = sock_diag::States::default();
    let mut datagram = message(20, 7, &[2, 1, 0, 0, 9]);
    datagram.extend(message(18, 7, &[10, 10, 0, 0]));
    datagram.extend(message(20, 6, &[2, 1, 0, 0])); // another request's
    datagram.extend(message(20, 7, &[2, 200, 0, 0])); // no such state
    assert!(!sock_diag::add(&datagram, 7, &mut states).unwrap());
    assert_eq!((states[1], states[10], states.iter().sum::<u64>()), (1, 1, 2));
    assert!(sock_diag::add(&message(3, 7, &[0; 4]), 7, &mut states).unwrap());
    let refused = message(2, 7, &(-1_i32).to_ne_bytes());
    let error = sock_diag::add(&refused, 7, &mut states).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
    let mut torn = message(20, 7, &[2, 1, 0, 0]);
    torn[0] = 200;
    assert!(sock_diag::add(&torn, 7, &mut states).is_err());
}

proptest! {
    #[test]
    fn no_parser_panics_on_any_bytes(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        for line in lines(&text) {
            cpu::parse(line);
            diskio::parse(line);
            net::parse(line);
            pressure::parse(line);
        }
        mem::values(&text);
        swap::pages(&text);
        kernel::values(&text);
        host::load(&text);
        host::ids(&text);
        host::users(&text);
        mounts::parse(&text);
        netstat::unix_sockets(&text);
        netstat::udp_in_use(&text);
        nstat::pairs(&text, |_, _, _| {});
        let mut states = sock_diag::States::default();
        netstat::table(&text, &mut states);
        sock_diag::add(&text, 0, &mut states).unwrap_or_default();
    }

    #[test]
    fn cpu_lines_read_back(ticks in any::<[u64; 10]>(), number in 0_u32..512) {
        let words = ticks.map(|ticks| ticks.to_string()).join(" ");
        let line = format!("cpu{number}  {words}");
        let (name, read) = cpu::parse(line.as_bytes()).unwrap();
        prop_assert_eq!(String::from_utf8_lossy(name), format!("cpu{number}"));
        prop_assert_eq!(read, ticks);
    }

    #[test]
    fn disk_rates_are_finite_and_not_negative(
        now in any::<[u64; 11]>(),
        last in any::<[u64; 11]>(),
        elapsed in 0.0..1e9_f64,
    ) {
        for value in diskio::derived(&now, &last, elapsed).into_iter().flatten() {
            prop_assert!(value.is_finite() && value >= 0.0);
        }
    }
}
