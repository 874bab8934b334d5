//! `kill -9` under load (F1, F2): nothing is lost, and what comes twice is at most the one request that was under way.
//!
//! That a kill had something to lose is proved from outside: the file was longer before the kill than the saved position
//! that is found after it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::bed::{self, Options, pause};
use super::case::Case;
use super::oracle::{self, Oracle};
use super::sink::{Mode, Sink};
use crate::live::disorder::Random;
use crate::live::load::Writer;
use crate::live::stack::{self, Agent, Server, until};

/// What the kills met and did.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    /// Kills while bytes of the file were not acknowledged.
    met_unacknowledged: u64,
    /// Kills after which lines came again: a request was under way.
    met_request: u64,
    /// Most lines that came again after one kill.
    most_again: u64,
    again: u64,
}

impl Tally {
    /// What came again since the last kill.
    fn count(&mut self, sink: &Sink, source: &str) {
        let taken = sink.taken();
        let again = taken.oracle.lines(source) - taken.oracle.distinct(source);
        let new = again - self.again;
        self.again = again;
        self.met_request += u64::from(new > 0);
        self.most_again = self.most_again.max(new);
    }

    fn judge(&self, case: &Case, sink: &Sink) {
        let largest = sink.taken().largest;
        let Tally { kills, met_unacknowledged, met_request, most_again, .. } = self;
        case.saw(format!(
            "{met_unacknowledged} of {kills} kills met unacknowledged bytes, {met_request} a request under way; at most \
             {most_again} lines again after a kill, largest request {largest}"
        ));
        assert!(*most_again <= largest, "more than one batch came again after one kill");
        assert!(4 * met_unacknowledged >= 3 * kills, "the kills had nothing to lose");
    }
}

/// The saved position of a file, as the log in the state folder has it.
fn acknowledged(agent: &Agent, file: &Path) -> u64 {
    let log = std::fs::read_to_string(agent.dir.join("state/positions/tail.log"));
    let inode = std::fs::metadata(file).unwrap().ino().to_string();
    let log = log.unwrap_or_default();
    let offset = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let ours = words.get(1) == Some(&"p") && words.get(3) == Some(&inode.as_str());
        ours.then(|| words.get(4)?.parse().ok()).flatten()
    };
    log.lines().rev().find_map(offset).unwrap_or(0)
}

/// Kills the agent again and again at random moments, and starts it at once each time.
fn kill_again_and_again(
    agent: &mut Agent,
    sink: &Sink,
    file: &Path,
    (kills, random): (u64, &mut Random),
) -> Tally {
    let mut tally = Tally::default();
    for _ in 0..kills {
        std::thread::sleep(Duration::from_millis(50 + random.below(1950)));
        let there = std::fs::metadata(file).unwrap().len();
        agent.kill();
        std::thread::sleep(Duration::from_millis(30)); // what it has sent has come
        sink.decided();
        tally.count(sink, "a");
        tally.kills += 1;
        tally.met_unacknowledged += u64::from(there > acknowledged(agent, file));
        agent.launch();
    }
    agent.wait_ready();
    tally
}

/// A request is made as soon as there are lines: a kill then meets one under way more often than not, and nobody waits for
/// the next.
pub(super) const BUSY: &str = "flush_interval = \"100ms\"";

/// F1: the mock takes up to a second for an answer.
pub(super) fn kill_loop(case: &Case) {
    let (kills, rate) = case.pick((8, 5_000), (50, 20_000));
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    sink.delay(Duration::from_secs(1));
    let writer = bed::write(&logs, "a", rate);
    let file = logs.join("a.log");
    let options = Options { agent: BUSY, ..Options::default() };
    let config = bed::config(&[&file], &sink, options);
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let mut tally = kill_again_and_again(&mut agent, &sink, &file, (kills, &mut case.random()));
    sink.delay(Duration::ZERO);
    bed::live(&sink, "a", &writer);
    let verdict = bed::settle(case, &sink, "a", writer);
    tally.count(&sink, "a");
    assert!(verdict.is_whole(), "{verdict:?}");
    tally.judge(case, &sink);
    assert!(tally.met_request > 0, "no kill met a request under way");
    bed::conserved(&agent);
    agent.stop();
}

/// The same against real Loki, through a forwarding sink that sees what Loki took, and with host metrics to VictoriaMetrics.
pub(super) fn kills_real(case: &Case) {
    if !stack::asked() {
        return case.skip("SENTINEL_STACK is not set");
    }
    let (kills, rate) = case.pick((8, 5_000), (200, 20_000));
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let loki = Server::start("loki", &case.folder);
    let vm = Server::start("victoriametrics", &case.folder);
    sink.set(Mode::Forward(loki.url.clone()));
    let writer = bed::write(&logs, "a", rate);
    let file = logs.join("a.log");
    let metrics = format!(
        "[[inputs.system]]\ninterval = \"1s\"\n[[outputs.victoriametrics]]\nurl = \"{}\"\n",
        vm.url
    );
    let options = Options { agent: BUSY, more: &metrics, ..Options::default() };
    let config = bed::config(&[&file], &sink, options);
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let mut tally = kill_again_and_again(&mut agent, &sink, &file, (kills, &mut case.random()));
    bed::live(&sink, "a", &writer);
    let verdict = bed::settle(case, &sink, "a", writer);
    tally.count(&sink, "a");
    assert!(verdict.is_whole(), "{verdict:?}");
    tally.judge(case, &sink);
    bed::conserved(&agent);
    let now = stack::now_ms() as f64 / 1000.0;
    until("metrics go on", Duration::from_secs(15), || newest_sample(&vm) > now);
    agent.stop();
    in_loki(case, &loki, verdict.written);
}

/// What Loki itself has to say.
fn in_loki(case: &Case, loki: &Server, written: u64) {
    let mut oracle = Oracle::default();
    stack::loki_pages(loki, "{job=\"faults\"}", |page| {
        for line in page {
            oracle.take(&line.text);
        }
    });
    let verdict = oracle.verdict("a", written);
    case.saw(format!("Loki has of a: {verdict}"));
    assert!(verdict.is_whole(), "{verdict:?}");
}

/// The time of the newest sample that VictoriaMetrics has, in seconds.
fn newest_sample(vm: &Server) -> f64 {
    let newest = stack::metrics(vm, "max(timestamp(mem_total))");
    newest.first().map_or(0.0, |(_, seconds)| *seconds)
}

/// F2, host metrics: the backend (a real VictoriaMetrics behind a sink that refuses for a while) is out of reach, the agent is
/// killed meanwhile, and every sample that was taken arrives: there is no gap but while no agent ran (and the
/// second before, whose gather was under way).
pub(super) fn metrics_survive_kills(case: &Case) {
    if !stack::asked() {
        return case.skip("SENTINEL_STACK is not set");
    }
    let kills = case.pick(2, 10);
    let vm = Server::start("victoriametrics", &case.folder);
    let sink = Sink::start();
    sink.set(Mode::Forward(vm.url.clone()));
    let config = format!("[agent]\nbackfill = \"off\"\n{}", bed::host_metrics(&sink));
    let mut agent = Agent::start(&case.dir("agent"), &config);
    until("the first samples", Duration::from_secs(20), || newest_sample(&vm) > 0.0);
    let began = stack::now_ms();
    sink.set(Mode::Answer(503, None));
    let mut dead = Vec::new();
    for _ in 0..kills {
        pause(case.pick(3.5, 5.0));
        let from = stack::now_ms();
        agent.kill();
        pause(0.5);
        agent.again();
        dead.push((from - 1_200, stack::now_ms() + 2_000));
    }
    pause(case.pick(3.5, 5.0));
    sink.set(Mode::Forward(vm.url.clone()));
    let back = stack::now_ms();
    let newest = || newest_sample(&vm) * 1000.0 > back as f64;
    until("a new sample", bed::LONGEST_PAUSE + bed::LIVENESS, newest);
    let times = samples(&vm, "mem_total");
    let gaps: Vec<(i64, i64)> = times
        .windows(2)
        .map(|pair| (pair[0], pair[1]))
        .filter(|(before, after)| after - before > 2_500)
        .collect();
    let during = times.iter().filter(|time| (began..back).contains(*time)).count();
    let lengths: Vec<i64> = gaps.iter().map(|(before, after)| after - before).collect();
    case.saw(format!(
        "{during} samples of an outage of {} s with {kills} kills, gaps of {lengths:?} ms",
        (back - began) / 1000
    ));
    assert!(times[0] < began, "VictoriaMetrics has nothing from before the outage");
    for (before, after) in gaps {
        let explained = dead.iter().any(|(from, to)| before >= *from && after <= *to);
        assert!(explained, "no sample from {before} to {after}, and an agent ran");
    }
    agent.stop();
}

/// Times of all samples of the one series with this name, in milliseconds.
fn samples(vm: &Server, name: &str) -> Vec<i64> {
    let _visible = stack::get(&format!("{}/internal/force_flush", vm.url));
    let url = format!("{}/api/v1/export?match[]={name}", vm.url);
    let text = stack::get(&url).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut times: Vec<i64> = line["timestamps"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(serde_json::Value::as_i64)
        .collect();
    times.sort_unstable();
    times
}

/// F13, first half: a line that is written in two parts, the agent killed between them, is one line.
pub(super) fn partial_lines(case: &Case) {
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let file = logs.join("a.log");
    let mut out = std::fs::File::create(&file).unwrap();
    let config = bed::config(&[&file], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let rounds = case.pick(2, 10);
    let mut written = 0;
    for round in 0..rounds {
        let text = oracle::text("a", written..written + 3);
        written += 3;
        let middle = text.len() - 30;
        std::io::Write::write_all(&mut out, &text.as_bytes()[..middle]).unwrap();
        // The first longer than any pause of the agent, so that it has seen the half and delivered what was before it.
        pause(if round == 0 { 5.0 } else { 1.2 });
        agent.crash();
        pause(0.7);
        std::io::Write::write_all(&mut out, &text.as_bytes()[middle..]).unwrap();
    }
    let verdict = bed::arrived(&sink, "a", written);
    case.saw(format!("{rounds} kills within a line: {verdict}"));
    assert!(verdict.is_whole(), "{verdict:?} {:?}", sink.taken().oracle.strange);
    bed::conserved(&agent);
    agent.stop();
}

/// Waits until lines come, and one that is written from now on.
pub(super) fn warm(sink: &Sink, source: &str, writer: &Writer) {
    until("the first lines", Duration::from_secs(30), || sink.taken().oracle.lines(source) > 0);
    bed::live(sink, source, writer);
}
