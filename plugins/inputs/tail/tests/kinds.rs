//! What is found: lines of all sorts, and things that are not files.

use std::fs;
use std::os::unix::net::UnixListener;

use super::harness::{Place, numbered, text, until};

const BEGINNING: &str = "start = \"beginning\"";

#[tokio::test]
async fn lines_are_kept_byte_for_byte_without_their_line_ends() {
    let place = Place::new();
    place.append("a.log", b"plain\ncrlf\r\n\nnul\0\xff\xfe\n\r\n");
    let mut agent = place.start("a.log", &format!("{BEGINNING}\nlabels = {{ job = \"nginx\" }}"));
    let logs = agent.logs(5).await;
    let bodies: Vec<&[u8]> = logs.iter().map(|log| &log.body[..]).collect();
    assert_eq!(bodies, [&b"plain"[..], b"crlf", b"", b"nul\0\xff\xfe", b""]);
    let path = place.path("a.log").display().to_string();
    let labels: Vec<_> = logs[0].stream.iter().collect();
    assert_eq!(labels, [("filename", path.as_str()), ("host", "h"), ("job", "nginx")]);
    agent.finish().await;
}

#[tokio::test]
async fn equal_lines_of_one_read_have_different_times() {
    let place = Place::new();
    place.append("a.log", "same\n".repeat(1000));
    let mut agent = place.start("a.log", BEGINNING);
    let mut logs = agent.logs(1000).await;
    place.append("a.log", "same\n");
    logs.extend(agent.logs(1).await);
    assert!(logs.is_sorted_by(|a, b| a.time_ns < b.time_ns));
    agent.finish().await;
}

#[tokio::test]
async fn a_partial_last_line_waits_for_its_end() {
    let place = Place::new();
    place.append("a.log", "one\ntw");
    let mut agent = place.start("a.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["one"]);
    agent.is_silent().await;
    place.append("a.log", "o\n");
    assert_eq!(agent.lines(1).await, ["two"]);
    agent.finish().await;
}

#[tokio::test]
async fn a_partial_last_line_goes_out_when_idle_if_asked_to() {
    let place = Place::new();
    place.append("a.log", "prompt> ");
    let mut agent = place.start("a.log", &format!("{BEGINNING}\nidle_flush = \"200ms\""));
    assert_eq!(agent.lines(1).await, ["prompt> "]);
    place.append("a.log", "answer\n");
    assert_eq!(agent.lines(1).await, ["answer"]);
    agent.finish().await;
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_cut_marked_and_counted() {
    let place = Place::new();
    let options = format!("{BEGINNING}\nmax_line_bytes = \"1KiB\"\nread_chunk = \"1KiB\"");
    place.append("a.log", format!("{}\nnext\n{}", "x".repeat(200_000), "y".repeat(5000)));
    let mut agent = place.start("a.log", &options);
    let logs = agent.logs(2).await;
    assert_eq!(text(&logs[0]), "x".repeat(1024));
    assert_eq!(logs[0].number("truncated"), Some(200_000.0));
    assert_eq!((text(&logs[1]).as_str(), logs[1].number("truncated")), ("next", None));
    assert_eq!(agent.counters.counts().get("line_cut"), Some(&1));
    agent.is_silent().await; // the second long line has no end yet
    place.append("a.log", "yy\nend\n");
    let logs = agent.logs(2).await;
    assert_eq!(logs[0].number("truncated"), Some(5002.0));
    assert_eq!(text(&logs[1]), "end");
    agent.finish().await;
}

#[tokio::test]
async fn a_binary_file_without_line_ends_takes_no_memory() {
    let place = Place::new();
    place.append("a.log", vec![1_u8; 8 << 20]);
    let mut agent = place.start_with("a.log", BEGINNING, 8, 1 << 20);
    agent.is_silent().await;
    place.append("a.log", "\nok\n");
    let logs = agent.logs(2).await;
    assert_eq!(logs[0].number("truncated"), Some(f64::from(8 << 20)));
    assert_eq!(logs[0].body.len(), 256 << 10);
    assert_eq!(text(&logs[1]), "ok");
    agent.finish().await;
}

#[tokio::test]
async fn what_is_not_a_file_is_refused_with_a_note_and_read_once_it_is() {
    let place = Place::new();
    let fifo = place.path("a.log");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &fifo,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let _socket = UnixListener::bind(place.path("c.log")).unwrap();
    place.append("d.log", "fine\n");
    let mut agent = place.start("*.log", BEGINNING);
    assert_eq!(agent.lines(1).await, ["fine"]);
    let note =
        |name: &str| agent.counters.notes().get(&place.path(name).display().to_string()).cloned();
    assert_eq!(note("a.log").as_deref(), Some("is a FIFO, not a file"));
    assert_eq!(note("c.log").as_deref(), Some("is a socket, not a file"));
    fs::remove_file(&fifo).unwrap();
    place.append("a.log", "now\n");
    assert_eq!(agent.lines(1).await, ["now"]);
    fs::remove_file(place.path("c.log")).unwrap();
    until("no note is left", || agent.counters.notes().is_empty()).await;
    agent.finish().await;
}

#[tokio::test]
async fn a_folder_in_the_place_of_a_file_is_refused_with_a_note() {
    let place = Place::new();
    fs::create_dir(place.path("a.log")).unwrap();
    let agent = place.start("a.log", BEGINNING);
    let path = place.path("a.log").display().to_string();
    until("a note", || agent.counters.notes().contains_key(&path)).await;
    assert_eq!(agent.counters.notes()[&path], "is a directory, not a file");
    agent.finish().await;
}

#[tokio::test]
async fn new_files_and_files_in_new_folders_are_read_from_their_beginning() {
    let place = Place::new();
    place.append("old.log", "skipped\n");
    let mut agent = place.start("**/*.log", "");
    agent.is_silent().await;
    place.append("new.log", "one\n");
    assert_eq!(agent.lines(1).await, ["one"]);
    fs::create_dir_all(place.path("x/y")).unwrap();
    place.append("x/y/deep.log", "two\n");
    place.append("x/y/deep.log.gz", "no\n");
    place.append("x/y/deep.txt", "no\n");
    assert_eq!(agent.lines(1).await, ["two"]);
    place.append("x/y/deep.log", "three\n");
    place.append("old.log", "four\n");
    let mut lines = agent.lines(2).await;
    lines.sort();
    assert_eq!(lines, ["four", "three"]);
    agent.finish().await;
}

#[tokio::test]
async fn excluded_and_compressed_files_are_not_read() {
    let place = Place::new();
    for name in ["a.log", "a.log.gz", "b.log.zst", "debug.log"] {
        place.append(name, format!("{name}\n"));
    }
    let options = format!("{BEGINNING}\nexclude = [\"*.gz\", \"/**/debug.*\", \"*.zst\"]");
    let mut agent = place.start("*", &options);
    assert_eq!(agent.lines(1).await, ["a.log"]);
    agent.is_silent().await;
    agent.finish().await;
}

#[tokio::test]
async fn reading_from_the_end_begins_with_a_whole_line() {
    let place = Place::new();
    place.append("a.log", "old\nbegun");
    let mut agent = place.start("a.log", "");
    agent.is_silent().await;
    place.append("a.log", " and ended\n");
    assert_eq!(agent.lines(1).await, ["begun and ended"]);
    agent.finish().await;
}

#[tokio::test]
async fn lines_of_one_event_are_joined_and_the_last_event_goes_out_when_idle() {
    let place = Place::new();
    place.append("a.log", "A\n  at 1\r\n  at 2\nB\nC\n  at");
    let options =
        format!("{BEGINNING}\nmultiline = {{ mode = \"indentation\", timeout = \"200ms\" }}");
    let mut agent = place.start("a.log", &options);
    assert_eq!(agent.lines(2).await, ["A\n  at 1\r\n  at 2", "B"]);
    assert_eq!(agent.lines(1).await, ["C"], "whole lines, when nothing follows");
    place.append("a.log", " 3\n");
    assert_eq!(agent.lines(1).await, ["  at 3"]);
    agent.finish().await;
}

#[tokio::test]
async fn more_files_than_may_be_open_are_all_followed() {
    let place = Place::new();
    for file in 0..200 {
        place.append(&format!("{file}.log"), numbered(0..3));
    }
    let mut agent = place.start("*.log", &format!("{BEGINNING}\nmax_open_files = 16"));
    agent.lines(600).await;
    assert!(place.held("") <= 16);
    for file in 0..200 {
        place.append(&format!("{file}.log"), format!("last of {file}\n"));
    }
    let mut lines = agent.lines(200).await;
    lines.sort();
    let mut wanted: Vec<String> = (0..200).map(|file| format!("last of {file}")).collect();
    wanted.sort();
    assert_eq!(lines, wanted);
    agent.finish().await;
}
