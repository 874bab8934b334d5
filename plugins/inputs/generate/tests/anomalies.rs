//! Anomalies: the lines do what the truth says, then and only then.

use super::harness::{SECOND_NS, START_NS, due, generator, lines};
use crate::generate::Made;

/// Minutes of a web log with an anomaly in the third of five minutes: of each minute the lines.
fn minutes(kind: &str, anomaly: &str) -> [Vec<String>; 5] {
    let options = format!("kinds = [\"{kind}\"]\nrate = 200\nanomalies = [\"{anomaly}@2m+1m\"]");
    let mut all = <[Vec<String>; 5]>::default();
    for line in lines(&options, 300) {
        // ...:00:02:13 +0000] or T00:02:13.
        let minute = line.split_once("00:0").unwrap().1.as_bytes()[0] - b'0';
        all[usize::from(minute)].push(line);
    }
    all
}

/// Of the third minute, and the most of the others: the share of lines of which this holds.
fn shares(minutes: &[Vec<String>; 5], holds: impl Fn(&str) -> bool) -> (f64, f64) {
    let share = |lines: &Vec<String>| {
        lines.iter().filter(|line| holds(line)).count() as f64 / lines.len() as f64
    };
    let others = [0, 1, 3, 4].map(|minute| share(&minutes[minute]));
    (share(&minutes[2]), others.into_iter().fold(0.0, f64::max))
}

fn status(line: &str) -> &str {
    &line.split("HTTP/1.1\" ").nth(1).unwrap()[..3]
}

#[test]
fn an_error_burst_raises_the_share_of_5xx() {
    let (within, without) = shares(&minutes("web", "error_burst"), |line| status(line) >= "500");
    assert!((0.37..0.43).contains(&within) && without < 0.01, "{within} {without}");
}

#[test]
fn traffic_spikes_and_drops() {
    let counts = |anomaly| minutes("web", anomaly).map(|lines| lines.len());
    assert_eq!(counts("traffic_spike"), [12_000, 12_000, 60_000, 12_000, 12_000]);
    assert_eq!(counts("traffic_drop"), [12_000, 12_000, 600, 12_000, 12_000]);
}

#[test]
fn latency_is_ten_times_as_long() {
    let all = minutes("web", "latency");
    let mean = |lines: &Vec<String>| {
        let times =
            lines.iter().map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        times.sum::<f64>() / lines.len() as f64
    };
    let times = mean(&all[2]) / mean(&all[1]);
    assert!((8.0..12.0).contains(&times), "{times}");
    assert!((0.9..1.1).contains(&(mean(&all[3]) / mean(&all[1]))));
}

#[test]
fn a_new_client_and_a_scan_come_on_top_of_the_others() {
    let all = minutes("web", "new_client");
    let (within, without) = shares(&all, |line| line.starts_with("203.0.113.66 "));
    assert!((0.48..0.52).contains(&within) && without == 0.0, "{within}");
    assert_eq!(all[2].len(), 2 * all[1].len());
    let all = minutes("web", "path_scan");
    let strange = |line: &str| line.starts_with("203.0.113.99 ") && status(line) >= "403";
    let (within, without) = shares(&all, strange);
    assert!((0.28..0.32).contains(&within) && without == 0.0, "{within}");
    let usual = |lines: &Vec<String>| lines.iter().filter(|line| !strange(line)).count() as f64;
    assert!((0.97..1.03).contains(&(usual(&all[2]) / usual(&all[1]))));
}

#[test]
fn a_new_error_was_never_seen_before_and_a_level_shift_is_of_errors_that_were() {
    let (within, without) = shares(&minutes("app", "new_error"), |line| {
        line.contains("cannot renew the lease of shard")
    });
    assert!((0.04..0.06).contains(&within) && without == 0.0, "{within} {without}");
    let (within, without) =
        shares(&minutes("app", "level_shift"), |line| line.contains("\"level\":\"error\""));
    assert!((0.27..0.33).contains(&within) && without < 0.01, "{within} {without}");
}

#[test]
fn a_size_scales_what_happens() {
    let (within, _) = shares(&minutes("web", "error_burst"), |line| status(line) >= "500");
    let options = "rate = 200\nanomalies = [\"error_burst@0s+5m*0.25\"]";
    let lines = lines(options, 60);
    let share =
        lines.iter().filter(|line| status(line) >= "500").count() as f64 / lines.len() as f64;
    assert!((0.2..0.35).contains(&(share / within)), "{share} of {within}");
}

#[test]
fn the_truth_is_told_before_the_first_line_of_the_anomaly() {
    let mut generator =
        generator("hosts = 3\nanomalies = [\"traffic_drop@30s+1m30s*0.5\", \"error_burst@5s+1s\"]");
    let made = due(&mut generator, 60);
    let told: Vec<(usize, &String)> = made
        .iter()
        .enumerate()
        .filter_map(|(at, made)| if let Made::Truth(line) = made { Some((at, line)) } else { None })
        .collect();
    assert_eq!(told.len(), 2);
    let (at, line) = told[1];
    assert_eq!(
        line.replace("shop-1", "shop-N").replace("shop-2", "shop-N").replace("shop-3", "shop-N"),
        "{\"start\":\"2026-11-30T00:00:30.000000Z\",\"end\":\"2026-11-30T00:02:00.000000Z\",\
         \"kind\":\"traffic_drop\",\"target\":\"web\",\"host\":\"shop-N\",\"size\":0.5,\
         \"what\":\"almost no requests\"}\n"
    );
    let time = |made: &Made| match made {
        Made::Lines(piece) => Some(piece.time_ns),
        _ => None,
    };
    let begin_ns = START_NS + 30 * SECOND_NS;
    assert!(made[..at].iter().filter_map(time).all(|time_ns| time_ns < begin_ns));
    assert!(made[at..].iter().filter_map(time).all(|time_ns| time_ns >= begin_ns));
}

#[test]
fn only_the_host_that_the_truth_names_is_hit() {
    let mut generator = generator("hosts = 3\nrate = 3000\nanomalies = [\"traffic_drop@10s+10s\"]");
    let made = due(&mut generator, 20);
    let line = made.iter().find_map(|made| match made {
        Made::Truth(line) => Some(line.clone()),
        _ => None,
    });
    let line = line.unwrap();
    let mut counts = [0; 3];
    for made in &made {
        if let Made::Lines(piece) = made
            && piece.time_ns >= START_NS + 10 * SECOND_NS
        {
            counts[piece.source] += piece.lines;
        }
    }
    for (source, count) in generator.sources().iter().zip(counts) {
        let is_hit = line.contains(&format!("\"host\":\"{}\"", source.host));
        assert_eq!(count, if is_hit { 500 } else { 10_000 }, "{line} {counts:?}");
    }
}

#[test]
fn the_seed_deals_one_anomaly_a_span_each_within_its_span() {
    let truths = |seed: u64| -> Vec<String> {
        let options = format!(
            "kinds = [\"web\", \"app\", \"host\"]\nrate = 1\nseed = {seed}\nanomaly_every = \"10m\""
        );
        let made = due(&mut generator(&options), 3600);
        let truth = |made| if let Made::Truth(line) = made { Some(line) } else { None };
        made.into_iter().filter_map(truth).collect()
    };
    let six = truths(1);
    assert_eq!(six.len(), 6);
    assert_eq!(six, truths(1));
    assert_ne!(six, truths(2));
    for (span, line) in six.iter().enumerate() {
        for part in line.split("T00:").skip(1) {
            let minute: usize = part[..2].parse().unwrap();
            assert_eq!(minute / 10, span, "{line}");
        }
    }
}
