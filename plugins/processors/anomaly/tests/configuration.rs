//! Options: what is accepted, what is refused, and that the sample tells the truth.

use sentinel_contract::history::NoHistory;

use super::super::{Anomaly, Config, Preset};
use super::*;

const SAMPLE: &str = include_str!("../sample.toml");

fn config(text: &str) -> Config {
    let file: toml::Table = toml::from_str(text).unwrap();
    file["processors"]["anomaly"][0].clone().try_into().unwrap()
}

fn uncommented() -> String {
    let bare = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned();
    SAMPLE.lines().map(bare).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_uncommented_equals_the_defaults() {
    assert_eq!(config(SAMPLE), Config::default());
    assert_eq!(config(&uncommented()), Config::default());
}

#[test]
fn every_option_is_in_the_sample() {
    let error = toml::from_str::<Config>("no_such_option = 1").unwrap_err().to_string();
    let options: Vec<&str> = error.split('`').skip(3).step_by(2).collect();
    assert!(options.len() > 10, "{error}");
    for option in options {
        assert!(SAMPLE.contains(&format!("\n# {option} = ")) || option == "preset", "{option}");
    }
}

#[test]
fn the_readme_shows_the_sample() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(&format!("```toml\n{SAMPLE}```")));
}

fn refused(options: &str) -> Vec<String> {
    let config: Config = toml::from_str(options).unwrap();
    match Anomaly::new(&config, &context(Arc::new(NoHistory))) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn all_wrong_values_are_said_at_once() {
    let errors = refused(
        "frame_interval = \"10ms\"\nmax_groups = 0\nincidents_per_week = -1.0\nlevel_frames = 2\nmin_training_frames = 3",
    );
    assert_eq!(errors.len(), 5, "{errors:?}");
    assert!(errors[0].starts_with("frame_interval: must be 1s to 1h"), "{errors:?}");
}

#[test]
fn signals_of_ones_own_are_checked() {
    let wrong = [
        ("", "needs [[processors.anomaly.signals]]"),
        ("[[signals]]\nname = \"x\"", "needs a name and a metric"),
        ("[[signals]]\nname = \"x\"\nmetric = \"a[\"", "signals.metric"),
        ("[[signals]]\nname = \"x\"\nmetric = \"a\"\ntreatment = \"rate\"", "signals.volume"),
        ("[[signals]]\nname = \"x\"\nmetric = \"a\"\nvolume = \"y\"", "no signal \"y\" above it"),
        ("[[signals]]\nname = \"x\"\nmetric = \"a\"\nmin_change = nan", "not negative"),
        (
            "[[signals]]\nname = \"x\"\nmetric = \"a\"\n[[signals]]\nname = \"x\"\nmetric = \"b\"",
            "different names",
        ),
    ];
    for (signals, words) in wrong {
        let errors = refused(&format!("preset = \"none\"\n{signals}"));
        assert!(errors.iter().any(|error| error.contains(words)), "{signals}: {errors:?}");
    }
    assert_eq!(refused("preset = \"none\"\n[[signals]]\nname = \"x\"\nmetric = \"a\""), [""; 0]);
}

#[test]
fn presets_name_their_signals_once_and_resolve_all_of_them() {
    for (preset, signals, limits) in [(Preset::Web, 9, 1), (Preset::Host, 26, 2)] {
        let resolved = preset.signals();
        let names: std::collections::BTreeSet<_> = resolved.names().into_iter().collect();
        assert_eq!(names.len(), signals, "{preset:?}");
        let limited = resolved.signals.iter().filter(|signal| signal.limit.is_some());
        assert_eq!(limited.count(), limits, "{preset:?}");
    }
}

#[test]
fn people_read_numbers_in_their_units() {
    use Preset::{Host, Web};
    let shown = |preset: Preset, name: &str, value: f64| {
        let signals = preset.signals();
        signals.signals[signals.index_of(name).unwrap()].unit.shown(value)
    };
    assert_eq!(shown(Host, "mem_used", 97.25), "97.2 %");
    assert_eq!(shown(Host, "io_pressure", 3.0), "3 %");
    assert_eq!(shown(Host, "cpu_busy", 0.0), "0 %");
    assert_eq!(shown(Host, "load_per_cpu", 2.5), "2.5");
    assert_eq!(shown(Host, "net_in_bytes", 1_500_000.0), "1.5 MB");
    assert_eq!(shown(Web, "error_rate", 0.125), "12.5 %");
    assert_eq!(shown(Web, "latency_p95", 0.25), "0.25 s");
    assert_eq!(shown(Web, "bytes", 12.0), "12 B");
    assert_eq!(shown(Web, "requests", 842.0), "842");
}
