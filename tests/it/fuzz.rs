//! The committed corpus of the fuzz targets that need nothing private. It proves that what was found once stays mended;
//! it finds nothing new (`tests/fuzz/run` does).

#[path = "../fuzz/corpus.rs"]
mod corpus;
#[allow(unreachable_pub, reason = "the fuzz package offers them to its targets")]
#[path = "../fuzz/lib.rs"]
mod targets;

use targets::{lines, saved, text};

#[test]
fn the_corpus_of_lines_finds_nothing() {
    corpus::run("tail_lines", lines::tail_lines);
    corpus::run("parse", lines::parse);
    corpus::run("parse_options", lines::parse_options);
    corpus::run("drain", lines::drain);
    corpus::run("count_requests", lines::count_requests);
}

#[test]
fn the_corpus_of_saved_state_finds_nothing() {
    corpus::run("patterns_state", saved::patterns_state);
    corpus::run("features_state", saved::features_state);
    corpus::run("anomaly_state", saved::anomaly_state);
}

#[test]
fn the_corpus_of_texts_finds_nothing() {
    corpus::run("config", text::config);
    corpus::run("units", text::units);
    corpus::run("retry_after", text::retry_after_header);
    corpus::run("control", text::control);
}

/// A target that is not run here, in its package or by `tests/fuzz/run` would be forgotten.
#[test]
fn every_target_has_a_corpus_a_line_in_the_table_and_a_test() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let manifest: toml::Table = toml::from_str(&read("tests/fuzz/Cargo.toml")).unwrap();
    let readme = read("tests/fuzz/README.md");
    let tests = [
        "tests/it/fuzz.rs",
        "src/cli/replay/tests.rs",
        "src/engine/fuzz/mod.rs",
        "plugins/inputs/changes/fuzz.rs",
        "plugins/inputs/system/fuzz.rs",
        "plugins/inputs/tail/fuzz.rs",
        "plugins/outputs/loki/fuzz.rs",
        "plugins/transport/formats/fuzz.rs",
        "plugins/transport/fuzz.rs",
    ]
    .map(read)
    .concat();
    for target in manifest["bin"].as_array().unwrap() {
        let name = target["name"].as_str().unwrap();
        assert!(readme.contains(&format!("| `{name}` |")), "tests/fuzz/README.md lacks {name}");
        assert!(tests.contains(&format!("corpus::run(\"{name}\"")), "no test runs {name}'s corpus");
    }
}
