//! The application's log, as logfmt: a dozen kinds of lines at a steady rate, and now and then an error that was never seen before.
//!
//! Every kind of line, the known errors too, comes often enough to be seen while a detector learns. Each new error has words of
//! its own; its numbers and names vary from line to line.

use std::fs::File;
use std::io::Write as _;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::random::Random;
use crate::traffic::TICK;

/// Level, lines a second, text; `#` stands for a number.
const STEADY: [(&str, f64, &str); 14] = [
    ("info", 3.0, "order # accepted in # ms"),
    ("info", 2.0, "customer # signed in from session #"),
    ("info", 1.5, "cart # updated with # items"),
    ("debug", 1.5, "cache hit for product # after # us"),
    ("debug", 1.0, "cache miss for product # loaded from store"),
    ("info", 0.8, "payment # confirmed by provider"),
    ("info", 0.6, "mail # queued for delivery"),
    ("info", 0.5, "search returned # results in # ms"),
    ("debug", 0.5, "worker # finished job #"),
    ("info", 0.3, "stock of article # is now #"),
    ("warn", 0.3, "slow query took # ms on table orders"),
    ("warn", 0.1, "retrying webhook # attempt #"),
    ("error", 0.06, "coupon # has expired"),
    ("error", 0.04, "address validation failed for customer #"),
];

/// The errors that come new, one a fault; `#` stands for a number.
pub(crate) const NEW: [&str; 24] = [
    "connection pool exhausted after # waiters",
    "tls handshake with upstream broke at byte #",
    "cannot decode protobuf message of kind #",
    "deadlock detected between transactions # and #",
    "disk quota exceeded while storing invoice #",
    "panic recovered in goroutine # index out of range",
    "replica lag of # seconds exceeds threshold",
    "license key rejected by activation server code #",
    "oauth token refresh denied for tenant #",
    "kafka partition # has no leader",
    "checksum mismatch in segment # expected #",
    "schema migration # left table locked",
    "redis answered MOVED to slot #",
    "certificate of peer expired # days ago",
    "thread pool saturated rejecting task #",
    "dns lookup timed out for resolver #",
    "json document nested deeper than # levels",
    "foreign key violation inserting row #",
    "shared memory segment # vanished",
    "rate limiter state corrupted for bucket #",
    "snapshot # cannot be restored missing manifest",
    "leader election lost term #",
    "unexpected end of stream reading chunk #",
    "clock moved backwards by # ms refusing ids",
];

/// What the log is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Application {
    Steady,
    /// Beside the steady lines, the new error of this number, at so many lines a second.
    Failing {
        error: usize,
        rate: f64,
    },
}

/// Writes the log, a tick at a time.
pub(crate) struct Writer {
    file: File,
    random: Random,
    /// New lines owed: the first comes at once.
    owed: f64,
    lines: Vec<u8>,
}

impl Writer {
    pub(crate) fn new(file: File, seed: u64) -> Self {
        Writer { file, random: Random::new(seed, 3), owed: 1.0, lines: Vec::new() }
    }

    /// The lines of one tick, written at once.
    pub(crate) fn tick(&mut self, state: Application, now: Timestamp) -> Result<()> {
        let seconds = TICK.as_secs_f64();
        self.lines.clear();
        for (level, rate, text) in STEADY {
            for _ in 0..self.random.poisson(rate * seconds) {
                self.line(level, text, now)?;
            }
        }
        match state {
            Application::Steady => self.owed = 1.0,
            Application::Failing { error, rate } => {
                self.owed += rate * seconds;
                while self.owed >= 1.0 {
                    self.owed -= 1.0;
                    self.line("error", NEW[error % NEW.len()], now)?;
                }
            }
        }
        self.file.write_all(&self.lines).context("writing the application's log")
    }

    fn line(&mut self, level: &str, text: &str, now: Timestamp) -> Result<()> {
        write!(self.lines, "ts={now:.3} level={level} msg=\"")?;
        for (nth, part) in text.split('#').enumerate() {
            if nth > 0 {
                write!(self.lines, "{}", 1 + self.random.below(9_000))?;
            }
            self.lines.extend_from_slice(part.as_bytes());
        }
        self.lines.extend_from_slice(b"\"\n");
        Ok(())
    }
}
