//! What is no log, or may not be read, among logs: each is said or counted, and nothing else is lost.

use std::fs::{File, Permissions, create_dir, set_permissions, write};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::Duration;

use super::load::{Writer, count};
use super::stack::{Agent, asked, until};
use super::tap::{Mode, Tap};

/// Root without the right to pass over permissions: the folders of a test are its own.
const AS_ANYBODY: &[&str] = &["setpriv", "--bounding-set=-dac_override,-dac_read_search"];

/// A line as `tail` cuts it.
const LONGEST: usize = 256 << 10;

/// Lines of bytes that no encoding explains, without line ends, from a fixed seed.
fn noise(lines: usize) -> Vec<u8> {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::new();
    for _ in 0..lines {
        for _ in 0..300 {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let byte = random as u8;
            bytes.push(if byte == b'\n' { 0xff } else { byte });
        }
        bytes.extend_from_slice(b"\xff\n");
    }
    bytes
}

/// Everything but a plain log; the names say what.
fn make_bad(logs: &Path) {
    write(logs.join("binary.log"), noise(200)).unwrap();
    let long = ["x".repeat(1 << 20).as_str(), "\nafter the long line\n"].concat();
    write(logs.join("long.log"), long).unwrap();
    write(logs.join("empty.log"), "").unwrap();
    create_dir(logs.join("folder.log")).unwrap();
    symlink("/dev/zero", logs.join("device.log")).unwrap();
    symlink(logs.join("nowhere"), logs.join("dangling.log")).unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(logs.join("fifo.log")).status().unwrap();
    assert!(fifo.success());
    write(logs.join("secret.log"), "not for everybody\n").unwrap();
    set_permissions(logs.join("secret.log"), Permissions::from_mode(0o000)).unwrap();
}

#[test]
fn what_cannot_be_read_is_said_and_everything_else_arrives() {
    if !asked() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    create_dir(&logs).unwrap();
    make_bad(&logs);
    let tap = Tap::start(Mode::Answer(204));
    let writer = Writer::start(&logs.join("good.log"), 2_000);
    let config = format!(
        "[[inputs.tail]]\nfiles = [\"{0}/*.log\", \"{0}/folder.log\"]\nstart = \"beginning\"\ndiscover_interval = \"1s\"\n\
         [[outputs.loki]]\nurl = \"{1}\"\n",
        logs.display(),
        tap.url
    );
    let is_root = File::open(logs.join("secret.log")).is_ok();
    let runner = if is_root { AS_ANYBODY } else { &[] };
    let mut agent = Agent::start_by(runner, &folder.path().join("agent"), &config);
    let name = |file: &str| logs.join(file).display().to_string();
    let notes = || agent.plugin("tail")["notes"].clone();
    for (file, words) in [
        ("fifo.log", "is a FIFO"),
        ("folder.log", "is a directory"),
        ("device.log", "is a device"),
        ("secret.log", "no permission"),
    ] {
        until(words, Duration::from_secs(15), || {
            notes()[name(file)].as_str().is_some_and(|note| note.contains(words))
        });
    }
    let shown = notes();
    let secret = shown[name("secret.log")].as_str().unwrap();
    assert!(secret.contains("setfacl") && secret.contains("secret.log"), "{secret}");
    assert_eq!(shown.as_object().unwrap().len(), 4, "nothing else is complained of: {shown}");

    let binary = || tap.entries("binary.log");
    let long = || tap.entries("long.log");
    until("binary and long lines", Duration::from_secs(20), || {
        binary().len() == 200 && long().len() == 2
    });
    let marked = |name: &str, entry: &super::tap::Entry| {
        entry.metadata.iter().any(|pair| pair.name == name && pair.value == "true")
    };
    assert!(binary().iter().all(|entry| marked("invalid_utf8", entry)));
    assert!(binary().iter().all(|entry| entry.line.chars().count() > 100));
    let long = long();
    assert_eq!(long[0].line.len(), LONGEST);
    assert!(marked("truncated", &long[0]));
    assert_eq!(
        (long[1].line.as_str(), marked("truncated", &long[1])),
        ("after the long line", false)
    );
    let tail = agent.plugin("tail");
    assert_eq!(tail["counts"], serde_json::json!({"line_cut": 1}), "{tail}");
    assert_eq!(tail["drops"], serde_json::json!({}), "{tail}");

    set_permissions(logs.join("secret.log"), Permissions::from_mode(0o644)).unwrap();
    until("the file that may be read now", Duration::from_secs(20), || {
        tap.lines("secret.log") == ["not for everybody"]
    });
    assert!(notes()[name("secret.log")].is_null(), "{}", notes());
    let (written, rate) = writer.finish();
    until("the good lines", Duration::from_secs(30), || {
        tap.lines("good.log").len() as u64 >= written.all()
    });
    let lines = tap.lines("good.log");
    let counted = count(lines.iter().map(String::as_str), written);
    eprintln!(
        "bad input: notes {shown}; counts {}; beside them wrote {written:?} at {rate:.0}/s, tap {counted:?}",
        tail["counts"]
    );
    assert!(counted.is_exact(written), "{counted:?} of {written:?}");
    assert!(tap.entries("empty.log").is_empty() && tap.entries("fifo.log").is_empty());
    assert_eq!(agent.plugin("tail")["state"], "active");
    assert!(agent.stop() < Duration::from_secs(5));
}
