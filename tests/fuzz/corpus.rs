//! Runs the committed corpus of a fuzz target as a plain test. Included by the tests of each package that has targets.
//! It finds no new inputs; `tests/fuzz/run` does.

use std::path::Path;

/// Every file of `tests/fuzz/corpus/TARGET` goes through `target`. A panic names its file.
pub(crate) fn run(name: &str, target: fn(&[u8])) {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let mut folders = above.map(|folder| folder.join("tests/fuzz/corpus").join(name));
    let folder = folders.find(|folder| folder.is_dir()).expect("the target has a corpus");
    let mut paths: Vec<_> = folder.read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{} is empty", folder.display());
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let outcome = std::panic::catch_unwind(|| target(&bytes));
        assert!(outcome.is_ok(), "{} is a finding", path.display());
    }
}
