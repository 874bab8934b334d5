//! The command line as a person or a script meets it: exit codes, messages, what is printed.

use std::path::PathBuf;
use std::process::{Command, Output};

/// The binary under test.
pub(crate) fn binary() -> PathBuf {
    std::env::var_os("SENTINEL_BIN")
        .map_or_else(|| env!("CARGO_BIN_EXE_sentinelops").into(), PathBuf::from)
}

fn sentinelops(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).env_remove("MISSING").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn repository(file: &str) -> String {
    format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_shipped_configuration_is_good_and_checking_touches_nothing() {
    let state = tempfile::tempdir().unwrap();
    let untouched = state.path().join("never-made");
    let output = sentinelops(&[
        "check",
        "--config",
        &repository("agent.toml"),
        "--state-dir",
        untouched.to_str().unwrap(),
    ]);
    assert_eq!(
        text(&output.stdout),
        "the configuration is good: 3 inputs, 4 processors, 0 outputs\n",
        "{output:?}"
    );
    assert_eq!(output.status.code(), Some(0));
    assert!(!untouched.exists(), "building a plugin touches nothing");
}

#[test]
fn the_examples_of_packaging_are_good_with_nothing_in_the_environment() {
    for (name, parts) in [
        ("aggregator", "2 inputs, 4 processors, 2 outputs"),
        ("edge", "2 inputs, 0 processors, 2 outputs"),
    ] {
        let file = repository(&format!("packaging/examples/{name}.toml"));
        let output = sentinelops(&["check", "--config", &file]);
        let expected = format!("the configuration is good: {parts}\n");
        assert_eq!(text(&output.stdout), expected, "{output:?}");
    }
    let examples = std::fs::read_dir(repository("packaging/examples")).unwrap();
    assert_eq!(examples.count(), 2, "each is checked here");
}

#[test]
fn ten_mistakes_are_reported_in_one_pass_with_places_and_suggestions() {
    let config = repository("tests/it/ten_mistakes.toml");
    let output = sentinelops(&["check", "--config", &config]);
    let shown = text(&output.stdout).replace(&config, "ten_mistakes.toml");
    let golden = repository("tests/it/ten_mistakes.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&golden, &shown).unwrap();
    }
    assert_eq!(shown, std::fs::read_to_string(&golden).unwrap());
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_script_gets_the_same_list_as_json() {
    let output = sentinelops(&[
        "check",
        "--format",
        "json",
        "--config",
        &repository("tests/it/ten_mistakes.toml"),
    ]);
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(value["ok"], false);
    assert!(value["problems"].as_array().unwrap().len() >= 10, "{value}");
    assert!(value["problems"][0]["line"].is_u64() && value["problems"][0]["message"].is_string());
    assert_eq!(output.status.code(), Some(78));
}

#[test]
fn a_wrong_configuration_stops_run_with_78_and_every_mistake() {
    let output = sentinelops(&["run", "--config", &repository("tests/it/ten_mistakes.toml")]);
    assert_eq!(output.status.code(), Some(78));
    assert!(text(&output.stderr).contains("mistakes in the configuration"), "{output:?}");
}

#[test]
fn a_configuration_that_is_not_there_is_told_by_its_path() {
    let output = sentinelops(&["run", "--config", "/no/such/agent.toml"]);
    assert_eq!(output.status.code(), Some(78), "starting it again would not help");
    assert!(text(&output.stderr).contains("/no/such/agent.toml: cannot be read"), "{output:?}");
}

#[test]
fn plugins_can_be_listed_described_and_pasted() {
    let list = text(&sentinelops(&["plugins", "list"]).stdout);
    for name in ["inputs.system", "inputs.tail", "processors.anomaly", "outputs.loki"] {
        assert!(list.contains(name), "{list}");
    }
    let described = text(&sentinelops(&["plugins", "describe", "tail"]).stdout);
    assert!(
        described.contains("max_line_bytes") && described.contains("alias, interval"),
        "{described}"
    );
    let sample = text(&sentinelops(&["plugins", "sample", "outputs.loki"]).stdout);
    assert!(sample.starts_with("[[outputs.loki]]\n"), "{sample}");
    let unknown = sentinelops(&["plugins", "sample", "loky"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(text(&unknown.stderr).contains("loki"), "{unknown:?}");
}

#[test]
fn completions_are_made_for_a_shell() {
    assert!(text(&sentinelops(&["completions", "bash"]).stdout).contains("sentinelops"));
}

#[test]
fn once_prints_prometheus_text_or_json_of_this_host() {
    let prometheus = text(&sentinelops(&["once", "--config", &repository("agent.toml")]).stdout);
    for name in [
        "cpu_usage_idle{cpu=\"cpu-total\"",
        "mem_total{",
        "system_load1{",
        "# TYPE kernel_interrupts counter",
    ] {
        assert!(prometheus.contains(name), "{name} in\n{prometheus}");
    }
    let json = text(
        &sentinelops(&["once", "--format", "json", "--config", &repository("agent.toml")]).stdout,
    );
    let first: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    assert!(
        first["name"].is_string()
            && first["labels"]["host"].is_string()
            && first["value"].is_number()
    );
}

#[test]
fn status_without_an_agent_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    std::fs::write(&config, "[[inputs.system]]\n[web]\nlisten = \"127.0.0.1:1\"\n").unwrap();
    let output = sentinelops(&["status", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("does not answer on 127.0.0.1:1"), "{output:?}");
}

#[test]
fn patterns_may_ignore_case_in_the_binary_that_is_shipped() {
    // What tests depend on switches on more of `regex`: only the release build, which SENTINEL_BIN names, can lack it.
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("agent.toml");
    let table = |format, pattern| {
        format!(
            "[[processors.parse]]\nalias = \"{format}\"\nformat = \"{format}\"\npattern = '{pattern}'\n"
        )
    };
    let text =
        table("grok", "%{LOGLEVEL:level} %{GREEDYDATA:m}") + &table("regex", "(?i)(?<a>[a-z]+)");
    std::fs::write(&config, format!("[[inputs.tail]]\nfiles = [\"/x\"]\n{text}")).unwrap();
    let output = sentinelops(&["check", "--config", config.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
