//! A progress bar on standard error, only when that is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Between two drawings.
const PAUSE: Duration = Duration::from_millis(100);
/// Characters of the bar itself.
const WIDTH: usize = 30;

/// How far a long piece of work is.
pub(crate) struct Progress {
    what: String,
    total: u64,
    done: u64,
    started: Instant,
    drawn: Option<Instant>,
    terminal: bool,
}

impl Progress {
    /// A bar of `total` steps; 0 when nobody knows how many there are.
    pub(crate) fn new(what: impl Into<String>, total: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (what, started) = (what.into(), Instant::now());
        Progress { what, total, done: 0, started, drawn: None, terminal }
    }

    /// One that is never drawn: for work that is part of other work.
    pub(crate) fn hidden() -> Self {
        let mut hidden = Progress::new("", 0);
        hidden.terminal = false;
        hidden
    }

    /// So many more steps are done.
    pub(crate) fn add(&mut self, steps: u64) {
        self.done += steps;
        if self.terminal && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            self.drawn = Some(Instant::now());
            let line = line(&self.what, self.done, self.total, self.started.elapsed());
            let _closed = write!(std::io::stderr().lock(), "\r\x1b[K{line}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            let _closed = write!(std::io::stderr().lock(), "\r\x1b[K");
        }
    }
}

/// One drawing.
fn line(what: &str, done: u64, total: u64, spent: Duration) -> String {
    let seconds = spent.as_secs_f64().max(1e-3);
    let rate = done as f64 / seconds;
    if total == 0 || done == 0 {
        return format!("{what}  {done}  {rate:.0}/s");
    }
    let share = (done as f64 / total as f64).min(1.0);
    let full = (share * WIDTH as f64) as usize;
    let left = total.saturating_sub(done) as f64 / rate;
    format!(
        "{what} [{}{}] {:3.0} %  {rate:.0}/s  {left:.0} s left",
        "#".repeat(full),
        ".".repeat(WIDTH - full),
        100.0 * share
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_tells_share_rate_and_what_is_left() {
        let half = line("replay", 500, 1000, Duration::from_secs(5));
        let bar = format!("[{}{}]", "#".repeat(15), ".".repeat(15));
        assert_eq!(half, format!("replay {bar}  50 %  100/s  5 s left"));
        assert_eq!(line("replay", 500, 0, Duration::from_secs(5)), "replay  500  100/s");
        assert!(line("replay", 2000, 1000, Duration::from_secs(1)).contains("100 %"));
    }
}
