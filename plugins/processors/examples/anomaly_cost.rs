//! What a detector of 60 signals with all models costs: microseconds of CPU a frame while it learns and when it scores, of a
//! snapshot and of a training, and what it adds to the memory of the process.
//!
//! `MALLOC_ARENA_MAX=1 cargo run --profile quick -p sentinel-processors --example anomaly_cost` (one arena, as the agent has). The
//! signals are twelve features of each of five made-up access logs, in frames of 10 s; history is a file, as in the agent. CPU time is
//! this thread's, trainings included, from /proc/thread-self/schedstat, which moves in steps of milliseconds: frames are made before
//! and measured many at once.
//!
//! For `tests/bench/run models` also: `config FOLDER` prints inputs, processors and detector that watch the logs in a folder;
//! `prepare FOLDER` leaves there the state of an agent that has watched such logs for 20,160 frames until now; `lines FOLDER` writes
//! the logs, until it is killed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use sentinel_contract::history::History;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Context, Emit, Events, Labels, Log, Observer, Processor, Transform,
};
use sentinel_history::Store;
use sentinel_models::rng::SplitMix64;

const JOBS: [&str; 5] = ["shop", "blog", "api", "wiki", "mail"];
const FEATURES: [&str; 12] = [
    "requests",
    "sessions",
    "clients",
    "errors",
    "client_errors",
    "error_rate",
    "requests_per_session",
    "bytes",
    "latency_p50",
    "latency_p95",
    "latency_p99",
    "method_share",
];
const FRAME_MS: i64 = 10_000;
/// The most that training reads, and the longest boundary.
const STEADY_FRAMES: i64 = 20_160;
/// Lines a second and log, before chance.
const RATE: f64 = 4.0;
const RETENTION: Duration = Duration::from_hours(30 * 24);

/// The detector's options, without its name in the file.
fn detector() -> String {
    let mut text = "preset = \"none\"\nframe_interval = \"10s\"\ngroup_by = []\n".to_owned();
    for job in JOBS {
        for feature in FEATURES {
            let metric = format!("metric = \"log_{feature}\"");
            let labels = match feature {
                "method_share" => format!("labels = {{ job = \"{job}\", method = \"GET\" }}"),
                _ => format!("labels = {{ job = \"{job}\" }}"),
            };
            let _infallible =
                write!(text, "\n[[signals]]\nname = \"{job}_{feature}\"\n{metric}\n{labels}\n");
        }
    }
    text
}

/// What the agent is to do with the logs in a folder.
fn config(folder: &Path) -> String {
    let mut text = String::new();
    for job in JOBS {
        let path = folder.join(job).with_extension("log");
        let _infallible = write!(
            text,
            "[[inputs.tail]]\nalias = \"{job}\"\nfiles = [\"{}\"]\nlabels = {{ job = \"{job}\" }}\n\n",
            path.display()
        );
    }
    text.push_str("[[processors.parse]]\nformat = \"combined\"\n\n");
    text.push_str("[[processors.log_features]]\nwindow = \"10s\"\nlateness = \"1s\"\n");
    text
}

fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}

/// KiB, of a line of /proc/self/status.
fn memory(name: &str) -> i64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().find_map(|word| word.parse().ok()).unwrap_or(0)
}

fn now_ms() -> i64 {
    jiff::Timestamp::now().as_millisecond()
}

fn build(name: &str, alias: &str, options: &str, history: &Arc<dyn History>) -> Result<Processor> {
    let context = Context {
        alias: alias.into(),
        host: "here".into(),
        tags: Arc::new(Labels::new([("host", "here")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::clone(history),
        desk: sentinel_contract::Desk::default(),
        trainer: Trainer::waiting(),
    };
    let entry = sentinel_processors::ALL.iter().find(|entry| entry.name == name);
    let entry = entry.with_context(|| format!("no processor {name}"))?;
    let table = toml::de::DeValue::Table(toml::de::DeTable::parse(options)?.into_inner());
    (entry.build)(toml::Spanned::new(0..options.len(), table), &context)
        .map_err(|errors| anyhow::anyhow!("{errors:?}"))
}

fn observer(name: &str, options: &str, history: &Arc<dyn History>) -> Result<Box<dyn Observer>> {
    match build(name, name, options, history)? {
        Processor::Observer(observer) => Ok(observer),
        Processor::Transform(_) => bail!("{name} is no observer"),
    }
}

/// Lines of a steady access log between two times, oldest first.
fn lines(rng: &mut SplitMix64, from_ms: i64, until_ms: i64) -> String {
    let mut text = String::new();
    let mut at = from_ms as f64;
    loop {
        at += -(1.0 - rng.uniform()).ln() * 1000.0 / RATE;
        let Ok(time) = jiff::Timestamp::from_millisecond(at as i64) else { return text };
        if at >= until_ms as f64 {
            return text;
        }
        let time = time.to_zoned(jiff::tz::TimeZone::UTC).strftime("%d/%b/%Y:%H:%M:%S %z");
        let (client, path) = (rng.below(200), rng.below(20));
        let method = if rng.uniform() < 0.1 { "POST" } else { "GET" };
        let status = [200, 200, 404, 500][match rng.uniform() {
            it if it < 0.90 => 0,
            it if it < 0.95 => 1,
            it if it < 0.99 => 2,
            _ => 3,
        }];
        let (bytes, seconds) = (8.0 + 0.9 * rng.normal(), -3.0 + 0.5 * rng.normal());
        let _infallible = writeln!(
            text,
            "198.18.0.{client} - - [{time}] \"{method} /page/{path} HTTP/1.1\" {status} {} \"-\" \"browser\" {:.3}",
            bytes.exp() as u64,
            seconds.exp()
        );
    }
}

/// Made-up logs, parsed and counted, a frame at a time.
struct Source {
    rng: SplitMix64,
    parse: Box<dyn Transform>,
    features: Box<dyn Observer>,
    streams: Vec<Arc<Labels>>,
    now_ms: i64,
}

impl Source {
    fn new(start_ms: i64, history: &Arc<dyn History>) -> Result<Self> {
        let parse = match build("parse", "parse", "format = \"combined\"", history)? {
            Processor::Transform(parse) => parse,
            Processor::Observer(_) => bail!("parse is no transform"),
        };
        Ok(Source {
            rng: SplitMix64::new(1),
            parse,
            features: observer("log_features", "window = \"10s\"\nlateness = \"0s\"", history)?,
            streams: JOBS.iter().map(|job| Arc::new(Labels::new([("job", *job)]))).collect(),
            now_ms: start_ms.div_euclid(FRAME_MS) * FRAME_MS,
        })
    }

    /// The features of the next frame, and the time at which they are there.
    fn frame(&mut self) -> (Batch, i64) {
        let (from, mut emit) = (self.now_ms, Emit::default());
        self.now_ms += FRAME_MS;
        for (job, stream) in JOBS.iter().zip(&self.streams) {
            let text = Bytes::from(lines(&mut self.rng, from, self.now_ms));
            let bodies = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
            let logs = bodies.map(|line| Log {
                stream: Arc::clone(stream),
                time_ns: from * 1_000_000,
                body: text.slice_ref(line),
                fields: None,
            });
            let mut events = Events::Logs(logs.collect());
            self.parse.apply(&mut events, &Counters::default());
            self.features.observe(&Batch::new((*job).into(), events), &mut emit);
        }
        self.features.tick(self.now_ms, &mut emit);
        let metrics = emit.0.into_iter().filter_map(|events| match events {
            Events::Metrics(metrics) => Some(metrics),
            Events::Logs(_) | Events::Incidents(_) | Events::Evidence(_) => None,
        });
        let metrics = Events::Metrics(metrics.flatten().collect());
        (Batch::new("log_features".into(), metrics), self.now_ms + 100)
    }

    fn frames(&mut self, count: i64) -> Vec<(Batch, i64)> {
        (0..count).map(|_| self.frame()).collect()
    }
}

/// Feeds frames; the events it made, which are let go frame by frame.
fn feed(it: &mut dyn Observer, frames: &[(Batch, i64)]) -> usize {
    let mut made = 0;
    for (batch, now) in frames {
        let mut emit = Emit::default();
        it.observe(batch, &mut emit);
        it.tick(*now, &mut emit);
        made += emit.0.iter().map(Events::len).sum::<usize>();
    }
    made
}

#[expect(clippy::print_stdout, reason = "it prints what it measured")]
fn cost() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("anomaly_cost.{}", std::process::id()));
    let store: Arc<dyn History> = Store::open(&folder.join("history.db"), RETENTION)?;
    let mut source = Source::new(now_ms() - (STEADY_FRAMES + 2000) * FRAME_MS, &store)?;
    let mut it = observer("anomaly", &detector(), &store)?;
    let frames = source.frames(118);
    let start_kib = memory("RssAnon:");
    let measure = |it: &mut dyn Observer, frames: &[(Batch, i64)]| {
        let start = cpu_seconds();
        let made = feed(it, frames);
        let each = (cpu_seconds() - start) / frames.len() as f64 * 1e6;
        (each, made as f64 / frames.len() as f64)
    };
    let (each, made) = measure(&mut *it, &frames);
    println!("learning: {each:.0} us a frame, {made:.0} samples a frame");
    drop(frames);
    let start = cpu_seconds();
    for _ in 0..STEADY_FRAMES / 100 {
        let frames = source.frames(100);
        feed(&mut *it, &frames);
        store.flush(); // the queue drops frames that come too fast
    }
    println!("all until steady, its logs and trainings included: {:.1} s", cpu_seconds() - start);
    let frames = source.frames(500);
    let (each, made) = measure(&mut *it, &frames);
    drop(frames);
    store.flush();
    let steady = memory("RssAnon:") - start_kib;
    println!("scoring: {each:.0} us a frame, {made:.0} samples a frame; memory {steady} KiB more");
    let peak = |work: &mut dyn FnMut()| {
        let _no_peak_then = fs::write("/proc/self/clear_refs", "5");
        let (start, before) = (cpu_seconds(), memory("VmRSS:"));
        work();
        ((cpu_seconds() - start) * 1e3, memory("VmHWM:") - before, memory("VmRSS:") - before)
    };
    let mut bytes = 0;
    let (ms, high, left) = peak(&mut || bytes = it.snapshot().map_or(0, |state| state.len()));
    println!("snapshot: {ms:.1} ms, {bytes} B; {high} KiB more meanwhile, {left} after");
    let train = sentinel_contract::command::Command::Train { detector: None };
    let (ms, high, left) = peak(&mut || {
        let _told = it.command(&train, source.now_ms, &mut Emit::default());
    });
    println!("training: {ms:.0} ms; {high} KiB more meanwhile, {left} after");
    let frames = source.frames(500);
    let (each, _) = measure(&mut *it, &frames);
    println!("scoring with the new model: {each:.0} us a frame");
    drop(it);
    drop(source);
    drop(store);
    Ok(fs::remove_dir_all(folder)?)
}

fn prepare(folder: &Path) -> Result<()> {
    let store: Arc<dyn History> = Store::open(&folder.join("history.db"), RETENTION)?;
    let mut source = Source::new(now_ms() - STEADY_FRAMES * FRAME_MS, &store)?;
    let mut it = observer("anomaly", &detector(), &store)?;
    while source.now_ms + FRAME_MS < now_ms() {
        let (batch, now) = source.frame();
        feed(&mut *it, &[(batch, now)]);
        if source.now_ms % (100 * FRAME_MS) == 0 {
            store.flush();
        }
    }
    let state = it.snapshot().context("no state")?;
    store.save_state("observer:anomaly", &state);
    store.flush();
    Ok(())
}

fn write_lines(folder: &Path) -> Result<()> {
    let mut rng = SplitMix64::new(2);
    let open = |job: &&str| File::create(folder.join(job).with_extension("log"));
    let mut files = JOBS.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut before = now_ms();
    loop {
        std::thread::sleep(Duration::from_millis(250));
        let now = now_ms();
        for file in &mut files {
            file.write_all(lines(&mut rng, before, now).as_bytes())?;
        }
        before = now;
    }
}

#[expect(clippy::print_stdout, reason = "the configuration goes to a file")]
fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => cost(),
        ["config", folder] => {
            println!("{}", config(Path::new(folder)));
            Ok(())
        }
        ["detector"] => {
            let options = detector().replace("[[signals]]", "[[processors.anomaly.signals]]");
            println!("[[processors.anomaly]]\n{options}");
            Ok(())
        }
        ["prepare", folder] => prepare(Path::new(folder)),
        ["lines", folder] => write_lines(Path::new(folder)),
        _ => bail!("anomaly_cost [config FOLDER | detector | prepare FOLDER | lines FOLDER]"),
    }
}
