//! What `tests/fuzz` feeds with bytes of its own making, and the tests here with its corpus: what the kernel says in /proc,
//! /sys and by netlink. Compiled for tests and fuzzing only.

use super::reader::{decimal, lines, number, words};
use super::sock_diag::States;
use super::{cpu, diskio, host, mem, mounts, net, netstat, nstat, pressure, processes, sock_diag};

/// No file of the kernel's panics, whichever it is taken for.
pub fn kernel_files(data: &[u8]) {
    for line in lines(data) {
        let _read_or_not = (cpu::parse(line), diskio::parse(line), net::parse(line));
        let _read_or_not = pressure::parse(line);
        for word in words(line) {
            assert!(decimal(word).is_none_or(f64::is_finite) || !word.is_ascii());
            let _read_or_not = number(word);
        }
    }
    let _read_or_not = (mem::values(data), host::load(data), net::flags(data));
    assert!(host::ids(data).len() <= 1 << 16, "a list of processors is bounded");
    let _read_or_not = (host::cpuinfo(data), host::users(data));
    let _read_or_not = (mounts::parse(data), netstat::udp_in_use(data));
    let _read_or_not = netstat::unix_sockets(data);
    netstat::table(data, &mut States::default());
    nstat::pairs(data, |protocol, counter, value| {
        assert!(protocol.len() + counter.len() + value.len() <= data.len());
    });
    processes::Tally::default().add(data);
}

/// A datagram of netlink is counted or refused; there are no more sockets in it than messages.
pub fn netlink(data: &[u8]) {
    let mut states = States::default();
    let _last_or_not = sock_diag::add(data, 1, &mut states);
    assert!(states.iter().sum::<u64>() <= data.len() as u64 / 16);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus;

    #[test]
    fn the_corpus_of_kernel_files_finds_nothing() {
        corpus::run("kernel_files", kernel_files);
    }

    #[test]
    fn the_corpus_of_netlink_finds_nothing() {
        corpus::run("netlink", netlink);
    }
}
