//! Configuration files and what is wrong in them: every complaint names file, line and column, shows the line with a
//! caret, and can be read by a script.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::mask::mask;

/// One file, as read.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path, as given.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's path.
    pub file: String,
    /// Counted from 1; 0 when the file itself cannot be read.
    pub line: usize,
    /// Counted from 1, in characters; 0 with line 0.
    pub column: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The line itself.
    #[serde(skip)]
    source_line: String,
    /// Characters to underline.
    #[serde(skip)]
    width: usize,
}

/// All mistakes found in one pass.
#[derive(Clone, Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl Source {
    /// A mistake at these bytes of the file.
    pub fn problem(&self, span: Range<usize>, message: impl Into<String>) -> Problem {
        let start = self.boundary(span.start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let end = self.boundary(span.end.clamp(start, line_end));
        Problem {
            file: self.path.display().to_string(),
            line: self.text[..start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            message: message.into(),
            help: None,
            source_line: mask(self.text[line_start..line_end].trim_end_matches('\r')),
            width: self.text[start..end].chars().count().max(1),
        }
    }

    /// The nearest character boundary at or before `at`.
    pub(super) fn boundary(&self, at: usize) -> usize {
        let mut at = at.min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

impl Problem {
    /// With advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Self {
        let help = match error.kind() {
            ErrorKind::NotFound => Some("write it, or name another with --config".to_owned()),
            ErrorKind::InvalidData => Some("save it as UTF-8".to_owned()),
            _ => None,
        };
        Problem {
            file: path.display().to_string(),
            line: 0,
            column: 0,
            message: format!("cannot be read: {error}"),
            help,
            source_line: String::new(),
            width: 0,
        }
    }

    fn render(&self, out: &mut String) {
        if self.line == 0 {
            let _infallible = writeln!(out, "{}: {}", self.file, self.message);
            if let Some(help) = &self.help {
                let _infallible = writeln!(out, "  = help: {help}");
            }
            return;
        }
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let before: String = self
            .source_line
            .chars()
            .take(self.column - 1)
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let carets = "^".repeat(self.width);
        let _infallible = writeln!(
            out,
            "{}:{}:{}: {}\n{gutter} |\n{number} | {}\n{gutter} | {before}{carets}",
            self.file, self.line, self.column, self.message, self.source_line
        );
        if let Some(help) = &self.help {
            let _infallible = writeln!(out, "{gutter} = help: {help}");
        }
    }
}

impl Problems {
    /// Orders them by file, line and column. Of several at one place the first is kept: the others follow from it (a
    /// variable that is not set makes an empty address).
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        self.0.dedup_by(|b, a| (&a.file, a.line, a.column) == (&b.file, b.line, b.column));
    }

    /// As a person reads them.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for problem in &self.0 {
            problem.render(&mut out);
            out.push('\n');
        }
        let count = self.0.len();
        let noun = if count == 1 { "mistake" } else { "mistakes" };
        let _infallible = writeln!(out, "{count} {noun} in the configuration");
        out
    }
}
