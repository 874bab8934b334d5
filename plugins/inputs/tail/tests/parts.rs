//! The positions log, the globs and the inotify moves by themselves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use crate::tail::discover::{Globs, may_be_copy};
use crate::tail::identity::{Digest, Inode, Mark, last_line_start};
use crate::tail::positions::{Positions, unix_seconds};
use crate::tail::record::Record;
use crate::tail::watch::{Watch, What};

pub(super) fn record(ino: u64, offset: u64, path: &str) -> Record {
    Record {
        inode: Inode { dev: 1, ino },
        mark: Mark { offset, tail: Digest::of(b"tail") },
        prefix: Digest::of(b"prefix"),
        seconds: unix_seconds(),
        path: PathBuf::from(path),
    }
}

fn reread(path: &Path) -> (Vec<Record>, usize) {
    let (positions, found, started) = Positions::open(path.to_owned());
    started.unwrap();
    let mut records: Vec<Record> = positions.records().cloned().collect();
    records.sort_by_key(|record| record.inode.ino);
    (records, found.damaged)
}

#[test]
fn positions_come_back_as_they_were_written_whatever_the_path() {
    use std::os::unix::ffi::OsStrExt as _;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("p/x.log");
    let (mut positions, found, _) = Positions::open(path.clone());
    assert!(!found.existed);
    let odd = PathBuf::from(std::ffi::OsStr::from_bytes(b"/a b%20\n\xff/c"));
    let records = vec![record(1, 10, "/x"), Record { path: odd, ..record(2, u64::MAX, "") }];
    positions.put(record(1, 5, "/x"));
    positions.put(record(3, 1, "/gone"));
    for record in &records {
        positions.put(record.clone());
    }
    positions.forget(Inode { dev: 1, ino: 3 });
    positions.write().unwrap();
    drop(positions); // killed: never synced, never compacted
    assert_eq!(reread(&path), (records, 0));
}

#[test]
fn the_log_is_rewritten_when_most_of_it_is_old() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x.log");
    let (mut positions, _, _) = Positions::open(path.clone());
    for offset in 0..20_000 {
        positions.put(record(1, offset, "/var/log/nginx/access.log"));
    }
    positions.write().unwrap();
    assert!(fs::metadata(&path).unwrap().len() > 1 << 20);
    positions.put(record(1, 20_000, "/var/log/nginx/access.log"));
    positions.sync().unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1000);
    assert_eq!(reread(&path).0[0].mark.offset, 20_000);
}

proptest! {
    #[test]
    fn no_damage_makes_more_of_the_log_unreadable_than_it_touches(
        at in 0_usize..2000, bytes in proptest::collection::vec(any::<u8>(), 1..40), cut in any::<bool>(),
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("x.log");
        let (mut positions, _, _) = Positions::open(path.clone());
        let records: Vec<Record> = (1..=12).map(|ino| record(ino, ino * 7, "/some/file")).collect();
        for record in &records {
            positions.put(record.clone());
        }
        positions.write().unwrap();
        drop(positions);
        let mut text = fs::read(&path).unwrap();
        let at = at % text.len();
        let touched = |text: &[u8], end: usize| {
            let first = memchr::memchr_iter(b'\n', &text[..at]).count();
            let last = memchr::memchr_iter(b'\n', &text[..end]).count();
            first..=last // lines; the header is line 0
        };
        let lines = if cut {
            let lines = touched(&text, text.len());
            text.truncate(at);
            lines
        } else {
            let end = (at + bytes.len()).min(text.len());
            let lines = touched(&text, end);
            text.splice(at..end, bytes);
            lines
        };
        fs::write(&path, &text).unwrap();
        let (found, _) = reread(&path);
        for record in records {
            let line = record.inode.ino as usize;
            prop_assert!(found.contains(&record) || lines.contains(&line), "line {}", line);
        }
    }
}

fn walk(folder: &Path, pattern: &str) -> Vec<String> {
    let globs =
        Globs::new(&[format!("{}/{pattern}", folder.display())], &["*.gz".to_owned()]).unwrap();
    let paths: BTreeSet<PathBuf> = globs.walk().paths;
    assert!(paths.iter().all(|path| globs.matches(path)), "{paths:?}");
    paths.iter().map(|path| path.strip_prefix(folder).unwrap().display().to_string()).collect()
}

#[test]
fn globs_find_what_the_pattern_says_and_nothing_deeper() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().canonicalize().unwrap();
    for name in ["a.log", "b.log.gz", "x/a.log", "x/y/a.log", "z/b.log", "z/[odd].log"] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }
    std::os::unix::fs::symlink(&root, root.join("x/loop")).unwrap();
    assert_eq!(walk(&root, "a.log"), ["a.log"]);
    assert_eq!(walk(&root, "*.log*"), ["a.log"]);
    assert_eq!(walk(&root, "*/a.log"), ["x/a.log"]);
    assert_eq!(walk(&root, "{x,z}/?.log"), ["x/a.log", "z/b.log"]);
    assert_eq!(walk(&root, "{x/y,z}/*.log"), ["x/y/a.log", "z/[odd].log", "z/b.log"]);
    assert_eq!(walk(&root, "**/a.log"), ["a.log", "x/a.log", "x/y/a.log"], "a loop of links ends");
    assert_eq!(walk(&root, "z/[[]odd].log"), ["z/[odd].log"]);
    assert_eq!(walk(&root, "none/*.log"), [""; 0]);
}

#[test]
fn a_copy_lies_beside_its_original_and_begins_with_its_name() {
    let original = Path::new("/v/app.log");
    for copy in ["/v/app.log.1", "/v/app.log-20260101", "/v/app-1.log"] {
        assert!(may_be_copy(Path::new(copy), original), "{copy}");
    }
    for other in ["/v/app.log", "/w/app.log.1", "/v/other.log"] {
        assert!(!may_be_copy(Path::new(other), original), "{other}");
    }
}

#[test]
fn the_end_of_a_file_is_after_its_last_whole_line() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("x");
    for (text, reach, start) in
        [("", 9, 0), ("a\n", 9, 2), ("a\nbc", 9, 2), ("abc", 9, 0), ("a\nbcdefgh", 3, 9)]
    {
        fs::write(&path, text).unwrap();
        let file = fs::File::open(&path).unwrap();
        assert_eq!(last_line_start(&file, text.len() as u64, reach).unwrap(), start, "{text:?}");
    }
}

#[tokio::test]
async fn a_file_moved_twice_is_where_it_was_moved_to_last() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("a"), "").unwrap();
    let (mut watch, started) = Watch::new();
    started.unwrap();
    assert!(watch.add(folder.path(), What::Files).unwrap());
    assert!(!watch.add(folder.path(), What::Names).unwrap());
    fs::rename(path("a"), path("b")).unwrap();
    fs::rename(path("b"), path("c")).unwrap();
    fs::write(path("a"), "x").unwrap();
    watch.changed().await;
    let mut modified = Vec::new();
    let changes = watch.drain(|path| modified.push(path.to_owned()));
    assert_eq!(changes.renamed, [(path("a"), path("c"))]);
    assert_eq!(modified, [path("a")]);
    assert!(changes.touched.contains(&path("a")) && !changes.overflow);
}
