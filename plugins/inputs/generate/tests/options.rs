//! Options: the sample is true, and what cannot be used is refused with a reason.

use sentinel_contract::Plugin as _;

use super::harness::config;
use crate::generate::{Config, Data, Generate, Profile, check, word};

fn refused(options: &str) -> String {
    let errors = check(&config(options)).unwrap_err();
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn the_sample_is_the_configuration() {
    let uncomment = |line: &str| line.strip_prefix("# ").unwrap_or(line).to_owned() + "\n";
    let read = |text: String| -> Config {
        let document: toml::Table = text.parse().unwrap();
        document["inputs"]["generate"][0].clone().try_into().unwrap()
    };
    assert_eq!(read(Generate::SAMPLE.to_owned()), Config::default());
    assert_eq!(read(Generate::SAMPLE.lines().map(uncomment).collect()), Config::default());
    let error = toml::from_str::<Config>("no_such = 1").unwrap_err().to_string();
    for option in error.split('`').skip(3).step_by(2) {
        assert!(Generate::SAMPLE.contains(&format!("# {option} = ")), "{option}");
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_a_reason() {
    assert!(check(&Config::default()).is_ok());
    for (options, reason) in [
        ("kinds = []", "kinds: must name at least one of \"web\", \"app\", \"host\""),
        ("kinds = [\"web\", \"web\"]", "kinds: names one twice"),
        ("rate = 10000001", "rate: must be at most 10000000"),
        ("hosts = 0", "hosts: must be 1 to 100000"),
        ("kinds = [\"host\"]\nlines = 5", "lines: counts lines of logs, and `kinds` has none"),
        ("anomaly_every = \"10s\"", "anomaly_every: must be 0s, or 1m to 365d"),
        (
            "anomalies = [\"error_burst\"]",
            "anomalies: \"error_burst\" is not KIND@AT+DURATION or KIND@AT+DURATION*SIZE, such as \"error_burst@10m+2m\"",
        ),
        (
            "anomalies = [\"latency@x+2m\"]",
            "anomalies: \"x\" is not a duration such as \"10s\", \"500ms\" or \"1h30m\"",
        ),
        ("anomalies = [\"latency@1m+0s\"]", "anomalies: \"latency@1m+0s\" has no duration"),
        (
            "anomalies = [\"latency@1m+1m*0\"]",
            "anomalies: the size of \"latency@1m+1m*0\" must be 0.01 to 100",
        ),
        (
            "anomalies = [\"disk_fill@1m+1m\"]",
            "anomalies: disk_fill is an anomaly of \"host\", which is not among `kinds`",
        ),
        (
            "rate = 0\nanomalies = [\"traffic_drop@1m+1m\"]",
            "anomalies: traffic_drop changes the rate, and with `rate` 0 there is none",
        ),
        (
            "anomalies = [\"latency@600000d+1m\"]",
            "anomalies: \"600000d\" is not a duration such as \"10s\", \"500ms\" or \"1h30m\"",
        ),
        (
            "anomalies = [\"latency@1m+4000d\"]",
            "anomalies: \"latency@1m+4000d\" is more than ten years away, or as long",
        ),
    ] {
        assert_eq!(refused(options), reason);
    }
    let unknown = refused("anomalies = [\"latenz@1m+1m\"]");
    assert!(
        unknown.starts_with("anomalies: no anomaly is called \"latenz\"; there are: error_burst, ")
    );
    assert_eq!(refused("hosts = 0\nkinds = []").matches("; ").count(), 1, "all in one pass");
}

#[test]
fn words_of_the_command_line_are_those_of_the_configuration() {
    assert_eq!(word::<Data>("app"), Ok(Data::App));
    assert_eq!(word::<Profile>("day"), Ok(Profile::Day));
    let error = word::<Data>("webb").unwrap_err();
    assert_eq!(error, "unknown variant `webb`, expected one of `web`, `app`, `host`");
}
