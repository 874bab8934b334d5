//! Looking into a database without owning it: what the command line reads when no agent runs.
//!
//! Nothing is changed: no migration, no file set aside, no checkpoint. A write-ahead log needs its shared memory even to
//! be read; who may not make that in the folder reads the file as it is, if no log is left beside it
//! (<https://www.sqlite.org/wal.html#read_only_databases>).

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use sentinel_contract::incident::Incident;
use sentinel_contract::plugin::Cause;

use crate::{read, schema};

/// How long a writer may hold us up.
const BUSY: Duration = Duration::from_secs(5);

/// A database that is only read.
#[derive(Debug)]
pub struct Look {
    connection: Connection,
}

impl Look {
    /// Opens the file for reading. Errors: it is not there, may not be read, is damaged, or is a newer agent's.
    pub fn open(path: &Path) -> Result<Self, Cause> {
        std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let plain = || Connection::open_with_flags(path, flags());
        let connection = match plain().and_then(try_it) {
            Err(error) if needs_to_write(&error) && !has_log(path) => {
                Connection::open_with_flags(unchanging(path), flags()).and_then(try_it)
            }
            tried => tried,
        };
        let connection =
            connection.with_context(|| format!("{} cannot be read", path.display()))?;
        let version = schema::version(&connection)?;
        if version > schema::MIGRATIONS.len() as i64 {
            bail!("{} is a newer agent's (version {version})", path.display());
        }
        Ok(Look { connection })
    }

    /// As of [`sentinel_contract::history::History::incidents`].
    pub fn incidents(&self, from_ms: i64, limit: usize) -> Result<Vec<Incident>, Cause> {
        Ok(read::incidents(&self.connection, from_ms, limit)?)
    }

    /// As of [`sentinel_contract::history::History::changes`].
    pub fn changes(&self, part: &str, limit: usize) -> Result<Vec<Incident>, Cause> {
        Ok(read::changes(&self.connection, part, limit)?)
    }
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Opening alone reads nothing.
fn try_it(connection: Connection) -> rusqlite::Result<Connection> {
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection
        .query_row("SELECT count(*) FROM (SELECT 1 FROM incidents LIMIT 1)", [], |_| Ok(()))?;
    Ok(connection)
}

fn needs_to_write(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{CannotOpen, PermissionDenied, ReadOnly};
    matches!(error.sqlite_error_code(), Some(CannotOpen | PermissionDenied | ReadOnly))
}

fn has_log(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

/// The address of a file that nobody writes to.
pub(crate) fn unchanging(path: &Path) -> String {
    let mut address = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                address.push(char::from(byte));
            }
            _ => {
                let _infallible = write!(address, "%{byte:02X}");
            }
        }
    }
    address + "?immutable=1"
}
