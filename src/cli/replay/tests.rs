//! What a replay reads and writes.

mod compare;
mod files;
mod history;
mod series;

use super::table::Table;

fn read(text: &str) -> anyhow::Result<Table> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    std::fs::write(&path, text).unwrap();
    Table::read(&path)
}

/// The message, without the folder.
fn complaint(text: &str) -> String {
    let error = format!("{:#}", read(text).unwrap_err());
    error.rsplit_once('/').map_or(error.clone(), |(_, end)| end.to_owned())
}

#[test]
fn cells_are_numbers_or_missing_and_the_label_is_never_read() {
    let table = read("timestamp,a,b,label\n10,1.5,,what?\r\n10,-2e3,0,\n\n20,,4,\"1").unwrap();
    assert_eq!(table.names, ["a", "b"]);
    assert_eq!(table.times, [10, 10, 20]);
    let cells: Vec<String> = table.cells.iter().map(f64::to_string).collect();
    assert_eq!(cells, ["1.5", "NaN", "-2000", "0", "NaN", "4"]);
    assert_eq!(read("timestamp,label,a\n1,2,3\n").unwrap().names, ["label", "a"]);
    assert_eq!(read("timestamp,a\n1,2\n").unwrap().names, ["a"], "there need not be a label");
}

#[test]
fn a_wrong_table_is_told_by_file_and_line() {
    for (text, expected) in [
        ("", "t.csv: the file is empty"),
        ("timestamp,a\n", "t.csv: there are no rows below the header"),
        ("time,a\n1,2\n", "t.csv:1: the first column must be `timestamp` (it is `time`)"),
        ("timestamp,label\n1,2\n", "t.csv:1: there is no column beside `timestamp` and `label`"),
        ("timestamp,a,a\n1,2,3\n", "t.csv:1: two columns are called `a`"),
        ("timestamp,a,,b\n1,2,3,4\n", "t.csv:1: column 3 has no name"),
        ("timestamp,a\n1,2\nx,2\n", "t.csv:3: `x` is no timestamp in whole seconds since 1970"),
        ("timestamp,a\n1,2\n2,high\n", "t.csv:3: column 2: `high` is no number"),
        ("timestamp,a\n1,inf\n", "t.csv:2: column 2: `inf` is no number"),
        ("timestamp,a\n1,2\n2\n", "t.csv:3: the row has 1 cells, the header 2"),
        (
            "timestamp,a\n5,2\n4,2\n",
            "t.csv:3: the timestamp 4 is before that of the row above, 5; sort the file by time",
        ),
    ] {
        assert_eq!(complaint(text), expected);
    }
    let missing = Table::read(std::path::Path::new("/no/such.csv")).unwrap_err();
    assert!(format!("{missing:#}").starts_with("/no/such.csv: cannot be read: No such file"));
}

#[test]
fn gzip_is_unpacked_and_a_torn_one_is_an_error() {
    use std::io::Write as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv.gz");
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for row in 0..5000 {
        let line = if row == 0 { "timestamp,a\n".to_owned() } else { format!("{row},{row}\n") };
        packed.write_all(line.as_bytes()).unwrap();
    }
    let packed = packed.finish().unwrap();
    std::fs::write(&path, &packed).unwrap();
    assert_eq!(Table::read(&path).unwrap().times.len(), 4999);
    std::fs::write(&path, &packed[..packed.len() / 2]).unwrap();
    let error = format!("{:#}", Table::read(&path).unwrap_err());
    assert!(error.contains("t.csv.gz:"), "{error}");
}

#[path = "../../../tests/fuzz/corpus.rs"]
mod corpus;

#[test]
fn the_corpus_of_replay_table_finds_nothing() {
    corpus::run("replay_table", |data| {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t");
        std::fs::write(&path, data).unwrap();
        if let Ok(table) = Table::read(&path) {
            assert!(table.times.is_sorted());
            assert_eq!(table.cells.len(), table.times.len() * table.names.len());
        }
    });
}
