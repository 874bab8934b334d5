//! One timeline: quiet time, then one fault after the other; writes the truth beside what its agent says.
//!
//! One fault at a time: the next waits, within bounds, until no incident of this timeline is open, and until one that comes is no
//! relapse of the last: by the detector's rules a relapse is the same incident and calls nobody again, so that a fault
//! in that time could only be missed. The other timeline is not waited for.

use std::fs::{self, File};
use std::io::{Write as _, stderr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use jiff::Timestamp;

use crate::application::Application;
use crate::drive::{Modes, Options, set};
use crate::incidents::Follower;
use crate::kinds::{Kind, Planned, Timeline};
use crate::traffic::Web;
use crate::truth::{Fault, Truth};

/// How often the incidents are looked at: the error of an arrival.
const LOOK: Duration = Duration::from_millis(25);
/// Longest wait, beyond the gap, for incidents to be over and forgotten.
const PATIENCE: Duration = Duration::from_secs(120);
/// After the last fault.
const AFTER: Duration = Duration::from_secs(30);
/// Seconds from the end of a fault until its incident is over, for the estimate: ten low frames, and averages that run out.
const RECOVERY: f64 = 15.0;

/// Ends with its owner.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _it_may_have_ended = self.0.kill();
        let _nothing_to_do = self.0.wait();
    }
}

pub(crate) struct Run<'a> {
    timeline: Timeline,
    options: &'a Options,
    modes: Arc<Modes>,
    agent: u32,
    start: Instant,
    follower: Follower,
    truth: File,
    notified: usize,
}

impl<'a> Run<'a> {
    /// Its files are in the folder of the timeline's name.
    pub(crate) fn new(
        timeline: Timeline,
        options: &'a Options,
        modes: &Arc<Modes>,
    ) -> Result<Self> {
        let folder = options.folder.join(timeline.name());
        let agent = match timeline {
            Timeline::Host => options.host_agent,
            Timeline::Logs => options.logs_agent,
        };
        Ok(Run {
            timeline,
            options,
            modes: Arc::clone(modes),
            agent,
            start: Instant::now(),
            follower: Follower::new(
                &folder.join("incidents.jsonl"),
                &folder.join("arrivals.jsonl"),
            )?,
            truth: File::create(folder.join("truth.jsonl"))?,
            notified: 0,
        })
    }

    /// Quiet time, and all of the plan.
    pub(crate) fn all(&mut self, plan: &[Planned]) -> Result<()> {
        let (name, settle) = (self.timeline.name(), self.options.settle as f64);
        let quiet = Duration::from_secs(self.options.quiet);
        let minutes =
            |waits: f64| (quiet + AFTER).as_secs_f64() / 60.0 + seconds(plan, waits) / 60.0;
        say(&format!(
            "{name}: {} faults; about {:.0} minutes when all are found, {:.0} when none is; quiet at first",
            plan.len(),
            minutes(RECOVERY + settle),
            minutes(0.0)
        ));
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
            let rest = seconds(&plan[nth + 1..], RECOVERY + settle) + AFTER.as_secs_f64();
            say(&format!(
                "{:6.0} s  {name} {:2} of {}: {} {:.2} {} for {:.0} s; notifications: {}; at most about {:.0} minutes left",
                self.start.elapsed().as_secs_f64(),
                nth + 1,
                plan.len(),
                planned.kind.name(),
                planned.strength,
                planned.kind.unit(),
                planned.seconds,
                self.notified - before,
                rest / 60.0
            ));
        }
        self.wait(AFTER)
    }

    /// Quiet until incidents are over, but never for ever: what is open then is in the truth.
    fn gap(&mut self, seconds: f64) -> Result<()> {
        self.wait(Duration::from_secs_f64(seconds))?;
        let settle = Duration::from_secs(self.options.settle);
        let end = Instant::now() + PATIENCE;
        while !self.follower.is_settled(settle) && Instant::now() < end {
            self.wait(LOOK)?;
        }
        Ok(())
    }

    fn fault(&mut self, planned: &Planned, open_before: Vec<String>) -> Result<Fault> {
        let (onset, onset_ms) = (Instant::now(), Timestamp::now().as_millisecond());
        self.tell(&Truth::Begun { start_ms: onset_ms })?;
        let mut child = self.begin(planned)?;
        let waited = self.wait(Duration::from_secs_f64(planned.seconds));
        let ended = child.as_mut().map(|child| child.0.try_wait()).transpose()?.flatten();
        drop(child);
        if self.timeline == Timeline::Logs {
            set(&self.modes.web, Web::Steady);
            set(&self.modes.application, Application::Steady);
        }
        let (end, end_ms) = (Instant::now(), Timestamp::now().as_millisecond());
        if self.timeline == Timeline::Host {
            self.clean_up();
        }
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
            let agent = fs::exists(format!("/proc/{}", self.agent))?;
            ensure!(agent, "the agent of the timeline {} has ended", self.timeline.name());
            let stopped = self.modes.stop.load(Ordering::Relaxed);
            ensure!(!stopped, "the log writer or the other timeline has ended too early");
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            thread::sleep(LOOK.min(end - now));
        }
    }

    fn tell(&mut self, truth: &Truth) -> Result<()> {
        let mut line = serde_json::to_vec(truth)?;
        line.push(b'\n');
        self.truth.write_all(&line).context("writing the truth")
    }
}

/// Seconds that the plan takes when each gap lasts at least `waits`.
fn seconds(plan: &[Planned], waits: f64) -> f64 {
    plan.iter().map(|fault| fault.gap.max(waits) + fault.seconds).sum()
}

fn say(text: &str) {
    let _nobody_may_read_it = writeln!(stderr(), "{text}");
}
