//! Files that are rotated while they are read and while nobody reads them (F9, F10), and copies and truncations that no
//! notification tells apart.

use std::path::Path;
use std::time::{Duration, Instant};

use super::bed::{self, Options, pause};
use super::case::Case;
use super::kills::{BUSY, warm};
use super::oracle;
use super::sink::Sink;
use crate::live::stack::{Agent, signal};

/// F9: a file lives for 200 ms, 200 times.
pub(super) fn rotation_storm(case: &Case) {
    let (rotations, rate) = case.pick((30, 5_000), (200, 50_000));
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", rate);
    let config = bed::config(&[&logs.join("a.log")], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    let began = Instant::now();
    for nth in 1..=rotations {
        let due = Duration::from_millis(200) * nth;
        std::thread::sleep(due.saturating_sub(began.elapsed()));
        writer.rename_to(&logs.join(format!("a.log.{nth}")));
    }
    let took = began.elapsed();
    bed::live(&sink, "a", &writer);
    let verdict = bed::settle(case, &sink, "a", writer);
    case.saw(format!("{rotations} rotations in {:.1} s", took.as_secs_f64()));
    assert!(verdict.is_exact(), "{verdict:?}: {:#}", agent.plugin("tail"));
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// F9: rotated several times while the agent is stopped, into names that match too: each line once.
pub(super) fn rotated_while_stopped(case: &Case) {
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", case.pick(2_000, 20_000));
    let all = logs.join("a.log*");
    let config = bed::config(&[&all], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    for round in 0..case.pick(2, 10) {
        agent.stop();
        for nth in 0..3 {
            pause(0.3);
            writer.rename_to(&logs.join(format!("a.log.{round}-{nth}")));
        }
        pause(0.3);
        agent.again();
        bed::live(&sink, "a", &writer);
    }
    let verdict = bed::settle(case, &sink, "a", writer);
    assert!(verdict.is_whole() && verdict.again == 0, "{verdict:?}: {:#}", agent.plugin("tail"));
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// F10: copied and truncated while the agent keeps up.
pub(super) fn copytruncate(case: &Case) {
    let rounds = case.pick(3, 40);
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", case.pick(3_000, 20_000));
    let config = bed::config(&[&logs.join("a.log")], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    for _ in 0..rounds {
        pause(1.6); // longer than `poll_interval`: a file that nobody has seen is nobody's promise
        writer.copy_and_truncate();
    }
    pause(1.6);
    bed::live(&sink, "a", &writer);
    let verdict = bed::settle(case, &sink, "a", writer);
    case.saw(format!("{rounds} truncations"));
    assert!(verdict.is_exact(), "{verdict:?}: {:#}", agent.plugin("tail"));
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// The same when each copy is written over the last one, as a script does: `cp a.log a.log.1; : >a.log`.
pub(super) fn copied_over(case: &Case) {
    regrow(case, |_| "a.log.1".to_owned());
}

/// F10: truncated, and longer than before when the agent looks again (it is stopped by SIGSTOP meanwhile). Of the lines that
/// it had read none comes twice, and of those that came after the truncation none is missing.
pub(super) fn regrown(case: &Case) {
    regrow(case, |round| format!("a.log.{}", 1 + round));
}

fn regrow(case: &Case, copy: fn(u64) -> String) {
    let rounds = case.pick(3, 30);
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let file = logs.join("a.log");
    let mut written = 0;
    std::fs::write(&file, next(&mut written, 500)).unwrap();
    let config = bed::config(&[&file], &sink, Options { agent: BUSY, ..Options::default() });
    let mut agent = Agent::start(&case.dir("agent"), &config);
    for round in 0..rounds {
        assert!(bed::arrived(&sink, "a", written).is_exact());
        signal(agent.pid(), "STOP");
        if round % 2 == 0 {
            std::fs::copy(&file, logs.join(copy(round))).unwrap();
        }
        let old = std::fs::metadata(&file).unwrap().len();
        let out = std::fs::OpenOptions::new().append(true).open(&file).unwrap();
        out.set_len(0).unwrap();
        append(&file, &next(&mut written, 700 + 200 * round));
        let new = std::fs::metadata(&file).unwrap().len();
        assert!(new > old, "{new} {old}");
        signal(agent.pid(), "CONT");
    }
    let verdict = bed::arrived(&sink, "a", written);
    case.saw(format!("{rounds} regrown past the offset: {verdict}"));
    assert!(verdict.is_exact(), "{verdict:?}: {:#}", agent.plugin("tail"));
    bed::conserved(&agent);
    agent.stop();
}

fn next(written: &mut u64, lines: u64) -> String {
    let first = *written;
    *written += lines;
    oracle::text("a", first..*written)
}

pub(super) fn append(file: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().append(true).open(file).unwrap();
    std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
}
