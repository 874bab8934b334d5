//! Any sequence of writing, rotating and restarting: each line once, in its order, under its name.

use proptest::prelude::*;

use super::harness::Place;
use super::steps::Steps;

const BEGINNING: &str = "start = \"beginning\"";

#[derive(Clone, Copy, Debug)]
enum Rotation {
    None,
    Rename,
    Copy,
    CopyOver,
}

#[derive(Clone, Copy, Debug)]
enum Agent {
    Nothing,
    Notices,
    Polls,
    Hears,
    Looks,
    Restarts,
}

#[derive(Clone, Copy, Debug)]
struct Round {
    before: usize,
    partial: bool,
    between: Agent,
    rotation: Rotation,
    after: usize,
    then: Agent,
}

fn agent() -> impl Strategy<Value = Agent> {
    use Agent::{Hears, Looks, Nothing, Notices, Polls, Restarts};
    proptest::sample::select(vec![Nothing, Notices, Polls, Hears, Looks, Restarts])
}

fn round() -> impl Strategy<Value = Round> {
    use Rotation::{Copy, CopyOver, None, Rename};
    let rotation = proptest::sample::select(vec![None, Rename, Copy, CopyOver]);
    let shape = (0_usize..4, any::<bool>(), agent(), rotation, 0_usize..4, agent());
    shape.prop_map(|(before, partial, between, rotation, after, then)| Round {
        before,
        partial,
        between,
        rotation,
        after,
        then,
    })
}

struct World {
    place: Place,
    pattern: &'static str,
    options: String,
    steps: Option<Steps>,
    written: Vec<String>,
    read: Vec<String>,
    copies: usize,
}

impl World {
    fn write(&mut self, lines: usize) {
        for _ in 0..lines {
            let line =
                format!("line {} {}", self.written.len(), "x".repeat(self.written.len() % 700));
            self.place.append("a.log", format!("{line}\n"));
            self.written.push(format!("a.log: {line}"));
        }
    }

    fn begin_line(&mut self) {
        let line = format!("halves {}", self.written.len());
        self.place.append("a.log", &line[..3]);
        self.written.push(format!("a.log: {line}"));
    }

    fn end_line(&mut self) {
        let line = format!("halves {}", self.written.len() - 1);
        self.place.append("a.log", format!("{}\n", &line[3..]));
    }

    async fn agent(&mut self, agent: Agent) {
        if matches!(agent, Agent::Restarts) {
            self.steps = None;
            self.steps = Some(Steps::new(&self.place, self.pattern, &self.options));
        }
        let steps = self.steps.as_mut().unwrap();
        let lines = match agent {
            Agent::Nothing => Vec::new(),
            Agent::Notices => {
                steps.notice();
                Vec::new()
            }
            Agent::Hears => steps.notified().await,
            Agent::Polls | Agent::Restarts => steps.poll().await,
            Agent::Looks => steps.look().await,
        };
        self.read.extend(lines);
    }

    fn shift(&self) {
        for number in (1..self.copies).rev() {
            let (from, to) = (format!("a.log.{number}"), format!("a.log.{}", number + 1));
            if self.place.path(&from).exists() {
                self.place.rename(&from, &to);
            }
        }
    }

    fn rotate(&mut self, rotation: Rotation) {
        self.copies += 1;
        match rotation {
            Rotation::None => {}
            Rotation::Rename => {
                self.shift();
                self.place.rename("a.log", "a.log.1");
                self.place.append("a.log", "");
            }
            Rotation::Copy => {
                self.shift();
                self.place.copy("a.log", "a.log.1");
                self.place.truncate("a.log");
            }
            Rotation::CopyOver => {
                self.place.copy("a.log", "a.log.1");
                self.place.truncate("a.log");
            }
        }
    }
}

fn each_line_once(pattern: &'static str, few_open: bool, rounds: Vec<Round>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        place.append("a.log", "");
        let options = format!("{BEGINNING}\nmax_open_files = {}", if few_open { 1 } else { 512 });
        let steps = Some(Steps::new(&place, pattern, &options));
        let (written, read) = (Vec::new(), Vec::new());
        let mut world = World { place, pattern, options, steps, written, read, copies: 0 };
        for round in rounds {
            world.write(1);
            world.agent(Agent::Notices).await; // what is copied and cut off before anyone looks is nobody's to find
            world.write(round.before);
            if round.partial {
                world.begin_line();
            }
            world.agent(round.between).await;
            if round.partial {
                world.end_line();
            }
            world.rotate(round.rotation);
            world.write(round.after);
            world.agent(round.then).await;
            world.agent(Agent::Looks).await;
            world.agent(Agent::Looks).await;
        }
        let drops = world.steps.unwrap().counters.drops();
        assert_eq!(world.read, world.written, "{drops:?}");
    });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases / 4, // each start of the agent waits for the disk
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_line_is_read_once_however_the_file_is_rotated(
        rounds in proptest::collection::vec(round(), 1..8), few in any::<bool>(), all in any::<bool>(),
    ) {
        each_line_once(if all { "a.log*" } else { "a.log" }, few, rounds);
    }
}
