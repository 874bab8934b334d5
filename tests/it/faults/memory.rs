//! Memory (F18): the backend dead, four inputs with all they can read, a thousand files, and a flood of names in the lines.

use std::path::PathBuf;

use super::bed::{self, LIVENESS, LONGEST_PAUSE, pause};
use super::case::Case;
use super::kills::warm;
use super::oracle;
use super::proc::{Sampler, cpu_seconds};
use super::rotation::append;
use super::sink::{Mode, Sink};
use crate::live::load::Writer;
use crate::live::stack::{Agent, until};

/// The most that the agent may ever have used: reference/reliability-and-performance.md G11.
const LIMIT_KIB: u64 = 64 << 10;

/// Four inputs, each with a file that is written and with 249 that were; the lines of one more hold a name each.
fn many_inputs(sink: &Sink, folder: &std::path::Path) -> String {
    let folder = folder.display();
    let tail = |alias: &str, files: &str| {
        format!(
            "[[inputs.tail]]\nalias = \"{alias}\"\nfiles = [\"{folder}/{files}\"]\nstart = \"beginning\"\n"
        )
    };
    let inputs: String =
        (0..4).map(|nth| tail(&format!("t{nth}"), &format!("t{nth}/*.log"))).collect();
    format!(
        "[agent]\nbackfill = \"off\"\n{inputs}{}\
         [[processors.parse]]\nfrom = [\"bomb\"]\nformat = \"json\"\n\
         [[processors.log_features]]\nfrom = [\"bomb\"]\ngroup_by = [\"user\"]\nwindow = \"2s\"\n\
         {}[[outputs.loki]]\nurl = \"{}\"\n",
        tail("bomb", "bomb.log"),
        bed::host_metrics(sink),
        sink.url
    )
}

pub(super) fn memory(case: &Case) {
    let (seconds, rate, names) = case.pick((4.0, 10_000, 30_000), (600.0, 15_000, 100_000));
    let sink = Sink::start();
    let folder = case.dir("logs");
    let mut sources: Vec<(String, Writer)> = Vec::new();
    for nth in 0..4 {
        let logs = case.dir(&format!("logs/t{nth}"));
        for other in 0..249 {
            let source = format!("o{nth}x{other}");
            let path: PathBuf = logs.join(format!("{source}.log"));
            std::fs::write(path, oracle::text(&source, 0..20)).unwrap();
        }
        let source = format!("t{nth}");
        let writer = bed::write(&logs, &source, rate);
        sources.push((source, writer));
    }
    let mut agent = Agent::start(&case.dir("agent"), &many_inputs(&sink, &folder));
    let sampler = Sampler::start(agent.pid());
    for (source, writer) in &sources {
        warm(&sink, source, writer);
    }
    let bomb: String = (0..names).fold(String::new(), |text, name| {
        text + &format!("#{{\"user\":\"u{name}\",\"remote_addr\":\"a{name}\",\"status\":200}}\n")
    });
    // The first window of all is never whole and not written: some go off before.
    let bomb = bomb.replace('#', "");
    let (first, rest) = bomb.split_at(bomb.find("{\"user\":\"u10\"").unwrap());
    std::fs::write(folder.join("bomb.log"), first).unwrap();
    pause(3.0);
    append(&folder.join("bomb.log"), rest);
    pause(3.0);
    sink.set(Mode::Answer(503, None));
    pause(seconds);
    sink.set(Mode::Ok);
    bed::recovered(case, &sink);
    for (source, writer) in sources {
        let verdict = bed::settle(case, &sink, &source, writer);
        // The bomb's lines are no lines of the oracle.
        assert!(verdict.lost == 0 && verdict.unknown <= names, "{source}: {verdict:?}");
    }
    // Metrics are sent by an output of their own, which may be in a longer pause than the one for lines.
    until("the names beyond the limit, counted as other", LONGEST_PAUSE + LIVENESS, || {
        sink.taken().series.find("log_requests{").iter().any(|(key, _)| key.contains("other"))
    });
    let (most, counts) = (sampler.most(), agent.plugin("log_features"));
    let series = sink.taken().series.len();
    let groups = sink.taken().series.find("log_requests{").len();
    pause(2.0);
    let cpu = cpu_seconds(agent.pid());
    pause(5.0);
    let used = cpu_seconds(agent.pid()) - cpu;
    case.saw(format!(
        "VmHWM {} MiB, at most {} descriptors; {series} series, {groups} groups of {names} names, \
         the rest counted as other; log_features counts {} drops {}; idle afterwards: {used:.2} CPU-s in 5 s",
        most.hwm_kib >> 10,
        most.fds,
        counts["counts"],
        counts["drops"]
    ));
    assert!(most.hwm_kib <= LIMIT_KIB, "{most:?}");
    assert!(groups <= 101, "{groups} groups of {names} names");
    assert!(used < 1.0, "{used} s of processor time in 5 s of doing nothing");
    bed::conserved(&agent);
    agent.stop();
}
