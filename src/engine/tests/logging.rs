//! The agent's own log.

use std::sync::{Arc, Mutex};

use tracing_subscriber::layer::SubscriberExt as _;

use crate::log::{Format, Lines};

/// The lines that `work` logs.
pub(crate) fn logged(format: Format, journal: bool, work: impl FnOnce()) -> Vec<String> {
    let lines = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&lines);
    let layer = Lines::new(tracing::Level::INFO, format, journal, move |line: &str| {
        sink.lock().unwrap().push(line.to_owned());
    });
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), work);
    let lines = lines.lock().unwrap();
    lines.clone()
}

#[test]
fn a_line_says_when_how_bad_what_and_who() {
    let lines = logged(Format::Text, false, || {
        let _span = tracing::info_span!("plugin", plugin = "inputs.tail").entered();
        tracing::warn!(error = "not now", tries = 3, "cannot read");
    });
    assert_eq!(lines.len(), 1);
    let (time, rest) = lines[0].split_at(24);
    assert!(time.ends_with('Z') && time.as_bytes()[10] == b'T', "{time}");
    assert_eq!(rest, " warn  cannot read plugin=inputs.tail error=\"not now\" tries=3\n");
}

#[test]
fn the_journal_gets_a_priority_and_no_time() {
    let lines = logged(Format::Text, true, || tracing::error!("down"));
    assert_eq!(lines, ["<3>down\n"]);
}

#[test]
fn the_same_line_again_is_folded_and_another_is_not() {
    let lines = logged(Format::Text, true, || {
        for tries in 0..5 {
            tracing::warn!(tries, "again"); // numbers do not make it another line
        }
        tracing::warn!(file = "a", "other");
        tracing::warn!(file = "b", "other");
    });
    assert_eq!(lines, ["<4>again tries=0\n", "<4>other file=a\n", "<4>other file=b\n"]);
}

#[test]
fn a_text_from_outside_cannot_begin_a_line_of_its_own() {
    let lines = logged(Format::Text, true, || tracing::warn!("bad\n<3>forged"));
    assert_eq!(lines, ["<4>bad\\n<3>forged\n"]);
    let lines = logged(Format::Text, true, || tracing::warn!(error = "\x1b[2Jgone", "bad"));
    assert_eq!(lines, ["<4>bad error=\\u{1b}[2Jgone\n"], "nor speak to the terminal");
}

#[test]
fn json_lines_are_objects_and_quiet_levels_are_left_out() {
    let lines = logged(Format::Json, false, || {
        tracing::debug!("too quiet");
        tracing::info!(n = 3, "hello");
    });
    let value: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((lines.len(), &value["message"], &value["n"]), (1, &"hello".into(), &3.into()));
}
