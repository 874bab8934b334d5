//! Messages into batches: those of one partition together, their payloads copied once into one buffer of their own.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use sentinel_contract::telemetry::Counters;
use sentinel_contract::{
    Audience, Batch, Events, Fate, Field, Fields, Labels, Log, Name, Permit, Receipt, Value,
};
use sentinel_transport::formats::Given;
use sentinel_transport::kafka::rdkafka::message::Message;

use super::books::Books;
use super::labels::Labeller;
use super::payload::{Decoder, Found};

const NS_PER_MS: i64 = 1_000_000;

/// What a message takes of the memory.
pub(super) fn cost(message: &impl Message) -> usize {
    message.payload().map_or(0, <[u8]>::len) + size_of::<Log>()
}

/// Messages of one partition, in their order.
pub(super) struct Run<I> {
    /// By which assignment it is ours.
    pub(super) assignment: u64,
    pub(super) audience: Audience,
    pub(super) messages: I,
}

/// Makes batches.
pub(super) struct Maker {
    pub(super) origin: Arc<str>,
    pub(super) labeller: Labeller,
    pub(super) decoder: Decoder,
    pub(super) counters: Arc<Counters>,
}

/// A message of which nothing can be made.
struct Poison {
    log: Log,
    why: Box<str>,
}

impl Maker {
    /// Appends the batches of a run, with its share of `permit`. A run of a partition that is not ours any more makes none:
    /// whose it is reads it.
    pub(super) fn make<'m, M: Message + 'm>(
        &mut self,
        run: Run<impl ExactSizeIterator<Item = &'m M> + Clone>,
        books: &Arc<Books>,
        permit: &mut Permit,
        batches: &mut Vec<Batch>,
    ) {
        let Run { assignment, audience, messages } = run;
        let Some((first, last)) = messages.clone().next().zip(messages.clone().last()) else {
            return;
        };
        let Some(number) = books.sent(assignment, first.offset(), last.offset() + 1) else {
            return;
        };
        let told = Arc::clone(books);
        let receipt = Receipt::new(move |fate| told.resolve(assignment, number, fate));
        let mut share = permit.split(messages.clone().map(cost).sum());
        let (mut found, poison) = self.events(messages);
        found.drops.settle(&self.counters);
        let (lines, samples) =
            (found.logs.len() * size_of::<Log>(), size_of_val(&found.metrics[..]));
        self.charge(&mut share, lines + samples);
        let (source, order) = (first.partition() as u64, order(first.topic(), first.partition()));
        let begun = batches.len();
        let mut push = |events: Events, refused, bytes| {
            let (receipt, permit) = (Some(receipt.clone()), Some(share.split(bytes)));
            let origin = Arc::clone(&self.origin);
            batches.push(Batch {
                source,
                order,
                audience,
                refused,
                receipt,
                permit,
                ..Batch::new(origin, events)
            });
        };
        if !found.metrics.is_empty() {
            push(Events::Metrics(found.metrics), None, samples);
        }
        for Poison { log, why } in poison {
            push(Events::Logs(vec![log]), Some(why), 0);
        }
        if !found.logs.is_empty() {
            push(Events::Logs(found.logs), None, usize::MAX); // the rest: the buffer is theirs
        }
        receipt.resolve(Fate::Delivered); // as far as this copy goes
        // Once all of the run is seen. A clock that is ahead says nothing of how far the others have come.
        let now = now_ms();
        let reached_ms = last.timestamp().to_millis().filter(|ms| (1..=now).contains(ms));
        if let Some(batch) = batches[begun..].iter_mut().rfind(|batch| batch.refused.is_none()) {
            batch.reached_ms = reached_ms;
        }
    }

    /// Charges what a format's events take beyond what a line each would: many samples, or many lines, of one message.
    fn charge(&self, share: &mut Permit, events: usize) {
        let more = events.saturating_sub(share.bytes());
        if more > 0 && !share.try_grow(more) {
            self.counters.count("uncharged", 1);
        }
    }

    fn events<'m, M: Message + 'm>(
        &mut self,
        messages: impl ExactSizeIterator<Item = &'m M> + Clone,
    ) -> (Found, Vec<Poison>) {
        let bytes = messages.clone().filter_map(|message| message.payload()).map(<[u8]>::len).sum();
        let mut buffer = BytesMut::with_capacity(bytes);
        for message in messages.clone() {
            buffer.extend_from_slice(message.payload().unwrap_or_default());
        }
        let buffer = buffer.freeze();
        let (mut found, mut poison, mut at) = (Found::default(), Vec::new(), 0);
        if matches!(self.decoder, Decoder::Raw) {
            found.logs.reserve(messages.len());
        }
        let mut labels: Option<Arc<Labels>> = None;
        for message in messages {
            let Some(payload) = message.payload() else {
                self.counters.count("tombstone", 1);
                continue;
            };
            let payload = buffer.slice(at..at + payload.len());
            at += payload.len();
            let labels = match &mut labels {
                Some(same) if self.labeller.is_of_partition() => same,
                labels => labels.insert(self.labeller.labels(message)),
            };
            poison.extend(self.message(message, payload, labels, &mut found));
        }
        (found, poison)
    }

    fn message<M: Message>(
        &mut self,
        message: &M,
        payload: Bytes,
        labels: &Arc<Labels>,
        found: &mut Found,
    ) -> Option<Poison> {
        let given = Given { labels, now_ns: time_ns(message) };
        let before = found.logs.len();
        match self.decoder.decode(&payload, given, found) {
            Ok(()) => {
                if self.labeller.has_fields() {
                    let fields = self.labeller.fields(message);
                    found.logs[before..].iter_mut().for_each(|log| add(&fields, log));
                }
                None
            }
            Err(malformed) => Some(poison(message, payload, labels, &malformed.0)),
        }
    }
}

fn add(fields: &[Field], log: &mut Log) {
    if !fields.is_empty() {
        log.fields.get_or_insert_default().0.extend_from_slice(fields);
    }
}

/// The letter says which message it was.
fn poison<M: Message>(message: &M, payload: Bytes, labels: &Arc<Labels>, why: &str) -> Poison {
    let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
    let field =
        |name, text: String| Field { name: Name::Static(name), value: Value::Text(text.into()) };
    let fields = vec![
        field("topic", topic.to_owned()),
        field("partition", partition.to_string()),
        field("offset", offset.to_string()),
    ];
    let (stream, fields) = (Arc::clone(labels), Some(Box::new(Fields(fields))));
    Poison {
        log: Log { stream, time_ns: time_ns(message), body: payload, fields },
        why: format!("{topic}/{partition}, offset {offset}: {why}").into(),
    }
}

/// The message's own time, in milliseconds, and its offset where the nanoseconds stand: messages of one millisecond stay apart
/// and in order, and one that is read again has the time it had, so that Loki sees that it is the same.
fn time_ns(message: &impl Message) -> i64 {
    let ms = message.timestamp().to_millis().filter(|ms| *ms > 0).unwrap_or_else(now_ms);
    ms.saturating_mul(NS_PER_MS).saturating_add(message.offset().rem_euclid(NS_PER_MS))
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as i64)
}

/// The same for a partition on every host and after every restart (FNV-1a).
pub(super) fn order(topic: &str, partition: i32) -> u64 {
    let bytes = topic.bytes().chain([0]).chain(partition.to_le_bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
