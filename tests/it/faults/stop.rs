//! The end of the agent, and the beginning of another version of it (F20, F21).

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::bed::{self, Options, pause};
use super::case::Case;
use super::kills::warm;
use super::oracle;
use super::sink::{Mode, Sink};
use crate::live::stack::Agent;

/// F20: told to stop under load while the backend is dead, in each way of being dead: it ends in time, and nothing that it
/// had acknowledged is missing.
pub(super) fn sigterm(case: &Case) {
    let ways = [Mode::Answer(503, None), Mode::Hang, Mode::Refuse, Mode::Answer(401, None)];
    let ways = &ways[..case.pick(1, 4)];
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", case.pick(5_000, 20_000));
    let config = bed::config(&[&logs.join("a.log")], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let mut took = Vec::new();
    for way in ways {
        warm(&sink, "a", &writer);
        sink.set(way.clone());
        pause(3.0);
        took.push(agent.stop());
        sink.set(Mode::Ok);
        agent.again();
    }
    case.saw(format!("ended within {took:.1?}"));
    let verdict = bed::settle(case, &sink, "a", writer);
    assert!(verdict.is_whole(), "{verdict:?}");
    assert!(took.iter().all(|took| *took <= Duration::from_secs(10)), "{took:?}");
    bed::conserved(&agent);
    agent.stop();
}

/// One line of the positions log, as version 1 writes it.
fn saved(file: &std::path::Path, offset: u64) -> String {
    let (meta, bytes) = (std::fs::metadata(file).unwrap(), std::fs::read(file).unwrap());
    let before = &bytes[..offset as usize];
    let (tail, prefix) =
        (&before[before.len().saturating_sub(256)..], &bytes[..bytes.len().min(1024)]);
    let body = format!(
        "p {} {} {offset} {} {:x} {} {:x} {} {}",
        meta.dev(),
        meta.ino(),
        tail.len(),
        fnv(tail),
        prefix.len(),
        fnv(prefix),
        crate::live::stack::now_ms() / 1000,
        file.display()
    );
    let mut crc = flate2::Crc::new();
    crc.update(body.as_bytes());
    format!("{:08x} {body}\n", crc.sum())
}

/// FNV-1a, 64 bit.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// F21, upgrade: a positions log of version 1, written here by its description, is read: what it says is acknowledged does
/// not come again. When the format changes, this stays.
pub(super) fn old_state(case: &Case) {
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let file = logs.join("a.log");
    let (first, second) = (oracle::text("a", 0..100), oracle::text("a", 100..200));
    std::fs::write(&file, format!("{first}{second}")).unwrap();
    let state = case.dir("agent/state/positions");
    let log = format!("sentinelops positions 1\n{}", saved(&file, first.len() as u64));
    std::fs::write(state.join("tail.log"), log).unwrap();
    let mut agent =
        Agent::start(&case.dir("agent"), &bed::config(&[&file], &sink, Options::default()));
    pause(2.5);
    let verdict = sink.verdict("a", 200);
    case.saw(format!("of an old state: {verdict}"));
    assert_eq!((verdict.lost, verdict.again, verdict.unknown), (100, 0, 0), "{verdict:?}");
    assert!((100..200).all(|number| sink.taken().oracle.has("a", number)));
    agent.stop();
}

/// F21, downgrade: a positions log of a version that is not known yet is not touched, whatever else the agent does; and it
/// says so. The queue's files belong here as soon as there are some.
pub(super) fn newer_state(case: &Case) {
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let file = logs.join("a.log");
    std::fs::write(&file, oracle::text("a", 0..10)).unwrap();
    let state = case.dir("agent/state/positions");
    let newer =
        format!("sentinelops positions 9\n{}nobody knows yet what this says\n", saved(&file, 0));
    std::fs::write(state.join("tail.log"), &newer).unwrap();
    let runs = std::panic::catch_unwind(|| {
        let config = bed::config(&[&file], &sink, Options::default());
        let mut agent = Agent::start(&case.dir("agent"), &config);
        pause(2.5);
        agent.stop();
    });
    let log = std::fs::read_to_string(case.dir("agent").join("agent.log")).unwrap_or_default();
    let kept: Vec<String> = std::fs::read_dir(&state)
        .unwrap()
        .flatten()
        .filter(|entry| std::fs::read(entry.path()).is_ok_and(|bytes| bytes == newer.as_bytes()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    case.saw(format!("ran on: {}, the newer log is kept as {kept:?}", runs.is_ok()));
    assert!(!kept.is_empty(), "the log of a newer version is gone:\n{log}");
    assert!(log.contains("version"), "nothing is said of the version:\n{log}");
}

/// F21, downgrade: the queue on disk of a version that is not known yet, made by changing the version in the heads of a queue's
/// files (`engine/disk/format.rs`), is not touched, and the agent says so and goes on.
pub(super) fn newer_queue(case: &Case) {
    let sink = Sink::start();
    sink.set(Mode::Answer(503, None));
    let agent = "[agent]\nbackfill = \"off\"\nshutdown_timeout = \"2s\"\n"; // a dead backend is not waited for
    let config = format!("{agent}{}", bed::host_metrics(&sink));
    let mut agent = Agent::start(&case.dir("agent"), &config);
    pause(4.0);
    agent.stop();
    let mut newer = Vec::new();
    for path in files_below(&case.dir("agent/state")) {
        let mut bytes = std::fs::read(&path).unwrap();
        if bytes.starts_with(b"SOQS") || bytes.starts_with(b"SOQP") {
            bytes[4] = 9;
            std::fs::write(&path, &bytes).unwrap();
            newer.push((path, bytes));
        }
    }
    assert!(newer.iter().any(|(_, bytes)| bytes.len() > 1000), "nothing is queued on disk");
    sink.set(Mode::Ok);
    agent.again();
    crate::live::stack::until("new samples", bed::LIVENESS, || {
        sink.taken().series.find("mem_total{").iter().any(|(_, course)| course.samples > 2)
    });
    agent.stop();
    let all = files_below(&case.dir("agent/state"));
    let kept = |bytes: &Vec<u8>| {
        all.iter().any(|path| std::fs::read(path).is_ok_and(|there| there == *bytes))
    };
    let gone: Vec<_> =
        newer.iter().filter(|(_, bytes)| !kept(bytes)).map(|(path, _)| path).collect();
    let log = agent.log();
    case.saw(format!("{} files of a newer version, gone: {gone:?}", newer.len()));
    assert!(gone.is_empty(), "{log}");
    assert!(log.contains("version") || log.contains("newer"), "nothing is said of it:\n{log}");
}

fn files_below(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            found.extend(files_below(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}
