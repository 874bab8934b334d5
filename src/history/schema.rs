//! Opening: the pragmas, the schema and its migrations, and what happens to a damaged file.
//!
//! `user_version` counts the migrations that were applied. A file that has more of them than this agent knows was
//! written by a newer one: it is refused and left as it is.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};

/// One step a version; a step that was shipped is never changed.
///
/// Frames lie in the order in which they are read, and carry the id of the names of their values. An incident's
/// change that is recorded twice (a restart applies the last frames again) is one row.
pub(crate) const MIGRATIONS: &[&str] = &["
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('version', '1');
    CREATE TABLE signal_sets (
        id INTEGER PRIMARY KEY, detector TEXT NOT NULL, signals TEXT NOT NULL, UNIQUE (detector, signals));
    CREATE TABLE frames (
        detector TEXT NOT NULL, time_ms INTEGER NOT NULL, signals INTEGER NOT NULL, score REAL,
        \"values\" BLOB NOT NULL, PRIMARY KEY (detector, time_ms)) WITHOUT ROWID;
    CREATE TABLE incidents (
        id INTEGER PRIMARY KEY, time_ms INTEGER NOT NULL, key TEXT NOT NULL, detector TEXT NOT NULL,
        state TEXT NOT NULL, json TEXT NOT NULL, UNIQUE (key, time_ms, state));
    CREATE INDEX incidents_by_time ON incidents (time_ms);
    CREATE TABLE state (
        name TEXT PRIMARY KEY, bytes BLOB NOT NULL, crc32 INTEGER NOT NULL, saved_ms INTEGER NOT NULL);
"];

/// How long another process (a report, sqlite3) may hold the write lock before ours is tried later.
const BUSY: Duration = Duration::from_secs(5);

/// Where the database lives.
#[derive(Debug)]
pub(crate) enum Place {
    /// In this file.
    File(PathBuf),
    /// Nowhere.
    Memory,
}

/// Why a database was not opened.
#[derive(Debug)]
pub(crate) enum OpenError {
    /// Written by a newer agent.
    Newer {
        /// Its version.
        version: i64,
    },
    /// The file is damaged, or is no database of ours.
    Damaged(rusqlite::Error),
    /// The disk is full or fails, or somebody holds the file: it may be better later.
    Later(rusqlite::Error),
    /// It will not be better later: no such folder, no permission.
    Never(rusqlite::Error),
}

impl From<rusqlite::Error> for OpenError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            _ if is_damage(&error) => OpenError::Damaged(error),
            Some(ErrorCode::CannotOpen | ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => {
                OpenError::Never(error)
            }
            _ if is_passing(&error) => OpenError::Later(error),
            _ => OpenError::Damaged(error), // a table or column of ours is not there
        }
    }
}

/// The file itself is bad.
pub(crate) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// The surroundings are bad, not what was asked: worth trying again.
pub(crate) fn is_passing(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::SystemIoFailure
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::FileLockingProtocolFailed
                | ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationAborted
                | ErrorCode::OperationInterrupted
        )
    )
}

/// Opens, migrates and looks at each table once.
pub(crate) fn open(place: &Place) -> Result<Connection, OpenError> {
    let mut connection = match place {
        Place::File(path) => Connection::open(path)?,
        Place::Memory => Connection::open_in_memory()?,
    };
    connection.busy_timeout(BUSY)?;
    // A newer agent's file must not even be checkpointed by us, which closing it would do.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    let version = version(&connection)?;
    if version > MIGRATIONS.len() as i64 {
        return Err(OpenError::Newer { version });
    }
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" && matches!(place, Place::File(_)) {
        tracing::warn!(mode, "history cannot use a write-ahead log here and will be slower");
    }
    connection.execute_batch(
        // 512 KiB of cache and a log of 1 MiB: the whole agent is to stay within 12 MB.
        "PRAGMA synchronous = NORMAL; PRAGMA cache_size = -512; PRAGMA mmap_size = 0; \
         PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 256; PRAGMA journal_size_limit = 1048576;",
    )?;
    migrate(&mut connection, MIGRATIONS)?;
    for table in ["signal_sets", "frames", "incidents", "state"] {
        connection.query_row(
            &format!("SELECT count(*) FROM (SELECT 1 FROM {table} LIMIT 1)"),
            [],
            |_| Ok(()),
        )?;
    }
    Ok(connection)
}

/// Applies the steps that the database has not had yet, all or none.
pub(crate) fn migrate(connection: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    let done = version(connection)?.max(0) as usize;
    if done >= steps.len() {
        return Ok(());
    }
    let transaction = connection.transaction()?;
    for step in &steps[done..] {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", steps.len() as i64)?;
    transaction.commit()
}

pub(crate) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Sets a damaged database aside with its write-ahead log, so that what is in it can still be looked at.
pub(crate) fn set_aside(path: &Path, now_ms: i64) -> std::io::Result<PathBuf> {
    let with = |suffix: &str| {
        let mut name = OsString::from(path);
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = with(&format!(".corrupt-{now_ms}"));
    std::fs::rename(path, &aside)?;
    for log in ["-wal", "-shm"] {
        let there = with(log);
        if there.exists() {
            // A new database must never meet the log of another one.
            std::fs::rename(&there, with(&format!(".corrupt-{now_ms}{log}")))?;
        }
    }
    Ok(aside)
}
