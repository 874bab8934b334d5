//! What an answer's status means for what was sent: the one table (DESIGN section 5).
//!
//! Departures from what peers do: they drop on 401, 403 and 404 and so lose data while a credential is rotated; here
//! it is held. Any other status that says nothing about the content (405, 407, a redirect) is held likewise: trying
//! parts of the data one by one would throw away all of it.

use std::time::{Duration, SystemTime};

use sentinel_contract::WriteError;

use crate::http::Reply;

/// The longest pause that a backend may ask for.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// What to do with what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Taken.
    Done,
    /// Not now.
    Retry,
    /// Not with these credentials, or not at this address.
    Hold,
    /// Too large.
    Split,
    /// Not in this encoding; without another one it is refused.
    Encoding,
    /// Something in it is bad.
    Refuse,
}

/// The table.
pub fn action(status: u16) -> Action {
    match status {
        200..=299 => Action::Done,
        408 | 425 | 429 | 500.. => Action::Retry,
        413 => Action::Split,
        415 => Action::Encoding,
        400 | 409 | 422 => Action::Refuse,
        _ => Action::Hold, // 401, 403, 404; redirects; what says nothing about the content
    }
}

impl Reply {
    /// What to do with what was sent.
    pub fn action(&self) -> Action {
        action(self.status)
    }

    /// `Ok` when it was taken, else the error that tells the engine what to do next.
    pub fn into_result(self) -> Result<(), WriteError> {
        let action = self.action();
        let after = self.retry_after;
        let cause = anyhow::anyhow!("{self}");
        Err(match action {
            Action::Done => return Ok(()),
            Action::Retry => WriteError::Retry { after, cause },
            Action::Hold => WriteError::Hold { cause },
            Action::Split => WriteError::Split { cause },
            Action::Encoding | Action::Refuse => WriteError::Refuse { cause },
        })
    }
}

/// The pause that `Retry-After` asks for: seconds or an HTTP date (RFC 9110, 10.2.3), at most [`LONGEST_PAUSE`].
pub fn retry_after(header: &str, now: SystemTime) -> Option<Duration> {
    let header = header.trim();
    let pause = match header.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) if !header.is_empty() && header.bytes().all(|byte| byte.is_ascii_digit()) => {
            LONGEST_PAUSE
        }
        Err(_) => {
            let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(header).ok()?;
            SystemTime::from(date).duration_since(now).unwrap_or_default()
        }
    };
    Some(pause.min(LONGEST_PAUSE))
}
