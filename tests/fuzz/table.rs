//! A table for `replay`, plain or gzip. Its reader is part of the binary and included here; the binary's own tests run the
//! corpus.

#[allow(dead_code, reason = "a part of the binary, of which one function is tried")]
#[path = "../../src/cli/replay/table.rs"]
mod read;

use std::path::PathBuf;

/// Any file is refused, or a table in time order with a cell for each name in each row.
pub fn replay_table(data: &[u8]) {
    let path = PathBuf::from(format!("/dev/shm/sentinelops-fuzz-{}", std::process::id()));
    if let Err(error) = std::fs::write(&path, data) {
        panic!("{}: {error}", path.display());
    }
    let table = read::Table::read(&path);
    let _gone = std::fs::remove_file(&path);
    if let Ok(table) = table {
        assert!(table.times.is_sorted());
        assert_eq!(table.cells.len(), table.times.len() * table.names.len());
        assert!(table.cells.iter().all(|cell| !cell.is_infinite()));
    }
}
