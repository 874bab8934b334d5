//! The promises of the formats.

mod influx;
mod json;
mod logfmt;
mod otlp;
mod otlp_metrics;
mod prometheus;
mod shared;

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use sentinel_contract::{Kind, Labels, Log, Metric, Series, Value};

use super::{Given, Malformed};

/// 2026-11-23T02:13:20Z.
const NOW_NS: i64 = 1_795_400_000_000_000_000;
/// The time of everything that `tests/fuzz/corpus/otlp_*/python` says a time of.
const PYTHON_NS: i64 = NOW_NS + 123_456_789;

/// What a payload came to: its samples, and what was dropped.
type Shown = (Result<Vec<String>, Malformed>, Vec<(&'static str, u64)>);

fn base() -> Arc<Labels> {
    Arc::new(Labels::new([("topic", "t"), ("host", "here")]))
}

fn no_labels() -> Arc<Labels> {
    Arc::new(Labels::new([("", ""); 0]))
}

fn given(labels: &Arc<Labels>) -> Given<'_> {
    Given { labels, now_ns: NOW_NS }
}

/// An input of the fuzz targets.
fn corpus(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fuzz/corpus");
    std::fs::read(folder.join(name)).unwrap()
}

/// `name{label="value", ...} value time_ms`, and a `+` behind counters.
fn shown(metric: &Metric) -> String {
    let Metric { series, time_ms, value } = metric;
    let labels = series.labels().iter().map(|(name, value)| format!("{name}={value:?}"));
    let labels = labels.collect::<Vec<_>>().join(",");
    let plus = if series.kind() == Kind::Counter { "+" } else { "" };
    format!("{}{{{labels}}} {value} {time_ms}{plus}", series.name())
}

/// A record's fields; texts are quoted.
fn fields(log: &Log) -> Vec<String> {
    let fields = log.fields.iter().flat_map(|fields| &fields.0);
    let one = |field: &sentinel_contract::Field| match &field.value {
        Value::Number(number) => format!("{}={number}", field.name.as_str()),
        _ => {
            let text = String::from_utf8_lossy(log.text(field.name.as_str()).unwrap());
            format!("{}={text:?}", field.name.as_str())
        }
    };
    fields.map(one).collect()
}

/// Names and values of labels, as we have them.
fn pairs() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z_][a-z0-9_]{0,8}", "\\PC{0,12}"), 0..5)
}

fn samples() -> impl Strategy<Value = Vec<Metric>> {
    let kind = prop_oneof![Just(Kind::Gauge), Just(Kind::Counter)];
    let value = prop_oneof![-1e12..1e12, any::<i32>().prop_map(f64::from), Just(0.0), Just(1e-300)];
    let one = ("[a-z_][a-z0-9_:]{0,12}", kind, pairs(), 1_i64..1 << 42, value);
    let one = one.prop_map(|(name, kind, labels, time_ms, value)| Metric {
        series: Series::new(name, kind, labels),
        time_ms,
        value,
    });
    prop::collection::vec(one, 0..20)
}
