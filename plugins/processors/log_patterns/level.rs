//! How bad a line is: from its stream's label, its fields, or the words it begins with.
//!
//! The words are a guess, made only where nobody has parsed the line: `ERROR` in capitals, `error:` and `[error]` and
//! `level=error` in any, glog's `E0131`, and a name that ends in `Exception` or `Error`. "no error found" is none.

use sentinel_contract::{Labels, Log};
use serde::{Deserialize, Serialize};

/// How bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// Neither of the others.
    #[default]
    Normal,
    Warning,
    Error,
}

impl Level {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Level::Normal => "normal",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    /// The label `level` of a stream, as `processors.parse` writes it.
    pub(super) fn of_label(stream: &Labels) -> Option<Self> {
        stream.get("level").map(|level| Level::of_name(level.as_bytes()).unwrap_or_default())
    }

    /// The field `level`.
    pub(super) fn of_field(log: &Log) -> Option<Self> {
        Level::of_name(log.text("level")?)
    }

    /// A name of severity, in any case.
    fn of_name(name: &[u8]) -> Option<Self> {
        let is =
            |words: &[&str]| words.iter().any(|word| name.eq_ignore_ascii_case(word.as_bytes()));
        if !(3..=9).contains(&name.len()) {
            return None;
        }
        match name[0] | 0x20 {
            b'e' if is(&["error", "err", "emerg", "emergency"]) => Some(Level::Error),
            b'f' if is(&["fatal"]) => Some(Level::Error),
            b'c' if is(&["crit", "critical"]) => Some(Level::Error),
            b'p' if is(&["panic"]) => Some(Level::Error),
            b's' if is(&["severe"]) => Some(Level::Error),
            b'a' if is(&["alert"]) => Some(Level::Error),
            b'w' if is(&["warn", "warning"]) => Some(Level::Warning),
            b'i' if is(&["info"]) => Some(Level::Normal),
            b'd' if is(&["debug"]) => Some(Level::Normal),
            b't' if is(&["trace"]) => Some(Level::Normal),
            b'n' if is(&["notice"]) => Some(Level::Normal),
            _ => None,
        }
    }

    /// What a word near the beginning of a line says.
    pub(super) fn of_word(token: &[u8]) -> Option<Self> {
        let is_letter = |byte: &u8| byte.is_ascii_alphabetic();
        let start = token.iter().position(is_letter)?;
        let end = token.iter().rposition(is_letter)? + 1;
        let word = &token[start..end];
        if word.len() == 1 {
            let is_glog = token.len() == 5 && token[1..].iter().all(u8::is_ascii_digit);
            return match word[0] {
                b'E' | b'F' if is_glog => Some(Level::Error),
                b'W' if is_glog => Some(Level::Warning),
                _ => None,
            };
        }
        if is_exception(word) {
            return Some(Level::Error);
        }
        let next = token.get(end);
        let is_bracketed = start > 0 && token[start - 1] == b'[' && next == Some(&b']');
        let is_marked = next == Some(&b':') || is_bracketed;
        if is_marked || word.iter().all(u8::is_ascii_uppercase) {
            Level::of_name(word)
        } else {
            None
        }
    }

    /// What a word behind `level=` says.
    pub(super) fn of_value(token: &[u8]) -> Option<Self> {
        Level::of_name(
            token
                .trim_ascii()
                .strip_prefix(b"\"")
                .map_or(token, |rest| rest.strip_suffix(b"\"").unwrap_or(rest)),
        )
    }
}

fn is_exception(word: &[u8]) -> bool {
    word.len() > 5 && (word.ends_with(b"Exception") || word.ends_with(b"Error"))
}
