//! A replay of log files: the whole pipeline by the times in the lines, whatever file they stand in.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use sentinel_contract::Incident;
use sentinel_contract::trainer::Trainer;
use sentinel_engine::config::Shared;
use sentinel_engine::replay::Driver;
use sentinel_history::InMemory;

use super::super::{FRAMES, Recorder, files};
use super::series::plan;

const CONFIG: &str = "
[agent]
host = \"web01\"
[[inputs.system]]
[[inputs.tail]]
alias = \"access\"
files = [\"/nonexistent\"]
labels = { job = \"shop\" }
[[processors.parse]]
from = [\"access\"]
format = \"combined\"
[[processors.log_features]]
from = [\"access\"]
[[processors.anomaly]]
alias = \"web\"
from = [\"log_features\"]
preset = \"web\"
min_training_frames = 60
";

/// 2024-01-02 00:00 UTC.
const START: i64 = 1_704_153_600;

/// Three hours of requests, 20 to 40 a minute; from 2:30 on for ten minutes nine of ten fail.
fn requests() -> Vec<(i64, String)> {
    let mut lines = Vec::new();
    for minute in 0..180_i64 {
        for request in 0..20 + minute * 7 % 20 {
            let seconds = START + minute * 60 + request;
            let fails = (150..160).contains(&minute) && request % 10 != 0;
            let status = if fails { 502 } else { 200 };
            lines.push((seconds, line(seconds, request % 9, status)));
        }
    }
    lines
}

fn line(seconds: i64, client: i64, status: u32) -> String {
    let time = Timestamp::from_second(seconds).unwrap().strftime("%d/%b/%Y:%H:%M:%S +0000");
    format!("10.0.0.{client} - - [{time}] \"GET /shop HTTP/1.1\" {status} 512 \"-\" \"test\"\n")
}

struct Outcome {
    scores: String,
    incidents: Vec<Incident>,
    notes: Vec<String>,
}

fn run(texts: &[String]) -> anyhow::Result<Outcome> {
    let folder = tempfile::tempdir()?;
    let history = Arc::new(InMemory::new(FRAMES));
    let shared = Shared {
        state_dir: folder.path().to_owned(),
        history,
        trainer: Trainer::waiting(),
        desk: sentinel_contract::Desk::default(),
        pressure: sentinel_contract::Pressure::default(),
    };
    let plan = plan(CONFIG);
    let mut paths: Vec<(String, PathBuf)> = Vec::new();
    for (at, text) in texts.iter().enumerate() {
        let path = folder.path().join(format!("access.{at}.log"));
        std::fs::write(&path, text)?;
        paths.push(("access".to_owned(), path));
    }
    let mut driver = Driver::new(&plan, &shared)?;
    let mut recorder = Recorder::new(&plan, None)?;
    let notes = files::replay(&plan, &shared, &mut driver, &paths, &mut recorder)?;
    let out = folder.path().join("scores.csv");
    recorder.scores.write_all(&out)?;
    let scores = std::fs::read_to_string(out)?;
    Ok(Outcome { scores, incidents: recorder.incidents, notes })
}

fn text(lines: &[(i64, String)]) -> String {
    lines.iter().map(|(_, line)| line.as_str()).collect()
}

fn json(incidents: &[Incident]) -> String {
    incidents.iter().fold(String::new(), |mut all, one| {
        let _infallible = writeln!(all, "{}", serde_json::to_string(one).unwrap());
        all
    })
}

#[test]
fn a_failing_site_is_an_incident_at_its_own_time_and_twice_the_same_bytes() {
    let log = text(&requests());
    let (first, second) = (run(std::slice::from_ref(&log)).unwrap(), run(&[log]).unwrap());
    assert_eq!(first.scores, second.scores);
    assert_eq!(json(&first.incidents), json(&second.incidents));
    let failing = (START + 150 * 60) * 1000..(START + 170 * 60) * 1000;
    let found = first.incidents.iter().find(|one| failing.contains(&one.started_ms));
    let found = found.unwrap_or_else(|| panic!("{:?}", first.incidents));
    assert_eq!((found.detector.as_str(), found.host.as_str()), ("web", "web01"));
    assert!(first.scores.starts_with("timestamp,detector,group,anomaly_score,"));
    assert!(first.scores.contains(",web,job=shop,"), "{}", first.scores);
}

#[test]
fn lines_of_several_files_come_in_the_order_of_their_times() {
    let lines = requests();
    let whole = run(&[text(&lines)]).unwrap();
    let (day, night): (Vec<_>, Vec<_>) =
        lines.iter().cloned().partition(|(seconds, _)| seconds % 60 < 15);
    let parts = run(&[text(&day), text(&night)]).unwrap();
    assert_eq!(whole.scores, parts.scores);
    assert_eq!(json(&whole.incidents), json(&parts.incidents));
}

#[test]
fn what_comes_later_changes_nothing_before_it() {
    let lines = requests();
    let cut = START + 100 * 60;
    let (before, _) = lines.iter().cloned().partition::<Vec<_>, _>(|(seconds, _)| *seconds < cut);
    let mut other = before;
    other.extend((cut..cut + 3600).map(|seconds| (seconds, line(seconds, 3, 500))));
    let (whole, changed) = (run(&[text(&lines)]).unwrap(), run(&[text(&other)]).unwrap());
    let head = |scores: &str| -> Vec<String> {
        let early = |line: &&str| {
            line.split(',').next().and_then(|time| time.parse().ok()).is_some_and(|t: i64| t <= cut)
        };
        scores.lines().filter(early).map(str::to_owned).collect()
    };
    assert!(head(&whole.scores).len() > 20);
    assert_eq!(head(&whole.scores), head(&changed.scores));
    assert_ne!(whole.scores, changed.scores);
}

#[test]
fn one_wrong_time_does_not_move_the_clock_and_a_line_without_one_is_counted() {
    let mut lines = requests();
    let plain = run(&[text(&lines)]).unwrap();
    lines.insert(1000, (0, line(START + 40 * 86_400, 1, 200)));
    lines.insert(500, (0, "what is this?\n".to_owned()));
    let dirty = run(&[text(&lines)]).unwrap();
    assert_eq!(plain.incidents.len(), dirty.incidents.len());
    assert_eq!(plain.scores.lines().count(), dirty.scores.lines().count());
    let told = |words: &str| dirty.notes.iter().any(|note| note.contains(words));
    assert!(told("1 events without a time") && told("1 times far ahead"), "{:?}", dirty.notes);
    assert!(told("unparsed: 1"), "{:?}", dirty.notes);
}

#[test]
fn lines_that_have_no_time_are_an_error_with_advice() {
    let error = |text: &str| format!("{:#}", run(&[text.to_owned()]).err().unwrap());
    let none = error(&"hello\n".repeat(300));
    assert!(none.contains("access.0.log:1: none of the first") && none.contains("parse"), "{none}");
    assert!(error("hello\n").contains("access.0.log:1: none of the first 1 lines has a time"));
    assert!(error("").contains("access.0.log: the file is empty"));
}

#[test]
fn a_file_belongs_to_an_input_that_reads_lines() {
    let plan = plan(CONFIG);
    let split = |argument: &str| files::split(&plan, argument);
    let access = |path: &str| ("access".to_owned(), PathBuf::from(path));
    assert_eq!(split("access=/a=b.log").unwrap(), access("/a=b.log"));
    assert_eq!(split("/x/y.log").unwrap(), access("/x/y.log"));
    let system = split("system=/x").unwrap_err().to_string();
    assert!(system.contains("`system` reads no lines"), "{system}");
    let here = format!("acces={}", Path::new("/dev/null").display());
    let unknown = split(&here).unwrap_err().to_string();
    assert!(unknown.contains("no input `acces`; there are: access"), "{unknown}");
}
