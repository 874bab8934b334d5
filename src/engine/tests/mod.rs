//! The engine's promises, one file a subject; plugins here are scripts that a test hands out by alias.

mod commands;
mod concurrency;
mod control;
mod delivery;
mod gathering;
mod letters;
mod lifecycle;
pub(crate) mod logging;
mod memory;
mod partitions;
mod reload;
mod replaying;

use std::collections::{HashMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::*;

use crate::config::{self, Environment, Plan, Registry, Shared, Source};

/// What a scripted plugin does and saw.
#[derive(Default)]
pub(super) struct Script {
    /// Answers to writes, in order; afterwards all is well.
    pub(super) answers: Mutex<VecDeque<Answer>>,
    /// Lines (or values) of each write that was answered with Ok or Reject.
    pub(super) taken: Mutex<Vec<Vec<String>>>,
    /// Calls made.
    pub(super) calls: AtomicUsize,
    /// Fates heard.
    pub(super) fates: Mutex<Vec<Fate>>,
}

pub(super) type Answer = Box<dyn FnOnce(&[String]) -> Result<(), WriteError> + Send>;

static SCRIPTS: LazyLock<Mutex<HashMap<String, Arc<Script>>>> = LazyLock::new(Mutex::default);

/// The script of a plugin with this alias; aliases are unique over all tests.
pub(super) fn script(alias: &str) -> Arc<Script> {
    Arc::clone(SCRIPTS.lock().unwrap().entry(alias.to_owned()).or_default())
}

impl Script {
    pub(super) fn answer(
        &self,
        answer: impl FnOnce(&[String]) -> Result<(), WriteError> + Send + 'static,
    ) {
        self.answers.lock().unwrap().push_back(Box::new(answer));
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.taken.lock().unwrap().concat()
    }
}

struct Sink(Arc<Script>, Kinds);

#[async_trait::async_trait]
impl Output for Sink {
    fn accepts(&self) -> Kinds {
        self.1
    }

    async fn write(&mut self, pieces: &[Piece]) -> Result<(), WriteError> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        let mut lines: Vec<String> = Vec::new();
        for piece in pieces {
            lines
                .extend(piece.logs().iter().map(|l| String::from_utf8_lossy(&l.body).into_owned()));
            lines.extend(piece.metrics().iter().map(|m| m.value.to_string()));
        }
        let answer = self.0.answers.lock().unwrap().pop_front();
        let outcome = answer.map_or(Ok(()), |answer| answer(&lines));
        if let Err(WriteError::Reject { events, .. }) = &outcome {
            let mut index = 0;
            lines.retain(|_| {
                index += 1;
                !events.contains(&(index - 1))
            });
        }
        if matches!(outcome, Ok(()) | Err(WriteError::Reject { .. })) {
            self.0.taken.lock().unwrap().push(lines);
        }
        outcome
    }

    async fn probe(&mut self) -> Result<String, Cause> {
        Ok(String::new())
    }
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(super) struct NoOptions {}

/// An output that follows its script.
struct Scripted;
impl Plugin for Scripted {
    type Kind = Box<dyn Output>;
    type Config = NoOptions;
    const NAME: &'static str = "scripted";
    const SAMPLE: &'static str = "[[outputs.scripted]]\n";
    fn build(_: NoOptions, context: &Context) -> Result<Box<dyn Output>, Vec<ConfigError>> {
        Ok(Box::new(Sink(script(&context.alias), Kinds::METRICS.and(Kinds::LOGS))))
    }
}

/// An input that emits ten lines "0".."9", one a batch, and hears their fates; panics in its first run when told.
struct Lines;
struct LinesService(Arc<str>, Arc<Labels>, LinesConfig);
#[async_trait::async_trait]
impl Service for LinesService {
    async fn run(self: Box<Self>, out: Emitter, stop: Stop) -> Result<(), Cause> {
        let script = script(&self.0);
        assert!(script.calls.fetch_add(1, Ordering::SeqCst) > 0 || !self.2.panic, "as asked");
        for line in 0..10 {
            let ear = Arc::clone(&script);
            let mut batch = log_batch(&self.0, &self.1, &[&line.to_string()]);
            batch.refused = (self.2.refuse == line.to_string()).then(|| "not one of ours".into());
            batch.receipt = Some(Receipt::new(move |fate| ear.fates.lock().unwrap().push(fate)));
            batch.permit = Some(out.reserve(100).await);
            out.send(batch).await;
        }
        while self.2.stubborn && !stop.finished.is_cancelled() {
            out.send(log_batch(&self.0, &self.1, &["more"])).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(out);
        stop.finished.cancelled().await;
        Ok(())
    }
}
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct LinesConfig {
    panic: bool,
    /// Goes on reading when it is told to stop.
    stubborn: bool,
    /// Can make nothing of this line.
    refuse: String,
}
impl Plugin for Lines {
    type Kind = Input;
    type Config = LinesConfig;
    const NAME: &'static str = "lines";
    const SAMPLE: &'static str =
        "[[inputs.lines]]\n# panic = false\n# stubborn = false\n# refuse = \"\"\n";
    fn build(config: LinesConfig, context: &Context) -> Result<Input, Vec<ConfigError>> {
        let (alias, tags) = (Arc::clone(&context.alias), Arc::clone(&context.tags));
        Ok(Input::Service(Box::new(LinesService(alias, tags, config))))
    }
}

/// A polled input with two collectors: `ticks` counts its calls, `stuck` never answers when told.
struct Poll;
struct Ticks(Arc<Script>, Arc<Series>);
impl Gather for Ticks {
    fn gather(&mut self, now: Now, out: &mut Vec<Metric>) -> Result<(), Cause> {
        let value = self.0.calls.fetch_add(1, Ordering::SeqCst) as f64;
        out.push(Metric { series: Arc::clone(&self.1), time_ms: now.time_ms, value });
        Ok(())
    }
}
/// Says in a log record how often it was gathered, and fails.
struct Says(Arc<Labels>, u32);
impl Gather for Says {
    fn gather(&mut self, _: Now, _: &mut Vec<Metric>) -> Result<(), Cause> {
        self.1 += 1;
        anyhow::bail!("it failed, and has something to say")
    }

    fn logs(&mut self, out: &mut Vec<Log>) {
        let body = format!("gather {}", self.1).into();
        out.push(Log { stream: Arc::clone(&self.0), time_ns: 1, body, fields: None });
    }
}
struct Stuck(Arc<Script>, bool);
impl Gather for Stuck {
    fn gather(&mut self, _: Now, _: &mut Vec<Metric>) -> Result<(), Cause> {
        let call = self.0.calls.fetch_add(1, Ordering::SeqCst);
        if self.1 && call == 0 {
            std::thread::park_timeout(Duration::from_secs(20));
        }
        Ok(())
    }
}
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PollConfig {
    stuck: bool,
    stuck_last: bool,
    says: bool,
}
impl Plugin for Poll {
    type Kind = Input;
    type Config = PollConfig;
    const NAME: &'static str = "poll";
    const SAMPLE: &'static str =
        "[[inputs.poll]]\n# stuck = false\n# stuck_last = false\n# says = false\n";
    fn build(config: PollConfig, context: &Context) -> Result<Input, Vec<ConfigError>> {
        let stuck = script(&format!("{}-stuck", context.alias));
        let series = Series::new("ticks", Kind::Counter, context.tags.iter());
        let deadline = Duration::from_millis(100);
        let hangs = config.stuck || config.stuck_last;
        let mut collectors = vec![
            Collector {
                name: "stuck",
                deadline,
                spare: false,
                gather: Box::new(Stuck(stuck, hangs)),
            },
            Collector {
                name: "ticks",
                deadline,
                spare: false,
                gather: Box::new(Ticks(script(&context.alias), series)),
            },
        ];
        if config.stuck_last {
            collectors.reverse();
        }
        if config.says {
            let gather = Box::new(Says(Arc::clone(&context.tags), 0));
            collectors.push(Collector { name: "says", deadline, spare: true, gather });
        }
        Ok(Input::Gather(collectors))
    }
}

/// A transform that removes lines equal to `remove`, and panics at lines equal to `panic`.
struct Strip;
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct StripConfig {
    remove: String,
    panic: String,
}
struct DoStrip(StripConfig);
impl Transform for DoStrip {
    fn apply(&mut self, events: &mut Events, counters: &telemetry::Counters) {
        let Events::Logs(logs) = events else { return };
        let before = logs.len();
        logs.retain(|log| {
            assert!(log.body != self.0.panic.as_bytes(), "as asked");
            log.body != self.0.remove.as_bytes()
        });
        counters.drop_events("filtered", (before - logs.len()) as u64);
    }
}
impl Plugin for Strip {
    type Kind = Processor;
    type Config = StripConfig;
    const NAME: &'static str = "strip";
    const SAMPLE: &'static str = "[[processors.strip]]\n# remove = \"\"\n# panic = \"\"\n";
    fn build(config: StripConfig, _: &Context) -> Result<Processor, Vec<ConfigError>> {
        Ok(Processor::Transform(Box::new(DoStrip(config))))
    }
}

/// An observer that emits one metric for each batch it sees: how many events that had.
struct Count;
#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CountConfig {
    /// Panics when it is asked how it is.
    shy: bool,
}
type CommandAnswer = Option<Result<String, String>>;
struct DoCount(Arc<Script>, Arc<Series>, bool);
impl Observer for DoCount {
    fn observe(&mut self, batch: &Batch, emit: &mut Emit) {
        self.0.taken.lock().unwrap().push(vec![batch.origin.to_string()]);
        let value = batch.events.len() as f64 + 1000.0;
        emit.push(Events::Metrics(vec![Metric { series: Arc::clone(&self.1), time_ms: 0, value }]));
    }
    fn tick(&mut self, _: i64, _: &mut Emit) {}
    fn command(&mut self, command: &Command, _: i64, emit: &mut Emit) -> CommandAnswer {
        match command {
            Command::Maintenance { reason, .. } => {
                assert!(reason != "panic", "as asked");
                let series = Arc::clone(&self.1);
                emit.push(Events::Metrics(vec![Metric { series, time_ms: 0, value: 77.0 }]));
                Some(Ok(format!("did {reason}")))
            }
            Command::Train { .. } => Some(Err("cannot train".to_owned())),
            _ => None,
        }
    }
    fn status(&self) -> serde_json::Value {
        assert!(!self.2, "as asked");
        serde_json::Value::Null
    }
    fn snapshot(&self) -> Option<Vec<u8>> {
        self.0.calls.fetch_add(1, Ordering::SeqCst);
        Some(Vec::new())
    }
}
impl Plugin for Count {
    type Kind = Processor;
    type Config = CountConfig;
    const NAME: &'static str = "count";
    const SAMPLE: &'static str = "[[processors.count]]\n# shy = false\n";
    fn build(config: CountConfig, context: &Context) -> Result<Processor, Vec<ConfigError>> {
        let series = Series::new("count", Kind::Gauge, context.tags.iter());
        Ok(Processor::Observer(Box::new(DoCount(script(&context.alias), series, config.shy))))
    }
}

const REGISTRY: Registry = Registry {
    inputs: &[Entry::of::<Lines>(), Entry::of::<partitions::Parted>(), Entry::of::<Poll>()],
    processors: &[Entry::of::<Count>(), Entry::of::<Strip>(), Entry::of::<partitions::Sum>()],
    outputs: &[Entry::of::<Scripted>()],
};

pub(super) fn plan(text: &str, shared: &Shared) -> Arc<Plan> {
    let source = Source { path: "agent.toml".into(), text: text.to_owned() };
    let plan = config::plan(&[source], &REGISTRY, &Environment::process(), shared);
    Arc::new(plan.map_err(|problems| problems.render()).expect("a good configuration"))
}

pub(super) fn shared(folder: &Path) -> Shared {
    Shared {
        state_dir: folder.to_owned(),
        history: Arc::new(history::NoHistory),
        trainer: Trainer::immediate(),
        desk: Desk::default(),
        pressure: Pressure::default(),
    }
}

pub(crate) fn log_batch(origin: &str, labels: &Arc<Labels>, lines: &[&str]) -> Batch {
    let log = |line: &&str| Log {
        stream: Arc::clone(labels),
        time_ns: 0,
        body: Bytes::copy_from_slice(line.as_bytes()),
        fields: None,
    };
    Batch::new(origin.into(), Events::Logs(lines.iter().map(log).collect()))
}

/// Waits in the test's own clock until it is so; fails after ten minutes of it.
pub(super) async fn until(what: &str, is: impl Fn() -> bool) {
    for _ in 0..60_000 {
        if is() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}
