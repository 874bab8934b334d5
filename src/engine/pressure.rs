//! Measures how short the host is, and sets the level at which the agent makes room for it.
//!
//! From pressure stall information (Documentation/accounting/psi.rst of the kernel): the share of the last ten seconds
//! in which some tasks, or all tasks that were not idle (`full`), waited for a resource. A kernel without it (built
//! without, or booted with `psi=0`) thins nothing, which is said once at debug level. Disks are not asked: a backup
//! keeps them busy for hours, and neither trainings nor the metrics of processes wait for disks.
//!
//! The thresholds, in percent of time:
//! - *memory, some*: 10 for models, 30 for processes. A host that has enough is at 0; one that reads back its own program
//!   text is above 10 within seconds, and a training's megabytes are what it lacks.
//! - *memory, full*: 5 and 15. Nothing at all went on for that share; systemd-oomd begins to kill at 60.
//! - *cpu, some*: 80 and 95. Work for each processor and one task more is 50 to 70, which is a busy host and no short one:
//!   trainings have the lowest priority anyway. Beyond 80 they would only make the queue longer. `full` of cpu means
//!   nothing for a whole host.
//!
//! The level rises at the first look, for the ten seconds are an average already. It falls when everything has been
//! below half of the level's thresholds for a minute, so that it does not swing with its own effect.

use std::io::ErrorKind;
use std::path::Path;
use std::time::Duration;

use sentinel_contract::Pressure;
use sentinel_contract::pressure::Level;

/// How often it looks; the window of the averages.
const LOOK: Duration = Duration::from_secs(10);
/// Looks in a row that must be below the lower thresholds: a minute.
const CALM_LOOKS: u32 = 6;

/// Percent of the last ten seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Reading {
    memory_some: f64,
    memory_full: f64,
    cpu_some: f64,
}

/// From this on.
const MODELS: Reading = Reading { memory_some: 10.0, memory_full: 5.0, cpu_some: 80.0 };
const PROCESSES: Reading = Reading { memory_some: 30.0, memory_full: 15.0, cpu_some: 95.0 };

impl Reading {
    /// `None`: this kernel does not tell.
    fn of(folder: &Path) -> std::io::Result<Option<Self>> {
        let memory = std::fs::read_to_string(folder.join("memory"))?;
        let cpu = std::fs::read_to_string(folder.join("cpu"))?;
        let fields = (avg10(&memory, "some"), avg10(&memory, "full"), avg10(&cpu, "some"));
        let (Some(memory_some), Some(memory_full), Some(cpu_some)) = fields else {
            return Ok(None);
        };
        Ok(Some(Reading { memory_some, memory_full, cpu_some }))
    }

    /// What it asks for, with the thresholds multiplied by `factor`.
    fn level(self, factor: f64) -> Level {
        let reaches = |limit: Reading| {
            self.memory_some >= limit.memory_some * factor
                || self.memory_full >= limit.memory_full * factor
                || self.cpu_some >= limit.cpu_some * factor
        };
        match (reaches(PROCESSES), reaches(MODELS)) {
            (true, _) => Level::Processes,
            (_, true) => Level::Models,
            _ => Level::None,
        }
    }
}

/// `some avg10=0.12 avg60=0.03 avg300=0.00 total=1234`: the first number of the line of that kind.
fn avg10(text: &str, kind: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(kind)?.strip_prefix(" avg10="))?;
    let value: f64 = line.split_ascii_whitespace().next()?.parse().ok()?;
    value.is_finite().then_some(value)
}

/// The level, and how long less would have done.
#[derive(Default)]
struct Gauge {
    level: Level,
    calm: u32,
}

impl Gauge {
    /// The level after one more look.
    fn look(&mut self, reading: Reading) -> Level {
        let (up, down) = (reading.level(1.0), reading.level(0.5));
        if up > self.level {
            (self.level, self.calm) = (up, 0);
        } else if down < self.level {
            self.calm += 1;
            if self.calm >= CALM_LOOKS {
                (self.level, self.calm) = (down, 0);
            }
        } else {
            self.calm = 0;
        }
        self.level
    }
}

/// Looks every ten seconds, for ever; ends where the kernel does not tell.
pub async fn watch(pressure: Pressure) {
    watch_in(Path::new("/proc/pressure"), pressure).await;
}

pub(crate) async fn watch_in(folder: &Path, pressure: Pressure) {
    let mut gauge = Gauge::default();
    let mut clock = tokio::time::interval(LOOK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let reading = match Reading::of(folder) {
            Ok(Some(reading)) => reading,
            Ok(None) => Reading::default(), // another form than the documented one
            // With `psi=0` the files are there and cannot be read.
            Err(error) if error.kind() != ErrorKind::Interrupted => {
                tracing::debug!(%error, "no pressure stall information: nothing is thinned");
                pressure.set(Level::None);
                return;
            }
            Err(_) => continue,
        };
        let before = pressure.level();
        let level = gauge.look(reading);
        if level != before {
            pressure.set(level);
            say(level, before, reading);
        }
    }
}

fn say(level: Level, before: Level, reading: Reading) {
    let Reading { memory_some, memory_full, cpu_some } = reading;
    let words = match level {
        Level::None => "the host is no longer short: all work goes on",
        Level::Models => {
            "the host is short: trainings and the reading of the past wait (for some hours at most)"
        }
        Level::Processes => {
            "the host is very short: trainings wait, and the metrics of processes pause"
        }
    };
    if level > before {
        tracing::warn!(memory_some, memory_full, cpu_some, "{words}");
    } else {
        tracing::info!(memory_some, memory_full, cpu_some, "{words}");
    }
}

#[cfg(test)]
mod tests;
