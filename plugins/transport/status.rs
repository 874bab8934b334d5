//! What the end of a request means for what was sent: the one table (DESIGN section 5).
//!
//! Departures from what peers do: they drop on 401, 403 and 404 and so lose data while a credential is rotated; here
//! it is held. Any other status that says nothing about the content (405, 407, a redirect) is held likewise: trying
//! parts of the data one by one would throw away all of it. A status that came decides, even when the body behind it
//! breaks off.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use sentinel_contract::{Cause, WriteError};

use crate::http::Reply;

/// The longest pause that a backend may ask for.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How a request can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    /// With this status.
    Status(u16),
    /// The host's name leads nowhere.
    NoName,
    /// Nobody took the connection, or not in time.
    NoConnection,
    /// No agreement on TLS: another authority or name, or a server without it.
    NoTls,
    /// No status within the time limit.
    TimedOut,
    /// The connection was closed before there was a status.
    BrokenOff,
    /// There was no request: a file of the TLS options or the proxy cannot be used.
    Unbuildable,
}

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

/// The table. The first row that holds the answer counts; together they hold every answer.
pub const TABLE: &[(RangeInclusive<Answer>, Action)] = &[
    (Answer::Status(200)..=Answer::Status(299), Action::Done),
    (Answer::Status(400)..=Answer::Status(400), Action::Refuse),
    (Answer::Status(401)..=Answer::Status(401), Action::Hold),
    (Answer::Status(403)..=Answer::Status(403), Action::Hold),
    (Answer::Status(404)..=Answer::Status(404), Action::Hold),
    (Answer::Status(408)..=Answer::Status(408), Action::Retry),
    (Answer::Status(409)..=Answer::Status(409), Action::Refuse),
    (Answer::Status(413)..=Answer::Status(413), Action::Split),
    (Answer::Status(415)..=Answer::Status(415), Action::Encoding),
    (Answer::Status(422)..=Answer::Status(422), Action::Refuse),
    (Answer::Status(425)..=Answer::Status(425), Action::Retry),
    (Answer::Status(429)..=Answer::Status(429), Action::Retry),
    (Answer::Status(500)..=Answer::Status(u16::MAX), Action::Retry),
    // Redirects, which are not followed, and what says nothing about the content.
    (Answer::Status(0)..=Answer::Status(u16::MAX), Action::Hold),
    (Answer::NoName..=Answer::NoName, Action::Retry),
    (Answer::NoConnection..=Answer::NoConnection, Action::Retry),
    // A certificate that has run out is as often renewed there as it is wrong here.
    (Answer::NoTls..=Answer::NoTls, Action::Retry),
    (Answer::TimedOut..=Answer::TimedOut, Action::Retry),
    (Answer::BrokenOff..=Answer::BrokenOff, Action::Retry),
    (Answer::Unbuildable..=Answer::Unbuildable, Action::Hold),
];

impl Answer {
    /// What the table says.
    pub fn action(self) -> Action {
        let row = TABLE.iter().find(|(answers, _)| answers.contains(&self));
        row.map_or(Action::Hold, |(_, action)| *action)
    }
}

impl Action {
    /// The error that tells the engine what to do next.
    pub fn error(self, after: Option<Duration>, cause: Cause) -> WriteError {
        match self {
            Action::Done | Action::Retry => WriteError::Retry { after, cause },
            Action::Hold => WriteError::Hold { cause },
            Action::Split => WriteError::Split { cause },
            Action::Encoding | Action::Refuse => WriteError::Refuse { cause },
        }
    }
}

impl Reply {
    /// What to do with what was sent.
    pub fn action(&self) -> Action {
        Answer::Status(self.status).action()
    }

    /// `Ok` when it was taken, else the error that tells the engine what to do next.
    pub fn into_result(self) -> Result<(), WriteError> {
        match self.action() {
            Action::Done => Ok(()),
            action => Err(action.error(self.retry_after, anyhow::anyhow!("{self}"))),
        }
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
