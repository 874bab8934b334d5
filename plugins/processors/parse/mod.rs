//! `parse` finds fields, the time and the level in log lines. A line that does not fit its format is kept as it is and
//! counted (`unparsed`); nothing is dropped.
//!
//! The formats are a file each. The web formats are on the hot path: written by hand, fields are slices of the line.
//! It does not promote fields to labels, but for `level`: labels must have few values.

mod cri;
mod error_log;
mod grok;
mod json;
mod layout;
mod logfmt;
mod names;
mod pattern;
mod stream;
mod syslog;
#[cfg(test)]
mod tests;
mod time;
mod web;

use std::collections::BTreeMap;

use sentinel_contract::telemetry::Counters;
use sentinel_contract::{
    ConfigError, Context, Events, Field, Fields, Level, Log, Plugin, Processor, Transform, Value,
    level,
};
use serde::Deserialize;

use layout::Layout;
use names::Names;
use pattern::Pattern;
use stream::Streams;
use time::{CivilClock, SECOND, Stamp, WebClock, Zone};

/// 1990-01-01: an earlier time is a broken clock or a broken line.
const EARLIEST_NS: i64 = 631_152_000 * SECOND;

/// A line may be this far ahead of its reading: zones that were left out, clocks that differ.
const MAX_AHEAD_NS: i64 = 86_400 * SECOND;

/// How lines are written.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// An object a line.
    Json,
    /// `key=value` pairs.
    Logfmt,
    /// A regular expression with named groups.
    Regex,
    /// A grok expression.
    Grok,
    /// Access logs of nginx and Apache.
    Combined,
    /// The same without referer and user agent.
    Common,
    /// nginx's error log.
    NginxError,
    /// Apache's error log.
    ApacheError,
    /// RFC 3164, RFC 5424 and rsyslog's files.
    Syslog,
    /// Container runtimes' files.
    Cri,
}

/// The options.
#[derive(Debug, Deserialize, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Must be given.
    pub format: Option<Format>,
    /// For `regex` and `grok`.
    pub pattern: String,
    /// Grok patterns of one's own.
    pub patterns: BTreeMap<String, String>,
    /// The field that holds the time.
    pub timestamp: String,
    /// How it is written.
    pub timestamp_format: String,
    /// The zone of times that name none.
    pub timezone: String,
    /// The label that takes the level; empty for none.
    pub level_label: String,
    /// The field that becomes the body.
    pub body_from: String,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            format: None,
            pattern: String::new(),
            patterns: BTreeMap::new(),
            timestamp: String::new(),
            timestamp_format: "rfc3339".to_owned(),
            timezone: "local".to_owned(),
            level_label: "level".to_owned(),
            body_from: String::new(),
        }
    }
}

/// What a parser found in a line.
struct Found {
    fields: Vec<Field>,
    time: Option<Stamp>,
    level: Option<Level>,
}

/// The parser of one format, with what it keeps from line to line.
#[derive(Debug)]
enum Parser {
    Json,
    Logfmt,
    Pattern(Box<Pattern>),
    Web { is_combined: bool, clock: WebClock },
    NginxError,
    ApacheError,
    Syslog,
    Cri,
}

/// The transform.
#[derive(Debug)]
pub struct Parse {
    parser: Parser,
    clock: CivilClock,
    names: Names,
    streams: Streams,
    timestamp: Option<(Box<str>, Layout)>,
    level_label: Option<Box<str>>,
    body_from: Option<Box<str>>,
}

/// What is counted of a batch.
#[derive(Default)]
struct Tally {
    unparsed: u64,
    no_timestamp: u64,
    out_of_range: u64,
}

impl Plugin for Parse {
    type Kind = Processor;
    type Config = Config;
    const NAME: &'static str = "parse";
    const SAMPLE: &'static str = include_str!("sample.toml");

    fn build(config: Config, _context: &Context) -> Result<Processor, Vec<ConfigError>> {
        Ok(Processor::Transform(Box::new(Parse::new(&config)?)))
    }
}

fn given(text: &str) -> Option<Box<str>> {
    (!text.is_empty()).then(|| text.into())
}

impl Parse {
    fn new(config: &Config) -> Result<Self, Vec<ConfigError>> {
        let mut errors = Vec::new();
        let mut noted =
            |option: &str, reason: String| errors.push(ConfigError::value(option, reason));
        let zone = Zone::new(&config.timezone).map_err(|reason| noted("timezone", reason)).ok();
        let layout = Layout::new(&config.timestamp_format)
            .map_err(|reason| noted("timestamp_format", reason))
            .ok();
        let takes_pattern = matches!(config.format, Some(Format::Regex | Format::Grok));
        if config.format.is_none() {
            noted("format", "must be given, for example \"combined\" or \"json\"".to_owned());
        }
        if takes_pattern && config.pattern.is_empty() {
            noted("pattern", "must be given for this format".to_owned());
        }
        if !takes_pattern && !config.pattern.is_empty() {
            noted("pattern", "is for the formats \"regex\" and \"grok\" only".to_owned());
        }
        if config.format != Some(Format::Grok) && !config.patterns.is_empty() {
            noted("patterns", "are for the format \"grok\" only".to_owned());
        }
        let parser = match config.format {
            Some(format) if !takes_pattern || !config.pattern.is_empty() => {
                parser(format, config).map_err(|reason| noted("pattern", reason)).ok()
            }
            _ => None,
        };
        match (parser, zone, layout) {
            (Some(parser), Some(zone), Some(layout)) if errors.is_empty() => Ok(Parse {
                parser,
                clock: CivilClock::new(zone),
                names: Names::default(),
                streams: Streams::default(),
                timestamp: given(&config.timestamp).map(|field| (field, layout)),
                level_label: given(&config.level_label),
                body_from: given(&config.body_from),
            }),
            _ => Err(errors),
        }
    }

    fn find(&mut self, log: &Log) -> Option<Found> {
        let (line, now) = (&log.body[..], log.time_ns);
        let plain = |fields| Found { fields, time: None, level: None };
        match &mut self.parser {
            Parser::Web { is_combined, clock } => web::parse(line, *is_combined, clock),
            Parser::Json => json::parse(line, &mut self.names).map(plain),
            Parser::Logfmt => logfmt::parse(line, &mut self.names).map(plain),
            Parser::Pattern(pattern) => pattern.parse(line).map(plain),
            Parser::NginxError => error_log::nginx(line, &mut self.clock, now),
            Parser::ApacheError => error_log::apache(line, &mut self.clock, now),
            Parser::Syslog => syslog::parse(line, &mut self.clock, &mut self.names, now),
            Parser::Cri => None, // has a loop of its own: it joins lines
        }
    }

    fn line(&mut self, log: &mut Log, tally: &mut Tally) {
        let Some(mut found) = self.find(log) else {
            tally.unparsed += 1;
            return;
        };
        if let Some((name, layout)) = &self.timestamp {
            let field = found.fields.iter().find(|field| field.name.as_str() == &**name);
            let time = field.and_then(|field| match &field.value {
                Value::Number(number) => layout.of_number(*number),
                value => layout.read(text(&log.body, value), &mut self.clock, log.time_ns),
            });
            tally.no_timestamp += u64::from(time.is_none());
            found.time = time.or(found.time);
        }
        if self.level_label.is_some() && found.level.is_none() {
            found.level = level_of(&log.body, &found.fields, &self.parser);
        }
        self.place(log, found.time, found.level, tally);
        match &mut log.fields {
            None => log.fields = Some(Box::new(Fields(found.fields))),
            Some(earlier) => {
                // Of a parser before this one: the newer finding is found first.
                found.fields.append(&mut earlier.0);
                earlier.0 = found.fields;
            }
        }
        if let Some(field) = &self.body_from {
            cri::replace_body(log, field);
        }
    }

    /// Gives the line its time, kept apart from its neighbours', and its stream the level.
    fn place(
        &mut self,
        log: &mut Log,
        time: Option<Stamp>,
        level: Option<Level>,
        tally: &mut Tally,
    ) {
        let level = level.and_then(|level| Some((self.level_label.as_deref()?, level)));
        let time = time.filter(|time| {
            let is_sane =
                time.ns >= EARLIEST_NS && time.ns <= log.time_ns.saturating_add(MAX_AHEAD_NS);
            tally.out_of_range += u64::from(!is_sane);
            is_sane
        });
        if time.is_none() && level.is_none() {
            return;
        }
        let slot = self.streams.slot(&log.stream);
        if let Some(time) = time {
            log.time_ns = slot.place(time, log.time_ns);
        }
        if let Some((label, level)) = level {
            log.stream = slot.with_level(label, level);
        }
    }

    fn cri_batch(&mut self, logs: &mut Vec<Log>, tally: &mut Tally, counters: &Counters) {
        let mut joiner = cri::Joiner::default();
        for at in 0..logs.len() {
            match cri::parse(&logs[at].body, &mut self.clock, logs[at].time_ns) {
                Some(cri) => {
                    self.place(&mut logs[at], Some(cri.time), None, tally);
                    joiner.take(logs, at, &cri);
                }
                None => tally.unparsed += 1,
            }
        }
        let (partial, joined) = joiner.finish(logs);
        counters.count("partial", partial as u64);
        counters.count("joined", joined as u64);
    }
}

fn parser(format: Format, config: &Config) -> Result<Parser, String> {
    let parser = match format {
        Format::Json => Parser::Json,
        Format::Logfmt => Parser::Logfmt,
        Format::Regex => Parser::Pattern(Box::new(Pattern::regex(&config.pattern)?)),
        Format::Grok => {
            Parser::Pattern(Box::new(Pattern::grok(&config.pattern, &config.patterns)?))
        }
        Format::Combined => Parser::Web { is_combined: true, clock: WebClock::default() },
        Format::Common => Parser::Web { is_combined: false, clock: WebClock::default() },
        Format::NginxError => Parser::NginxError,
        Format::ApacheError => Parser::ApacheError,
        Format::Syslog => Parser::Syslog,
        Format::Cri => Parser::Cri,
    };
    Ok(parser)
}

fn text<'a>(body: &'a [u8], value: &'a Value) -> &'a [u8] {
    match value {
        Value::Slice(start, end) => body.get(*start as usize..*end as usize).unwrap_or_default(),
        Value::Text(text) => text.as_bytes(),
        Value::Number(_) => &[],
    }
}

/// The level in a field of one of the usual names; formats whose parser knows better have none to look for.
fn level_of(body: &[u8], fields: &[Field], parser: &Parser) -> Option<Level> {
    if !matches!(parser, Parser::Json | Parser::Logfmt | Parser::Pattern(_)) {
        return None;
    }
    level::FIELDS.iter().find_map(|name| {
        let field = fields.iter().find(|field| field.name.as_str().eq_ignore_ascii_case(name))?;
        match &field.value {
            Value::Number(number) => Level::of_number(*number),
            value => Level::of_text(text(body, value)),
        }
    })
}

impl Transform for Parse {
    fn apply(&mut self, events: &mut Events, counters: &Counters) {
        let Events::Logs(logs) = events else { return };
        let mut tally = Tally::default();
        if matches!(self.parser, Parser::Cri) {
            self.cri_batch(logs, &mut tally, counters);
        } else {
            for log in logs.iter_mut() {
                self.line(log, &mut tally);
            }
        }
        counters.count("unparsed", tally.unparsed);
        counters.count("timestamp_missing", tally.no_timestamp);
        counters.count("timestamp_out_of_range", tally.out_of_range);
    }
}
