//! Severities, from the many words programs use to the six that become a label.
//!
//! The numbers are syslog's (RFC 5424 table 2: 0..=7) and those of bunyan and pino (10..=60). A word that is none of
//! these gives no level: a label must have few values.

/// A severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// What a developer follows step by step.
    Trace,
    /// For developers.
    Debug,
    /// What is usual.
    Info,
    /// Not wrong yet.
    Warn,
    /// Something failed.
    Error,
    /// The program cannot go on, or nobody should wait.
    Fatal,
}

/// How many severities there are.
pub const LEVELS: usize = 6;

/// Fields in which programs write their severity, by how common they are.
pub const FIELDS: [&str; 7] =
    ["level", "severity", "lvl", "levelname", "log_level", "loglevel", "log.level"];

impl Level {
    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    /// A word, or a number in text.
    pub fn of_text(text: &[u8]) -> Option<Self> {
        let text = text.trim_ascii();
        let is =
            |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
        let level = match text.first()?.to_ascii_lowercase() {
            b'i' if is(&["info", "i", "information", "informational"]) => Level::Info,
            b'n' if is(&["notice", "n"]) => Level::Info,
            b'w' if is(&["warn", "warning", "w", "wrn"]) => Level::Warn,
            b'e' if is(&["error", "err", "e", "eror"]) => Level::Error,
            b'e' if is(&["emerg", "emergency"]) => Level::Fatal,
            b's' if is(&["severe"]) => Level::Error,
            b'd' if is(&["debug", "d", "dbg"]) => Level::Debug,
            b'v' if is(&["verbose"]) => Level::Debug,
            b't' if is(&["trace", "t", "trc"]) || has_trace_number(text) => Level::Trace,
            b'f' if is(&["fatal", "f", "ftl"]) => Level::Fatal,
            b'c' if is(&["crit", "critical", "c"]) => Level::Fatal,
            b'a' if is(&["alert"]) => Level::Fatal,
            b'p' if is(&["panic"]) => Level::Fatal,
            b'0'..=b'9' => return Level::of_number(std::str::from_utf8(text).ok()?.parse().ok()?),
            _ => return None,
        };
        Some(level)
    }

    /// Syslog's or bunyan's number.
    pub fn of_number(number: f64) -> Option<Self> {
        let level = match number {
            n if n.fract() != 0.0 => return None,
            0.0..=2.0 => Level::Fatal,
            3.0 => Level::Error,
            4.0 => Level::Warn,
            5.0..=6.0 => Level::Info,
            7.0 => Level::Debug,
            10.0 => Level::Trace,
            20.0 => Level::Debug,
            30.0 => Level::Info,
            40.0 => Level::Warn,
            50.0 => Level::Error,
            60.0 => Level::Fatal,
            _ => return None,
        };
        Some(level)
    }
}

/// Apache's `trace1` to `trace8`.
fn has_trace_number(text: &[u8]) -> bool {
    text.len() == 6 && text[..5].eq_ignore_ascii_case(b"trace") && (b'1'..=b'8').contains(&text[5])
}
