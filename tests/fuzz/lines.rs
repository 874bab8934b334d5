//! Log lines: how they are split, parsed, mined and counted. The first byte of an input chooses options, the rest is a file.

use std::cell::RefCell;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::history::NoHistory;
use sentinel_contract::telemetry::Counters;
use sentinel_contract::trainer::Trainer;
use sentinel_contract::units::Size;
use sentinel_contract::{
    Batch, Context, Desk, Emit, Events, Fields, Labels, Log, Observer, Plugin, Processor,
    Transform, Value,
};
use sentinel_inputs::tail::{self, Mode, Multiline, Recorded};
use sentinel_processors::log_features::{self, LogFeatures};
use sentinel_processors::log_patterns::{self, LogPatterns};
use sentinel_processors::parse::{self, Format, Parse};

/// 2026-03-10T12:00:00Z.
pub const READ_NS: i64 = 1_773_144_000 * SECOND;
const SECOND: i64 = 1_000_000_000;
const LONGEST: usize = 1024; // the least that can be configured

/// Of a plugin by itself.
pub fn context() -> Context {
    Context {
        alias: "fuzzed".into(),
        host: "here".into(),
        tags: Arc::new(Labels::new([("env", "test")])),
        interval: Duration::from_secs(10),
        state_dir: PathBuf::new(),
        history: Arc::new(NoHistory),
        trainer: Trainer::waiting(),
        desk: Desk::default(),
    }
}

/// A file that is read in pieces.
struct Pieces {
    rest: Vec<u8>,
    size: usize,
}

impl Read for Pieces {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        let length = self.size.min(room.len()).min(self.rest.len());
        room[..length].copy_from_slice(&self.rest[..length]);
        self.rest.drain(..length);
        Ok(length)
    }
}

/// The lines of a file, and how many were cut.
fn read(data: &[u8], size: usize, multiline: Multiline) -> (Vec<Log>, u64) {
    let config = tail::Config {
        files: vec!["/var/log/x".to_owned()],
        max_line_bytes: Size(LONGEST as u64),
        read_chunk: Size(2 * LONGEST as u64),
        multiline,
        ..tail::Config::default()
    };
    let pieces = Box::new(Pieces { rest: data.to_vec(), size });
    let recorded = Recorded::new(config, &context(), Path::new("/var/log/x"), pieces, READ_NS);
    let mut recorded = match recorded {
        Ok(recorded) => recorded,
        Err(errors) => panic!("the options are right: {errors:?}"),
    };
    let mut logs = Vec::new();
    loop {
        match recorded.next_lines() {
            Ok(lines) if lines.is_empty() => return (logs, recorded.cut()),
            Ok(lines) => logs.extend(lines),
            Err(error) => panic!("memory does not fail: {error}"),
        }
    }
}

/// Lines as they are.
fn plain(data: &[u8]) -> Vec<Log> {
    read(data, usize::MAX, Multiline::default()).0
}

/// A file is its lines, in whatever pieces it is read; a group of lines loses none of them.
pub fn tail_lines(data: &[u8]) {
    let Some((options, data)) = data.split_first() else { return };
    let size = usize::from(options >> 2) + 1;
    let (logs, cut) = read(data, size, Multiline::default());
    let lines: Vec<&[u8]> = data.split_inclusive(|byte| *byte == b'\n').collect();
    assert_eq!(logs.len(), lines.len(), "each line is an event");
    for (log, line) in logs.iter().zip(&lines) {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        assert!(log.body.len() <= LONGEST && line.starts_with(&log.body), "it, or its beginning");
        assert!(log.body.len() == line.len() || line.len() > LONGEST, "as long as it may be");
    }
    assert!(cut as usize <= logs.len());
    let mode = [Mode::Indentation, Mode::Start][usize::from(options & 1)];
    let start = if mode == Mode::Start { "^[0-9]+" } else { "" }.to_owned();
    let multiline = Multiline { mode, start, max_lines: 3, ..Multiline::default() };
    let (groups, cut) = read(data, size, multiline);
    let held: usize = groups.iter().map(|log| log.body.len()).sum();
    let ends = data.len() - data.iter().filter(|byte| !matches!(byte, b'\r' | b'\n')).count();
    assert!(held <= data.len(), "no byte is in two events");
    assert!(cut > 0 || held + ends >= data.len(), "what is not cut is there");
}

const FORMATS: [Format; 10] = [
    Format::Combined,
    Format::Common,
    Format::Json,
    Format::Logfmt,
    Format::Regex,
    Format::Grok,
    Format::NginxError,
    Format::ApacheError,
    Format::Syslog,
    Format::Cri,
];

/// A parser of this format.
fn parser(format: Format) -> Box<dyn Transform> {
    let pattern = match format {
        Format::Regex => "(?<a>[a-z]+) (?<level>[a-z]+)",
        Format::Grok => "%{TIMESTAMP_ISO8601:t} %{LOGLEVEL:level} %{GREEDYDATA:m:int}",
        _ => "",
    };
    let config = parse::Config {
        format: Some(format),
        pattern: pattern.to_owned(),
        timestamp: "t".to_owned(),
        timezone: "UTC".to_owned(),
        ..parse::Config::default()
    };
    match Parse::build(config, &context()) {
        Ok(Processor::Transform(parse)) => parse,
        _ => panic!("the options are right"),
    }
}

thread_local! {
    /// The parsers whose pattern is compiled: that takes far longer than any line. They keep nothing from one input to the next
    /// but caches, as each input is a stream of its own. The others are made anew, cheaply: they learn names, up to a bound.
    static COMPILED: [RefCell<Option<Box<dyn Transform>>>; 2] = const { [const { RefCell::new(None) }; 2] };
}

/// Gives a parser of this format.
fn with_parser(format: Format, work: impl FnOnce(&mut dyn Transform)) {
    let place = match format {
        Format::Regex => 0,
        Format::Grok => 1,
        _ => return work(&mut *parser(format)),
    };
    COMPILED.with(|all| work(&mut **all[place].borrow_mut().get_or_insert_with(|| parser(format))));
}

/// No line is dropped; every field that is a slice lies within its line.
pub fn parse(data: &[u8]) {
    let Some((options, data)) = data.split_first() else { return };
    let format = FORMATS[usize::from(*options) % FORMATS.len()];
    with_parser(format, |parser| parse_with(parser, format, data));
}

fn parse_with(parser: &mut dyn Transform, format: Format, data: &[u8]) {
    let logs = plain(data);
    let lines = logs.len();
    let mut events = Events::Logs(logs);
    let counters = Counters::default();
    parser.apply(&mut events, &counters);
    let joined = counters.counts().get("joined").copied().unwrap_or_default() as usize;
    assert!(counters.drops().is_empty());
    let Events::Logs(logs) = &events else { panic!("they stay lines") };
    // Lines of a container that were broken by its runtime are joined, which is counted; nothing else becomes less.
    assert!(logs.len() == lines || (format == Format::Cri && logs.len() + joined >= 1));
    logs.iter().for_each(is_sound);
    parser.apply(&mut events, &counters); // another parser of the same lane finds fields there
    let Events::Logs(logs) = &events else { panic!("they stay lines") };
    logs.iter().for_each(is_sound);
}

fn is_sound(log: &Log) {
    for field in log.fields.as_deref().map(|Fields(fields)| fields).into_iter().flatten() {
        if let Value::Slice(start, end) = field.value {
            assert!(start <= end && end as usize <= log.body.len(), "{}", field.name.as_str());
        }
    }
}

/// Any pattern and any way to write a time is refused, or parses any line: parts are divided by NUL.
pub fn parse_options(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.split('\0');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    let (pattern, layout, zone, own, line) = (part(), part(), part(), part(), part());
    for format in [Format::Regex, Format::Grok, Format::Json] {
        let takes_pattern = format != Format::Json;
        let patterns =
            if format == Format::Grok { vec![("OWN".to_owned(), own.clone())] } else { Vec::new() };
        let config = parse::Config {
            format: Some(format),
            pattern: if takes_pattern { pattern.clone() } else { String::new() },
            patterns: patterns.into_iter().collect(),
            timestamp: "t".to_owned(),
            timestamp_format: layout.clone(),
            timezone: zone.clone(),
            body_from: "m".to_owned(),
            ..parse::Config::default()
        };
        if let Ok(Processor::Transform(mut parser)) = Parse::build(config, &context()) {
            let mut events = Events::Logs(plain(line.as_bytes()));
            parser.apply(&mut events, &Counters::default());
            let Events::Logs(logs) = &events else { panic!("they stay lines") };
            logs.iter().for_each(is_sound);
        }
    }
}

/// Small, so that every bound is met.
pub fn patterns() -> Box<dyn Observer> {
    let config = log_patterns::Config {
        max_groups: 3,
        max_patterns: 10,
        top: 3,
        ..log_patterns::Config::default()
    };
    match LogPatterns::build(config, &context()) {
        Ok(Processor::Observer(patterns)) => patterns,
        _ => panic!("the options are right"),
    }
}

/// Small, so that every bound is met.
pub fn features() -> Box<dyn Observer> {
    let config =
        log_features::Config { max_groups: 3, max_keys: 16, ..log_features::Config::default() };
    match LogFeatures::build(config, &context()) {
        Ok(Processor::Observer(features)) => features,
        Err(errors) => panic!("the options are right: {errors:?}"),
        Ok(Processor::Transform(_)) => panic!("it is an observer"),
    }
}

/// Lines at the seconds that their first bytes say.
pub fn timed(data: &[u8]) -> Vec<Log> {
    let mut logs = plain(data);
    for log in &mut logs {
        log.time_ns += i64::from(log.body.first().copied().unwrap_or_default()) * SECOND;
    }
    logs
}

/// What an observer makes of lines and ticks.
pub fn watch(observer: &mut dyn Observer, logs: Vec<Log>) -> Vec<Events> {
    let mut emit = Emit::default();
    observer.tick(READ_NS / 1_000_000, &mut emit);
    observer.observe(&Batch::new("in".into(), Events::Logs(logs)), &mut emit);
    observer.unseen("in", 3);
    observer.tick(READ_NS / 1_000_000 + 600_000, &mut emit);
    emit.0
}

/// Its state is taken by another one, which then has the same.
pub fn is_restored(observer: &dyn Observer, mut another: Box<dyn Observer>) {
    let Some(saved) = observer.snapshot() else { return };
    if let Err(error) = another.restore(&saved) {
        panic!("what was saved is taken back: {error:#}");
    }
    let again = another.snapshot().unwrap_or_default();
    assert_eq!(String::from_utf8_lossy(&again), String::from_utf8_lossy(&saved));
}

/// Drain: templates within their bounds, whatever the lines are, and the same after a restart.
pub fn drain(data: &[u8]) {
    let mut observer = patterns();
    let emitted = watch(&mut *observer, timed(data));
    let status = observer.status();
    for group in status["groups"].as_array().into_iter().flatten() {
        assert!(group["patterns"].as_u64() <= Some(10), "{group}");
    }
    assert!(emitted.iter().all(|events| matches!(events, Events::Metrics(_) | Events::Logs(_))));
    is_restored(&*observer, patterns());
}

/// Requests are counted whatever they are, and the same after a restart. The first byte chooses the format.
pub fn count_requests(data: &[u8]) {
    let Some((options, data)) = data.split_first() else { return };
    let mut events = Events::Logs(timed(data));
    parser(FORMATS[usize::from(*options) % 4]).apply(&mut events, &Counters::default());
    let Events::Logs(logs) = events else { panic!("they stay lines") };
    let mut observer = features();
    for metric in watch(&mut *observer, logs) {
        assert!(matches!(metric, Events::Metrics(_) | Events::Evidence(_)));
    }
    let _shown = observer.status();
    is_restored(&*observer, features());
}
