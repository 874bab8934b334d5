//! The statements that write: frames, incidents, state, and the removal of what is too old.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use rusqlite::{Connection, Transaction, params};
use sentinel_contract::history::Frame;
use sentinel_contract::incident::Incident;

use crate::schema::{is_damage, is_passing};

/// One thing to keep.
pub(crate) enum Write {
    /// A detector's row.
    Frame {
        /// Whose.
        detector: Arc<str>,
        /// The names of its values.
        signals: Arc<[String]>,
        /// The row.
        frame: Frame,
    },
    /// A state change.
    Incident(Box<Incident>),
    /// A named state.
    State {
        /// Its name.
        name: String,
        /// The state itself.
        bytes: Vec<u8>,
        /// When it was given to us.
        saved_ms: i64,
    },
}

/// The ids of the signal sets in use, one a detector.
#[derive(Default)]
pub(crate) struct SignalSets(HashMap<Arc<str>, (Arc<[String]>, i64)>);

impl SignalSets {
    /// After a rollback, a removal or another file the ids may be wrong.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    fn id(
        &mut self,
        transaction: &Transaction<'_>,
        detector: &Arc<str>,
        signals: &Arc<[String]>,
    ) -> rusqlite::Result<i64> {
        if let Some((known, id)) = self.0.get(detector)
            && (Arc::ptr_eq(known, signals) || known == signals)
        {
            return Ok(*id);
        }
        let json = serde_json::Value::from(&**signals).to_string();
        transaction.execute(
            "INSERT OR IGNORE INTO signal_sets (detector, signals) VALUES (?1, ?2)",
            params![&**detector, json],
        )?;
        let id = transaction.query_row(
            "SELECT id FROM signal_sets WHERE detector = ?1 AND signals = ?2",
            params![&**detector, json],
            |row| row.get(0),
        )?;
        self.0.insert(Arc::clone(detector), (Arc::clone(signals), id));
        Ok(id)
    }
}

/// Writes all in one transaction. Returns how many can never be stored; an error means that none was stored.
pub(crate) fn all(
    connection: &mut Connection,
    sets: &mut SignalSets,
    writes: &VecDeque<Write>,
) -> rusqlite::Result<usize> {
    let transaction = connection.transaction()?;
    let mut refused = 0;
    for write in writes {
        match one(&transaction, sets, write) {
            Ok(()) => {}
            Err(error) if is_damage(&error) || is_passing(&error) => return Err(error),
            Err(error) => {
                refused += 1;
                tracing::error!(%error, "history cannot store this and drops it");
            }
        }
    }
    transaction.commit()?;
    Ok(refused)
}

fn one(
    transaction: &Transaction<'_>,
    sets: &mut SignalSets,
    write: &Write,
) -> rusqlite::Result<()> {
    match write {
        Write::Frame { detector, signals, frame } => {
            let id = sets.id(transaction, detector, signals)?;
            let values: Vec<u8> =
                frame.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            transaction
                .prepare_cached("INSERT OR REPLACE INTO frames VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![&**detector, frame.time_ms, id, frame.score, values])?;
        }
        Write::Incident(incident) => {
            let refuse = |error| rusqlite::Error::ToSqlConversionFailure(Box::new(error));
            let json = serde_json::to_string(incident).map_err(refuse)?;
            let state = serde_json::to_value(incident.state).map_err(refuse)?;
            transaction.execute(
                "INSERT OR REPLACE INTO incidents (time_ms, key, detector, state, json) \
                 VALUES (?1, ?2, ?3, ?4, ?5)",
                params![incident.time_ms, incident.key, incident.detector, state.as_str(), json],
            )?;
        }
        Write::State { name, bytes, saved_ms } => {
            transaction.execute(
                "INSERT OR REPLACE INTO state VALUES (?1, ?2, ?3, ?4)",
                params![name, bytes, crc32fast::hash(bytes), saved_ms],
            )?;
        }
    }
    Ok(())
}

/// Removes at most `rows` frames of each detector and `rows` incidents that are older than `cutoff_ms`. True when
/// there is more to remove. State is kept whatever its age: it is replaced, not added to.
pub(crate) fn prune(
    connection: &mut Connection,
    cutoff_ms: i64,
    rows: usize,
) -> rusqlite::Result<bool> {
    let transaction = connection.transaction()?;
    let detectors = transaction
        .prepare("SELECT DISTINCT detector FROM signal_sets")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<Vec<String>>>()?;
    let mut more = false;
    for detector in detectors {
        more |= transaction.execute(
            "DELETE FROM frames WHERE detector = ?1 AND time_ms IN (SELECT time_ms FROM frames \
             WHERE detector = ?1 AND time_ms < ?2 ORDER BY time_ms LIMIT ?3)",
            params![detector, cutoff_ms, rows as i64],
        )? == rows;
    }
    more |= transaction.execute(
        "DELETE FROM incidents WHERE id IN (SELECT id FROM incidents WHERE time_ms < ?1 LIMIT ?2)",
        params![cutoff_ms, rows as i64],
    )? == rows;
    transaction.execute(
        "DELETE FROM signal_sets WHERE NOT EXISTS \
         (SELECT 1 FROM frames WHERE frames.detector = signal_sets.detector)",
        [],
    )?;
    transaction.commit()?;
    Ok(more)
}
