//! Configuration: every mistake, its place, its advice.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sentinel_contract::units::{Period, Secret, Size};
use sentinel_contract::{
    ConfigError, Context, Entry, Events, Input, Kinds, Output, Piece, Plugin, Processor, Transform,
    WriteError, telemetry::Counters,
};
use serde::Deserialize;

use super::*;

struct Pump;
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PumpConfig {
    files: Vec<String>,
    start: Start,
    limit: Limit,
    labels: BTreeMap<String, String>,
    deep: Deep,
}
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Start {
    #[default]
    End,
    Beginning,
}
#[derive(Debug, Deserialize)]
#[serde(transparent)]
struct Limit(Size);
impl Default for Limit {
    fn default() -> Self {
        Limit(Size(1 << 20))
    }
}
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Deep {
    timeout: Option<Period>,
}
impl Plugin for Pump {
    type Kind = Input;
    type Config = PumpConfig;
    const NAME: &'static str = "pump";
    const SAMPLE: &'static str = "[[inputs.pump]]\n## Files.\nfiles = [\"/x\"]\n# start = \"end\"\n# limit = \"1MiB\"\n# labels = {}\n";
    fn build(config: PumpConfig, _: &Context) -> Result<Input, Vec<ConfigError>> {
        let mut errors = Vec::new();
        if config.files.is_empty() {
            errors.push(ConfigError::value("files", "must name at least one file"));
        }
        if config.limit.0.0 > 1 << 30 {
            errors.push(ConfigError::value("limit", "must be at most 1GiB"));
        }
        let _ = (config.start, config.labels, config.deep.timeout);
        if errors.is_empty() { Ok(Input::Gather(Vec::new())) } else { Err(errors) }
    }
}

struct Cut;
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CutConfig {
    width: u32,
}
struct DoCut;
impl Transform for DoCut {
    fn apply(&mut self, _: &mut Events, _: &Counters) {}
}
impl Plugin for Cut {
    type Kind = Processor;
    type Config = CutConfig;
    const NAME: &'static str = "cut";
    const SAMPLE: &'static str = "[[processors.cut]]\nwidth = 3\n";
    fn build(config: CutConfig, _: &Context) -> Result<Processor, Vec<ConfigError>> {
        let _ = config.width;
        Ok(Processor::Transform(Box::new(DoCut)))
    }
}

struct Sink;
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SinkConfig {
    url: String,
    token: Option<Secret>,
}
struct DoSink;
#[async_trait::async_trait]
impl Output for DoSink {
    fn accepts(&self) -> Kinds {
        Kinds::METRICS
    }
    async fn write(&mut self, _: &[Piece]) -> Result<(), WriteError> {
        Ok(())
    }
    async fn probe(&mut self) -> Result<String, sentinel_contract::Cause> {
        Ok(String::new())
    }
}
impl Plugin for Sink {
    type Kind = Box<dyn Output>;
    type Config = SinkConfig;
    const NAME: &'static str = "sink";
    const SAMPLE: &'static str = "[[outputs.sink]]\nurl = \"http://x\"\n# token = \"\"\n";
    fn build(config: SinkConfig, _: &Context) -> Result<Box<dyn Output>, Vec<ConfigError>> {
        let _ = config.token.map(|token| token.reveal().len());
        if !config.url.starts_with("http") {
            return Err(vec![ConfigError::value("url", "must begin with http:// or https://")]);
        }
        Ok(Box::new(DoSink))
    }
}

const REGISTRY: Registry = Registry {
    inputs: &[Entry::of::<Pump>()],
    processors: &[Entry::of::<Cut>()],
    outputs: &[Entry::of::<Sink>()],
};

fn check(text: &str) -> Result<Plan, Problems> {
    let sources = [Source { path: PathBuf::from("agent.toml"), text: text.to_owned() }];
    let environment = Environment {
        variable: |name| (name == "GOOD").then(|| "http://good\"\n[agent]".to_owned()),
        credentials: None,
    };
    plan(&sources, &REGISTRY, &environment, &Shared::inert(PathBuf::new()))
}

fn complaints(text: &str) -> Vec<String> {
    let problems = check(text).err().expect("a mistake");
    let line = |p: Problem| {
        format!("{}:{} {} | {}", p.line, p.column, p.message, p.help.unwrap_or_default())
    };
    problems.0.into_iter().map(line).collect()
}

const GOOD: &str = "[[inputs.pump]]\nfiles = [\"/a\"]\n";

#[test]
fn ten_mistakes_are_ten_messages_with_their_places() {
    let text = r#"intervall = "10s"
[agent]
interval = "10 parsecs"
colour = 3

[[inputs.pump]]
alias = "web"
filez = ["/a"]
limit = "2GiB"
start = "middle"

[[inputs.pump]]
alias = "web"
files = ["/b"]
[inputs.pump.labels]
job = "nginx"
start = "end"

[[inputs.pmup]]

[[processors.cut]]
width = -3
from = ["wbe"]

[[outputs.sink]]
url = "${MISSING}"
"#;
    let found = complaints(text);
    let expected = [
        "1:1 unknown table or option `intervall` | known here: agent, inputs, outputs, processors, web",
        "3:12 interval: \"10 parsecs\" is not a duration such as \"10s\", \"500ms\" or \"1h30m\" | ",
        "4:1 unknown option `colour` | known here: backfill, backfill_url, collection_jitter, flush_interval, history_retention, host, interval, memory, notifications_per_day, notifications_per_hour, round_interval, shutdown_timeout, tags",
        "6:1 files: must name at least one file | ",
        "8:1 unknown option `filez` | did you mean `files`?",
        "9:9 limit: must be at most 1GiB | ",
        "10:9 start: unknown variant `middle`, expected `end` or `beginning` | ",
        "13:9 alias `web` is taken by the plugin of line 6 | ",
        "17:1 `start` stands below the header of `labels` | `start` is an option of the plugin itself, but the sub-table's header above has swallowed it: move it above that header",
        "19:10 unknown input `pmup` | did you mean `pump`?",
        "22:9 width: invalid value: integer `-3`, expected u32 | ",
        "23:9 from: no input or observer above is called `wbe` | did you mean `web`?",
        "26:7 environment variable `MISSING` is not set; set it, or give a default: ${MISSING:-default} | ",
    ];
    assert_eq!(found, expected, "{found:#?}");
}

#[test]
fn a_mistake_shows_its_line_with_a_caret() {
    let text = "[[inputs.pump]]\nfiles = [\"/a\"]\nlimit = true\n";
    let rendered = check(text).err().expect("a mistake").render();
    assert!(rendered.contains("agent.toml:3:9: limit:"), "{rendered}");
    assert!(rendered.contains("3 | limit = true\n  |         ^^^^\n"), "{rendered}");
}

#[test]
fn syntax_errors_are_all_told_and_do_not_hide_the_others() {
    let text = "[[inputs.pump]]\nfiles = [\"/a\"\nlimit = 3\n[[outputs.sink]]\nurl = \"x\"\n[agent]\nhost = \n";
    let found = complaints(text);
    let places: Vec<&str> = found.iter().map(|line| line.split(' ').next().unwrap()).collect();
    assert_eq!(places, ["3:1", "5:7", "7:8"], "{found:#?}");
}

#[test]
fn a_value_cannot_inject_configuration() {
    let plan = check(&format!("{GOOD}[[outputs.sink]]\nurl = \"${{GOOD}}\"\n"));
    assert!(plan.is_ok(), "the quote and the header in the value stay in the value");
}

#[test]
fn variables_have_defaults_and_dollars_can_be_written() {
    let text = format!("{GOOD}labels = {{ a = \"${{NONE:-x}}\", b = \"$$5\", c = \"^a$\" }}\n");
    let plan = check(&text).map_err(|p| p.render()).expect("a plan");
    let table = &plan.inputs[0].table;
    for part in [r#"a = "x""#, r#"b = "$5""#, r#"c = "^a$""#] {
        assert!(table.contains(part), "{part} in {table}");
    }
}

#[test]
fn a_plugin_can_be_built_again_from_its_plan() {
    let shared = Shared::inert(PathBuf::new());
    let plan = check(
        "[[inputs.pump]]\nfiles = [\"/a\"]\nalias = \"x\"\n[inputs.pump.deep]\ntimeout = \"1s\"\n",
    )
    .map_err(|p| p.render())
    .expect("a plan");
    let context = plan.context(Role::Input, &plan.inputs[0], &shared);
    assert!(plan.inputs[0].build(&context).is_ok());
    assert_eq!(&*context.alias, "x");
}

#[test]
fn an_option_of_the_plugin_below_a_sub_table_is_pointed_back() {
    let found =
        complaints("[[inputs.pump]]\nfiles = [\"/a\"]\n[inputs.pump.deep]\nlimit = \"1MiB\"\n");
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("swallowed"), "{found:?}");
}

#[test]
fn one_bracket_too_few_is_told() {
    let found = complaints("[inputs.pump]\nfiles = [\"/a\"]\n");
    assert!(
        found[0].starts_with("1:9 [inputs.pump] must be written with two brackets"),
        "{found:?}"
    );
}

#[test]
fn an_option_without_meaning_for_its_kind_is_unknown() {
    let found = complaints("[[inputs.pump]]\nfiles = [\"/a\"]\nbatch_events = 3\n");
    assert!(found[0].starts_with("3:1 unknown option `batch_events`"), "{found:?}");
}

#[test]
fn an_empty_configuration_says_what_is_missing() {
    assert!(complaints("")[0].contains("no inputs"));
}

#[test]
fn unnamed_plugins_of_one_kind_get_numbers() {
    let plan = check(&format!("{GOOD}{GOOD}")).map_err(|p| p.render()).expect("a plan");
    let aliases: Vec<_> = plan.inputs.iter().map(|spec| spec.alias.to_string()).collect();
    assert_eq!(aliases, ["pump", "pump-2"]);
}

#[test]
fn near_words_are_suggested_and_far_ones_are_not() {
    assert_eq!(suggest::nearest("ulr", ["url", "tenant"]), Some("url"));
    assert_eq!(suggest::nearest("zebra", ["url", "tenant"]), None);
}

#[test]
fn the_options_of_a_sample_end_at_its_first_sub_table() {
    let sample = "[[inputs.x]]\n## Prose = not.\na = 1\n# b = 2\n[inputs.x.c]\n# d = 3\n";
    assert_eq!(option_names(sample), ["a", "b"]);
}

#[test]
fn a_complaint_shows_its_line_without_secrets_and_its_caret_in_place() {
    let shown = |line: &str| mask::mask(line);
    for (line, expected) in [
        (r#"passwrod = "hunter2""#, r#"passwrod = "*******""#),
        (
            r#"auth = { username = "a", password = ["x\"y"], n = "b" }"#,
            r#"auth = { username = "a", password = ["****"], n = "b" }"#,
        ),
        ("token = hunter2#c", "token = *********"),
        (r#"a.password = "unclosed"#, r#"a.password = "********"#),
        (
            r#"headers = { "X-Api-Key" = "k", Accept = "b" }"#,
            r#"headers = { "X-Api-Key" = "*", Accept = "b" }"#,
        ),
        (r#"url = "htp://joe:p@ss@host:1/x?a@b""#, r#"url = "htp://joe:****@host:1/x?a@b""#),
        (r#"password = "${MISSING}""#, r#"password = "${MISSING}""#),
        (r#"namepass = ["cpu_*"]"#, r#"namepass = ["cpu_*"]"#),
        (r#"auth = "joe:hunter2""#, r#"auth = "***********""#),
        ("password", "password"),
        ("", ""),
    ] {
        assert_eq!(shown(line), expected);
    }
    let found = check("[[inputs.pump]]\nfiles = [\"/a\"]\ndeep = \"joe:hunter2\"\n");
    let found = found.err().expect("a mistake").render();
    assert!(found.contains("deep: invalid type: a string, expected a table"), "{found}");
}

#[test]
fn files_that_cannot_be_read_are_all_told_and_hidden_ones_are_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.toml"), b"\xff").unwrap();
    std::fs::create_dir(folder.path().join("b.toml")).unwrap();
    std::os::unix::fs::symlink("/nowhere", folder.path().join(".#c.toml")).unwrap();
    let missing = folder.path().join("agent.toml");
    let problems = read(&missing, Some(folder.path())).expect_err("mistakes");
    let files: Vec<_> = problems.0.iter().map(|p| p.file.rsplit('/').next().unwrap()).collect();
    assert_eq!(files, ["agent.toml", "a.toml", "b.toml"]);
    assert!(problems.render().contains("agent.toml: cannot be read: No such file"));
    assert!(problems.render().contains("help: save it as UTF-8"));
}

#[test]
fn an_alias_taken_in_another_file_is_told_with_that_file() {
    let source =
        |name: &str| Source { path: PathBuf::from(name), text: format!("{GOOD}alias = \"x\"\n") };
    let environment = Environment { variable: |_| None, credentials: None };
    let shared = Shared::inert(PathBuf::new());
    let problems = plan(&[source("a.toml"), source("b.toml")], &REGISTRY, &environment, &shared);
    let problems = problems.err().expect("a mistake").render();
    assert!(
        problems.contains("b.toml:3:9: alias `x` is taken by the plugin of line 1 of a.toml"),
        "{problems}"
    );
}

#[test]
fn a_number_that_would_overflow_a_clock_is_refused() {
    let found = complaints(&format!("[agent]\nshutdown_timeout = 9223372036854775807\n{GOOD}"));
    assert_eq!(found, ["2:20 shutdown_timeout: is too large | "]);
}

#[test]
fn a_source_has_at_least_one_series_and_one_stream() {
    let found = complaints(&format!("{GOOD}max_series = 0\nmax_streams = 0\n"));
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].contains("max_series: must be at least 1"), "{found:?}");
    assert!(check(&format!("{GOOD}max_series = 5\nmax_streams = 7\n")).is_ok());
}
