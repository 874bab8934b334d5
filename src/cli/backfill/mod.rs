//! The past at the first start: this host's signals of up to six weeks, read back from VictoriaMetrics into history.
//!
//! A detector that has neither a snapshot nor such a past gets one: its metrics go through a pipeline of their own, the code
//! of `replay`, into frames of the embedded history; then it is told, and learns from them at its next frame. Nothing of it
//! is written to outputs. It runs beside the agent on a thread of low priority, a bounded part at a time; a server that is
//! down is said once and asked again later, also after a restart, and meanwhile the detectors learn live.

mod past;
mod reading;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{Command, Plugin as _};
use sentinel_engine::clock::now_ms;
use sentinel_engine::commands::Commands;
use sentinel_engine::config::{Plan, Shared};
use sentinel_engine::observer_state;
use sentinel_outputs::victoriametrics::{Config, VictoriaMetrics};
use sentinel_processors::anomaly::Anomaly;
use sentinel_transport::{Auth, HttpOptions, Tls};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::low::lower_priority;
use reading::{End, Reading};

/// Of one request.
const TIMEOUT: Period = Period::secs(60);
/// Between tries while the server is down: these, then the last of them again and again.
const PAUSES: [Duration; 4] = [
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(30),
    Duration::from_hours(2),
];

/// What there is to read, for whom, from where.
pub(crate) struct Job {
    plan: Arc<Plan>,
    shared: Shared,
    detectors: Vec<Arc<str>>,
    from_ms: i64,
    upto_ms: i64,
    http: HttpOptions,
    shown: Shown,
}

/// How it stands, for `status` and the page.
#[derive(Clone, Default)]
pub(crate) struct Shown(Arc<Mutex<Value>>);

impl Shown {
    fn set(&self, fields: &[(&str, Value)]) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in fields {
            shown[*name] = value.clone();
        }
    }

    fn at(&self, at_ms: i64, frames: u64) {
        self.set(&[
            ("state", "reading".into()),
            ("at_ms", at_ms.into()),
            ("frames", frames.into()),
        ]);
    }

    /// As it is now; null when there is nothing to read.
    pub(crate) fn json(&self) -> Value {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is to be read at this start; `None` when there is nothing, or nowhere to read it. Asks the embedded history only.
pub(crate) fn job(plan: &Arc<Plan>, shared: &Shared) -> Option<Job> {
    let longest = plan.agent.backfill.0?.0.min(plan.agent.history_retention.0);
    let http = source(plan)?;
    let now = now_ms();
    let (mut detectors, mut upto_ms) = (Vec::new(), now);
    let specs = plan.processors.iter().filter(|(spec, _)| spec.entry.name == Anomaly::NAME);
    for (spec, _) in specs {
        match first_start(shared, &spec.alias) {
            Ok(Some(begun_ms)) => {
                detectors.push(Arc::clone(&spec.alias));
                upto_ms = upto_ms.min(begun_ms);
            }
            Ok(None) => (),
            Err(error) => {
                let error = format!("{error:#}");
                tracing::warn!(%error, alias = &*spec.alias, "no past is read: history cannot tell");
            }
        }
    }
    let from_ms = upto_ms.min(now) - longest.as_millis() as i64;
    let (plan, shared) = (Arc::clone(plan), shared.clone());
    let shown = Shown::default();
    (!detectors.is_empty()).then_some(Job {
        plan,
        shared,
        detectors,
        from_ms,
        upto_ms,
        http,
        shown,
    })
}

/// Where the past is.
fn source(plan: &Plan) -> Option<HttpOptions> {
    let url = plan.agent.backfill_url.reveal();
    if !url.is_empty() {
        return Some(HttpOptions {
            url: url.to_owned(),
            timeout: TIMEOUT,
            headers: BTreeMap::new(),
            proxy: Secret::new(""),
            tls: Tls::default(),
            auth: Auth::default(),
        });
    }
    let spec = plan.outputs.iter().find(|spec| spec.entry.name == VictoriaMetrics::NAME)?;
    let config: Config = spec.options().ok()?; // it was checked with the plan
    Some(HttpOptions {
        url: config.url,
        timeout: TIMEOUT,
        headers: config.headers,
        proxy: config.proxy,
        tls: config.tls,
        auth: config.auth,
    })
}

fn mark_name(alias: &str) -> String {
    format!("backfill:{alias}")
}

/// When the detector was first started, if its past is still to be read.
fn first_start(shared: &Shared, alias: &str) -> Result<Option<i64>> {
    if let Some(mark) = shared.history.load_state(&mark_name(alias))? {
        let mark: Value = serde_json::from_slice(&mark).unwrap_or_default();
        let open = mark["done"] != true;
        return Ok(mark["upto_ms"].as_i64().filter(|_| open));
    }
    let known = shared.history.load_state(&observer_state(alias))?.is_some();
    Ok((!known).then(now_ms))
}

impl Job {
    /// For `status`.
    pub(crate) fn shown(&self) -> Shown {
        self.shown.clone()
    }

    /// Reads on a thread of its own, until it is done or `stop` is told.
    pub(crate) fn start(self, commands: Commands, stop: CancellationToken) -> Result<()> {
        let detectors: Vec<&str> = self.detectors.iter().map(|alias| &**alias).collect();
        self.shown.set(&[
            ("state", "reading".into()),
            ("detectors", json!(detectors)),
            ("from_ms", self.from_ms.into()),
            ("at_ms", self.from_ms.into()),
            ("upto_ms", self.upto_ms.into()),
            ("frames", 0.into()),
        ]);
        self.mark(false);
        let work = move || {
            lower_priority("reading the past");
            if let Err(error) = self.work(&commands, &stop) {
                let error = format!("{error:#}");
                tracing::error!(%error, "the past cannot be read; the detectors learn live");
                self.shown.set(&[("state", "failed".into()), ("reason", error.into())]);
            }
        };
        std::thread::Builder::new()
            .name("backfill".to_owned())
            .spawn(work)
            .context("cannot start a thread")?;
        Ok(())
    }

    fn mark(&self, done: bool) {
        let mark = json!({ "upto_ms": self.upto_ms, "done": done }).to_string();
        for alias in &self.detectors {
            self.shared.history.save_state(&mark_name(alias), mark.as_bytes());
        }
    }

    fn work(&self, commands: &Commands, stop: &CancellationToken) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut reading = Reading::new(self)?;
        let days = (self.upto_ms - self.from_ms) as f64 / 86_400_000.0;
        tracing::info!(
            days,
            detectors = self.detectors.join(", "),
            "reading the past of this host"
        );
        let mut pauses = PAUSES.into_iter().chain(std::iter::repeat(PAUSES[PAUSES.len() - 1]));
        let mut said = false;
        loop {
            let error = match runtime.block_on(reading.run(stop, &self.shown)) {
                Ok(End::Stopped) => return Ok(()),
                Ok(end) => {
                    self.done(&reading, end);
                    runtime.block_on(self.tell(&reading, commands));
                    return Ok(());
                }
                Err(error) => format!("{error:#}"),
            };
            let pause = pauses.next().unwrap_or_default();
            if said {
                tracing::debug!(%error, "the past can still not be read");
            } else {
                tracing::warn!(%error, "the past cannot be read now: the detectors learn live, and it is tried again later");
            }
            said = true;
            let next_ms = now_ms() + pause.as_millis() as i64;
            let fields = [
                ("state", "waiting".into()),
                ("reason", error.into()),
                ("next_ms", next_ms.into()),
            ];
            self.shown.set(&fields);
            let stopped = runtime
                .block_on(async { tokio::time::timeout(pause, stop.cancelled()).await.is_ok() });
            if stopped {
                return Ok(());
            }
            self.shown.set(&[("reason", Value::Null), ("next_ms", Value::Null)]);
        }
    }

    fn done(&self, reading: &Reading, end: End) {
        let (frames, samples) = reading.found();
        self.shared.history.flush();
        self.mark(true);
        let state = if samples == 0 { "nothing" } else { "done" };
        self.shown.set(&[("state", state.into()), ("frames", frames.into())]);
        if samples == 0 {
            let host = &*self.plan.host;
            tracing::info!(host, "the backend has no past of this host: the detectors learn live");
            return;
        }
        if end == End::Late {
            self.shown.set(&[("reason", "it took too long: the rest was left".into())]);
        } else {
            self.shown.set(&[("at_ms", self.upto_ms.into())]);
        }
        tracing::info!(frames, samples, whole = end == End::Whole, "the past was read");
    }

    /// The detectors learn from it.
    async fn tell(&self, reading: &Reading, commands: &Commands) {
        if reading.found().0 == 0 {
            return;
        }
        for alias in &self.detectors {
            let incidents = reading.incidents(alias);
            let detector = Some(alias.to_string());
            let told = commands.tell(Command::Backfilled { detector, incidents }).await;
            tracing::debug!(?told, "told of the past");
        }
    }
}
