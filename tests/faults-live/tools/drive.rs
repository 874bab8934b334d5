//! A whole run: quiet time first, then one fault after the other; writes the truth beside what the agent says.
//!
//! The two logs are written by a thread of this process, so that steady traffic never has a seam; trouble for the host is
//! done by a child each, killed at its end. One fault at a time: the next waits until no incident is open, within bounds.

use std::fs::{self, File};
use std::io::{Write as _, stderr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use jiff::{Timestamp, Zoned};
use serde::{Deserialize, Serialize};

use crate::application::{Application, NEW, Writer};
use crate::incidents::Follower;
use crate::kinds::{Kind, Planned, schedule};
use crate::traffic::{TICK, Traffic, Web};

/// How often the incidents are looked at: the error of an arrival.
const LOOK: Duration = Duration::from_millis(25);
/// Longest wait, beyond the gap, for incidents to be over.
const PATIENCE: Duration = Duration::from_secs(120);
/// After the last fault.
const AFTER: Duration = Duration::from_secs(30);
/// Ticks that are made up for when the writer did not get the processor.
const BEHIND: u32 = 50;

#[derive(Args)]
pub(crate) struct Options {
    /// Where the logs, the incidents and the truth are
    folder: PathBuf,
    /// The agent's process
    #[arg(long)]
    agent: u32,
    #[arg(long)]
    parent: u32,
    /// Faults of each kind
    #[arg(long, default_value_t = 10)]
    runs: usize,
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seconds without a fault at first
    #[arg(long, default_value_t = 1200)]
    quiet: u64,
    /// Only these kinds
    #[arg(long, value_delimiter = ',')]
    kinds: Vec<Kind>,
    /// A small file system for disk_fill
    #[arg(long)]
    disk: PathBuf,
    /// Most MiB that a leak takes
    #[arg(long, default_value_t = 1536)]
    leak_max: u64,
}

/// A line of the truth.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Truth {
    /// Nothing was done.
    Quiet {
        start_ms: i64,
        end_ms: i64,
    },
    Fault(Fault),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Fault {
    pub(crate) plan: Planned,
    pub(crate) unit: String,
    /// Wall clock, milliseconds since 1970.
    pub(crate) onset_ms: i64,
    pub(crate) end_ms: i64,
    /// The monotonic clock, milliseconds since the run's start.
    pub(crate) onset_mono_ms: u64,
    pub(crate) end_mono_ms: u64,
    /// Incidents that had not ended when it began.
    pub(crate) open_before: Vec<String>,
}

/// What the logs are to be like.
struct Modes {
    web: Mutex<Web>,
    application: Mutex<Application>,
    stop: AtomicBool,
}

fn get<T: Copy>(of: &Mutex<T>) -> T {
    *of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn set<T>(of: &Mutex<T>, to: T) {
    *of.lock().unwrap_or_else(PoisonError::into_inner) = to;
}

/// Ends with its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _nothing_to_do = self.0.wait();
    }
}

struct Run<'a> {
    options: &'a Options,
    start: Instant,
    modes: Arc<Modes>,
    writer: JoinHandle<Result<()>>,
    follower: Follower,
    truth: File,
    notified: usize,
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
    let folder = &options.folder;
    let mut run = Run {
        options,
        start: Instant::now(),
        writer: write_logs(folder, options.seed, Arc::clone(&modes))?,
        modes,
        follower: Follower::new(&folder.join("incidents.jsonl"), &folder.join("arrivals.jsonl"))?,
        truth: File::create(folder.join("truth.jsonl"))?,
        notified: 0,
    };
    let done = run.all(&plan);
    run.modes.stop.store(true, Ordering::Relaxed);
    let written = run.writer.join().map_err(|_| anyhow::anyhow!("the log writer panicked"))?;
    done.and(written)
}

impl Run<'_> {
    fn all(&mut self, plan: &[Planned]) -> Result<()> {
        let rest: f64 = plan.iter().map(|fault| fault.gap + fault.seconds).sum();
        let quiet = Duration::from_secs(self.options.quiet);
        let all = (quiet.as_secs_f64() + rest) / 60.0;
        say(&format!("{} faults; about {all:.0} minutes; quiet at first", plan.len()));
        let start_ms = Timestamp::now().as_millisecond();
        self.wait(quiet)?;
        let end_ms = Timestamp::now().as_millisecond();
        self.tell(&Truth::Quiet { start_ms, end_ms })?;
        for (nth, planned) in plan.iter().enumerate() {
            self.gap(planned.gap)?;
            let before = self.notified;
            let open_before = self.follower.open();
            let fault = self.fault(planned, open_before)?;
            self.tell(&Truth::Fault(fault))?;
            say(&format!(
                "{:6.0} s  {:3} of {}: {} {:.2} {} for {:.0} s; notifications: {}",
                self.start.elapsed().as_secs_f64(),
                nth + 1,
                plan.len(),
                planned.kind.name(),
                planned.strength,
                planned.kind.unit(),
                planned.seconds,
                self.notified - before
            ));
        }
        self.wait(AFTER)
    }

    /// Quiet until incidents are over, but never for ever: what is open then is in the truth.
    fn gap(&mut self, seconds: f64) -> Result<()> {
        self.wait(Duration::from_secs_f64(seconds))?;
        let end = Instant::now() + PATIENCE;
        while !self.follower.open().is_empty() && Instant::now() < end {
            self.wait(LOOK)?;
        }
        Ok(())
    }

    fn fault(&mut self, planned: &Planned, open_before: Vec<String>) -> Result<Fault> {
        let (onset, onset_ms) = (Instant::now(), Timestamp::now().as_millisecond());
        let mut child = self.begin(planned)?;
        let waited = self.wait(Duration::from_secs_f64(planned.seconds));
        let ended = child.as_mut().map(|child| child.0.try_wait()).transpose()?.flatten();
        drop(child);
        set(&self.modes.web, Web::Steady);
        set(&self.modes.application, Application::Steady);
        let (end, end_ms) = (Instant::now(), Timestamp::now().as_millisecond());
        self.clean_up();
        waited?;
        let failed = ended.is_some_and(|status| !status.success());
        ensure!(!failed, "the injector of {} failed", planned.kind.name());
        let since = |moment: Instant| (moment - self.start).as_millis() as u64;
        Ok(Fault {
            plan: planned.clone(),
            unit: planned.kind.unit().to_owned(),
            onset_ms,
            end_ms,
            onset_mono_ms: since(onset),
            end_mono_ms: since(end),
            open_before,
        })
    }

    fn begin(&self, planned: &Planned) -> Result<Option<Killed>> {
        let strength = planned.strength;
        match planned.kind {
            Kind::ErrorFlood => set(&self.modes.web, Web::Errors(strength)),
            Kind::TrafficStop => set(&self.modes.web, Web::Stopped),
            Kind::ClientFlood => set(&self.modes.web, Web::Flood(strength)),
            Kind::SessionCollapse => {
                set(&self.modes.web, Web::Collapsed(strength.round() as usize));
            }
            Kind::NewError => {
                let failing = Application::Failing { error: planned.run, rate: strength };
                set(&self.modes.application, failing);
            }
            Kind::DiskFill => return self.child(planned, &self.options.disk).map(Some),
            Kind::CpuHog | Kind::MemoryLeak | Kind::WriteStorm | Kind::ForkStorm => {
                return self.child(planned, &self.options.folder).map(Some);
            }
        }
        Ok(None)
    }

    fn child(&self, planned: &Planned, folder: &Path) -> Result<Killed> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["inject", planned.kind.name()]);
        command.arg("--strength").arg(planned.strength.to_string());
        command.arg("--seconds").arg(planned.seconds.to_string());
        command.arg("--leak-max").arg(self.options.leak_max.to_string());
        command.arg("--parent").arg(std::process::id().to_string());
        command.arg("--folder").arg(folder).stdin(Stdio::null());
        Ok(Killed(command.spawn().context("cannot start the injector")?))
    }

    /// What injectors leave in their folders.
    fn clean_up(&self) {
        let left = [
            self.options.disk.join("fill"),
            self.options.folder.join("storm.0"),
            self.options.folder.join("storm.1"),
        ];
        for file in left {
            let _there_is_none_after_most_kinds = fs::remove_file(file);
        }
    }

    fn wait(&mut self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        loop {
            self.notified += self.follower.poll()?;
            let agent = fs::exists(format!("/proc/{}", self.options.agent))?;
            ensure!(agent, "the agent has ended");
            ensure!(!self.writer.is_finished(), "the log writer has ended");
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            thread::sleep(LOOK.min(end - now));
        }
    }

    fn tell(&mut self, truth: &Truth) -> Result<()> {
        serde_json::to_writer(&mut self.truth, truth)?;
        self.truth.write_all(b"\n").context("writing the truth")
    }
}

/// The thread that writes both logs.
fn write_logs(folder: &Path, seed: u64, modes: Arc<Modes>) -> Result<JoinHandle<Result<()>>> {
    let append = |name| File::options().append(true).create(true).open(folder.join(name));
    let mut traffic = Traffic::new(append("access.log")?, seed);
    let mut application = Writer::new(append("app.log")?, seed);
    Ok(thread::spawn(move || {
        let mut due = Instant::now();
        while !modes.stop.load(Ordering::Relaxed) {
            let now = Zoned::now();
            traffic.tick(get(&modes.web), &now)?;
            application.tick(get(&modes.application), now.timestamp())?;
            due = (due + TICK).max(Instant::now().checked_sub(TICK * BEHIND).unwrap_or(due));
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        Ok(())
    }))
}

fn say(text: &str) {
    let _nobody_may_read_it = writeln!(stderr(), "{text}");
}
