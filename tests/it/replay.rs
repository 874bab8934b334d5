//! `replay` as a person or a script meets it.

use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = "[[inputs.system]]\n[[processors.anomaly]]\nalias = \"host\"\n\
    min_training_frames = 60\nlevel_frames = 30\n";

fn replay(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(crate::cli::binary());
    command.current_dir(folder).args(["replay", "--log-level", "error", "--config", "a.toml"]);
    command.args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A folder with two configurations and a table whose value leaps at rows 400 to 420.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.toml"), CONFIG).unwrap();
    std::fs::write(at("b.toml"), CONFIG.replace("\"host\"", "\"other\"\nincidents_per_week = 50"))
        .unwrap();
    let value = |row: i64| {
        20.0 + (row * 7919 % 101) as f64 / 50.0 + if (400..420).contains(&row) { 60.0 } else { 0.0 }
    };
    let row = |row: i64| format!("{},{},never read\n", 1_700_000_040 + row * 60, value(row));
    let rows = |from: i64, to: i64| (from..to).map(row).collect::<Vec<_>>().concat();
    let header = "timestamp,cpu,label\n";
    std::fs::create_dir(at("tables")).unwrap();
    std::fs::write(at("tables/m.train.csv"), header.to_owned() + &rows(0, 300)).unwrap();
    std::fs::write(at("tables/m.test.csv"), header.to_owned() + &rows(300, 600)).unwrap();
    std::fs::write(at("tables/whole.csv"), header.to_owned() + &rows(0, 600)).unwrap();
    folder
}

#[test]
fn a_table_gives_a_row_a_frame_and_a_line_a_change() {
    let folder = place();
    let arguments = [
        "--train",
        "tables/m.train.csv",
        "--series",
        "tables/m.test.csv",
        "--scores",
        "s.csv",
        "--incidents",
        "i.jsonl",
        "--format",
        "json",
    ];
    let output = replay(folder.path(), &arguments);
    assert!(output.status.success(), "{output:?}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["frames"], 300);
    assert!(report["opened"].as_u64().unwrap() >= 1, "{report:#}");
    let scores = std::fs::read_to_string(folder.path().join("s.csv")).unwrap();
    let mut rows = scores.lines();
    let header = rows.next().unwrap();
    assert!(header.starts_with("timestamp,anomaly_score,") && header.ends_with(",top1,top2,top3"));
    assert_eq!(rows.clone().count(), 300);
    assert!(rows.next().unwrap().starts_with("1700018040,"), "{scores}");
    let changes = std::fs::read_to_string(folder.path().join("i.jsonl")).unwrap();
    for line in changes.lines() {
        let change: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(change["message"].is_string() && change["state"].is_string());
    }
}

#[test]
fn two_configurations_are_compared_and_a_folder_is_replayed_table_by_table() {
    let folder = place();
    let both = replay(folder.path(), &["--series", "tables/whole.csv", "--compare", "b.toml"]);
    let words = text(&both.stdout);
    assert!(both.status.success(), "{both:?}");
    for part in ["a.toml: ", "b.toml: ", "in both: ", "only with a.toml: ", "only with b.toml: "] {
        assert!(words.contains(part), "{part} in\n{words}");
    }
    let all = ["--series", "tables", "--scores", "out", "--incidents", "out", "--format", "json"];
    let output = replay(folder.path(), &all);
    assert!(output.status.success(), "{output:?}");
    let reports: Vec<serde_json::Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let frames: Vec<_> = reports.iter().map(|report| report["frames"].as_u64()).collect();
    assert_eq!(frames, [Some(300), Some(600)], "m after its training rows, then whole");
    let rows = |name: &str| {
        let text = std::fs::read_to_string(folder.path().join("out").join(name)).unwrap();
        text.lines().count()
    };
    assert_eq!((rows("m.csv"), rows("whole.csv")), (301, 601));
    assert!(folder.path().join("out/whole.jsonl").exists());
}

#[test]
fn what_is_wrong_is_told_by_place_and_leaves_nothing_behind() {
    let folder = place();
    let complaint = |arguments: &[&str]| {
        let output = replay(folder.path(), arguments);
        assert!(!output.status.success(), "{output:?}");
        text(&output.stderr)
    };
    std::fs::write(folder.path().join("bad.csv"), "timestamp,cpu\n1,2\n2,low\n").unwrap();
    let bad = complaint(&["--series", "bad.csv", "--scores", "bad.out"]);
    assert!(bad.contains("error: bad.csv:3: column 2: `low` is no number"), "{bad}");
    assert!(!folder.path().join("bad.out").exists());
    let missing = complaint(&["--series", "no.csv"]);
    assert!(missing.contains("error: no.csv: cannot be read: No such file"), "{missing}");
    let alias = complaint(&["--series", "tables/whole.csv", "--detector", "web"]);
    assert!(alias.contains("there is no [[processors.anomaly]] of that alias; there are: host"));
    let lines = complaint(&["--file", "tables/whole.csv"]);
    assert!(lines.contains("the configuration has no [[inputs.tail]]"), "{lines}");
    assert!(complaint(&[]).contains("<--series <CSV|DIR>|--file <[ALIAS=]LOG>|--from-url <URL>>"));
    let time = complaint(&["--from-url", "http://127.0.0.1:1", "--start", "soon"]);
    assert!(time.contains("--start soon: `soon` is no time"), "{time}");
    let down = complaint(&["--from-url", "http://127.0.0.1:1", "--start", "-1h"]);
    assert!(down.contains("GET http://127.0.0.1:1/api/v1/export"), "{down}");
    std::fs::write(folder.path().join("b.toml"), "[[inputs.sistem]]\n").unwrap();
    let compared = ["--series", "tables/whole.csv", "--compare", "b.toml"];
    let output = replay(folder.path(), &compared);
    assert_eq!(output.status.code(), Some(78), "{output:?}");
    assert!(text(&output.stderr).contains("b.toml:1:"), "{output:?}");
}
