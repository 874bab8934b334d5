//! Where to begin on a partition: where the group left off, else where the option `start` says.
//!
//! Where it begins is found out at once and, unless it is the oldest message, committed at once: of a partition that
//! is read from its end, what arrives while the agent restarts is read too. An offset that the broker has deleted
//! meanwhile (retention) is counted, not passed over in silence.

use std::time::{Duration, Instant};

use sentinel_contract::Cause;
use sentinel_contract::telemetry::Counters;
use sentinel_transport::kafka::rdkafka::consumer::{CommitMode, Consumer as _};
use sentinel_transport::kafka::rdkafka::{Offset, TopicPartitionList};

use super::Settings;
use super::group::Consumer;

/// How long brokers may take for all answers: meanwhile nothing is read and no event is taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where to begin on a partition of which the group has no offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// The oldest message that the broker has.
    Earliest,
    /// What comes from now on.
    Latest,
    /// The first message of this time or later, in milliseconds since 1970 UTC.
    At(i64),
}

/// Sets the offset of each partition.
///
/// Errors: a broker did not answer for one or all; such a partition begins where the group left off, else at its oldest message.
pub(super) fn resolve(
    consumer: &Consumer,
    partitions: &mut TopicPartitionList,
    settings: &Settings,
    counters: &Counters,
) -> Result<(), Cause> {
    let until = Instant::now() + PATIENCE;
    let committed = consumer.committed_offsets(partitions.clone(), PATIENCE)?;
    let (mut told, mut failed) = (TopicPartitionList::new(), Ok(()));
    for one in committed.elements() {
        let (topic, id) = (one.topic(), one.partition());
        let begin = one.error().map_err(Cause::from).and_then(|()| {
            let ask = Ask { consumer, topic, id, until };
            ask.begin(one.offset(), settings.start, counters)
        });
        match begin {
            Ok((offset, is_new)) => {
                partitions.set_partition_offset(topic, id, offset)?;
                if let (Offset::Offset(_), true) = (offset, is_new) {
                    told.add_partition_offset(topic, id, offset)?;
                }
            }
            Err(error) => failed = Err(error), // the others begin where they should
        }
    }
    if told.count() > 0 {
        consumer.commit(&told, CommitMode::Sync)?;
    }
    failed
}

/// A partition that is asked about.
struct Ask<'a> {
    consumer: &'a Consumer,
    topic: &'a str,
    id: i32,
    until: Instant,
}

impl Ask<'_> {
    fn patience(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// The oldest offset, and the next one.
    fn bounds(&self) -> Result<(i64, i64), Cause> {
        Ok(self.consumer.fetch_watermarks(self.topic, self.id, self.patience())?)
    }

    /// Where it begins, and whether the group does not know that yet.
    fn begin(
        &self,
        committed: Offset,
        start: Start,
        counters: &Counters,
    ) -> Result<(Offset, bool), Cause> {
        let Offset::Offset(offset) = committed else { return Ok((self.first(start)?, true)) };
        let (oldest, _) = self.bounds()?;
        counters.drop_events("source_gone", oldest.saturating_sub(offset).max(0) as u64);
        Ok((Offset::Offset(offset.max(oldest)), false))
    }

    fn first(&self, start: Start) -> Result<Offset, Cause> {
        let end = || Ok(Offset::Offset(self.bounds()?.1));
        match start {
            Start::Earliest => Ok(Offset::Beginning),
            Start::Latest => end(),
            Start::At(time_ms) => {
                let mut asked = TopicPartitionList::new();
                asked.add_partition_offset(self.topic, self.id, Offset::Offset(time_ms))?;
                let found = self.consumer.offsets_for_times(asked, self.patience())?;
                match found.find_partition(self.topic, self.id).map(|one| one.offset()) {
                    Some(Offset::Offset(offset)) => Ok(Offset::Offset(offset)),
                    _ => end(), // nothing is that young
                }
            }
        }
    }
}
