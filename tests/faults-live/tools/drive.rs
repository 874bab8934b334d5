//! A whole run: two timelines at once, faults of the host on one and faults in the logs on the other.
//!
//! The two logs are written by a thread of this process, so that steady traffic never has a seam; trouble for the host is
//! done by a child each, killed at its end. Each timeline is a thread (`timeline`).

use std::fs::File;
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use jiff::Zoned;

use crate::application::{Application, NEW, Writer};
use crate::kinds::{Kind, Planned, Timeline, schedule};
use crate::timeline::Run;
use crate::traffic::{TICK, Traffic, Web};

/// Ticks that are made up for when the writer did not get the processor.
const BEHIND: u32 = 50;

#[derive(Args)]
pub(crate) struct Options {
    /// Where the logs are, and a folder for each timeline
    pub(crate) folder: PathBuf,
    /// The process of the agent that watches the host
    #[arg(long)]
    pub(crate) host_agent: u32,
    /// The process of the agent that watches the logs
    #[arg(long)]
    pub(crate) logs_agent: u32,
    #[arg(long)]
    pub(crate) parent: u32,
    /// Faults of each kind
    #[arg(long, default_value_t = 10)]
    pub(crate) runs: usize,
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Seconds without a fault at first
    #[arg(long, default_value_t = 1200)]
    pub(crate) quiet: u64,
    /// Seconds after the end of an incident in which what comes is the same incident
    #[arg(long, default_value_t = 50)]
    pub(crate) settle: u64,
    /// Only these kinds
    #[arg(long, value_delimiter = ',')]
    pub(crate) kinds: Vec<Kind>,
    /// A small file system for disk_fill
    #[arg(long)]
    pub(crate) disk: PathBuf,
    /// Most MiB that a leak takes
    #[arg(long, default_value_t = 1536)]
    pub(crate) leak_max: u64,
}

/// What the logs are to be like; and whether somebody has ended for whom the others must not go on.
pub(crate) struct Modes {
    pub(crate) web: Mutex<Web>,
    pub(crate) application: Mutex<Application>,
    pub(crate) stop: AtomicBool,
}

fn get<T: Copy>(of: &Mutex<T>) -> T {
    *of.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn set<T>(of: &Mutex<T>, to: T) {
    *of.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// Runs the whole schedule.
pub(crate) fn run(options: &Options) -> Result<()> {
    crate::inject::die_with(options.parent)?;
    ensure!(options.runs <= NEW.len(), "at most {} runs: there are no more new errors", NEW.len());
    let kinds = if options.kinds.is_empty() { &Kind::ALL[..] } else { &options.kinds };
    let plan = schedule(kinds, options.runs, options.seed);
    let modes = Arc::new(Modes {
        web: Mutex::new(Web::Steady),
        application: Mutex::new(Application::Steady),
        stop: AtomicBool::new(false),
    });
    let writer = write_logs(&options.folder, options.seed, Arc::clone(&modes))?;
    let timeline = |of: Timeline| {
        let plan: Vec<Planned> =
            plan.iter().filter(|fault| fault.kind.timeline() == of).cloned().collect();
        let done = Run::new(of, options, &modes).and_then(|mut run| run.all(&plan));
        if let Err(error) = &done {
            let _nobody_may_read_it = writeln!(stderr(), "{}: {error:#}", of.name());
            modes.stop.store(true, Ordering::Relaxed);
        }
        done
    };
    let done = thread::scope(|scope| {
        let both = Timeline::ALL.map(|of| scope.spawn(move || timeline(of)));
        both.map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a timeline panicked"))))
    });
    modes.stop.store(true, Ordering::Relaxed);
    let written = writer.join().map_err(|_| anyhow!("the log writer panicked"))?;
    written.and(done.into_iter().collect())
}

/// The thread that writes both logs.
fn write_logs(folder: &Path, seed: u64, modes: Arc<Modes>) -> Result<JoinHandle<Result<()>>> {
    let append = |name| File::options().append(true).create(true).open(folder.join(name));
    let mut traffic = Traffic::new(append("access.log")?, seed);
    let mut application = Writer::new(append("app.log")?, seed);
    let mut write = move |modes: &Modes| {
        let mut due = Instant::now();
        while !modes.stop.load(Ordering::Relaxed) {
            let now = Zoned::now();
            traffic.tick(get(&modes.web), &now)?;
            application.tick(get(&modes.application), now.timestamp())?;
            due = (due + TICK).max(Instant::now().checked_sub(TICK * BEHIND).unwrap_or(due));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    };
    Ok(thread::spawn(move || {
        let done = write(&modes);
        modes.stop.store(true, Ordering::Relaxed);
        done
    }))
}
