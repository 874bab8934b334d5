//! What is made, and when: seed and time in, pieces of lines, samples and words for the truth file out. No clock of its own.
//!
//! Time goes in steps of a tenth of a second, in which each source (a kind of log on a host) makes its lines, evenly. A
//! [`Piece`] says which lines by number and time; writing it again gives the same bytes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::{ConfigError, Labels, Metric};

use super::anomaly::Wanted;
use super::app::App;
use super::host::Host;
use super::pace::Profile;
use super::random::mix;
use super::schedule::Schedule;
use super::text::Stamp;
use super::truth;
use super::web::Web;
use super::{Config, Data, check};

const STEP_NS: i64 = 100_000_000;
/// A line, in the unit in which a step's lines are counted: no rate is rounded away.
const LINE: u64 = 1_000_000_000;
/// Lines of a piece at most: with their records a batch of 0.3 MB, as a read of inputs.tail.
pub(super) const PIECE_LINES: u64 = 1000;
/// No line is longer.
pub(super) const LONGEST_LINE: usize = 512;

/// Where and when it all is.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The name of the host, or what the names of several begin with.
    pub host: String,
    /// On every stream and series; `host` is replaced.
    pub labels: Labels,
    /// Between samples of host metrics.
    pub interval: Duration,
    /// Nanoseconds since 1970.
    pub start_ns: i64,
}

/// Lines of one source, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which of [`Generator::sources`].
    pub source: usize,
    /// How many lines.
    pub lines: u64,
    /// Of the first line, nanoseconds since 1970.
    pub time_ns: i64,
    /// From one line to the next.
    pub gap_ns: i64,
    /// The number of the first line.
    first: u64,
}

/// Samples of one host at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// Which of the hosts.
    pub host: usize,
    /// Milliseconds since 1970.
    pub time_ms: i64,
}

/// What is due.
#[derive(Debug, PartialEq, Eq)]
pub enum Made {
    /// A line for the truth file, with its line end: an anomaly begins.
    Truth(String),
    /// Lines, to be written by [`Generator::write`].
    Lines(Piece),
    /// Samples, to be had by [`Generator::samples`].
    Samples(Moment),
}

/// A kind of log on a host.
#[derive(Debug)]
pub struct Source {
    /// `web` or `app`.
    pub data: Data,
    /// The host's name.
    pub host: Arc<str>,
    at: usize,
    maker: Maker,
    next: u64,
    /// Part of a line that is due, in units of [`LINE`].
    carry: u64,
}

#[derive(Debug)]
enum Maker {
    Web(Web),
    App(App),
}

/// The generator.
#[derive(Debug)]
pub struct Generator {
    scene: Scene,
    names: Vec<Arc<str>>,
    sources: Vec<Source>,
    hosts: Vec<Host>,
    schedule: Schedule,
    profile: Profile,
    /// Lines a second of each source; 0: as many as are asked for.
    rate: f64,
    step: i64,
    next_sample_ns: i64,
    left: Option<u64>,
    /// The source whose turn it is.
    turn: usize,
    stamp: Stamp,
    pending: VecDeque<Made>,
}

impl Generator {
    /// A generator that begins at the scene's start.
    pub fn new(config: &Config, scene: Scene) -> Result<Self, Vec<ConfigError>> {
        let wanted: Vec<Wanted> = check(config)?;
        let names: Vec<Arc<str>> = match config.hosts {
            1 => vec![scene.host.as_str().into()],
            many => (1..=many).map(|nth| format!("{}-{nth}", scene.host).into()).collect(),
        };
        let mut sources = Vec::new();
        let mut hosts = Vec::new();
        for data in &config.kinds {
            for (at, name) in names.iter().enumerate() {
                let key = mix(config.seed ^ mix((*data as u64) << 32 | at as u64));
                let maker = match data {
                    Data::Web => Maker::Web(Web::new(key)),
                    Data::App => Maker::App(App::new(key)),
                    Data::Host => {
                        let labels = scene.labels.with([("host", &**name)]);
                        hosts.push(Host::new(key, at, config.profile, &labels));
                        continue;
                    }
                };
                let (data, host) = (*data, Arc::clone(name));
                sources.push(Source { data, host, at, maker, next: 0, carry: 0 });
            }
        }
        let every_ns = config.anomaly_every.0.as_nanos() as i64;
        let of = (config.seed, names.len());
        let schedule = Schedule::new(&wanted, every_ns, of, (&config.kinds, config.rate > 0));
        Ok(Generator {
            rate: config.rate as f64 / sources.len().max(1) as f64,
            next_sample_ns: scene.start_ns,
            left: Some(config.lines).filter(|lines| *lines > 0),
            profile: config.profile,
            step: 0,
            turn: 0,
            stamp: Stamp::default(),
            pending: VecDeque::new(),
            scene,
            names,
            sources,
            hosts,
            schedule,
        })
    }

    /// The sources of lines.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }

    /// The names of the hosts that have metrics.
    pub fn metric_hosts(&self) -> &[Arc<str>] {
        if self.hosts.is_empty() { &[] } else { &self.names }
    }

    /// All lines are made that were asked for.
    pub fn is_done(&self) -> bool {
        self.left == Some(0) && self.pending.is_empty()
    }

    /// When the next step is due, nanoseconds since 1970.
    pub fn due_ns(&self) -> i64 {
        self.scene.start_ns.saturating_add(self.step.saturating_mul(STEP_NS))
    }

    /// The next of what is due by a time.
    pub fn next(&mut self, now_ns: i64) -> Option<Made> {
        loop {
            if let Some(made) = self.pending.pop_front() {
                return Some(made);
            }
            if self.left == Some(0) {
                return None;
            }
            if self.due_ns() > now_ns {
                return if self.rate == 0.0 { self.at_once(now_ns) } else { None };
            }
            self.fill();
        }
    }

    /// A piece of the source whose turn it is.
    fn at_once(&mut self, now_ns: i64) -> Option<Made> {
        let lines = self.left.map_or(PIECE_LINES, |left| left.min(PIECE_LINES));
        let source = self.sources.get_mut(self.turn)?;
        let (time_ns, first) = (now_ns, source.next);
        source.next += lines;
        self.left = self.left.map(|left| left - lines);
        let piece = Piece { source: self.turn, lines, time_ns, gap_ns: 1, first };
        self.turn = (self.turn + 1) % self.sources.len();
        Some(Made::Lines(piece))
    }

    /// Makes the next step's part ready.
    fn fill(&mut self) {
        let from_ns = self.step * STEP_NS;
        self.step += 1;
        let upto_ns = from_ns + STEP_NS;
        for anomaly in self.schedule.near(from_ns) {
            if (from_ns..upto_ns).contains(&anomaly.begin_ns) {
                let text = truth::line(&anomaly, &self.names[anomaly.host], self.scene.start_ns);
                self.pending.push_back(Made::Truth(text));
            }
        }
        let begin_ns = self.scene.start_ns + from_ns;
        while !self.hosts.is_empty() && self.next_sample_ns < begin_ns + STEP_NS {
            let time_ms = self.next_sample_ns / 1_000_000;
            let moments = (0..self.hosts.len()).map(|host| Moment { host, time_ms });
            self.pending.extend(moments.map(Made::Samples));
            self.next_sample_ns += (self.scene.interval.as_nanos() as i64).max(STEP_NS);
        }
        if self.rate > 0.0 {
            let level = self.rate * self.profile.level(begin_ns);
            for at in 0..self.sources.len() {
                self.fill_source(at, level, (from_ns, begin_ns));
            }
        }
    }

    /// One source's lines of a step.
    fn fill_source(&mut self, at: usize, level: f64, (offset_ns, begin_ns): (i64, i64)) {
        let source = &mut self.sources[at];
        let effect = self.schedule.effect((source.data, source.at), offset_ns);
        let steps_a_second = (1_000_000_000 / STEP_NS) as f64;
        let units = source.carry + (level * effect.rate * LINE as f64 / steps_a_second) as u64;
        source.carry = units % LINE;
        let due = units / LINE;
        let count = self.left.map_or(due, |left| left.min(due));
        self.left = self.left.map(|left| left - count);
        let gap_ns = STEP_NS / due.max(1) as i64;
        for begin in (0..count).step_by(PIECE_LINES as usize) {
            let lines = PIECE_LINES.min(count - begin);
            let time_ns = begin_ns + begin as i64 * gap_ns;
            let first = source.next + begin;
            self.pending.push_back(Made::Lines(Piece {
                source: at,
                lines,
                time_ns,
                gap_ns,
                first,
            }));
        }
        source.next += count;
    }

    /// Appends the lines of a piece, each with its line end; any piece, as often as you like.
    pub fn write(&mut self, piece: &Piece, out: &mut Vec<u8>) {
        let source = &self.sources[piece.source];
        let offset_ns = piece.time_ns - self.scene.start_ns;
        let effect = self.schedule.effect((source.data, source.at), offset_ns);
        for nth in 0..piece.lines {
            let line = (piece.first + nth, piece.time_ns + nth as i64 * piece.gap_ns);
            match &source.maker {
                Maker::Web(web) => web.line(line, &effect, &mut self.stamp, out),
                Maker::App(app) => app.line(line, &effect, &mut self.stamp, out),
            }
        }
    }

    /// The samples of a moment; of any, as often as you like.
    pub fn samples(&self, moment: Moment) -> Vec<Metric> {
        self.hosts[moment.host].samples(moment.time_ms, self.scene.start_ns, &self.schedule)
    }
}
