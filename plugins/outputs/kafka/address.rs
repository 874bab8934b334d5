//! Where a message goes: topic and key made of the labels of its events, once for each label set.

use std::collections::HashSet;
use std::sync::Arc;

use sentinel_contract::{Cause, Labels, Series};
use sentinel_transport::ByIdentity;
use sentinel_transport::kafka::{Refused, Template};

/// Kafka's own limit of a topic's name (`Topic.MAX_NAME_LENGTH`).
const LONGEST_TOPIC: usize = 249;
/// Longest key.
const LONGEST_KEY: usize = 1024;
/// Label sets that are remembered; more are forgotten all at once, and made again.
const MOST: usize = 20_000;

/// Topic and key.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct Address {
    pub(super) topic: String,
    pub(super) key: String,
}

type Made = Result<Arc<Address>, Refused>;

/// Addresses by label set. Events of the same address get the same `Arc`.
pub(super) struct Addresses {
    maker: Maker,
    streams: ByIdentity<Labels, Made>,
    series: ByIdentity<Series, Made>,
    /// The entry of the stream before: most lines come in runs.
    latest: usize,
}

struct Maker {
    topic: Template,
    key: Template,
    host: Arc<str>,
    known: HashSet<Arc<Address>, foldhash::fast::RandomState>,
}

/// Whether brokers would take it as a topic's name.
pub(super) fn is_topic(name: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let length = (1..=LONGEST_TOPIC).contains(&name.len());
    length && name.bytes().all(legal) && name != "." && name != ".."
}

impl Addresses {
    pub(super) fn new(topic: Template, key: Template, host: Arc<str>) -> Self {
        let maker = Maker { topic, key, host, known: HashSet::default() };
        Addresses {
            maker,
            streams: ByIdentity::default(),
            series: ByIdentity::default(),
            latest: 0,
        }
    }

    /// The same for another instance.
    pub(super) fn beside(&self) -> Self {
        let Maker { topic, key, host, .. } = &self.maker;
        Addresses::new(topic.clone(), key.clone(), Arc::clone(host))
    }

    /// The topic, when it is the same for all.
    pub(super) fn fixed_topic(&self) -> Option<String> {
        let mut text = String::new();
        self.maker.topic.render(&mut text, LONGEST_TOPIC, |_, _| false).ok().map(|()| text)
    }

    /// Where lines of a stream go.
    pub(super) fn of_stream(&mut self, labels: &Arc<Labels>) -> Result<Arc<Address>, Cause> {
        if !self.streams.is(self.latest, labels) {
            if self.streams.entries().len() >= MOST {
                self.streams = ByIdentity::default();
            }
            let make = || self.maker.make(labels);
            self.latest = self.streams.adopt(labels, labels.hash(), make).0;
        }
        told(self.streams.value(self.latest))
    }

    /// Where samples of a series go.
    pub(super) fn of_series(&mut self, series: &Arc<Series>) -> Result<Arc<Address>, Cause> {
        if self.series.entries().len() >= MOST {
            self.series = ByIdentity::default();
        }
        let make = || self.maker.make(series.labels());
        let at = self.series.adopt(series, series.hash(), make).0;
        told(self.series.value(at))
    }

    /// Where what has no labels of its own goes: by the host.
    pub(super) fn of_host(&mut self, host: &str) -> Result<Arc<Address>, Cause> {
        told(&self.maker.make(&Labels::new([("host", host)])))
    }
}

fn told(made: &Made) -> Result<Arc<Address>, Cause> {
    match made {
        Ok(address) => Ok(Arc::clone(address)),
        Err(Refused::Missing(name)) => {
            Err(anyhow::anyhow!("topic or key need the label {name}, which it does not have"))
        }
        Err(Refused::TooLong) => Err(anyhow::anyhow!(
            "its labels make no topic that Kafka allows, or a key of more than {LONGEST_KEY} bytes"
        )),
    }
}

impl Maker {
    fn make(&mut self, labels: &Labels) -> Made {
        let put = |name: &str, out: &mut String| {
            let value = labels.get(name).or((name == "host").then_some(&*self.host));
            value.map(|value| out.push_str(value)).is_some()
        };
        let mut address = Address { topic: String::new(), key: String::new() };
        self.topic.render(&mut address.topic, LONGEST_TOPIC, put)?;
        self.key.render(&mut address.key, LONGEST_KEY, put)?;
        if !is_topic(&address.topic) {
            return Err(Refused::TooLong);
        }
        if let Some(known) = self.known.get(&address) {
            return Ok(Arc::clone(known));
        }
        if self.known.len() >= MOST {
            self.known.clear();
        }
        let address = Arc::new(address);
        self.known.insert(Arc::clone(&address));
        Ok(address)
    }
}
