//! Processes that grew: in memory, in processor time, in number. By name (`comm`), from /proc/PID/stat; forks from
//! /proc/stat.
//!
//! Growth is against the least of the last five minutes, use of the processor against what is usual (a moving average
//! over ten minutes). What grew is told once, and again when it has grown by half again.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;

use foldhash::fast::FixedState;
use sentinel_contract::Cause;

use super::Watch;
use super::news::{Change, News, bytes};
use super::proc::{self, Stat};
use super::roots::Roots;
use super::units::TICKS;

/// Processes read at one look.
const MAX_PROCESSES: usize = 20_000;
/// Names kept.
const MAX_NAMES: usize = 4000;
/// Between two remembered looks, and how many are remembered: five minutes.
const REMEMBER_MS: i64 = 60_000;
const REMEMBERED: usize = 5;
/// The moving averages forget in this time.
const USUAL_MS: f64 = 600_000.0;
/// Memory that processes of one name may share, each: what is counted of it grows with their number.
const SHARED_BYTES: u64 = 4 << 20;
/// Less memory is not remembered.
const LEAST_BYTES: u64 = 32 << 20;
/// More processes of one name than before, and this many times as many, are told.
const MORE_PROCESSES: u64 = 100;
/// Looks for which the processor must be used.
const BUSY_LOOKS: u32 = 2;
/// A rate of forks must be so many times the usual.
const STORM: f64 = 5.0;

type Names<T> = HashMap<Box<str>, T, FixedState>;

/// What is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes that a name grew by.
    pub(super) memory: u64,
    /// Processors that a name uses.
    pub(super) cores: f64,
    /// New processes a second.
    pub(super) forks: f64,
}

/// All processes of a name.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    bytes: u64,
    count: u64,
    new: u64,
    ticks: u64,
}

/// What is known of a name that uses the processor.
#[derive(Clone, Copy, Debug, Default)]
struct Busy {
    usual: f64,
    looks: u32,
    is_told: bool,
}

/// The watcher.
pub(super) struct Processes {
    roots: Roots,
    limits: Limits,
    page: u64,
    /// By process: start and ticks used.
    ticks: HashMap<u32, (u64, u64), FixedState>,
    newest: u64,
    /// Memory and number by name, the oldest first.
    past: VecDeque<(i64, Names<(u64, u64)>)>,
    busy: Names<Busy>,
    /// What was last told of a name: bytes, processes.
    told: Names<(u64, u64)>,
    last_ms: Option<i64>,
    forks: Option<u64>,
    usual_forks: Option<f64>,
    is_storm: bool,
}

impl Processes {
    pub(super) fn new(roots: &Roots, limits: Limits) -> Self {
        Processes {
            roots: roots.clone(),
            limits,
            page: page_size(),
            ticks: HashMap::default(),
            newest: 0,
            past: VecDeque::new(),
            busy: Names::default(),
            told: Names::default(),
            last_ms: None,
            forks: None,
            usual_forks: None,
            is_storm: false,
        }
    }

    fn scan(&mut self) -> Names<Sum> {
        let mut sums: Names<Sum> = Names::default();
        let mut ticks = HashMap::default();
        let mut newest = self.newest;
        let entries = fs::read_dir(&self.roots.proc).into_iter().flatten().flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        for pid in pids.take(MAX_PROCESSES) {
            let Some(Stat { comm, cpu_ticks, start_ticks, rss_pages }) =
                proc::stat_of(&self.roots.proc, pid)
            else {
                continue;
            };
            let before = self.ticks.get(&pid).filter(|(start, _)| *start == start_ticks);
            // One that is new has used what it has used since the look before.
            let is_new = start_ticks > self.newest;
            let used = before.map_or(if is_new { cpu_ticks } else { 0 }, |(_, used)| {
                cpu_ticks.saturating_sub(*used)
            });
            newest = newest.max(start_ticks);
            ticks.insert(pid, (start_ticks, cpu_ticks));
            if sums.len() >= MAX_NAMES && !sums.contains_key(comm.as_str()) {
                continue;
            }
            let sum = sums.entry(comm.into()).or_default();
            sum.bytes += rss_pages.saturating_mul(self.page);
            sum.count += 1;
            sum.new += u64::from(is_new);
            sum.ticks += used;
        }
        (self.ticks, self.newest) = (ticks, newest);
        sums
    }

    fn growth(&mut self, now_ms: i64, sums: &Names<Sum>, news: &mut News) {
        if !self.past.is_empty() {
            for (name, sum) in sums {
                self.memory(name, *sum, news);
                self.number(name, *sum, news);
            }
        }
        let is_due =
            self.past.back().is_none_or(|(then, _)| now_ms - then >= REMEMBER_MS || now_ms < *then);
        if is_due {
            let worth = |sum: &Sum| sum.bytes >= LEAST_BYTES || sum.count > 10;
            let worthy = sums.iter().filter(|(_, sum)| worth(sum));
            self.past.push_back((
                now_ms,
                worthy.map(|(name, sum)| (name.clone(), (sum.bytes, sum.count))).collect(),
            ));
            if self.past.len() > REMEMBERED {
                self.past.pop_front();
            }
        }
        self.told.retain(|name, (bytes, count)| {
            sums.get(name).is_some_and(|sum| sum.bytes * 2 >= *bytes && sum.count * 2 >= *count)
        });
    }

    /// The least that a name had in the looks that are remembered.
    fn least(&self, name: &str) -> (u64, u64) {
        let of = |names: &Names<(u64, u64)>| names.get(name).copied().unwrap_or((0, 0));
        let least = |a: (u64, u64), b: (u64, u64)| (a.0.min(b.0), a.1.min(b.1));
        self.past.iter().map(|(_, names)| of(names)).reduce(least).unwrap_or((0, 0))
    }

    fn minutes(&self, now_ms: i64) -> i64 {
        self.past.front().map_or(1, |(then, _)| ((now_ms - then) / 60_000).max(1))
    }

    fn memory(&mut self, name: &str, sum: Sum, news: &mut News) {
        let (before, count) = self.least(name);
        let grew = sum.bytes.saturating_sub(before);
        let own = grew.saturating_sub(sum.count.saturating_sub(count.max(1)) * SHARED_BYTES);
        let told = self.told.get(name).map_or(0, |told| told.0);
        let is_much = own >= self.limits.memory && sum.bytes >= before + before / 3;
        if !is_much || sum.bytes < told + told / 2 {
            return;
        }
        self.told.entry(name.into()).or_default().0 = sum.bytes;
        let minutes = self.minutes(self.last_ms.unwrap_or(0));
        let minutes =
            if minutes == 1 { "a minute".to_owned() } else { format!("{minutes} minutes") };
        news.tell(Change {
            subject: name.to_owned(),
            detail: "grew in memory".to_owned(),
            sentence: format!(
                "{name} grew by {} to {} within {minutes}",
                bytes(grew),
                bytes(sum.bytes)
            ),
            time_ms: None,
        });
    }

    fn number(&mut self, name: &str, sum: Sum, news: &mut News) {
        let before = self.least(name).1;
        let told = self.told.get(name).map_or(0, |told| told.1);
        let is_much = sum.count >= before + MORE_PROCESSES && sum.count >= 3 * before;
        if !is_much || sum.count < told + told / 2 {
            return;
        }
        self.told.entry(name.into()).or_default().1 = sum.count;
        news.tell(Change {
            subject: name.to_owned(),
            detail: "grew in number".to_owned(),
            sentence: format!(
                "there are {} processes {name}, {} more than before",
                sum.count,
                sum.count - before
            ),
            time_ms: None,
        });
    }

    fn processor(&mut self, elapsed_ms: i64, sums: &Names<Sum>, news: &mut News) {
        let weight = (elapsed_ms as f64 / USUAL_MS).min(1.0);
        let limit = self.limits.cores;
        for (name, sum) in sums {
            let cores = sum.ticks as f64 * 1000.0 / TICKS as f64 / elapsed_ms as f64;
            if cores < limit / 8.0 && !self.busy.contains_key(name) {
                continue; // nobody asks for what is usual of it
            }
            // What is busy when the agent comes is usual; what comes later is not.
            let start = Busy { usual: if news.learns { cores } else { 0.0 }, ..Busy::default() };
            let it = self.busy.entry(name.clone()).or_insert(start);
            let is_much = cores >= limit && cores >= 3.0 * it.usual;
            it.looks = if is_much { it.looks + 1 } else { 0 };
            if it.looks >= BUSY_LOOKS && !it.is_told {
                it.is_told = true;
                let usual = it.usual;
                news.tell(Change {
                    subject: name.to_string(),
                    detail: "uses the processor".to_owned(),
                    sentence: format!("{name} uses {cores:.1} processors (usual {usual:.1})"),
                    time_ms: None,
                });
            }
            it.is_told &= cores >= limit / 2.0;
            it.usual += (cores - it.usual) * weight;
        }
        self.busy.retain(|name, it| {
            sums.contains_key(name) && (it.usual > limit / 50.0 || it.looks > 0 || it.is_told)
        });
    }

    fn storm(&mut self, elapsed_ms: i64, sums: &Names<Sum>, news: &mut News) {
        let text = proc::read(&self.roots.proc.join("stat")).unwrap_or_default();
        let Some(forks) = proc::counter(&text, "processes") else { return };
        let Some(new) = self.forks.replace(forks).and_then(|before| forks.checked_sub(before))
        else {
            return;
        };
        let rate = new as f64 * 1000.0 / elapsed_ms as f64;
        let usual = *self.usual_forks.get_or_insert(rate);
        let is_storm = rate >= self.limits.forks && rate >= STORM * usual;
        if is_storm && !self.is_storm {
            let most = sums.iter().max_by_key(|(name, sum)| (sum.new, std::cmp::Reverse(*name)));
            let most = most.filter(|(_, sum)| sum.new > 0);
            let of =
                most.map_or(String::new(), |(name, sum)| format!(", {} of them {name}", sum.new));
            news.tell(Change {
                subject: most.map_or("host", |(name, _)| &**name).to_owned(),
                detail: "starts processes".to_owned(),
                sentence: format!("{rate:.0} new processes a second (usual {usual:.0}){of}"),
                time_ms: None,
            });
        }
        self.is_storm = is_storm || (self.is_storm && rate >= self.limits.forks / 2.0);
        let weight = (elapsed_ms as f64 / USUAL_MS).min(1.0);
        self.usual_forks = Some(usual + (rate - usual) * weight);
    }
}

impl Watch for Processes {
    fn look(&mut self, now_ms: i64, news: &mut News) -> Result<(), Cause> {
        let sums = self.scan();
        let elapsed_ms = self.last_ms.replace(now_ms).map_or(0, |last| now_ms - last);
        if elapsed_ms > 0 {
            // A first measured look, like the first of all, only learns.
            let learns = news.learns;
            news.learns |= self.usual_forks.is_none();
            self.processor(elapsed_ms, &sums, news);
            news.learns = learns;
            self.storm(elapsed_ms, &sums, news);
        } else {
            let text = proc::read(&self.roots.proc.join("stat")).unwrap_or_default();
            self.forks = proc::counter(&text, "processes");
        }
        self.growth(now_ms, &sums, news);
        Ok(())
    }
}

/// Bytes of a page: entry AT_PAGESZ of the auxiliary vector (getauxval(3)).
fn page_size() -> u64 {
    const AT_PAGESZ: u64 = 6;
    let vector = fs::read(Path::new("/proc/self/auxv")).unwrap_or_default();
    let (pairs, _) = vector.as_chunks::<16>();
    let number = |bytes: &[u8]| {
        bytes.iter().rev().fold(0_u64, |number, byte| (number << 8) | u64::from(*byte))
    };
    let found = pairs.iter().find(|pair| number(&pair[..8]) == AT_PAGESZ);
    found.map_or(4096, |pair| number(&pair[8..]))
}
