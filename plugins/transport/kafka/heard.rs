//! What librdkafka says of its troubles: sorted by what is to be done, and put into words that say what to look at.
//!
//! It tries for ever by itself and repeats itself meanwhile. What it says is kept here, the latest of each kind, until
//! something works again.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use sentinel_contract::Cause;

use super::diagnose;
use crate::tls::Tls;

/// Kinds of trouble, by who can mend them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// No broker answers, or not in time: it passes.
    Brokers,
    /// User, password or certificate are not good.
    Credentials,
    /// The topic is not there, or not for us.
    Topic,
    /// The group is not for us.
    Group,
    /// A message that no broker will take.
    Message,
    /// Anything else: it is tried again.
    Other,
}

impl Trouble {
    /// A word for notes.
    pub fn word(self) -> &'static str {
        match self {
            Trouble::Brokers => "brokers",
            Trouble::Credentials => "credentials",
            Trouble::Topic => "topic",
            Trouble::Group => "group",
            Trouble::Message => "message",
            Trouble::Other => "kafka",
        }
    }

    /// What a person may look at.
    fn hint(self) -> &'static str {
        match self {
            Trouble::Brokers => {
                " (check brokers and security; it goes on by itself when one answers)"
            }
            Trouble::Credentials => " (check sasl, tls and security)",
            Trouble::Topic => " (check topics: create it, or allow this user to use it)",
            Trouble::Group => " (check group: allow this user to use it)",
            Trouble::Message | Trouble::Other => "",
        }
    }
}

/// What kind of trouble a code of librdkafka's is.
pub fn trouble(code: Code) -> Trouble {
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::NodeUpdate
        | Code::OperationTimedOut
        | Code::MessageTimedOut
        | Code::RequestTimedOut
        | Code::NetworkException => Trouble::Brokers,
        Code::Authentication
        | Code::SaslAuthenticationFailed
        | Code::UnsupportedSASLMechanism
        | Code::IllegalSASLState
        | Code::SSL
        | Code::ClusterAuthorizationFailed => Trouble::Credentials,
        Code::UnknownTopic
        | Code::UnknownTopicOrPartition
        | Code::UnknownPartition
        | Code::InvalidTopic
        | Code::PolicyViolation
        | Code::UnsupportedCompressionType
        | Code::TopicAuthorizationFailed => Trouble::Topic,
        Code::GroupAuthorizationFailed | Code::InvalidGroupId => Trouble::Group,
        Code::MessageSizeTooLarge
        | Code::MessageBatchTooLarge
        | Code::InvalidMessageSize
        | Code::InvalidRecord
        | Code::InvalidDifferentRecord
        | Code::InvalidTimestamp => Trouble::Message,
        _ => Trouble::Other,
    }
}

/// The latest of each kind of trouble.
#[derive(Debug, Default)]
pub struct Heard {
    tls: Tls,
    said: Mutex<BTreeMap<Trouble, String>>,
    /// What is wrong with a broker's certificate.
    certificate: Mutex<Option<String>>,
}

impl Heard {
    /// Nothing yet, from brokers that are spoken to so.
    pub fn new(tls: Tls) -> Self {
        Heard { tls, ..Heard::default() }
    }

    fn said(&self) -> MutexGuard<'_, BTreeMap<Trouble, String>> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error of `ClientContext::error`: its kind and words, and whether that kind is new.
    pub fn error(&self, error: &KafkaError, reason: &str) -> (Trouble, String, bool) {
        let code = error.rdkafka_error_code();
        let kind = code.map_or(Trouble::Other, trouble);
        let said = self.said();
        // That all brokers are down follows from what was said of each, which says why.
        let repeats = code == Some(Code::AllBrokersDown);
        let because = repeats
            .then(|| {
                said.get(&Trouble::Credentials).or_else(|| said.get(&Trouble::Brokers)).cloned()
            })
            .flatten();
        if let Some(words) = because {
            let kind =
                if said.contains_key(&Trouble::Credentials) { Trouble::Credentials } else { kind };
            return (kind, words, false);
        }
        drop(said);
        let (kind, words) = match self.certificate(reason) {
            Some(why) => (Trouble::Credentials, format!("{}: {why}", before_colon(&plain(reason)))),
            None => (kind, plain(reason)),
        };
        let words = format!("{words}{}", kind.hint());
        let mut said = self.said();
        let is_new = said.insert(kind, words.clone()).is_none();
        (kind, words, is_new)
    }

    /// Why the broker's certificate is not good, when that is what the words are about; looked at once.
    fn certificate(&self, reason: &str) -> Option<String> {
        if !reason.contains("certificate verify failed") {
            return None;
        }
        let mut known = self.certificate.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = diagnose::certificate(reason, &self.tls);
        }
        known.clone()
    }

    /// The words about a code that came without any.
    pub fn about(&self, code: Code) -> String {
        let kind = trouble(code);
        let known = self.said().get(&kind).cloned();
        known.unwrap_or_else(|| format!("{code}{}", kind.hint()))
    }

    /// The latest of one kind.
    pub fn of(&self, kind: Trouble) -> Option<String> {
        self.said().get(&kind).cloned()
    }

    /// It works: brokers are there and let us in. What was said of it.
    pub fn works(&self) -> Vec<Trouble> {
        *self.certificate.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.mended(&[Trouble::Brokers, Trouble::Credentials, Trouble::Other])
    }

    /// These are mended; those that there were.
    pub fn mended(&self, kinds: &[Trouble]) -> Vec<Trouble> {
        let mut said = self.said();
        kinds.iter().copied().filter(|kind| said.remove(kind).is_some()).collect()
    }
}

/// Asks brokers something, for a person who waits: a second at a time, until there is an answer, or it is known that none will
/// come, or until `patience` is over. `listen` takes what librdkafka has said meanwhile.
pub fn ask<T>(
    heard: &Heard,
    patience: Duration,
    listen: impl Fn(),
    mut question: impl FnMut(Duration) -> KafkaResult<T>,
) -> Result<T, Cause> {
    let until = Instant::now() + patience;
    loop {
        let error = match question(Duration::from_secs(1)) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        listen();
        let code = error.rdkafka_error_code();
        let passes = code.is_none_or(|code| trouble(code) == Trouble::Brokers);
        let refused = heard.of(Trouble::Credentials);
        if refused.is_some() || !passes || Instant::now() > until {
            let words = refused.or_else(|| heard.of(Trouble::Brokers).filter(|_| passes));
            let words = words.or_else(|| code.map(|code| heard.about(code)));
            return Err(anyhow::anyhow!(words.unwrap_or_else(|| error.to_string())));
        }
    }
}

/// A line of librdkafka's log, into ours. What it says of errors comes as errors too.
pub fn log(level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg | RDKafkaLogLevel::Alert | RDKafkaLogLevel::Critical => {
            tracing::error!(target: "librdkafka", facility, "{line}");
        }
        _ => tracing::debug!(target: "librdkafka", facility, "{line}"),
    }
}

/// The words of a line of its log that says that a broker cannot be reached. They come as an error too, but only by a call
/// that takes events, and while partitions are given or taken nobody makes one.
pub fn unreachable<'l>(facility: &str, line: &'l str) -> Option<&'l str> {
    let is_it = facility == "FAIL"
        && ["Connect to ", "Failed to resolve "].iter().any(|words| line.contains(words));
    is_it.then(|| line.split_once("]: ").map_or(line, |(_thread, words)| words))
}

/// Which broker it is about: `ssl://127.0.0.1:9093: SSL handshake failed: ...`.
fn before_colon(reason: &str) -> &str {
    reason.split_once(": ").map_or(reason, |(broker, _)| broker)
}

/// librdkafka's words without what only its authors want: the bootstrap's suffix, and times in states.
fn plain(reason: &str) -> String {
    reason.replace("/bootstrap", "")
}
