//! The books: what is acknowledged of each followed file, and the log in which it is saved. The loop and the receipts share
//! them.
//!
//! A receipt writes its position before it returns. So an output, which resolves the receipts of one request before it sends
//! the next, never has two requests under way that a `kill -9` would make come again. A receipt may not wait: the lock is
//! held to change what is in memory and to hand lines to the kernel, never for the disk ([`super::disk`]).

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use sentinel_contract::Fate;
use tokio::sync::Notify;

use super::disk::{Due, sync_folder};
use super::files::{Life, Tailed};
use super::identity::{Digest, Inode, Mark};
use super::positions::{Positions, unix_seconds};
use super::record::Record;
use crate::ledger::{Ledger, Outcome};

/// What the loop and the receipts share.
#[derive(Debug)]
pub(super) struct Books {
    entries: Mutex<Entries>,
    /// The loop has something to do: read again, sync, or say that positions cannot be saved.
    pub(super) arrived: Notify,
}

#[derive(Debug)]
struct Entries {
    accounts: HashMap<u64, Account>,
    positions: Positions,
    /// What the loop is to read again. It stays open in its ledger until then: no position moves over it.
    lost: Vec<Lost>,
    /// Why a receipt could not write its position.
    failed: Option<io::Error>,
}

/// What is acknowledged of one file, and as what it is saved.
#[derive(Debug)]
struct Account {
    ledger: Ledger<Mark>,
    /// None: the file is deleted, and nobody will look for its position.
    identity: Option<Identity>,
}

/// As what a file's position is saved: the file itself belongs to the loop.
#[derive(Debug)]
struct Identity {
    inode: Inode,
    prefix: Digest,
    name: PathBuf,
}

/// A batch that got lost: of which file, the batch's number, how many events.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lost {
    pub(super) id: u64,
    number: u64,
    pub(super) events: u64,
}

impl Account {
    fn identify(&mut self, file: &Tailed) {
        if matches!(file.life, Life::Deleted { .. }) {
            self.identity = None;
        } else if let Some(identity) = &mut self.identity {
            (identity.inode, identity.prefix) = (file.inode, file.prefix); // its name stays
        } else {
            let (inode, prefix, name) = (file.inode, file.prefix, file.name.clone());
            self.identity = Some(Identity { inode, prefix, name });
        }
    }

    fn record(&self) -> Option<Record> {
        let Identity { inode, prefix, name } = self.identity.as_ref()?;
        Some(Record {
            inode: *inode,
            mark: self.ledger.acknowledged(),
            prefix: *prefix,
            seconds: unix_seconds(),
            path: name.clone(),
        })
    }
}

impl Entries {
    /// The account of a followed file, as it is known now; a new file's begins where it is read.
    fn account(&mut self, file: &Tailed) -> &mut Account {
        let account = self
            .accounts
            .entry(file.id)
            .or_insert_with(|| Account { ledger: Ledger::new(file.read), identity: None });
        account.identify(file);
        account
    }

    /// Moves a position and writes it. Whether the loop has something to do about it.
    fn acknowledge(&mut self, id: u64, number: u64, fate: Fate) -> bool {
        let Some(account) = self.accounts.get_mut(&id) else { return false };
        if account.ledger.resolve(number, fate) != Outcome::Advanced {
            return false;
        }
        let Some(record) = account.record() else { return false };
        let due = self.positions.needs_sync();
        self.positions.put(record);
        match self.positions.write() {
            Ok(()) => !due && self.positions.needs_sync(),
            Err(error) => {
                self.failed = Some(error);
                true
            }
        }
    }
}

impl Books {
    pub(super) fn new(positions: Positions) -> Self {
        let (accounts, lost, failed) = (HashMap::new(), Vec::new(), None);
        let entries = Mutex::new(Entries { accounts, positions, lost, failed });
        Books { entries, arrived: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A receipt has come.
    pub(super) fn resolve(&self, id: u64, number: u64, events: u64, fate: Fate) {
        let mut entries = self.lock();
        let wake = if fate == Fate::Lost {
            entries.lost.push(Lost { id, number, events });
            true
        } else {
            entries.acknowledge(id, number, fate)
        };
        drop(entries);
        if wake {
            self.arrived.notify_one();
        }
    }

    /// What was lost, each with what that means for its file; the caller rewinds it before it sends more of it.
    pub(super) fn take_lost(&self) -> Vec<(Lost, Outcome<Mark>)> {
        let mut entries = self.lock();
        let lost = std::mem::take(&mut entries.lost);
        let resolve = |lost: Lost| {
            let account = entries.accounts.get_mut(&lost.id);
            let resolved = account.map(|account| account.ledger.resolve(lost.number, Fate::Lost));
            (lost, resolved.unwrap_or(Outcome::Gone))
        };
        lost.into_iter().map(resolve).collect()
    }

    /// A batch that ends where the file is read to goes out; its number comes back with the receipt.
    pub(super) fn sent(&self, file: &Tailed) -> u64 {
        self.lock().account(file).ledger.sent(file.read)
    }

    /// The file is known by something else now.
    pub(super) fn identify(&self, file: &Tailed) {
        self.lock().account(file);
    }

    /// Sets the saved position of a file, by what it is known now; the next [`Books::write`] writes it.
    pub(super) fn record(&self, file: &Tailed) {
        let mut entries = self.lock();
        if let Some(record) = entries.account(file).record() {
            entries.positions.put(record);
        }
    }

    /// The file's position is of no use any more: no receipt brings it back before the file is identified again.
    pub(super) fn forget(&self, file: &Tailed) {
        let mut entries = self.lock();
        entries.account(file).identity = None;
        entries.positions.forget(file.inode);
    }

    /// The file begins anew.
    pub(super) fn restart(&self, file: &Tailed) {
        self.lock().account(file).ledger.restart();
    }

    /// The file is not followed any more.
    pub(super) fn close(&self, id: u64) {
        self.lock().accounts.remove(&id);
    }

    /// Nothing of the file is under way.
    pub(super) fn is_settled(&self, id: u64) -> bool {
        self.lock().accounts.get(&id).is_none_or(|account| account.ledger.is_settled())
    }

    /// The saved position of an inode.
    pub(super) fn saved(&self, inode: Inode) -> Option<Record> {
        self.lock().positions.get(inode).cloned()
    }

    /// All saved positions.
    pub(super) fn all_saved(&self) -> Vec<Record> {
        self.lock().positions.records().cloned().collect()
    }

    /// Hands what is new to the kernel. An error may be that of a receipt before.
    pub(super) fn write(&self) -> io::Result<()> {
        let mut entries = self.lock();
        let written = entries.positions.write();
        entries.failed.take().map_or(written, Err)
    }

    /// Hands what is new to the disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        let due = self.lock().positions.due()?;
        self.carry_out(due)
    }

    /// Writes the log anew.
    pub(super) fn compact(&self) -> io::Result<()> {
        let due = self.lock().positions.rewrite();
        self.carry_out(due)
    }

    fn carry_out(&self, due: Due) -> io::Result<()> {
        let done = due.carry_out(); // the lock is free
        let folder = self.lock().positions.done(done)?;
        sync_folder(folder)
    }

    /// Whether [`Books::sync`] has work.
    pub(super) fn needs_sync(&self) -> bool {
        self.lock().positions.needs_sync()
    }

    /// Whether the log can be written.
    pub(super) fn is_open(&self) -> bool {
        self.lock().positions.is_open()
    }

    /// The log is on a disk that is full.
    #[cfg(test)]
    pub(super) fn fill_disk(&self) {
        self.lock().positions.fill_disk();
    }

    /// Runs while somebody else has the books.
    #[cfg(test)]
    pub(super) fn in_use(&self, run: impl FnOnce()) {
        let _in_use = self.lock();
        run();
    }
}
