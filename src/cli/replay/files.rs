//! Log files through the whole pipeline: transforms, then observers, by the times in the lines.
//!
//! A file's lines come in its own order; its clock is the latest time it has shown, so a late line comes late, as live. Of
//! several files the line that comes first is next. Every second is ticked. A leap of more than an hour must be agreed to by the next line:
//! one wrong time must not move the clock. Nothing is ticked after the last line: an unfinished window is not judged.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use sentinel_contract::{Events, Log, Plugin as _};
use sentinel_engine::config::{Plan, Role, Shared};
use sentinel_engine::replay::{Driver, Origin, Sink};
use sentinel_inputs::tail::{Recorded, Tail};

use super::table;
use crate::cli::progress::Progress;

const SECOND_NS: i64 = 1_000_000_000;
/// A leap that the next line must agree to.
const LEAP: i64 = 3600;
/// Lines of which at least one must have a time.
const FIRST_LINES: usize = 100;
/// A longer gap is jumped over, as by a host that was off.
const LONGEST_GAP: i64 = 31 * 86_400;
/// The lines' time of reading is so long after the file was written: no line's own time is taken for it.
const READ_AFTER: i64 = 7200;

/// `ALIAS=PATH`, or a path for the first tail input.
pub(crate) fn split(plan: &Plan, argument: &str) -> Result<(String, PathBuf)> {
    let tails = || plan.inputs.iter().filter(|spec| spec.entry.name == Tail::NAME);
    if let Some((alias, path)) = argument.split_once('=')
        && plan.inputs.iter().any(|spec| &*spec.alias == alias)
    {
        ensure!(
            tails().any(|spec| &*spec.alias == alias),
            "--file {argument}: `{alias}` reads no lines; only inputs.tail can be replayed from a file"
        );
        return Ok((alias.to_owned(), path.into()));
    }
    let first = tails().next().with_context(|| {
        format!("--file {argument}: the configuration has no [[inputs.tail]] whose lines these are")
    })?;
    if !Path::new(argument).exists()
        && let Some((alias, path)) = argument.split_once('=')
        && Path::new(path).exists()
    {
        let names: Vec<&str> = tails().map(|spec| &*spec.alias).collect();
        bail!("--file {argument}: there is no input `{alias}`; there are: {}", names.join(", "));
    }
    Ok((first.alias.to_string(), argument.into()))
}

/// One file on its way through.
struct Source {
    path: PathBuf,
    alias: String,
    origin: Origin,
    number: u64,
    recorded: Recorded,
    /// The times of reading: a line whose time lies here has none of its own.
    unread: Range<i64>,
    /// Transformed lines whose turn is not yet known.
    raw: VecDeque<Log>,
    /// Lines with the second in which they come.
    ready: VecDeque<(i64, Log)>,
    clock: Option<i64>,
    at_end: bool,
    lines: u64,
    timeless: u64,
    wrong: u64,
}

/// Replays files; returns what a person should know of them.
pub(crate) fn replay(
    plan: &Plan,
    shared: &Shared,
    driver: &mut Driver,
    files: &[(String, PathBuf)],
    sink: &mut dyn Sink,
) -> Result<Vec<String>> {
    let open = |(number, (alias, path)): (usize, &(String, PathBuf))| {
        Source::open(plan, shared, driver, (alias, path), number as u64)
    };
    let mut sources: Vec<Source> = files.iter().enumerate().map(open).collect::<Result<_>>()?;
    let mut bar = Progress::new("replay, lines", 0);
    let mut now: Option<i64> = None;
    loop {
        for source in &mut sources {
            source.fill(driver)?;
        }
        let Some(next) = sources.iter().filter_map(Source::next).min() else { break };
        let first = match now {
            Some(now) if next - now <= LONGEST_GAP => now + 1,
            _ => next,
        };
        for second in first..=next {
            // What of the first second was before the first line, nobody knows: its window is not whole.
            let began = i64::from(now.is_none());
            driver.tick(second * 1000 + began, sink)?;
        }
        now = now.max(Some(next));
        for source in &mut sources {
            bar.add(source.pass(next, driver, sink)?);
        }
    }
    drop(bar);
    let mut notes = Vec::new();
    for source in &sources {
        ensure!(source.lines > 0, "{}: the file is empty", source.path.display());
        source.tell(&mut notes);
    }
    for (alias, what, events) in driver.counts() {
        notes.push(format!("{alias}: {what}: {events}"));
    }
    Ok(notes)
}

impl Source {
    fn open(
        plan: &Plan,
        shared: &Shared,
        driver: &Driver,
        (alias, path): (&str, &Path),
        number: u64,
    ) -> Result<Self> {
        let spec = plan.inputs.iter().find(|spec| &*spec.alias == alias);
        let spec = spec.with_context(|| format!("there is no input `{alias}`"))?;
        let origin =
            driver.origin(alias).with_context(|| format!("there is no input `{alias}`"))?;
        let input = table::open(path)?;
        let written = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let written = written.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let written = written.map_or(0, |since| since.as_secs() as i64);
        let from = (written + READ_AFTER) * SECOND_NS;
        let context = plan.context(Role::Input, spec, shared);
        let recorded = Recorded::new(spec.options()?, &context, path, Box::new(input), from);
        let recorded = recorded.map_err(|errors| anyhow!("{}", errors[0]))?;
        Ok(Source {
            path: path.to_owned(),
            alias: alias.to_owned(),
            origin,
            number,
            recorded,
            unread: from..from,
            raw: VecDeque::new(),
            ready: VecDeque::new(),
            clock: None,
            at_end: false,
            lines: 0,
            timeless: 0,
            wrong: 0,
        })
    }

    /// The second in which the next line comes.
    fn next(&self) -> Option<i64> {
        self.ready.front().map(|(second, _)| *second)
    }

    /// Reads on until the next line's turn is known, or the file ends.
    fn fill(&mut self, driver: &mut Driver) -> Result<()> {
        while self.ready.is_empty() && !(self.at_end && self.raw.is_empty()) {
            if !self.at_end {
                let at = || format!("{}:{}", self.path.display(), self.lines + 1);
                let lines = self.recorded.next_lines().with_context(at)?;
                self.at_end = lines.is_empty();
                self.lines += lines.len() as u64;
                self.unread.end += lines.len() as i64;
                let mut events = Events::Logs(lines);
                driver.transform(self.origin, &mut events)?;
                if let Events::Logs(lines) = events {
                    self.raw.extend(lines);
                }
            }
            self.arrange()?;
        }
        Ok(())
    }

    /// The second of a line's own time.
    fn second(&self, log: &Log) -> Option<i64> {
        (!self.unread.contains(&log.time_ns)).then(|| log.time_ns.div_euclid(SECOND_NS))
    }

    /// Gives lines their turn, as far as it can be known.
    fn arrange(&mut self) -> Result<()> {
        while let Some(first) = self.raw.front() {
            let own = self.second(first);
            let clock = match (self.clock, own) {
                (Some(clock), Some(own)) if own > clock + LEAP => {
                    let mut later = self.raw.iter().skip(1).filter_map(|log| self.second(log));
                    match later.next() {
                        Some(next) if next < own - LEAP => {
                            self.wrong += 1;
                            clock
                        }
                        None if !self.at_end => return Ok(()), // the next line will tell
                        _ => own,
                    }
                }
                (Some(clock), own) => clock.max(own.unwrap_or(clock)),
                (None, Some(own)) => own,
                (None, None) => match self.raw.iter().find_map(|log| self.second(log)) {
                    Some(later) => later,
                    None if self.at_end || self.raw.len() >= FIRST_LINES => {
                        return Err(self.no_time());
                    }
                    None => return Ok(()),
                },
            };
            self.timeless += u64::from(own.is_none());
            self.clock = Some(clock);
            self.ready.extend(self.raw.pop_front().map(|log| (clock, log)));
        }
        Ok(())
    }

    fn no_time(&self) -> anyhow::Error {
        anyhow!(
            "{}:1: none of the first {} lines has a time, and replay must know when each was written; add a \
             [[processors.parse]] with from = [\"{}\"] and the format of these lines (for json and patterns also \
             `timestamp`)",
            self.path.display(),
            self.raw.len(),
            self.alias
        )
    }

    /// Hands on the lines of this second; how many.
    fn pass(&mut self, second: i64, driver: &mut Driver, sink: &mut dyn Sink) -> Result<u64> {
        let mut passed = 0;
        while self.next() == Some(second) {
            let count = self.ready.partition_point(|(turn, _)| *turn <= second);
            let lines = self.ready.drain(..count).map(|(_, log)| log).collect();
            passed += count as u64;
            driver.deliver(self.origin, self.number, Events::Logs(lines), sink)?;
            self.fill(driver)?;
        }
        Ok(passed)
    }

    fn tell(&self, notes: &mut Vec<String>) {
        let path = self.path.display();
        notes.push(format!("{path}: {} events of `{}`", self.lines, self.alias));
        if self.timeless > 0 {
            notes.push(format!(
                "{path}: {} events without a time were taken as of the event before",
                self.timeless
            ));
        }
        if self.wrong > 0 {
            notes.push(format!("{path}: {} times far ahead of the next line's", self.wrong));
        }
        if self.recorded.cut() > 0 {
            notes.push(format!(
                "{path}: {} lines were longer than max_line_bytes, and cut",
                self.recorded.cut()
            ));
        }
    }
}
