//! Lines of the product's own generator in a topic, and what became of them.
//!
//! `sentinelops generate` makes a line of its seed, its number and its time alone: the same command into a file, afterwards, makes
//! them again byte for byte. So a lost, doubled, changed or invented line is seen as by the oracle's own rule.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::oracle::Verdict;
use crate::live::kafka::broker::Broker;
use crate::live::stack::now_ms;

/// Hosts, whose names are the keys of the messages: enough for each partition to have some.
const HOSTS: &str = "16";
/// Numbers of lost lines that are told.
const MOST_TOLD: usize = 10;

/// The generator at work.
pub(crate) struct Making {
    child: Child,
    options: Vec<String>,
    lines: u64,
}

impl Making {
    /// `lines` lines of a web site at a rate, from now on.
    pub(crate) fn start(broker: &Broker, topic: &str, seed: u64, rate: u64, lines: u64) -> Making {
        let start = now_ms() / 1000;
        let options = format!(
            "--kind web --hosts {HOSTS} --seed {seed} --start {start} --rate {rate} --lines {lines}"
        );
        let options: Vec<String> = options.split(' ').map(str::to_owned).collect();
        let mut command = generate(&options);
        command.args(["--kafka", broker.address(), "--topic", topic, "--timeout", "2m"]);
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        Making { child, options, lines }
    }

    pub(crate) fn is_done(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits until all is made and acknowledged; then makes it again, to judge by.
    pub(crate) fn finish(self, folder: &Path) -> Made {
        let output = self.child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        assert!(said.ends_with(&format!("; {} acknowledged\n", self.lines)), "{said}");
        let file = folder.join("made.log");
        let again = generate(&self.options).arg("--output").arg(&file).output().unwrap();
        assert!(again.status.success(), "{again:?}");
        let mut made = Made::default();
        for line in BufReader::new(std::fs::File::open(file).unwrap()).lines() {
            made.expect(&line.unwrap());
        }
        assert_eq!(made.written, self.lines);
        made
    }
}

fn generate(options: &[String]) -> Command {
    let mut command = Command::new(crate::cli::binary());
    command.arg("generate").args(options);
    command
}

/// How often a line was made, how often it came, and its number.
#[derive(Default)]
struct Times {
    made: u32,
    came: u32,
    number: u64,
}

/// What was made, and what came of it. Of each line its hash is kept: long runs are millions of them.
#[derive(Default)]
pub(crate) struct Made {
    lines: HashMap<u64, Times, BuildHasherDefault<DefaultHasher>>,
    written: u64,
    unknown: u64,
}

impl Made {
    fn expect(&mut self, line: &str) {
        let times = self.lines.entry(hash(line)).or_default();
        times.made += 1;
        times.number = self.written;
        self.written += 1;
    }

    /// A line came.
    pub(crate) fn take(&mut self, line: &str) {
        match self.lines.get_mut(&hash(line)) {
            Some(times) => times.came += 1,
            None => self.unknown += 1,
        }
    }

    /// What is to be said of all.
    pub(crate) fn verdict(&self) -> Verdict {
        let (mut lost, mut again, mut first_lost) = (0, 0, Vec::new());
        for times in self.lines.values() {
            let missing = u64::from(times.made.saturating_sub(times.came));
            again += u64::from(times.came.saturating_sub(times.made));
            lost += missing;
            if missing > 0 {
                first_lost.push(times.number);
            }
        }
        first_lost.sort_unstable();
        first_lost.truncate(MOST_TOLD);
        let (written, unknown) = (self.written, self.unknown);
        Verdict { written, lost, first_lost, again, backwards: 0, unknown }
    }
}

fn hash(line: &str) -> u64 {
    BuildHasherDefault::<DefaultHasher>::default().hash_one(line)
}

#[test]
fn what_was_made_is_judged_for_loss_doubles_and_strangers() {
    let mut made = Made::default();
    for line in ["a 0", "b 1", "a 0", "c 3"] {
        made.expect(line);
    }
    for line in ["a 0", "a 0", "b 1", "c 3"] {
        made.take(line);
    }
    assert!(made.verdict().is_exact());
    made.take("b 1");
    assert_eq!((made.verdict().again, made.verdict().lost), (1, 0));
    made.take("b 2");
    assert_eq!(made.verdict().unknown, 1, "nobody made it");
    let mut made = Made::default();
    for line in ["a 0", "a 0", "b 1"] {
        made.expect(line);
    }
    made.take("a 0");
    assert_eq!((made.verdict().lost, made.verdict().first_lost), (2, vec![1, 2]), "one of two");
}
