//! Options: the sample, the defaults, and what is refused.

use std::collections::BTreeSet;
use std::path::Path;

use sentinel_contract::Plugin as _;

use super::harness::{context, quick};
use crate::tail::access::mend;
use crate::tail::{Config, Mode, Settings, Tail};

fn sample(uncommented: bool) -> toml::Table {
    let line = |line: &str| match line.strip_prefix("# ") {
        Some(option) if uncommented => format!("{option}\n"),
        _ => format!("{line}\n"),
    };
    let text: String = Tail::SAMPLE.lines().map(line).collect();
    let mut table: toml::Table = text.parse().unwrap();
    let inputs = table.remove("inputs").unwrap();
    inputs["tail"].as_array().unwrap()[0].as_table().unwrap().clone()
}

fn config(table: toml::Table) -> Config {
    table.try_into().unwrap()
}

#[test]
fn the_sample_parses_and_its_commented_values_are_the_defaults() {
    let plain = config(sample(false));
    assert_eq!(plain, config(sample(true)));
    assert_eq!(plain, Config { files: plain.files.clone(), ..Config::default() });
}

#[test]
fn every_option_is_in_the_sample() {
    let full = sample(true);
    let mut names: BTreeSet<String> = full.keys().cloned().collect();
    names
        .extend(full["multiline"].as_table().unwrap().keys().map(|key| format!("multiline.{key}")));
    // Debug prints every field of the structure: what it prints and the sample does not have is missing.
    for (prefix, shown) in [
        ("", format!("{:#?}", Config::default())),
        ("multiline.", format!("{:#?}", Config::default().multiline)),
    ] {
        for line in
            shown.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "))
        {
            if let Some((field, _)) = line.trim().split_once(": ") {
                assert!(names.contains(&format!("{prefix}{field}")), "{prefix}{field}");
            }
        }
    }
}

#[test]
fn the_readme_shows_the_sample_as_it_is() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(&format!("```toml\n{}```", Tail::SAMPLE)));
}

fn refusals(text: &str) -> Vec<String> {
    let config: Config = toml::from_str(text).unwrap();
    let errors = Settings::new(config, &context(Path::new("/nowhere")), quick()).unwrap_err();
    errors.iter().map(ToString::to_string).collect()
}

#[test]
fn all_bad_values_are_refused_in_one_pass_with_what_to_write_instead() {
    let found = refusals(
        "files = []\nmax_line_bytes = \"1B\"\nmax_open_files = 0\nexclude = [\"[\"]\nmultiline.mode = \"start\"",
    );
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(found[0].starts_with("files: name at least one file"), "{found:?}");
    let relative = refusals("files = [\"access.log\"]");
    assert!(relative[0].contains("must be an absolute path"), "{relative:?}");
    let unused = refusals("files = [\"/x\"]\nmultiline.start = \"^a\"");
    assert!(unused[0].contains("mode = \"start\""), "{unused:?}");
    let pattern = refusals("files = [\"/x\"]\nmultiline = { mode = \"start\", start = \"(\" }");
    assert!(pattern[0].starts_with("multiline.start: regex parse error"), "{pattern:?}");
}

#[test]
fn an_option_that_does_not_exist_is_refused() {
    assert!(toml::from_str::<Config>("file = []").is_err());
    assert_eq!(toml::from_str::<Config>("").unwrap().multiline.mode, Mode::Off);
}

#[test]
fn a_missing_permission_comes_with_the_command_that_mends_it() {
    let path = Path::new("/var/log/nginx/access.log");
    assert_eq!(
        mend(path, true, "sentinelops", Some("adm")),
        "usermod -aG adm sentinelops, then restart the agent"
    );
    assert_eq!(
        mend(path, true, "sentinelops", None),
        "setfacl -m u:sentinelops:r '/var/log/nginx/access.log'"
    );
    assert_eq!(
        mend(Path::new("/var/log/nginx"), false, "sentinelops", None),
        "setfacl -m u:sentinelops:rx '/var/log/nginx'"
    );
}
