//! One fault test: switched on by `SENTINEL_FAULTS`, with a seed, a folder, a limit of time, and a row for the report.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::proc;
use crate::live::disorder::Random;

/// How much is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// All tests in eight minutes.
    Short,
    /// The numbers of reference/reliability-and-performance.md F.
    Full,
    /// The soak alone, for as long as it takes.
    Soak,
}

/// Seconds that a test may take before it is ended: short, and full or soak.
pub(crate) struct Limits(pub(crate) u64, pub(crate) u64);

/// What a test gets.
pub(crate) struct Case {
    pub(crate) size: Size,
    pub(crate) seed: u64,
    /// An empty folder that everybody may pass through.
    pub(crate) folder: PathBuf,
    numbers: Arc<Mutex<Vec<String>>>,
    skipped: Arc<Mutex<Option<String>>>,
}

impl Case {
    /// One of two values.
    pub(crate) fn pick<T>(&self, short: T, full: T) -> T {
        if self.size == Size::Short { short } else { full }
    }

    /// The same draws for the same seed.
    pub(crate) fn random(&self) -> Random {
        Random(self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number that was seen: printed, and in the report.
    pub(crate) fn saw(&self, text: impl Into<String>) {
        let text = text.into();
        eprintln!("  saw {text}");
        self.numbers.lock().unwrap().push(text);
    }

    /// It is not judged here, and why: said, and in the report.
    pub(crate) fn skip(&self, why: &str) {
        eprintln!("  NOT RUN: {why}");
        *self.skipped.lock().unwrap() = Some(why.to_owned());
    }

    /// A folder in the test's own.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.folder.join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}

fn size() -> Option<Size> {
    match std::env::var("SENTINEL_FAULTS").ok()?.as_str() {
        "short" => Some(Size::Short),
        "full" => Some(Size::Full),
        "soak" => Some(Size::Soak),
        other => panic!("SENTINEL_FAULTS={other}: short, full or soak"),
    }
}

fn seed() -> u64 {
    match std::env::var("SENTINEL_FAULT_SEED") {
        Ok(text) => text.parse().expect("SENTINEL_FAULT_SEED is a number"),
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            u64::from(now.subsec_nanos()) % 1_000_000
        }
    }
}

/// Runs a test on a thread of its own. When its time is up, what it started is killed, and it fails.
pub(crate) fn run(name: &'static str, limits: &Limits, body: fn(&Case)) {
    let Some(size) = size() else {
        eprintln!("SENTINEL_FAULTS is not set: faults::{name} did not run");
        return;
    };
    if size == Size::Soak && name != "soak" {
        eprintln!("SENTINEL_FAULTS=soak runs the soak alone: faults::{name} did not run");
        return;
    }
    let limit = Duration::from_secs(if size == Size::Short { limits.0 } else { limits.1 });
    let folder = tempfile::tempdir().unwrap();
    everybody_may_pass(folder.path());
    let case = Case {
        size,
        seed: seed(),
        folder: folder.path().to_owned(),
        numbers: Arc::default(),
        skipped: Arc::default(),
    };
    let (numbers, skipped) = (Arc::clone(&case.numbers), Arc::clone(&case.skipped));
    let (seed, started) = (case.seed, Instant::now());
    eprintln!("faults::{name}, {size:?}, SENTINEL_FAULT_SEED={seed}, at most {limit:?}");
    let thread = std::thread::Builder::new().name(name.to_owned());
    let thread = thread.spawn(move || body(&case)).unwrap();
    while !thread.is_finished() && started.elapsed() < limit {
        std::thread::sleep(Duration::from_millis(20));
    }
    let late = !thread.is_finished();
    if late {
        eprintln!("faults::{name} is still running after {limit:?}: what it started is killed");
        let patience = Instant::now() + Duration::from_secs(15);
        while !thread.is_finished() && Instant::now() < patience {
            for child in proc::children() {
                crate::live::stack::signal(child, "KILL");
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
    let ended = thread.is_finished().then(|| thread.join());
    let verdict = match &ended {
        _ if late => format!("FAILED: not done within {limit:?}"),
        Some(Err(panic)) => format!("FAILED: {}", first_line(panic.as_ref())),
        _ => match skipped.lock().unwrap().as_deref() {
            Some(why) => format!("NOT RUN: {why}"),
            None => "passed".to_owned(),
        },
    };
    let numbers = numbers.lock().unwrap().join("; ");
    report(&[
        name,
        &seed.to_string(),
        &started.elapsed().as_secs().to_string(),
        &numbers,
        &verdict,
    ]);
    assert!(!late, "faults::{name} was not done within {limit:?}, seed {seed}");
    if let Some(Err(panic)) = ended {
        std::panic::resume_unwind(panic);
    }
}

fn first_line(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
    text.lines().next().unwrap_or_default().chars().take(300).collect()
}

/// A row of the table that `tests/run faults --full` makes.
fn report(cells: &[&str]) {
    let Some(path) = std::env::var_os("SENTINEL_FAULT_REPORT") else { return };
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "/")).collect();
    let row = format!("| {} |\n", cells.join(" | "));
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    std::io::Write::write_all(&mut file.unwrap(), row.as_bytes()).unwrap();
}

fn everybody_may_pass(folder: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755)).unwrap();
}
