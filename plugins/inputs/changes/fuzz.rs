//! What `tests/fuzz` feeds with bytes of its own making, and the tests here with its corpus: the files that tell of changes
//! on the host. Compiled for tests and fuzzing only.

use super::{disks, packages, ports, proc};

/// No line of dpkg's log, /proc/net/tcp, /proc/PID/stat or of the list of mounts panics.
pub fn change_files(data: &[u8]) {
    let _read_or_not = proc::stat(data);
    let text = String::from_utf8_lossy(data);
    let _read_or_not = proc::counter(&text, "btime");
    for line in text.lines() {
        let _read_or_not = (packages::action(line), ports::listening(line));
        assert!(disks::unescape(line).len() <= line.len(), "an escape is longer than its letter");
    }
}

#[cfg(test)]
#[test]
fn the_corpus_of_change_files_finds_nothing() {
    crate::corpus::run("change_files", change_files);
}
