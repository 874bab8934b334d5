//! Disks: a deleted file that is still open (F14), a full state folder (F15), and files that may not be read (F24).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::bed::{self, Options, pause};
use super::case::Case;
use super::kills::{BUSY, warm};
use super::oracle;
use super::proc::holds;
use super::sink::{Mode, Sink};
use crate::live::stack::{Agent, until};

/// A file system of a test's own; unmounted when it is let go.
pub(super) struct Mount(PathBuf);

impl Mount {
    /// None, and said, where mounting is not permitted.
    pub(super) fn tmpfs(at: &Path, size: &str) -> Option<Mount> {
        mount(&["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs"], at)
    }

    /// An image of 64 MiB, which uses freed inodes again.
    pub(super) fn ext4(image: &Path, at: &Path) -> Option<Mount> {
        std::fs::File::create(image).unwrap().set_len(64 << 20).unwrap();
        let made = Command::new("mkfs.ext4").args(["-q", "-F"]).arg(image).status();
        if !made.is_ok_and(|status| status.success()) {
            eprintln!("no mkfs.ext4: on the file system that is there");
            return None;
        }
        mount(&["-o", "loop", &image.display().to_string()], at)
    }
}

fn mount(arguments: &[&str], at: &Path) -> Option<Mount> {
    let output = Command::new("mount").args(arguments).arg(at).output().unwrap();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        eprintln!("mounting is not permitted here: {}", said.trim());
        return None;
    }
    Some(Mount(at.to_owned()))
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _best_effort = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Bytes free in a file system.
fn free(at: &Path) -> u64 {
    let stat = rustix::fs::statvfs(at).unwrap();
    stat.f_bavail * stat.f_frsize
}

/// F14: a file is deleted before it is read to its end. Every line of it arrives, then it is let go and its space is free.
pub(super) fn deleted_open(case: &Case) {
    let (lines, limit, patience) = case.pick((60_000, "12s", 45), (11_000_000, "1h", 75));
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let own = Mount::tmpfs(&logs, case.pick("32m", "2g"));
    let file = logs.join("a.log");
    {
        let mut out = std::fs::File::create(&file).unwrap();
        for first in (0..lines).step_by(20_000) {
            let text = oracle::text("a", first..first + 20_000);
            std::io::Write::write_all(&mut out, text.as_bytes()).unwrap();
        }
    }
    let (size, full) = (std::fs::metadata(&file).unwrap().len(), free(&logs));
    sink.set(Mode::Answer(503, None));
    let age = format!("deleted_max_age = \"{limit}\"\ndeleted_max_bytes = \"2GiB\"");
    let config = bed::config(&[&file], &sink, Options { tail: &age, ..Options::default() });
    let mut agent = Agent::start(&case.dir("agent"), &config);
    until("it is open", Duration::from_secs(10), || holds(agent.pid(), &file));
    std::fs::remove_file(&file).unwrap();
    pause(2.0);
    assert!(holds(agent.pid(), &file), "it was let go before it was read");
    sink.set(Mode::Ok);
    let verdict = bed::arrived(&sink, "a", lines);
    let read = Instant::now();
    // Its writer may still hold it: it is let go when it has not grown for a minute, or by `deleted_max_age`.
    until("it is let go", Duration::from_secs(patience), || !holds(agent.pid(), &file));
    let freed = || free(&logs).saturating_sub(full);
    if own.is_some() {
        // The descriptor is gone first; to give back this many pages takes the kernel a moment.
        until("its space is free", Duration::from_secs(10), || freed() + (1 << 20) >= size);
    }
    let freed = freed();
    case.saw(format!(
        "{} MB deleted: {verdict}; let go {:.0} s after the last line, {} MB free again",
        size / 1_000_000,
        read.elapsed().as_secs_f64(),
        freed / 1_000_000
    ));
    assert!(verdict.is_whole() && verdict.again == 0, "{verdict:?}");
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// F15: somebody fills the file system of the state folder. The agent stays, delivers, says what is wrong, and saves positions
/// again when there is room; killed then, it loses nothing, and killed while it is full neither.
pub(super) fn disk_full(case: &Case) {
    let seconds = case.pick(2.0, 60.0);
    let (sink, logs, state) = (Sink::start(), case.dir("logs"), case.dir("agent/state"));
    let Some(_own) = Mount::tmpfs(&state, "16m") else {
        return case.skip("mounting is not permitted here");
    };
    let writer = bed::write(&logs, "a", case.pick(2_000, 10_000));
    let more = bed::host_metrics(&sink);
    // Ten saved positions a second: what is left of the log's last page takes some, however full the disk is.
    let options = Options { agent: BUSY, more: &more, ..Options::default() };
    let config = bed::config(&[&logs.join("a.log")], &sink, options);
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let noted = |agent: &Agent| agent.plugin("tail")["notes"].to_string().contains("positions");
    for killed_while_full in [false, true] {
        warm(&sink, "a", &writer);
        let filler = fill(&state);
        let took = bed::live(&sink, "a", &writer);
        pause(seconds);
        until("it says so", Duration::from_secs(20), || noted(&agent));
        bed::live(&sink, "a", &writer);
        if killed_while_full {
            agent.crash(); // it starts all the same
            bed::live(&sink, "a", &writer);
        }
        assert!(agent.ended().is_none());
        std::fs::remove_file(filler).unwrap();
        until("positions are saved again", Duration::from_secs(20), || !noted(&agent));
        case.saw(format!("full: the next line took {:.1} s", took.as_secs_f64()));
    }
    pause(1.5);
    let before = sink.taken().oracle.distinct("a");
    agent.crash();
    bed::live(&sink, "a", &writer);
    let verdict = bed::settle(case, &sink, "a", writer);
    assert!(verdict.is_whole(), "{verdict:?}");
    assert!(before > 0 && sink.taken().series.most_backwards().1 == 0);
    bed::conserved(&agent);
    agent.stop();
}

/// Writes until nothing fits any more.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("filler");
    let mut out = std::fs::File::create(&path).unwrap();
    for size in [1 << 20, 4096, 1] {
        while std::io::Write::write_all(&mut out, &vec![b'x'; size]).is_ok() {}
    }
    path
}

/// F24: as nobody, without capabilities: the host's metrics come, a readable file comes, and one that may not be read is
/// reported once, with its path, and not at every look.
pub(super) fn least_privilege(case: &Case) {
    use std::os::unix::fs::PermissionsExt as _;
    if !rustix::process::geteuid().is_root() {
        return case.skip("not root: who has no privileges cannot become nobody");
    }
    let (sink, logs, state) = (Sink::start(), case.dir("logs"), case.dir("agent/state"));
    std::os::unix::fs::chown(&state, Some(65_534), Some(65_534)).unwrap();
    let binary = case.folder.join("sentinelops"); // where nobody may go
    std::fs::copy(crate::cli::binary(), &binary).unwrap();
    let secret = logs.join("secret.log");
    std::fs::write(&secret, oracle::text("secret", 0..5)).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
    let writer = bed::write(&logs, "a", 500);
    let more = format!("{}[[inputs.changes]]\n", bed::host_metrics(&sink));
    let tail = "discover_interval = \"1s\"\npoll_interval = \"500ms\"";
    // What the other inputs have to say is not judged here.
    let options = Options { more: &more, tail, loki: "from = [\"tail\"]", ..Options::default() };
    let config = bed::config(&[&logs.join("*.log")], &sink, options);
    // The agent's own name is the first argument that the runner gets: the copy runs instead.
    let script = format!("shift; exec {} \"$@\"", binary.display());
    let runner = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "--no-new-privs",
        "--bounding-set=-all",
        "--inh-caps=-all",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    let mut agent = Agent::start_by(&runner, &case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    pause(case.pick(6.0, 60.0));
    let series = sink.taken().series.len();
    let said = agent.log().lines().filter(|line| line.contains("secret.log")).count();
    let status = agent.status();
    let plugins = status["plugins"].as_array().unwrap().iter();
    let unwell: Vec<String> =
        plugins.filter(|p| p["state"] != "active").map(ToString::to_string).collect();
    let verdict = bed::settle(case, &sink, "a", writer);
    case.saw(format!("as nobody: {series} series, the secret file mentioned {said} times"));
    assert!(verdict.is_exact() && unwell.is_empty(), "{verdict:?} {unwell:?}");
    assert!(series > 50, "{series} series");
    assert_eq!(sink.taken().oracle.lines("secret"), 0);
    assert_eq!(said, 1, "{}", agent.log());
    assert!(agent.plugin("tail")["notes"].to_string().contains("secret.log"));
    agent.stop();
}
