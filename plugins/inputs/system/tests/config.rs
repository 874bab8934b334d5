//! Options: the sample is true, and what cannot be used is refused.

use sentinel_contract::{ConfigError, Plugin as _};
use serde::Deserialize;

use super::super::{Config, Name, System};
use super::context;

#[derive(Deserialize)]
struct File {
    inputs: Inputs,
}

#[derive(Deserialize)]
struct Inputs {
    system: Vec<Config>,
}

fn parse(text: &str) -> Config {
    toml::from_str::<File>(text).unwrap().inputs.system.remove(0)
}

fn uncommented() -> String {
    let line = |line: &'static str| line.strip_prefix("# ").unwrap_or(line);
    System::SAMPLE.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_sample_as_it_is_gives_the_defaults() {
    assert_eq!(parse(System::SAMPLE), Config::default());
}

#[test]
fn the_sample_uncommented_gives_the_defaults() {
    assert_eq!(parse(&uncommented()), Config::default());
}

#[test]
fn every_option_is_in_the_sample() {
    let table: toml::Table = uncommented().parse().unwrap();
    let system = table["inputs"]["system"][0].as_table().unwrap();
    let mut found = 0;
    for (section, options) in system {
        found += options.as_table().map_or(1, |options| {
            assert!(!options.is_empty(), "{section} has no option");
            options.len()
        });
    }
    // Counted from the types by their Debug form, which names every field.
    let written = format!("{:?}", Config::default());
    let fields = written.matches(": ").count();
    let sections = system.values().filter(|value| value.is_table()).count();
    assert_eq!(found, fields - sections);
}

fn reasons(config: Config) -> Vec<String> {
    match System::build(config, &context()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ConfigError::to_string).collect(),
    }
}

#[test]
fn all_values_that_cannot_be_used_are_named_in_one_pass() {
    let config = parse(
        "[[inputs.system]]
        collectors = [\"cpu\", \"cpu\"]
        cpu = { percpu = false, totalcpu = false }
        diskio = { devices = [\"sd[\"] }
        net = { interfaces = [\"eth[\"], ignore = [\"{\"] }
        procstat = { top = 0, by = [] }",
    );
    let reasons = reasons(config);
    let options: Vec<&str> =
        reasons.iter().map(|reason| reason.split(':').next().unwrap()).collect();
    let expected = [
        "collectors",
        "cpu.totalcpu",
        "procstat.top",
        "procstat.by",
        "diskio.devices",
        "net.interfaces",
        "net.ignore",
    ];
    assert_eq!(options, expected, "{reasons:?}");
}

#[test]
fn no_collectors_and_no_devices_are_refused() {
    let mut config = Config { collectors: Vec::new(), ..Config::default() };
    config.diskio.devices.clear();
    assert_eq!(reasons(config).len(), 2);
}

#[test]
fn an_unknown_collector_is_refused() {
    let error = toml::from_str::<File>("[[inputs.system]]\ncollectors = [\"cpus\"]").err().unwrap();
    assert!(error.message().contains("cpus"), "{error}");
}

#[test]
fn the_readme_holds_the_sample() {
    assert!(include_str!("../README.md").contains(System::SAMPLE));
}

#[test]
fn building_with_every_collector_reads_nothing() {
    let host = super::Host::empty(); // nothing to read
    let all = [Name::Nstat, Name::Procstat, Name::Temp];
    let collectors = Config::default().collectors.into_iter().chain(all).collect();
    assert_eq!(host.build(Config { collectors, ..Config::default() }).len(), 14);
}
