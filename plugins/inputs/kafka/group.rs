//! What librdkafka calls back: partitions come and go, offsets were committed, something is wrong, figures are there.
//!
//! Called from within `poll`, on the reader's thread. A partition that is to go is drained first: nothing more of it goes out,
//! what is under way is waited for, and what was acknowledged is committed before another member reads on from there.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use sentinel_contract::Stop;
use sentinel_contract::telemetry::Counters;
use sentinel_transport::kafka::rdkafka::client::ClientContext;
use sentinel_transport::kafka::rdkafka::config::RDKafkaLogLevel;
use sentinel_transport::kafka::rdkafka::consumer::{
    BaseConsumer, CommitMode, Consumer as _, ConsumerContext,
};
use sentinel_transport::kafka::rdkafka::error::KafkaError;
use sentinel_transport::kafka::rdkafka::statistics::Statistics;
use sentinel_transport::kafka::rdkafka::types::{RDKafkaErrorCode, RDKafkaRespErr};
use sentinel_transport::kafka::rdkafka::{Offset, TopicPartitionList};
use sentinel_transport::kafka::{Heard, Trouble, heard};

use super::Settings;
use super::books::{Books, Bounds, Partition};
use super::keep::{Keep, Known};
use super::message::order;
use super::start;

/// How long what went out is waited for when what observers know is kept in between.
const KEEP: Duration = Duration::from_secs(2);
/// Who is told to stop waits no longer for what is under way: the time until it must have ended is for more than that.
const STOPPING: Duration = Duration::from_secs(3);
/// How long a broker may take to say where a partition ends.
const WATERMARKS: Duration = Duration::from_secs(5);

/// What a commit is answered while the group shares out its partitions anew.
const MOVING: [RDKafkaErrorCode; 3] = [
    RDKafkaErrorCode::IllegalGeneration,
    RDKafkaErrorCode::RebalanceInProgress,
    RDKafkaErrorCode::UnknownMemberId,
];

/// The consumer's context.
pub(super) struct Group {
    pub(super) settings: Arc<Settings>,
    /// When observers are kept one a partition.
    pub(super) keep: Option<Keep>,
    pub(super) books: Arc<Books>,
    pub(super) counters: Arc<Counters>,
    pub(super) heard: Heard,
    /// Times that partitions were given or taken.
    pub(super) rebalances: AtomicU64,
    /// Once no receipt can come any more nothing is waited for.
    pub(super) stop: Stop,
    /// The partitions are paused.
    pub(super) paused: AtomicBool,
    /// Held while a commit is under way: none overtakes another.
    pub(super) committing: Mutex<()>,
}

/// The consumer.
pub(super) type Consumer = BaseConsumer<Group>;

impl Group {
    fn assign(&self, consumer: &Consumer, partitions: &mut TopicPartitionList) {
        let begun = start::resolve(consumer, partitions, &self.settings, &self.counters);
        let answered = begun.is_ok();
        if let Err(error) = begun {
            self.complain("start", &format!("cannot ask where to begin: {error:#}"));
        } else {
            self.counters.clear_note("start");
        }
        self.take(consumer, partitions);
        // librdkafka remembers that a partition was paused when it went. Of one that was not, this changes nothing.
        let resumed = consumer.resume(&partitions.clone());
        if let Err(error) = resumed.and_then(|()| consumer.incremental_assign(partitions)) {
            self.complain("group", &format!("cannot take partitions: {error}"));
        }
        let about = self.heard.of(Trouble::Topic).unwrap_or_default();
        if partitions.elements().iter().any(|partition| about.contains(partition.topic())) {
            self.mended(&[Trouble::Topic]);
        }
        self.mended(&[Trouble::Group]);
        if answered {
            self.works();
        }
    }

    /// Partitions are ours, and so is what observers know of them. Sets the offset of one whose observers know less than the
    /// outputs have taken.
    fn take(&self, consumer: &Consumer, partitions: &mut TopicPartitionList) {
        let elements: Vec<((Arc<str>, i32), Offset)> = partitions
            .elements()
            .iter()
            .map(|one| ((one.topic().into(), one.partition()), one.offset()))
            .collect();
        let Some(keep) = &self.keep else {
            for (partition, _) in elements {
                self.books.assign(partition, Bounds::NONE);
            }
            return;
        };
        let names: Vec<_> =
            elements.iter().map(|(one, _)| (name(one), order(&one.0, one.1))).collect();
        let known = keep.begin(&names);
        match &known {
            Ok(_) => self.counters.clear_note("state"),
            Err(error) => {
                self.complain("state", &format!("what observers knew cannot be read: {error:#}"));
            }
        }
        let known = known.unwrap_or_else(|_| vec![None; elements.len()]);
        for ((partition, begin), known) in elements.into_iter().zip(known) {
            let delivered = match begin {
                Offset::Offset(offset) => offset,
                _ => i64::MIN, // at the oldest message: nothing was taken
            };
            let mut bounds = Bounds { delivered, observed: Some(known.unwrap_or(delivered)) };
            let (topic, id) = (&partition.0, partition.1);
            if let Ok((_, end)) = consumer.fetch_watermarks(topic, id, WATERMARKS)
                && bounds.end_at(end)
            {
                tracing::warn!(
                    "{topic}/{id} ends at {end}, before what was read of it: it was made anew, or has lost messages"
                );
            }
            let observed = bounds.observed.unwrap_or(delivered);
            if observed < bounds.delivered {
                // What the broker has deleted meanwhile it leaves out.
                let set =
                    partitions.set_partition_offset(topic, id, Offset::Offset(observed.max(0)));
                set.unwrap_or_else(|error| self.complain("state", &error.to_string()));
            }
            self.books.assign(partition, bounds);
        }
    }

    /// Keeps what observers know of these partitions, once what went out of them is acknowledged; with `last` they end.
    /// False: not now, outputs take nothing.
    pub(super) fn keep(&self, of: impl Fn(&Partition) -> bool, last: bool) -> bool {
        let Some(keep) = self.keep.as_ref().filter(|keep| last || keep.is_kept()) else {
            return true;
        };
        // What is acknowledged was shown to the observers before.
        if !last && !self.books.drain(&of, KEEP, || false) {
            self.counters.count("state_waits", 1);
            return false;
        }
        let known = self.books.observed(of).into_iter().map(|(partition, upto)| {
            let order = order(&partition.0, partition.1);
            Known { name: name(&partition), order, upto }
        });
        let known: Vec<Known> = known.filter(|known| known.upto > i64::MIN || last).collect();
        match keep.save(&known, last) {
            Ok(()) => self.counters.clear_note("state"),
            Err(error) => {
                self.complain("state", &format!("what observers know is not kept: {error:#}"));
            }
        }
        true
    }

    fn revoke(&self, consumer: &Consumer, partitions: &TopicPartitionList) {
        let going: Vec<(String, i32)> = partitions
            .elements()
            .iter()
            .map(|partition| (partition.topic().to_owned(), partition.partition()))
            .collect();
        let is_going = |(topic, partition): &Partition| {
            going.iter().any(|(t, p)| **t == **topic && p == partition)
        };
        // Of partitions that were lost (we were taken for dead) another member reads already: it is too late to wait.
        if !consumer.assignment_lost() {
            let begun = Instant::now();
            let stop = || {
                let stopping = self.stop.reading.is_cancelled() && begun.elapsed() > STOPPING;
                stopping || self.stop.finished.is_cancelled()
            };
            if !self.books.drain(is_going, self.settings.drain_timeout, stop) {
                self.counters.count("drain_timed_out", going.len() as u64);
            }
            // First what observers know, then what outputs have taken: who reads on from there finds the first.
            self.keep(is_going, true);
            self.commit(consumer, is_going);
        } else if let Some(keep) = &self.keep {
            for (topic, partition) in &going {
                keep.runtime.block_on(keep.observers.forget(order(topic, *partition)));
            }
        }
        self.books.revoke(is_going);
        if let Err(error) = consumer.incremental_unassign(partitions) {
            self.complain("group", &format!("cannot give partitions back: {error}"));
        }
    }

    /// Tells the group what is acknowledged of these partitions, and waits for its answer. Whether it knows all of it.
    pub(super) fn commit(&self, consumer: &Consumer, of: impl Fn(&Partition) -> bool) -> bool {
        let _one_at_a_time = self.committing.lock();
        let due = self.books.take_due(of);
        let mut offsets = TopicPartitionList::with_capacity(due.len());
        for ((topic, partition), offset) in &due {
            // Fails for an offset that no message can have only.
            let _added = offsets.add_partition_offset(topic, *partition, Offset::Offset(*offset));
        }
        let committed =
            if due.is_empty() { Ok(()) } else { consumer.commit(&offsets, CommitMode::Sync) };
        let Err(error) = committed else {
            self.counters.clear_note("commit");
            return true;
        };
        for ((topic, partition), _) in &due {
            self.books.untold(topic, *partition);
        }
        if !error.rdkafka_error_code().is_some_and(|code| MOVING.contains(&code)) {
            self.complain("commit", &format!("cannot commit offsets, and tries again: {error}"));
        }
        false
    }

    /// Observers of a partition of which all was read and delivered may go on to the present: their clock is the partition's, and
    /// stands still as long as we do not know.
    fn tell_observers(&self, statistics: &Statistics) {
        let Some(keep) = &self.keep else { return };
        let is_up = |leader: i32| {
            statistics.brokers.values().any(|one| one.nodeid == leader && one.state == "UP")
        };
        if self.paused.load(Relaxed) {
            return; // nothing is asked of brokers: where a partition ends is not known
        }
        // Of the time at which the figures were made; a fetch before it may be half a second old.
        let then_ms = (statistics.time - 1) * 1000;
        for topic in statistics.topics.values() {
            for (id, partition) in &topic.partitions {
                let end = partition.ls_offset;
                let all = end >= 0 && self.books.has_all(&topic.topic, *id, end);
                if all && is_up(partition.leader) {
                    keep.observers.reached(order(&topic.topic, *id), then_ms);
                }
            }
        }
    }

    /// Notes a condition, and says it once.
    pub(super) fn complain(&self, about: &str, words: &str) {
        self.counters.error(now_ms(), words);
        if self.counters.note(about, words) {
            tracing::warn!("{words}");
        }
    }

    /// Brokers are there and let us in.
    pub(super) fn works(&self) {
        for trouble in self.heard.works() {
            self.counters.clear_note(trouble.word());
            tracing::info!("kafka: {} again as it should be", trouble.word());
        }
    }

    fn mended(&self, kinds: &[Trouble]) {
        for trouble in self.heard.mended(kinds) {
            self.counters.clear_note(trouble.word());
        }
    }
}

impl ClientContext for Group {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        heard::log(level, facility, line);
        if let Some(words) = heard::unreachable(facility, line) {
            self.error(KafkaError::Global(RDKafkaErrorCode::BrokerTransportFailure), words);
        }
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let (trouble, words, _) = self.heard.error(&error, reason);
        self.complain(trouble.word(), &words);
    }

    fn stats(&self, statistics: Statistics) {
        let ours = |topic: &str, partition| self.books.find(topic, partition).is_some();
        let lags = statistics.topics.values().flat_map(|topic| {
            let ours = topic.partitions.iter().filter(|(id, _)| ours(&topic.topic, **id));
            ours.map(|(_, partition)| partition.consumer_lag).filter(|lag| *lag >= 0)
        });
        self.counters.gauge("consumer_lag", lags.sum::<i64>() as f64);
        self.counters.gauge("assigned_partitions", self.books.partitions() as f64);
        self.tell_observers(&statistics);
        let up =
            statistics.brokers.values().any(|broker| broker.state == "UP" && broker.nodeid >= 0);
        if up {
            self.works();
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(
        &self,
        consumer: &Consumer,
        what: RDKafkaRespErr,
        partitions: &mut TopicPartitionList,
    ) {
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            self.assign(consumer, partitions);
        } else {
            self.revoke(consumer, partitions);
        }
        let times = self.rebalances.fetch_add(1, Relaxed) + 1;
        self.counters.gauge("rebalances_total", times as f64);
        self.counters.gauge("assigned_partitions", self.books.partitions() as f64);
    }
}

fn name((topic, partition): &Partition) -> Arc<str> {
    format!("{topic}/{partition}").into()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
