//! `generate`: the data of `inputs.generate` into files, to standard output or to Kafka: lines as a server writes them, samples as
//! JSON.
//!
//! What is due by now is written, so a start in the past is made as fast as possible and then goes on with the present.

mod files;
mod topics;

use std::io::{self, ErrorKind, IsTerminal as _};
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, anyhow, ensure};
use sentinel_contract::units::Period;
use sentinel_contract::{Labels, Metric};
use sentinel_inputs::generate::{
    Config, Data, Generator, Made, Piece, Profile, Scene, Truth, word,
};

use super::complain;
use super::progress::Progress;
use super::replay::history::time_ms;
use files::Files;
use topics::Topics;

/// The path that means standard output.
const STDOUT: &str = "-";

/// What to make, and where it goes.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What: "web" (an access log), "app" (a JSON log), "host" (metrics, written as `once --format json` does); may be given
    /// several times
    #[arg(long, value_name = "KIND", value_parser = word::<Data>, default_value = "web")]
    kind: Vec<Data>,
    /// Lines a second over all kinds and hosts, or "max"
    #[arg(long, value_name = "N|max", value_parser = rate, default_value = "100")]
    rate: u64,
    /// Stop after so many lines
    #[arg(long, value_name = "N", default_value = "0", hide_default_value = true)]
    lines: u64,
    /// Stop when so much time is told, from the start on
    #[arg(long, value_name = "DURATION")]
    duration: Option<Period>,
    /// Equal seeds make equal data
    #[arg(long, value_name = "N", default_value = "1")]
    seed: u64,
    /// How the rate goes through the day (UTC): "steady", or "day" with a low night and two peaks
    #[arg(long, value_name = "PROFILE", value_parser = word::<Profile>, default_value = "steady")]
    profile: Profile,
    /// The time of the first line: "-14d", "2026-01-31", "2026-01-31T08:00:00Z", or seconds since 1970; what is past is made
    /// at once
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    start: String,
    /// How many hosts
    #[arg(long, value_name = "N", default_value = "1")]
    hosts: usize,
    /// The host's name, or what the names of several begin with
    #[arg(long, value_name = "NAME", default_value = "generated")]
    host: String,
    /// An anomaly, its time counted from the start, such as error_burst@10m+2m or latency@1h+5m*0.5; may be given several
    /// times (`plugins describe generate` lists them)
    #[arg(long, value_name = "KIND@AT+DURATION")]
    anomaly: Vec<String>,
    /// One more anomaly in each span of this length, dealt by the seed
    #[arg(long, value_name = "DURATION", default_value = "0s", hide_default_value = true)]
    anomaly_every: Period,
    /// Append a line of JSON about each anomaly, before it begins
    #[arg(long, value_name = "FILE")]
    truth: Option<std::path::PathBuf>,
    /// Between samples of host metrics
    #[arg(long, value_name = "DURATION", default_value = "10s")]
    interval: Period,
    /// Where to, appended; "-" is standard output. {kind} and {host} in it make a file for each
    #[arg(long, value_name = "FILE", default_value = STDOUT, conflicts_with = "kafka")]
    output: String,
    /// To Kafka instead, by these brokers ("host:port", several with commas): a message a line and a sample, the host's name is
    /// the key. Each line is there once, on all in-sync replicas (idempotent, acks=all)
    #[arg(long, value_name = "BROKERS", value_delimiter = ',', requires = "topic")]
    kafka: Option<Vec<String>>,
    /// Into which topic. {kind} and {host} in it make a topic for each
    #[arg(long, value_name = "TOPIC", requires = "kafka")]
    topic: Option<String>,
    /// How long brokers may take for a message, also while they are away, before it is an error [default: 30s]
    #[arg(long, value_name = "DURATION", requires = "kafka")]
    timeout: Option<Period>,
}

/// "max" is 0.
fn rate(text: &str) -> Result<u64, String> {
    match text.parse() {
        _ if text == "max" => Ok(0),
        Ok(0) | Err(_) => Err("must be a whole number of at least 1, or max".to_owned()),
        Ok(rate) => Ok(rate),
    }
}

/// Makes what is asked for, and tells how much it was.
pub(crate) fn generate(arguments: &Arguments) -> Result<ExitCode> {
    let start_ns = start_ns(arguments)?;
    let end_ns = arguments.duration.map(|span| start_ns.saturating_add(span.0.as_nanos() as i64));
    ensure!(!arguments.interval.0.is_zero(), "--interval must not be 0");
    let scene = Scene {
        host: arguments.host.clone(),
        labels: Labels::new::<&str, &str>([]),
        interval: arguments.interval.0,
        start_ns,
    };
    let generator = Generator::new(&config(arguments), scene).map_err(|errors| {
        let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow!("{}", words.join("\n       "))
    })?;
    let outlets = Outlets::open(arguments, &generator)?;
    let truth = arguments.truth.as_deref().map(|path| {
        Truth::open(path).with_context(|| format!("{}: cannot be opened", path.display()))
    });
    let to_terminal =
        arguments.kafka.is_none() && arguments.output == STDOUT && io::stdout().is_terminal();
    let progress =
        if to_terminal { Progress::hidden() } else { Progress::new("generate", arguments.lines) };
    let mut run = Run { generator, outlets, truth: truth.transpose()?, progress, made: [0; 2] };
    let begun = Instant::now();
    let outcome = match run.run(end_ns, arguments.rate == 0) {
        Err(error) if is_closed(&error) => Ok(()), // `| head`
        outcome => outcome,
    };
    let Run { outlets, progress, made: [lines, samples], .. } = run;
    let outcome = outcome.and(outlets.end());
    drop(progress);
    let (bytes, seconds) = (outlets.bytes(), begun.elapsed().as_secs_f64());
    let rate = lines as f64 / seconds.max(1e-3);
    let told = format!(
        "{lines} lines and {samples} samples, {bytes} bytes in {seconds:.1} s: {rate:.0} lines/s"
    );
    match &outlets {
        Outlets::Files(_) => outcome.map(|()| complain(&told))?,
        Outlets::Topics(topics) => {
            complain(&format!("{told}; {} acknowledged", topics.acknowledged()));
            outcome?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The options as the input has them.
fn config(arguments: &Arguments) -> Config {
    Config {
        kinds: arguments.kind.clone(),
        rate: arguments.rate,
        profile: arguments.profile,
        seed: arguments.seed,
        hosts: arguments.hosts,
        host: arguments.host.clone(),
        lines: arguments.lines,
        anomalies: arguments.anomaly.clone(),
        anomaly_every: arguments.anomaly_every,
        truth: String::new(),
    }
}

fn start_ns(arguments: &Arguments) -> Result<i64> {
    let start = &arguments.start;
    if start == "now" {
        return Ok(unix_ns());
    }
    ensure!(
        arguments.rate > 0,
        "--start needs a --rate: with \"max\" the times of lines are those of the clock"
    );
    let ms = time_ms(start, unix_ns() / 1_000_000).with_context(|| format!("--start {start}"))?;
    ms.checked_mul(1_000_000)
        .filter(|ns| *ns >= 0)
        .with_context(|| format!("--start {start}: must be between 1970 and 2262"))
}

/// A generator at work.
struct Run {
    generator: Generator,
    outlets: Outlets,
    truth: Option<Truth>,
    progress: Progress,
    /// Lines and samples.
    made: [u64; 2],
}

impl Run {
    /// Until all is made, or for ever.
    fn run(&mut self, end_ns: Option<i64>, is_max: bool) -> Result<()> {
        loop {
            let now_ns = unix_ns();
            let is_over = end_ns.is_some_and(|end| now_ns >= end);
            let by_ns = end_ns.map_or(now_ns, |end| now_ns.min(end - 1));
            if is_max && is_over {
                return self.outlets.flush();
            }
            match self.generator.next(by_ns) {
                Some(Made::Lines(piece)) => {
                    self.outlets.lines(&mut self.generator, &piece)?;
                    self.made[0] += piece.lines;
                    self.progress.add(piece.lines);
                }
                Some(Made::Samples(moment)) => {
                    let samples = self.generator.samples(moment);
                    self.outlets.samples(moment.host, &samples)?;
                    self.made[1] += samples.len() as u64;
                }
                Some(Made::Truth(line)) => {
                    if let Some(truth) = &mut self.truth {
                        truth.tell(&line).context("the truth file cannot be written")?;
                    }
                }
                None => {
                    self.outlets.flush()?;
                    let due_ns = self.generator.due_ns();
                    if self.generator.is_done() || end_ns.is_some_and(|end| due_ns >= end) {
                        return Ok(());
                    }
                    std::thread::sleep(Duration::from_nanos((due_ns - now_ns).max(0) as u64));
                }
            }
        }
    }
}

/// Where all of it goes.
enum Outlets {
    Files(Files),
    Topics(Topics),
}

impl Outlets {
    fn open(arguments: &Arguments, generator: &Generator) -> Result<Self> {
        let Some(brokers) = &arguments.kafka else {
            return Ok(Outlets::Files(Files::open(&arguments.output, generator)?));
        };
        let topic = arguments.topic.as_deref().unwrap_or_default();
        let timeout = arguments.timeout.map_or(topics::TIMEOUT, |timeout| timeout.0);
        Ok(Outlets::Topics(Topics::open(brokers, topic, timeout, generator)?))
    }

    fn lines(&mut self, generator: &mut Generator, piece: &Piece) -> Result<()> {
        match self {
            Outlets::Files(files) => files.lines(generator, piece),
            Outlets::Topics(topics) => topics.lines(generator, piece),
        }
    }

    fn samples(&mut self, host: usize, samples: &[Metric]) -> Result<()> {
        match self {
            Outlets::Files(files) => files.samples(host, samples),
            Outlets::Topics(topics) => topics.samples(host, samples),
        }
    }

    /// Nothing more is due for now.
    fn flush(&mut self) -> Result<()> {
        match self {
            Outlets::Files(files) => files.flush(),
            Outlets::Topics(topics) => topics.listen(),
        }
    }

    /// Waits for what is still on its way, after all is made or something went wrong.
    fn end(&self) -> Result<()> {
        match self {
            Outlets::Files(_) => Ok(()),
            Outlets::Topics(topics) => topics.end(),
        }
    }

    fn bytes(&self) -> u64 {
        match self {
            Outlets::Files(files) => files.bytes,
            Outlets::Topics(topics) => topics.bytes,
        }
    }
}

/// The reader of standard output has gone.
fn is_closed(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
    kind == Some(ErrorKind::BrokenPipe)
}

fn unix_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as i64
}
