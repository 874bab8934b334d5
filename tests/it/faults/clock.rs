//! Clocks that jump (F16) and an outage that is long by the clock (F8). The agent's wall clock is moved by libfaketime, which
//! leaves its monotonic clock alone; without the library (Debian's `libfaketime`) the tests say so.

use std::path::{Path, PathBuf};
use std::time::Instant;

use super::bed::{self, Options, pause};
use super::case::Case;
use super::kills::{BUSY, warm};
use super::proc::cpu_seconds;
use super::sink::{Mode, Sink};
use crate::live::stack::{Agent, now_ms};

/// The agent's clock.
struct Clock {
    file: PathBuf,
    library: String,
}

impl Clock {
    /// None, and said, without the library.
    fn new(case: &Case) -> Option<Clock> {
        let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
        let libraries = folders.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1"));
        let Some(library) = libraries.into_iter().find(|path| path.exists()) else {
            case.skip("libfaketime is not installed");
            return None;
        };
        let clock =
            Clock { file: case.folder.join("clock"), library: library.display().to_string() };
        clock.set(0);
        Some(clock)
    }

    /// So many seconds ahead of the real one.
    fn set(&self, ahead_s: i64) {
        let next = self.file.with_extension("next");
        std::fs::write(&next, format!("{ahead_s:+}\n")).unwrap();
        std::fs::rename(&next, &self.file).unwrap();
    }

    fn start(&self, dir: &Path, config: &str) -> Agent {
        let words = [
            "env".to_owned(),
            format!("LD_PRELOAD={}", self.library),
            format!("FAKETIME_TIMESTAMP_FILE={}", self.file.display()),
            "FAKETIME_NO_CACHE=1".to_owned(), // with a cache its threads see two clocks for a while
            "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
            "DONT_FAKE_MONOTONIC=1".to_owned(),
            "NO_FAKE_STAT=1".to_owned(),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Agent::start_by(&words, dir, config)
    }
}

const HOUR: i64 = 3600;

/// F8: an outage of 90 minutes by the agent's clock, while lines go on. A backend with Loki's rule then refuses none of them,
/// because the old ones of a stream go first.
pub(super) fn loki_window(case: &Case) {
    let Some(clock) = Clock::new(case) else { return };
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", case.pick(8_000, 20_000));
    // Little memory: what does not fit stays in the file, and is read when the outage is over.
    let options = Options { agent: "memory = \"4MiB\"", ..Options::default() };
    let config = bed::config(&[&logs.join("a.log")], &sink, options);
    let mut agent = clock.start(&case.dir("agent"), &config);
    sink.set(Mode::Window(0));
    warm(&sink, "a", &writer);
    sink.set(Mode::Answer(503, None));
    for step in 1..=6 {
        pause(case.pick(1.0, 15.0));
        clock.set(step * 15 * 60);
    }
    pause(case.pick(1.0, 3.0));
    sink.set(Mode::Window(6 * 15 * 60));
    bed::recovered(case, &sink);
    let verdict = bed::settle(case, &sink, "a", writer);
    let (behind, minutes) = {
        let taken = sink.taken();
        (taken.streams.behind, taken.streams.span_ns() / 60_000_000_000)
    };
    case.saw(format!("entries of {minutes} minutes, {behind} too far behind"));
    assert!(minutes >= 80, "the clock was not moved: {minutes} minutes");
    assert_eq!(behind, 0);
    assert!(verdict.is_exact(), "{verdict:?}");
    bed::conserved(&agent);
    bed::nothing_dropped(&agent);
    agent.stop();
}

/// F16: the clock jumps 2 h ahead, back, beyond 2038, and back. Collection and delivery go on, nothing spins, and a series goes
/// back in time only when the clock does. (F16 asks for series that never go back: after 2038 there would be no samples for
/// years. What is written is what is seen: README says so.)
pub(super) fn clock_jumps(case: &Case) {
    let Some(clock) = Clock::new(case) else { return };
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    let writer = bed::write(&logs, "a", 1_000);
    let more = bed::host_metrics(&sink);
    let config = bed::config(
        &[&logs.join("a.log")],
        &sink,
        Options { agent: BUSY, more: &more, ..Options::default() },
    );
    let mut agent = clock.start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    let beyond_2038 = 2_148_000_000 - now_ms() / 1000;
    for ahead in [2 * HOUR, 0, -2 * HOUR, beyond_2038, 0] {
        let samples = |sink: &Sink| {
            let taken = sink.taken();
            taken.series.find("mem_total{").first().map_or(0, |(_, course)| course.samples)
        };
        clock.set(ahead);
        pause(1.2);
        let (before, cpu, from) = (samples(&sink), cpu_seconds(agent.pid()), Instant::now());
        let took = bed::live(&sink, "a", &writer);
        pause(2.0);
        let (used, came) = (cpu_seconds(agent.pid()) - cpu, samples(&sink) - before);
        let seconds = from.elapsed().as_secs_f64();
        case.saw(format!(
            "{ahead:+} s: a line in {:.1} s, {came} samples in {seconds:.1} s, {used:.2} CPU-s",
            took.as_secs_f64()
        ));
        assert!(came > 0, "no samples after the clock went to {ahead:+} s");
        assert!(used < seconds / 2.0, "{used} s of processor time in {seconds} s");
    }
    let verdict = bed::settle(case, &sink, "a", writer);
    let (streams, series) = {
        let taken = sink.taken();
        let (name, times) = taken.series.most_backwards();
        case.saw(format!("{name} went back {times} times, the clock 3 times"));
        (taken.streams.backwards, times)
    };
    case.saw(format!("entries of a stream that went back: {streams}"));
    // Lines around a step back go sorted by time into one request, or Loki would refuse them: their order there is another.
    assert!(verdict.is_whole() && verdict.again == 0, "{verdict:?}");
    assert!(series <= 3, "a series went back {series} times, the clock 3 times");
    bed::conserved(&agent);
    agent.stop();
}

/// F16: the clock was 2 h ahead, Loki refused its lines as too new, and the clock is put right. From then on lines are taken.
/// What was refused is counted and in the dead letters.
pub(super) fn clock_put_right(case: &Case) {
    let Some(clock) = Clock::new(case) else { return };
    let (sink, logs) = (Sink::start(), case.dir("logs"));
    sink.set(Mode::Window(0));
    let writer = bed::write(&logs, "a", 500);
    let config = bed::config(&[&logs.join("a.log")], &sink, Options::default());
    let mut agent = clock.start(&case.dir("agent"), &config);
    warm(&sink, "a", &writer);
    clock.set(2 * HOUR);
    pause(4.0);
    let refused = sink.taken().streams.ahead;
    assert!(refused > 0, "nothing was too new");
    clock.set(0);
    pause(2.0);
    let took = bed::live(&sink, "a", &writer);
    case.saw(format!("{refused} lines were too new; a line {:.1} s after", took.as_secs_f64()));
    bed::conserved(&agent);
    agent.stop();
}
