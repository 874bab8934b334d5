//! Everything for a long time (F23): mixed load, and a random fault every few seconds. Killed only in the first quarter; the
//! growth of memory is judged over the second half, after warming up.

use std::time::{Duration, Instant};

use super::bed::{self, Options, pause};
use super::case::{Case, Size};
use super::kills::warm;
use super::proc::Sampler;
use super::sink::{Mode, Sink};
use crate::live::disorder::Random;
use crate::live::load::Writer;
use crate::live::stack::{Agent, signal};

/// Longer than `poll_interval`: a file lives for at least this long.
const LOOK: f64 = 1.6;

/// Descriptors that faults need for a while: rotated files and copies that are not finished, segments of four lanes, further
/// connections.
const COMES_AND_GOES: u64 = 24;

/// One fault, for as long as it lasts; its name.
fn happens(
    (agent, sampler): (&mut Agent, &Sampler),
    writer: &Writer,
    sink: &Sink,
    (random, may_kill, seconds): (&mut Random, bool, f64),
) -> &'static str {
    let backend = |mode: Mode, name: &'static str| {
        sink.set(mode);
        pause(seconds);
        sink.set(Mode::Ok);
        name
    };
    match random.below(if may_kill { 13 } else { 11 }) {
        0 => backend(Mode::Answer(503, None), "503"),
        1 => backend(Mode::Answer(429, Some(2)), "429"),
        2 => backend(Mode::Hang, "hung"),
        3 => backend(Mode::Drip, "drip"),
        4 => backend(Mode::ResetMidBody, "reset"),
        5 => backend(Mode::ResetAfter, "answer lost"),
        6 => backend(Mode::Refuse, "nobody listens"),
        7 => {
            pause(LOOK);
            writer.rename_and_create();
            pause(LOOK);
            "renamed"
        }
        8 => {
            pause(LOOK);
            writer.copy_and_truncate();
            pause(LOOK);
            "truncated"
        }
        9 => backend(Mode::Paced(50_000), "slow"),
        10 => {
            signal(agent.pid(), "STOP");
            pause(seconds / 2.0);
            signal(agent.pid(), "CONT");
            "stopped for a while"
        }
        11 => {
            agent.crash();
            sampler.follow(agent.pid());
            "killed"
        }
        _ => {
            agent.stop();
            pause(seconds / 4.0);
            agent.again();
            sampler.follow(agent.pid());
            "restarted"
        }
    }
}

pub(super) fn soak(case: &Case) {
    let (minutes, every, rate) = match case.size {
        Size::Short => (0.2, 2.4, 3_000),
        Size::Full => (10.0, 10.0, 5_000),
        Size::Soak => (minutes(45.0), 10.0, 5_000),
    };
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", rate);
    let more = bed::host_metrics(&sink);
    let options = Options { more: &more, loki: "timeout = \"2s\"", ..Options::default() };
    let config = bed::config(&[&logs.join("a.log")], &sink, options);
    let mut agent = Agent::start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    pause(2.0);
    let before = Sampler::start(agent.pid());
    pause(1.0);
    let before = before.most().fds;
    let sampler = Sampler::start(agent.pid());
    let (mut random, began) = (case.random(), Instant::now());
    let length = Duration::from_secs_f64(minutes * 60.0);
    let mut story = Vec::new();
    while began.elapsed() < length {
        let may_kill = began.elapsed() < length / 4;
        let next = Instant::now() + Duration::from_secs_f64(every);
        let within = (&mut random, may_kill, every / 2.0);
        story.push(happens((&mut agent, &sampler), &writer, &sink, within));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
        drop_old(&logs);
    }
    eprintln!("  what happened: {}", story.join(", "));
    let slope = sampler.slope_kib_per_hour(began + length / 2);
    let verdict = bed::settle(case, &sink, "a", writer);
    let most = sampler.most();
    case.saw(format!(
        "{} faults; memory {slope:+.0} KiB/h, at most {} MiB; {before} descriptors before, at most {}; {} threads",
        story.len(),
        most.hwm_kib >> 10,
        most.fds,
        most.threads
    ));
    assert!(verdict.is_whole(), "{verdict:?} after {}", story.join(", "));
    assert!(most.fds <= before + COMES_AND_GOES && most.threads < 20, "{before} before, {most:?}");
    if case.size == Size::Soak {
        assert!(slope < 1024.0, "the memory grows by {slope} KiB an hour");
    }
    bed::conserved(&agent);
    agent.stop();
}

/// `SENTINEL_FAULT_MINUTES`, for a longer or a shorter soak.
fn minutes(default: f64) -> f64 {
    let set = std::env::var("SENTINEL_FAULT_MINUTES").ok();
    set.map_or(default, |text| text.parse().expect("SENTINEL_FAULT_MINUTES is a number"))
}

/// As logrotate: the oldest go. What is left is hours of reading.
fn drop_old(logs: &std::path::Path) {
    for number in 20..100 {
        let _not_there = std::fs::remove_file(logs.join(format!("a.log.{number}")));
    }
}
