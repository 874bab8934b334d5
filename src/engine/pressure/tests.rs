//! Reading the kernel's words, the level's ups and downs, and the watch over files that change.

use super::*;
use crate::log::Format;
use crate::tests::logging::logged;

const QUIET: &str = "some avg10=0.00 avg60=0.00 avg300=0.00 total=11\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";

fn memory(some: f64) -> Reading {
    Reading { memory_some: some, ..Reading::default() }
}

#[test]
fn the_kernels_lines_are_read_and_what_is_none_is_not() {
    let text = "some avg10=12.34 avg60=5.00 avg300=1.00 total=99\nfull avg10=0.50 avg60=0.00 avg300=0.00 total=7\n";
    assert_eq!((avg10(text, "some"), avg10(text, "full")), (Some(12.34), Some(0.5)));
    for bad in ["", "some", "some avg10=", "some avg10=x", "some avg60=1.00", "some avg10=nan 1"] {
        assert_eq!(avg10(bad, "some"), None, "{bad:?}");
    }
}

#[test]
fn each_resource_alone_raises_the_level() {
    let none = Reading::default();
    assert_eq!(none.level(1.0), Level::None);
    assert_eq!(memory(9.9).level(1.0), Level::None);
    assert_eq!(memory(10.0).level(1.0), Level::Models);
    assert_eq!(Reading { memory_full: 15.0, ..none }.level(1.0), Level::Processes);
    assert_eq!(Reading { cpu_some: 80.0, ..none }.level(1.0), Level::Models);
    assert_eq!(Reading { cpu_some: 95.0, ..none }.level(1.0), Level::Processes);
}

#[test]
fn the_level_rises_at_once_and_falls_after_a_minute_of_calm() {
    let mut gauge = Gauge::default();
    assert_eq!(gauge.look(memory(12.0)), Level::Models);
    for _ in 0..20 {
        assert_eq!(gauge.look(memory(6.0)), Level::Models, "between the thresholds it stays");
    }
    for _ in 1..CALM_LOOKS {
        assert_eq!(gauge.look(memory(1.0)), Level::Models);
    }
    assert_eq!(gauge.look(memory(6.0)), Level::Models, "the calm was broken");
    for _ in 1..CALM_LOOKS {
        assert_eq!(gauge.look(memory(1.0)), Level::Models);
    }
    assert_eq!(gauge.look(memory(1.0)), Level::None);
    assert_eq!(gauge.look(memory(40.0)), Level::Processes);
    for _ in 1..CALM_LOOKS {
        assert_eq!(gauge.look(memory(11.0)), Level::Processes);
    }
    assert_eq!(gauge.look(memory(11.0)), Level::Models, "a step at a time, when that is enough");
}

async fn follow() {
    let folder = tempfile::tempdir().unwrap();
    let pressure = Pressure::default();
    watch_in(&folder.path().join("absent"), pressure.clone()).await;
    let write = |memory: &str| {
        std::fs::write(folder.path().join("memory"), memory).unwrap();
        std::fs::write(folder.path().join("cpu"), QUIET).unwrap();
    };
    write(&QUIET.replace("some avg10=0.00", "some avg10=31.00"));
    let path = folder.path().to_owned();
    let shared = pressure.clone();
    let task = tokio::spawn(async move { watch_in(&path, shared).await });
    tokio::time::sleep(LOOK * 3).await;
    assert_eq!(pressure.level(), Level::Processes);
    write(QUIET);
    tokio::time::sleep(LOOK * (CALM_LOOKS - 1)).await;
    assert_eq!(pressure.level(), Level::Processes);
    tokio::time::sleep(LOOK * 10).await;
    assert_eq!(pressure.level(), Level::None);
    task.abort();
}

#[test]
fn the_watch_follows_the_files_says_each_change_once_and_ends_where_there_are_none() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let lines = logged(Format::Text, true, || runtime.block_on(follow()));
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("<4>the host is very short"), "{lines:?}");
    assert!(lines[1].starts_with("<6>the host is no longer short"), "{lines:?}");
}
