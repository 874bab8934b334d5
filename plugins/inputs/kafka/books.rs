//! The books: what is acknowledged of each partition that is ours, and what of it the group has been told. The reader and the
//! receipts share them.
//!
//! A partition that is taken from us and given back is another assignment, with another number: a receipt of the old one
//! changes nothing any more. So only offsets up to which everything is acknowledged, without a gap and since the partition
//! is ours, are ever committed.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sentinel_contract::{Audience, Fate};

use crate::ledger::{Ledger, Outcome};

/// How often a drain looks whether it is to end.
const STEP: Duration = Duration::from_millis(100);

/// A partition of a topic.
pub(super) type Partition = (Arc<str>, i32);

/// What the reader and the receipts share.
#[derive(Debug, Default)]
pub(super) struct Books {
    entries: Mutex<Entries>,
    /// Something was acknowledged or lost.
    resolved: Condvar,
}

#[derive(Debug, Default)]
struct Entries {
    assigned: u64,
    ours: HashMap<u64, Account>,
    lost: Vec<(u64, u64)>,
}

/// One partition, while it is ours.
#[derive(Debug)]
struct Account {
    partition: Partition,
    /// Of offsets after the last message that went out; none until one did.
    ledger: Option<Ledger<i64>>,
    committed: Option<i64>,
    bounds: Bounds,
}

/// Up to where a partition is known already, when it is ours; both without the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The outputs have taken what is before it. Nothing before it is ever committed.
    pub(super) delivered: i64,
    /// The observers know what is before it. `None`: they are not kept by partition, and see what is read again, again.
    pub(super) observed: Option<i64>,
}

impl Bounds {
    /// Everything is new.
    pub(super) const NONE: Bounds = Bounds { delivered: i64::MIN, observed: None };

    /// The partition ends at `end`. What is said to lie beyond it was of another log, and all that comes of this one is new to who
    /// had that. Whether that is so.
    pub(super) fn end_at(&mut self, end: i64) -> bool {
        let is_other = self.delivered.max(self.observed.unwrap_or(i64::MIN)) > end;
        if is_other {
            self.delivered = if self.delivered > end { i64::MIN } else { self.delivered };
            self.observed = self.observed.map(|_| self.delivered);
        }
        is_other
    }

    /// Who is to see a message.
    pub(super) fn audience(&self, offset: i64) -> Audience {
        if self.observed.is_some_and(|observed| offset < observed) {
            Audience::Outputs
        } else if offset < self.delivered {
            Audience::Observers
        } else {
            Audience::All
        }
    }
}

impl Account {
    /// The offset to commit, when it is not what the group knows.
    fn due(&self) -> Option<i64> {
        let acknowledged = self.ledger.as_ref()?.acknowledged();
        let is_news = self.committed != Some(acknowledged) && acknowledged > self.bounds.delivered;
        is_news.then_some(acknowledged)
    }
}

impl Books {
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A partition is ours from now on. The number of this assignment.
    pub(super) fn assign(&self, partition: Partition, bounds: Bounds) -> u64 {
        let mut entries = self.lock();
        entries.assigned += 1;
        let id = entries.assigned;
        entries.ours.insert(id, Account { partition, ledger: None, committed: None, bounds });
        id
    }

    /// Up to where the partition of an assignment is known by now.
    pub(super) fn bounds(&self, id: u64) -> Bounds {
        self.lock().ours.get(&id).map_or(Bounds::NONE, |account| account.bounds)
    }

    /// The partitions whose observers know something, and the message after the last one that they surely know: what is not
    /// acknowledged may not have been shown to them yet.
    pub(super) fn observed(&self, of: impl Fn(&Partition) -> bool) -> Vec<(Partition, i64)> {
        let entries = self.lock();
        let asked = entries.ours.values().filter(|account| of(&account.partition));
        let known = |one: &Account| {
            let observed = one.bounds.observed?;
            let surely = match &one.ledger {
                Some(ledger) if !ledger.is_settled() => observed.min(ledger.acknowledged()),
                _ => observed,
            };
            Some((one.partition.clone(), surely))
        };
        asked.filter_map(known).collect()
    }

    /// Everything that went out of all partitions is acknowledged.
    pub(super) fn are_settled(&self) -> bool {
        let settled = |one: &Account| one.ledger.as_ref().is_none_or(Ledger::is_settled);
        self.lock().ours.values().all(settled)
    }

    /// Whether all of a partition that is ours up to before `end` went out and is acknowledged.
    pub(super) fn has_all(&self, topic: &str, partition: i32, end: i64) -> bool {
        let entries = self.lock();
        let is_it =
            |account: &&Account| &*account.partition.0 == topic && account.partition.1 == partition;
        let Some(one) = entries.ours.values().find(is_it) else { return false };
        match &one.ledger {
            Some(ledger) => ledger.is_settled() && ledger.acknowledged() >= end,
            None => {
                one.bounds.observed.is_some_and(|observed| observed >= end)
                    && one.bounds.delivered >= end
            }
        }
    }

    /// The number of the assignment of a partition that is ours.
    pub(super) fn find(&self, topic: &str, partition: i32) -> Option<(u64, Partition)> {
        let entries = self.lock();
        let is_it =
            |account: &Account| &*account.partition.0 == topic && account.partition.1 == partition;
        let found = entries.ours.iter().find(|(_, account)| is_it(account));
        found.map(|(id, account)| (*id, account.partition.clone()))
    }

    /// A batch of the messages from offset `first` to before `end` goes out; its number comes back with the receipt.
    /// `None`: the partition is not ours any more.
    pub(super) fn sent(&self, id: u64, first: i64, end: i64) -> Option<u64> {
        let mut entries = self.lock();
        let account = entries.ours.get_mut(&id)?;
        let begun = account.ledger.is_some();
        let ledger = account.ledger.get_or_insert_with(|| Ledger::new(first));
        let number = ledger.sent(end);
        if let Some(observed) = &mut account.bounds.observed {
            *observed = end.max(*observed);
        }
        if !begun {
            account.committed = Some(first); // nothing to tell before something is acknowledged
        }
        Some(number)
    }

    /// A receipt has come.
    pub(super) fn resolve(&self, id: u64, number: u64, fate: Fate) {
        let mut entries = self.lock();
        if fate == Fate::Lost {
            entries.lost.push((id, number));
        } else if let Some(ledger) = entries.ours.get_mut(&id).and_then(|a| a.ledger.as_mut()) {
            ledger.resolve(number, fate);
        }
        drop(entries);
        self.resolved.notify_all();
    }

    /// Partitions of which something was lost, and the offsets from which they must be read again.
    pub(super) fn take_lost(&self) -> Vec<(Partition, i64)> {
        let mut entries = self.lock();
        let mut again: HashMap<u64, i64> = HashMap::new();
        for (id, number) in std::mem::take(&mut entries.lost) {
            let ledger = entries.ours.get_mut(&id).and_then(|account| account.ledger.as_mut());
            if let Some(Outcome::Lost(offset)) =
                ledger.map(|ledger| ledger.resolve(number, Fate::Lost))
            {
                again.insert(id, offset); // of several the last is the lowest: what follows a lost one is given up with it
            }
        }
        let account = |(id, offset)| Some((entries.ours.get(&id)?.partition.clone(), offset));
        again.into_iter().filter_map(account).collect()
    }

    /// Offsets to tell the group: acknowledged, and not told yet. They count as told.
    pub(super) fn take_due(&self, of: impl Fn(&Partition) -> bool) -> Vec<(Partition, i64)> {
        let mut entries = self.lock();
        let mut due = Vec::new();
        for account in entries.ours.values_mut().filter(|account| of(&account.partition)) {
            if let Some(offset) = account.due() {
                account.committed = Some(offset);
                due.push((account.partition.clone(), offset));
            }
        }
        due
    }

    /// The group was not told after all.
    pub(super) fn untold(&self, topic: &str, partition: i32) {
        let mut entries = self.lock();
        let is_it = |account: &&mut Account| {
            &*account.partition.0 == topic && account.partition.1 == partition
        };
        if let Some(account) = entries.ours.values_mut().find(is_it) {
            account.committed = None;
        }
    }

    /// Waits until all that went out of these partitions is acknowledged, until then, or until some of it is lost or `stop` says
    /// so. Whether it is.
    pub(super) fn drain(
        &self,
        of: impl Fn(&Partition) -> bool,
        patience: Duration,
        stop: impl Fn() -> bool,
    ) -> bool {
        let until = Instant::now() + patience;
        let mut entries = self.lock();
        loop {
            let settled =
                |account: &Account| account.ledger.as_ref().is_none_or(Ledger::is_settled);
            let mut asked = entries.ours.iter().filter(|(_, account)| of(&account.partition));
            if asked.all(|(_, account)| settled(account)) {
                return true;
            }
            let is_asked = |id: &u64| entries.ours.get(id).is_some_and(|a| of(&a.partition));
            let lost = entries.lost.iter().any(|(id, _)| is_asked(id));
            let left = until.saturating_duration_since(Instant::now()).min(STEP);
            if lost || left.is_zero() || stop() {
                return false;
            }
            let waited = self.resolved.wait_timeout(entries, left);
            entries = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// These partitions are not ours any more: receipts of them change nothing.
    pub(super) fn revoke(&self, of: impl Fn(&Partition) -> bool) {
        self.lock().ours.retain(|_, account| !of(&account.partition));
    }

    /// How many partitions are ours.
    pub(super) fn partitions(&self) -> usize {
        self.lock().ours.len()
    }
}
