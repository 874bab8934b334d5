//! Files that are easily taken for one another (F11, F12): an inode used again, equal beginnings, files of ten bytes, links,
//! and a rotated file that was compressed. And lines that are hardly lines (F13).

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::Command;

use super::bed::{self, Options, pause};
use super::case::Case;
use super::disk::Mount;
use super::kills::BUSY;
use super::oracle;
use super::rotation::append;
use super::sink::Sink;
use crate::live::stack::{Agent, signal, until};

/// Deletes a file and makes another in its inode, with this text. False when the file system gives another inode each time.
fn reuse(file: &Path, text: &str) -> bool {
    let inode = std::fs::metadata(file).unwrap().ino();
    let mut others = Vec::new();
    std::fs::remove_file(file).unwrap();
    for nth in 0..500 {
        let candidate = file.with_extension(format!("try{nth}"));
        std::fs::write(&candidate, text).unwrap();
        if std::fs::metadata(&candidate).unwrap().ino() == inode {
            std::fs::rename(&candidate, file).unwrap();
            break;
        }
        others.push(candidate); // kept for now: its inode must not come again
    }
    for other in others {
        std::fs::remove_file(other).unwrap();
    }
    std::fs::metadata(file).is_ok_and(|meta| meta.ino() == inode)
}

/// F11: the inode of a deleted file is used again, by a longer and by a shorter file, while the agent is stopped, dead, or
/// does not look; it has nothing open but another file, so that the inode is free.
pub(super) fn inode_reuse(case: &Case) {
    let sink = Sink::start();
    let logs = case.dir("logs");
    let _ext4 = Mount::ext4(&case.folder.join("image"), &logs);
    let (file, other) = (logs.join("a.log"), logs.join("b.log"));
    std::fs::write(&other, "").unwrap();
    std::fs::write(&file, oracle::text("a0", 0..300)).unwrap();
    let options = Options { agent: BUSY, tail: "max_open_files = 1", ..Options::default() };
    let config = bed::config(&[&file, &other], &sink, options);
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let mut last = 300;
    let rounds = case.pick(6, 60);
    for round in 0..rounds {
        let was = format!("a{round}");
        assert!(bed::arrived(&sink, &was, last).is_exact(), "{was}");
        append(&other, &oracle::text("b", round..round + 1)); // the only file that stays open
        until("b", bed::PATIENCE, || sink.taken().oracle.has("b", round));
        match round % 3 {
            0 => drop(agent.stop()),
            1 => agent.kill(),
            _ => signal(agent.pid(), "STOP"),
        }
        last = [600, 200][round as usize % 2]; // beyond the old position, and not
        let again = reuse(&file, &oracle::text(&format!("a{}", round + 1), 0..last));
        assert!(again || round % 3 == 2, "this file system does not use inodes again");
        if round % 3 == 2 {
            signal(agent.pid(), "CONT");
        } else {
            agent.again();
        }
    }
    let verdict = bed::arrived(&sink, &format!("a{rounds}"), last);
    case.saw(format!("{rounds} files in one inode; the last: {verdict}"));
    assert!(verdict.is_exact(), "{verdict:?}");
    bed::conserved(&agent);
    agent.stop();
}

/// F12: ten files that begin with the same KiB and more, ten of ten bytes (two of them equal), a file and a link to it, and a
/// rotated file that is compressed: each line once.
pub(super) fn which_is_which(case: &Case) {
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let header = format!("# {}\n", "the same header ".repeat(8)).repeat(12);
    assert!(header.len() > 1024);
    for nth in 0..10 {
        let text = oracle::text(&format!("same{nth}"), 0..5);
        std::fs::write(logs.join(format!("same{nth}.log")), format!("{header}{text}")).unwrap();
        std::fs::write(logs.join(format!("tiny{nth}.log")), format!("#file {:03}\n", nth.max(1)))
            .unwrap();
    }
    std::fs::write(logs.join("real.log"), oracle::text("real", 0..50)).unwrap();
    std::os::unix::fs::symlink(logs.join("real.log"), logs.join("link.log")).unwrap();
    let all = [logs.join("*.log"), logs.join("zip.log.*")];
    let config = bed::config(&[&all[0], &all[1]], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let zip = logs.join("zip.log");
    std::fs::write(&zip, oracle::text("zip", 0..50)).unwrap();
    let headers = 10 * 12 + 10;
    assert!(bed::arrived(&sink, "zip", 50).is_exact());
    let rotated = logs.join("zip.log.1");
    std::fs::rename(&zip, &rotated).unwrap();
    std::fs::write(&zip, oracle::text("zip", 50..100)).unwrap();
    assert!(bed::arrived(&sink, "zip", 100).is_exact());
    assert!(Command::new("gzip").arg(&rotated).status().unwrap().success());
    pause(1.5);
    agent.stop();
    for nth in 0..10 {
        append(&logs.join(format!("same{nth}.log")), &oracle::text(&format!("same{nth}"), 5..10));
        let tiny = oracle::text(&format!("tiny{nth}"), 0..3);
        append(&logs.join(format!("tiny{nth}.log")), &tiny);
    }
    append(&logs.join("real.log"), &oracle::text("real", 50..60));
    agent.again();
    let mut sources = vec![("real".to_owned(), 60), ("zip".to_owned(), 100)];
    for nth in 0..10 {
        sources.extend([(format!("same{nth}"), 10), (format!("tiny{nth}"), 3)]);
    }
    let all_there = || {
        let taken = sink.taken();
        sources.iter().all(|(source, lines)| taken.oracle.distinct(source) == *lines)
    };
    until("all lines", bed::PATIENCE, all_there);
    pause(1.3); // what comes twice comes now
    let verdict = |source: &str, lines: u64| sink.verdict(source, lines);
    let wrong = sources.iter().map(|(source, lines)| (source, verdict(source, *lines)));
    let wrong: Vec<_> = wrong.filter(|(_, verdict)| !verdict.is_exact()).collect();
    let came = sink.taken().oracle.headers;
    case.saw(format!(
        "22 files that look alike, {came} of {headers} equal lines, wrong: {wrong:?}"
    ));
    assert!(wrong.is_empty() && came == headers, "{wrong:?}, {came} headers");
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// F13: a line of 10 MB, NUL, bytes that are not UTF-8, and CRLF: cut, replaced and marked, and nothing beside them changed.
pub(super) fn strange_lines(case: &Case) {
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let file = logs.join("a.log");
    let mut bytes = oracle::text("a", 0..10).into_bytes();
    bytes.extend(std::iter::repeat_n(b'x', 10_000_000));
    bytes.push(b'\n');
    bytes.extend(oracle::text("a", 10..20).bytes());
    bytes.extend(b"nul \0 within\nbad \xff\xfe bytes\n\r\n\n");
    bytes.extend(oracle::text("a", 20..30).replace('\n', "\r\n").bytes());
    std::fs::write(&file, &bytes).unwrap();
    let more = "[[processors.parse]]\nformat = \"json\"\n";
    let config = bed::config(&[&file], &sink, Options { more, ..Options::default() });
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let mut verdict = bed::arrived(&sink, "a", 30);
    let strange = sink.taken().oracle.strange.clone();
    let shown: Vec<String> = strange.iter().map(|line| line.chars().take(20).collect()).collect();
    verdict.unknown = 0; // they are judged here
    let cut = agent.plugin("tail")["counts"]["line_cut"].clone();
    case.saw(format!("{verdict}; strange: {shown:?}, line_cut {cut}"));
    assert!(verdict.is_exact(), "{verdict:?}");
    let long: Vec<&String> = strange.iter().filter(|line| line.starts_with("xxx")).collect();
    assert!(long.len() == 1 && long[0].len() <= 256 << 10 && long[0].len() > 200 << 10);
    assert!(strange.iter().any(|line| line == "nul \0 within"), "{shown:?}");
    assert!(strange.iter().any(|line| line == "bad \u{fffd}\u{fffd} bytes"), "{shown:?}");
    assert_eq!(cut, 1);
    let marked = sink.taken().marked.clone();
    let has = |name: &str, long: bool| {
        let mut of = marked.iter().filter(|(length, _)| (*length > 1000) == long);
        of.any(|(_, pairs)| pairs.iter().any(|(key, _)| key == name))
    };
    assert!(has("truncated", true) && has("invalid_utf8", false), "{marked:?}");
    let status = agent.status();
    let plugins = status["plugins"].as_array().unwrap().iter();
    let restarts = plugins.map(|plugin| plugin["restarts"].as_u64().unwrap());
    assert_eq!(restarts.sum::<u64>(), 0, "a plugin panicked:\n{}", agent.log());
    bed::conserved(&agent);
    agent.stop();
}
