//! A recorded file, read once from its beginning to its end, as the lines that tail would have made of it: for `replay`.
//!
//! The same options, labels, limits and joining of lines as live. It follows nothing and remembers nothing.

use std::io::{ErrorKind, Read, Result};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::{ConfigError, Context, Labels, Log};

use super::lines::{Ending, Rules, Split, Stamp, split};
use super::{Config, Settings, Timing};

/// Events of one batch.
const EVENTS: usize = 4096;

/// The lines of one file.
pub struct Recorded {
    input: Box<dyn Read>,
    rules: Rules,
    stream: Arc<Labels>,
    longest: usize,
    chunk: Bytes,
    from: usize,
    time_ns: i64,
    at_end: bool,
    cut: u64,
}

impl Recorded {
    /// Lines of `input`, labelled as those of the file `name`. The first one's time of reading is `time_ns`, each next
    /// one's a nanosecond later: what has such a time after the parsers has none of its own.
    pub fn new(
        config: Config,
        context: &Context,
        name: &Path,
        input: Box<dyn Read>,
        time_ns: i64,
    ) -> std::result::Result<Self, Vec<ConfigError>> {
        let settings = Settings::new(config, context, Timing::default())?;
        Ok(Recorded {
            input,
            stream: settings.stream(name),
            longest: settings.longest(),
            rules: settings.rules,
            chunk: Bytes::new(),
            from: 0,
            time_ns,
            at_end: false,
            cut: 0,
        })
    }

    /// Lines that were longer than `max_line_bytes`, and cut.
    pub fn cut(&self) -> u64 {
        self.cut
    }

    /// The next lines in the file's order; none at its end.
    pub fn next_lines(&mut self) -> Result<Vec<Log>> {
        loop {
            let ending = if self.at_end { Ending::All } else { Ending::Open };
            let lines = self.split(ending);
            if !lines.is_empty() || self.at_end {
                return Ok(lines);
            }
            if self.chunk.len() - self.from >= self.longest {
                let part = self.split(Ending::Lines); // a group that does not fit goes out in parts
                return if part.is_empty() { self.long_line() } else { Ok(part) };
            }
            let mut chunk = Vec::with_capacity(2 * self.longest);
            chunk.extend_from_slice(&self.chunk[self.from..]);
            self.at_end = fill(&mut self.input, &mut chunk, self.longest)? == 0;
            (self.chunk, self.from) = (Bytes::from(chunk), 0);
        }
    }

    fn split(&mut self, ending: Ending) -> Vec<Log> {
        let mut stamp = Stamp { stream: &self.stream, time_ns: self.time_ns };
        let split = split(&self.chunk, self.from, ending, EVENTS, &self.rules, &mut stamp);
        self.time_ns = stamp.time_ns;
        self.from += split.consumed;
        self.cut += split.cut;
        split.logs
    }

    /// The line does not end in the chunk: its head, marked with its length; the rest is passed over.
    fn long_line(&mut self) -> Result<Vec<Log>> {
        let mut length = (self.chunk.len() - self.from) as u64;
        let mut rest = Vec::new();
        loop {
            let mut more = Vec::with_capacity(self.longest);
            if fill(&mut self.input, &mut more, self.longest)? == 0 {
                self.at_end = true;
                break;
            }
            if let Some(end) = memchr::memchr(b'\n', &more) {
                length += end as u64;
                rest = more.split_off(end + 1);
                break;
            }
            length += more.len() as u64;
        }
        let mut line = Split::default();
        let mut stamp = Stamp { stream: &self.stream, time_ns: self.time_ns };
        line.push_cut(&self.chunk, self.from, length, self.rules.max_bytes, &mut stamp);
        self.time_ns = stamp.time_ns;
        self.cut += 1;
        (self.chunk, self.from) = (Bytes::from(rest), 0);
        Ok(line.logs)
    }
}

/// Adds up to `bytes` of the input; fewer at its end. How many.
fn fill(input: &mut impl Read, into: &mut Vec<u8>, bytes: usize) -> Result<usize> {
    loop {
        match input.take(bytes as u64).read_to_end(into) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}
