//! The statements that read: frames by signal name, incidents, state.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension as _, params};
use sentinel_contract::history::Frame;
use sentinel_contract::incident::Incident;

/// The size of a stored value.
const VALUE: usize = size_of::<f64>();

/// Frames of `detector` in time order, their values in the order of `signals`.
pub(crate) fn frames(
    connection: &Connection,
    detector: &str,
    signals: &[String],
    from_ms: i64,
    to_ms: i64,
) -> rusqlite::Result<Vec<Frame>> {
    let columns = columns(connection, detector, signals)?;
    let mut statement = connection.prepare_cached(
        "SELECT time_ms, signals, score, \"values\" FROM frames \
         WHERE detector = ?1 AND time_ms >= ?2 AND time_ms < ?3 ORDER BY time_ms",
    )?;
    let mut rows = statement.query(params![detector, from_ms, to_ms])?;
    let mut frames = Vec::new();
    while let Some(row) = rows.next()? {
        let stored = row.get_ref(3)?.as_blob().unwrap_or_default();
        let value = |at: usize| {
            let bytes = stored.get(at * VALUE..(at + 1) * VALUE)?;
            Some(f64::from_le_bytes(bytes.try_into().ok()?))
        };
        let places = columns.get(&row.get::<_, i64>(1)?);
        let value_of = |signal: usize| places.and_then(|at| at[signal]).and_then(value);
        frames.push(Frame {
            time_ms: row.get(0)?,
            values: (0..signals.len()).map(|at| value_of(at).unwrap_or(f64::NAN)).collect(),
            score: row.get::<_, Option<f64>>(2)?.unwrap_or(f64::NAN), // SQLite has no NaN: it stores NULL
        });
    }
    Ok(frames)
}

/// For each stored set of names: where each wanted signal stands in it.
fn columns(
    connection: &Connection,
    detector: &str,
    wanted: &[String],
) -> rusqlite::Result<HashMap<i64, Vec<Option<usize>>>> {
    let mut statement =
        connection.prepare_cached("SELECT id, signals FROM signal_sets WHERE detector = ?1")?;
    let rows = statement
        .query_map([detector], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))?;
    rows.map(|row| {
        let (id, json) = row?;
        let names: Vec<String> = serde_json::from_str(&json).unwrap_or_default();
        let place = |signal: &String| names.iter().position(|name| name == signal);
        Ok((id, wanted.iter().map(place).collect()))
    })
    .collect()
}

/// State changes at or after `from_ms`, newest first.
pub(crate) fn incidents(
    connection: &Connection,
    from_ms: i64,
    limit: usize,
) -> rusqlite::Result<Vec<Incident>> {
    let mut statement = connection.prepare_cached(
        "SELECT json FROM incidents WHERE time_ms >= ?1 ORDER BY time_ms DESC, id DESC LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    parsed(statement.query_map(params![from_ms, limit], |row| row.get(0))?)
}

/// State changes of the incidents whose key contains `part`, newest first.
pub(crate) fn changes(
    connection: &Connection,
    part: &str,
    limit: usize,
) -> rusqlite::Result<Vec<Incident>> {
    let mut statement = connection.prepare_cached(
        "SELECT json FROM incidents WHERE instr(key, ?1) > 0 ORDER BY time_ms DESC, id DESC LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    parsed(statement.query_map(params![part, limit], |row| row.get(0))?)
}

fn parsed(rows: impl Iterator<Item = rusqlite::Result<String>>) -> rusqlite::Result<Vec<Incident>> {
    let mut incidents = Vec::new();
    for json in rows {
        match serde_json::from_str(&json?) {
            Ok(incident) => incidents.push(incident),
            // A later agent's fields are ignored by serde; this is a row that something else wrote.
            Err(error) => tracing::error!(%error, "an incident in history cannot be read; skipped"),
        }
    }
    Ok(incidents)
}

/// The named state; `None` when there is none or it is not what was saved.
pub(crate) fn state(connection: &Connection, name: &str) -> rusqlite::Result<Option<Vec<u8>>> {
    let row = connection
        .query_row("SELECT bytes, crc32 FROM state WHERE name = ?1", [name], |row| {
            Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, i64>(1)?))
        })
        .optional()?;
    Ok(row.and_then(|(bytes, crc)| {
        let intact = i64::from(crc32fast::hash(&bytes)) == crc;
        if !intact {
            tracing::error!(name, "saved state has a wrong checksum and is not used");
        }
        intact.then_some(bytes)
    }))
}
