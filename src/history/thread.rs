//! The thread that owns the database: it gathers writes into transactions, answers reads, removes what is too old,
//! and lives through a full disk and a damaged file.
//!
//! Writes wait in `pending` until their transaction has been committed, so a failing disk loses nothing until
//! `MAX_PENDING` of them wait; then the oldest frame goes first, counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{anyhow, bail};
use rusqlite::Connection;
use sentinel_contract::plugin::Cause;

use crate::Counts;
use crate::queue::{Ends, Nothing, Queue};
use crate::schema::{self, OpenError, Place};
use crate::write::{self, SignalSets, Write};

/// A write waits at most this long for others to share its transaction.
const GROUP_TIME: Duration = Duration::from_secs(1);
/// So many writes are committed at once.
const GROUP_WRITES: usize = 256;
/// Writes kept while the disk fails.
const MAX_PENDING: usize = 1024;
/// The wait after a failure; it doubles up to the second.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
const PRUNE_EVERY: Duration = Duration::from_hours(1);
/// Removing 2,000 frames takes some 10 ms; between two such steps others have their turn.
const PRUNE_ROWS: usize = 2000;
const PRUNE_PAUSE: Duration = Duration::from_millis(200);
/// A disk that damages every new file must not be filled with them.
const MAX_SET_ASIDE: u32 = 3;

/// A query; true when it met a damaged file.
type Query = Box<dyn FnOnce(&Connection) -> bool + Send>;

/// What the thread is asked to do.
pub(crate) enum Command {
    /// Keep this.
    Write(Write),
    /// Answer this; a query that is dropped was not answered.
    Read(Query),
    /// Bring everything to the disk, then answer.
    Flush(SyncSender<()>),
}

/// The owner of the database.
pub(crate) struct Keeper {
    place: Place,
    retention: Duration,
    counts: Arc<Counts>,
    pub(crate) connection: Option<Connection>,
    sets: SignalSets,
    pub(crate) pending: VecDeque<Write>,
    /// When `pending` is to be committed; `None` while it is empty.
    commit_at: Option<Instant>,
    prune_at: Instant,
    retry: Duration,
    failing: bool,
    set_aside: u32,
}

/// Milliseconds since 1970 UTC.
pub(crate) fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

impl Keeper {
    /// Opens the database; a full or failing disk is left to be retried.
    pub(crate) fn open(
        place: Place,
        retention: Duration,
        counts: Arc<Counts>,
    ) -> Result<Self, Cause> {
        let mut keeper = Keeper {
            place,
            retention,
            counts,
            connection: None,
            sets: SignalSets::default(),
            pending: VecDeque::new(),
            commit_at: None,
            prune_at: Instant::now(),
            retry: RETRY.0,
            failing: false,
            set_aside: 0,
        };
        keeper.reopen()?;
        Ok(keeper)
    }

    /// Works until all handles are gone, then writes what is left.
    pub(crate) fn run(mut self, commands: &Queue) {
        let _ends = Ends(commands);
        loop {
            self.due_work();
            match commands.pop(self.until_next()) {
                Ok(command) => self.obey(command),
                Err(Nothing::Yet) => {}
                Err(Nothing::Ever) => break,
            }
        }
        self.commit();
        self.counts.drop_writes(self.pending.len());
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Write(write) => self.keep(write),
            Command::Read(query) => self.read(query),
            Command::Flush(done) => {
                self.commit();
                self.checkpoint();
                let _nobody_waits = done.try_send(());
            }
        }
    }

    pub(crate) fn keep(&mut self, write: Write) {
        if let Write::State { name, .. } = &write {
            // Only the newest of a name is worth its bytes.
            self.pending
                .retain(|other| !matches!(other, Write::State { name: old, .. } if old == name));
        }
        if self.pending.len() >= MAX_PENDING {
            let oldest = self.pending.iter().position(|write| matches!(write, Write::Frame { .. }));
            self.pending.remove(oldest.unwrap_or(0));
            self.counts.drop_writes(1);
        }
        self.pending.push_back(write);
        self.commit_at.get_or_insert_with(|| Instant::now() + GROUP_TIME);
        if self.pending.len() >= GROUP_WRITES && !self.failing {
            self.commit();
        }
    }

    fn read(&mut self, query: Query) {
        if !self.failing {
            self.commit();
        }
        let Some(connection) = &self.connection else {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
            return;
        };
        if query(connection) {
            self.counts.errors.fetch_add(1, Ordering::Relaxed);
            self.replace_damaged(&anyhow!("a read met a damaged page"));
        }
    }

    fn until_next(&self) -> Duration {
        let next = self.commit_at.map_or(self.prune_at, |commit| commit.min(self.prune_at));
        next.saturating_duration_since(Instant::now())
    }

    fn due_work(&mut self) {
        let now = Instant::now();
        if self.commit_at.is_some_and(|at| at <= now) {
            self.commit();
        }
        if self.prune_at <= now {
            self.prune();
        }
    }

    /// Writes all that waits in one transaction. What cannot be written stays, and is tried again later.
    pub(crate) fn commit(&mut self) {
        if self.pending.is_empty() && !self.failing {
            return;
        }
        match self.try_commit() {
            Ok(refused) => {
                self.counts.drop_writes(refused);
                self.pending.clear();
                self.commit_at = None;
                self.retry = RETRY.0;
                if std::mem::take(&mut self.failing) {
                    tracing::info!("history is written again");
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    /// The number of writes that can never be stored.
    fn try_commit(&mut self) -> Result<usize, Cause> {
        if self.connection.is_none() {
            self.reopen()?;
        }
        let Some(connection) = &mut self.connection else { bail!("the database is not open") };
        match write::all(connection, &mut self.sets, &self.pending) {
            Err(error) if schema::is_damage(&error) => {
                self.counts.errors.fetch_add(1, Ordering::Relaxed);
                self.replace_damaged(&error.into());
                let Some(fresh) = &mut self.connection else { bail!("no new database") };
                Ok(write::all(fresh, &mut self.sets, &self.pending)?)
            }
            result => Ok(result?),
        }
    }

    /// Counts a failure, says the first one in a row, and sets the time of the next try.
    fn failed(&mut self, error: &Cause) {
        self.counts.errors.fetch_add(1, Ordering::Relaxed);
        self.sets.forget();
        if !std::mem::replace(&mut self.failing, true) {
            tracing::error!(error = format!("{error:#}"), "history cannot be written; retrying");
        }
        self.commit_at = Some(Instant::now() + self.retry);
        self.retry = (self.retry * 2).min(RETRY.1);
    }

    fn checkpoint(&mut self) {
        let Some(connection) = &self.connection else { return };
        // Syncs the log, then moves it into the file. Under a reader it moves what it can: the sync is what matters.
        if let Err(error) = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())) {
            self.failed(&error.into());
        }
    }

    fn prune(&mut self) {
        let cutoff =
            now_ms().saturating_sub(self.retention.as_millis().min(i64::MAX as u128) as i64);
        let Some(connection) = &mut self.connection else {
            self.prune_at = Instant::now() + RETRY.1;
            return;
        };
        let pause = match write::prune(connection, cutoff, PRUNE_ROWS) {
            Ok(more) => {
                if more {
                    PRUNE_PAUSE
                } else {
                    PRUNE_EVERY
                }
            }
            Err(error) if schema::is_damage(&error) => {
                self.replace_damaged(&error.into());
                PRUNE_EVERY
            }
            Err(error) => {
                self.failed(&error.into());
                RETRY.1
            }
        };
        self.sets.forget(); // a set without frames may have gone
        self.prune_at = Instant::now() + pause;
    }

    fn reopen(&mut self) -> Result<(), Cause> {
        match schema::open(&self.place) {
            Ok(connection) => self.connection = Some(connection),
            Err(OpenError::Newer { version }) => bail!(
                "{} was written by a newer agent (schema version {version}, this agent knows up to {}): \
                 it is left as it is; use that agent, or move the file away to begin a new history",
                self.name(),
                schema::MIGRATIONS.len()
            ),
            Err(OpenError::Damaged(error)) => self.replace_damaged(&error.into()),
            Err(OpenError::Later(error)) => {
                self.failed(&anyhow!(error).context(format!("cannot open {}", self.name())));
            }
            Err(OpenError::Never(error)) => {
                return Err(anyhow!(error).context(format!("cannot open {}", self.name())));
            }
        }
        Ok(())
    }

    /// Sets the damaged file aside and begins a new one; what waits in `pending` goes into it.
    fn replace_damaged(&mut self, error: &Cause) {
        self.connection = None; // closes the file
        self.sets.forget();
        let Place::File(path) = &self.place else { return };
        if self.set_aside >= MAX_SET_ASIDE {
            self.failed(&anyhow!("{}: damaged again ({error:#}); it stays closed", self.name()));
            return;
        }
        self.set_aside += 1;
        match schema::set_aside(path, now_ms()) {
            Ok(aside) => tracing::error!(
                error = format!("{error:#}"),
                set_aside = %aside.display(),
                "the history database is damaged: it was set aside and a new one begins"
            ),
            Err(error) => {
                self.failed(&anyhow!(error).context("cannot set the damaged database aside"));
                return;
            }
        }
        match schema::open(&self.place) {
            Ok(connection) => self.connection = Some(connection),
            Err(error) => self.failed(&anyhow!("cannot begin a new history: {error:?}")),
        }
    }

    fn name(&self) -> String {
        match &self.place {
            Place::File(path) => path.display().to_string(),
            Place::Memory => "the history in memory".to_owned(),
        }
    }
}
