//! What `tests/fuzz` feeds with bytes of its own making, and the tests here with its corpus: the record of a queue and the
//! files of a lane. Compiled for tests and fuzzing only. A finding is a panic; nothing here is measured.

mod folder;

use std::sync::Arc;

use bytes::Bytes;
use sentinel_contract::Piece;

use crate::disk::{AppendError, Disk, Limits, OpenError, RECORD_HEAD, Record};
use crate::queue::decode::decode;
use crate::queue::encode::encode;
use folder::InMemory;

const LIMITS: Limits = Limits { bytes: 1 << 20, segment: 4 << 10 };

/// A record is refused, or is a batch that is the same after it was written and read again.
pub fn queue_record(data: &[u8]) {
    let Ok(batch) = decode(Bytes::copy_from_slice(data)) else { return };
    let shown = format!("{:?}", batch.events);
    let (origin, order) = (batch.origin.clone(), batch.order);
    let mut written = Vec::new();
    assert!(encode(&Piece::whole(Arc::new(batch)), &mut written), "what was read can be kept");
    match decode(Bytes::from(written)) {
        Ok(again) => {
            assert_eq!((again.origin, again.order), (origin, order));
            assert_eq!(format!("{:?}", again.events), shown);
        }
        Err(error) => panic!("what was written is read: {error}"),
    }
}

/// A queue opens on any files, gives what it has once and in order, and goes on.
///
/// `data` is a list of files: what it is, a length of two bytes, its content. With an odd first byte checksums are made
/// right, so that what comes behind them is tried too.
pub fn disk_queue(data: &[u8]) {
    let Some((flags, files)) = data.split_first() else { return };
    let folder = InMemory::of(files, flags & 1 == 1);
    let before = folder.everything();
    let mut disk = match open(&folder, flags & 2 == 2) {
        Ok(disk) => disk,
        Err(OpenError::Newer { .. }) => {
            assert_eq!(folder.everything(), before, "a newer agent's files are left alone");
            return;
        }
        Err(OpenError::Io(error)) => panic!("damage is no reason not to open: {error}"),
    };
    for record in &read_all(&mut disk) {
        let again = read_again(&mut disk, record);
        assert_eq!(again.payload, record.payload);
        disk.settled().settle(&record.place).expect("memory takes it");
    }
    save(&mut disk);
    assert!(!disk.has_unread(), "all that there was is settled");
    go_on(&folder, disk, flags & 2 == 2);
}

fn open(folder: &InMemory, only_synced: bool) -> Result<Disk, OpenError> {
    Disk::open(Box::new(folder.clone()), LIMITS, only_synced)
}

fn read_all(disk: &mut Disk) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        match disk.read() {
            Ok(Some(record)) => {
                let last = records.last().map(|last| last.place.mark.number);
                assert!(last < Some(record.place.mark.number), "in order, and none twice");
                records.push(record);
            }
            Ok(None) => return records,
            Err(error) => panic!("memory does not fail: {error}"),
        }
    }
}

fn read_again(disk: &mut Disk, record: &Record) -> Record {
    match disk.read_again(&record.place) {
        Ok(Some(again)) => again,
        other => panic!("it is where it was: {other:?}"),
    }
}

fn save(disk: &mut Disk) {
    let saved = disk.save();
    assert!(saved.is_ok(), "memory does not fail: {saved:?}");
}

/// What is appended is read, by this process and by the next one, and nothing that was settled comes back.
fn go_on(folder: &InMemory, mut disk: Disk, only_synced: bool) {
    let mut record = [&[0; RECORD_HEAD], &b"one more"[..]].concat();
    match disk.append(&mut record, 3, 1) {
        Ok(_) => {}
        Err(AppendError::Full) => return,
        Err(error) => panic!("there is room: {error}"),
    }
    assert!(disk.sync().is_ok(), "memory does not fail");
    let payloads = |records: Vec<Record>| -> Vec<Vec<u8>> {
        records.into_iter().map(|record| record.payload).collect()
    };
    assert_eq!(payloads(read_all(&mut disk)), [b"one more"]);
    drop(disk);
    match open(folder, only_synced) {
        Ok(mut again) => assert_eq!(payloads(read_all(&mut again)), [b"one more"]),
        Err(error) => panic!("it opens again: {error}"),
    }
}

#[cfg(test)]
#[path = "../../../tests/fuzz/corpus.rs"]
mod corpus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_corpus_of_queue_record_finds_nothing() {
        corpus::run("queue_record", queue_record);
    }

    #[test]
    fn the_corpus_of_disk_queue_finds_nothing() {
        corpus::run("disk_queue", disk_queue);
    }
}
