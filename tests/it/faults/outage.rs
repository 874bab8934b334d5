//! A backend that answers, but not well: 503, 429 with `Retry-After`, 401, and 400 for one bad line or series (F5, F6).

use std::time::{Duration, Instant};

use serde_json::json;

use super::bed::{self, Options, pause};
use super::case::Case;
use super::kills::{BUSY, warm};
use super::oracle;
use super::rotation::append;
use super::sink::{Mode, Sink};
use crate::live::stack::{Agent, until};

/// F5: the backend is down for 10 minutes. Few requests meanwhile, everything after it, in order, and quickly.
pub(super) fn sink_503(case: &Case) {
    let (outage, rate) = case.pick((6, 3_000), (600, 10_000));
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", rate);
    let config = bed::config(&[&logs.join("a.log")], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    let down = Instant::now();
    sink.set(Mode::Answer(503, None));
    pause(outage as f64);
    bed::conserved(&agent);
    sink.set(Mode::Ok);
    let asked = sink.asked(down);
    bed::recovered(case, &sink);
    let drained = Instant::now();
    let newest = writer.numbered();
    let limit = Duration::from_secs(2 * outage) + bed::LONGEST_PAUSE;
    until("the backlog is drained", limit, || sink.taken().oracle.has("a", newest));
    case.saw(format!("drained in {:.1} s", drained.elapsed().as_secs_f64()));
    let verdict = bed::settle(case, &sink, "a", writer);
    // Full jitter: single pauses may be short, five seconds of them are not.
    let busiest = asked.iter().map(|first| {
        let near = |other: &&super::sink::Asked| {
            other.at >= first.at && other.at < first.at + Duration::from_secs(5)
        };
        asked.iter().filter(near).count()
    });
    let busiest = busiest.max().unwrap_or(0);
    case.saw(format!("{} requests in {outage} s down, at most {busiest} in 5 s", asked.len()));
    assert!(asked.len() >= 2, "it did not ask while the sink was down");
    assert!(busiest <= 10, "more than 2 requests a second");
    assert!(verdict.is_exact(), "{verdict:?}");
    assert_eq!(sink.taken().streams.backwards, 0, "times of a stream went back");
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// F6: who says "not before 7 s" is not asked before.
pub(super) fn retry_after(case: &Case) {
    let (rounds, after) = case.pick((1, 4), (8, 7)); // the agent's own first pause is half a second at most
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", 2_000);
    let options = Options { agent: BUSY, ..Options::default() };
    let config = bed::config(&[&logs.join("a.log")], &sink, options);
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    let limited = Instant::now();
    sink.set(Mode::Answer(429, Some(after)));
    let patience = Duration::from_secs(rounds * (after + 3) + 10);
    let refused =
        |sink: &Sink| sink.asked(limited).iter().filter(|asked| asked.status == 429).count() as u64;
    until("it is sent away", patience, || refused(&sink) >= rounds);
    sink.set(Mode::Ok);
    bed::recovered(case, &sink);
    let asked = sink.asked(limited);
    let pauses = asked.windows(2).filter(|pair| pair[0].status == 429);
    let pauses: Vec<Duration> = pauses.map(|pair| pair[1].at - pair[0].at).collect();
    case.saw(format!("pauses after a 429: {pauses:.1?}"));
    let early = pauses.iter().filter(|pause| **pause < Duration::from_secs(after)).count();
    assert_eq!(early, 0, "asked again before {after} s: {pauses:?}");
    let verdict = bed::settle(case, &sink, "a", writer);
    assert!(verdict.is_exact(), "{verdict:?}");
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// F6: wrong credentials for a while. Nothing is dropped, and the backend is asked each half minute, not more.
pub(super) fn refused_401(case: &Case) {
    let seconds = case.pick(5, 60);
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", 2_000);
    let config = bed::config(&[&logs.join("a.log")], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    let refused = Instant::now();
    sink.set(Mode::Answer(401, None));
    until("loki is held", Duration::from_secs(15), || agent.plugin("loki")["state"] == "held");
    pause(seconds as f64);
    bed::conserved(&agent);
    sink.set(Mode::Ok);
    bed::recovered(case, &sink);
    let asked = sink.asked(refused).iter().filter(|asked| asked.status == 401).count() as u64;
    case.saw(format!("{asked} requests while refused for {seconds} s"));
    assert!(asked <= 3 + seconds / 30, "{asked} requests while refused");
    let verdict = bed::settle(case, &sink, "a", writer);
    assert!(verdict.is_exact(), "{verdict:?}");
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// What the poisoned sink does not like.
const MARK: &str = "POISON";

/// F6: the backend refuses whole requests that hold one bad line, and says only 400. The line is found, counted, kept in the
/// dead letters, and no other is lost with it.
pub(super) fn poisoned_line(case: &Case) {
    let rounds = case.pick(2, 20);
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    sink.set(Mode::Poison(MARK));
    let (good, bad) = (logs.join("a.log"), logs.join("bad.log"));
    let writer = bed::write(&logs, "a", 3_000);
    std::fs::write(&bad, "").unwrap();
    let config = bed::config(&[&good, &bad], &sink, Options::default());
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    let rejected = |agent: &Agent| agent.plugin("loki")["drops"]["rejected"].as_u64().unwrap_or(0);
    for round in 0..rounds {
        let around = oracle::text("bad", 2 * round..2 * round + 1);
        let after = oracle::text("bad", 2 * round + 1..2 * round + 2);
        append(&bad, &format!("{around}a {MARK} line\n{after}"));
        until("the line is found", Duration::from_secs(40), || rejected(&agent) > round);
    }
    bed::live(&sink, "a", &writer);
    let verdict = bed::settle(case, &sink, "a", writer);
    let beside = bed::arrived(&sink, "bad", 2 * rounds);
    case.saw(format!("{rounds} bad lines, {} rejected; beside them {beside}", rejected(&agent)));
    assert!(verdict.is_exact() && beside.is_exact(), "{verdict:?} {beside:?}");
    assert_eq!(agent.plugin("loki")["drops"], json!({ "rejected": rounds }));
    assert_eq!(agent.status()["dead_letters"], rounds);
    let letters = std::fs::read_dir(agent.dir.join("state")).unwrap().flatten();
    let kept = letters.filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    let kept: usize = kept.map(|text| text.matches(MARK).count()).sum();
    assert!(kept as u64 >= rounds, "the dead letters hold {kept} of {rounds}");
    bed::conserved(&agent);
    agent.stop();
}

/// F6: the same for one series among all those of the host.
pub(super) fn poisoned_series(case: &Case) {
    let seconds = case.pick(6.0, 60.0);
    let sink = Sink::start();
    sink.set(Mode::Poison("mem_free"));
    let config = format!("[agent]\nbackfill = \"off\"\n{}", bed::host_metrics(&sink));
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let samples = |name: &str| sink.taken().series.find(name).first().map_or(0, |(_, c)| c.samples);
    until("the first samples", Duration::from_secs(40), || samples("mem_total{") > 1);
    pause(seconds);
    let (good, other, bad) = (samples("mem_total{"), samples("mem_used{"), samples("mem_free{"));
    let gap = sink.taken().series.find("mem_total{")[0].1.largest_gap_ms;
    let vm = agent.plugin("victoriametrics");
    let (rejected, all) =
        (vm["drops"]["rejected"].as_u64().unwrap_or(0), sink.taken().series.len());
    case.saw(format!(
        "{all} series; mem_total {good} samples, largest gap {gap} ms; {rejected} of mem_free rejected"
    ));
    assert_eq!(bad, 0);
    assert!(rejected >= good.saturating_sub(3), "{vm:#}");
    assert!(rejected <= good + 3, "more than the one series was dropped: {vm:#}");
    assert!(good.abs_diff(other) <= 1 && gap < 2_500, "{good} {other} {gap}");
    assert!(all > 50, "{all} series");
    bed::conserved(&agent);
    agent.stop();
}
