//! The house rules as tests (src/README.md lists them): what must stay absent, and what every plugin must bring.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file below these folders with this ending.
fn files(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(ending) {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no {ending} below {folders:?}");
    found.sort();
    found
}

fn rust() -> Vec<PathBuf> {
    files(&["src", "plugins", "tests"], ".rs")
}

fn is_test(path: &Path) -> bool {
    let path = path.strip_prefix(root()).unwrap();
    path.iter().any(|part| {
        part == "tests" || part == "tests.rs" || part == "examples" || part == "fake.rs"
    })
}

/// The plugin folders, by kind.
fn plugins() -> BTreeMap<&'static str, Vec<String>> {
    let folders = |kind: &str| {
        let listing = fs::read_dir(root().join("plugins").join(kind)).unwrap().flatten();
        let folders = listing.filter(|entry| entry.path().join("mod.rs").exists());
        let mut names: Vec<String> =
            folders.map(|entry| entry.file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    ["inputs", "processors", "outputs"].into_iter().map(|kind| (kind, folders(kind))).collect()
}

/// What a package depends on, development aside.
fn dependencies(package: &str) -> Vec<String> {
    let manifest: toml::Table =
        toml::from_str(&read(&root().join(package).join("Cargo.toml"))).unwrap();
    manifest["dependencies"].as_table().unwrap().keys().cloned().collect()
}

fn none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

#[test]
fn the_contract_depends_on_no_package_of_ours() {
    let ours = dependencies("src/contract").into_iter().filter(|name| name.starts_with("sentinel"));
    none("the contract depends on", &ours.collect::<Vec<_>>());
}

#[test]
fn the_models_know_neither_tokio_nor_the_contract() {
    let foreign = dependencies("src/models");
    let foreign = foreign
        .into_iter()
        .filter(|name| name.starts_with("sentinel") || name.starts_with("tokio"));
    none("the models depend on", &foreign.collect::<Vec<_>>());
}

#[test]
fn only_the_binary_names_plugins() {
    let mut found = Vec::new();
    for package in ["src/contract", "src/engine", "src/models", "src/history", "src/web"] {
        let plugins =
            ["sentinel-inputs", "sentinel-processors", "sentinel-outputs", "sentinel-transport"];
        let names =
            dependencies(package).into_iter().filter(|name| plugins.contains(&name.as_str()));
        found.extend(names.map(|name| format!("{package} depends on {name}")));
    }
    let names: Vec<String> = plugins()
        .iter()
        .flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind}.{name}")))
        .collect();
    for path in rust().iter().filter(|path| path.starts_with(root().join("src")) && !is_test(path))
    {
        if path.starts_with(root().join("src/cli")) {
            continue;
        }
        let code: String =
            read(path).lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let named = names.iter().filter(|name| code.contains(&format!("{name}\"")));
        found.extend(named.map(|name| format!("{} names {name}", path.display())));
    }
    none("src/ names plugins", &found);
}

#[test]
fn no_plugin_reaches_a_sibling() {
    let mut found = Vec::new();
    for (kind, names) in plugins() {
        for name in &names {
            for path in files(&[&format!("plugins/{kind}/{name}")], ".rs") {
                let text = read(&path);
                let siblings = names.iter().filter(|other| *other != name);
                let reached = siblings.filter(|other| text.contains(&format!("crate::{other}::")));
                found.extend(reached.map(|other| format!("{} reaches {other}", path.display())));
            }
        }
    }
    none("plugins reach siblings", &found);
}

#[test]
fn plugins_never_retry() {
    let mut found = Vec::new();
    for path in files(&["plugins/outputs", "plugins/transport"], ".rs") {
        let text = read(&path);
        if !is_test(&path) && (text.contains("time::sleep") || text.contains("backoff")) {
            found.push(path.display().to_string());
        }
    }
    none("only the engine waits and tries again", &found);
}

#[test]
fn every_queue_has_a_limit() {
    let endless = ["unbounded_channel(", "mpsc::channel()", "channel::<()>()"];
    let mut found = Vec::new();
    for path in rust().iter().filter(|path| !is_test(path)) {
        let text = read(path);
        let used = endless.iter().filter(|word| text.contains(**word));
        found.extend(used.map(|word| format!("{}: {word}", path.display())));
    }
    none("queues without a limit", &found);
}

#[test]
fn a_plugin_is_a_folder_with_four_files_and_a_line_in_its_list() {
    let mut found = Vec::new();
    for (kind, names) in plugins() {
        let list = read(&root().join("plugins").join(kind).join("lib.rs"));
        let listed: Vec<&str> = list
            .split("Entry::of::<")
            .skip(1)
            .map(|rest| rest.split("::").next().unwrap_or_default())
            .collect();
        if listed != names {
            found
                .push(format!("plugins/{kind}/lib.rs lists {listed:?}, the folders are {names:?}"));
        }
        for name in &names {
            let folder = root().join("plugins").join(kind).join(name);
            for file in ["README.md", "sample.toml"] {
                if !folder.join(file).exists() {
                    found.push(format!("{kind}/{name} has no {file}"));
                }
            }
            if !folder.join("tests.rs").exists() && !folder.join("tests/mod.rs").exists() {
                found.push(format!("{kind}/{name} has no tests.rs"));
            }
            if !read(&folder.join("mod.rs"))
                .contains(&format!("const NAME: &'static str = \"{name}\""))
            {
                found.push(format!("{kind}/{name}: its NAME is not its folder's"));
            }
        }
    }
    none("plugins", &found);
}

#[test]
fn a_plugins_readme_holds_its_sample_and_the_headings() {
    let mut found = Vec::new();
    for (kind, names) in plugins() {
        for name in names {
            let folder = root().join("plugins").join(kind).join(&name);
            let (readme, sample) =
                (read(&folder.join("README.md")), read(&folder.join("sample.toml")));
            if !readme.contains(&format!("```toml\n{}\n```", sample.trim_end())) {
                found.push(format!("{kind}/{name}/README.md does not hold sample.toml as it is"));
            }
            for heading in ["# ", "## Configuration", "## Events", "## Limits"] {
                if !readme.lines().any(|line| line.starts_with(heading)) {
                    found.push(format!("{kind}/{name}/README.md has no `{heading}`"));
                }
            }
            if !sample.starts_with(&format!("[[{kind}.{name}]]\n## ")) {
                found.push(format!(
                    "{kind}/{name}/sample.toml does not open with its header and a sentence"
                ));
            }
        }
    }
    none("READMEs", &found);
}

#[test]
fn the_front_door_lists_every_plugin() {
    let readme = read(&root().join("README.md"));
    let all = plugins();
    let names =
        all.iter().flat_map(|(kind, names)| names.iter().map(move |name| format!("{kind}.{name}")));
    none(
        "README.md does not list",
        &names.filter(|name| !readme.contains(name)).collect::<Vec<_>>(),
    );
}

#[test]
fn a_file_has_one_subject_opens_with_it_and_is_not_long() {
    let mut found = Vec::new();
    for path in rust() {
        let text = read(&path);
        let lines = text.lines().count();
        if lines > 600 {
            found.push(format!("{}: {lines} lines", path.display()));
        }
        if !text.starts_with("//!") {
            found.push(format!("{} does not open with //!", path.display()));
        }
        if !text.is_ascii() {
            found.push(format!("{} is not ASCII", path.display()));
        }
    }
    none("files", &found);
}

#[test]
fn nothing_is_left_open_in_the_code() {
    let open = ["todo!(", "unimplemented!(", "#[ignore"];
    let mut found = Vec::new();
    for path in rust().iter().filter(|path| !path.ends_with("it/house.rs")) {
        let text = read(path);
        found.extend(
            open.iter()
                .filter(|word| text.contains(**word))
                .map(|word| format!("{}: {word}", path.display())),
        );
    }
    none("left open", &found);
}

#[test]
fn the_shipped_configuration_shows_every_option_of_the_agent_with_its_default() {
    let text = read(&root().join("agent.toml"));
    let table = |from: &str, to: &str| -> toml::Table {
        let section = text.split_once(from).unwrap().1.split_once(to).unwrap().0;
        let lines = section.lines().filter_map(|line| line.strip_prefix("# ")).collect::<Vec<_>>();
        toml::from_str(&lines.join("\n")).unwrap()
    };
    let agent = table("\n[agent]\n", "\n[web]\n");
    let web = table("\n[web]\n", "\n# ----");
    let mut options = sentinel_engine::config::AGENT_OPTIONS.to_vec();
    options.sort_unstable();
    assert_eq!(agent.keys().map(String::as_str).collect::<Vec<_>>(), options);
    let shown: sentinel_engine::config::Agent = agent.try_into().unwrap();
    assert_eq!(shown, sentinel_engine::config::Agent::default());
    let shown: sentinel_engine::config::Web = web.try_into().unwrap();
    assert_eq!(shown, sentinel_engine::config::Web::default());
}

#[test]
fn every_mutant_still_changes_the_code_that_is_there() {
    let patches = files(&["tests/faults/mutants"], "patch");
    let applies = |patch: &&PathBuf| {
        let mut git = std::process::Command::new("git");
        let checked = git.current_dir(root()).args(["apply", "--check"]).arg(patch).output();
        checked.unwrap().status.success()
    };
    let stale: Vec<String> = patches
        .iter()
        .filter(|patch| !applies(patch))
        .map(|patch| patch.display().to_string())
        .collect();
    none("mutants that do not apply", &stale);
}

#[test]
fn every_dependency_is_declared_once_and_says_what_it_is_for() {
    let mut found = Vec::new();
    let manifest = read(&root().join("Cargo.toml"));
    let listed = manifest.split_once("[workspace.dependencies]").unwrap().1;
    let listed = listed.split_once("\n[workspace.lints").unwrap().0;
    for line in listed.lines().filter(|line| line.contains('=') && !line.starts_with("sentinel")) {
        let obvious = [
            "serde",
            "serde_json",
            "thiserror",
            "async-trait",
            "proptest",
            "tempfile",
            "tracing",
            "tokio",
        ];
        let name = line.split('=').next().unwrap().trim();
        if !line.contains(" # ") && !obvious.iter().any(|known| name.starts_with(known)) {
            found.push(format!("Cargo.toml: {name} does not say what it is for"));
        }
    }
    for path in files(&["src", "plugins"], "Cargo.toml") {
        for line in read(&path)
            .lines()
            .filter(|line| line.contains("version = \"") && !line.starts_with("version"))
        {
            found.push(format!("{}: {line}", path.display()));
        }
    }
    none("dependencies", &found);
}
