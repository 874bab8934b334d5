//! Dead letters: that they lose nothing of an event, survive what happens to files, stay bounded, and go out again.

mod again;
mod files;

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;

use super::*;
use crate::config::Role;
use crate::dead_letters::{self, DeadLetters, Letter, Line, Position, letter, walk};
use crate::telemetry::{Plugin, Telemetry};

/// The letters of a state folder without an agent.
struct Desk {
    folder: tempfile::TempDir,
    telemetry: Arc<Telemetry>,
    out: Arc<Plugin>,
}

fn desk() -> Desk {
    let telemetry = Telemetry::new("h".into(), Vec::new(), Pressure::default());
    let out = telemetry.add(Role::Output, "scripted", &"out".into());
    Desk { folder: tempfile::tempdir().unwrap(), telemetry, out }
}

impl Desk {
    fn state(&self) -> &Path {
        self.folder.path()
    }

    fn file(&self) -> std::path::PathBuf {
        self.state().join("dead-letters.jsonl")
    }

    /// As an agent that starts has it.
    fn letters(&self, limit: u64) -> DeadLetters {
        DeadLetters::bounded(self.state(), Arc::clone(&self.telemetry), limit)
    }

    /// A letter for each line.
    fn write(&self, letters: &DeadLetters, lines: &[&str]) {
        let labels = Arc::new(Labels::new([("a", "b")]));
        let piece = Piece::whole(Arc::new(log_batch("in", &labels, lines)));
        let all: Vec<usize> = (0..lines.len()).collect();
        letters.write(&self.out, &piece, &all, "no").unwrap();
    }

    /// Adds to the file what no agent would.
    fn append(&self, bytes: &[u8]) {
        let file = std::fs::OpenOptions::new().append(true).open(self.file());
        file.unwrap().write_all(bytes).unwrap();
    }
}

/// What waits, and how many lines cannot be read or are of a newer agent.
fn waiting(state: &Path) -> (Vec<(Position, Letter)>, usize) {
    let (mut letters, mut others) = (Vec::new(), 0);
    walk(state, |position, line| {
        match line {
            Line::Letter(_, text) => letters.push((position, letter(text).unwrap())),
            Line::Newer(_) | Line::Unreadable => others += 1,
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    (letters, others)
}

/// The lines of the letters that wait.
fn lines(state: &Path) -> Vec<String> {
    let line = |(_, letter): (Position, Letter)| match letter.event {
        dead_letters::Event::Log(log) => {
            String::from_utf8_lossy(&log.line.bytes().unwrap()).into_owned()
        }
        other => format!("{other:?}"),
    };
    waiting(state).0.into_iter().map(line).collect()
}
