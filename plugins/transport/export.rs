//! History read back from VictoriaMetrics: the samples of chosen series, in time order, a bounded part at a time.
//!
//! From VictoriaMetrics' documentation of `/api/v1/export` (JSON lines: the labels, the values and the times of one series; a
//! series may come in several lines; a value that is no number is null or a text). Reads spans of hours: a span that holds
//! too many samples is halved and asked for again, so that neither side needs memory for all of it. It never retries;
//! whoever reads may go on from [`Export::at_ms`]. It does not know what the server does not: whether a series is a counter.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sentinel_contract::{Cause, ConfigError, Kind, Labels, Metric, Series};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer};

use crate::http::{Client, HttpOptions};

/// Where series are read.
const PATH: &str = "/api/v1/export";
/// The longest time that can be read: six weeks.
pub const LONGEST: Duration = Duration::from_hours(42 * 24);
/// The span asked for first, in milliseconds.
const FIRST_SPAN: i64 = 3_600_000;
/// The longest span of one request: a day.
const LONGEST_SPAN: i64 = 24 * FIRST_SPAN;
/// A span of one second that does not fit is an error.
const SHORTEST_SPAN: i64 = 1000;
/// A line holds one series of one span: at 30 bytes a sample this is 500,000 of them.
const LONGEST_LINE: usize = 16 << 20;
/// Series that are remembered; more are forgotten all at once, and named again.
const MAX_SERIES: usize = 20_000;

/// Series by name and labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    /// The metric's name, or a glob.
    pub metric: String,
    /// Labels that must match: name and glob.
    pub labels: Vec<(String, String)>,
}

/// What to read.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Series that match any of these.
    pub selectors: Vec<Selector>,
    /// Labels that every series has, exactly: the host.
    pub labels: Vec<(String, String)>,
    /// From this time on, in milliseconds since 1970 UTC ...
    pub from_ms: i64,
    /// ... up to this, which is not part of it.
    pub to_ms: i64,
    /// Samples in memory at once; 24 bytes each.
    pub max_samples: usize,
}

/// Whether a metric of this name is a counter.
pub type KindOf = Box<dyn Fn(&str) -> Kind + Send>;

/// One span's samples.
#[derive(Debug)]
pub struct Part {
    /// In time order; of one time always in the same order of series.
    pub samples: Vec<Metric>,
    /// The span that was read, in milliseconds; its end is not part of it.
    pub span_ms: (i64, i64),
}

/// A reading under way.
pub struct Export {
    client: Client,
    wanted: Wanted,
    queries: Vec<String>,
    kind_of: KindOf,
    at_ms: i64,
    span_ms: i64,
    series: HashMap<Identity, Vec<Arc<Series>>, foldhash::fast::RandomState>,
}

/// The hash of a series' labels, and its name. Labels of one hash are told apart.
type Identity = (u64, String);

/// One line of the answer.
#[derive(Deserialize)]
struct Line {
    metric: HashMap<String, String>,
    values: Vec<Number>,
    timestamps: Vec<i64>,
}

/// A value; NaN for what JSON has no number for.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NumberOrNot)
    }
}

struct NumberOrNot;

impl Visitor<'_> for NumberOrNot {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, null, or what JSON has no number for as a text")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Number, E> {
        Ok(Number(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Number, E> {
        Ok(Number(value as f64))
    }

    fn visit_str<E>(self, _: &str) -> Result<Number, E> {
        Ok(Number(f64::NAN))
    }

    fn visit_unit<E>(self) -> Result<Number, E> {
        Ok(Number(f64::NAN))
    }
}

/// More samples than there may be.
#[derive(Debug)]
struct TooMany;

impl Export {
    /// Checks and prepares; nothing is asked yet. `options.url` is the base address, as the output has it.
    ///
    /// Errors: options that the client refuses; a time that is empty or longer than [`LONGEST`]; no selector.
    pub fn new(
        mut options: HttpOptions,
        wanted: Wanted,
        kind_of: KindOf,
    ) -> Result<Self, Vec<ConfigError>> {
        let span = wanted.to_ms.saturating_sub(wanted.from_ms);
        if span <= 0 || span as u128 > LONGEST.as_millis() {
            let reason = "must be a time of more than nothing and at most 42d";
            return Err(vec![ConfigError::value("start", reason)]);
        }
        if wanted.selectors.is_empty() {
            return Err(vec![ConfigError::value("signals", "there is nothing to read")]);
        }
        let queries = queries(&wanted);
        let base = options.url.trim_end_matches('/');
        options.url = match base.strip_suffix(PATH) {
            Some(_) => base.to_owned(),
            None => format!("{}{PATH}", base.strip_suffix("/api/v1/write").unwrap_or(base)),
        };
        let client = Client::new(options, PATH)?;
        let (at_ms, series) = (wanted.from_ms, HashMap::default());
        Ok(Export { client, wanted, queries, kind_of, at_ms, span_ms: FIRST_SPAN, series })
    }

    /// How far it has come: what is before this time has been read.
    pub fn at_ms(&self) -> i64 {
        self.at_ms
    }

    /// The next part; `None` when all is read. A span without samples is a part too. After an error the same span is
    /// next again.
    pub async fn next(&mut self) -> Result<Option<Part>, Cause> {
        while self.at_ms < self.wanted.to_ms {
            let span = (self.at_ms, (self.at_ms + self.span_ms).min(self.wanted.to_ms));
            match self.read(span).await? {
                Ok(samples) => {
                    self.at_ms = span.1;
                    if samples.len() < self.wanted.max_samples / 4 {
                        self.span_ms = (self.span_ms * 2).min(LONGEST_SPAN);
                    }
                    return Ok(Some(Part { samples, span_ms: span }));
                }
                Err(TooMany) if self.span_ms > SHORTEST_SPAN => self.span_ms /= 2,
                Err(TooMany) => anyhow::bail!(
                    "{}: more than {} samples in one second",
                    self.client.shown(),
                    self.wanted.max_samples
                ),
            }
        }
        Ok(None)
    }

    async fn read(
        &mut self,
        (from_ms, to_ms): (i64, i64),
    ) -> Result<Result<Vec<Metric>, TooMany>, Cause> {
        // Both ends of a request are part of it.
        let (start, end) = (seconds(from_ms), seconds(to_ms - 1));
        let mut parameters = vec![("start", start.as_str()), ("end", end.as_str())];
        parameters.extend(self.queries.iter().map(|query| ("match[]", query.as_str())));
        let stream = self.client.open(&parameters).await;
        let mut stream = stream.map_err(|error| anyhow::anyhow!("{error}"))?;
        let mut samples = Vec::new();
        let mut rest: Vec<u8> = Vec::new();
        loop {
            let piece = stream.next().await?;
            let ended = piece.is_none();
            let mut searched = rest.len(); // there is no line end before it
            rest.extend_from_slice(&piece.unwrap_or_default());
            let mut done = 0;
            while let Some(end) = rest[searched..].iter().position(|byte| *byte == b'\n') {
                self.line(&rest[done..searched + end], (from_ms, to_ms), &mut samples)?;
                (done, searched) = (searched + end + 1, searched + end + 1);
            }
            rest.drain(..done);
            if ended {
                self.line(&rest, (from_ms, to_ms), &mut samples)?;
                break;
            }
            if samples.len() > self.wanted.max_samples || rest.len() > LONGEST_LINE {
                return Ok(Err(TooMany));
            }
        }
        if samples.len() > self.wanted.max_samples {
            return Ok(Err(TooMany));
        }
        samples.sort_unstable_by(order);
        Ok(Ok(samples))
    }

    pub(crate) fn line(
        &mut self,
        line: &[u8],
        (from_ms, to_ms): (i64, i64),
        samples: &mut Vec<Metric>,
    ) -> Result<(), Cause> {
        if line.iter().all(u8::is_ascii_whitespace) {
            return Ok(());
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| {
            anyhow::anyhow!("{}: the answer is not an export: {error}", self.client.shown())
        })?;
        let series = self.series(line.metric);
        for (Number(value), time_ms) in line.values.into_iter().zip(line.timestamps) {
            if value.is_finite() && (from_ms..to_ms).contains(&time_ms) {
                samples.push(Metric { series: Arc::clone(&series), time_ms, value });
            }
        }
        Ok(())
    }

    /// The same series is the same `Arc`, whatever lines and spans it comes in.
    fn series(&mut self, mut metric: HashMap<String, String>) -> Arc<Series> {
        let name = metric.remove("__name__").unwrap_or_default();
        let labels = Labels::new(metric);
        if self.series.len() >= MAX_SERIES {
            self.series.clear();
        }
        let kind = (self.kind_of)(&name);
        let made = Series::new(name.as_str(), kind, labels.iter());
        let same = self.series.entry((labels.hash(), name)).or_default();
        if let Some(known) = same.iter().find(|series| *series.labels() == labels) {
            return Arc::clone(known);
        }
        same.push(Arc::clone(&made));
        made
    }
}

/// By time, then by series: the server answers in any order, and sums must not depend on it.
fn order(a: &Metric, b: &Metric) -> std::cmp::Ordering {
    let of = |one: &Metric| (one.time_ms, one.series.labels().hash());
    of(a).cmp(&of(b)).then_with(|| a.series.name().cmp(b.series.name()))
}

/// Seconds with three decimals.
fn seconds(ms: i64) -> String {
    format!("{}.{:03}", ms.div_euclid(1000), ms.rem_euclid(1000))
}

/// MetricsQL: one series selector for all selectors that ask nothing of labels, and one for each other.
fn queries(wanted: &Wanted) -> Vec<String> {
    let every: Vec<String> =
        wanted.labels.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    let query = |names: &str, labels: &[(String, String)]| {
        let own = labels.iter().map(|(name, glob)| format!("{name}=~{}", quoted(&pattern(glob))));
        let names = format!("__name__=~{}", quoted(names));
        let all: Vec<String> =
            [names].into_iter().chain(every.iter().cloned()).chain(own).collect();
        format!("{{{}}}", all.join(","))
    };
    let (plain, narrow): (Vec<&Selector>, Vec<&Selector>) =
        wanted.selectors.iter().partition(|selector| selector.labels.is_empty());
    let mut names: Vec<String> = plain.iter().map(|one| pattern(&one.metric)).collect();
    names.sort();
    names.dedup();
    let together = (!names.is_empty()).then(|| query(&names.join("|"), &[]));
    let mut queries: Vec<String> = together.into_iter().collect();
    for one in narrow {
        let one = query(&pattern(&one.metric), &one.labels);
        if !queries.contains(&one) {
            queries.push(one);
        }
    }
    queries
}

/// A text in a query.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A glob as a regular expression for the whole value: `*`, `?`, `[...]`, `{a,b}`; anything else stands for itself.
fn pattern(glob: &str) -> String {
    let mut out = String::new();
    let (mut in_class, mut braces) = (false, 0_u32);
    let mut chars = glob.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '!' if in_class && out.ends_with('[') => out.push('^'),
            '\\' => {
                out.push('\\');
                out.push(chars.next().unwrap_or('\\'));
            }
            _ if in_class => out.push(c),
            '[' => {
                in_class = true;
                out.push('[');
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str("\\]");
                }
            }
            '*' => {
                while chars.peek() == Some(&'*') {
                    chars.next();
                }
                out.push_str(".*");
            }
            '?' => out.push('.'),
            '{' => {
                braces += 1;
                out.push_str("(?:");
            }
            '}' if braces > 0 => {
                braces -= 1;
                out.push(')');
            }
            ',' if braces > 0 => out.push('|'),
            '.' | '+' | '(' | ')' | '|' | '^' | '$' | '}' => {
                out.push('\\');
                out.push(c);
            }
            _ => out.push(c),
        }
    }
    out
}
