//! The reading itself: parts of history through a pipeline of its own, which nobody hears.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use sentinel_contract::Pressure;
use sentinel_contract::command::Past as Incident;
use sentinel_contract::history::History;
use sentinel_contract::pressure::Level;
use sentinel_contract::trainer::{LONGEST_WAIT, Trainer};
use sentinel_engine::config::{Plan, Shared};
use sentinel_engine::replay::Driver;
use sentinel_transport::export::Export;
use tokio_util::sync::CancellationToken;
use tracing::dispatcher::{Dispatch, with_default};

use super::past::{Incidents, Past};
use super::{Job, Shown};
use crate::cli::replay::history::{self, Reader};
use crate::cli::replay::series;

/// Samples in memory at once: 2.4 MB.
const MAX_SAMPLES: usize = 100_000;
/// All of it together takes at most so long.
const LONGEST: Duration = Duration::from_hours(2);
/// The server rests for as long as its answer took, at most this long.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All was read.
    Whole,
    /// It took too long; what was read is there.
    Late,
    /// The agent stops.
    Stopped,
}

/// Where it is. After an error [`Reading::run`] goes on where it was.
pub(super) struct Reading {
    driver: Driver,
    readers: Vec<Reader>,
    host: Arc<str>,
    export: Export,
    past: Arc<Past>,
    incidents: Incidents,
    upto_ms: i64,
    now: Option<i64>,
    samples: usize,
    worked: Duration,
    waited: Duration,
    pressure: Pressure,
}

impl Reading {
    /// Builds a pipeline that keeps frames only, and looks at what kinds of metrics there are. Asks nobody yet.
    pub(super) fn new(job: &Job) -> Result<Self> {
        let plan: &Plan = &job.plan;
        let past = Arc::new(Past::new(Arc::clone(&job.shared.history), job.upto_ms));
        let shared = Shared {
            state_dir: job.shared.state_dir.clone(),
            history: Arc::clone(&past) as Arc<dyn History>,
            trainer: Trainer::waiting(), // on this thread, whose priority is low
            desk: sentinel_contract::Desk::default(), // the past calls nobody
            pressure: job.shared.pressure.clone(),
        };
        let driver = Driver::new(plan, &shared)?;
        let reader = |alias: &Arc<str>| -> Result<Reader> {
            let (_, config) = series::detector(plan, Some(alias))?;
            let watcher = driver.watcher(alias).context("the detector is no observer")?;
            Ok(Reader { watcher, config })
        };
        let readers: Vec<Reader> = job.detectors.iter().map(reader).collect::<Result<_>>()?;
        let wanted = history::wanted(plan, &readers, (job.from_ms, job.upto_ms), MAX_SAMPLES);
        let export = Export::new(job.http.clone(), wanted, history::kinds(plan, &shared)?)
            .map_err(|errors| anyhow!("{}", errors[0]))?;
        Ok(Reading {
            driver,
            readers,
            host: Arc::clone(&plan.host),
            export,
            past,
            incidents: Incidents::default(),
            upto_ms: job.upto_ms,
            now: None,
            samples: 0,
            worked: Duration::ZERO,
            waited: Duration::ZERO,
            pressure: job.shared.pressure.clone(),
        })
    }

    /// Reads on.
    pub(super) async fn run(&mut self, stop: &CancellationToken, shown: &Shown) -> Result<End> {
        loop {
            if self.worked >= LONGEST {
                return self.ended(End::Late);
            }
            if !self.wait(stop).await {
                return Ok(End::Stopped);
            }
            let asked = Instant::now();
            let part = tokio::select! {
                part = self.export.next() => part,
                () = stop.cancelled() => return Ok(End::Stopped),
            };
            let answered = asked.elapsed();
            let Some(part) = part? else { return self.ended(End::Whole) };
            self.samples += part.samples.len();
            // What detectors say of the past is not said: it would read as if it were now.
            with_default(&Dispatch::none(), || {
                let samples = &part.samples;
                history::play(
                    &mut self.driver,
                    &self.readers,
                    &self.host,
                    samples,
                    &mut self.now,
                    &mut self.incidents,
                )
            })?;
            self.worked += asked.elapsed();
            shown.at(self.export.at_ms(), self.past.written());
            tokio::select! {
                () = tokio::time::sleep(answered.min(LONGEST_REST)) => (),
                () = stop.cancelled() => return Ok(End::Stopped),
            }
        }
    }

    /// While the host is short the past can wait too, as long as trainings do. False: the agent stops.
    async fn wait(&mut self, stop: &CancellationToken) -> bool {
        while self.pressure.level() >= Level::Models && self.waited < LONGEST_WAIT {
            self.waited += LONGEST_REST;
            tokio::select! {
                () = tokio::time::sleep(LONGEST_REST) => (),
                () = stop.cancelled() => return false,
            }
        }
        true
    }

    fn ended(&mut self, end: End) -> Result<End> {
        with_default(&Dispatch::none(), || self.driver.tick(self.upto_ms, &mut self.incidents))?;
        self.past.hand_over_all()?;
        Ok(end)
    }

    /// Frames and samples.
    pub(super) fn found(&self) -> (u64, usize) {
        (self.past.written(), self.samples)
    }

    /// The times of a detector's confirmed incidents.
    pub(super) fn incidents(&self, detector: &str) -> Vec<Incident> {
        self.incidents.of(detector, self.upto_ms)
    }
}
