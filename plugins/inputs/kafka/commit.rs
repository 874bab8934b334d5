//! Tells the group what is acknowledged, every `commit_interval`, on a thread of its own: by calls that wait for the answer.
//!
//! The answer to one that does not wait is never heard: librdkafka posts it only to clients that have set `offset_commit_cb`
//! (`rd_kafka_cgrp_propagate_commit_result`), and the crate sets none. Commits fail whenever partitions move and whenever the
//! coordinator is away; one that is taken for told then is not repeated before the next message. Nor is more than one under
//! way at a time: librdkafka tries again after a pause, by which an older one could overtake.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use sentinel_contract::Cause;
use sentinel_transport::kafka::rdkafka::consumer::Consumer as _;

use super::group::Consumer;

#[cfg(test)]
mod tests;

/// The last commit is tried and waited for this long: with a broker that is down it would be for a session's time.
const FINISH: Duration = Duration::from_secs(3);
/// Pause between two tries of the last, and with an interval of nothing between two commits.
const STEP: Duration = Duration::from_millis(20);

/// The thread.
pub(super) struct Commits {
    /// Dropped: it commits for the last time.
    end: SyncSender<()>,
    ended: Receiver<()>,
}

impl Commits {
    pub(super) fn start(consumer: &Arc<Consumer>, every: Duration) -> Result<Commits, Cause> {
        let ((end, told), (ends, ended)) = (sync_channel::<()>(1), sync_channel(1));
        let consumer = Arc::clone(consumer);
        let thread = std::thread::Builder::new().name("kafka commits".to_owned());
        thread.spawn(move || {
            while told.recv_timeout(every.max(STEP)) == Err(RecvTimeoutError::Timeout) {
                consumer.context().commit(&consumer, |_| true);
            }
            let until = Instant::now() + FINISH;
            while !consumer.context().commit(&consumer, |_| true) && Instant::now() < until {
                std::thread::sleep(STEP); // partitions move just now
            }
            drop(consumer); // the reader's is the last, which leaves the group
            let _gave_up = ends.send(());
        })?;
        Ok(Commits { end, ended })
    }

    /// Commits for the last time.
    pub(super) fn finish(self, consumer: &Consumer) {
        drop(self.end);
        let until = Instant::now() + FINISH;
        while self.ended.try_recv().is_err() && Instant::now() < until {
            drop(consumer.poll(STEP)); // for what moves; messages are another member's from now on
        }
    }
}
