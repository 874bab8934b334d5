//! Tables through a detector: the same observer that runs live, fed row by row, its only clock the rows' own.
//!
//! A row makes a frame. The frame's length is the median step of the file; a row that comes early (irregular steps) takes
//! the next frame, so that no frame holds two rows and no score has seen a later one. Rows of one time are one frame: the
//! last value of each column wins. Times that have no row are ticks without samples, as live; but nobody watched between
//! two tables. Training rows that are later than the series (a normal week recorded afterwards) are taken as so many
//! weeks earlier, so that hours and weekdays stay true.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail, ensure};
use sentinel_contract::trainer::Trainer;
use sentinel_contract::{
    Batch, Context, Desk, Emit, Events, Incident, Kind, Labels, Metric, Observer, Plugin as _,
    Processor, Series,
};
use sentinel_engine::config::Plan;
use sentinel_history::InMemory;
use sentinel_processors::anomaly::{Anomaly, Config, Preset, SignalConfig, Silence, Written};

use super::FRAMES;
use super::scores::Scores;
use super::table::Table;
use crate::cli::progress::Progress;

/// A gap of more frames is jumped over, as by a host that was off.
const LONGEST_GAP: i64 = 100_000;
/// The host in incidents, unless the configuration names one: scores must not depend on where they are made.
const HOST: &str = "replay";
/// Seconds of a week.
const WEEK: i64 = 7 * 86_400;

/// What a replay found.
pub(crate) struct Found {
    /// Scores of the series' frames.
    pub scores: Scores,
    /// State changes in the time of the series, their times those of the rows.
    pub incidents: Vec<Incident>,
    /// For every row of the series: its time in seconds, and the frame it lies in, in milliseconds.
    pub rows: Vec<(i64, i64)>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

impl Found {
    /// Frames the series made.
    pub(crate) fn frames(&self) -> usize {
        self.rows.chunk_by(|a, b| a.1 == b.1).count()
    }
}

/// The options of the detector of that alias, or of the first one.
pub(crate) fn detector(plan: &Plan, alias: Option<&str>) -> Result<(Arc<str>, Config)> {
    let mut known = Vec::new();
    for (spec, _) in plan.processors.iter().filter(|(spec, _)| spec.entry.name == Anomaly::NAME) {
        if alias.is_none_or(|alias| alias == &*spec.alias) {
            return Ok((Arc::clone(&spec.alias), spec.options()?));
        }
        known.push(&*spec.alias);
    }
    match alias {
        Some(alias) => bail!(
            "--detector {alias}: there is no [[processors.anomaly]] of that alias; there are: {}",
            known.join(", ")
        ),
        None => bail!("the configuration has no [[processors.anomaly]]"),
    }
}

/// Replays `train`, then `series`; both have the same columns. A part of other work draws no bar.
pub(crate) fn replay(
    plan: &Plan,
    detector: (Arc<str>, Config),
    train: Option<&Table>,
    series: &Table,
    is_part: bool,
) -> Result<Found> {
    let tables: Vec<&Table> = train.into_iter().chain([series]).collect();
    let interval = interval(&tables)?;
    let mut player = Player::new(plan, detector, &series.names, interval)?;
    let rows: usize = tables.iter().map(|table| table.times.len()).sum();
    let mut bar = if is_part { Progress::hidden() } else { Progress::new("replay", rows as u64) };
    let mut slots = Slots { interval_ms: interval.as_millis() as i64, last: None };
    let mut places = Vec::with_capacity(rows); // of every frame with a row: when it closes, and the row's time
    let (mut rows, mut first_ms) = (Vec::with_capacity(series.times.len()), i64::MIN);
    let weeks = train.map_or(0, |train| weeks_late(train, series));
    for (at, table) in tables.iter().enumerate() {
        let scored = at + 1 == tables.len();
        let earlier = if scored { 0 } else { weeks * WEEK };
        player.now_ms = None; // nobody watched between two tables
        for (times, cells) in moments(table) {
            let time_ms = (times[0] - earlier) * 1000;
            let slot_ms = slots.next(time_ms);
            if scored && rows.is_empty() {
                first_ms = slot_ms;
            }
            places.push((slot_ms, time_ms));
            player.row(slot_ms, &cells);
            if scored {
                rows.extend(times.iter().map(|time| (*time, slot_ms)));
            }
            bar.add(times.len() as u64);
        }
    }
    drop(bar);
    let last_ms = places.last().map_or(i64::MAX, |(slot_ms, _)| *slot_ms);
    player.finish(last_ms);
    let real = |frame_ms: i64| {
        let known = places.binary_search_by_key(&frame_ms, |(slot_ms, _)| *slot_ms);
        known.map_or(frame_ms, |at| places[at].1)
    };
    let within = |incident: &Incident| (first_ms..=last_ms).contains(&incident.time_ms);
    let mut incidents: Vec<Incident> = player.incidents.into_iter().filter(within).collect();
    for incident in &mut incidents {
        incident.time_ms = real(incident.time_ms);
        incident.started_ms = real(incident.started_ms);
    }
    let note = format!(
        "the rows to learn from are later than the series: taken as {weeks} week{} earlier",
        if weeks == 1 { "" } else { "s" }
    );
    let notes = if weeks > 0 { vec![note] } else { Vec::new() };
    Ok(Found { scores: player.scores, incidents, rows, notes })
}

/// Whole weeks by which `train` must be moved back to lie before `series`.
fn weeks_late(train: &Table, series: &Table) -> i64 {
    let last = train.times.last().copied().unwrap_or(i64::MIN);
    let overlap = last.saturating_sub(series.times[0]).saturating_add(1);
    (overlap.max(0) + WEEK - 1) / WEEK
}

/// The median step between different times.
fn interval(tables: &[&Table]) -> Result<Duration> {
    let steps = tables.iter().flat_map(|table| table.times.windows(2)).map(|two| two[1] - two[0]);
    let mut steps: Vec<i64> = steps.filter(|step| *step > 0).collect();
    ensure!(
        !steps.is_empty(),
        "{}: rows of at least two different times are needed to know the frame's length",
        tables[0].path.display()
    );
    let middle = (steps.len() - 1) / 2;
    let (_, median, _) = steps.select_nth_unstable(middle);
    Ok(Duration::from_secs(median.unsigned_abs()))
}

/// Rows of one time together: their times, and of each column the last value that is there.
fn moments(table: &Table) -> impl Iterator<Item = (&[i64], Vec<f64>)> {
    let mut at = 0;
    table.times.chunk_by(|a, b| a == b).map(move |times| {
        let mut cells = table.row(at).to_vec();
        for row in at + 1..at + times.len() {
            for (cell, value) in cells.iter_mut().zip(table.row(row)) {
                *cell = if value.is_nan() { *cell } else { *value };
            }
        }
        at += times.len();
        (times, cells)
    })
}

/// Gives each moment a frame of its own.
struct Slots {
    interval_ms: i64,
    last: Option<i64>,
}

impl Slots {
    /// The end of the frame a time lies in; when that is taken, of the next one.
    fn next(&mut self, time_ms: i64) -> i64 {
        let end = time_ms.div_euclid(self.interval_ms) * self.interval_ms;
        let end = if end < time_ms { end + self.interval_ms } else { end };
        let slot = self.last.map_or(end, |last| end.max(last + self.interval_ms));
        self.last = Some(slot);
        slot
    }
}

/// The detector and what it has emitted.
struct Player {
    alias: Arc<str>,
    observer: Box<dyn Observer>,
    origin: Arc<str>,
    series: Vec<Arc<Series>>,
    interval_ms: i64,
    lateness_ms: i64,
    now_ms: Option<i64>,
    scores: Scores,
    incidents: Vec<Incident>,
}

impl Player {
    fn new(
        plan: &Plan,
        (alias, config): (Arc<str>, Config),
        names: &[String],
        interval: Duration,
    ) -> Result<Self> {
        let host: Arc<str> =
            if plan.agent.host.is_empty() { HOST.into() } else { Arc::clone(&plan.host) };
        let context = Context {
            alias: Arc::clone(&alias),
            tags: Arc::new(Labels::new([("host", &*host)])),
            host,
            interval,
            state_dir: "/nonexistent".into(), // a detector keeps no files
            history: Arc::new(InMemory::new(FRAMES)),
            trainer: Trainer::waiting(),
            desk: Desk::new(plan.agent.budget()),
        };
        let lateness_ms = config.lateness.0.as_millis() as i64;
        let built = Anomaly::build(for_columns(config, names, interval), &context);
        let observer = match built.map_err(|errors| {
            let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
            anyhow!("the detector `{alias}` cannot watch these columns: {}", words.join("; "))
        })? {
            Processor::Observer(observer) => observer,
            Processor::Transform(_) => bail!("the detector is no observer"),
        };
        let series = |name: &String| Series::new(name.as_str(), Kind::Gauge, NO_LABELS);
        Ok(Player {
            alias,
            observer,
            origin: "replay".into(),
            series: names.iter().map(series).collect(),
            interval_ms: interval.as_millis() as i64,
            lateness_ms,
            now_ms: None,
            scores: Scores::default(),
            incidents: Vec::new(),
        })
    }

    /// One row at the end of its frame.
    fn row(&mut self, slot_ms: i64, cells: &[f64]) {
        self.pass(slot_ms);
        let sample = |(series, value): (&Arc<Series>, &f64)| Metric {
            series: Arc::clone(series),
            time_ms: slot_ms,
            value: *value,
        };
        let there = self.series.iter().zip(cells).filter(|(_, value)| !value.is_nan());
        let events = Events::Metrics(there.map(sample).collect());
        if !events.is_empty() {
            let batch = Batch::new(Arc::clone(&self.origin), events);
            let mut emit = Emit::default();
            self.observer.observe(&batch, &mut emit);
            self.take(emit);
        }
    }

    /// The clock moves on, frame by frame.
    fn pass(&mut self, until_ms: i64) {
        let mut now_ms = match self.now_ms {
            Some(now_ms) if until_ms - now_ms <= LONGEST_GAP * self.interval_ms => {
                now_ms + self.interval_ms
            }
            _ => until_ms,
        };
        while now_ms <= until_ms {
            let mut emit = Emit::default();
            self.observer.tick(now_ms, &mut emit);
            self.take(emit);
            self.now_ms = Some(now_ms);
            now_ms += self.interval_ms;
        }
    }

    /// Lets the last frame close.
    fn finish(&mut self, last_ms: i64) {
        self.pass(last_ms + self.lateness_ms + 2 * self.interval_ms);
    }

    fn take(&mut self, emit: Emit) {
        for events in emit.0 {
            match events {
                Events::Metrics(metrics) => self.scores.take(&self.alias, &metrics),
                Events::Incidents(incidents) => self.incidents.extend(incidents),
                Events::Logs(_) | Events::Evidence(_) => (),
            }
        }
    }
}

const NO_LABELS: [(&str, &str); 0] = [];

/// The detector's settings over these columns.
fn for_columns(mut config: Config, names: &[String], interval: Duration) -> Config {
    let signal = |name: &String| SignalConfig {
        name: name.clone(),
        metric: escape(name),
        min_relative: 0.0, // nobody has said what matters in a table
        ..SignalConfig::default()
    };
    config.preset = Preset::None;
    config.signals = names.iter().map(signal).collect();
    config.frame_interval = sentinel_contract::units::Period(interval);
    config.group_by = Vec::new();
    config.series = Written::Explained;
    config.silence = Silence::Ignore; // a table has gaps of its own kind
    config
}

/// A name as a glob that matches just it.
fn escape(name: &str) -> String {
    let special = |c: char| "?*[]{}!\\".contains(c);
    name.chars().map(|c| if special(c) { format!("[{c}]") } else { c.to_string() }).collect()
}
