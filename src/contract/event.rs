//! The events: a metric sample, a log line, and the label sets they share.
//!
//! A label set is sorted and hashed once, when it is first seen; afterwards it costs one reference count an event.

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use bytes::Bytes;

/// Sorted, unique, non-empty labels, hashed once.
#[derive(Clone, PartialEq, Eq)]
pub struct Labels {
    pairs: Box<[(Box<str>, Box<str>)]>,
    hash: u64,
}

impl Labels {
    /// Sorts, drops labels without a name or value, and lets the last of two equal names win.
    pub fn new<K: Into<Box<str>>, V: Into<Box<str>>>(
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let mut pairs: Vec<(Box<str>, Box<str>)> =
            pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        pairs.reverse();
        pairs.sort_by(|a, b| a.0.cmp(&b.0)); // stable: the last one given stands first among equals
        pairs.dedup_by(|later, first| later.0 == first.0);
        pairs.retain(|(name, value)| !name.is_empty() && !value.is_empty());
        let hash = foldhash::fast::FixedState::default().hash_one(&pairs);
        Labels { pairs: pairs.into(), hash }
    }

    /// These labels with more added; a name that is there already takes the new value.
    pub fn with<K: Into<Box<str>>, V: Into<Box<str>>>(
        &self,
        more: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let old = self.pairs.iter().cloned();
        Labels::new(old.chain(more.into_iter().map(|(name, value)| (name.into(), value.into()))))
    }

    /// The value of one label.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.pairs.binary_search_by(|(key, _)| (**key).cmp(name)).ok()?;
        Some(&self.pairs[at].1)
    }

    /// Name and value, in the order of the names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> + Clone {
        self.pairs.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The hash made when the labels were; stable within one version of the agent.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// How the values of a series behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows, and starts again at zero when its source restarts.
    Counter,
}

/// The identity of a metric: built once by its input, then shared.
#[derive(Debug, PartialEq, Eq)]
pub struct Series {
    name: Box<str>,
    kind: Kind,
    labels: Labels,
    hash: u64,
}

impl Series {
    /// A series of this name and these labels.
    pub fn new<K: Into<Box<str>>, V: Into<Box<str>>>(
        name: impl Into<Box<str>>,
        kind: Kind,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Arc<Self> {
        let (name, labels) = (name.into(), Labels::new(labels));
        let hash = foldhash::fast::FixedState::default().hash_one((&name, labels.hash));
        Arc::new(Series { name, kind, labels, hash })
    }

    /// The metric's name, in Telegraf's form `<measurement>_<field>`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gauge or counter.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// All labels but the name.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Of the name and the labels, made when the series was; stable within one version of the agent.
    pub fn hash(&self) -> u64 {
        self.hash
    }
}

/// One sample.
#[derive(Clone, Debug)]
pub struct Metric {
    /// Whose sample it is.
    pub series: Arc<Series>,
    /// Milliseconds since 1970-01-01 UTC.
    pub time_ms: i64,
    /// The value; outputs skip and count what is not finite.
    pub value: f64,
}

const _: () = assert!(size_of::<Metric>() == 24, "a batch of 1000 samples is 24 kB");

/// One log record.
#[derive(Clone, Debug)]
pub struct Log {
    /// The labels of its stream.
    pub stream: Arc<Labels>,
    /// Nanoseconds since 1970-01-01 UTC: when it was read, until a parser finds a better one.
    pub time_ns: i64,
    /// The line without its line end, byte for byte as it was; a slice of the read buffer.
    pub body: Bytes,
    /// What a parser found in it.
    pub fields: Option<Box<Fields>>,
}

/// What a parser found in a line.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fields(pub Vec<Field>);

/// One parsed field.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// For example `status`.
    pub name: Name,
    /// For example 200.
    pub value: Value,
}

/// A field's name: known at compile time, or learned and shared.
#[derive(Clone, Debug)]
pub enum Name {
    /// Named by the parser.
    Static(&'static str),
    /// Named by the data or the configuration.
    Shared(Arc<str>),
}

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        match self {
            Name::Static(name) => name,
            Name::Shared(name) => name,
        }
    }
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// A field's value; most are slices of the line itself and cost nothing.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `body[start..end]`.
    Slice(u32, u32),
    /// A text that is not in the line as it stands (unescaped, joined).
    Text(Box<str>),
    /// A number.
    Number(f64),
}

impl Fields {
    /// The value of the first field of this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|field| field.name.as_str() == name).map(|field| &field.value)
    }
}

impl Log {
    /// A field as bytes; `None` when it is absent or a number.
    pub fn text(&self, name: &str) -> Option<&[u8]> {
        match self.fields.as_ref()?.get(name)? {
            Value::Slice(start, end) => self.body.get(*start as usize..*end as usize),
            Value::Text(text) => Some(text.as_bytes()),
            Value::Number(_) => None,
        }
    }

    /// A field as a number, read from text when it has to be.
    pub fn number(&self, name: &str) -> Option<f64> {
        match self.fields.as_ref()?.get(name)? {
            Value::Number(number) => Some(*number),
            _ => std::str::from_utf8(self.text(name)?).ok()?.trim().parse().ok(),
        }
    }
}
