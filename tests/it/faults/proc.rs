//! A process as the kernel sees it, from outside: memory, descriptors, threads and processor time from /proc, sampled by a
//! thread while a test goes on.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Between two samples.
const PERIOD: Duration = Duration::from_millis(100);

/// One look at a process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) rss_kib: u64,
    /// The most that it ever was.
    pub(crate) hwm_kib: u64,
    pub(crate) threads: u64,
    pub(crate) fds: u64,
}

impl Look {
    /// None when it is gone.
    pub(crate) fn at(pid: i32) -> Option<Look> {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Look {
            rss_kib: value("VmRSS:")?, // a zombie has none
            hwm_kib: value("VmHWM:")?,
            threads: value("Threads:")?,
            fds: std::fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
        })
    }
}

/// Seconds of processor time that a process has used.
pub(crate) fn cpu_seconds(pid: i32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |nth: usize| fields.get(nth).and_then(|text| text.parse::<f64>().ok());
    ticks(11).zip(ticks(12)).map_or(0.0, |(user, system)| (user + system) / 100.0)
}

/// Whether a process holds a file open that begins with this path, deleted or not.
pub(crate) fn holds(pid: i32, path: &Path) -> bool {
    let wanted = path.display().to_string();
    let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    fds.filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .any(|target| target.display().to_string().starts_with(&wanted))
}

/// Processes whose parent is this one.
pub(crate) fn children() -> Vec<i32> {
    let own = std::process::id().to_string();
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let parent = |pid: i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit(')').next()?.split_whitespace().nth(1).map(str::to_owned)
    };
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| parent(*pid).as_deref() == Some(&own))
        .collect()
}

/// The samples of one process; of the one after it, when it was started again.
#[derive(Debug)]
pub(crate) struct Sampler {
    pid: Arc<AtomicI32>,
    stop: Arc<AtomicBool>,
    looks: Arc<Mutex<Vec<(Instant, Look)>>>,
}

impl Sampler {
    pub(crate) fn start(pid: i32) -> Sampler {
        let sampler = Sampler {
            pid: Arc::new(AtomicI32::new(pid)),
            stop: Arc::default(),
            looks: Arc::default(),
        };
        let (pid, stop) = (Arc::clone(&sampler.pid), Arc::clone(&sampler.stop));
        let looks = Arc::clone(&sampler.looks);
        std::thread::spawn(move || {
            while !stop.load(SeqCst) {
                if let Some(look) = Look::at(pid.load(SeqCst)) {
                    looks.lock().unwrap().push((Instant::now(), look));
                }
                std::thread::sleep(PERIOD);
            }
        });
        sampler
    }

    /// It was started again under this number.
    pub(crate) fn follow(&self, pid: i32) {
        self.pid.store(pid, SeqCst);
    }

    /// The most of each that was seen.
    pub(crate) fn most(&self) -> Look {
        let looks = self.looks.lock().unwrap();
        looks.iter().fold(Look::default(), |most, (_, look)| Look {
            rss_kib: most.rss_kib.max(look.rss_kib),
            hwm_kib: most.hwm_kib.max(look.hwm_kib),
            threads: most.threads.max(look.threads),
            fds: most.fds.max(look.fds),
        })
    }

    /// KiB an hour that the memory grew by since `from`: a line through the least of each tenth of the time.
    pub(crate) fn slope_kib_per_hour(&self, from: Instant) -> f64 {
        let looks = self.looks.lock().unwrap();
        let looks: Vec<(f64, f64)> = looks
            .iter()
            .filter(|(time, _)| *time >= from)
            .map(|(time, look)| ((*time - from).as_secs_f64() / 3600.0, look.rss_kib as f64))
            .collect();
        let part = looks.len().div_ceil(10).max(1);
        let least = |part: &[(f64, f64)]| {
            part.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default()
        };
        let points: Vec<(f64, f64)> = looks.chunks(part).map(least).collect();
        let count = points.len() as f64;
        let mean = |value: fn(&(f64, f64)) -> f64| points.iter().map(value).sum::<f64>() / count;
        let (x, y) = (mean(|point| point.0), mean(|point| point.1));
        let over: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
        let under: f64 = points.iter().map(|point| (point.0 - x).powi(2)).sum();
        if under == 0.0 { 0.0 } else { over / under }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}
