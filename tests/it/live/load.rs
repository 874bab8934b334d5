//! A program that logs: numbered lines at a steady pace, some of them equal, and its file rotated as logrotate does.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Every tenth line is this one, many times within each second.
pub(crate) const SAME: &str = "a line that is written again and again, word for word";

/// How long a program takes to notice that its file was renamed.
const UNNOTICED: Duration = Duration::from_millis(150);

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Written {
    /// Numbered lines, from 0.
    pub(crate) numbered: u64,
    /// Lines that are all the same.
    pub(crate) same: u64,
}

impl Written {
    pub(crate) fn all(self) -> u64 {
        self.numbered + self.same
    }
}

struct Out {
    file: File,
    written: Written,
    put: Put,
}

/// Appends the next line, with its end, and counts it.
pub(crate) type Put = Box<dyn FnMut(&mut Written, &mut String) + Send>;

/// The running program.
pub(crate) struct Writer {
    path: PathBuf,
    out: Arc<Mutex<Out>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    started: Instant,
}

impl Writer {
    /// Starts to write about `rate` lines a second.
    pub(crate) fn start(path: &Path, rate: u64) -> Writer {
        Writer::with(path, rate, Box::new(put_line))
    }

    /// The same with other lines.
    pub(crate) fn with(path: &Path, rate: u64, put: Put) -> Writer {
        let out = Out { file: open(path), written: Written::default(), put };
        let (out, stop) = (Arc::new(Mutex::new(out)), Arc::new(AtomicBool::new(false)));
        let started = Instant::now();
        let (writes, stops) = (Arc::clone(&out), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stops.load(SeqCst) {
                std::thread::sleep(Duration::from_millis(10));
                let due = (started.elapsed().as_secs_f64() * rate as f64) as u64;
                let mut out = writes.lock().unwrap();
                // After a pause it does not write all at once.
                let most = out.written.all() + rate / 10;
                write_up_to(&mut out, due.min(most));
            }
        });
        Writer { path: path.to_owned(), out, stop, thread: Some(thread), started }
    }

    /// logrotate without an option: renames `x` to `x.1` (and `x.1` to `x.2`), the program goes on in the renamed
    /// file, and then opens a new one.
    pub(crate) fn rename_and_create(&self) {
        self.make_room();
        std::fs::rename(&self.path, self.rotated(1)).unwrap();
        std::thread::sleep(UNNOTICED);
        self.out.lock().unwrap().file = open(&self.path);
    }

    /// Renames the file to `to`, and goes on in a new one at once.
    pub(crate) fn rename_to(&self, to: &Path) {
        let mut out = self.out.lock().unwrap();
        std::fs::rename(&self.path, to).unwrap();
        out.file = open(&self.path);
    }

    /// logrotate's `copytruncate`. What is written between the copy and the truncation is lost whoever reads: the
    /// program is held meanwhile, so that every loss is the reader's.
    pub(crate) fn copy_and_truncate(&self) {
        self.make_room();
        let out = self.out.lock().unwrap();
        std::fs::copy(&self.path, self.rotated(1)).unwrap();
        out.file.set_len(0).unwrap();
    }

    fn rotated(&self, number: u32) -> PathBuf {
        PathBuf::from(format!("{}.{number}", self.path.display()))
    }

    fn make_room(&self) {
        for number in (1..99).rev() {
            if self.rotated(number).exists() {
                std::fs::rename(self.rotated(number), self.rotated(number + 1)).unwrap();
            }
        }
    }

    pub(crate) fn numbered(&self) -> u64 {
        self.out.lock().unwrap().written.numbered
    }

    /// Stops; all that it wrote, and its lines a second.
    pub(crate) fn finish(mut self) -> (Written, f64) {
        self.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
        let written = self.out.lock().unwrap().written;
        (written, written.all() as f64 / self.started.elapsed().as_secs_f64())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
    }
}

fn open(path: &Path) -> File {
    OpenOptions::new().create(true).append(true).open(path).unwrap()
}

/// One write that ends within a line, and one for the rest.
fn write_up_to(out: &mut Out, due: u64) {
    let mut text = String::new();
    while out.written.all() < due {
        (out.put)(&mut out.written, &mut text);
    }
    let middle = text.len().saturating_sub(40);
    out.file.write_all(&text.as_bytes()[..middle]).unwrap();
    out.file.write_all(&text.as_bytes()[middle..]).unwrap();
}

/// Every tenth line is [`SAME`], the others are numbered.
fn put_line(written: &mut Written, text: &mut String) {
    if written.all() % 10 == 9 {
        written.same += 1;
        text.push_str(SAME);
    } else {
        let number = written.numbered;
        written.numbered += 1;
        let (item, bytes) = (number % 997, number * 31 % 8192);
        let kind = "\"a browser of some kind\"";
        write!(text, "{number:08} GET /shop/item/{item} 200 {bytes} {kind}").unwrap();
    }
    text.push('\n');
}

/// What was found of what was written.
#[derive(Debug)]
pub(crate) struct Count {
    pub(crate) lines: u64,
    pub(crate) distinct: u64,
    pub(crate) same: u64,
    /// Numbers that are missing, the first few.
    pub(crate) missing: Vec<u64>,
    /// Lines that nobody wrote, the first few.
    pub(crate) strange: Vec<String>,
    /// Numbered lines that came after a later one.
    pub(crate) backwards: u64,
}

/// Counts lines, in the order in which they were found.
pub(crate) fn count<'a>(lines: impl Iterator<Item = &'a str>, written: Written) -> Count {
    let mut count =
        Count { lines: 0, distinct: 0, same: 0, missing: vec![], strange: vec![], backwards: 0 };
    let (mut seen, mut last) = (BTreeSet::<u64>::new(), None);
    for line in lines {
        count.lines += 1;
        if line == SAME {
            count.same += 1;
            continue;
        }
        let number = line.split(' ').next().and_then(|number| number.parse().ok());
        let Some(number) = number.filter(|_| line.ends_with("kind\"")) else {
            count.strange.push(line.chars().take(200).collect());
            continue;
        };
        count.backwards += u64::from(last.is_some_and(|last| number < last));
        last = Some(number);
        seen.insert(number);
    }
    count.distinct = seen.len() as u64;
    count.missing = (0..written.numbered).filter(|number| !seen.contains(number)).collect();
    count.missing.truncate(20);
    count.strange.truncate(5);
    count
}

impl Count {
    /// Every line once, in order.
    pub(crate) fn is_exact(&self, written: Written) -> bool {
        self.holds_all(written) && self.lines == written.all() && self.backwards == 0
    }

    /// Every line at least once, and nothing else.
    pub(crate) fn holds_all(&self, written: Written) -> bool {
        self.distinct == written.numbered
            && self.missing.is_empty()
            && self.same >= written.same
            && self.strange.is_empty()
    }

    /// Lines that came more than once.
    pub(crate) fn again(&self, written: Written) -> u64 {
        self.lines.saturating_sub(written.all())
    }
}
