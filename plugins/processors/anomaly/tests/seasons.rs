//! Fourteen days of a host that is well, minute by minute, with its days and its week (issue 4: at most one call a week).

use super::*;

/// A host under the names of inputs.system: its load follows the day, and rests at the weekend.
struct Healthy {
    rng: SplitMix64,
    gauges: Vec<(Arc<Series>, f64, f64)>,
    counters: Vec<(Arc<Series>, f64, f64)>,
    wander: f64,
}

fn series(name: &str, kind: Kind, labels: &[(&str, &str)]) -> Arc<Series> {
    let host = [("host", "box")];
    Series::new(name, kind, host.iter().chain(labels).copied())
}

fn healthy(seed: u64) -> Healthy {
    let gauge = |name, labels: &[(&str, &str)], base, swing| {
        (series(name, Kind::Gauge, labels), base, swing)
    };
    let counter = |name, labels: &[(&str, &str)], base, swing| {
        (series(name, Kind::Counter, labels), base, swing)
    };
    let cpu = [("cpu", "cpu-total")];
    Healthy {
        rng: SplitMix64::new(seed),
        gauges: vec![
            gauge("cpu_usage_idle", &cpu, 75.0, -18.0),
            gauge("cpu_usage_iowait", &cpu, 1.5, 0.7),
            gauge("system_n_cpus", &[], 8.0, 0.0),
            gauge("system_load1", &[], 2.0, 1.2),
            gauge("mem_available_percent", &[], 55.0, -8.0),
            gauge("swap_used_percent", &[], 2.0, 0.0),
            gauge("disk_used_percent", &[("mode", "rw"), ("path", "/")], 61.0, 0.0),
            gauge("diskio_io_util", &[("name", "vda")], 9.0, 5.0),
            gauge("netstat_tcp_established", &[], 90.0, 60.0),
            gauge("processes_total", &[], 220.0, 15.0),
            gauge("processes_running", &[], 2.0, 1.0),
            gauge("pressure_avg10", &[("resource", "cpu"), ("type", "some")], 2.0, 1.5),
        ],
        counters: vec![
            counter("diskio_write_bytes", &[("name", "vda")], 2e6, 1.4e6),
            counter("net_bytes_recv", &[("interface", "eth0")], 4e5, 3e5),
            counter("net_bytes_sent", &[("interface", "eth0")], 9e5, 7e5),
            counter("kernel_context_switches", &[], 6e3, 3e3),
            counter("kernel_processes_forked", &[], 6.0, 3.0),
        ],
        wander: 0.0,
    }
}

impl Healthy {
    fn minute(&mut self, minute: i64, totals: &mut [f64], time_ms: i64) -> Vec<Metric> {
        let day = (minute % 1440) as f64 / 1440.0 * std::f64::consts::TAU;
        let rests = minute / 1440 % 7 >= 5;
        let season = (day - 1.5).sin() * if rests { 0.3 } else { 1.0 };
        self.wander = 0.95 * self.wander + 0.05 * self.rng.normal();
        let mut noisy = |base: f64, swing: f64| {
            let level = base + swing * (season + self.wander);
            (level + 0.05 * level.abs() * self.rng.normal()).max(0.0)
        };
        let mut metrics = Vec::new();
        for (series, base, swing) in &self.gauges {
            let steady = *swing == 0.0;
            let value = if steady { *base } else { noisy(*base, *swing) };
            metrics.push(Metric { series: Arc::clone(series), time_ms, value });
        }
        for ((series, base, swing), total) in self.counters.iter().zip(totals) {
            *total += 60.0 * noisy(*base, *swing);
            metrics.push(Metric { series: Arc::clone(series), time_ms, value: *total });
        }
        metrics
    }
}

#[test]
fn fourteen_days_of_a_healthy_host_with_seasons_call_at_most_once_a_week() {
    let mut rig = Rig::new("preset = \"host\"");
    let mut host = healthy(11);
    let mut totals = vec![1e9; host.counters.len()];
    for minute in 0..14 * 1440 {
        rig.now_ms += rig.interval_ms;
        let metrics = host.minute(minute, &mut totals, rig.now_ms);
        let batch = Batch::new("system".into(), Events::Metrics(metrics));
        let mut emit = Emit::default();
        rig.detector.observe(&batch, &mut emit);
        rig.keep(emit);
        rig.tick(rig.now_ms + 100);
    }
    let calls = rig.incidents.iter().filter(|one| one.state == State::Notified);
    let weeks: Vec<i64> = calls.map(|one| (one.time_ms - START_MS) / (7 * 86_400_000)).collect();
    println!("{} incidents, called in weeks {weeks:?}", rig.keys().len());
    for week in 0..2 {
        let calls = weeks.iter().filter(|of| **of == week).count();
        assert!(calls <= 1, "{calls} in week {week}: {:#?}", told(&rig));
    }
    assert!(rig.is_ready() && rig.detector.groups[0].scored_frames > 13 * 1440);
}

#[test]
fn a_signal_that_is_where_it_is_at_this_hour_has_no_part_in_a_fault() {
    const MINUTES: i64 = 4 * 1440 + 360; // the fifth day's highest point
    let head = "preset = \"none\"\nmin_training_frames = 120\n";
    let signal = |name: &&str| {
        format!("[[signals]]\nname = \"{name}\"\nmetric = \"{name}\"\nmin_change = 1.0\n")
    };
    let names = ["tide", "a", "b", "c"];
    let mut rig = Rig::new(&(head.to_owned() + &names.iter().map(signal).collect::<String>()));
    let mut rng = SplitMix64::new(9);
    for minute in 0..MINUTES + 5 {
        let day = minute as f64 / 1440.0 * std::f64::consts::TAU;
        let fault = if minute == MINUTES { 20.0 } else { 0.0 };
        let mut noisy = |level: f64| level + rng.normal();
        let tide = noisy(200.0 + 60.0 * day.sin());
        let values =
            [("tide", tide), ("a", noisy(50.0) + fault), ("b", noisy(50.0)), ("c", noisy(50.0))];
        rig.window("x", &values);
    }
    let fault_ms = START_MS + (MINUTES + 1) * 60_000;
    let of_it = rig.incidents.iter().find(|one| one.time_ms == fault_ms);
    let of_it = of_it.expect("it is far beyond its band");
    assert_eq!(of_it.contributions[0].feature, "a");
    let tide = of_it.contributions.iter().find(|one| one.feature == "tide");
    assert!(tide.is_none_or(|one| one.share < 0.1), "{:?}", of_it.contributions);
}
