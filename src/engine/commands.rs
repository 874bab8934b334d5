//! Commands of people on their way to the observers and to the dead letters, and the answers on their way back.
//!
//! Every observer has a small inbox of its own for them, so that a command does not wait behind batches, and no
//! command can make a detector's memory grow. Knows no transport: `control` brings them into the process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sentinel_contract::Command;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};

use crate::dead_letters::{DeadLetters, Order, Told};

/// Commands that may wait at one observer.
const WAITING: usize = 8;
/// How long an observer may take. It is a task that never waits; more than this is a frame that trains or a dead host.
const PATIENCE: Duration = Duration::from_secs(5);

/// What an observer says: nothing when the command is not for it.
type Answer = Option<Result<String, String>>;

/// A command at an observer.
pub(crate) struct Request {
    /// What to do.
    pub command: Arc<Command>,
    /// Who waits.
    pub reply: oneshot::Sender<Answer>,
}

/// What one observer answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// Its alias.
    pub detector: String,
    /// One sentence: what was done (as JSON `Ok`), or why it was not (`Err`).
    pub outcome: Result<String, String>,
}

/// Each observer's.
type Inboxes = Vec<(Arc<str>, mpsc::Sender<Request>)>;

/// The way to every observer, and to the dead letters.
#[derive(Clone, Default)]
pub struct Commands {
    observers: Arc<Mutex<Inboxes>>,
    letters: Option<Arc<DeadLetters>>,
}

impl Commands {
    /// With these dead letters, and no observer yet.
    pub(crate) fn new(letters: Arc<DeadLetters>) -> Self {
        Commands { observers: Arc::default(), letters: Some(letters) }
    }

    /// Sends dead letters again, or removes them. Answers within seconds.
    pub async fn letters(&self, order: Order) -> Result<Told, String> {
        match &self.letters {
            Some(letters) => letters.obey(order).await,
            None => Err("this agent keeps no dead letters".to_owned()),
        }
    }

    /// The inbox of one more observer, or of one that takes another's place.
    pub(crate) fn add(&self, alias: &Arc<str>) -> mpsc::Receiver<Request> {
        self.remove(alias);
        self.join(alias)
    }

    /// The inbox of one of several observers of that alias, each of another partition.
    pub(crate) fn join(&self, alias: &Arc<str>) -> mpsc::Receiver<Request> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let mut observers = self.observers();
        observers.retain(|(_, other)| !other.is_closed());
        observers.push((Arc::clone(alias), sender));
        receiver
    }

    /// An observer is gone.
    pub(crate) fn remove(&self, alias: &str) {
        self.observers().retain(|(other, _)| &**other != alias);
    }

    fn observers(&self) -> MutexGuard<'_, Inboxes> {
        self.observers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells every observer, or the one that the command names, and waits for the answers of all. Those it does not
    /// concern are left out. The error: there is no observer of that name.
    pub async fn tell(&self, command: Command) -> Result<Vec<Reply>, String> {
        let named = command.detector();
        let observers = self.observers().clone();
        let mut aliases: Vec<&str> = observers.iter().map(|(alias, _)| &**alias).collect();
        aliases.sort_unstable();
        aliases.dedup();
        if let Some(named) = named
            && !aliases.contains(&named)
        {
            let known = if aliases.is_empty() { "none".to_owned() } else { aliases.join(", ") };
            return Err(format!("there is no detector \"{named}\"; running are: {known}"));
        }
        let mut told: Vec<_> = observers.iter().collect();
        told.retain(|(alias, _)| named.is_none_or(|named| named == &**alias));
        told.sort_unstable_by_key(|(alias, _)| alias);
        let command = Arc::new(command);
        let asked: Vec<_> = told
            .into_iter()
            .map(|(alias, sender)| {
                let (reply, answer) = oneshot::channel();
                let sent = sender.try_send(Request { command: Arc::clone(&command), reply });
                (alias, sent.map(|()| answer).map_err(|error| refusal(&error)))
            })
            .collect();
        let until = tokio::time::Instant::now() + PATIENCE;
        let mut replies = Vec::new();
        for (alias, asked) in asked {
            let answer = match asked {
                Err(words) => Some(Err(words)),
                Ok(answer) => match tokio::time::timeout_at(until, answer).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Some(Err("it has ended".to_owned())),
                    Err(_) => Some(Err(format!(
                        "no answer within {} s; it may still do it",
                        PATIENCE.as_secs()
                    ))),
                },
            };
            let reply = answer.map(|outcome| Reply { detector: alias.to_string(), outcome });
            replies.extend(reply.filter(|reply| !replies.contains(reply))); // of its other partitions
        }
        Ok(replies)
    }
}

fn refusal(error: &mpsc::error::TrySendError<Request>) -> String {
    match error {
        mpsc::error::TrySendError::Full(_) => {
            format!("{WAITING} commands wait at it already")
        }
        mpsc::error::TrySendError::Closed(_) => "it has ended".to_owned(),
    }
}
