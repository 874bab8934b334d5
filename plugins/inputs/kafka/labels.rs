//! Labels and fields of a message: texts made of its topic, partition, offset, time, key and headers.
//!
//! Labels that are made of topic and partition alone are made once a partition; others once for each text.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use sentinel_contract::{Field, Labels, Name, Value};
use sentinel_transport::kafka::Template;
use sentinel_transport::kafka::rdkafka::message::{Headers as _, Message};

/// Label sets that are remembered; more are forgotten all at once, and made again.
const MOST: usize = 10_000;
/// Bytes of one text.
const LONGEST: usize = 1024;

/// What a template may name beside `header.NAME`.
pub(super) const NAMES: [&str; 5] = ["topic", "partition", "offset", "timestamp", "key"];

/// Makes labels and fields.
pub(super) struct Labeller {
    base: Arc<Labels>,
    labels: Vec<(Box<str>, Template)>,
    fields: Vec<(Arc<str>, Template)>,
    /// Labels name nothing but topic and partition.
    of_partition: bool,
    /// Label sets by the texts that made them.
    known: HashMap<Box<str>, Arc<Labels>, foldhash::fast::RandomState>,
    text: String,
}

/// Whether a template may name this.
pub(super) fn is_name(name: &str) -> bool {
    NAMES.contains(&name) || name.strip_prefix("header.").is_some_and(|header| !header.is_empty())
}

impl Labeller {
    pub(super) fn new(
        base: &Labels,
        labels: Vec<(Box<str>, Template)>,
        fields: Vec<(Arc<str>, Template)>,
    ) -> Self {
        // What is the same for all messages is in the base.
        let (fixed, labels): (Vec<_>, Vec<_>) =
            labels.into_iter().partition(|(_, template)| template.names().next().is_none());
        let fixed = fixed.into_iter().map(|(name, template)| {
            let mut text = String::new();
            let _fits = template.render(&mut text, LONGEST, |_, _| false);
            (name, text)
        });
        let base = Arc::new(base.with(fixed));
        let of_partition = labels
            .iter()
            .flat_map(|(_, template)| template.names())
            .all(|name| matches!(name, "topic" | "partition"));
        let (known, text) = (HashMap::default(), String::new());
        Labeller { base, labels, fields, of_partition, known, text }
    }

    /// Whether all messages of a partition have the same labels.
    pub(super) fn is_of_partition(&self) -> bool {
        self.of_partition
    }

    /// The labels of a message. A name for which it has nothing leaves its label out.
    pub(super) fn labels<M: Message>(&mut self, message: &M) -> Arc<Labels> {
        if self.labels.is_empty() {
            return Arc::clone(&self.base);
        }
        self.text.clear();
        for (_, template) in &self.labels {
            let _left_out =
                template.render(&mut self.text, LONGEST, |name, out| put(message, name, out));
            self.text.push('\0');
        }
        if let Some(known) = self.known.get(self.text.as_str()) {
            return Arc::clone(known);
        }
        let names = self.labels.iter().map(|(name, _)| &**name);
        let made = Arc::new(self.base.with(names.zip(self.text.split('\0'))));
        if self.known.len() >= MOST {
            self.known.clear();
        }
        self.known.insert(self.text.as_str().into(), Arc::clone(&made));
        made
    }

    /// Whether messages get fields.
    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// The fields of a message. One for which it has nothing is left out.
    pub(super) fn fields<M: Message>(&mut self, message: &M) -> Vec<Field> {
        let mut fields = Vec::with_capacity(self.fields.len());
        for (name, template) in &self.fields {
            let mut text = String::new();
            if template.render(&mut text, LONGEST, |name, out| put(message, name, out)).is_ok() {
                let value = Value::Text(text.into());
                fields.push(Field { name: Name::Shared(Arc::clone(name)), value });
            }
        }
        fields
    }
}

/// Appends what a name stands for; false when the message has no such thing.
fn put<M: Message>(message: &M, name: &str, out: &mut String) -> bool {
    let text = |bytes: &[u8], out: &mut String| {
        out.push_str(&String::from_utf8_lossy(bytes).replace('\0', ""));
    };
    match name {
        "topic" => out.push_str(message.topic()),
        "partition" => write!(out, "{}", message.partition()).unwrap_or_default(),
        "offset" => write!(out, "{}", message.offset()).unwrap_or_default(),
        "timestamp" => {
            let Some(ms) = message.timestamp().to_millis() else { return false };
            write!(out, "{ms}").unwrap_or_default();
        }
        "key" => {
            let Some(key) = message.key() else { return false };
            text(key, out);
        }
        other => {
            let Some(wanted) = other.strip_prefix("header.") else { return false };
            let found = message.headers().and_then(|headers| {
                headers.iter().find(|header| header.key == wanted).and_then(|header| header.value)
            });
            let Some(value) = found else { return false };
            text(value, out);
        }
    }
    true
}
