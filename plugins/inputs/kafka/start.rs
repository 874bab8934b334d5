//! Where to begin on a partition: where the group left off, else where the option `start` says.
//!
//! Where it begins is found out at once and, unless it is the oldest message, committed at once: of a partition that
//! is read from its end, what arrives while the agent restarts is read too. An offset that the broker has deleted
//! meanwhile (retention) is counted, not passed over in silence.

use std::time::Duration;

use sentinel_contract::Cause;
use sentinel_contract::telemetry::Counters;
use sentinel_transport::kafka::rdkafka::consumer::{CommitMode, Consumer as _};
use sentinel_transport::kafka::rdkafka::{Offset, TopicPartitionList};

use super::Settings;
use super::group::Consumer;

/// How long a broker may take to answer.
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
    let committed = consumer.committed_offsets(partitions.clone(), PATIENCE)?;
    let (mut told, mut failed) = (TopicPartitionList::new(), Ok(()));
    for one in committed.elements() {
        let (topic, id) = (one.topic(), one.partition());
        let begin = one
            .error()
            .map_err(Cause::from)
            .and_then(|()| begin(consumer, (topic, id), one.offset(), settings.start, counters));
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

/// Where one partition begins, and whether the group does not know that yet.
fn begin(
    consumer: &Consumer,
    (topic, id): (&str, i32),
    committed: Offset,
    start: Start,
    counters: &Counters,
) -> Result<(Offset, bool), Cause> {
    let Offset::Offset(offset) = committed else {
        return Ok((first(consumer, topic, id, start)?, true));
    };
    let (oldest, _) = consumer.fetch_watermarks(topic, id, PATIENCE)?;
    counters.drop_events("source_gone", oldest.saturating_sub(offset).max(0) as u64);
    Ok((Offset::Offset(offset.max(oldest)), false))
}

fn first(consumer: &Consumer, topic: &str, partition: i32, start: Start) -> Result<Offset, Cause> {
    let end = || Ok(Offset::Offset(consumer.fetch_watermarks(topic, partition, PATIENCE)?.1));
    match start {
        Start::Earliest => Ok(Offset::Beginning),
        Start::Latest => end(),
        Start::At(time_ms) => {
            let mut asked = TopicPartitionList::new();
            asked.add_partition_offset(topic, partition, Offset::Offset(time_ms))?;
            let found = consumer.offsets_for_times(asked, PATIENCE)?;
            match found.find_partition(topic, partition).map(|one| one.offset()) {
                Some(Offset::Offset(offset)) => Ok(Offset::Offset(offset)),
                _ => end(), // nothing is that young
            }
        }
    }
}
