//! A backend whose connections fail (F7): it never answers, answers a byte a second, resets in the middle, takes a request and
//! loses the answer, vanishes with the connection half open, or does not listen.

use std::time::{Duration, Instant};

use super::bed::{self, Options, pause};
use super::case::Case;
use super::kills::{BUSY, warm};
use super::proc::Sampler;
use super::sink::{Mode, Sink};
use crate::live::stack::{Agent, until};

/// Descriptors and threads that may come and go with a connection.
const SLACK: u64 = 4;

/// One fault for a while: afterwards everything is there, and the agent holds no more descriptors and threads than before.
fn connection_fault(case: &Case, mode: &Mode) {
    let taken_without_answer = matches!(mode, Mode::ResetAfter | Mode::HalfOpen);
    let seconds = case.pick(2.0, 60.0); // at least: the longer it lasts, the longer may the agent pause after it
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", case.pick(2_000, 10_000));
    let options = Options { agent: BUSY, loki: "timeout = \"2s\"", ..Options::default() };
    let config = bed::config(&[&logs.join("a.log")], &sink, options);
    let mut agent = Agent::start(&case.dir("agent"), &config);
    let state = |agent: &Agent| agent.plugin("loki")["state"].clone();
    warm(&sink, "a", &writer);
    pause(1.0);
    let before = Sampler::start(agent.pid());
    pause(1.0);
    let before = before.most();
    let during = Sampler::start(agent.pid());
    sink.set(mode.clone());
    let began = Instant::now();
    pause(seconds);
    // The first request goes out within `flush_interval`, and is given up after `timeout`.
    until("it meets the fault", Duration::from_secs(10), || state(&agent) == "retrying");
    let (asked, seconds) = (sink.asked(began).len(), began.elapsed().as_secs_f64());
    let word = state(&agent);
    sink.set(Mode::Ok);
    bed::recovered(case, &sink);
    let verdict = bed::settle(case, &sink, "a", writer);
    let most = during.most();
    case.saw(format!(
        "{asked} requests in {seconds:.1} s, state {word}; descriptors {} before, at most {}; threads {}, {}",
        before.fds, most.fds, before.threads, most.threads
    ));
    assert!(verdict.is_whole(), "{verdict:?}");
    assert!(taken_without_answer == (verdict.again > 0), "{mode:?}: {verdict:?}");
    assert!(word == "retrying", "{word}");
    let tries = if *mode == Mode::Refuse { 0..=0 } else { 1..=(2.0 * seconds) as usize + 5 };
    assert!(tries.contains(&asked), "{asked} requests");
    assert!(most.fds <= before.fds + SLACK, "{before:?} {most:?}");
    assert!(most.threads <= before.threads + SLACK, "{before:?} {most:?}");
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    assert!(agent.stop() < Duration::from_secs(10));
}

pub(super) fn hung(case: &Case) {
    connection_fault(case, &Mode::Hang);
}

pub(super) fn drip(case: &Case) {
    connection_fault(case, &Mode::Drip);
}

pub(super) fn reset_mid_body(case: &Case) {
    connection_fault(case, &Mode::ResetMidBody);
}

pub(super) fn answer_lost(case: &Case) {
    connection_fault(case, &Mode::ResetAfter);
}

pub(super) fn half_open(case: &Case) {
    connection_fault(case, &Mode::HalfOpen);
}

pub(super) fn refused(case: &Case) {
    connection_fault(case, &Mode::Refuse);
}
