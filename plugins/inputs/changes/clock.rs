//! Steps of the clock, and restarts of the host.
//!
//! A step is a change of the difference between the time of day and the time since boot (/proc/uptime, which counts
//! suspended time too). A restart is another /proc/sys/kernel/random/boot_id than the one kept in the state directory.

use std::fs;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News};
use super::proc;
use super::roots::Roots;

/// Reads the time of day, in milliseconds since 1970 UTC.
pub(super) type Wall = fn() -> i64;

/// The system's.
pub(super) fn wall() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// The watcher.
pub(super) struct Clock {
    roots: Roots,
    wall: Wall,
    step_ms: i64,
    difference_ms: Option<i64>,
    kept: PathBuf,
    is_boot_known: bool,
}

impl Clock {
    pub(super) fn new(roots: &Roots, wall: Wall, step_ms: i64, kept: PathBuf) -> Self {
        Clock {
            roots: roots.clone(),
            wall,
            step_ms,
            difference_ms: None,
            kept,
            is_boot_known: false,
        }
    }

    fn restart(&mut self, news: &mut News) -> Result<(), Cause> {
        let id = proc::read(&self.roots.proc.join("sys/kernel/random/boot_id")).unwrap_or_default();
        let id = id.trim();
        self.is_boot_known = true;
        if id.is_empty() {
            return Ok(());
        }
        let before = proc::read(&self.kept);
        if before.as_deref().is_some_and(|before| before.trim() == id) {
            return Ok(());
        }
        if before.is_some() {
            news.tell_always(Change {
                subject: "host".to_owned(),
                detail: "restarted".to_owned(),
                sentence: "the host was restarted".to_owned(),
                time_ms: proc::boot_ms(&self.roots.proc),
            });
        }
        // Under another name first: a torn file would look like another boot.
        let new = self.kept.with_extension("new");
        let written = fs::write(&new, id).and_then(|()| fs::rename(&new, &self.kept));
        written.with_context(|| format!("cannot write {}", self.kept.display()))
    }
}

impl Watch for Clock {
    fn look(&mut self, _now_ms: i64, news: &mut News) -> Result<(), Cause> {
        if let Some(uptime) = proc::uptime_ms(&self.roots.proc) {
            let difference = (self.wall)() - uptime;
            let step =
                self.difference_ms.replace(difference).map_or(0, |before| difference - before);
            if step.abs() >= self.step_ms {
                let detail = if step > 0 { "set forward" } else { "set back" };
                let seconds = step.abs() as f64 / 1000.0;
                news.tell(Change {
                    subject: "clock".to_owned(),
                    detail: detail.to_owned(),
                    sentence: format!("the clock was {detail} by {seconds:.1} s"),
                    time_ms: None,
                });
            }
        }
        if self.is_boot_known { Ok(()) } else { self.restart(news) }
    }
}
