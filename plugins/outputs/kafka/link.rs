//! The producer that all instances of the output share, and what became of the messages of each write.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sentinel_contract::{Cause, WriteError};
use sentinel_transport::Tls;
use sentinel_transport::kafka::rdkafka::ClientConfig;
use sentinel_transport::kafka::rdkafka::client::ClientContext;
use sentinel_transport::kafka::rdkafka::config::RDKafkaLogLevel;
use sentinel_transport::kafka::rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use sentinel_transport::kafka::rdkafka::message::{DeliveryResult, Message as _};
use sentinel_transport::kafka::rdkafka::metadata::MetadataTopic;
use sentinel_transport::kafka::rdkafka::producer::{
    BaseRecord, NoCustomPartitioner, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use sentinel_transport::kafka::{Heard, Trouble, heard, trouble};
use tokio::sync::Notify;

use super::payload::Message;

/// A full queue of librdkafka's is looked at again after this long, even if nothing was said of it.
const FULL: Duration = Duration::from_millis(20);
/// How long brokers may take to answer a probe.
const PROBE: Duration = Duration::from_secs(8);

/// A broker refuses a whole record batch for it, or for another message of it: which one it is, is found by halves.
fn is_shared(code: Code) -> bool {
    matches!(
        code,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge | Code::InvalidDifferentRecord
    )
}

type Inner = ThreadedProducer<Reports, NoCustomPartitioner>;

/// Makes the producer when it is needed.
pub(super) struct Link {
    client: ClientConfig,
    tls: Tls,
    timeout: Duration,
    /// The topic is the same for all events.
    one_topic: bool,
    current: Mutex<Option<Arc<Producer>>>,
}

/// A producer, and what it has said.
pub(super) struct Producer {
    /// There until it is dropped.
    inner: Option<Inner>,
    next: AtomicU32,
}

/// Takes delivery reports.
pub(super) struct Reports {
    writes: Mutex<HashMap<u32, Arc<Counts>>>,
    heard: Heard,
    /// What stops writes at once: nobody is there, or we are not let in. How often it was so, and what it was last.
    alarm: Mutex<(u64, Trouble)>,
    alarmed: Notify,
    /// Somebody waits for room in librdkafka's queue.
    full: AtomicBool,
    room: Notify,
}

/// The messages of one write.
#[derive(Default)]
struct Counts {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Default)]
struct State {
    waiting: usize,
    failed: Vec<(u32, Code)>,
    /// Where the first of them should have gone.
    topic: String,
}

/// A write under way.
pub(super) struct Writing {
    producer: Arc<Producer>,
    counts: Arc<Counts>,
    id: u32,
    /// Alarms before it began, which are not about it.
    alarms: u64,
    began: Instant,
    timeout: Duration,
    /// The events of each message.
    events: Vec<Range<usize>>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Link {
    pub(super) fn new(client: ClientConfig, tls: Tls, timeout: Duration, one_topic: bool) -> Self {
        Link { client, tls, timeout, one_topic, current: Mutex::default() }
    }

    /// A write begins, on the producer that is there, or a new one.
    pub(super) fn begin(&self) -> Result<Writing, Cause> {
        Ok(self.producer()?.begin(self.timeout))
    }

    /// The producer; made when there is none.
    ///
    /// Errors: librdkafka refuses its configuration, for example a certificate that cannot be read.
    fn producer(&self) -> Result<Arc<Producer>, Cause> {
        let mut current = locked(&self.current);
        if let Some(producer) = &*current {
            return Ok(Arc::clone(producer));
        }
        let reports = Reports {
            writes: Mutex::default(),
            heard: Heard::new(self.tls.clone()),
            alarm: Mutex::new((0, Trouble::Brokers)),
            alarmed: Notify::new(),
            full: AtomicBool::new(false),
            room: Notify::new(),
        };
        let inner = self.client.create_with_context(reports)?;
        let producer = Arc::new(Producer { inner: Some(inner), next: AtomicU32::new(0) });
        *current = Some(Arc::clone(&producer));
        Ok(producer)
    }

    /// Waits until each message of the write is settled. The events that are refused for good, and why.
    pub(super) async fn done(
        &self,
        writing: Writing,
    ) -> Result<(Vec<usize>, Option<Cause>), WriteError> {
        let settled =
            tokio::time::timeout(self.timeout + Duration::from_secs(1), writing.settled()).await;
        let reports = writing.producer.inner().client().context();
        let failed = match settled {
            Ok(None) => writing.failed(),
            Ok(Some(trouble)) => {
                let words = reports.heard.of(trouble).unwrap_or_default();
                return Err(self.give_up(&writing, trouble, anyhow::anyhow!(words)));
            }
            Err(_) => {
                let cause = anyhow::anyhow!("no answer within {:?}", self.timeout);
                return Err(self.give_up(&writing, Trouble::Brokers, cause));
            }
        };
        let Some((_, code)) =
            failed.iter().find(|(_, code)| self.is_for_all(*code)).or(failed.first())
        else {
            return Ok((Vec::new(), None));
        };
        let topic = locked(&writing.counts.state).topic.clone();
        let words = anyhow::anyhow!("{topic}: {}", reports.heard.about(*code));
        let events: usize = writing.events.iter().map(ExactSizeIterator::len).sum();
        if self.is_for_all(*code) {
            Err(self.give_up(&writing, trouble(*code), words))
        } else if failed.iter().any(|(_, code)| is_shared(*code)) && events > 1 {
            Err(WriteError::Split { cause: words })
        } else {
            let events = failed.iter().flat_map(|(at, _)| writing.events[*at as usize].clone());
            Ok((events.collect(), Some(words)))
        }
    }

    /// Whether it is not about single messages: then all are kept. One topic of many that is not there is about its own.
    fn is_for_all(&self, code: Code) -> bool {
        match trouble(code) {
            Trouble::Message => false,
            Trouble::Topic => self.one_topic,
            _ => true,
        }
    }

    /// Forgets the producer, with all that it has not sent yet: the next write makes another.
    fn give_up(&self, writing: &Writing, trouble: Trouble, cause: Cause) -> WriteError {
        let mut current = locked(&self.current);
        if current.as_ref().is_some_and(|producer| Arc::ptr_eq(producer, &writing.producer)) {
            *current = None;
        }
        drop(current);
        writing.producer.inner().purge(PurgeConfig::default().queue().inflight().non_blocking());
        match trouble {
            Trouble::Credentials | Trouble::Topic | Trouble::Group => WriteError::Hold { cause },
            Trouble::Brokers | Trouble::Message | Trouble::Other => {
                WriteError::Retry { after: None, cause }
            }
        }
    }

    /// Asks the brokers for the topic.
    pub(super) async fn probe(&self, topic: Option<String>) -> Result<String, Cause> {
        let producer = self.producer()?;
        let asked = tokio::task::spawn_blocking(move || producer.ask(topic.as_deref()));
        asked.await?
    }
}

impl Producer {
    fn inner(&self) -> &Inner {
        self.inner.as_ref().expect("there until it is dropped")
    }

    /// A write begins.
    fn begin(self: &Arc<Self>, timeout: Duration) -> Writing {
        let (id, counts) = (self.next.fetch_add(1, Relaxed), Arc::new(Counts::default()));
        let reports = self.inner().client().context();
        locked(&reports.writes).insert(id, Arc::clone(&counts));
        let alarms = locked(&reports.alarm).0;
        let (producer, began, events) = (Arc::clone(self), Instant::now(), Vec::new());
        Writing { producer, counts, id, alarms, began, timeout, events }
    }

    fn ask(&self, topic: Option<&str>) -> Result<String, Cause> {
        let client = self.inner().client();
        let heard = &client.context().heard;
        let listen = || (); // a thread of the producer's does
        let metadata = heard::ask(heard, PROBE, listen, |wait| client.fetch_metadata(topic, wait))?;
        let brokers = metadata.brokers().len();
        let Some(topic) = topic else { return Ok(format!("{brokers} brokers")) };
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        if let Some(error) = found.and_then(MetadataTopic::error) {
            anyhow::bail!("{topic}: {}", heard.about(error.into()));
        }
        let partitions = found.map_or(0, |found| found.partitions().len());
        Ok(format!("{brokers} brokers, {partitions} partitions of {topic}"))
    }
}

/// librdkafka's threads are waited for, for half a second at most: not by whoever happens to be the last to let go.
impl Drop for Producer {
    fn drop(&mut self) {
        let inner = self.inner.take();
        std::thread::spawn(move || drop(inner));
    }
}

impl Writing {
    /// Hands one message to librdkafka; waits while that has no room.
    pub(super) async fn send(&mut self, message: &Message<'_>) {
        let at = self.events.len() as u32;
        self.events.push(message.events.clone());
        locked(&self.counts.state).waiting += 1;
        let opaque = (self.id as usize) << 32 | at as usize;
        let address = &message.address;
        let mut record = BaseRecord::with_opaque_to(&address.topic, opaque)
            .payload(message.payload)
            .timestamp(message.time_ms);
        if !address.key.is_empty() {
            record = record.key(address.key.as_bytes());
        }
        let reports = self.producer.inner().client().context();
        loop {
            let room = reports.room.notified();
            let Err((error, back)) = self.producer.inner().send(record) else { return };
            if error.rdkafka_error_code() != Some(Code::QueueFull) {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                self.counts.failed(at, code, &address.topic);
                return;
            }
            let alarms = locked(&reports.alarm).0;
            if alarms > self.alarms || self.began.elapsed() > self.timeout {
                self.counts.failed(at, Code::MessageTimedOut, &address.topic);
                return;
            }
            record = back;
            reports.full.store(true, Relaxed);
            let _looks_again = tokio::time::timeout(FULL, room).await;
        }
    }

    /// Waits until all are settled (`None`), or until something stops them all.
    async fn settled(&self) -> Option<Trouble> {
        let reports = self.producer.inner().client().context();
        loop {
            let (changed, alarmed) = (self.counts.changed.notified(), reports.alarmed.notified());
            if locked(&self.counts.state).waiting == 0 {
                return None;
            }
            let (alarms, trouble) = *locked(&reports.alarm);
            if alarms > self.alarms {
                return Some(trouble);
            }
            tokio::select! {
                () = changed => (),
                () = alarmed => (),
            }
        }
    }

    fn failed(&self) -> Vec<(u32, Code)> {
        std::mem::take(&mut locked(&self.counts.state).failed)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        locked(&self.producer.inner().client().context().writes).remove(&self.id);
    }
}

impl Counts {
    fn failed(&self, at: u32, code: Code, topic: &str) {
        let mut state = locked(&self.state);
        if state.failed.is_empty() {
            topic.clone_into(&mut state.topic);
        }
        state.failed.push((at, code));
        self.settle(state);
    }

    fn settle(&self, mut state: MutexGuard<'_, State>) {
        state.waiting -= 1;
        let done = state.waiting == 0;
        drop(state);
        if done {
            self.changed.notify_one();
        }
    }
}

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        heard::log(level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let (kind, words, is_new) = self.heard.error(&error, reason);
        if is_new {
            tracing::debug!("{words}");
        }
        let down = error.rdkafka_error_code() == Some(Code::AllBrokersDown);
        if down || kind == Trouble::Credentials {
            let mut alarm = locked(&self.alarm);
            *alarm = (alarm.0 + 1, kind);
            drop(alarm);
            self.alarmed.notify_waiters();
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        if self.full.swap(false, Relaxed) {
            self.room.notify_waiters();
        }
        let Some(counts) = locked(&self.writes).get(&((opaque >> 32) as u32)).cloned() else {
            return; // of a write that was given up
        };
        match result {
            Ok(_) => counts.settle(locked(&counts.state)),
            Err((error, message)) => {
                let code = error.rdkafka_error_code().unwrap_or(Code::Fail);
                counts.failed(opaque as u32, code, message.topic());
            }
        }
    }
}
