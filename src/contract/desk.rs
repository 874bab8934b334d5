//! The desk: what all detectors of an agent know together. Whoever would call a person asks here first.
//!
//! Incidents that overlap on a host are one: while one that called is open, or was until a few frames ago, another of the same
//! host joins it and does not call. And there are only so many calls an hour and a day, of all hosts together; what is more
//! is held back for a digest.
//!
//! Its only clock is the times it is given. On one thread (replay) its answers depend on the order of the questions alone.
//! Live, each detector has a task of its own: of two that ask for the same moment, the one that comes first calls and the
//! other joins, and the digest is told by the detector whose clock ticks first. With one detector live and replay agree.
//! Nothing is kept here over a restart: the desk is told again what history knows ([`Desk::recall`]).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::incident::{Incident, Severity, State};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// How long a call counts as watched before its detector has said so.
const UNATTENDED_MS: i64 = 10 * 60_000;
/// How long calls are remembered: an incident lives for two days at most.
pub const MEMORY_MS: i64 = 3 * DAY_MS;
/// Calls remembered; a budget of more than this in three days is none.
const MOST_CALLS: usize = 4096;
/// Open incidents known.
const MOST_OPEN: usize = 1024;
/// Held calls and letters that are kept one by one; of more it is known how many.
const MOST_LISTED: usize = 50;
/// An urgent call may use so many times the budget.
const URGENT: usize = 2;
/// The end of what nobody joins.
const LONG_AGO_MS: i64 = i64::MIN / 2;
/// How the key of a digest begins.
const DIGEST: &str = "digest/";

/// How many calls there may be, of all detectors together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Within any hour.
    pub per_hour: u32,
    /// Within any 24 hours.
    pub per_day: u32,
}

impl Default for Budget {
    fn default() -> Self {
        Budget { per_hour: 3, per_day: 10 }
    }
}

/// Shared by cloning.
#[derive(Clone, Debug, Default)]
pub struct Desk(Arc<Mutex<Book>>);

/// An incident that would call.
#[derive(Clone, Copy, Debug)]
pub struct Asking<'a> {
    /// The host on which it is.
    pub host: &'a str,
    /// Its key.
    pub key: &'a str,
    /// The moment of the call.
    pub time_ms: i64,
    /// What was over for longer than this is not joined.
    pub near_ms: i64,
    /// How bad it is.
    pub severity: Severity,
    /// Users are hit: when it is critical too, it is urgent, and may use twice the budget.
    pub user: bool,
    /// What it is, in a sentence.
    pub what: &'a str,
}

/// What it is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Call.
    Call,
    /// Be part of the incident of this key.
    Join(String),
    /// Be still: the budget is spent, a digest will tell.
    Hold,
}

/// What an incident that joined tells the one that called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The key of the sender.
    pub key: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is.
    pub what: String,
}

/// Where the incident stands that another has joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// It is open, or was until now.
    There,
    /// It is over, and this one is the one to join now.
    Other(String),
    /// It is over, and the one that asks has taken its place.
    Yours,
}

/// What was held back, told at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The first of them.
    pub held: Vec<Letter>,
    /// How many there were.
    pub count: usize,
    /// How many there may be.
    pub budget: Budget,
}

#[derive(Debug)]
struct Call {
    host: String,
    key: String,
    time_ms: i64,
    /// It was a call, and not the place of one.
    counts: bool,
    ended_ms: Option<i64>,
    /// Somebody watches it until then.
    attended_ms: i64,
}

#[derive(Debug, Default)]
struct Book {
    budget: Budget,
    /// In the order in which they were made.
    calls: VecDeque<Call>,
    /// The last change of every open incident.
    open: BTreeMap<String, Incident>,
    letters: BTreeMap<String, Vec<Letter>>,
    held: Vec<Letter>,
    more_held: usize,
}

impl Desk {
    /// A desk with nothing on it.
    pub fn new(budget: Budget) -> Self {
        Desk(Arc::new(Mutex::new(Book { budget, ..Book::default() })))
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner) // nothing below leaves it half changed
    }

    /// Takes what an earlier run has told, newest first as history gives it, at least of the last [`MEMORY_MS`].
    pub fn recall(&self, changes: &[Incident], now_ms: i64) {
        for change in changes.iter().rev() {
            self.note(change);
        }
        for call in &mut self.book().calls {
            call.attended_ms = now_ms + UNATTENDED_MS;
        }
    }

    /// May it call? To be asked once, or again when the incident has become worse; who has called may.
    pub fn ask(&self, asking: &Asking<'_>) -> Answer {
        self.book().ask(asking)
    }

    /// Takes note of a change of an incident. Every change goes over the desk, after it was made.
    pub fn note(&self, change: &Incident) {
        self.book().note(change);
    }

    /// An incident that called is watched, at least until then.
    pub fn attend(&self, host: &str, key: &str, time_ms: i64, until_ms: i64) {
        let mut book = self.book();
        if let Some(call) = book.call(key) {
            call.attended_ms = until_ms;
        } else {
            // It called in a run that nobody remembers.
            book.push((host, key), time_ms, until_ms, false);
        }
    }

    /// Tells the incident that `head` names of one that is part of it.
    pub fn tell(&self, head: &str, letter: Letter) {
        self.book().tell(head, letter);
    }

    /// What an incident that called was told since it asked last.
    pub fn letters(&self, key: &str) -> Vec<Letter> {
        self.book().letters.remove(key).unwrap_or_default()
    }

    /// For an incident that has joined `head`: is that still the one? One that goes on for longer than `near_ms` after it
    /// takes its place, and is watched until then.
    pub fn follow(&self, head: &str, asking: &Asking<'_>, until_ms: i64) -> Head {
        let mut book = self.book();
        let Asking { host, key, time_ms, near_ms, .. } = *asking;
        if book.call(head).is_some_and(|call| call.is_there(time_ms, near_ms)) {
            return Head::There;
        }
        if let Some(other) = book.head(host, key, time_ms, near_ms) {
            return Head::Other(other);
        }
        book.push((host, key), time_ms, until_ms, false);
        Head::Yours
    }

    /// What was held back, once the budget allows to tell it; that is a call too.
    pub fn digest(&self, host: &str, now_ms: i64) -> Option<(String, Digest)> {
        let mut book = self.book();
        if book.held.is_empty() {
            return None;
        }
        book.forget(now_ms);
        if !book.allows(now_ms, 1) {
            return None;
        }
        let key = format!("{DIGEST}{host}/{}", now_ms / 1000);
        book.push((host, &key), now_ms, now_ms, true);
        let held = std::mem::take(&mut book.held);
        let count = held.len() + std::mem::take(&mut book.more_held);
        Some((key, Digest { held, count, budget: book.budget }))
    }

    /// The last change of open incidents that nobody watches any more: of a detector that does not know them, because its
    /// state is lost, or that is gone. They are open no longer.
    pub fn lost(&self, is_lost: impl Fn(&Incident) -> bool, now_ms: i64) -> Vec<Incident> {
        let mut book = self.book();
        let lost: Vec<Incident> = book.open.values().filter(|one| is_lost(one)).cloned().collect();
        let ended = |last: Incident| Incident {
            state: State::Expired,
            time_ms: now_ms.max(last.time_ms),
            message: format!("no longer known: {}", last.message),
            trend: None,
            next: Vec::new(),
            ..last
        };
        let ended: Vec<Incident> = lost.into_iter().map(ended).collect();
        for change in &ended {
            book.note(change);
        }
        ended
    }
}

impl Call {
    fn is_there(&self, time_ms: i64, near_ms: i64) -> bool {
        match self.ended_ms {
            Some(ended_ms) => (0..=near_ms).contains(&time_ms.saturating_sub(ended_ms)),
            None => time_ms <= self.attended_ms,
        }
    }
}

impl Book {
    fn call(&mut self, key: &str) -> Option<&mut Call> {
        self.calls.iter_mut().find(|call| call.key == key)
    }

    fn push(&mut self, (host, key): (&str, &str), time_ms: i64, attended_ms: i64, counts: bool) {
        if self.calls.len() == MOST_CALLS {
            self.calls.pop_front();
        }
        let ended_ms = key.starts_with(DIGEST).then_some(LONG_AGO_MS); // nobody joins a digest
        let (host, key) = (host.to_owned(), key.to_owned());
        self.calls.push_back(Call { host, key, time_ms, counts, ended_ms, attended_ms });
    }

    /// Forgets what is old; and what lies in the future, because the clock was wrong then.
    fn forget(&mut self, now_ms: i64) {
        self.calls.retain(|call| (-HOUR_MS..MEMORY_MS).contains(&(now_ms - call.time_ms)));
    }

    /// The incident that called and that others join: the first that is open, else the last that was.
    fn head(&self, host: &str, key: &str, time_ms: i64, near_ms: i64) -> Option<String> {
        let there = || {
            let others = self.calls.iter().filter(|one| one.key != key && one.host == host);
            others.filter(|one| one.is_there(time_ms, near_ms))
        };
        let open = there().find(|one| one.ended_ms.is_none());
        open.or_else(|| there().max_by_key(|one| one.ended_ms)).map(|one| one.key.clone())
    }

    fn allows(&self, now_ms: i64, times: usize) -> bool {
        let within = |ms| {
            let recent = |call: &&Call| call.counts && now_ms - call.time_ms < ms;
            self.calls.iter().filter(recent).count()
        };
        within(HOUR_MS) < self.budget.per_hour as usize * times
            && within(DAY_MS) < self.budget.per_day as usize * times
    }

    fn ask(&mut self, asking: &Asking<'_>) -> Answer {
        self.forget(asking.time_ms);
        if self.call(asking.key).is_some() {
            return Answer::Call;
        }
        let known = self.open.get(asking.key);
        if let Some(head) = known.and_then(|last| last.joined.clone()) {
            return Answer::Join(head);
        }
        let was_held = known.is_some_and(|last| last.held);
        let letter = Letter {
            key: asking.key.to_owned(),
            severity: asking.severity,
            what: asking.what.to_owned(),
        };
        if let Some(head) = self.head(asking.host, asking.key, asking.time_ms, asking.near_ms) {
            self.tell(&head, letter);
            return Answer::Join(head);
        }
        let urgent = asking.user && asking.severity == Severity::Critical;
        if self.allows(asking.time_ms, if urgent { URGENT } else { 1 }) {
            self.push(
                (asking.host, asking.key),
                asking.time_ms,
                asking.time_ms + UNATTENDED_MS,
                true,
            );
            self.held.retain(|held| held.key != asking.key);
            return Answer::Call;
        }
        if !was_held {
            self.hold(letter);
        }
        Answer::Hold
    }

    fn tell(&mut self, head: &str, letter: Letter) {
        let letters = self.letters.entry(head.to_owned()).or_default();
        letters.retain(|known| known.key != letter.key);
        if letters.len() < MOST_LISTED {
            letters.push(letter);
        }
    }

    fn hold(&mut self, letter: Letter) {
        if self.held.iter().any(|held| held.key == letter.key) {
            return;
        }
        if self.held.len() < MOST_LISTED {
            self.held.push(letter);
        } else {
            self.more_held += 1;
        }
    }

    fn note(&mut self, change: &Incident) {
        let Incident { host, key, state, time_ms, .. } = change;
        let is_news = *state == State::Notified && self.call(key).is_none();
        if is_news {
            self.push((host, key), *time_ms, *time_ms + UNATTENDED_MS, true);
            self.held.retain(|held| held.key != *key);
        }
        if key.starts_with(DIGEST) {
            // Told by an earlier run: what was held before it is told with it.
            if is_news {
                self.held.clear();
                self.more_held = 0;
            }
            return;
        }
        // What was accepted is done with: what comes after it is something else.
        let ended_ms = match state {
            State::Accepted => Some(LONG_AGO_MS),
            state => state.is_end().then_some(*time_ms),
        };
        if let Some(call) = self.call(key) {
            call.ended_ms = ended_ms;
        }
        if ended_ms.is_some() {
            self.open.remove(key);
            self.letters.remove(key);
            return;
        }
        if change.held && self.open.get(key).is_none_or(|last| !last.held) {
            let (key, what) = (key.clone(), change.message.clone());
            self.hold(Letter { key, severity: change.severity, what });
        }
        if self.open.len() >= MOST_OPEN && !self.open.contains_key(key) {
            self.open.pop_first();
        }
        self.open.insert(key.clone(), change.clone());
    }
}
