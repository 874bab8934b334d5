//! Names and label sets are those that Telegraf 1.37.2 made on a real machine with its ten host inputs.

use std::collections::BTreeSet;

use super::super::Config;
use super::{Host, STAT, gather};

/// Recorded from Telegraf's own output.
const TELEGRAF: &str = include_str!("telegraf-1.37-series.txt");

#[test]
fn names_and_label_sets_are_telegrafs() {
    let host = Host::whole();
    let mut collectors = host.build(Config::default());
    let mut ours = BTreeSet::new();
    for number in 0..2 {
        for collector in &mut collectors {
            for metric in gather(&mut *collector.gather, number) {
                let labels: Vec<&str> =
                    metric.series.labels().iter().map(|(name, _)| name).collect();
                ours.insert(format!("{} {}", metric.series.name(), labels.join(",")));
            }
        }
        host.write("proc/stat", STAT.replace("800", "900").replace("400", "450"));
        host.write("proc/diskstats", " 254 0 vda 12 1 80 26 30 2 160 40 0 53 60\n");
    }
    let theirs: BTreeSet<String> = TELEGRAF.lines().map(str::to_owned).collect();
    assert_eq!(ours, theirs);
}

#[test]
fn the_recorded_list_is_the_shared_one() {
    let Ok(data) = std::env::var("SENTINEL_DATA") else {
        eprintln!("SENTINEL_DATA is not set: the list of series was not compared");
        return;
    };
    let path = std::path::Path::new(&data).join("formats/telegraf-1.37-series.txt");
    assert_eq!(std::fs::read_to_string(path).unwrap(), TELEGRAF);
}
