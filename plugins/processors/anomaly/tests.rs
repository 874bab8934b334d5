//! The detector's promises, told to it as synthetic streams of metrics with a clock of their own.

mod bars;
mod commands;
mod configuration;
mod confirming;
mod drift;
mod fixtures;
mod joins;
mod learning;
mod life;
mod moving;

mod rate_bar;
mod robustness;
mod seasons;
mod share_test;
mod site;
mod states;
mod stories;
mod telling;
mod training;
mod updates;
mod votes;
mod worse;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_contract::history::{Frame, History};
use sentinel_contract::incident::{Incident, State};
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Cause, Context, Desk, Emit, Events, Kind, Labels, Metric, Observer, Series,
};
use sentinel_models::rng::SplitMix64;

use super::{Anomaly, Config};
use site::{Site, Window};

/// A history in memory, as the engine's would answer.
#[derive(Default)]
pub(super) struct Memory {
    frames: Mutex<HashMap<String, BTreeMap<i64, Frame>>>,
    /// Of each detector, in the order of its frames' values.
    names: Mutex<HashMap<String, Vec<String>>>,
    pub incidents: Mutex<Vec<Incident>>,
}

impl Memory {
    /// Another history of the same content.
    pub(super) fn copied(&self) -> Arc<Memory> {
        Arc::new(Memory {
            frames: Mutex::new(self.frames.lock().unwrap().clone()),
            names: Mutex::new(self.names.lock().unwrap().clone()),
            incidents: Mutex::new(self.incidents.lock().unwrap().clone()),
        })
    }
}

impl History for Memory {
    fn append_frame(&self, detector: &str, names: &[String], frame: &Frame) {
        self.names.lock().unwrap().entry(detector.to_owned()).or_insert_with(|| names.to_vec());
        let mut frames = self.frames.lock().unwrap();
        frames.entry(detector.to_owned()).or_default().insert(frame.time_ms, frame.clone());
    }
    fn frames(
        &self,
        detector: &str,
        wanted: &[String],
        from: i64,
        to: i64,
    ) -> Result<Vec<Frame>, Cause> {
        let (frames, names) = (self.frames.lock().unwrap(), self.names.lock().unwrap());
        let own = names.get(detector).map(Vec::as_slice).unwrap_or_default();
        let places: Vec<Option<usize>> =
            wanted.iter().map(|name| own.iter().position(|known| known == name)).collect();
        let of = |(_, frame): (&i64, &Frame)| {
            let value = |at: &Option<usize>| at.map_or(f64::NAN, |at| frame.values[at]);
            Frame { values: places.iter().map(value).collect(), ..*frame }
        };
        let frames = frames.get(detector).into_iter().flat_map(|frames| frames.range(from..to));
        Ok(frames.map(of).collect())
    }
    fn record_incident(&self, incident: &Incident) {
        self.incidents.lock().unwrap().push(incident.clone());
    }
    fn incidents(&self, from_ms: i64, limit: usize) -> Result<Vec<Incident>, Cause> {
        let incidents = self.incidents.lock().unwrap();
        let since = incidents.iter().rev().filter(|one| one.time_ms >= from_ms);
        Ok(since.take(limit).cloned().collect())
    }
    fn save_state(&self, _: &str, _: &[u8]) {}
    fn load_state(&self, _: &str) -> Result<Option<Vec<u8>>, Cause> {
        Ok(None)
    }
    fn flush(&self) {}
}

pub(super) fn context(history: Arc<dyn History>) -> Context {
    Context {
        alias: "web".into(),
        host: "box".into(),
        tags: Arc::new(Labels::new([("host", "box"), ("env", "test")])),
        interval: Duration::from_secs(10),
        state_dir: "/nonexistent".into(),
        history,
        trainer: Trainer::waiting(),
        desk: Desk::default(),
    }
}

/// A detector with a clock, fed one window after another.
pub(super) struct Rig {
    pub detector: Anomaly,
    pub history: Arc<Memory>,
    pub desk: Desk,
    pub interval_ms: i64,
    pub now_ms: i64,
    pub incidents: Vec<Incident>,
    /// What the last window made: name, `for`, `model_alias` or `feature`, value.
    pub written: Vec<(String, String, String, f64)>,
    series: HashMap<(String, String), Arc<Series>>,
    options: String,
}

/// 2026-11-23, a whole minute.
const START_MS: i64 = 1_795_392_000_000;

impl Rig {
    pub(super) fn new(options: &str) -> Rig {
        let history = Arc::new(Memory::default());
        Rig::on(options, history, START_MS)
    }

    pub(super) fn on(options: &str, history: Arc<Memory>, now_ms: i64) -> Rig {
        let config: Config = toml::from_str(options).unwrap();
        let interval_ms = config.frame_interval.0.as_millis() as i64;
        let shared: Arc<dyn History> = Arc::clone(&history) as _;
        let context = context(shared);
        let detector = Anomaly::new(&config, &context).unwrap();
        Rig {
            detector,
            history,
            desk: context.desk,
            interval_ms,
            now_ms,
            incidents: Vec::new(),
            written: Vec::new(),
            series: HashMap::new(),
            options: options.to_owned(),
        }
    }

    /// With an alias of its own, at a desk that it shares.
    pub(super) fn beside(options: &str, alias: &str, desk: &Desk) -> Rig {
        let mut rig = Rig::new(options);
        let context = Context {
            alias: alias.into(),
            desk: desk.clone(),
            ..context(Arc::clone(&rig.history) as _)
        };
        rig.detector = Anomaly::new(&toml::from_str(options).unwrap(), &context).unwrap();
        rig.desk = context.desk;
        rig
    }

    /// With a training thread, as live.
    pub(super) fn trained_by(options: &str, trainer: &Trainer) -> Rig {
        let mut rig = Rig::new(options);
        let trainer = trainer.clone();
        let context = Context { trainer, ..context(Arc::clone(&rig.history) as _) };
        rig.detector = Anomaly::new(&toml::from_str(options).unwrap(), &context).unwrap();
        rig.desk = context.desk;
        rig
    }

    /// Another process: same history, the given snapshot. Its first frame is not thrown away, as if it began with it.
    pub(super) fn restarted(&self, snapshot: &[u8]) -> Rig {
        self.restarted_on(snapshot, Arc::clone(&self.history))
    }

    pub(super) fn restarted_on(&self, snapshot: &[u8], history: Arc<Memory>) -> Rig {
        let mut rig = Rig::on(&self.options, history, self.now_ms);
        rig.desk.recall(&rig.history.incidents(i64::MIN, usize::MAX).unwrap(), self.now_ms);
        rig.detector.restore(snapshot).unwrap();
        rig.detector.collector.see();
        rig
    }

    fn series(&mut self, name: &str, job: &str, kind: Kind) -> Arc<Series> {
        let make = || Series::new(name, kind, [("job", job), ("host", "box")]);
        Arc::clone(self.series.entry((name.into(), job.into())).or_insert_with(make))
    }

    /// One window of one job, at its end, and the clock a little later.
    pub(super) fn window(&mut self, job: &str, values: &[(&str, f64)]) {
        self.now_ms += self.interval_ms;
        self.send(job, values, Kind::Gauge, self.now_ms);
        self.tick(self.now_ms + 100);
    }

    pub(super) fn send(&mut self, job: &str, values: &[(&str, f64)], kind: Kind, time_ms: i64) {
        let metrics = values.iter().map(|(name, value)| {
            let series = self.series(name, job, kind);
            Metric { series, time_ms, value: *value }
        });
        let metrics: Vec<Metric> = metrics.collect();
        let batch = Batch::new("features".into(), Events::Metrics(metrics));
        let mut emit = Emit::default();
        self.detector.observe(&batch, &mut emit);
        self.keep(emit);
    }

    pub(super) fn tick(&mut self, now_ms: i64) {
        let mut emit = Emit::default();
        self.detector.tick(now_ms, &mut emit);
        self.keep(emit);
    }

    fn keep(&mut self, emit: Emit) {
        for events in emit.0 {
            match events {
                Events::Incidents(incidents) => self.incidents.extend(incidents),
                Events::Metrics(metrics) => {
                    self.written = metrics
                        .iter()
                        .map(|metric| {
                            let labels = metric.series.labels();
                            let label = |name: &str| labels.get(name).unwrap_or("").to_owned();
                            let model = label("model_alias") + &label("feature");
                            (metric.series.name().to_owned(), label("for"), model, metric.value)
                        })
                        .collect();
                }
                Events::Logs(_) | Events::Evidence(_) => panic!("a detector makes neither"),
            }
        }
    }

    pub(super) fn score(&self, model: &str) -> Option<f64> {
        let mut all = self.written.iter();
        let found =
            all.find(|(name, of, by, _)| name == "anomaly_score" && of == "all" && by == model);
        found.map(|(.., value)| *value)
    }

    pub(super) fn states(&self) -> Vec<State> {
        self.incidents.iter().map(|incident| incident.state).collect()
    }

    pub(super) fn keys(&self) -> Vec<&str> {
        let mut keys: Vec<&str> = self.incidents.iter().map(|incident| &*incident.key).collect();
        keys.dedup();
        keys
    }

    pub(super) fn is_ready(&self) -> bool {
        self.detector.groups.iter().any(|group| group.used.is_some())
    }
}

/// A detector on one-second windows that has seen a quiet site for so many of them.
pub(super) fn live(seed: u64, rate: f64, error_share: f64, windows: usize) -> (Rig, Site) {
    let mut rig = Rig::new("preset = \"web\"\nframe_interval = \"1s\"\nmin_training_frames = 60\n");
    let mut site = Site::new(seed, rate);
    site.error_share = error_share;
    for _ in 0..windows {
        let window = site.next();
        rig.window("nginx", &window.features());
    }
    (rig, site)
}

/// The changes of state in few words.
pub(super) fn told(rig: &Rig) -> Vec<String> {
    let line = |one: &Incident| {
        let minute = (one.time_ms - START_MS) / rig.interval_ms;
        format!(
            "{minute} {:?} {:.2} {:.2?} {} ({})",
            one.state, one.score, one.models, one.message, one.reason
        )
    };
    rig.incidents.iter().map(line).collect()
}
