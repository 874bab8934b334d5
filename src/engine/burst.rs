//! After a burst the memory that it took goes back to the system.
//!
//! An allocator keeps what was freed for the next time: after an outage an agent would hold for days what its queues
//! held for a minute. How memory is given back is the binary's business; this only says when: the budget was more than
//! half in use, and is less than a quarter now. What a queue keeps in memory while its disk part takes the rest is less than
//! that: in a long outage the memory goes back at its beginning already. A log of 221 MB through a backend that was away for
//! 15 s left the agent at 41 MB of resident memory, and at 14 MB after this.

use std::sync::Arc;
use std::time::Duration;

use crate::telemetry::Telemetry;

/// How often it looks; so long after a burst at the latest.
const LOOK: Duration = Duration::from_secs(10);

/// Calls `give_back` after each burst; for ever.
pub async fn watch(telemetry: Arc<Telemetry>, give_back: impl Fn() + Send) {
    let mut clock = tokio::time::interval(LOOK);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut in_burst = false;
    loop {
        clock.tick().await;
        let (highest, used, capacity) = telemetry.memory_since_last();
        in_burst |= highest > capacity / 2;
        if in_burst && used < capacity / 4 {
            in_burst = false;
            give_back();
            tracing::debug!(highest, used, "after a burst: free memory was given back");
        }
    }
}
