//! When an open incident ends because nothing more can be known of it. None stays open for ever: what is seen ends as
//! resolved or as the new normal; what is not seen, ends here, whatever the detector is doing meanwhile.

use super::incident::Rules;
use super::open::Open;

/// Nothing was seen of it for so long: no frame came, or its signals were missing in all of them, or the host slept.
pub(super) const UNSEEN_MS: i64 = 6 * 3_600_000;
/// A source that is silent for so long is gone (Datadog's Watchdog gives up on a silent metric after 48 hours). Nor does
/// anything else that came and went go on for longer.
pub(super) const GONE_MS: i64 = 48 * 3_600_000;

/// Why it is over, if it is.
pub(super) fn expired(open: &Open, time_ms: i64) -> Option<String> {
    let unseen_ms = time_ms - open.seen_ms.max(open.since_ms); // 0 in a state of an older version
    if unseen_ms >= UNSEEN_MS {
        let hours = unseen_ms / 3_600_000;
        return Some(format!(
            "nothing of it was seen for {hours} h: neither that it is over nor that it goes on"
        ));
    }
    if -unseen_ms >= UNSEEN_MS {
        return Some("the clock was set back behind it".to_owned());
    }
    (time_ms - open.since_ms >= GONE_MS).then(|| {
        if open.is_silence() {
            "silent for 48 h: the source is gone".to_owned()
        } else {
            "48 h old, and seen too little to be taken as the new normal".to_owned()
        }
    })
}

/// The time of the incident in which it was seen: what counts towards a new normal.
pub(super) fn seen_ms(open: &Open, time_ms: i64) -> i64 {
    time_ms - open.since_ms - open.gaps_ms
}

/// A frame of it was seen. A longer gap than that within which it may relapse does not count towards a new normal.
pub(super) fn see(open: &mut Open, time_ms: i64, rules: Rules) {
    let gap_ms = time_ms - open.seen_ms.max(open.since_ms);
    if gap_ms > rules.relapse_ms {
        open.gaps_ms += gap_ms;
    }
    open.seen_ms = time_ms;
}
