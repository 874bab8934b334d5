//! History in VictoriaMetrics through the detectors: their metrics of this host, as they were written then.
//!
//! What the server does not know is asked of the inputs: a metric that an input gathers here as a counter is one there. The
//! detectors see the samples directly, whichever input they came from, by the samples' own times; every second is ticked.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use sentinel_contract::units::{Period, Secret};
use sentinel_contract::{Batch, Events, Input, Kind, Metric};
use sentinel_engine::clock::now_ms;
use sentinel_engine::config::{Plan, Role, Shared};
use sentinel_engine::gather;
use sentinel_engine::replay::{Driver, Sink, Watcher};
use sentinel_processors::anomaly::Config;
use sentinel_transport::export::{Export, KindOf, Selector, Wanted};
use sentinel_transport::{Auth, HttpOptions, Tls};

use crate::cli::progress::Progress;

/// Of one request.
const TIMEOUT: Period = Period::secs(120);
/// Samples in memory at once: 48 MB.
const MAX_SAMPLES: usize = 2_000_000;
/// Ends of names that are counters by convention (Prometheus' metric and label naming).
const COUNTER_ENDS: [&str; 4] = ["_total", "_count", "_sum", "_bucket"];

/// When: "now", seconds since 1970, a date, a time (RFC 3339), or how long before now ("-14d").
pub(crate) fn time_ms(text: &str, now_ms: i64) -> Result<i64> {
    if text == "now" {
        return Ok(now_ms);
    }
    if let Some(before) = text.strip_prefix('-') {
        let before: Period = before.parse().map_err(|error: String| anyhow!("{error}"))?;
        return Ok(now_ms - before.0.as_millis() as i64);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return seconds.checked_mul(1000).context("is too large");
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_millisecond());
    }
    if let Ok(date) = text.parse::<Date>() {
        return Ok(date.to_zoned(TimeZone::UTC)?.timestamp().as_millisecond());
    }
    Err(anyhow!(
        "`{text}` is no time such as \"-14d\", \"2026-01-31\", \"2026-01-31T08:00:00Z\", or seconds since 1970"
    ))
}

/// A detector and what it reads.
pub(crate) struct Reader {
    pub watcher: Watcher,
    pub config: Config,
}

/// Replays the detectors' metrics of `from_ms..to_ms`; returns what a person should know of it.
pub(crate) fn replay(
    plan: &Plan,
    driver: &mut Driver,
    readers: &[Reader],
    (url, from_ms, to_ms): (&str, i64, i64),
    kind_of: KindOf,
    sink: &mut dyn Sink,
) -> Result<Vec<String>> {
    let wanted = wanted(plan, readers, (from_ms, to_ms), MAX_SAMPLES);
    let mut export = Export::new(options(url), wanted, kind_of)
        .map_err(|errors| anyhow!("--from-url {url}: {}", errors[0]))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut bar = Progress::new("replay, seconds", ((to_ms - from_ms) / 1000).unsigned_abs());
    let (mut samples, mut now) = (0, None);
    while let Some(part) = runtime.block_on(export.next())? {
        samples += part.samples.len();
        play(driver, readers, &plan.host, &part.samples, &mut now, sink)?;
        bar.add(((part.span_ms.1 - part.span_ms.0) / 1000).unsigned_abs());
    }
    drop(bar);
    ensure!(
        samples > 0,
        "{url} has no sample of the detectors' metrics with host=\"{}\" in this time; another host's history is read \
         with [agent] host",
        plan.host
    );
    Ok(vec![format!("{samples} samples")])
}

/// The readers' metrics of this host; of all hosts, when one of them keeps hosts apart.
pub(crate) fn wanted(
    plan: &Plan,
    readers: &[Reader],
    (from_ms, to_ms): (i64, i64),
    max_samples: usize,
) -> Wanted {
    Wanted {
        selectors: readers.iter().flat_map(|reader| selectors(&reader.config)).collect(),
        labels: own_host(plan, readers).map(|host| ("host".to_owned(), host)).into_iter().collect(),
        from_ms,
        to_ms,
        max_samples,
    }
}

fn own_host(plan: &Plan, readers: &[Reader]) -> Option<String> {
    (!readers.iter().any(Reader::is_of_many)).then(|| plan.host.to_string())
}

impl Reader {
    /// It keeps the metrics of many hosts apart.
    fn is_of_many(&self) -> bool {
        self.config.group_by.iter().any(|label| label == "host")
    }
}

/// Shows the readers samples in the order of their times, and ticks every second from `now` on. Who does not keep hosts apart sees
/// those of `host` only.
pub(crate) fn play(
    driver: &mut Driver,
    readers: &[Reader],
    host: &str,
    samples: &[Metric],
    now: &mut Option<i64>,
    sink: &mut dyn Sink,
) -> Result<()> {
    let seconds = samples.chunk_by(|a, b| a.time_ms.div_euclid(1000) == b.time_ms.div_euclid(1000));
    for second in seconds {
        let at = second[0].time_ms.div_euclid(1000);
        for second in now.map_or(at, |now| now + 1)..=at {
            driver.tick(second * 1000, sink)?;
        }
        *now = Some(at);
        let batch = |samples: Vec<Metric>| Batch::new("replay".into(), Events::Metrics(samples));
        let all = batch(second.to_vec());
        let mixed = readers.iter().any(Reader::is_of_many);
        for reader in readers {
            if reader.is_of_many() || !mixed {
                driver.show(reader.watcher, &all, sink)?;
            } else {
                let own = second.iter().filter(|one| one.series.labels().get("host") == Some(host));
                driver.show(reader.watcher, &batch(own.cloned().collect()), sink)?;
            }
        }
    }
    Ok(())
}

fn selectors(config: &Config) -> Vec<Selector> {
    let selector = |(metric, labels): (String, std::collections::BTreeMap<String, String>)| {
        Selector { metric, labels: labels.into_iter().collect() }
    };
    config.sources().into_iter().map(selector).collect()
}

fn options(url: &str) -> HttpOptions {
    HttpOptions {
        url: url.to_owned(),
        timeout: TIMEOUT,
        headers: std::collections::BTreeMap::new(),
        proxy: Secret::new(""),
        tls: Tls::default(),
        auth: Auth::default(),
    }
}

/// What a metric is, by its name: as the plan's inputs gather it on this host, else by its end.
pub(crate) fn kinds(plan: &Plan, shared: &Shared) -> Result<KindOf> {
    let mut known: HashMap<String, Kind> = HashMap::new();
    for spec in &plan.inputs {
        if let Input::Gather(mut collectors) =
            spec.build(&plan.context(Role::Input, spec, shared))?
        {
            let (samples, _errors) = gather::twice(&mut collectors);
            let kind = |metric: &Metric| (metric.series.name().to_owned(), metric.series.kind());
            known.extend(samples.iter().map(kind));
        }
    }
    Ok(Box::new(move |name| {
        let counter = || COUNTER_ENDS.iter().any(|end| name.ends_with(end));
        let by_name = if counter() { Kind::Counter } else { Kind::Gauge };
        known.get(name).copied().unwrap_or(by_name)
    }))
}

/// The default time: two weeks.
pub(crate) const DEFAULT_START: &str = "-14d";

/// The times of the command line, in milliseconds.
pub(crate) fn span(start: &str, end: &str) -> Result<(i64, i64)> {
    let now = now_ms();
    let from_ms = time_ms(start, now).with_context(|| format!("--start {start}"))?;
    let to_ms = time_ms(end, now).with_context(|| format!("--end {end}"))?;
    ensure!(from_ms < to_ms, "--start {start} is not before --end {end}");
    let longest = sentinel_transport::export::LONGEST;
    ensure!(
        Duration::from_millis(to_ms.abs_diff(from_ms)) <= longest,
        "--start {start}: at most {} days can be replayed",
        longest.as_secs() / 86_400
    );
    Ok((from_ms, to_ms))
}
