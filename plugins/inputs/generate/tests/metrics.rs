//! Host metrics: a function of the time, counters that only grow, anomalies where they belong.

use std::collections::BTreeMap;

use sentinel_contract::Kind;

use super::harness::{START_NS, due, generator};
use crate::generate::{Generator, Made};

/// Each series' values, by name, at each ten seconds.
fn series(generator: &mut Generator, seconds: i64) -> BTreeMap<String, Vec<f64>> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let made = due(generator, seconds);
    for made in &made {
        let Made::Samples(moment) = made else { continue };
        for metric in generator.samples(*moment) {
            assert_eq!(metric.time_ms, moment.time_ms);
            let labels = metric.series.labels();
            let name = format!("{} {}", labels.get("host").unwrap(), metric.series.name());
            all.entry(name).or_default().push(metric.value);
        }
    }
    all
}

#[test]
fn samples_come_every_interval_with_their_labels_and_values_that_can_be() {
    let mut generator = generator("kinds = [\"host\"]\nhosts = 2\nprofile = \"day\"");
    let moment = due(&mut generator, 1).into_iter().find_map(|made| match made {
        Made::Samples(moment) => Some(moment),
        _ => None,
    });
    let first = generator.samples(moment.unwrap());
    assert_eq!(first[0].time_ms, START_NS / 1_000_000);
    let labels: Vec<_> = first[0].series.labels().iter().collect();
    assert_eq!(labels, [("cpu", "cpu-total"), ("env", "test"), ("host", "shop-1")]);
    let counters: Vec<String> = first
        .iter()
        .filter(|metric| metric.series.kind() == Kind::Counter)
        .map(|metric| format!("shop-1 {}", metric.series.name()))
        .collect();
    let all = series(
        &mut super::harness::generator("kinds = [\"host\"]\nhosts = 2\nprofile = \"day\""),
        86_400,
    );
    assert_eq!(all.len(), 26);
    for (name, values) in &all {
        assert_eq!(values.len(), 8640, "{name}");
        assert!(values.iter().all(|value| value.is_finite() && *value >= 0.0), "{name}");
        if name.contains("usage") || name.contains("percent") {
            assert!(values.iter().all(|value| *value <= 100.0), "{name}");
        }
        if counters.contains(name) {
            assert!(values.windows(2).all(|pair| pair[0] < pair[1]), "{name} counts up");
        }
    }
    let user = &all["shop-1 cpu_usage_user"];
    assert!(user[11 * 360] > 2.0 * user[3 * 360], "busier by day");
}

#[test]
fn anomalies_of_hosts_are_in_their_time_and_grow_as_they_say() {
    let with = |anomaly: &str| {
        let options = format!("kinds = [\"host\"]\nanomalies = [\"{anomaly}@10m+10m\"]");
        series(&mut generator(&options), 1800)
    };
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // Samples 0 to 59 are before, 60 to 119 within, then after.
    let cpu = &with("cpu_saturation")["shop cpu_usage_idle"];
    assert!(mean(&cpu[..60]) > 70.0 && mean(&cpu[60..120]) < 15.0 && mean(&cpu[120..]) > 70.0);
    let memory = &with("memory_leak")["shop mem_used_percent"];
    assert!(memory[119] - memory[59] > 40.0 && memory[60] - memory[59] < 2.0);
    assert!(memory[120] - memory[59] < 5.0, "what leaked is given back at the end");
    let disk = &with("disk_fill")["shop disk_used_percent"];
    assert!(disk[119] > 90.0 && disk[90] > 70.0 && disk[90] < 76.0 && disk[59] < 53.0);
    let net = &with("network_spike")["shop net_bytes_sent"];
    let rate = |from: usize, to: usize| (net[to] - net[from]) / (to - from) as f64;
    let times = rate(61, 119) / rate(0, 59);
    assert!((7.0..9.0).contains(&times), "{times}");
    assert!(net.windows(2).all(|pair| pair[0] < pair[1]), "the counter keeps what the spike added");
}
