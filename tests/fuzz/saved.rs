//! What observers saved and take back: JSON of anything behind a head that is right. It is refused, or the observer goes on
//! with it, and what it saves then it takes back.

use sentinel_contract::{Batch, Emit, Events, Kind, Metric, Observer, Plugin, Processor, Series};
use sentinel_processors::anomaly::{self, Anomaly};

use super::lines::{READ_NS, context, features, is_restored, patterns, timed, watch};

const LINES: &[u8] = b"\x01one line\n\x20another 17\n\xf0and a third\n";

fn with_head(name: &str, version: u32, body: &[u8]) -> Vec<u8> {
    let head = format!("{name} {version} {:08x}\n", crc32fast::hash(body));
    [head.as_bytes(), body].concat()
}

/// The templates of Drain, its windows and its news.
pub fn patterns_state(data: &[u8]) {
    let mut observer = patterns();
    if observer.restore(&with_head("sentinel-log-patterns", 1, data)).is_ok() {
        watch(&mut *observer, timed(LINES));
        let _shown = observer.status();
        is_restored(&*observer, patterns());
    }
}

/// The windows of requests.
pub fn features_state(data: &[u8]) {
    let mut observer = features();
    if observer.restore(data).is_ok() {
        watch(&mut *observer, timed(LINES));
        let _shown = observer.status();
        is_restored(&*observer, features());
    }
}

/// Two signals.
fn detector() -> Box<dyn Observer> {
    let signals = "preset = \"none\"\nframe_interval = \"1m\"\nmin_training_frames = 60\n\
        [[signals]]\nname = \"a\"\nmetric = \"a\"\n[[signals]]\nname = \"b\"\nmetric = \"b\"\n";
    let config: anomaly::Config = match toml::from_str(signals) {
        Ok(config) => config,
        Err(error) => panic!("the options are right: {error}"),
    };
    match Anomaly::build(config, &context()) {
        Ok(Processor::Observer(detector)) => detector,
        _ => panic!("the options are right"),
    }
}

/// Models, open incidents and what else a detector knows.
pub fn anomaly_state(data: &[u8]) {
    let mut observer = detector();
    if observer.restore(&with_head("sentinelops-anomaly", 3, data)).is_err() {
        return;
    }
    let mut emit = Emit::default();
    let series = ["a", "b"].map(|name| Series::new(name, Kind::Gauge, [("host", "here")]));
    for minute in 0..5 {
        let time_ms = READ_NS / 1_000_000 + minute * 60_000;
        let metric = |series: &std::sync::Arc<Series>| Metric {
            series: std::sync::Arc::clone(series),
            time_ms,
            value: minute as f64,
        };
        let metrics = series.iter().map(metric).collect();
        observer.observe(&Batch::new("in".into(), Events::Metrics(metrics)), &mut emit);
        observer.tick(time_ms + 100, &mut emit);
    }
    let _shown = observer.status();
    if let Some(saved) = observer.snapshot()
        && let Err(error) = detector().restore(&saved)
    {
        panic!("what was saved is taken back: {error:#}");
    }
}
