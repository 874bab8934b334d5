//! Everything that can happen to delivery, one after the other in a random order from a seed: kills, orderly restarts, both
//! rotations with the agent alive and dead, and a backend that hangs up, with little memory. It found what tests of one
//! fault each did not: files that were rotated again before they were read.
//!
//! `SENTINEL_SEED` and `SENTINEL_SECONDS` change it. Left out is what no agent could know: a file that came and was
//! rotated away while nobody looked (each file is seen for longer than the agent's longest pause between two looks).

use std::path::Path;
use std::time::{Duration, Instant};

use super::load::{Writer, count};
use super::stack::{Agent, asked};
use super::tap::{Mode, Tap};

/// Longer than `poll_interval`.
const LOOK: Duration = Duration::from_millis(1600);

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap())
}

/// Marsaglia's xorshift.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }

    fn pause(&mut self, millis: u64) {
        std::thread::sleep(Duration::from_millis(self.below(millis)));
    }
}

/// Does one thing; its name.
fn happens(agent: &mut Agent, writer: &Writer, tap: &Tap, random: &mut Random) -> &'static str {
    match random.below(8) {
        0 => {
            agent.crash();
            "killed"
        }
        1 => {
            agent.stop();
            agent.again();
            "stopped"
        }
        2 => {
            writer.rename_and_create();
            "renamed"
        }
        3 => {
            std::thread::sleep(LOOK);
            writer.copy_and_truncate();
            std::thread::sleep(LOOK);
            "truncated"
        }
        4 => {
            rotated_while_dead(agent, random, || writer.rename_and_create());
            "renamed while dead"
        }
        5 => {
            rotated_while_dead(agent, random, || writer.copy_and_truncate());
            "truncated while dead"
        }
        6 => {
            tap.set(Mode::Answer(0));
            random.pause(5000);
            "backend gone"
        }
        _ => {
            tap.set(Mode::Answer(204));
            random.pause(1000);
            "backend back"
        }
    }
}

fn rotated_while_dead(agent: &mut Agent, random: &mut Random, rotate: impl Fn()) {
    std::thread::sleep(LOOK);
    agent.kill();
    random.pause(300);
    rotate();
    random.pause(300);
    agent.again();
    std::thread::sleep(LOOK);
}

fn config(file: &Path, url: &str) -> String {
    format!(
        "[agent]\nmemory = \"4MiB\"\n[[inputs.tail]]\nfiles = [\"{}\"]\nstart = \"beginning\"\n[[outputs.loki]]\nurl = \"{url}\"\n",
        file.display()
    )
}

#[test]
fn whatever_happens_in_whatever_order_no_line_is_lost() {
    if !asked() {
        return;
    }
    let seed = setting("SENTINEL_SEED", 39_595);
    let seconds = Duration::from_secs(setting("SENTINEL_SECONDS", 20));
    let mut random = Random(seed);
    let folder = tempfile::tempdir().unwrap();
    let tap = Tap::start(Mode::Answer(204));
    let file = folder.path().join("app.log");
    let writer = Writer::start(&file, 6_000);
    let mut agent = Agent::start(&folder.path().join("agent"), &config(&file, &tap.url));
    std::thread::sleep(LOOK);
    let started = Instant::now();
    let mut story = Vec::new();
    while started.elapsed() < seconds {
        let number = writer.numbered();
        let what = happens(&mut agent, &writer, &tap, &mut random);
        story.push(format!("{number}: {what}"));
    }
    tap.set(Mode::Answer(204));
    let (written, rate) = writer.finish();
    let deadline = Instant::now() + Duration::from_secs(75);
    let counted = loop {
        let lines = tap.lines("app.log");
        let counted = count(lines.iter().map(String::as_str), written);
        if counted.holds_all(written) || Instant::now() > deadline {
            break counted;
        }
        std::thread::sleep(Duration::from_millis(250));
    };
    eprintln!(
        "disorder, seed {seed}: wrote {written:?} at {rate:.0}/s; tap {counted:?} ({} again); {}",
        counted.again(written),
        story.join(", ")
    );
    assert!(counted.holds_all(written), "{counted:?} of {written:?}: {:#}", agent.plugin("tail"));
    agent.stop();
}
